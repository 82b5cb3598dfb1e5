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
  double bytesPerSecond = 0; ///< the best pass
  uint64_t bufferBytes = 0;
  int passes = 0;
};

/// Reads a buffer much larger than the caches with all threads of the pool, as
/// often as fits in `seconds` (filling it first takes as long again).
Result<Bandwidth> measureReadBandwidth(ThreadPool &pool, double seconds = 0.3);

struct Peak {
  double flops = 0;              ///< f32 multiply-adds count two
  const char *instructions = ""; ///< "AVX-512", "AVX2", "SSE2"
};

/// Multiply-adds in registers on all threads of the pool.
Peak measurePeakFlops(ThreadPool &pool, double seconds = 0.05);

} // namespace effrt

#endif // EFFRT_ROOF_H
