//===- rope.cpp - rotary position embedding ---------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// rope: x f32 [batch * tokens][ldx], inv_freq f32 [half], y f32 [batch *
/// tokens][ldy]; y may be x. The angle is the product position * inv_freq in
/// f32, its sine and cosine are within 2 ulp for angles up to 1e6; results are
/// within 4e-7 * (|x1| + |x2|) * scale of exact rotation by that angle. Threads
/// split rows and heads.
///
//===----------------------------------------------------------------------===//

#include "runtime/kernels/x86/math.h"
#include "runtime/kernels/x86/spec.h"

namespace kernels {
namespace {

constexpr int64_t kMaxHalf = 256;

/// Scaled sines and cosines of one position.
struct Angles {
  alignas(64) float sine[kMaxHalf], cosine[kMaxHalf];

  EFF_INLINE void compute(const float *inverseFrequencies, int64_t position) {
    f32x16 scale = splat(fromBits(EFF_SPEC(scale_bits)));
#pragma clang loop unroll(disable)
    for (int64_t i = 0; i < EFF_SPEC(half); i += 16) {
      f32x16 s, c;
      sincos(static_cast<float>(position) * load(inverseFrequencies + i), s, c);
      store(sine + i, s * scale);
      store(cosine + i, c * scale);
    }
  }
};

/// Pairs (i, i + half).
EFF_INLINE void rotateHalves(const float *x, float *y, const Angles &angles) {
  int64_t half = EFF_SPEC(half);
  for (int64_t i = 0; i < half; i += 16) {
    f32x16 x1 = load(x + i), x2 = load(x + half + i);
    f32x16 s = load(angles.sine + i), c = load(angles.cosine + i);
    storeFirst(y + i, x1 * c - x2 * s, half - i);
    storeFirst(y + half + i, x2 * c + x1 * s, half - i);
  }
}

/// Pairs (2 i, 2 i + 1).
EFF_INLINE void rotatePairs(const float *x, float *y, const Angles &angles) {
  int64_t half = EFF_SPEC(half);
  for (int64_t i = 0; i < half; i += 16) {
    int64_t left = 2 * (half - i);
    f32x16 a = load(x + 2 * i), b = left > 16 ? load(x + 2 * i + 16) : f32x16{};
    f32x16 x1 = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18,
                                        20, 22, 24, 26, 28, 30);
    f32x16 x2 = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19,
                                        21, 23, 25, 27, 29, 31);
    f32x16 s = load(angles.sine + i), c = load(angles.cosine + i);
    f32x16 y1 = x1 * c - x2 * s, y2 = x2 * c + x1 * s;
    storeFirst(y + 2 * i,
               __builtin_shufflevector(y1, y2, 0, 16, 1, 17, 2, 18, 3, 19, 4,
                                       20, 5, 21, 6, 22, 7, 23),
               left);
    if (left > 16)
      storeFirst(y + 2 * i + 16,
                 __builtin_shufflevector(y1, y2, 8, 24, 9, 25, 10, 26, 11, 27,
                                         12, 28, 13, 29, 14, 30, 15, 31),
                 left - 16);
  }
}

} // namespace
} // namespace kernels

using namespace kernels;

EFF_KERNEL(rope) {
  Angles angles;
  int64_t heads = EFF_SPEC(heads), d = EFF_SPEC(head_dim),
          rotated = 2 * EFF_SPEC(half), known = -1;
  Range items =
      split(EFF_SPEC(batch) * EFF_SPEC(tokens) * heads, thread, threads);
  for (int64_t item = items.begin; item < items.end; ++item) {
    int64_t row = item / heads, head = item % heads;
    if (row != known)
      angles.compute(static_cast<const float *>(operands[1]),
                     call->past[row / EFF_SPEC(tokens)] +
                         row % EFF_SPEC(tokens));
    known = row;
    const float *x = static_cast<const float *>(operands[0]) +
                     row * EFF_SPEC(ldx) + head * d;
    float *y =
        static_cast<float *>(operands[2]) + row * EFF_SPEC(ldy) + head * d;
    if (EFF_SPEC(interleaved))
      rotatePairs(x, y, angles);
    else
      rotateHalves(x, y, angles);
    for (int64_t i = rotated; i < d; i += 16)
      storeFirst(y + i, load(x + i), d - i);
  }
}
