//===- hadamard.h - Hadamard rotations of rows ------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A row of blocks * (base << log2) elements times the orthonormal matrix
/// (H_base x H_2^log2) / sqrt(order) of each block, as compress::HadamardPlan
/// has it: Sylvester's transform of each run of 2^log2 elements, stages from
/// the smallest stride up, then base x base sums over the runs, in order.
/// Additions are those of compress::transform<float>, so results are equal bit
/// for bit.
///
//===----------------------------------------------------------------------===//

#ifndef EFF_KERNELS_X86_HADAMARD_H
#define EFF_KERNELS_X86_HADAMARD_H

#include "runtime/kernels/x86/spec.h"

namespace kernels {

/// A Hadamard matrix: bit j of minus[i] is set where element (i, j) is -1.
template <int K> struct Signs {
  uint64_t minus[K] = {};
  constexpr void set(int i, int j, int sign) {
    if (sign < 0)
      minus[i] |= uint64_t(1) << j;
  }
  constexpr Signs transposed() const {
    Signs t;
    for (int i = 0; i < K; ++i)
      for (int j = 0; j < K; ++j)
        t.set(j, i, minus[i] >> j & 1 ? -1 : 1);
    return t;
  }
};

/// Legendre's symbol of x modulo an odd prime.
constexpr int character(int x, int prime) {
  if (x % prime == 0)
    return 0;
  for (int y = 1; y < prime; ++y)
    if (y * y % prime == x % prime)
      return 1;
  return -1;
}

/// Paley's second construction for q = 5.
constexpr Signs<12> makeSigns12() {
  constexpr int zero[2][2] = {{1, -1}, {-1, -1}}, one[2][2] = {{1, 1}, {1, -1}};
  Signs<12> h;
  for (int i = 0; i < 6; ++i)
    for (int j = 0; j < 6; ++j)
      for (int r = 0; r < 2; ++r)
        for (int s = 0; s < 2; ++s) {
          int c = i == 0 || j == 0 ? 1 : character(i - j + 5, 5);
          h.set(2 * i + r, 2 * j + s, i == j ? zero[r][s] : c * one[r][s]);
        }
  return h;
}

/// Williamson's array of four symmetric circulants of order N.
template <int N>
constexpr Signs<4 * N> williamson(const char *a, const char *b, const char *c,
                                  const char *d) {
  const char *rows[4] = {a, b, c, d};
  constexpr int block[4][4] = {
      {0, 1, 2, 3}, {1, 0, 3, 2}, {2, 3, 0, 1}, {3, 2, 1, 0}};
  constexpr int sign[4][4] = {
      {1, 1, 1, 1}, {-1, 1, -1, 1}, {-1, 1, 1, -1}, {-1, -1, 1, 1}};
  Signs<4 * N> h;
  for (int i = 0; i < 4 * N; ++i)
    for (int j = 0; j < 4 * N; ++j) {
      char entry = rows[block[i / N][j / N]][(j - i + 4 * N) % N];
      h.set(i, j, sign[i / N][j / N] * (entry == '+' ? 1 : -1));
    }
  return h;
}

/// Paley's first construction for q = 19, doubled.
constexpr Signs<40> makeSigns40() {
  Signs<40> h;
  for (int i = 0; i < 40; ++i)
    for (int j = 0; j < 40; ++j) {
      int r = i % 20, s = j % 20;
      int sign = r == 0             ? (s == 0 ? 1 : -1)
                 : s == 0 || r == s ? 1
                                    : character(r - s + 19, 19);
      h.set(i, j, i >= 20 && j >= 20 ? -sign : sign);
    }
  return h;
}

template <int K> constexpr Signs<K> makeSigns() {
  if constexpr (K == 12)
    return makeSigns12();
  else if constexpr (K == 20)
    return williamson<5>("+----", "+----", "++--+", "+-++-");
  else if constexpr (K == 28)
    return williamson<7>("+------", "++----+", "+-+--+-", "+--++--");
  else
    return makeSigns40();
}

/// Stage of stride H < 16 inside a vector: a + b in the lower lane of a pair, a
/// - b in the upper one.
template <int H> EFF_INLINE f32x16 butterfly(f32x16 v) {
  f32x16 sign, other;
#pragma clang loop unroll(full)
  for (int i = 0; i < 16; ++i) {
    sign[i] = i & H ? -1.0f : 1.0f;
    other[i] = v[i ^ H];
  }
  return other + v * sign;
}

/// Sylvester's transform of n = 2^log2 elements in place, not normalised.
EFF_INLINE void sylvester(float *x, int64_t n) {
  if (n < 16) {
#pragma clang loop unroll(disable)
    for (int64_t h = 1; h < n; h *= 2)
#pragma clang loop unroll(disable) vectorize(disable)
      for (int64_t i = 0; i < n; ++i)
        if (!(i & h)) {
          float a = x[i], b = x[i + h];
          x[i] = a + b;
          x[i + h] = a - b;
        }
    return;
  }
#pragma clang loop unroll_count(2)
  for (int64_t i = 0; i < n; i += 16)
    store(x + i,
          butterfly<8>(butterfly<4>(butterfly<2>(butterfly<1>(load(x + i))))));
  int64_t h = 16;
  // Two stages at a time.
#pragma clang loop unroll(disable)
  for (; 4 * h <= n; h *= 4)
#pragma clang loop unroll(disable)
    for (int64_t i = 0; i < n; i += 4 * h)
#pragma clang loop unroll_count(2)
      for (float *p = x + i; p < x + i + h; p += 16) {
        f32x16 a = load(p), b = load(p + h), c = load(p + 2 * h),
               d = load(p + 3 * h);
        f32x16 sum = a + b, difference = a - b, sum2 = c + d,
               difference2 = c - d;
        store(p, sum + sum2);
        store(p + h, difference + difference2);
        store(p + 2 * h, sum - sum2);
        store(p + 3 * h, difference - difference2);
      }
  if (h < n)
#pragma clang loop unroll_count(2)
    for (float *p = x; p < x + h; p += 16) {
      f32x16 a = load(p), b = load(p + h);
      store(p, a + b);
      store(p + h, a - b);
    }
}

/// Rows [First, First + Count) of a base matrix times the K vectors `in`.
template <int K, bool Transposed, int First, int Count>
EFF_INLINE void mixRows(const f32x16 (&in)[K], f32x16 (&out)[Count]) {
  constexpr Signs<K> kSigns =
      Transposed ? makeSigns<K>().transposed() : makeSigns<K>();
#pragma clang loop unroll(full)
  for (int k = 0; k < K; ++k)
#pragma clang loop unroll(full)
    for (int i = 0; i < Count; ++i) {
      bool minus = kSigns.minus[First + i] >> k & 1;
      if (k == 0)
        out[i] = minus ? -in[k] : in[k];
      else
        out[i] = minus ? out[i] - in[k] : out[i] + in[k];
    }
}
template <int K, bool Transposed, int First, class Put>
EFF_INLINE void mixAll(const f32x16 (&in)[K], Put put) {
  constexpr int kCount = K - First < 10 ? K - First : 10;
  f32x16 out[kCount];
  mixRows<K, Transposed, First, kCount>(in, out);
#pragma clang loop unroll(full)
  for (int i = 0; i < kCount; ++i)
    put(First + i, out[i]);
  if constexpr (First + kCount < K)
    mixAll<K, Transposed, First + kCount>(in, put);
}

/// y_i = sum_k base(i, k) x_k over the K runs of `run` elements, in place.
template <int K, bool Transposed> void mixRuns(float *x, int64_t run) {
#pragma clang loop unroll(disable)
  for (int64_t j = 0; j < run; j += 16) {
    f32x16 in[K];
#pragma clang loop unroll(full)
    for (int k = 0; k < K; ++k)
      in[k] = load(x + k * run + j);
    mixAll<K, Transposed, 0>(
        in, [&](int k, f32x16 v) { storeFirst(x + k * run + j, v, run - j); });
  }
}
template <int K> EFF_INLINE void mix(float *x, int64_t run) {
  if (EFF_SPEC(transposed))
    mixRuns<K, true>(x, run);
  else
    mixRuns<K, false>(x, run);
}

/// Rotates a row in place, but for rotationScale(). Up to 64 bytes behind the
/// row may be read.
EFF_INLINE void rotate(float *x) {
  int64_t points = int64_t(1) << EFF_SPEC(log2);
#pragma clang loop unroll(disable)
  for (int64_t block = 0; block < EFF_SPEC(blocks); ++block) {
    float *start = x + block * EFF_SPEC(base) * points;
#pragma clang loop unroll(disable)
    for (int64_t k = 0; k < EFF_SPEC(base); ++k)
      sylvester(start + k * points, points);
    if (EFF_SPEC(base) == 12)
      mix<12>(start, points);
    if (EFF_SPEC(base) == 20)
      mix<20>(start, points);
    if (EFF_SPEC(base) == 28)
      mix<28>(start, points);
    if (EFF_SPEC(base) == 40)
      mix<40>(start, points);
  }
}
/// What the elements of a rotated row are multiplied with.
EFF_INLINE float rotationScale() {
  return static_cast<float>(
      1.0 / __builtin_elementwise_sqrt(
                static_cast<double>(EFF_SPEC(base) << EFF_SPEC(log2))));
}

} // namespace kernels

#endif // EFF_KERNELS_X86_HADAMARD_H
