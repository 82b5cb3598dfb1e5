//===- dot.h - integer dot products -----------------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Dot products of the four bytes (or two words) of each of 16 lanes, in the
/// instructions that each instruction set has for them.
///
//===----------------------------------------------------------------------===//

#ifndef EFF_KERNELS_X86_DOT_H
#define EFF_KERNELS_X86_DOT_H

#include "runtime/kernels/x86/spec.h"

#include <immintrin.h>

namespace kernels {

/// int8 activations of a linear.
struct Q8 {
  const uint8_t *q;
  const float *scale; ///< [rows], or [1] where `static_scale` is 1; with
                      ///< `asymmetric` the scale, then the zero point
  EFF_INLINE int32_t zero() const {
    return EFF_SPEC(asymmetric) ? static_cast<int32_t>(scale[1]) : 0;
  }
  EFF_INLINE float scaleOf(int64_t row) const {
    return scale[EFF_SPEC(static_scale) ? 0 : row];
  }
};

/// The first `count` of four bytes at p, zeros for the others. Bytes behind a
/// row may be another thread's results: they must not count, even times 0.
EFF_INLINE i32x16 splatBytes(const uint8_t *p, int64_t count) {
  uint32_t bytes = loadDword(p);
  if (count < 4)
    bytes = count <= 0 ? 0 : bytes & ((1u << (8 * count)) - 1);
  return splat(static_cast<int32_t>(bytes));
}

/// Whether dotBytes is one instruction.
EFF_INLINE bool hasVnni() {
  return EFF_SPEC(isa) == kIsaV4Vnni || EFF_SPEC(isa) == kIsaV3Vnni;
}

typedef int i32x8 __attribute__((vector_size(32)));
typedef int i32x4 __attribute__((vector_size(16)));

EFF_INLINE i32x16 join(__m256i low, __m256i high) {
  return __builtin_shufflevector((i32x8)low, (i32x8)high, 0, 1, 2, 3, 4, 5, 6,
                                 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
EFF_INLINE __m256i half(i32x16 v, int which) {
  return which ? (__m256i)__builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13,
                                                  14, 15)
               : (__m256i)__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7);
}
EFF_INLINE __m128i quarter(__m256i v, int which) {
  i32x8 w = (i32x8)v;
  return which ? (__m128i)__builtin_shufflevector(w, w, 4, 5, 6, 7)
               : (__m128i)__builtin_shufflevector(w, w, 0, 1, 2, 3);
}

/// acc + u8 x s8 products, four to a lane.
EFF_INLINE i32x16 dotBytes(i32x16 acc, i32x16 u, i32x16 s) {
  if (EFF_SPEC(isa) >= kIsaV4Vnni)
    return (i32x16)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)u, (__m512i)s);
  return join(_mm256_dpbusd_epi32(half(acc, 0), half(u, 0), half(s, 0)),
              _mm256_dpbusd_epi32(half(acc, 1), half(u, 1), half(s, 1)));
}

/// Joins what a function of two xmm registers gives for each quarter.
template <class F> EFF_INLINE i32x16 byQuarters(i32x16 a, i32x16 b, F f) {
  i32x4 parts[4];
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; ++i)
    parts[i] = (i32x4)f(quarter(half(a, i / 2), i % 2),
                        quarter(half(b, i / 2), i % 2));
  i32x8 low =
      __builtin_shufflevector(parts[0], parts[1], 0, 1, 2, 3, 4, 5, 6, 7);
  i32x8 high =
      __builtin_shufflevector(parts[2], parts[3], 0, 1, 2, 3, 4, 5, 6, 7);
  return join((__m256i)low, (__m256i)high);
}
/// s16 x s16 products, two to a lane.
EFF_INLINE i32x16 dotWords(i32x16 a, i32x16 b) {
  if (EFF_SPEC(isa) >= kIsaV4)
    return (i32x16)_mm512_madd_epi16((__m512i)a, (__m512i)b);
  if (EFF_SPEC(isa) >= kIsaV3)
    return join(_mm256_madd_epi16(half(a, 0), half(b, 0)),
                _mm256_madd_epi16(half(a, 1), half(b, 1)));
  return byQuarters(a, b,
                    [](__m128i a, __m128i b) { return _mm_madd_epi16(a, b); });
}
/// u8 x s8 products as s16, two to a half of a lane; saturates, which u <= 15
/// does not reach.
EFF_INLINE i32x16 pairsOfBytes(i32x16 u, i32x16 s) {
  if (EFF_SPEC(isa) >= kIsaV4)
    return (i32x16)_mm512_maddubs_epi16((__m512i)u, (__m512i)s);
  if (EFF_SPEC(isa) >= kIsaV3)
    return join(_mm256_maddubs_epi16(half(u, 0), half(s, 0)),
                _mm256_maddubs_epi16(half(u, 1), half(s, 1)));
  return byQuarters(
      u, s, [](__m128i a, __m128i b) { return _mm_maddubs_epi16(a, b); });
}
/// acc + low x s + high x t for four u4 and s8 numbers each to a lane.
EFF_INLINE i32x16 dotNibbles(i32x16 acc, i32x16 low, i32x16 s, i32x16 high,
                             i32x16 t) {
  if (hasVnni())
    return dotBytes(dotBytes(acc, low, s), high, t);
  typedef short i16x32 __attribute__((vector_size(64)));
  i16x32 pairs = (i16x32)pairsOfBytes(low, s) + (i16x32)pairsOfBytes(high, t);
  return acc + dotWords((i32x16)pairs, splat(0x00010001));
}
/// Bytes 0 and 2, or 1 and 3, of each lane as 16-bit numbers.
EFF_INLINE i32x16 evenBytes(i32x16 v) {
  typedef short i16x32 __attribute__((vector_size(64)));
  return (i32x16)((i16x32)(v << 8) >> 8);
}
EFF_INLINE i32x16 oddBytes(i32x16 v) {
  typedef short i16x32 __attribute__((vector_size(64)));
  return (i32x16)((i16x32)v >> 8);
}

} // namespace kernels

#endif // EFF_KERNELS_X86_DOT_H
