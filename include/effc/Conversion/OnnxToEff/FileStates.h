//===- FileStates.h - past and present of a graph ---------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_CONVERSION_ONNXTOEFF_FILESTATES_H
#define EFFC_CONVERSION_ONNXTOEFF_FILESTATES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <string>
#include <vector>

namespace effc {

/// An input of a graph and the output that takes its place in the next call.
struct StatePair {
  unsigned input = 0, output = 0;
  /// How the output follows from the input: "append" (Concat, attention),
  /// "write" (Scatter), "shift" (the last columns), "recurrent".
  std::string kind;
  int64_t layer = -1; ///< -1 when the names do not tell
};

/// The pairs of a graph, bound or not: by name, by the flow of data, and else
/// where one output of the same declared shape and type is reached from an
/// input and from no other.
std::vector<StatePair> findStates(mlir::func::FuncOp main);

} // namespace effc

#endif // EFFC_CONVERSION_ONNXTOEFF_FILESTATES_H
