//===- Bench.cpp - times of the expensive steps ---------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Compress/Gptq.h"
#include "effc/Compress/Hadamard.h"

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <random>
#include <string>

using namespace effc::compress;

namespace {

/// Wall and processor seconds since the last call.
struct Watch {
  double wall = read(CLOCK_MONOTONIC), cpu = read(CLOCK_PROCESS_CPUTIME_ID);
  static double read(clockid_t clock) {
    timespec time;
    clock_gettime(clock, &time);
    return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
  }
  void print(const char *what, double count = 1) const {
    printf("%-44s %9.3f ms wall %9.3f ms cpu\n", what,
           (read(CLOCK_MONOTONIC) - wall) / count * 1e3,
           (read(CLOCK_PROCESS_CPUTIME_ID) - cpu) / count * 1e3);
  }
};

std::vector<float> normal(int64_t size) {
  std::mt19937 random(1);
  std::normal_distribution<float> distribution;
  std::vector<float> values(size);
  for (float &value : values)
    value = distribution(random);
  return values;
}

template <typename T> T take(Result<T> result) {
  if (!result) {
    fprintf(stderr, "%s\n", result.error().format().c_str());
    exit(1);
  }
  return result.take();
}

} // namespace

/// compress-bench [SIZE [THREADS]]
int main(int argc, char **argv) {
  int64_t n = argc > 1 ? atoll(argv[1]) : 2048;
  int threads = argc > 2 ? atoi(argv[2]) : 2;
  ParallelFor parallel = onThreads(threads);
  int64_t tokens = 2048;
  auto x = normal(tokens * n), w = normal(n * n);
  printf("%lld x %lld, %d threads\n", (long long)n, (long long)n, threads);

  Hessian hessian = take(Hessian::create(n));
  Watch watch;
  if (!hessian.add({x.data(), tokens, n}, parallel))
    return 1;
  watch.print("Hessian of 2048 tokens");

  auto h = take(hessian.getMatrix(parallel));
  GptqOptions options;
  options.format.bits = 4;
  options.format.granularity = Granularity::Group;
  watch = {};
  GptqFactor factor =
      take(GptqFactor::create({h.data(), n, n}, options, parallel));
  watch.print("GPTQ: factor");
  watch = {};
  take(factor.quantize({w.data(), n, n}, options.format, parallel));
  watch.print("GPTQ: rounding, int4 g128");
  watch = {};
  take(roundToNearest({w.data(), n, n}, options.format, parallel));
  watch.print("round to nearest, int4 g128");

  for (int64_t size : {2048, 1536, 2560, 5120}) {
    HadamardPlan plan = take(HadamardPlan::create(size));
    std::string name = "Hadamard " + std::to_string(size) + ": ";
    auto rows = normal(size * 512);
    watch = {};
    transform(plan, rows.data(), 512);
    watch.print((name + "one vector").c_str(), 512);
    auto square = normal(size * size);
    MatrixView<float> view(square.data(), size, size);
    watch = {};
    if (!rotateInputs(plan, view, Direction::Forward, parallel))
      return 1;
    watch.print((name + "inputs of a square matrix").c_str());
    watch = {};
    if (!rotateOutputs(plan, view, Direction::Forward, parallel))
      return 1;
    watch.print((name + "outputs of a square matrix").c_str());
  }
  return 0;
}
