//===- linear.cpp - linears on f32 activations ------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// linear_f32, linear_bf16, linear_f16, linear_f8, linear_i8.
///
/// Operands: x f32 [rows][ldx]; w packed (below); y f32 [rows][ldy]; extras as
/// the epilogue asks.
/// - f32: [n/16][k][16] f32
/// - bf16, f16: [n/32][k][16] dwords, low half column c, high half column
///   c + 16
/// - i8: [n/16][k/4][16][4] s8, then f32 scale[n rounded up to 16]; with
/// `group`
///   or `zeros` the scales and zero points of linear_groups.h
/// Weights widen exactly; sums are f32, one chain of multiply-adds over k in
/// order. i8 multiplies the sum by the column's scale. Against sums in f64 over
/// the same weights the error is at most about k * 2^-24 * sum |x w|; tests use
/// 4 * sqrt(k) * 2^-24 of it.
///
//===----------------------------------------------------------------------===//

#include "runtime/kernels/x86/half.h"
#include "runtime/kernels/x86/linear_groups.h"

#include <immintrin.h>

namespace kernels {
namespace {

/// Formats whose sums need no work between the first k and the last.
/// `Base::widen` takes the weights of the next k from a step's 64 bytes and
/// moves those of the k behind it into their place.
template <class Base> struct Dense : Base, NoScratch {
  using Activations = const float *;
  static constexpr int kVectors = Base::kVectors;
  static constexpr int kChains = kVectors;
  static constexpr int kMostRows = Base::kMostRows;
  static constexpr int64_t kStep = Base::kStep;

  static EFF_INLINE int64_t steps() { return ceilDiv(EFF_SPEC(k), kStep); }
  static EFF_INLINE int64_t panelBytes() { return steps() * 64; }

  /// Weights of the next k, number `kk` of a step. In short tiles, whose steps
  /// are unrolled, several may share work.
  template <int R>
  static EFF_INLINE void widen(u32x16 &bits, int kk, f32x16 (&w)[kVectors]) {
    if constexpr (R <= 4 && Base::kPairs)
      if (Base::inPairs())
        return Base::widenAt(bits, kk, w);
    Base::widen(bits, w);
  }

  /// One step of `Count` values of k for all rows and panels.
  template <int R, int P, int Count>
  static EFF_INLINE void step(const float *x, const uint8_t *w,
                              f32x16 (&acc)[R * P * kVectors]) {
    u32x16 bits[P];
#pragma clang loop unroll(full)
    for (int p = 0; p < P; ++p) {
      const uint8_t *at = w + p * panelBytes();
      __builtin_prefetch(at + ahead(R));
      bits[p] = loadBits(at);
    }
    eachK<R, Count>([&](int kk) {
      f32x16 wide[P][kVectors];
#pragma clang loop unroll(full)
      for (int p = 0; p < P; ++p)
        widen<R>(bits[p], kk, wide[p]);
#pragma clang loop unroll(full)
      for (int r = 0; r < R; ++r) {
        f32x16 xs = splat(x[r * EFF_SPEC(ldx) + kk]);
#pragma clang loop unroll(full)
        for (int p = 0; p < P; ++p)
#pragma clang loop unroll(full)
          for (int v = 0; v < kVectors; ++v) {
            f32x16 &sum = acc[(r * P + p) * kVectors + v];
            sum = sum + wide[p][v] * xs;
          }
      }
    });
  }

  template <int R, int P>
  static EFF_INLINE void accumulate(const LinearArgs<Dense> &a, int64_t row,
                                    const uint8_t *w,
                                    f32x16 (&sums)[R * P * kVectors]) {
    f32x16 acc[R * P * kVectors] = {};
    const float *x = a.x + row * EFF_SPEC(ldx);
    int64_t whole = EFF_SPEC(k) / kStep;
    int64_t s = 0;
    if constexpr (R <= 4 && kStep == 1) {
#pragma clang loop unroll(disable)
      for (; s + 4 <= whole; s += 4)
#pragma clang loop unroll(full)
        for (int u = 0; u < 4; ++u)
          step<R, P, kStep>(x + s + u, w + (s + u) * 64, acc);
    }
#pragma clang loop unroll(disable)
    for (; s < whole; ++s)
      step<R, P, kStep>(x + s * kStep, w + s * 64, acc);
    lastStep<R, P, kStep - 1>(x + s * kStep, w + s * 64, acc);
#pragma clang loop unroll(full)
    for (int i = 0; i < R * P * kVectors; ++i)
      sums[i] = acc[i];
  }

  /// The k % kStep values that are left.
  template <int R, int P, int Count>
  static EFF_INLINE void lastStep(const float *x, const uint8_t *w,
                                  f32x16 (&acc)[R * P * kVectors]) {
    if constexpr (Count > 0) {
      if (EFF_SPEC(k) % kStep == Count)
        step<R, P, Count>(x, w, acc);
      else
        lastStep<R, P, Count - 1>(x, w, acc);
    }
  }

  static EFF_INLINE f32x16 scaled(const LinearArgs<Dense> &a, f32x16 sum,
                                  int64_t, int64_t col) {
    if constexpr (Base::kScaled)
      return sum * load(reinterpret_cast<const float *>(
                            a.w + ceilDiv(EFF_SPEC(n), 16) * panelBytes()) +
                        col);
    return sum;
  }
};

struct F32 {
  static constexpr int kVectors = 1;
  static constexpr int kMostRows = 12;
  static constexpr int64_t kStep = 1;
  static constexpr bool kScaled = false;
  static constexpr bool kPairs = false;
  static EFF_INLINE void widen(u32x16 &bits, f32x16 (&w)[1]) {
    w[0] = (f32x16)bits;
  }
};

struct Bf16 {
  static constexpr int kVectors = 2;
  /// Twelve rows of a power-of-two length take all ways of a set of the cache;
  /// other formats make up for that by widening less often.
  static constexpr int kMostRows = 8;
  static constexpr int64_t kStep = 1;
  static constexpr bool kScaled = false;
  static constexpr bool kPairs = false;
  static EFF_INLINE void widen(u32x16 &bits, f32x16 (&w)[2]) {
    w[0] = (f32x16)(bits << 16);
    w[1] = (f32x16)(bits & 0xffff0000u);
  }
};

struct F16 {
  static constexpr int kVectors = 2;
  static constexpr int kMostRows = 12;
  static constexpr int64_t kStep = 1;
  static constexpr bool kScaled = false;
  static constexpr bool kPairs = false;
  static EFF_INLINE void widen(u32x16 &bits, f32x16 (&w)[2]) {
    w[0] = half(bits);
    w[1] = half(bits >> 16);
  }
};

struct I8 {
  static constexpr int kVectors = 1;
  static constexpr int kMostRows = 12;
  static constexpr int64_t kStep = 4;
  static constexpr bool kScaled = true;
  static constexpr bool kPairs = false;
  static EFF_INLINE void widen(u32x16 &bits, f32x16 (&w)[1]) {
    w[0] = __builtin_convertvector((i32x16)(bits << 24) >> 24, f32x16);
    bits = bits >> 8;
  }
};

/// 8-bit floats. e5m2 is the upper half of an f16.
struct F8 {
  static constexpr int kVectors = 1;
  static constexpr int kMostRows = 12;
  static constexpr int64_t kStep = 4;
  static constexpr bool kScaled = true;
  static constexpr bool kPairs = true;
  /// e4m3fn: fraction and exponent in the places of f32, with its bias; that
  /// makes of a subnormal 2^-7 (1 + m / 8) what should be 2^-6 m / 8.
  static EFF_INLINE f32x16 fromE4M3(u32x16 bits) {
    f32x16 n = (f32x16)(((bits & 0x7fu) << 20) + (120u << 23));
    n = (bits & 0x78u) == 0u ? n * 2.0f - 0.015625f : n;
    return (f32x16)((u32x16)n | (bits & 0x80u) << 24);
  }
  static EFF_INLINE void widen(u32x16 &bits, f32x16 (&w)[1]) {
    w[0] = EFF_SPEC(format) ? half(bits << 8) : fromE4M3(bits);
    bits = bits >> 8;
  }

  /// Whether widenAt takes less work than widen.
  static EFF_INLINE bool inPairs() {
    return EFF_SPEC(isa) >= kIsaV4 && !EFF_SPEC(format);
  }
  /// The weights of k number `kk`, of bytes that stay. Two are made at a time,
  /// as bf16 in the halves of a lane: 0 and 2, 1 and 3.
  static EFF_INLINE void widenAt(u32x16 bits, int kk, f32x16 (&w)[1]) {
    u32x16 pair = pairFromE4M3(kk % 2 ? bits >> 8 : bits);
    w[0] = (f32x16)(kk < 2 ? pair << 16 : pair & 0xffff0000u);
  }
  /// Bytes 0 and 2 of each lane; as fromE4M3, with a table for what is small.
  static EFF_INLINE u32x16 pairFromE4M3(u32x16 bits) {
    typedef uint16_t u16x32 __attribute__((vector_size(64)));
    u32x16 magnitude = bits & 0x007f007fu;
    u16x32 n = ((u16x32)magnitude << 4) + (120 << 7);
    // m 2^-9 for m = 0 .. 7.
    const u16x32 small = {0,      0x3b00, 0x3b80, 0x3bc0,
                          0x3c00, 0x3c20, 0x3c40, 0x3c60};
    __mmask32 isSmall =
        _mm512_testn_epi16_mask((__m512i)bits, _mm512_set1_epi16(0x78));
    __m512i pairs = _mm512_mask_permutexvar_epi16(
        (__m512i)n, isSmall, (__m512i)magnitude, (__m512i)small);
    return (u32x16)pairs | (bits & 0x00800080u) << 8;
  }
};

/// Integers with groups or zero points.
struct Bytes {
  static constexpr int64_t kStep = 4;
  static constexpr int column(int place) { return place; }
  static EFF_INLINE f32x16 next(u32x16 &bits) {
    f32x16 w[1];
    I8::widen(bits, w);
    return w[0];
  }
};

template <class F>
EFF_INLINE void run(void *const *operands, const eff_call *call, int32_t thread,
                    int32_t threads) {
  LinearArgs<F> a = {static_cast<const float *>(operands[0]),
                     static_cast<const uint8_t *>(operands[1]),
                     operands[2],
                     nullptr,
                     operands + 3,
                     nullptr};
  linearForTarget<F>(a, call, thread, threads);
}

} // namespace
} // namespace kernels

EFF_KERNEL(linear_f32) {
  kernels::run<kernels::Dense<kernels::F32>>(operands, call, thread, threads);
}
EFF_KERNEL(linear_bf16) {
  kernels::run<kernels::Dense<kernels::Bf16>>(operands, call, thread, threads);
}
EFF_KERNEL(linear_f16) {
  kernels::run<kernels::Dense<kernels::F16>>(operands, call, thread, threads);
}
EFF_KERNEL(linear_f8) {
  kernels::run<kernels::Dense<kernels::F8>>(operands, call, thread, threads);
}
EFF_KERNEL(linear_i8) {
  if (EFF_SPEC(group) || EFF_SPEC(zeros))
    kernels::run<kernels::Grouped<kernels::Bytes>>(operands, call, thread,
                                                   threads);
  else
    kernels::run<kernels::Dense<kernels::I8>>(operands, call, thread, threads);
}
