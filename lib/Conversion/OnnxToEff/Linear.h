//===- Linear.h - what raising knows of a linear ----------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_ONNXTOEFF_LINEAR_H
#define EFFC_LIB_CONVERSION_ONNXTOEFF_LINEAR_H

#include "Emitter.h"

namespace effc::raise {

/// One scale and zero point for a tensor of 8-bit integers; the zero point is
/// that of signed codes.
struct CodeScale {
  double scale = 1;
  int64_t zero = 0;
};
/// The scale and zero point of a tensor of this element type, where both are
/// single constants.
std::optional<CodeScale> readCodeScale(Graph &graph, mlir::Type element,
                                       Value scale, Value zero);

/// y = alpha x W + beta bias, W constant.
struct Linear {
  Value out, x, weight; ///< weight [k, n], or [n, k] when `rows`
  bool rows = false;
  Value bias; ///< constant [n] or null
  double alpha = 1, beta = 1;

  /// A weight that is no value of the graph: then `weight` is null.
  std::function<Value(Emitter &)> makeWeight;
  int64_t n = 0, k = 0; ///< of such a weight
  /// The 8-bit integers that x was dequantised from, or null; x is not read
  /// then.
  Value codes;
  CodeScale codeScale;
  /// The DynamicQuantizeLinear that makes them, or null.
  onnx::NodeOp dynamic;
  /// A bias that is no value of the graph, [n].
  std::vector<double> numbers;
  /// The result is rounded to integers.
  std::optional<CodeScale> result;
  /// What x's columns are reordered by first; empty: as they are.
  llvm::SmallVector<int64_t> order;
};

/// The MatMul of a constant matrix on the right that a node is.
std::optional<Linear> matchMatmul(Graph &graph, onnx::NodeOp root);
/// Lets a linear read the integers that its activations were dequantised from,
/// where a kernel does.
void takeCodes(Graph &graph, Linear &linear);
Match linearMatch(Linear linear, llvm::SmallVector<mlir::Operation *> covers);
/// A bias of zeros is none: exporters differ in whether they keep it.
Value withoutZeros(Graph &graph, Value bias);

/// Rows of a table by token ids, made by `table`.
Match embedMatch(onnx::NodeOp root, Value ids, int64_t width,
                 const std::function<Value(Emitter &)> &table);
/// Whether ids are an input's own numbers: eff.embed does not count negative
/// ones from the end.
bool areTokenIds(Graph &graph, Value ids);

} // namespace effc::raise

#endif // EFFC_LIB_CONVERSION_ONNXTOEFF_LINEAR_H
