//===- bench.cpp - effc bench
//-----------------------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "common.h"

#include "effrt/codes.h"
#include "effrt/cpu.h"

#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdio>
#include <ctime>

using namespace effrt;
using namespace effrt::tools;
using nlohmann::json;

namespace {

/// A fixed sequence of numbers: benchmarks must repeat.
class Numbers {
public:
  uint32_t next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state_ >> 33);
  }

private:
  uint64_t state_ = 0x9e3779b97f4a7c15u;
};

std::vector<TokenId> randomTokens(Numbers &numbers, int vocab, int count) {
  std::vector<TokenId> ids;
  for (int i = 0; i < count; ++i)
    ids.push_back(numbers.next() % static_cast<uint32_t>(vocab));
  return ids;
}

struct Sample {
  double seconds = 0, bytes = 0, flops = 0, integerOps = 0;
};

/// The time, traffic and arithmetic of what `body` runs.
template <typename F> Result<Sample> measure(Engine &engine, F &&body) {
  engine.resetStats();
  double start = now();
  if (Status s = body(); !s)
    return s.error();
  Sample sample;
  sample.seconds = now() - start;
  EngineStats stats = engine.stats();
  sample.bytes = static_cast<double>(stats.bytes);
  sample.flops = static_cast<double>(stats.flops);
  sample.integerOps = static_cast<double>(stats.integerOps);
  return sample;
}

Result<Sample> measurePrompt(Engine &engine, Numbers &numbers, int tokens) {
  if (Status s = engine.reset(0); !s)
    return s.error();
  std::vector<TokenId> ids = randomTokens(numbers, engine.vocab(), tokens);
  return measure(engine, [&]() -> Status {
    auto logits = engine.prefill(0, ids);
    return logits ? Status() : Status(logits.error());
  });
}

Result<Sample> measureDecode(Engine &engine, Numbers &numbers, int tokens,
                             int batch, int depth) {
  for (int s = 0; s < batch; ++s) {
    if (Status status = engine.reset(s); !status)
      return status.error();
    auto logits = engine.prefill(
        s, randomTokens(numbers, engine.vocab(), std::max(depth, 1)));
    if (!logits)
      return logits.error();
  }
  return measure(engine, [&]() -> Status {
    for (int t = 0; t < tokens; ++t) {
      std::vector<Engine::Step> steps;
      for (int s = 0; s < batch; ++s)
        steps.push_back(
            {s, numbers.next() % static_cast<uint32_t>(engine.vocab())});
      auto logits = engine.decode(steps);
      if (!logits)
        return logits.error();
    }
    return {};
  });
}

std::string utcNow() {
  std::time_t time = std::time(nullptr);
  std::tm utc = {};
  gmtime_r(&time, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

struct BenchOptions {
  std::string model;
  std::vector<int> prompts{512}, generations{128}, batches{1}, threads{0};
  int repeats = 5, depth = 0;
  bool asJson = false;
};

class Bench {
public:
  Bench(const BenchOptions &options, std::shared_ptr<const Model> model)
      : options_(options), model_(std::move(model)) {}

  int run() {
    const Manifest &manifest = model_->manifest();
    if (!options_.asJson)
      std::printf("%-18s %5s %3s %7s %12s %10s %9s %9s\n", "test", "batch",
                  "thr", "tok/s", "GB/s (roof)", "GFLOP/s", "share", "of");
    for (int threads : options_.threads) {
      EngineOptions engineOptions;
      engineOptions.threads = threads;
      engineOptions.interrupt = catchInterrupt();
      for (int batch : options_.batches)
        engineOptions.sequences = std::max(engineOptions.sequences, batch);
      auto created = Engine::create(model_, engineOptions);
      if (!created)
        return reportError(created.error());
      Engine &engine = **created;
      roofs_ = Roofs();
      if (Status measured = raiseRoofs(engine.threads()); !measured)
        return reportError(measured.error());
      int status = manifest.kind == ModelKind::CausalLM ? language(engine)
                                                        : forward(engine);
      if (status)
        return status;
    }
    return 0;
  }

private:
  /// A roof is the most that was seen: measured before the first test and after
  /// each, so that one disturbed moment does not lower it.
  Status raiseRoofs(int threads) {
    auto roofs = measureRoofs(threads, true, model_.get());
    if (!roofs)
      return roofs.takeError();
    roofs_.bytesPerSecond =
        std::max(roofs_.bytesPerSecond, roofs->bytesPerSecond);
    roofs_.flops = std::max(roofs_.flops, roofs->flops);
    roofs_.integerOps = std::max(roofs_.integerOps, roofs->integerOps);
    roofs_.instructions = roofs->instructions;
    return Status();
  }

  int language(Engine &engine) {
    Numbers numbers;
    for (int n : options_.prompts)
      if (n > 0)
        if (int status = repeat(engine, "pp" + std::to_string(n), n, 0, 1, [&] {
              return measurePrompt(engine, numbers, n);
            }))
          return status;
    for (int batch : options_.batches)
      for (int n : options_.generations)
        if (n > 0)
          if (int status =
                  repeat(engine, "tg" + std::to_string(n), 0, n, batch, [&] {
                    return measureDecode(engine, numbers, n, batch,
                                         options_.depth);
                  }))
            return status;
    return 0;
  }

  int forward(Engine &engine) {
    for (const EntryInfo &entry : model_->manifest().entries) {
      std::vector<std::vector<uint8_t>> buffers;
      std::vector<TensorView> inputs;
      Numbers numbers;
      buffers.reserve(entry.inputs.size());
      for (const TensorInfo &info : entry.inputs) {
        buffers.emplace_back(info.bytes());
        if (info.dtype == DType::F32) {
          float *values = reinterpret_cast<float *>(buffers.back().data());
          for (uint64_t i = 0; i < info.elements(); ++i)
            values[i] =
                static_cast<float>(numbers.next()) / 2147483648.0f - 0.5f;
        }
        inputs.push_back({info.name, buffers.back().data(), info.bytes()});
      }
      if (int status =
              repeat(engine, entry.name, entry.batch, 0, entry.batch, [&] {
                return measure(engine, [&] {
                  return engine.forward(inputs, {}, entry.name);
                });
              }))
        return status;
    }
    return 0;
  }

  /// Runs a test `repeats` times after a warm-up and prints its line. `prompt`
  /// or `generated` tokens are what a second is divided by (for models without
  /// tokens: items of the batch).
  template <typename F>
  int repeat(Engine &engine, const std::string &name, int prompt, int generated,
             int batch, F &&body) {
    std::vector<double> seconds;
    Sample sample;
    for (int i = 0; i <= options_.repeats; ++i) {
      auto measured = body();
      if (!measured)
        return reportError(measured.error());
      sample = *measured;
      if (i > 0)
        seconds.push_back(sample.seconds);
    }
    if (Status measured = raiseRoofs(engine.threads()); !measured)
      return reportError(measured.error());
    double typical = median(seconds), mean = 0, variance = 0;
    double items = generated > 0 ? double(generated) * batch : double(prompt);
    for (double s : seconds)
      mean += items / s / static_cast<double>(seconds.size());
    for (double s : seconds)
      variance += (items / s - mean) * (items / s - mean) /
                  static_cast<double>(std::max<size_t>(seconds.size() - 1, 1));
    double bytesRate = sample.bytes / typical,
           flopRate = sample.flops / typical;
    double bytesShare = bytesRate / roofs_.bytesPerSecond;
    double flopShare =
        roofs_.secondsFor(sample.flops, sample.integerOps) / typical;
    bool byBytes = bytesShare >= flopShare;
    if (!options_.asJson) {
      std::printf("%-18s %5d %3d %7.1f %5.1f (%4.1f) %10.1f %8.1f%% %9s\n",
                  name.c_str(), batch, engine.threads(), items / typical,
                  bytesRate / 1e9, roofs_.bytesPerSecond / 1e9, flopRate / 1e9,
                  100 * std::max(bytesShare, flopShare),
                  byBytes ? "bandwidth" : "flops");
      std::fflush(stdout);
      return 0;
    }
    const Manifest &manifest = model_->manifest();
    double nanoseconds = 0;
    json samplesNs = json::array(), samplesTs = json::array();
    for (double s : seconds) {
      samplesNs.push_back(std::llround(s * 1e9));
      samplesTs.push_back(items / s);
      nanoseconds += s * 1e9 / static_cast<double>(seconds.size());
    }
    json line = {
        {"test", name},
        {"test_time", utcNow()},
        {"cpu_info", cpuName()},
        {"model_filename", options_.model},
        {"model_type", manifest.architecture},
        {"model_size", model_->tables().weights_bytes},
        {"model_n_params", manifest.parameters},
        {"target", model_->variant().target},
        {"n_threads", engine.threads()},
        {"n_batch", batch},
        {"n_prompt", prompt},
        {"n_gen", generated},
        {"n_depth", options_.depth},
        {"avg_ns", std::llround(nanoseconds)},
        {"median_ns", std::llround(typical * 1e9)},
        {"samples_ns", samplesNs},
        {"avg_ts", mean},
        {"median_ts", items / typical},
        {"stddev_ts", std::sqrt(variance)},
        {"samples_ts", samplesTs},
        {"bytes_per_second", bytesRate},
        {"roof_bytes_per_second", roofs_.bytesPerSecond},
        {"share_of_bandwidth", bytesShare},
        {"flops_per_second", flopRate},
        {"integer_ops_per_second", sample.integerOps / typical},
        {"roof_flops_per_second", roofs_.flops},
        {"roof_integer_ops_per_second", roofs_.integerOps},
        {"roof_instructions", roofs_.instructions},
        {"share_of_flops", flopShare},
    };
    std::printf("%s\n", line.dump().c_str());
    std::fflush(stdout);
    return 0;
  }

  const BenchOptions &options_;
  std::shared_ptr<const Model> model_;
  Roofs roofs_;
};

} // namespace

int tools::benchVerb(const Invocation &call) {
  BenchOptions options;
  cli::Command command(
      "bench",
      "Measures prompt and generation speed, each with its share of a roofline "
      "measured in the same run.",
      "MODEL.eff [-p SIZES] [-n SIZES]",
      {call.program + " bench model.eff",
       call.program +
           " bench model.eff -p 128,512 -n 64 -b 1,4 -t 1,2 --json"});
  if (!call.embedded)
    command.positional("MODEL", options.model);
  command.list("prompt", 'p', options.prompts, "N,...",
               "prompt lengths; 0: none", 0, 1 << 24);
  command.list("gen", 'n', options.generations, "N,...",
               "tokens to generate; 0: none", 0, 1 << 24);
  command.list("batch", 'b', options.batches, "N,...",
               "sequences that generate together", 1, 4096);
  command.list("threads", 't', options.threads, "N,...",
               "threads; 0: one for each core", 0, 1024);
  command.option("depth", 'd', options.depth, "N",
                 "tokens in the sequence before generation starts", 0, 1 << 24);
  command.option("repeats", 'r', options.repeats, "N",
                 "runs of each test after a warm-up; the median is shown", 1,
                 1000);
  command.flag(
      "json", 0, options.asJson,
      "one JSON object per test, with llama-bench's names where it has them");
  if (int status = parseOrHelp(command, call); status >= 0)
    return status;
  auto model = openModel(call, options.model);
  if (!model)
    return reportError(model.error());
  return Bench(options, *model).run();
}
