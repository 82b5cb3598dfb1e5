//===- ThreadPoolTest.cpp - threads that run the steps of a plan ----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Toy.h"

#include "effrt/thread_pool.h"

#include <chrono>
#include <sched.h>
#include <thread>

using namespace effrt;
using namespace effrt::test;

namespace {

std::unique_ptr<ThreadPool> makePool(int threads) {
  PoolOptions options;
  options.threads = threads;
  Result<std::unique_ptr<ThreadPool>> pool = ThreadPool::create(options);
  EXPECT_TRUE(pool.ok());
  return pool.take();
}

eff_call emptyCall() { return {0, 0, nullptr, nullptr, nullptr, 0, 0}; }

// Kernels of these tests: operand 0 is an array with one slot a thread.
constexpr int most = 8;
struct Slot {
  alignas(64) int64_t value = 0;
};

void addOne(void *const *operands, const eff_call *, int32_t thread, int32_t) {
  static_cast<Slot *>(operands[0])[thread].value += 1;
}

/// Each thread becomes one more than its neighbour was: right only if no
/// thread runs ahead by a step.
void takeFromNeighbour(void *const *operands, const eff_call *, int32_t thread,
                       int32_t threads) {
  auto *from = static_cast<Slot *>(operands[0]);
  auto *to = static_cast<Slot *>(operands[1]);
  to[thread].value = from[(thread + 1) % threads].value + 1;
}

void serial(void *const *operands, const eff_call *, int32_t thread,
            int32_t threads) {
  static_cast<Slot *>(operands[0])[0].value += thread == 0 && threads == 1;
}

TEST(ThreadPool, RunsOnEveryThread) {
  for (int threads : {1, 2, 3, most}) {
    std::unique_ptr<ThreadPool> pool = makePool(threads);
    ASSERT_EQ(pool->threads(), threads);
    std::vector<Slot> slots(most);
    for (int round = 0; round < 200; ++round)
      pool->parallel([&](int thread, int) { slots[size_t(thread)].value++; });
    for (int thread = 0; thread < most; ++thread)
      EXPECT_EQ(slots[size_t(thread)].value, thread < threads ? 200 : 0);
  }
}

TEST(ThreadPool, StepsAreInOrder) {
  for (int threads : {1, 2, 5}) {
    std::unique_ptr<ThreadPool> pool = makePool(threads);
    std::vector<Slot> a(most), b(most);
    void *there[] = {a.data(), b.data()}, *back[] = {b.data(), a.data()};
    std::vector<BoundStep> steps;
    for (int i = 0; i < 200; ++i)
      steps.push_back({takeFromNeighbour, i % 2 ? back : there, 0});
    for (int round = 0; round < 10; ++round)
      EXPECT_TRUE(pool->runSteps(steps.data(), steps.size(), emptyCall()));
    for (int thread = 0; thread < threads; ++thread)
      EXPECT_EQ(a[size_t(thread)].value, 2000);
  }
}

TEST(ThreadPool, SerialStepsRunOnce) {
  std::unique_ptr<ThreadPool> pool = makePool(3);
  std::vector<Slot> slots(most);
  void *operands[] = {slots.data(), slots.data()};
  std::vector<BoundStep> steps = {{serial, operands, EFF_STEP_SERIAL},
                                  {serial, operands, EFF_STEP_SERIAL},
                                  {addOne, operands, 0},
                                  {serial, operands, EFF_STEP_SERIAL}};
  EXPECT_TRUE(pool->runSteps(steps.data(), steps.size(), emptyCall()));
  EXPECT_EQ(slots[0].value, 4);
  EXPECT_EQ(slots[1].value, 1);
  EXPECT_TRUE(pool->runSteps(steps.data(), 0, emptyCall()));
}

TEST(ThreadPool, WakesAfterALongRest) {
  std::unique_ptr<ThreadPool> pool = makePool(2);
  std::atomic<int> count{0};
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    pool->parallel([&](int, int) { ++count; });
  }
  EXPECT_EQ(count, 10);
}

void setFlag(void *const *operands, const eff_call *, int32_t thread, int32_t) {
  auto *slots = static_cast<Slot *>(operands[0]);
  slots[thread].value += 1;
  if (thread == 0 && slots[0].value == 10)
    static_cast<std::atomic<int> *>(operands[1])->store(1);
}

TEST(ThreadPool, InterruptStopsAllTogether) {
  for (int threads : {1, 2, 4}) {
    std::unique_ptr<ThreadPool> pool = makePool(threads);
    std::vector<Slot> slots(most);
    std::atomic<int> interrupt{0};
    void *operands[] = {slots.data(), &interrupt};
    std::vector<BoundStep> steps(100, {setFlag, operands, 0});
    EXPECT_FALSE(
        pool->runSteps(steps.data(), steps.size(), emptyCall(), &interrupt));
    for (int thread = 0; thread < threads; ++thread)
      EXPECT_EQ(slots[size_t(thread)].value, 10) << threads;
    // The pool works on.
    interrupt = 0;
    slots.assign(most, {});
    slots[0].value = 50;
    EXPECT_TRUE(
        pool->runSteps(steps.data(), steps.size(), emptyCall(), &interrupt));
    EXPECT_EQ(slots[size_t(threads - 1)].value, threads == 1 ? 150 : 100);
  }
}

void halve(void *const *operands, const eff_call *, int32_t thread, int32_t) {
  auto *value = static_cast<float *>(operands[0]) + 16 * thread;
  volatile float half = 0.5f;
  *value = *value * half;
}

TEST(ThreadPool, DenormalsAreZeroInStepsOnly) {
  std::unique_ptr<ThreadPool> pool = makePool(2);
  float smallest = 1.17549435e-38f;
  std::vector<float> values(32, smallest);
  void *operands[] = {values.data()};
  BoundStep step = {halve, operands, 0};
  EXPECT_TRUE(pool->runSteps(&step, 1, emptyCall()));
  EXPECT_EQ(values[0], 0.0f);
  EXPECT_EQ(values[16], 0.0f);
  volatile float here = smallest, half = 0.5f;
  EXPECT_GT(here * half, 0.0f); // the caller's own arithmetic is as before
}

TEST(ThreadPool, LimitsAndAffinity) {
  PoolOptions options;
  options.threads = -1;
  EXPECT_ERROR(ThreadPool::create(options), "EFF0102");
  options.threads = 100000;
  EXPECT_ERROR(ThreadPool::create(options), "EFF0102");

  // With one processor to use there is one thread; more can be had.
  cpu_set_t before, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu)
    if (CPU_ISSET(cpu, &before))
      CPU_SET(cpu, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(makePool(0)->threads(), 1);
  {
    std::unique_ptr<ThreadPool> pool = makePool(3);
    std::atomic<int> count{0};
    for (int round = 0; round < 50; ++round)
      pool->parallel([&](int, int) { ++count; });
    EXPECT_EQ(count, 150);
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
}

} // namespace
