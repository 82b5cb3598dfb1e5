//===- roof.h - what this machine can do at best --------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===--------------------------------------------------------------------===//

#ifndef EFFRT_ROOF_H
#define EFFRT_ROOF_H

#include "effrt/support.h"
#include "effrt/thread_pool.h"

#include <cstdint>

namespace effrt {

struct Bandwidth {
  double bytesPerSecond = 0; ///< median of the best way to read
  uint64_t bufferBytes = 0;
  int passes = 0;
};

/// What all threads of the pool together read from main memory: the buffer is
/// evicted from the caches before each pass. Tries several ways to read for
/// about `seconds` (a buffer of 64 MiB or 16 for each thread is filled first).
Result<Bandwidth> measureReadBandwidth(ThreadPool &pool, double seconds = 0.15);

/// The same for `data`, read again and again as a model's weights are: from
/// main memory and, as far as it fits in there, from the caches. Zero when
/// there is too little to measure, under 32 KiB for each thread.
Bandwidth measureReadBandwidth(ThreadPool &pool, const uint8_t *data,
                               uint64_t size, double seconds = 0.1);

/// Operations a second; multiply-adds count two.
struct Peak {
  double flops = 0;              ///< on f32
  double integerOps = 0;         ///< on bytes, summed in 32 bits
  const char *instructions = ""; ///< "AVX-512", "AVX2", "SSE2"
};

/// Multiply-adds in registers on all threads of the pool, of floats and of
/// bytes for `seconds` each.
Peak measurePeak(ThreadPool &pool, double seconds = 0.05);

} // namespace effrt

#endif // EFFRT_ROOF_H
