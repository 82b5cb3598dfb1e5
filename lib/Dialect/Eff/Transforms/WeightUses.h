//===- WeightUses.h - how a module uses its weights -------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_DIALECT_EFF_TRANSFORMS_WEIGHTUSES_H
#define EFFC_LIB_DIALECT_EFF_TRANSFORMS_WEIGHTUSES_H

#include "effc/Dialect/Eff/Eff.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/MapVector.h"

namespace effc::eff {

/// How the functions of a module use one weight.
struct WeightUse {
  /// The ops that bring it into a function.
  llvm::SmallVector<UseOp> uses;
  /// The matrix of a linear, of a patch convolution; the table of an embedding.
  bool linear = false, conv = false, table = false;
  /// A linear whose rows are those that eff.select_rows kept: an output head.
  bool head = false;
  /// Anything else: vectors, convolutions, decays, plain tensors.
  bool other = false;
  bool isMatrix() const { return linear || conv || table; }
};

/// The uses of every weight of a module, in the order of declaration.
llvm::MapVector<WeightOp, WeightUse> findWeightUses(mlir::ModuleOp module);

/// Whether an operand is the matrix of a linear or convolution, or the table of
/// an embedding.
bool isMatrixOperand(mlir::OpOperand &operand);

/// Gives a weight and all its uses a type.
void setWeightType(WeightOp weight, llvm::ArrayRef<UseOp> uses,
                   WeightType type);

/// A format or layout as it stands in a type, for remarks.
std::string toString(mlir::Attribute format);

} // namespace effc::eff

#endif // EFFC_LIB_DIALECT_EFF_TRANSFORMS_WEIGHTUSES_H
