//===- thread_pool.h - threads that run the steps of a plan ---*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===--------------------------------------------------------------------===//

#ifndef EFFRT_THREAD_POOL_H
#define EFFRT_THREAD_POOL_H

#include "effrt/effrt.h"
#include "effrt/support.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <type_traits>

namespace effrt {

/// A step with its addresses.
struct BoundStep {
  eff_kernel run;
  void *const *operands;
  uint32_t flags;
};

struct PoolOptions {
  int threads = 0; ///< 0: CpuSet::defaultThreads
  /// Bind each worker, and the caller while it works, to a processor of its
  /// own, where there are enough and no quota says that others share them.
  bool pin = true;
};

/// One thread for each part of the work: the caller is thread 0, the others
/// wait, spinning for a moment and then asleep. A pool serves one caller at a
/// time.
class ThreadPool {
public:
  static Result<std::unique_ptr<ThreadPool>> create(const PoolOptions &options);
  ~ThreadPool();

  int threads() const;

  /// Runs `body(thread, threads)` on every thread and waits for all.
  template <typename F> void parallel(F &&body) {
    using Body = std::remove_reference_t<F>;
    run([](void *context, int thread,
           int threads) { (*static_cast<Body *>(context))(thread, threads); },
        const_cast<void *>(static_cast<const void *>(&body)));
  }

  /// Runs the steps in order, all threads together, with denormals flushed to
  /// zero. Stops before the next step when `interrupt` is set and says so by
  /// returning false.
  bool runSteps(const BoundStep *steps, size_t count, const eff_call &call,
                const std::atomic<int> *interrupt = nullptr);

  struct Impl;
  explicit ThreadPool(std::unique_ptr<Impl> impl);

private:
  void run(void (*body)(void *, int, int), void *context);
  std::unique_ptr<Impl> impl_;
};

/// Denormals count as zero while it lives, in the thread that made it.
class FlushDenormals {
public:
  FlushDenormals();
  ~FlushDenormals();
  FlushDenormals(const FlushDenormals &) = delete;
  FlushDenormals &operator=(const FlushDenormals &) = delete;

private:
  unsigned saved_;
};

} // namespace effrt

#endif // EFFRT_THREAD_POOL_H
