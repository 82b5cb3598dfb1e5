//===- Team.h - threads that run parts of one step --------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_BENCHMARKS_KERNELS_TEAM_H
#define EFFC_BENCHMARKS_KERNELS_TEAM_H

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

namespace effc::bench {

/// Runs a function once on every thread at a time, as the runtime runs a step:
/// workers spin between runs and flush subnormal numbers.
class Team {
public:
  explicit Team(int threads);
  ~Team();
  Team(const Team &) = delete;

  int size() const { return threads; }
  /// Calls body(part) for part 0 .. size() - 1 and returns when all have ended.
  void run(const std::function<void(int)> &body);

private:
  void work(int part);

  int threads;
  const std::function<void(int)> *body = nullptr;
  std::atomic<int> generation{0}, running{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> workers;
};

} // namespace effc::bench

#endif // EFFC_BENCHMARKS_KERNELS_TEAM_H
