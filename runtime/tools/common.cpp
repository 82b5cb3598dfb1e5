//===- common.cpp - what several verbs need -------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "common.h"
#include "npy.h"

#include "effrt/cpu.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <sys/stat.h>
#include <unistd.h>

using namespace effrt;
using namespace effrt::tools;

namespace {

std::atomic<int> interrupted{0};

void onInterrupt(int signal) {
  if (interrupted.exchange(1)) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
}

std::string withUnit(double value, const char *const *units, double step) {
  int unit = 0;
  while (value >= step * 0.9995 && units[unit + 1]) {
    value /= step;
    ++unit;
  }
  char text[32];
  int decimals = unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  std::snprintf(text, sizeof text, "%.*f %s", decimals, value, units[unit]);
  std::string result = text;
  if (!result.empty() && result.back() == ' ')
    result.pop_back();
  return result;
}

} // namespace

int tools::reportError(const Error &error) {
  std::fprintf(stderr, "%s\n", error.format().c_str());
  return 1;
}

int tools::parseOrHelp(cli::Command &command, const Invocation &call) {
  std::vector<const char *> words;
  for (const std::string &word : call.words)
    words.push_back(word.c_str());
  Status status = command.parse(static_cast<int>(words.size()), words.data());
  if (!status)
    return reportError(status.error());
  if (command.helpAsked()) {
    std::fputs(command.help(call.program).c_str(), stdout);
    return 0;
  }
  return -1;
}

const std::atomic<int> *tools::catchInterrupt() {
  std::signal(SIGINT, onInterrupt);
  return &interrupted;
}

Result<std::shared_ptr<const Model>> tools::openModel(const Invocation &call,
                                                      const std::string &path) {
  if (call.embedded)
    return call.embedded;
  return Model::open(path);
}

/// Raises the bandwidth to that of reading the model's weights, where caches
/// may hold much of them.
static void includeWeights(Roofs &roofs, ThreadPool &pool, const Model &model) {
  uint64_t bytes = model.tables().weights_bytes;
  if (bytes > 2 * lastLevelCacheBytes())
    return;
  Bandwidth read = measureReadBandwidth(pool, model.weights(), bytes);
  roofs.bytesPerSecond = std::max(roofs.bytesPerSecond, read.bytesPerSecond);
}

Result<Roofs> tools::measureRoofs(int threads, bool withPeak,
                                  const Model *model) {
  PoolOptions options;
  options.threads = threads;
  auto pool = ThreadPool::create(options);
  if (!pool)
    return pool.takeError();
  auto bandwidth = measureReadBandwidth(**pool);
  if (!bandwidth)
    return bandwidth.takeError();
  Roofs roofs;
  roofs.bytesPerSecond = bandwidth->bytesPerSecond;
  if (model)
    includeWeights(roofs, **pool, *model);
  if (withPeak) {
    Peak peak = measurePeak(**pool);
    roofs.flops = peak.flops;
    roofs.integerOps = peak.integerOps;
    roofs.instructions = peak.instructions;
  }
  return roofs;
}

static Result<Roofs> knownMachineRoofs(int threads) {
  const char *cache = std::getenv("XDG_CACHE_HOME"),
             *home = std::getenv("HOME");
  std::string folder = cache && *cache ? cache
                       : home          ? std::string(home) + "/.cache"
                                       : "/tmp";
  std::string path = folder + "/effc/roofline-" + std::to_string(threads);
  std::string cpu = cpuName();
  Roofs roofs;
  // Three lines: the processor; bytes, operations on f32 and on bytes per
  // second; the instructions.
  if (std::FILE *in = std::fopen(path.c_str(), "re")) {
    char name[128] = {}, instructions[32] = {};
    int fields = std::fscanf(in, "%127[^\n]\n%lf %lf %lf\n%31[^\n]", name,
                             &roofs.bytesPerSecond, &roofs.flops,
                             &roofs.integerOps, instructions);
    std::fclose(in);
    roofs.instructions = instructions;
    if (fields == 5 && cpu == name && roofs.bytesPerSecond > 0 &&
        roofs.flops > 0 && roofs.integerOps > 0)
      return roofs;
  }
  auto measured = measureRoofs(threads, true);
  if (!measured)
    return measured;
  // What a busy machine gives is not worth keeping.
  double load = 0;
  if (::getloadavg(&load, 1) != 1 || load > 0.5 * threads)
    return measured;
  // A cache that cannot be written costs time, nothing else.
  ::mkdir(folder.c_str(), 0777);
  ::mkdir((folder + "/effc").c_str(), 0777);
  std::string temporary = path + "." + std::to_string(::getpid());
  if (std::FILE *out = std::fopen(temporary.c_str(), "we")) {
    std::fprintf(out, "%s\n%.0f %.0f %.0f\n%s\n", cpu.c_str(),
                 measured->bytesPerSecond, measured->flops,
                 measured->integerOps, measured->instructions.c_str());
    if (std::fclose(out) != 0 ||
        std::rename(temporary.c_str(), path.c_str()) != 0)
      ::unlink(temporary.c_str());
  }
  return measured;
}

Result<Roofs> tools::knownRoofs(int threads, const Model *model) {
  auto roofs = knownMachineRoofs(threads);
  if (!roofs || !model)
    return roofs;
  PoolOptions options;
  options.threads = threads;
  auto pool = ThreadPool::create(options);
  if (!pool)
    return pool.takeError();
  includeWeights(*roofs, **pool, *model);
  return roofs;
}

Result<std::string> tools::readText(const std::string &path) {
  auto bytes = readBytes(path);
  if (!bytes)
    return bytes.takeError();
  return std::string(bytes->begin(), bytes->end());
}

std::string tools::humanBytes(double bytes) {
  static const char *const units[] = {"B", "KB", "MB", "GB", "TB", nullptr};
  return withUnit(bytes, units, 1000);
}

std::string tools::humanCount(double count) {
  static const char *const units[] = {"", "k", "M", "B", "T", nullptr};
  return withUnit(count, units, 1000);
}

Progress::Progress(std::string title)
    : title_(std::move(title)), terminal_(::isatty(STDERR_FILENO) != 0),
      start_(now()) {}

Progress::~Progress() {
  if (terminal_)
    std::fputs("\r\033[K", stderr);
}

void Progress::update(double share, const std::string &text) {
  double time = now();
  if (!terminal_ || (time - last_ < 0.1 && share < 1))
    return;
  last_ = time;
  constexpr int width = 24;
  int full = static_cast<int>(share * width);
  std::string bar(static_cast<size_t>(full), '#');
  bar.resize(width, '-');
  double left = share > 0.01 ? (time - start_) * (1 - share) / share : 0;
  std::fprintf(stderr, "\r\033[K  %s [%s] %s, %.0f s left", title_.c_str(),
               bar.c_str(), text.c_str(), left);
  std::fflush(stderr);
}

double tools::now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

double tools::median(std::vector<double> values) {
  if (values.empty())
    return 0;
  std::sort(values.begin(), values.end());
  size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle]
                           : (values[middle - 1] + values[middle]) / 2;
}
