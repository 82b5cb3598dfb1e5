//===- Scales.h - scales of int8 activations --------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_REFERENCE_SCALES_H
#define EFFC_LIB_REFERENCE_SCALES_H

#include "Call.h"

namespace effc::reference {

/// Scales of the rows of a tensor (dynamic), of its columns, or one for all.
template <typename T> struct Scales {
  const T *values;
  int64_t rowStride, columnStride;

  T at(int64_t row, int64_t column) const {
    return values[row * rowStride + column * columnStride];
  }
};

/// The scales that an operand brings: a tensor `[batch, tokens]` or a weight
/// vector.
template <typename T>
llvm::Expected<Scales<T>> getScales(mlir::Value value, Call<T> &call) {
  if (!llvm::isa<eff::WeightType>(value.getType()))
    return Scales<T>{call.get(value).floats.data(), 1, 0};
  llvm::Expected<const Weight<T> *> vector = call.getWeight(value);
  if (!vector)
    return vector.takeError();
  bool single = (*vector)->values.size() == 1;
  return Scales<T>{(*vector)->values.data(), 0, single ? 0 : 1};
}

} // namespace effc::reference

#endif // EFFC_LIB_REFERENCE_SCALES_H
