//===- linear_i8a8.cpp - linears on int8 activations ------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// linear_i8a8.
///
/// Operands: q s8 [rows][k rounded up to 4], zero padded; scale f32 [rows]; w
/// as for linear_i8; y f32 [rows][ldy]; extras. Sums are exact in s32 (k up to
/// 66 000), then y = epilogue(scale[r] * wscale[c] * sum): within 2 ulp of the
/// exact product before the epilogue.
///
/// With VNNI the weights become unsigned by flipping their top bit (w + 128)
/// and 128 * sum(q) is taken off at the end: one instruction for each vector of
/// weights instead of one for each activation. Without it, bytes are split into
/// even and odd 16-bit halves for pmaddwd.
///
//===----------------------------------------------------------------------===//

#include "runtime/kernels/x86/linear.h"

#include <immintrin.h>

namespace kernels {
namespace {

struct Q8 {
  const uint8_t *q;
  const float *scale;
};

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
/// s16 x s16 products, two to a lane.
EFF_INLINE i32x16 dotWords(i32x16 a, i32x16 b) {
  if (EFF_SPEC(isa) >= kIsaV4)
    return (i32x16)_mm512_madd_epi16((__m512i)a, (__m512i)b);
  if (EFF_SPEC(isa) >= kIsaV3)
    return join(_mm256_madd_epi16(half(a, 0), half(b, 0)),
                _mm256_madd_epi16(half(a, 1), half(b, 1)));
  i32x4 parts[4];
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; ++i)
    parts[i] = (i32x4)_mm_madd_epi16(quarter(half(a, i / 2), i % 2),
                                     quarter(half(b, i / 2), i % 2));
  i32x8 low =
      __builtin_shufflevector(parts[0], parts[1], 0, 1, 2, 3, 4, 5, 6, 7);
  i32x8 high =
      __builtin_shufflevector(parts[2], parts[3], 0, 1, 2, 3, 4, 5, 6, 7);
  return join((__m256i)low, (__m256i)high);
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

struct I8A8 {
  using Activations = Q8;
  static constexpr int kVectors = 1;
  static constexpr int kMostRows = 12;

  static EFF_INLINE int64_t steps() { return ceilDiv(EFF_SPEC(k), 4); }
  static EFF_INLINE int64_t panelBytes() { return steps() * 64; }
  static EFF_INLINE bool vnni() {
    return EFF_SPEC(isa) == kIsaV4Vnni || EFF_SPEC(isa) == kIsaV3Vnni;
  }

  static EFF_INLINE int32_t rowSum(const uint8_t *q) {
    i32x16 acc = {};
    int64_t s = 0;
#pragma clang loop unroll(disable)
    for (; s + 16 <= steps(); s += 16)
      acc = dotBytes(acc, splat(0x01010101), (i32x16)loadBits(q + s * 4));
    int32_t sum = 0;
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; ++i)
      sum += acc[i];
#pragma clang loop unroll(disable) vectorize(disable)
    for (s *= 4; s < steps() * 4; ++s)
      sum += static_cast<int8_t>(q[s]);
    return sum;
  }

  template <int R, int P>
  static EFF_INLINE void accumulate(const LinearArgs<I8A8> &a, int64_t row,
                                    const uint8_t *w, f32x16 (&sums)[R * P]) {
    i32x16 acc[R * P] = {};
    int64_t ldq = steps() * 4;
    const uint8_t *q = a.x.q + row * ldq;
#pragma clang loop unroll(disable)
    for (int64_t s = 0; s < steps(); ++s) {
      i32x16 even[P], odd[P];
#pragma clang loop unroll(full)
      for (int p = 0; p < P; ++p) {
        const uint8_t *at = w + p * panelBytes() + s * 64;
        __builtin_prefetch(at + ahead(R));
        i32x16 bits = (i32x16)loadBits(at);
        if (vnni()) {
          even[p] = bits ^ (int32_t)0x80808080;
        } else {
          even[p] = evenBytes(bits);
          odd[p] = oddBytes(bits);
        }
      }
#pragma clang loop unroll(full)
      for (int r = 0; r < R; ++r) {
        i32x16 x = splat(static_cast<int32_t>(loadDword(q + r * ldq + s * 4)));
        i32x16 xeven = evenBytes(x), xodd = oddBytes(x);
#pragma clang loop unroll(full)
        for (int p = 0; p < P; ++p) {
          i32x16 &sum = acc[r * P + p];
          if (vnni())
            sum = dotBytes(sum, even[p], x);
          else
            sum = sum + dotWords(even[p], xeven) + dotWords(odd[p], xodd);
        }
      }
    }
    int32_t excess[R];
#pragma clang loop unroll(disable)
    for (int r = 0; r < R; ++r)
      excess[r] = vnni() ? 128 * rowSum(q + r * ldq) : 0;
#pragma clang loop unroll(full)
    for (int r = 0; r < R; ++r)
#pragma clang loop unroll(full)
      for (int p = 0; p < P; ++p)
        sums[r * P + p] =
            __builtin_convertvector(acc[r * P + p] - excess[r], f32x16);
  }

  static EFF_INLINE f32x16 scaled(const LinearArgs<I8A8> &a, f32x16 sum,
                                  int64_t row, int64_t col) {
    const float *scales = reinterpret_cast<const float *>(
        a.w + ceilDiv(EFF_SPEC(n), 16) * panelBytes());
    return a.x.scale[row] * load(scales + col) * sum;
  }
};

} // namespace
} // namespace kernels

EFF_KERNEL(linear_i8a8) {
  kernels::LinearArgs<kernels::I8A8> a = {
      {static_cast<const uint8_t *>(operands[0]),
       static_cast<const float *>(operands[1])},
      static_cast<const uint8_t *>(operands[2]),
      static_cast<float *>(operands[3]),
      operands + 4};
  kernels::linearForTarget<kernels::I8A8>(a, call, thread, threads);
}
