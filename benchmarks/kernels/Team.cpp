//===- Team.cpp - threads that run parts of one step
//------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Team.h"

#include <xmmintrin.h>

namespace effc::bench {

static void flushSubnormals() { _mm_setcsr(_mm_getcsr() | 0x8040); }

Team::Team(int threads) : threads(threads) {
  flushSubnormals();
  for (int part = 1; part < threads; ++part)
    workers.emplace_back([this, part] { work(part); });
}

Team::~Team() {
  stop = true;
  ++generation;
  for (std::thread &worker : workers)
    worker.join();
}

void Team::work(int part) {
  flushSubnormals();
  for (int seen = 0;;) {
    for (int spins = 0; generation.load(std::memory_order_acquire) == seen;
         ++spins) {
      _mm_pause();
      // On a machine that others use as well, do not keep a core from them for
      // long.
      if (spins > 20000)
        std::this_thread::yield();
    }
    ++seen;
    if (stop)
      return;
    (*body)(part);
    running.fetch_sub(1, std::memory_order_release);
  }
}

void Team::run(const std::function<void(int)> &b) {
  body = &b;
  running.store(threads - 1, std::memory_order_relaxed);
  generation.fetch_add(1, std::memory_order_release);
  b(0);
  while (running.load(std::memory_order_acquire) > 0)
    _mm_pause();
}

} // namespace effc::bench
