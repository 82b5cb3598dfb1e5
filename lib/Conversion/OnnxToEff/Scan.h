//===- Scan.h - what all forms of a scan have in common ---------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_ONNXTOEFF_SCAN_H
#define EFFC_LIB_CONVERSION_ONNXTOEFF_SCAN_H

#include "Emitter.h"

namespace effc::raise {

/// The op that carries the recurrence, and what surrounds it: `+ D x` and `*
/// silu(z)`.
struct ScanSurroundings {
  onnx::NodeOp scan;
  Value out;    ///< the value that the raised op gives
  Value skip;   ///< constant D, null when there is none
  View skipped; ///< what D multiplies
  Value gate;   ///< z, null when there is none
  llvm::SmallVector<mlir::Operation *> covers;
};

/// Reads `root` as a scan accepted by `isScan`, or as a sum and product around
/// one that nothing else reads.
std::optional<ScanSurroundings>
surroundings(Graph &graph, onnx::NodeOp root,
             llvm::function_ref<bool(onnx::NodeOp)> isScan);

/// How the result of a scan lies in the value of the graph: seen as `shape`,
/// then permuted; in plain order when empty.
struct ScanResult {
  llvm::SmallVector<int64_t> shape, perm;
  void define(Emitter &emitter, Value out, Value y) const;
};

/// A Mamba-1 scan: u, dt [batch, tokens, channels], b, c [batch, tokens, groups
/// * n].
struct SelectiveScan {
  Value out, gate, skip; ///< gate and skip may be null
  std::function<Value(Emitter &)> u, dt, a, b, c;
  State *state = nullptr; ///< null: starts at zero and keeps nothing
  llvm::SmallVector<int64_t> perm;
  int64_t n = 0, channels = 0, groups = 1;
  ScanResult y;
};
mlir::LogicalResult emitSelectiveScan(Emitter &emitter,
                                      const SelectiveScan &scan);

/// A Mamba-2 scan: x [batch, tokens, heads * p], dt [batch, tokens, heads], b,
/// c [batch, tokens, groups * n].
struct SsdScan {
  Value out, skip; ///< skip may be null
  std::function<Value(Emitter &)> x, dt, a, b, c;
  State *state = nullptr;
  llvm::SmallVector<int64_t> perm;
  int64_t heads = 0, n = 0, p = 0, groups = 1, chunk = 64;
  ScanResult y;
};
mlir::LogicalResult emitSsdScan(Emitter &emitter, const SsdScan &scan);

/// A causal convolution with a state. `perm` permutes `x` and `out` to [batch,
/// tokens, channels], and back.
struct CausalConv {
  Value x, weight, bias, out; ///< bias may be null
  llvm::SmallVector<int64_t> perm;
  State *state = nullptr;
  bool silu = false;
};
Match matchCausalConv(const CausalConv &conv,
                      llvm::ArrayRef<mlir::Operation *> covers);

} // namespace effc::raise

#endif // EFFC_LIB_CONVERSION_ONNXTOEFF_SCAN_H
