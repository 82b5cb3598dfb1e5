//===- Tensor.h - tensors of the reference interpreter ----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_REFERENCE_TENSOR_H
#define EFFC_REFERENCE_TENSOR_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"

#include <cstdint>
#include <vector>

namespace effc::reference {

/// A dense row-major tensor. Every float type is held as T (float or double),
/// every integer type as int64_t.
template <typename T> struct Tensor {
  llvm::SmallVector<int64_t, 4> shape;
  /// Elements of a float tensor; empty for integers.
  std::vector<T> floats;
  /// Elements of an integer tensor, sign-extended (i1: 0 or 1); empty for
  /// floats.
  std::vector<int64_t> integers;
  bool isInteger = false;
  /// Leading rows that hold values; the others, left out as `eff.select_rows`
  /// allows, are 0. -1: all.
  int64_t definedRows = -1;

  Tensor() = default;
  Tensor(llvm::ArrayRef<int64_t> shape, bool isInteger = false)
      : shape(shape), isInteger(isInteger) {
    if (isInteger)
      integers.resize(getNumElements());
    else
      floats.resize(getNumElements());
  }

  static Tensor fromFloats(llvm::ArrayRef<int64_t> shape,
                           llvm::ArrayRef<T> values) {
    Tensor tensor;
    tensor.shape.assign(shape.begin(), shape.end());
    tensor.floats.assign(values.begin(), values.end());
    return tensor;
  }
  static Tensor fromIntegers(llvm::ArrayRef<int64_t> shape,
                             llvm::ArrayRef<int64_t> values) {
    Tensor tensor;
    tensor.shape.assign(shape.begin(), shape.end());
    tensor.integers.assign(values.begin(), values.end());
    tensor.isInteger = true;
    return tensor;
  }

  int64_t getNumElements() const {
    int64_t product = 1;
    for (int64_t dimension : shape)
      product *= dimension;
    return product;
  }
  /// The last dimension, 1 for a scalar.
  int64_t getColumns() const { return shape.empty() ? 1 : shape.back(); }
  /// Product of all dimensions but the last.
  int64_t getRows() const {
    int64_t columns = getColumns();
    return columns ? getNumElements() / columns : 0;
  }
  int64_t getDefinedRows() const {
    return definedRows < 0 ? getRows() : definedRows;
  }
};

} // namespace effc::reference

#endif // EFFC_REFERENCE_TENSOR_H
