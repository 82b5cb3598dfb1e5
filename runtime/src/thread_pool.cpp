//===- thread_pool.cpp - threads that run the steps of a plan -------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effrt/thread_pool.h"
#include "effrt/codes.h"
#include "effrt/cpu.h"

#include <algorithm>
#include <chrono>
#include <climits>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace effrt {
namespace {

using Word = std::atomic<uint32_t>;
static_assert(sizeof(Word) == 4, "a futex is a plain 32-bit word");

void futexWait(Word &word, uint32_t expected) {
  syscall(SYS_futex, reinterpret_cast<uint32_t *>(&word), FUTEX_WAIT_PRIVATE,
          expected, nullptr, nullptr, 0);
}

void futexWakeAll(Word &word) {
  syscall(SYS_futex, reinterpret_cast<uint32_t *>(&word), FUTEX_WAKE_PRIVATE,
          INT_MAX, nullptr, nullptr, 0);
}

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

/// A word that threads wait on until it changes. Whoever changes it calls
/// `wake`; sleepers announce themselves first, so that no wake-up is lost.
class alignas(64) Signal {
public:
  uint32_t value() const { return word_.load(std::memory_order_acquire); }

  void advance() {
    word_.fetch_add(1, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst))
      futexWakeAll(word_);
  }

  /// Returns once the value differs from `old`.
  void waitWhile(uint32_t old, std::chrono::nanoseconds spin) {
    using Clock = std::chrono::steady_clock;
    if (spin.count() > 0) {
      Clock::time_point end = Clock::now() + spin;
      do {
        for (int i = 0; i < 64; ++i) {
          if (value() != old)
            return;
          pause();
        }
      } while (Clock::now() < end);
    }
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    while (word_.load(std::memory_order_seq_cst) == old)
      futexWait(word_, old);
    sleepers_.fetch_sub(1, std::memory_order_seq_cst);
  }

private:
  Word word_{0};
  Word sleepers_{0};
};

/// All threads arrive before any leaves.
class Barrier {
public:
  explicit Barrier(int threads) : threads_(uint32_t(threads)) {}

  void arrive(std::chrono::nanoseconds spin) {
    uint32_t turn = turn_.value();
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
      arrived_.store(0, std::memory_order_relaxed);
      turn_.advance();
    } else {
      turn_.waitWhile(turn, spin);
    }
  }

private:
  alignas(64) Word arrived_{0};
  Signal turn_;
  uint32_t threads_;
};

void pinTo(pthread_t thread, int cpu) {
  int bits = std::max(cpu + 1, CPU_SETSIZE);
  cpu_set_t *mask = CPU_ALLOC(bits);
  size_t size = CPU_ALLOC_SIZE(bits);
  CPU_ZERO_S(size, mask);
  CPU_SET_S(cpu, size, mask);
  pthread_setaffinity_np(thread, size, mask); // only a preference
  CPU_FREE(mask);
}

/// Binds the calling thread to a processor while it lives. Left to itself, a
/// busy system puts it where a bound worker is, and the two take turns.
class PinCaller {
public:
  explicit PinCaller(int cpu) {
    cpu_set_t one;
    if (cpu < 0 || cpu >= CPU_SETSIZE ||
        sched_getaffinity(0, sizeof before_, &before_) != 0 ||
        !CPU_ISSET(cpu, &before_) || CPU_COUNT(&before_) == 1)
      return;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    pinned_ = sched_setaffinity(0, sizeof one, &one) == 0;
  }
  ~PinCaller() {
    if (pinned_)
      sched_setaffinity(0, sizeof before_, &before_);
  }
  PinCaller(const PinCaller &) = delete;
  PinCaller &operator=(const PinCaller &) = delete;

private:
  cpu_set_t before_;
  bool pinned_ = false;
};

} // namespace

FlushDenormals::FlushDenormals() : saved_(0) {
#if defined(__x86_64__)
  constexpr unsigned flushToZero = 0x8000, denormalsAreZero = 0x0040;
  saved_ = _mm_getcsr();
  _mm_setcsr(saved_ | flushToZero | denormalsAreZero);
#endif
}

FlushDenormals::~FlushDenormals() {
#if defined(__x86_64__)
  _mm_setcsr(saved_);
#endif
}

struct ThreadPool::Impl {
  explicit Impl(int threads) : threads(threads), barrier(threads) {}

  void work(int thread) {
    FlushDenormals flush;
    for (uint32_t seen = 0;; ++seen) {
      start.waitWhile(seen, idleSpin);
      if (stopping)
        return;
      body(context, thread, threads);
      barrier.arrive(busySpin);
    }
  }

  int threads;
  int callerCpu = -1; ///< where the caller is bound during a run; -1: anywhere
  std::chrono::nanoseconds idleSpin{50000}, busySpin{50000};
  Signal start;
  Barrier barrier;
  // Written before `start` advances, read after.
  void (*body)(void *, int, int) = nullptr;
  void *context = nullptr;
  bool stopping = false;
  std::vector<std::thread> workers;
};

ThreadPool::ThreadPool(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

ThreadPool::~ThreadPool() {
  impl_->stopping = true;
  impl_->start.advance();
  for (std::thread &worker : impl_->workers)
    worker.join();
}

int ThreadPool::threads() const { return impl_->threads; }

Result<std::unique_ptr<ThreadPool>>
ThreadPool::create(const PoolOptions &options) {
  CpuSet cpus = usableCpus();
  constexpr int most = 1024;
  if (options.threads < 0 || options.threads > most)
    return fail(Code::BadOption, "the number of threads is out of range", "",
                std::to_string(options.threads) + " is not from 0 to " +
                    std::to_string(most));
  int threads = options.threads ? options.threads : cpus.defaultThreads();
  int available = int(cpus.cpus.size());
  auto pool = std::make_unique<ThreadPool>(std::make_unique<Impl>(threads));
  Impl &impl = *pool->impl_;
  // Threads that share a processor must not keep each other from running.
  if (threads > available)
    impl.idleSpin = impl.busySpin = std::chrono::nanoseconds(0);
  // Under a quota below the machine's size others use the same processors: the
  // system knows better where there is room.
  bool pin = options.pin && threads > 1 && threads <= available &&
             (cpus.quota == 0 || cpus.quota >= available);
  if (pin)
    impl.callerCpu = cpus.cpus[0];
  for (int thread = 1; thread < threads; ++thread) {
    // std::thread reports failure by an exception; it stays inside.
    try {
      impl.workers.emplace_back([&impl, thread] { impl.work(thread); });
    } catch (const std::system_error &error) {
      impl.threads = thread;
      return fail(Code::OutOfMemory, "a thread cannot be started", "",
                  error.what(), "use fewer threads");
    }
    if (pin)
      pinTo(impl.workers.back().native_handle(), cpus.cpus[size_t(thread)]);
  }
  return pool;
}

void ThreadPool::run(void (*body)(void *, int, int), void *context) {
  Impl &impl = *impl_;
  if (impl.threads == 1)
    return body(context, 0, 1);
  PinCaller pin(impl.callerCpu);
  impl.body = body;
  impl.context = context;
  impl.start.advance();
  body(context, 0, impl.threads);
  impl.barrier.arrive(impl.busySpin);
}

bool ThreadPool::runSteps(const BoundStep *steps, size_t count,
                          const eff_call &call,
                          const std::atomic<int> *interrupt) {
  FlushDenormals flush;
  auto interrupted = [interrupt] {
    return interrupt && interrupt->load(std::memory_order_relaxed) != 0;
  };
  if (impl_->threads == 1) {
    for (size_t i = 0; i < count; ++i) {
      if (interrupted())
        return false;
      steps[i].run(steps[i].operands, &call, 0, 1);
    }
    return true;
  }

  if (interrupted())
    return false;
  // Thread 0 decides, before it arrives at a barrier, whether all stop after
  // it. It writes one of two flags by turns: by the time that it writes the
  // same one again, everybody has passed the barrier where it was read.
  bool stop[2] = {false, false};
  parallel([&](int thread, int threads) {
    unsigned turn = 0;
    for (size_t i = 0; i < count; ++i) {
      const BoundStep &step = steps[i];
      bool serial = step.flags & EFF_STEP_SERIAL;
      if (!serial)
        step.run(step.operands, &call, thread, threads);
      else if (thread == 0)
        step.run(step.operands, &call, 0, 1);
      if (i + 1 == count)
        return;
      // Serial steps in a row need no barrier between them.
      if (serial && (steps[i + 1].flags & EFF_STEP_SERIAL))
        continue;
      bool &flag = stop[turn++ & 1];
      if (thread == 0)
        flag = interrupted();
      impl_->barrier.arrive(impl_->busySpin);
      if (flag)
        return;
    }
  });
  return !(stop[0] || stop[1]);
}

} // namespace effrt
