//===- math.h - elementary functions on vectors -----------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Elementary functions for kernels and epilogues, without tables or calls.
/// Largest errors in ulp of the f32 result, with subnormal arguments and
/// results flushed (unittests/Target/MathTest samples the whole range):
/// exp 1.2, exp2 1.2, expm1 2.3, log 0.9, log2 1.4, log10 2.1, log1p 2.5,
/// tanh 3.1, sigmoid and silu 2.4, erf 6.1 (3.6e-7 absolute), pow 0.51, sin and
/// cos 1.6 for |x| <= 1e6.
///
//===----------------------------------------------------------------------===//

#ifndef EFF_KERNELS_X86_MATH_H
#define EFF_KERNELS_X86_MATH_H

#include "runtime/kernels/x86/spec.h"

namespace kernels {

EFF_INLINE f32x16 infinity() { return (f32x16)splat(0x7f800000u); }
EFF_INLINE f32x16 quietNan() { return (f32x16)splat(0x7fc00000u); }
EFF_INLINE f32x16 copySign(f32x16 magnitude, f32x16 sign) {
  return (f32x16)(((u32x16)magnitude & 0x7fffffffu) |
                  ((u32x16)sign & 0x80000000u));
}

/// x rounded to the nearest integer, |x| < 2^22; NaN stays NaN.
EFF_INLINE f32x16 nearest(f32x16 x) {
  // Adding 1.5 * 2^23 leaves no bits behind the point.
  return (x + 12582912.0f) - 12582912.0f;
}
/// The integer that `nearest` gave.
EFF_INLINE i32x16 integer(f32x16 k) {
  return (i32x16)(k + 12582912.0f) - 0x4b400000;
}

/// y * 2^k for an integer k in [-252, 254].
EFF_INLINE f32x16 scalePow2(f32x16 y, f32x16 k) {
  if (EFF_SPEC(isa) >= kIsaV4)
    return (f32x16)__builtin_ia32_scalefps512_mask(
        y, k, y, static_cast<uint16_t>(-1), 4);
  // Two exact steps, so that the last one rounds results that are subnormal.
  i32x16 n = integer(k), half = n >> 1;
  return y * (f32x16)((half + 127) << 23) * (f32x16)((n - half + 127) << 23);
}

/// e^r - 1 for |r| <= ln(2) / 2, divided by r: polynomial of degree 6 (1 + r /
/// 2 + r^2 / 6 + ...).
EFF_INLINE f32x16 expPolynomial(f32x16 r) {
  f32x16 p = splat(1.0f / 5040);
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  return p * r + 1.0f;
}

/// Clamp that keeps NaN.
EFF_INLINE f32x16 clamp(f32x16 x, float low, float high) {
  x = splat(low) > x ? splat(low) : x;
  return splat(high) < x ? splat(high) : x;
}

EFF_INLINE f32x16 exp(f32x16 x) {
  x = clamp(x, -104.0f, 89.0f);
  f32x16 k = nearest(x * 1.44269504f);
  f32x16 r = x - k * 0.693359375f; // exact: 9 bits of k times 9 bits
  r = r - k * -2.12194440e-4f;
  return scalePow2(expPolynomial(r) * r + 1.0f, k);
}

EFF_INLINE f32x16 exp2(f32x16 x) {
  x = clamp(x, -150.0f, 129.0f);
  f32x16 k = nearest(x);
  f32x16 r = (x - k) * 0.693147182f;
  return scalePow2(expPolynomial(r) * r + 1.0f, k);
}

EFF_INLINE f32x16 expm1(f32x16 x) {
  f32x16 bounded = clamp(x, -104.0f, 89.0f);
  f32x16 k = nearest(bounded * 1.44269504f);
  f32x16 r = bounded - k * 0.693359375f;
  r = r - k * -2.12194440e-4f;
  f32x16 m = expPolynomial(r) * r;
  // 2^n (m + 1) - 1 = 2^n m + (2^n - 1), where 2^n - 1 is exact for -24 < n
  // < 24.
  i32x16 exponent = integer(clamp(k, -30.0f, 30.0f));
  f32x16 power = (f32x16)((exponent + 127) << 23);
  f32x16 y = m * power + (power - 1.0f);
  y = k > 24.0f ? scalePow2(m + 1.0f, k) : y;
  return x == 0.0f ? x : y;
}

/// x = m * 2^e with m in [sqrt(1/2), sqrt(2)), for positive normal x.
EFF_INLINE f32x16 splitExponent(f32x16 x, f32x16 &m) {
  i32x16 e = ((i32x16)x - 0x3f3504f3) >> 23;
  m = (f32x16)((i32x16)x - (e << 23));
  return __builtin_convertvector(e, f32x16);
}

/// Results of logarithms for arguments that are not positive finite numbers;
/// subnormal ones count as 0.
EFF_INLINE f32x16 logSpecial(f32x16 x, f32x16 y) {
  y = x == infinity() ? x : y;
  y = x < 1.17549435e-38f ? -infinity() : y;
  y = x < 0.0f ? quietNan() : y;
  return x == x ? y : x;
}

/// ln(1 + z) - z + z^2 / 2 for 1 + z in [sqrt(1/2), sqrt(2)).
EFF_INLINE f32x16 logPolynomial(f32x16 z) {
  f32x16 p = splat(7.0376836292e-2f);
  p = p * z - 1.1514610310e-1f;
  p = p * z + 1.1676998740e-1f;
  p = p * z - 1.2420140846e-1f;
  p = p * z + 1.4249322787e-1f;
  p = p * z - 1.6668057665e-1f;
  p = p * z + 2.0000714765e-1f;
  p = p * z - 2.4999993993e-1f;
  p = p * z + 3.3333331174e-1f;
  return p * z * z * z;
}

EFF_INLINE f32x16 log(f32x16 x) {
  f32x16 m;
  f32x16 e = splitExponent(x, m);
  f32x16 z = m - 1.0f;
  f32x16 y = logPolynomial(z) + e * -2.12194440e-4f;
  y = y - z * z * 0.5f;
  return logSpecial(x, (z + y) + e * 0.693359375f);
}

EFF_INLINE f32x16 log2(f32x16 x) {
  f32x16 m;
  f32x16 e = splitExponent(x, m);
  f32x16 z = m - 1.0f;
  f32x16 y = logPolynomial(z) - z * z * 0.5f;
  // log2(e) = 1 + 0.44269504: the first term is exact.
  return logSpecial(x, y * 0.44269504f + z * 0.44269504f + y + z + e);
}

EFF_INLINE f32x16 log10(f32x16 x) {
  f32x16 m;
  f32x16 e = splitExponent(x, m);
  f32x16 z = m - 1.0f;
  f32x16 y = logPolynomial(z) - z * z * 0.5f;
  return logSpecial(x, (y * 0.434294482f + e * 4.60503907e-6f) +
                           z * 0.434294482f + e * 0.301025391f);
}

/// ln(1 + x): the rounding of 1 + x is put right by x / ((1 + x) - 1).
EFF_INLINE f32x16 log1p(f32x16 x) {
  f32x16 u = 1.0f + x;
  f32x16 d = u - 1.0f;
  f32x16 y = log(u);
  f32x16 corrected = y * (x / d);
  y = x < 1.0e8f ? corrected : y;
  return d == 0.0f ? x : y;
}

EFF_INLINE f32x16 sigmoid(f32x16 x) { return 1.0f / (1.0f + exp(-x)); }
EFF_INLINE f32x16 silu(f32x16 x) { return x / (1.0f + exp(-x)); }

EFF_INLINE f32x16 tanh(f32x16 x) {
  f32x16 t = expm1(2.0f * min(abs(x), splat(10.0f)));
  f32x16 y = copySign(t / (t + 2.0f), x);
  return x == x ? y : x;
}

/// Rational approximation x P(x^2) / Q(x^2) on |x| < 3.75, beyond which erf
/// rounds to 1.
EFF_INLINE f32x16 erf(f32x16 x) {
  f32x16 b = clamp(x, -3.7439211627767994f, 3.7439211627767994f);
  f32x16 s = b * b;
  f32x16 p = splat(0.00022905065861350646f);
  p = p * s + 0.0034082910107109506f;
  p = p * s + 0.050955695062380861f;
  p = p * s + 0.18520832239976145f;
  p = p * s + 1.128379143519084f;
  f32x16 q = splat(-1.1791602954361697e-7f);
  q = q * s + 0.000023547966471313185f;
  q = q * s + 0.0010179625278914885f;
  q = q * s + 0.014070470171167667f;
  q = q * s + 0.11098505178285362f;
  q = q * s + 0.49746925110067538f;
  q = q * s + 1.0f;
  return abs(x) > 3.7439211627767994f ? copySign(splat(1.0f), x) : b * p / q;
}

namespace detail {
/// x - n * pi / 2 in f64 for eight lanes, n the nearest integer; the first
/// product is exact for |x| <= 1.6e6.
EFF_INLINE f64x8 reduceQuarter(f64x8 x, f64x8 &n) {
  n = (x * 0.63661977236758134 + 6755399441055744.0) - 6755399441055744.0;
  f64x8 r = x - n * 1.57079632673412561417; // 33 bits of pi / 2, so that the
                                            // product is exact
  return r - n * 6.07710050650619224932e-11;
}
} // namespace detail

/// Sine and cosine; the argument is reduced in f64.
EFF_INLINE void sincos(f32x16 x, f32x16 &sine, f32x16 &cosine) {
  typedef float f32x8 __attribute__((vector_size(32)));
  f64x8 n0, n1;
  f32x8 low = __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7);
  f32x8 high = __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
  f64x8 r0 = detail::reduceQuarter(__builtin_convertvector(low, f64x8), n0);
  f64x8 r1 = detail::reduceQuarter(__builtin_convertvector(high, f64x8), n1);
  f32x16 r = __builtin_shufflevector(
      __builtin_convertvector(r0, f32x8), __builtin_convertvector(r1, f32x8), 0,
      1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  f32x16 n = __builtin_shufflevector(
      __builtin_convertvector(n0, f32x8), __builtin_convertvector(n1, f32x8), 0,
      1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  // n < 2^24 is exact in f32; n mod 4 is all that is asked for.
  i32x16 quadrant = integer(n - 4.0f * __builtin_elementwise_floor(n * 0.25f));
  f32x16 z = r * r;
  f32x16 s = splat(-1.9515295891e-4f);
  s = s * z + 8.3321608736e-3f;
  s = s * z - 1.6666654611e-1f;
  s = s * z * r + r;
  f32x16 c = splat(2.443315711809948e-5f);
  c = c * z - 1.388731625493765e-3f;
  c = c * z + 4.166664568298827e-2f;
  c = c * z * z - 0.5f * z + 1.0f;
  i32x16 odd = (quadrant & 1) != 0;
  f32x16 a = odd ? c : s, b = odd ? s : c;
  sine = (f32x16)((i32x16)a ^ ((quadrant & 2) << 30));
  cosine = (f32x16)((i32x16)b ^ (((quadrant + 1) & 2) << 30));
}

namespace detail {
/// 2^(y log2 x) for eight positive normal x, to about 2^-40.
EFF_INLINE f64x8 powPositive(f64x8 x, f64x8 y) {
  typedef int64_t i64x8 __attribute__((vector_size(64)));
  i64x8 bits = (i64x8)x - 0x3fe6a09e667f3bcd; // of sqrt(1/2)
  // An arithmetic shift by 52, in 32-bit halves: AVX2 has none for 64 bits.
  i64x8 e = (i64x8)(((bits >> 32) << 32) >> 52);
  f64x8 m = (f64x8)((i64x8)x - (e << 52));
  f64x8 s = (m - 1.0) / (m + 1.0), z = s * s;
  f64x8 p = z * (1.0 / 15) + 1.0 / 13;
  p = p * z + 1.0 / 11;
  p = p * z + 1.0 / 9;
  p = p * z + 1.0 / 7;
  p = p * z + 1.0 / 5;
  p = p * z + 1.0 / 3;
  p = p * z + 1.0;
  f64x8 t =
      y * (__builtin_convertvector(e, f64x8) + 2.8853900817779268 * s * p);
  t = t < -160.0 ? f64x8{} - 160.0 : t;
  t = t > 160.0 ? f64x8{} + 160.0 : t;
  f64x8 shifted = t + 6755399441055744.0;
  i64x8 n = (i64x8)shifted - 0x4338000000000000;
  f64x8 r = (t - (shifted - 6755399441055744.0)) * 0.69314718055994531;
  f64x8 q = r * (1.0 / 362880) + 1.0 / 40320;
  q = q * r + 1.0 / 5040;
  q = q * r + 1.0 / 720;
  q = q * r + 1.0 / 120;
  q = q * r + 1.0 / 24;
  q = q * r + 1.0 / 6;
  q = q * r + 0.5;
  q = q * r + 1.0;
  q = q * r + 1.0;
  return q * (f64x8)((n + 1023) << 52);
}
} // namespace detail

/// x^y as C's powf; subnormal x counts as 0.
EFF_INLINE f32x16 pow(f32x16 x, f32x16 y) {
  typedef float f32x8 __attribute__((vector_size(32)));
  f32x16 a = abs(x);
  f32x16 normal = a < 1.17549435e-38f ? splat(1.0f) : a;
  normal = a == infinity() ? splat(1.0f) : normal;
  f32x8 parts[2];
#pragma clang loop unroll(full)
  for (int i = 0; i < 2; ++i) {
    f32x8 u =
        i ? __builtin_shufflevector(normal, normal, 8, 9, 10, 11, 12, 13, 14,
                                    15)
          : __builtin_shufflevector(normal, normal, 0, 1, 2, 3, 4, 5, 6, 7);
    f32x8 v = i ? __builtin_shufflevector(y, y, 8, 9, 10, 11, 12, 13, 14, 15)
                : __builtin_shufflevector(y, y, 0, 1, 2, 3, 4, 5, 6, 7);
    parts[i] = __builtin_convertvector(
        detail::powPositive(__builtin_convertvector(u, f64x8),
                            __builtin_convertvector(v, f64x8)),
        f32x8);
  }
  f32x16 r = __builtin_shufflevector(parts[0], parts[1], 0, 1, 2, 3, 4, 5, 6, 7,
                                     8, 9, 10, 11, 12, 13, 14, 15);
  f32x16 zero = {};
  r = a < 1.17549435e-38f ? (y < 0.0f ? infinity() : zero) : r;
  r = a == infinity() ? (y < 0.0f ? zero : infinity()) : r;
  f32x16 whole = __builtin_elementwise_floor(y);
  f32x16 half = y * 0.5f;
  i32x16 odd = (y == whole) & (half != __builtin_elementwise_floor(half));
  i32x16 negative = (i32x16)x < 0;
  r = (negative & odd) ? -r : r;
  r = ((x < 0.0f) & (y != whole) & (a != infinity())) ? quietNan() : r;
  r = ((x != x) | (y != y)) ? quietNan() : r;
  return ((y == 0.0f) | (x == 1.0f)) ? splat(1.0f) : r;
}

} // namespace kernels

#endif // EFF_KERNELS_X86_MATH_H
