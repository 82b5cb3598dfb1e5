//===- EvalImpl.h - parts of the evaluator ----------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_FRONTEND_ONNX_EVALIMPL_H
#define EFFC_LIB_FRONTEND_ONNX_EVALIMPL_H

#include "effc/Frontend/ONNX/Eval.h"

#include <functional>

namespace effc::onnx {

using Shape = llvm::SmallVector<int64_t>;

/// One evaluation: operands (null where absent) and results, allocated with the
/// node's types.
struct Evaluation {
  NodeOp op;
  llvm::ArrayRef<const HostTensor *> in;
  llvm::SmallVector<HostTensor> out;

  const HostTensor *operand(unsigned i) const {
    return i < in.size() ? in[i] : nullptr;
  }
  /// Operand `i`'s integers; empty when it is absent.
  Shape ints(unsigned i) const {
    const HostTensor *tensor = operand(i);
    return tensor ? Shape(tensor->ints.begin(), tensor->ints.end()) : Shape();
  }
};

/// Fills the results; false where the attributes or types are not supported.
using EvalFn = std::function<bool(Evaluation &)>;

EvalFn findElementwiseEval(llvm::StringRef name);
EvalFn findMovementEval(llvm::StringRef name);
EvalFn findScatterEval(llvm::StringRef name);
EvalFn findReduceEval(llvm::StringRef name);
EvalFn findProductEval(llvm::StringRef name);

/// Row-major strides.
inline Shape stridesOf(llvm::ArrayRef<int64_t> shape) {
  Shape strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;)
    strides[i - 1] = strides[i] * shape[i];
  return strides;
}

/// Strides of an operand along the axes of `shape`, to which it broadcasts: 0
/// where it has one element.
inline Shape broadcastStrides(llvm::ArrayRef<int64_t> operand,
                              llvm::ArrayRef<int64_t> shape) {
  Shape own = stridesOf(operand), result(shape.size(), 0);
  size_t lead = shape.size() - operand.size();
  for (size_t i = 0; i < operand.size(); ++i)
    if (operand[i] != 1)
      result[lead + i] = own[i];
  return result;
}

/// Calls `body(i, offsets)` for each element of `shape` in order, with the
/// offset that each set of strides gives.
template <size_t N, typename Body>
void forEach(llvm::ArrayRef<int64_t> shape, const std::array<Shape, N> &strides,
             Body body) {
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  Shape index(shape.size(), 0);
  std::array<int64_t, N> at{};
  for (int64_t i = 0; i < count; ++i) {
    body(i, at);
    for (size_t d = shape.size(); d-- > 0;) {
      for (size_t k = 0; k < N; ++k)
        at[k] += strides[k][d];
      if (++index[d] < shape[d])
        break;
      index[d] = 0;
      for (size_t k = 0; k < N; ++k)
        at[k] -= strides[k][d] * shape[d];
    }
  }
}

/// Copies element `from` of `a` to element `to` of `b`, which has the same
/// type.
inline void copyElement(const HostTensor &a, int64_t from, HostTensor &b,
                        int64_t to) {
  if (a.isFloat())
    b.floats[to] = a.floats[from];
  else
    b.ints[to] = a.ints[from];
}

/// The sizes before, at and after an axis.
struct Split3 {
  Split3(llvm::ArrayRef<int64_t> shape, int64_t axis) {
    for (size_t i = 0; i < shape.size(); ++i)
      (int64_t(i) < axis    ? outer
       : int64_t(i) == axis ? size
                            : inner) *= shape[i];
  }
  int64_t outer = 1, size = 1, inner = 1;
};

} // namespace effc::onnx

#endif // EFFC_LIB_FRONTEND_ONNX_EVALIMPL_H
