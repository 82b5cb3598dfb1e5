//===- RaiseScans.h - scans that exporters spelled out ----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_CONVERSION_ONNXTOEFF_RAISESCANS_H
#define EFFC_CONVERSION_ONNXTOEFF_RAISESCANS_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Support/LogicalResult.h"

#include <cstdint>
#include <string>
#include <vector>

namespace effc {

struct RaiseScansOptions {
  /// Take cumulative sums with a division (F5) too: they lose small numbers,
  /// and agree to 1e-3 alone.
  bool cumulativeSums = false;
};

/// One scan or convolution of a graph.
struct ScanReport {
  std::string what;           ///< "ssm_scan", "ssd_scan" or "causal_conv1d"
  std::string form;           ///< "F1 unrolled loop", ...
  std::string anchor;         ///< the node that it was found from
  std::string dt, u, b, c, a; ///< the values that play the parts
  std::string why;            ///< why it was not raised; empty when it was
  double error = 0;     ///< largest difference found, relative to the mean
  int64_t nodes = 0;    ///< that it replaces
  int64_t bytes = 0;    ///< of all values that these make
  bool hasPast = false; ///< its state is an input of the graph
};

/// Replaces spelled-out scans and convolutions of a graph with static shapes by
/// nodes of ai.effc. States that the graph keeps in another layout (stacked, or
/// a convolution's with the newest column) become arguments
/// `past_states.N.ssm_state` [batch, channels, n] or [batch, heads, p, n] and
/// `past_states.N.conv_state` [batch, channels, k - 1].
std::vector<ScanReport> raiseScans(mlir::ModuleOp module,
                                   const RaiseScansOptions &options = {});

struct RelaxOptions {
  /// States of scans and convolutions that start at zero become arguments.
  bool states = true;
};

/// Makes batch and tokens of a graph free that was bound to one sequence of
/// `onnx.bound` tokens: each shape that was computed from them is computed
/// again. Emits an error that names the node where a number of tokens is part
/// of what the graph computes.
mlir::LogicalResult relaxGraph(mlir::ModuleOp module,
                               const RelaxOptions &options = {});

} // namespace effc

#endif // EFFC_CONVERSION_ONNXTOEFF_RAISESCANS_H
