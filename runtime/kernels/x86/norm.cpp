//===- norm.cpp - normalisations --------------------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// - rms_norm: x [rows][ldx], w [group], y [rows][ldy], oscale?
/// - layer_norm: x [rows][ldx], w [d], bias? [d], y [rows][ldy], oscale?
/// - gated_norm: x [rows][ldx], z [rows][ldz], w [d], y [rows][ldy], oscale?,
///   zscale?; z is s8 where `z_i8` is 1
/// f32 but for codes; an f32 y may be x or z. Sums are f32 in 64 lanes that are
/// added at the end; 1 / sqrt is a division. Within 1e-5 * |y| + 1e-6 of f64
/// arithmetic. With `quant` y is s8, see quantize.h; with `hadamard` the row is
/// rotated first, see hadamard.h: both exactly as if the f32 row had been
/// stored and read again. Threads split rows and groups, rows alone where a
/// whole row must be known.
///
//===----------------------------------------------------------------------===//

#include "runtime/kernels/x86/hadamard.h"
#include "runtime/kernels/x86/math.h"
#include "runtime/kernels/x86/quantize.h"

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

/// Whether results are not stored as they come out of the norm.
EFF_INLINE bool isReworked() { return EFF_SPEC(quant) || EFF_SPEC(hadamard); }

/// Runs norm(row, group, out) for this thread's part of rows and groups; out is
/// where the f32 row goes, room of one where it is reworked.
template <class Norm>
EFF_INLINE void forRows(int64_t groups, void *y, void *oscale,
                        const eff_call *call, int32_t thread, int32_t threads,
                        Norm norm) {
  int64_t d = EFF_SPEC(d);
  if (!isReworked()) {
    Range items = split(rowCount(call) * groups, thread, threads);
    for (int64_t item = items.begin; item < items.end; ++item)
      norm(item / groups, item % groups,
           static_cast<float *>(y) + item / groups * EFF_SPEC(ldy));
    return;
  }
  auto *out = static_cast<float *>(
      __builtin_alloca_with_align((d + 16) * sizeof(float), 64 * 8));
  f32x16 scale = splat(EFF_SPEC(hadamard) ? rotationScale() : 1.0f);
  Range rows = split(rowCount(call), thread, threads);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
#pragma clang loop unroll(disable)
    for (int64_t group = 0; group < groups; ++group)
      norm(row, group, out);
    if (EFF_SPEC(hadamard))
      rotate(out);
    storeRow(d, rowOf(y, row), scaleOfRow(oscale, row), [&](int64_t i) {
      f32x16 v = load(out + i);
      return EFF_SPEC(hadamard) ? v * scale : v;
    });
  }
}

} // namespace
} // namespace kernels

using namespace kernels;

EFF_KERNEL(rms_norm) {
  const float *w = static_cast<const float *>(operands[1]);
  int64_t group = EFF_SPEC(group);
  forRows(EFF_SPEC(d) / group, operands[2], operands[3], call, thread, threads,
          [&](int64_t row, int64_t g, float *out) {
            const float *x = static_cast<const float *>(operands[0]) +
                             row * EFF_SPEC(ldx) + g * group;
            float *y = out + g * group;
            float square = sumOver(group, [&](int64_t i) {
              f32x16 v = load(x + i);
              return v * v;
            });
            f32x16 factor =
                splat(inverseRoot(square / static_cast<float>(group)));
            forEach(group, [&](int64_t i, int64_t left) {
              storeFirst(y + i, load(x + i) * factor * load(w + i), left);
            });
          });
}

EFF_KERNEL(layer_norm) {
  const float *w = static_cast<const float *>(operands[1]),
              *bias = static_cast<const float *>(operands[2]);
  int64_t d = EFF_SPEC(d);
  forRows(1, operands[3], operands[4], call, thread, threads,
          [&](int64_t row, int64_t, float *y) {
            const float *x =
                static_cast<const float *>(operands[0]) + row * EFF_SPEC(ldx);
            f32x16 mean =
                splat(sumOver(d, [&](int64_t i) { return load(x + i); }) /
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
          });
}

EFF_KERNEL(gated_norm) {
  int64_t group = EFF_SPEC(group);
  Activations gates = EFF_ACTIVATIONS(z, 1, 5);
  forRows(
      EFF_SPEC(d) / group, operands[3], operands[4], call, thread, threads,
      [&](int64_t row, int64_t g, float *out) {
        int64_t start = g * group;
        const float *x = static_cast<const float *>(operands[0]) +
                         row * EFF_SPEC(ldx) + start;
        const float *w = static_cast<const float *>(operands[2]) + start;
        float *y = out + start;
        auto gate = [&](int64_t i) { return silu(gates.get(row, start + i)); };
        if (EFF_SPEC(norm_before_gate)) {
          float square = sumOver(group, [&](int64_t i) {
            f32x16 v = load(x + i);
            return v * v;
          });
          f32x16 factor =
              splat(inverseRoot(square / static_cast<float>(group)));
          forEach(group, [&](int64_t i, int64_t left) {
            storeFirst(y + i, load(x + i) * factor * load(w + i) * gate(i),
                       left);
          });
          return;
        }
        forEach(group, [&](int64_t i, int64_t left) {
          storeFirst(y + i, load(x + i) * gate(i), left);
        });
        float square = sumOver(group, [&](int64_t i) {
          f32x16 v = load(y + i);
          return v * v;
        });
        f32x16 factor = splat(inverseRoot(square / static_cast<float>(group)));
        forEach(group, [&](int64_t i, int64_t left) {
          storeFirst(y + i, load(y + i) * factor * load(w + i), left);
        });
      });
}
