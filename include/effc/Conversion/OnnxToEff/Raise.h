//===- Raise.h - from the onnx dialect to the eff dialect -------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Raising reads a graph of the onnx dialect, with batch, tokens and past
/// length bound to numbers and everything that follows from them folded, and
/// says in the eff dialect what the model means. It works by anchors: from the
/// result backwards each needed node is looked at once, the largest pattern
/// that it ends is taken, and what the pattern reads is needed next. Masks and
/// position tables are recognised by their numbers. What no pattern takes
/// becomes arith, math, tensor and linalg on tensors.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_CONVERSION_ONNXTOEFF_RAISE_H
#define EFFC_CONVERSION_ONNXTOEFF_RAISE_H

#include "effc/Conversion/OnnxToEff/RaiseScans.h"
#include "effc/Dialect/Eff/Eff.h"
#include "effc/Dialect/ONNX/Onnx.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Pass/Pass.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace effc {

struct RaiseOptions {
  eff::EntryKind kind = eff::EntryKind::Decode;
  /// What the graph was bound to.
  int64_t batch = 1, tokens = 1, past = 1;
  /// The sizes of other symbols, as NAME=VALUE.
  std::vector<std::string> dims;
  /// At most this capacity for caches; 0 takes the model's own, or 2048 where
  /// it names none.
  int64_t maxLength = 0;
  /// Pairs of state names, past and present, that the rules of naming do not
  /// find.
  std::vector<std::pair<std::string, std::string>> statePairs;
  /// The entry function's name; empty: `decode_b1`, `prefill_b1_t128`,
  /// `forward_b1`.
  std::string entryName;
  /// The text of the genai_config.json beside the model, empty when there is
  /// none.
  std::string genaiConfig;
  /// The window of attention over each key cache, by the name of its past, as a
  /// graph bound to a long past shows it. A short past shows none.
  std::map<std::string, int64_t> windows;
  /// Where each `Scan` node is noted, raised or not; null: nowhere.
  std::vector<ScanReport> *scans = nullptr;
};

/// The name of an entry point of these options: `decode_b1`, `prefill_b1_t128`,
/// `forward_b1`.
std::string entryName(const RaiseOptions &options);

/// Raises `@main` of `onnxModule` into a new entry function of `effModule`,
/// which may hold other entry points of the same model: weights, states and
/// caches are shared by name, and an entry point that disagrees about one is an
/// error. Reports errors as diagnostics; `effModule` is unchanged then.
mlir::FailureOr<mlir::func::FuncOp> raiseToEff(mlir::ModuleOp onnxModule,
                                               mlir::ModuleOp effModule,
                                               const RaiseOptions &options);

/// Whether two entry functions are the same but for names and locations. A
/// model raised at two past lengths must give equal functions: nothing of the
/// past length may remain.
bool sameEntry(mlir::func::FuncOp a, mlir::func::FuncOp b);

/// Checks that nothing of the past length is left in `entry`: raises `other`,
/// the same graph bound to the past length of `options`, and compares. A
/// position that became a constant is the error CannotRaise; nothing else
/// changes.
mlir::LogicalResult checkPastIsGone(mlir::func::FuncOp entry,
                                    mlir::ModuleOp other,
                                    const RaiseOptions &options);

#define GEN_PASS_DECL
#include "effc/Conversion/OnnxToEff/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "effc/Conversion/OnnxToEff/Passes.h.inc"

} // namespace effc

#endif // EFFC_CONVERSION_ONNXTOEFF_RAISE_H
