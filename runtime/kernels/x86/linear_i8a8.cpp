//===- linear_i8a8.cpp - linears on int8 activations ------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// linear_i8a8.
///
/// Operands: q s8 [rows][ldq]; scale f32 [rows] or [1]; w as for linear_i8; y
/// f32 or s8 [rows][ldy]; oscale? f32 [1] or [n]; extras. Sums are exact in s32
/// (k up to 66 000), then y = epilogue((scale[r] * wscale[c]) * sum), rounded
/// to int8 where `quant` is 1. What stands behind k in a row of q is read, but
/// does not count.
///
/// With `asymmetric`, scale holds the scale and the zero point of all
/// activations; with `zeros`, columns have zero points, integers. The sum is
/// then that of (q - zero) (w - wzero), exact for k up to 33 000: the products
/// with the zero points, of sums over k, are taken off in integers that wrap
/// around.
///
/// With VNNI the weights become unsigned by flipping their top bit (w + 128)
/// and 128 * sum(q) is taken off at the end: one instruction for each vector of
/// weights instead of one for each activation. Without it, bytes are split into
/// even and odd 16-bit halves for pmaddwd.
///
//===----------------------------------------------------------------------===//

#include "runtime/kernels/x86/dot.h"
#include "runtime/kernels/x86/linear.h"

namespace kernels {
namespace {

struct I8A8 : NoScratch {
  using Activations = Q8;
  static constexpr int kVectors = 1;
  static constexpr int kChains = 1;
  static constexpr int kMostRows = 12;

  static EFF_INLINE int64_t steps() { return ceilDiv(EFF_SPEC(k), 4); }
  static EFF_INLINE int64_t panelBytes() { return steps() * 64; }
  static EFF_INLINE int32_t rowSum(const uint8_t *q) {
    i32x16 acc = {};
    int64_t s = 0;
#pragma clang loop unroll(disable)
    for (; s + 16 <= EFF_SPEC(k) / 4; s += 16)
      acc = dotBytes(acc, splat(0x01010101), (i32x16)loadBits(q + s * 4));
    int32_t sum = 0;
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; ++i)
      sum += acc[i];
#pragma clang loop unroll(disable) vectorize(disable)
    for (s *= 4; s < EFF_SPEC(k); ++s)
      sum += static_cast<int8_t>(q[s]);
    return sum;
  }

  template <int R, int P>
  static EFF_INLINE void accumulate(const LinearArgs<I8A8> &a, int64_t row,
                                    const uint8_t *w, f32x16 (&sums)[R * P]) {
    i32x16 acc[R * P] = {};
    int64_t ldq = EFF_SPEC(ldq);
    const uint8_t *q = a.x.q + row * ldq;
    auto step = [&](int64_t s, int64_t distance,
                    int64_t bytes) __attribute__((always_inline)) {
      i32x16 even[P], odd[P];
#pragma clang loop unroll(full)
      for (int p = 0; p < P; ++p) {
        const uint8_t *at = w + p * panelBytes() + s * 64;
        __builtin_prefetch(at + distance);
        i32x16 bits = (i32x16)loadBits(at);
        if (hasVnni()) {
          even[p] = bits ^ (int32_t)0x80808080;
        } else {
          even[p] = evenBytes(bits);
          odd[p] = oddBytes(bits);
        }
      }
#pragma clang loop unroll(full)
      for (int r = 0; r < R; ++r) {
        i32x16 x = splatBytes(q + r * ldq + s * 4, bytes);
        i32x16 xeven = evenBytes(x), xodd = oddBytes(x);
#pragma clang loop unroll(full)
        for (int p = 0; p < P; ++p) {
          i32x16 &sum = acc[r * P + p];
          if (hasVnni())
            sum = dotBytes(sum, even[p], x);
          else
            sum = sum + dotWords(even[p], xeven) + dotWords(odd[p], xodd);
        }
      }
    };
    // The distance of prefetches is that of the whole block.
    constexpr int64_t kBlock = 32;
    int64_t whole = EFF_SPEC(k) / 4;
#pragma clang loop unroll(disable)
    for (int64_t begin = 0; begin < whole; begin += kBlock) {
      int64_t end = least(begin + kBlock, whole),
              distance = aheadInTiles<P>(R, begin * 64, panelBytes());
#pragma clang loop unroll(disable)
      for (int64_t s = begin; s < end; ++s)
        step(s, distance, 4);
    }
    if (EFF_SPEC(k) % 4)
      step(whole, 0, EFF_SPEC(k) % 4);
    // 128 * sum(q), as the weights' offset, and sum(q).
    uint32_t excess[R], sumOfRow[R];
#pragma clang loop unroll(disable)
    for (int r = 0; r < R; ++r) {
      bool counts = hasVnni() || EFF_SPEC(zeros);
      sumOfRow[r] = counts ? static_cast<uint32_t>(rowSum(q + r * ldq)) : 0;
      excess[r] = hasVnni() ? 128 * sumOfRow[r] : 0;
    }
    u32x16 zeros[P], sumsOfW[P];
    auto zero = static_cast<uint32_t>(a.x.zero());
#pragma clang loop unroll(full)
    for (int p = 0; p < P; ++p)
      correct(a, w + p * panelBytes(), zeros[p], sumsOfW[p]);
#pragma clang loop unroll(full)
    for (int r = 0; r < R; ++r)
#pragma clang loop unroll(full)
      for (int p = 0; p < P; ++p) {
        u32x16 sum = (u32x16)acc[r * P + p] - excess[r];
        if (EFF_SPEC(zeros))
          sum = sum - zeros[p] * sumOfRow[r];
        if (EFF_SPEC(asymmetric))
          sum = sum - sumsOfW[p] * zero;
        sums[r * P + p] = __builtin_convertvector((i32x16)sum, f32x16);
      }
  }

  static EFF_INLINE const float *scalesOf(const LinearArgs<I8A8> &a) {
    return reinterpret_cast<const float *>(a.w + ceilDiv(EFF_SPEC(n), 16) *
                                                     panelBytes());
  }
  /// The zero points of a panel's columns and their sums over k of w - zero.
  static EFF_INLINE void correct(const LinearArgs<I8A8> &a,
                                 const uint8_t *panel, u32x16 &zeros,
                                 u32x16 &sumsOfW) {
    int64_t columns = ceilDiv(EFF_SPEC(n), 16) * 16,
            first = (panel - a.w) / panelBytes() * 16;
    const float *at = scalesOf(a) + columns;
    zeros = sumsOfW = u32x16{};
    if (EFF_SPEC(zeros)) {
      zeros = (u32x16) __builtin_convertvector(load(at + first), i32x16);
      at += columns;
    }
    if (EFF_SPEC(asymmetric))
      sumsOfW =
          loadBits(at + first) - zeros * static_cast<uint32_t>(EFF_SPEC(k));
  }

  static EFF_INLINE f32x16 scaled(const LinearArgs<I8A8> &a, f32x16 sum,
                                  int64_t row, int64_t col) {
    return a.x.scaleOf(row) * load(scalesOf(a) + col) * sum;
  }
};

} // namespace
} // namespace kernels

EFF_KERNEL(linear_i8a8) {
  kernels::LinearArgs<kernels::I8A8> a = {
      {static_cast<const uint8_t *>(operands[0]),
       static_cast<const float *>(operands[1])},
      static_cast<const uint8_t *>(operands[2]),
      operands[3],
      static_cast<const float *>(operands[4]),
      operands + 5,
      nullptr};
  kernels::linearForTarget<kernels::I8A8>(a, call, thread, threads);
}
