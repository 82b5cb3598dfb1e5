//===- ResidualWeb.h - the residual stream of a model -----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The residual stream of a function is a web of values that must all be in one
/// basis: what embeddings give, sums of them and of what linears write, rows
/// selected from them. It is closed when each op that defines or reads one of
/// its values commutes with a change of basis or has a weight that takes it.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_DIALECT_EFF_TRANSFORMS_RESIDUALWEB_H
#define EFFC_LIB_DIALECT_EFF_TRANSFORMS_RESIDUALWEB_H

#include "effc/Dialect/Eff/Eff.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"

namespace effc::eff {

struct ResidualWeb {
  int64_t features = 0;
  /// All values of the stream, f32 tensors `[.., features]`.
  llvm::SetVector<mlir::Value> values;
  llvm::SmallVector<EmbedOp> embeds;
  /// Norms that read a value of the stream; what they compute is not part of
  /// it.
  llvm::SmallVector<RmsNormOp> norms;
  /// Linears that read a value of the stream itself.
  llvm::SmallVector<LinearOp> readers;
  /// Linears whose result is in the stream.
  llvm::SmallVector<LinearOp> writers;
  /// Weight vectors that are added to the stream, where an epilogue or an
  /// `eff.read` takes them.
  llvm::SmallVector<mlir::OpOperand *> biases;
  /// The `linalg.broadcast`s behind those reads.
  llvm::SetVector<mlir::Operation *> broadcasts;
};

/// Finds the stream that begins at a function's embeddings. When it is not
/// closed, reports which op is in the way and why.
mlir::FailureOr<ResidualWeb> findResidualWeb(mlir::func::FuncOp function);

/// What happens to the weights when the streams of all functions of a module
/// are rotated. A symbol has one fate in all functions.
struct ResidualPlan {
  int64_t features = 0;
  std::vector<ResidualWeb> webs;
  /// Matrices whose rows (tables too) or columns are rotated.
  struct Matrix {
    bool inputs = false, outputs = false;
    /// The norm whose weight moves into the columns; empty: none.
    std::string norm;
  };
  llvm::MapVector<llvm::StringRef, Matrix> matrices;
  llvm::SetVector<llvm::StringRef> vectors;
  /// Weights of norms that move into the matrices behind them.
  llvm::SetVector<llvm::StringRef> folded;
  /// Weights of norms that stay, with the reason: these norms need the model's
  /// own basis.
  llvm::MapVector<llvm::StringRef, std::string> kept;
  /// Tables that linears read too: they stay as they are, and the stream is
  /// rotated behind the embedding.
  llvm::StringSet<> tied;
};

/// Reports why when the weights do not allow it.
mlir::FailureOr<ResidualPlan> planResidualRotation(mlir::ModuleOp module);

/// Emits error EFF0420 at an op.
mlir::LogicalResult refuseRotation(mlir::Operation *op, const llvm::Twine &why,
                                   const llvm::Twine &hint = {});

} // namespace effc::eff

#endif // EFFC_LIB_DIALECT_EFF_TRANSFORMS_RESIDUALWEB_H
