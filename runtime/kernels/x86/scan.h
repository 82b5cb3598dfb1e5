//===- scan.h - what convolutions and scans share ---------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFF_KERNELS_X86_SCAN_H
#define EFF_KERNELS_X86_SCAN_H

#include "runtime/kernels/x86/codes.h"
#include "runtime/kernels/x86/math.h"

namespace kernels {

/// Zeros for `count` columns of the tokens from `from` on.
EFF_INLINE void clearPadding(float *y, int64_t from, int64_t count) {
#pragma clang loop unroll(disable)
  for (int64_t t = from; t < EFF_SPEC(tokens); ++t)
    storeFirst(y + t * EFF_SPEC(ldy), f32x16{}, count);
}

/// ln(1 + e^x).
EFF_INLINE f32x16 softplus(f32x16 x) {
  return log1p(exp(-abs(x))) + max(x, f32x16{});
}

/// Time steps of a scan from what the model computes.
EFF_INLINE f32x16 timeStep(f32x16 dt) {
  return EFF_SPEC(dt_softplus) ? softplus(dt) : dt;
}

} // namespace kernels

#endif // EFF_KERNELS_X86_SCAN_H
