//===- linear_groups.h - linears on integers with groups --------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Packed weights with a scale, and maybe a zero point, for each row and group
/// of `group` columns (0: one group), on f32 activations:
///   y = sum over groups g of scale_g * (sum over k in g of x q - zero_g * sum
///   of x).
/// Sums of a group are chains of multiply-adds in order; groups are added in
/// order. Within the tolerance of the other linears; `zeros` cancel like the
/// weights that they are part of: the error counts |x| (|q| + |zero|) scale.
///
//===----------------------------------------------------------------------===//

#ifndef EFF_KERNELS_X86_LINEAR_GROUPS_H
#define EFF_KERNELS_X86_LINEAR_GROUPS_H

#include "runtime/kernels/x86/linear.h"

namespace kernels {

EFF_INLINE int64_t groupLength() {
  return EFF_SPEC(group) ? EFF_SPEC(group) : EFF_SPEC(k);
}
EFF_INLINE int64_t groupCount() { return ceilDiv(EFF_SPEC(k), groupLength()); }
/// Panels of 16 columns.
EFF_INLINE int64_t columnPanels() { return ceilDiv(EFF_SPEC(n), 16); }

/// Scales of the panel whose values start at `panel`; Step k are a vector.
template <int64_t Step>
EFF_INLINE const float *scalesOf(const uint8_t *w, const uint8_t *panel) {
  int64_t bytes = ceilDiv(EFF_SPEC(k), Step) * 64;
  return reinterpret_cast<const float *>(w + columnPanels() * bytes) +
         (panel - w) / bytes * groupCount() * 16;
}
/// Zero points that belong to these scales.
template <int64_t Step> EFF_INLINE const float *zerosOf(const float *scales) {
  return scales + columnPanels() * groupCount() * 16;
}

/// Base::next takes the weights of a k from a step's 64 bytes, that of
/// Base::column(place) at its place-th turn.
template <class Base> struct Grouped {
  using Activations = const float *;
  static constexpr int kVectors = 1;
  static constexpr int kChains = 1;
  static constexpr int kMostRows = 12;
  static constexpr int64_t kStep = Base::kStep;

  static EFF_INLINE int64_t panelBytes() {
    return ceilDiv(EFF_SPEC(k), kStep) * 64;
  }

  /// Zero points need the sums of the groups' activations: those of a tile's
  /// rows are kept for all of its panels.
  static EFF_INLINE int64_t scratchBytes(int rows) {
    return EFF_SPEC(zeros) ? ceilDiv(rows * groupCount() * 4, 64) * 64 : 0;
  }
  static EFF_INLINE float *sumsOf(const LinearArgs<Grouped> &a, int r) {
    return reinterpret_cast<float *>(a.scratch) + r * groupCount();
  }
  template <int R>
  static EFF_INLINE void prepare(const LinearArgs<Grouped> &a, int64_t row) {
    if (!EFF_SPEC(zeros))
      return;
#pragma clang loop unroll(disable)
    for (int r = 0; r < R; ++r)
#pragma clang loop unroll(disable)
      for (int64_t g = 0; g < groupCount(); ++g) {
        int64_t begin = g * groupLength();
        sumsOf(a, r)[g] = sumOf(a.x + (row + r) * EFF_SPEC(ldx) + begin,
                                least(groupLength(), EFF_SPEC(k) - begin));
      }
  }

  template <int R, int P, int Count>
  static EFF_INLINE void step(const float *x, const uint8_t *w,
                              f32x16 (&acc)[R * P]) {
    u32x16 bits[P];
#pragma clang loop unroll(full)
    for (int p = 0; p < P; ++p) {
      const uint8_t *at = w + p * panelBytes();
      __builtin_prefetch(at + ahead(R));
      bits[p] = loadBits(at);
    }
    eachK<R, kStep>([&](int place) {
      int kk = Base::column(place);
      f32x16 wide[P];
#pragma clang loop unroll(full)
      for (int p = 0; p < P; ++p)
        wide[p] = Base::next(bits[p]);
      if (kk >= Count)
        return;
#pragma clang loop unroll(full)
      for (int r = 0; r < R; ++r) {
        f32x16 xs = splat(x[r * EFF_SPEC(ldx) + kk]);
#pragma clang loop unroll(full)
        for (int p = 0; p < P; ++p)
          acc[r * P + p] = acc[r * P + p] + wide[p] * xs;
      }
    });
  }
  template <int R, int P, int Count>
  static EFF_INLINE void lastStep(const float *x, const uint8_t *w,
                                  f32x16 (&acc)[R * P]) {
    if constexpr (Count > 0) {
      if (EFF_SPEC(k) % kStep == Count)
        step<R, P, Count>(x, w, acc);
      else
        lastStep<R, P, Count - 1>(x, w, acc);
    }
  }

  /// The sum of activations [begin, begin + length) of a row.
  static EFF_INLINE float sumOf(const float *x, int64_t length) {
    f32x16 total = {};
#pragma clang loop unroll(disable)
    for (int64_t i = 0; i < length; i += 16)
      total = total + loadFirst(x + i, length - i);
    return sum(total);
  }

  template <int R, int P>
  static EFF_INLINE void accumulate(const LinearArgs<Grouped> &a, int64_t row,
                                    const uint8_t *w, f32x16 (&sums)[R * P]) {
    const float *x = a.x + row * EFF_SPEC(ldx);
    const float *scales = scalesOf<kStep>(a.w, w),
                *zeros = zerosOf<kStep>(scales);
#pragma clang loop unroll(full)
    for (int i = 0; i < R * P; ++i)
      sums[i] = f32x16{};
    for (int64_t g = 0; g < groupCount(); ++g) {
      f32x16 acc[R * P] = {};
      int64_t begin = g * groupLength(), s = begin / kStep,
              end =
                  least(s + ceilDiv(groupLength(), kStep), EFF_SPEC(k) / kStep);
#pragma clang loop unroll(disable)
      for (; s < end; ++s)
        step<R, P, kStep>(x + s * kStep, w + s * 64, acc);
      if (EFF_SPEC(k) % kStep && g == groupCount() - 1)
        lastStep<R, P, kStep - 1>(x + s * kStep, w + s * 64, acc);
      if (EFF_SPEC(zeros)) {
#pragma clang loop unroll(full)
        for (int r = 0; r < R; ++r) {
          f32x16 all = splat(sumsOf(a, r)[g]);
#pragma clang loop unroll(full)
          for (int p = 0; p < P; ++p)
            acc[r * P + p] = acc[r * P + p] -
                             load(zeros + (p * groupCount() + g) * 16) * all;
        }
      }
#pragma clang loop unroll(full)
      for (int p = 0; p < P; ++p) {
        f32x16 scale = load(scales + (p * groupCount() + g) * 16);
#pragma clang loop unroll(full)
        for (int r = 0; r < R; ++r)
          sums[r * P + p] = sums[r * P + p] + acc[r * P + p] * scale;
      }
    }
  }

  static EFF_INLINE f32x16 scaled(const LinearArgs<Grouped> &, f32x16 sum,
                                  int64_t, int64_t) {
    return sum;
  }
};

} // namespace kernels

#endif // EFF_KERNELS_X86_LINEAR_GROUPS_H
