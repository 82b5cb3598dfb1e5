//===- norm.cpp - normalisations --------------------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// rms_norm:   x [rows][ldx], w [group], y [rows][ldy]
/// layer_norm: x [rows][ldx], w [d], bias? [d], y [rows][ldy]
/// gated_norm: x [rows][ldx], z [rows][ldz], w [d], y [rows][ldy]
/// All f32; y may be x or z. Sums are f32 in 64 lanes that are added at the
/// end; 1 / sqrt is a division. Within 1e-5 * |y| + 1e-6 of f64 arithmetic.
/// Threads split rows and groups.
///
//===----------------------------------------------------------------------===//

#include "runtime/kernels/x86/math.h"
#include "runtime/kernels/x86/spec.h"

namespace kernels {
namespace {

/// Sum of value(i) .. over `count` elements; lanes beyond the last are left
/// out.
template <class Value> EFF_INLINE float sumOver(int64_t count, Value value) {
  f32x16 acc[4] = {};
  int64_t i = 0;
#pragma clang loop unroll(disable)
  for (; i + 64 <= count; i += 64)
#pragma clang loop unroll(full)
    for (int j = 0; j < 4; ++j)
      acc[j] = acc[j] + value(i + 16 * j);
#pragma clang loop unroll(disable)
  for (; i < count; i += 16)
    acc[0] = acc[0] + keepFirst(value(i), count - i, f32x16{});
  return sum((acc[0] + acc[1]) + (acc[2] + acc[3]));
}

template <class Body> EFF_INLINE void forEach(int64_t count, Body body) {
#pragma clang loop unroll_count(2)
  for (int64_t i = 0; i < count; i += 16)
    body(i, count - i);
}

EFF_INLINE float inverseRoot(float meanSquare) {
  return 1.0f /
         __builtin_elementwise_sqrt(meanSquare + fromBits(EFF_SPEC(eps_bits)));
}

} // namespace
} // namespace kernels

using namespace kernels;

EFF_KERNEL(rms_norm) {
  const float *w = static_cast<const float *>(operands[1]);
  int64_t group = EFF_SPEC(group), groups = EFF_SPEC(d) / group;
  Range items = split(rowCount(call) * groups, thread, threads);
  for (int64_t item = items.begin; item < items.end; ++item) {
    int64_t row = item / groups, start = item % groups * group;
    const float *x =
        static_cast<const float *>(operands[0]) + row * EFF_SPEC(ldx) + start;
    float *y = static_cast<float *>(operands[2]) + row * EFF_SPEC(ldy) + start;
    float square = sumOver(group, [&](int64_t i) {
      f32x16 v = load(x + i);
      return v * v;
    });
    f32x16 factor = splat(inverseRoot(square / static_cast<float>(group)));
    forEach(group, [&](int64_t i, int64_t left) {
      storeFirst(y + i, load(x + i) * factor * load(w + i), left);
    });
  }
}

EFF_KERNEL(layer_norm) {
  const float *w = static_cast<const float *>(operands[1]),
              *bias = static_cast<const float *>(operands[2]);
  Range rows = split(rowCount(call), thread, threads);
  int64_t d = EFF_SPEC(d);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const float *x =
        static_cast<const float *>(operands[0]) + row * EFF_SPEC(ldx);
    float *y = static_cast<float *>(operands[3]) + row * EFF_SPEC(ldy);
    f32x16 mean = splat(sumOver(d, [&](int64_t i) { return load(x + i); }) /
                        static_cast<float>(d));
    float square = sumOver(d, [&](int64_t i) {
      f32x16 v = load(x + i) - mean;
      return v * v;
    });
    f32x16 factor = splat(inverseRoot(square / static_cast<float>(d)));
    forEach(d, [&](int64_t i, int64_t left) {
      f32x16 v = (load(x + i) - mean) * factor * load(w + i);
      storeFirst(y + i, bias ? v + load(bias + i) : v, left);
    });
  }
}

EFF_KERNEL(gated_norm) {
  int64_t group = EFF_SPEC(group), groups = EFF_SPEC(d) / group;
  Range items = split(rowCount(call) * groups, thread, threads);
  for (int64_t item = items.begin; item < items.end; ++item) {
    int64_t row = item / groups, start = item % groups * group;
    const float *x =
        static_cast<const float *>(operands[0]) + row * EFF_SPEC(ldx) + start;
    const float *z =
        static_cast<const float *>(operands[1]) + row * EFF_SPEC(ldz) + start;
    const float *w = static_cast<const float *>(operands[2]) + start;
    float *y = static_cast<float *>(operands[3]) + row * EFF_SPEC(ldy) + start;
    if (EFF_SPEC(norm_before_gate)) {
      float square = sumOver(group, [&](int64_t i) {
        f32x16 v = load(x + i);
        return v * v;
      });
      f32x16 factor = splat(inverseRoot(square / static_cast<float>(group)));
      forEach(group, [&](int64_t i, int64_t left) {
        storeFirst(y + i,
                   load(x + i) * factor * load(w + i) * silu(load(z + i)),
                   left);
      });
      continue;
    }
    forEach(group, [&](int64_t i, int64_t left) {
      storeFirst(y + i, load(x + i) * silu(load(z + i)), left);
    });
    float square = sumOver(group, [&](int64_t i) {
      f32x16 v = load(y + i);
      return v * v;
    });
    f32x16 factor = splat(inverseRoot(square / static_cast<float>(group)));
    forEach(group, [&](int64_t i, int64_t left) {
      storeFirst(y + i, load(y + i) * factor * load(w + i), left);
    });
  }
}
