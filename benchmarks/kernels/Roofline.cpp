//===- Roofline.cpp - what this machine can do ----------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Roofline.h"

#include "effrt/roof.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <immintrin.h>

namespace effc::bench {

/// Best rate of runs that do `work` operations each, for a quarter of a second.
/// A run is short, so that on a machine that others use as well some are
/// undisturbed: the same as for the kernels that are compared with it.
static double bestRate(Team &team, double work,
                       const std::function<void(int)> &body) {
  double best = 0, spent = 0;
  while (spent < 0.25) {
    auto start = std::chrono::steady_clock::now();
    team.run(body);
    double time =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
            .count();
    best = std::max(best, work / time);
    spent += time;
  }
  return best;
}

/// Ends the program with the error.
template <typename T> static T require(effrt::Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "%s\n", result.error().format().c_str());
    std::exit(1);
  }
  return result.take();
}

static std::unique_ptr<effrt::ThreadPool> createPool(int threads) {
  effrt::PoolOptions options;
  options.threads = threads;
  return require(effrt::ThreadPool::create(options));
}

double measureReadBandwidth(int threads) {
  return require(effrt::measureReadBandwidth(*createPool(threads)))
      .bytesPerSecond;
}

double measureDotBytes(int threads) {
  return effrt::measurePeak(*createPool(threads), 0.25).integerOps;
}

constexpr int kChains = 16;
constexpr int64_t kSteps = 20000;

__attribute__((target("avx512f"))) static void multiplyAdd512() {
  __m512 acc[kChains], x = _mm512_set1_ps(1e-30f), y = _mm512_set1_ps(0.5f);
  for (__m512 &a : acc)
    a = _mm512_set1_ps(1.0f);
  for (int64_t i = 0; i < kSteps; ++i) {
#pragma clang loop unroll(full)
    for (int j = 0; j < kChains; ++j)
      acc[j] = _mm512_fmadd_ps(acc[j], y, x);
    asm volatile("" : "+v"(x));
  }
  for (const __m512 &a : acc)
    asm volatile("" : : "v"(a));
}
__attribute__((target("avx2,fma"))) static void multiplyAdd256() {
  __m256 acc[12], x = _mm256_set1_ps(1e-30f), y = _mm256_set1_ps(0.5f);
  for (__m256 &a : acc)
    a = _mm256_set1_ps(1.0f);
  for (int64_t i = 0; i < kSteps; ++i) {
#pragma clang loop unroll(full)
    for (int j = 0; j < 12; ++j)
      acc[j] = _mm256_fmadd_ps(acc[j], y, x);
    asm volatile("" : "+x"(x));
  }
  for (const __m256 &a : acc)
    asm volatile("" : : "x"(a));
}
static void multiplyAdd128() {
  __m128 acc[12], x = _mm_set1_ps(1e-30f), y = _mm_set1_ps(0.5f);
  for (__m128 &a : acc)
    a = _mm_set1_ps(1.0f);
  for (int64_t i = 0; i < kSteps; ++i) {
#pragma clang loop unroll(full)
    for (int j = 0; j < 12; ++j)
      acc[j] = _mm_add_ps(_mm_mul_ps(acc[j], y), x);
    asm volatile("" : "+x"(x));
  }
  for (const __m128 &a : acc)
    asm volatile("" : : "x"(a));
}

double measureMultiplyAdd(Team &team, int bits) {
  double lanes = bits / 32.0, chains = bits == 512 ? kChains : 12;
  return bestRate(team, 2 * lanes * chains * kSteps * team.size(), [&](int) {
    bits == 512   ? multiplyAdd512()
    : bits == 256 ? multiplyAdd256()
                  : multiplyAdd128();
  });
}

} // namespace effc::bench
