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
#include <vector>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace effrt {
namespace {

using Clock = std::chrono::steady_clock;
double secondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Bytes that a reader's part is a multiple of.
constexpr uint64_t grain = 32768;
/// Reads [data, data + size) and gives something that depends on all of it.
using Reader = uint64_t (*)(const uint8_t *data, uint64_t size);
/// Runs `rounds` rounds of multiply-adds and gives something that depends on
/// them.
using Multiplier = float (*)(uint64_t rounds);

/// A multiplier and the operations of one of its rounds.
struct Arithmetic {
  Multiplier run;
  double operations;
};

/// Which way of reading is the fastest differs between machines: in one or in
/// several streams side by side, `unroll` vectors of each at a time, asking for
/// memory `ahead` bytes before it is read (0: the hardware alone guesses).
template <int streams, int unroll, int ahead> struct Way {
  template <typename Vector>
  static __attribute__((always_inline)) uint64_t read(const uint8_t *data,
                                                      uint64_t size) {
    constexpr uint64_t line = 64, step = unroll * sizeof(Vector);
    static_assert(grain % (streams * step) == 0, "parts end with a step");
    Vector sums[8] = {};
    uint64_t part = size / streams;
    for (uint64_t at = 0; at < part; at += step)
      for (uint64_t stream = 0; stream < streams; ++stream) {
        const uint8_t *from = data + stream * part + at;
        for (uint64_t i = 0; i < unroll; ++i) {
          const uint8_t *next = from + i * sizeof(Vector);
          if (ahead != 0 && i * sizeof(Vector) % line == 0)
            __builtin_prefetch(next + ahead);
          sums[(stream * unroll + i) % 8] ^=
              *reinterpret_cast<const Vector *>(next);
        }
      }
    for (int i = 1; i < 8; ++i)
      sums[0] ^= sums[i];
    uint64_t words[sizeof(Vector) / 8], all = 0;
    std::memcpy(words, &sums[0], sizeof words);
    for (uint64_t word : words)
      all ^= word;
    return all;
  }
};

template <int bytes> struct VectorOf;
template <> struct VectorOf<16> {
  typedef uint64_t Type __attribute__((vector_size(16), may_alias));
};

template <typename W> uint64_t read128(const uint8_t *data, uint64_t size) {
  return W::template read<VectorOf<16>::Type>(data, size);
}
#if defined(__x86_64__)
template <> struct VectorOf<32> {
  typedef uint64_t Type __attribute__((vector_size(32), may_alias));
};
template <> struct VectorOf<64> {
  typedef uint64_t Type __attribute__((vector_size(64), may_alias));
};
template <typename W>
__attribute__((target("avx2"))) uint64_t read256(const uint8_t *data,
                                                 uint64_t size) {
  return W::template read<VectorOf<32>::Type>(data, size);
}
template <typename W>
__attribute__((target("avx512f"))) uint64_t read512(const uint8_t *data,
                                                    uint64_t size) {
  return W::template read<VectorOf<64>::Type>(data, size);
}
#endif

/// The ways worth trying.
template <typename W> Reader readerFor(uint64_t features) {
#if defined(__x86_64__)
  if (features & EFF_FEATURE_X86_64_V4)
    return read512<W>;
  if (features & EFF_FEATURE_X86_64_V3)
    return read256<W>;
#endif
  (void)features;
  return read128<W>;
}
std::vector<Reader> readersFor(uint64_t features) {
  return {readerFor<Way<1, 8, 0>>(features),
          readerFor<Way<1, 8, 4096>>(features),
          readerFor<Way<2, 4, 1024>>(features),
          readerFor<Way<4, 4, 0>>(features),
          readerFor<Way<4, 1, 1024>>(features),
          readerFor<Way<8, 1, 512>>(features)};
}

#if defined(__x86_64__)
__attribute__((target("clflushopt"))) void evictLines(const uint8_t *data,
                                                      uint64_t size) {
  for (uint64_t at = 0; at < size; at += 64)
    _mm_clflushopt(const_cast<uint8_t *>(data + at));
  _mm_sfence();
}

bool canEvict() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 23 & 1);
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

// The barrier keeps sums of constants from being computed by the compiler.
__attribute__((target("avx512f,avx512bw,avx512vnni"))) float
dotBytes512(uint64_t rounds) {
  __m512i sum[chains] = {}, a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(5);
  for (uint64_t r = 0; r < rounds; ++r) {
    for (int i = 0; i < chains; ++i)
      sum[i] = _mm512_dpbusd_epi32(sum[i], a, b);
    asm volatile("" : "+v"(a));
  }
  for (int i = 1; i < chains; ++i)
    sum[0] = _mm512_add_epi32(sum[0], sum[i]);
  return float(_mm512_cvtsi512_si32(sum[0]));
}

__attribute__((target("avx2,avxvnni"))) float dotBytes256(uint64_t rounds) {
  __m256i sum[chains] = {}, a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(5);
  for (uint64_t r = 0; r < rounds; ++r) {
    for (int i = 0; i < chains; ++i)
      sum[i] = _mm256_dpbusd_avx_epi32(sum[i], a, b);
    asm volatile("" : "+x"(a));
  }
  for (int i = 1; i < chains; ++i)
    sum[0] = _mm256_add_epi32(sum[0], sum[i]);
  return float(_mm256_cvtsi256_si32(sum[0]));
}

// Without VNNI bytes are widened: half as many products, and no saturation.
__attribute__((target("avx512f,avx512bw"))) float dotWords512(uint64_t rounds) {
  __m512i sum[chains] = {}, a = _mm512_set1_epi16(3), b = _mm512_set1_epi16(5);
  for (uint64_t r = 0; r < rounds; ++r) {
    for (int i = 0; i < chains; ++i)
      sum[i] = _mm512_add_epi32(sum[i], _mm512_madd_epi16(a, b));
    asm volatile("" : "+v"(a));
  }
  for (int i = 1; i < chains; ++i)
    sum[0] = _mm512_add_epi32(sum[0], sum[i]);
  return float(_mm512_cvtsi512_si32(sum[0]));
}

__attribute__((target("avx2"))) float dotWords256(uint64_t rounds) {
  __m256i sum[chains] = {}, a = _mm256_set1_epi16(3), b = _mm256_set1_epi16(5);
  for (uint64_t r = 0; r < rounds; ++r) {
    for (int i = 0; i < chains; ++i)
      sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(a, b));
    asm volatile("" : "+x"(a));
  }
  for (int i = 1; i < chains; ++i)
    sum[0] = _mm256_add_epi32(sum[0], sum[i]);
  return float(_mm256_cvtsi256_si32(sum[0]));
}

float dotWords128(uint64_t rounds) {
  __m128i sum[chains] = {}, a = _mm_set1_epi16(3), b = _mm_set1_epi16(5);
  for (uint64_t r = 0; r < rounds; ++r) {
    for (int i = 0; i < chains; ++i)
      sum[i] = _mm_add_epi32(sum[i], _mm_madd_epi16(a, b));
    asm volatile("" : "+x"(a));
  }
  for (int i = 1; i < chains; ++i)
    sum[0] = _mm_add_epi32(sum[0], sum[i]);
  return float(_mm_cvtsi128_si32(sum[0]));
}
#else
void evictLines(const uint8_t *, uint64_t) {}
bool canEvict() { return false; }
constexpr int chains = 12;
#endif

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

/// A buffer large enough that a pass over it takes milliseconds; where it
/// cannot be evicted, also several times larger than the caches.
uint64_t bufferBytes(uint64_t threads, bool evicts) {
  constexpr uint64_t least = uint64_t(64) << 20, most = uint64_t(1) << 30;
  uint64_t bytes = std::max(least, threads * (uint64_t(16) << 20));
  if (!evicts)
    bytes = std::max(bytes, 4 * lastLevelCacheBytes());
  uint64_t available =
      uint64_t(sysconf(_SC_AVPHYS_PAGES)) * uint64_t(sysconf(_SC_PAGESIZE));
  return std::min({bytes, most, std::max(available / 4, least / 4)});
}

/// The compiler must not see through what is measured.
template <typename T> void keep(T value) {
  static std::atomic<T> sink;
  sink.store(value, std::memory_order_relaxed);
}

} // namespace

/// The best way's median rate. A pass calls `prepare(thread)` untimed, then
/// reads the part of each thread, `part` bytes from `partOf(thread, pass)`.
template <typename Prepare, typename PartOf>
static Bandwidth bestWay(ThreadPool &pool, uint64_t part, double seconds,
                         Prepare &&prepare, PartOf &&partOf) {
  // Small parts are read several times: a pass that is over at once measures
  // how threads meet.
  constexpr uint64_t least = uint64_t(1) << 20;
  constexpr size_t leastRounds = 3;
  uint64_t repeats = std::max<uint64_t>(1, least / part);
  std::vector<Reader> readers = readersFor(cpuFeatures());
  std::vector<std::vector<double>> rates(readers.size());
  Bandwidth result;
  Clock::time_point start = Clock::now();
  for (size_t round = 0; round < leastRounds || secondsSince(start) < seconds;
       ++round)
    for (size_t way = 0; way < readers.size(); ++way) {
      pool.parallel([&](int thread, int) { prepare(thread); });
      Clock::time_point begin = Clock::now();
      pool.parallel([&](int thread, int) {
        for (uint64_t i = 0; i < repeats; ++i)
          keep(readers[way](partOf(thread, result.passes), part));
      });
      rates[way].push_back(double(part * repeats) * pool.threads() /
                           secondsSince(begin));
      ++result.passes;
    }
  for (std::vector<double> &rate : rates) {
    auto middle = rate.begin() + static_cast<long>(rate.size() / 2);
    std::nth_element(rate.begin(), middle, rate.end());
    result.bytesPerSecond = std::max(result.bytesPerSecond, *middle);
  }
  return result;
}

Result<Bandwidth> measureReadBandwidth(ThreadPool &pool, double seconds) {
  uint64_t threads = uint64_t(pool.threads());
  bool evicts = canEvict();
  uint64_t part = bufferBytes(threads, evicts) / threads / grain * grain;
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
  auto partOf = [&](int thread, int) { return data + uint64_t(thread) * part; };
  Bandwidth result = bestWay(
      pool, part, seconds,
      [&](int thread) {
        if (evicts)
          evictLines(partOf(thread, 0), part);
      },
      partOf);
  result.bufferBytes = part * threads;
  return result;
}

Bandwidth measureReadBandwidth(ThreadPool &pool, const uint8_t *data,
                               uint64_t size, double seconds) {
  // Of more than a window another one is read in each pass, so that what comes
  // from the caches is what would if all were read in turn.
  constexpr uint64_t window = uint64_t(64) << 20;
  uint64_t threads = uint64_t(pool.threads());
  // Vectors are aligned.
  uint64_t lead = (64 - reinterpret_cast<uintptr_t>(data) % 64) % 64;
  uint64_t usable = size > lead ? size - lead : 0;
  uint64_t part = std::min(usable, window) / threads / grain * grain;
  Bandwidth result;
  if (part == 0)
    return result;
  uint64_t windows = usable / (part * threads);
  // What was never read is fetched from the file first.
  pool.parallel([&](int thread, int) {
    for (uint64_t i = 0; i < windows; ++i)
      keep(readerFor<Way<1, 8, 0>>(cpuFeatures())(
          data + lead + (i * threads + uint64_t(thread)) * part, part));
  });
  result = bestWay(
      pool, part, seconds, [](int) {},
      [&](int thread, int pass) {
        uint64_t index = uint64_t(pass) % windows * threads + uint64_t(thread);
        return data + lead + index * part;
      });
  result.bufferBytes = windows * part * threads;
  return result;
}

/// The best of short runs, for `seconds`.
static double bestRate(ThreadPool &pool, Arithmetic arithmetic,
                       double seconds) {
  constexpr uint64_t rounds = 200000;
  double best = 0;
  Clock::time_point start = Clock::now();
  do {
    Clock::time_point begin = Clock::now();
    pool.parallel([&](int, int) { keep(arithmetic.run(rounds)); });
    best = std::max(best, arithmetic.operations * double(rounds) *
                              pool.threads() / secondsSince(begin));
  } while (secondsSince(start) < seconds);
  return best;
}

Peak measurePeak(ThreadPool &pool, double seconds) {
  Peak peak;
  // Multiply-adds in a round of vectors of so many lanes.
  auto lanes = [](int count) { return 2.0 * count * chains; };
  Arithmetic floats = {multiplyPlain, lanes(4)}, bytes = floats;
  peak.instructions = "SSE2";
#if defined(__x86_64__)
  uint64_t features = cpuFeatures();
  bytes = {dotWords128, lanes(8)};
  if (features & EFF_FEATURE_X86_64_V4) {
    floats = {multiply512, lanes(16)};
    bytes = {dotWords512, lanes(32)};
    peak.instructions = "AVX-512";
  } else if (features & EFF_FEATURE_X86_64_V3) {
    floats = {multiply256, lanes(8)};
    bytes = {dotWords256, lanes(16)};
    peak.instructions = "AVX2";
  }
  if (features & EFF_FEATURE_AVX512_VNNI)
    bytes = {dotBytes512, lanes(64)};
  else if (features & EFF_FEATURE_AVX_VNNI)
    bytes = {dotBytes256, lanes(32)};
#endif
  peak.flops = bestRate(pool, floats, seconds);
  peak.integerOps = bestRate(pool, bytes, seconds);
  return peak;
}

} // namespace effrt
