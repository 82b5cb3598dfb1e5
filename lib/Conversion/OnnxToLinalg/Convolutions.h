//===- Convolutions.h - convolutions ----------------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_ONNXTOLINALG_CONVOLUTIONS_H
#define EFFC_LIB_CONVERSION_ONNXTOLINALG_CONVOLUTIONS_H

#include "Lowering.h"

namespace effc::lower {

/// The convolution of x [N, C, D..] that is padded already with filters; `out`
/// are the spatial sizes of the result.
Value convolve(Lowering &l, Value x, Value w, int64_t groups,
               ArrayRef<int64_t> strides, ArrayRef<int64_t> dilations,
               ArrayRef<int64_t> out, Type element, bool transposed = false);

/// The convolution that the node's attributes describe, without bias; null when
/// they do not fit.
Value convolution(Lowering &l, Value x, Value w, Type element);

/// Adds a vector along dimension 1; `bias` may be null. Null when it does not
/// fit.
Value addChannelBias(Lowering &l, Value y, Value bias);

} // namespace effc::lower

#endif // EFFC_LIB_CONVERSION_ONNXTOLINALG_CONVOLUTIONS_H
