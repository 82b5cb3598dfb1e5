//===- Products.h - matrix products -----------------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_ONNXTOLINALG_PRODUCTS_H
#define EFFC_LIB_CONVERSION_ONNXTOLINALG_PRODUCTS_H

#include "Lowering.h"

namespace effc::lower {

/// numpy.matmul; null when the shapes do not fit.
Value matmul(Lowering &l, Value a, Value b, Type element);

/// Softmax along one axis, of f32 or f64. A row of minus infinity gives 0 when
/// `zeroRows`, else NaN.
Value softmax(Lowering &l, Value x, int64_t axis, bool zeroRows = false);

/// The logarithm of softmax, of f32 or f64.
Value logSoftmax(Lowering &l, Value x, int64_t axis);

/// `(x - mean) / sqrt(var + epsilon)` over axes, of f32 or f64; without
/// `center`, `x / sqrt(mean(x^2) + epsilon)`. `mean` and `inverse` receive the
/// statistics, with dimensions of 1.
Value normalized(Lowering &l, Value x, ArrayRef<int64_t> axes, double epsilon,
                 bool center, Value *mean = nullptr, Value *inverse = nullptr);

/// `x * scale + bias`, broadcast; `bias` may be null. Null when the shapes do
/// not fit.
Value affine(Lowering &l, Value x, Value scale, Value bias);

} // namespace effc::lower

#endif // EFFC_LIB_CONVERSION_ONNXTOLINALG_PRODUCTS_H
