//===- roof.cpp - what this machine can do at best ------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effrt/roof.h"
#include "code_image.h"
#include "effrt/cpu.h"
#include "effrt/effrt.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace effrt {
namespace {

using Clock = std::chrono::steady_clock;
double secondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Reads [data, data + size), a multiple of 512 bytes, and gives something that
/// depends on all of it.
using Reader = uint64_t (*)(const uint8_t *data, uint64_t size);
/// Runs `rounds` rounds of multiply-adds and gives something that depends on
/// them.
using Multiplier = float (*)(uint64_t rounds);

#if defined(__x86_64__)
// With or without prefetching a page ahead, where the hardware's own prefetch
// ends: which is faster differs between machines.
constexpr int ahead = 4096;

template <bool prefetch>
__attribute__((target("avx512f"))) uint64_t read512(const uint8_t *data,
                                                    uint64_t size) {
  __m512i sum[8];
  for (__m512i &s : sum)
    s = _mm512_setzero_si512();
  for (uint64_t at = 0; at < size; at += 512)
    for (int i = 0; i < 8; ++i) {
      const uint8_t *from = data + at + 64 * i;
      if (prefetch)
        _mm_prefetch(reinterpret_cast<const char *>(from + ahead), _MM_HINT_T0);
      sum[i] = _mm512_xor_si512(sum[i], _mm512_loadu_si512(from));
    }
  for (int i = 1; i < 8; ++i)
    sum[0] = _mm512_xor_si512(sum[0], sum[i]);
  uint64_t word[8]; // not a reduction: gcc warns inside its own
  std::memcpy(word, sum, sizeof word);
  return word[0] ^ word[3] ^ word[7];
}

template <bool prefetch>
__attribute__((target("avx2"))) uint64_t read256(const uint8_t *data,
                                                 uint64_t size) {
  __m256i sum[8];
  for (__m256i &s : sum)
    s = _mm256_setzero_si256();
  for (uint64_t at = 0; at < size; at += 256)
    for (int i = 0; i < 8; ++i) {
      const uint8_t *from = data + at + 32 * i;
      if (prefetch && i % 2 == 0)
        _mm_prefetch(reinterpret_cast<const char *>(from + ahead), _MM_HINT_T0);
      sum[i] = _mm256_xor_si256(
          sum[i], _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from)));
    }
  for (int i = 1; i < 8; ++i)
    sum[0] = _mm256_xor_si256(sum[0], sum[i]);
  uint64_t word[4];
  std::memcpy(word, sum, sizeof word);
  return word[0] ^ word[1] ^ word[2] ^ word[3];
}

// Enough chains to fill two units of a latency of five or less.
constexpr int chains = 12;

__attribute__((target("avx512f"))) float multiply512(uint64_t rounds) {
  __m512 sum[chains], a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
  for (int i = 0; i < chains; ++i)
    sum[i] = _mm512_set1_ps(float(i));
  for (uint64_t r = 0; r < rounds; ++r)
    for (int i = 0; i < chains; ++i)
      sum[i] = _mm512_fmadd_ps(sum[i], a, b);
  for (int i = 1; i < chains; ++i)
    sum[0] = _mm512_add_ps(sum[0], sum[i]);
  return _mm512_cvtss_f32(sum[0]);
}

__attribute__((target("avx2,fma"))) float multiply256(uint64_t rounds) {
  __m256 sum[chains], a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
  for (int i = 0; i < chains; ++i)
    sum[i] = _mm256_set1_ps(float(i));
  for (uint64_t r = 0; r < rounds; ++r)
    for (int i = 0; i < chains; ++i)
      sum[i] = _mm256_fmadd_ps(sum[i], a, b);
  for (int i = 1; i < chains; ++i)
    sum[0] = _mm256_add_ps(sum[0], sum[i]);
  return _mm256_cvtss_f32(sum[0]);
}
#else
constexpr int chains = 12;
#endif

uint64_t readPlain(const uint8_t *data, uint64_t size) {
  uint64_t sum[8] = {}, word;
  for (uint64_t at = 0; at < size; at += 64)
    for (int i = 0; i < 8; ++i) {
      std::memcpy(&word, data + at + 8 * i, 8);
      sum[i] ^= word;
    }
  for (int i = 1; i < 8; ++i)
    sum[0] ^= sum[i];
  return sum[0];
}

float multiplyPlain(uint64_t rounds) {
  float sum[4 * chains];
  for (int i = 0; i < 4 * chains; ++i)
    sum[i] = float(i);
  for (uint64_t r = 0; r < rounds; ++r)
    for (float &s : sum)
      s = s * 0.999f + 0.001f;
  float total = 0;
  for (float s : sum)
    total += s;
  return total;
}

uint64_t bufferBytes() {
  constexpr uint64_t least = uint64_t(256) << 20, most = uint64_t(1) << 30;
  uint64_t bytes = std::clamp(4 * lastLevelCacheBytes(), least, most);
  uint64_t available =
      uint64_t(sysconf(_SC_AVPHYS_PAGES)) * uint64_t(sysconf(_SC_PAGESIZE));
  return std::min(bytes, std::max(available / 4, uint64_t(16) << 20));
}

/// The compiler must not see through what is measured.
template <typename T> void keep(T value) {
  static std::atomic<T> sink;
  sink.store(value, std::memory_order_relaxed);
}

} // namespace

Result<Bandwidth> measureReadBandwidth(ThreadPool &pool, double seconds) {
  Reader readers[2] = {readPlain, readPlain};
#if defined(__x86_64__)
  if (cpuFeatures() & EFF_FEATURE_X86_64_V4) {
    readers[0] = read512<false>;
    readers[1] = read512<true>;
  } else if (cpuFeatures() & EFF_FEATURE_X86_64_V3) {
    readers[0] = read256<false>;
    readers[1] = read256<true>;
  }
#endif
  uint64_t threads = uint64_t(pool.threads());
  uint64_t part = bufferBytes() / threads / 4096 * 4096;
  Result<Mapping> buffer = Mapping::zeroed(part * threads, "the measurement",
                                           /*hugePages=*/true);
  if (!buffer)
    return buffer.takeError();
  uint8_t *data = buffer->data();
  // Each thread's part is written by it first: on its own memory node, and not
  // the one page of zeros that untouched memory shares.
  pool.parallel([&](int thread, int) {
    std::memset(data + uint64_t(thread) * part, thread + 1, part);
  });
  Bandwidth result;
  result.bufferBytes = part * threads;
  Clock::time_point start = Clock::now();
  do {
    Reader read = readers[result.passes % 2];
    Clock::time_point begin = Clock::now();
    pool.parallel([&](int thread, int) {
      keep(read(data + uint64_t(thread) * part, part));
    });
    double rate = double(result.bufferBytes) / secondsSince(begin);
    result.bytesPerSecond = std::max(result.bytesPerSecond, rate);
    ++result.passes;
  } while (result.passes < 2 || secondsSince(start) < seconds);
  return result;
}

Peak measurePeakFlops(ThreadPool &pool, double seconds) {
  Multiplier multiply = multiplyPlain;
  int width = 4;
  Peak peak;
  peak.instructions = "SSE2";
#if defined(__x86_64__)
  if (cpuFeatures() & EFF_FEATURE_X86_64_V4) {
    multiply = multiply512;
    width = 16;
    peak.instructions = "AVX-512";
  } else if (cpuFeatures() & EFF_FEATURE_X86_64_V3) {
    multiply = multiply256;
    width = 8;
    peak.instructions = "AVX2";
  }
#endif
  constexpr uint64_t rounds = 200000;
  Clock::time_point start = Clock::now();
  do {
    Clock::time_point begin = Clock::now();
    pool.parallel([&](int, int) { keep(multiply(rounds)); });
    double flops = 2.0 * width * chains * double(rounds) * pool.threads();
    peak.flops = std::max(peak.flops, flops / secondsSince(begin));
  } while (secondsSince(start) < seconds);
  return peak;
}

} // namespace effrt
