//===- Mutants.cpp - effc-mutants: damaged files under limits -------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Limited.h"
#include "Mutate.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>

using namespace effc::fuzz;

namespace {
constexpr char kUsage[] =
    "effc-mutants [--count N] [--seed S] [--shard I/N] [--failures DIR] "
    "FILE|DIR...\n\n"
    "Makes N damaged copies of the .onnx, .json and .eff files, reads each in "
    "a "
    "process of\nits own with 10 s of processor time and 2 GB of memory, and "
    "prints what became of them\nas one JSON line. With --count 0 the files "
    "are read as they are. The status is 1 when one\ncrashed, was too slow or "
    "too large; those are kept in DIR.\n";

struct Options {
  uint64_t count = 1000, seed = 1, shard = 0, shards = 1;
  std::string failures;
  std::vector<std::string> paths;
};

struct Seed {
  std::string path;
  Kind kind;
};

bool parse(int argc, char **argv, Options &options) {
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    if (word.compare(0, 2, "--") != 0) {
      options.paths.push_back(word);
      continue;
    }
    if (++i == argc)
      return false;
    if (word == "--count")
      options.count = std::strtoull(argv[i], nullptr, 10);
    else if (word == "--seed")
      options.seed = std::strtoull(argv[i], nullptr, 10);
    else if (word == "--failures")
      options.failures = argv[i];
    else if (word != "--shard" ||
             std::sscanf(argv[i], "%lu/%lu", &options.shard, &options.shards) !=
                 2 ||
             options.shards == 0)
      return false;
  }
  return !options.paths.empty();
}

std::vector<Seed> collect(const std::vector<std::string> &paths) {
  // Mutants of larger files cost time and find the same.
  constexpr uint64_t largest = uint64_t(4) << 20;
  std::vector<Seed> seeds;
  auto add = [&](const std::filesystem::path &path, bool named) {
    Kind kind;
    std::error_code code;
    if (kindOf(path, kind) &&
        (named || std::filesystem::file_size(path, code) <= largest))
      seeds.push_back({path, kind});
  };
  for (const std::string &path : paths) {
    if (!std::filesystem::is_directory(path)) {
      add(path, true);
      continue;
    }
    for (const auto &entry :
         std::filesystem::recursive_directory_iterator(path))
      if (entry.is_regular_file())
        add(entry.path(), false);
  }
  std::sort(seeds.begin(), seeds.end(),
            [](const Seed &a, const Seed &b) { return a.path < b.path; });
  return seeds;
}

/// Copies the weights that lie beside a model to where its mutants are read.
void placeWeights(const std::string &model, const Scratch &scratch) {
  constexpr uint64_t largest = uint64_t(64) << 20;
  std::error_code code;
  for (const char *end : {".data", "_data"}) {
    std::filesystem::path data = model + end;
    uint64_t bytes = std::filesystem::file_size(data, code);
    if (!code && bytes <= largest)
      std::filesystem::copy_file(data, scratch.file(data.filename()),
                                 std::filesystem::copy_options::skip_existing,
                                 code);
  }
}
} // namespace

int main(int argc, char **argv) {
  Options options;
  if (!parse(argc, argv, options)) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  std::vector<Seed> seeds = collect(options.paths);
  if (seeds.empty()) {
    std::fputs("there is no .onnx, .json or .eff file\n", stderr);
    return 2;
  }
  Scratch scratch;
  std::map<Outcome::Kind, uint64_t> counts;
  double slowest = 0;
  uint64_t largest = 0, failures = 0;
  bool asTheyAre = options.count == 0;
  uint64_t count = asTheyAre ? seeds.size() : options.count;
  for (uint64_t i = options.shard; i < count; i += options.shards) {
    // Each mutant follows from its number alone.
    Random random(options.seed * 1000003 + i);
    const Seed &seed = seeds[asTheyAre ? i : random() % seeds.size()];
    std::string bytes = readFile(seed.path);
    if (!asTheyAre)
      bytes = mutate(seed.kind, bytes, random);
    if (seed.kind == Kind::Onnx)
      placeWeights(seed.path, scratch);
    Outcome outcome =
        runLimited([&] { return tryFile(seed.kind, bytes, scratch); });
    ++counts[outcome.kind];
    slowest = std::max(slowest, outcome.seconds);
    largest = std::max(largest, outcome.bytes);
    if (outcome.kind < Outcome::Crashed)
      continue;
    ++failures;
    std::fprintf(stderr, "%s: mutant %lu of %s, %.1f s, %lu MB\n%s\n",
                 outcomeName(outcome.kind), i, seed.path.c_str(),
                 outcome.seconds, outcome.bytes >> 20, outcome.text.c_str());
    if (!options.failures.empty()) {
      std::filesystem::create_directories(options.failures);
      writeFile(options.failures + "/" + std::to_string(options.seed) + "-" +
                    std::to_string(i) +
                    std::filesystem::path(seed.path).extension().string(),
                bytes);
    }
  }
  std::printf("{\"seeds\": %zu, \"seed\": %lu", seeds.size(), options.seed);
  for (auto kind : {Outcome::Accepted, Outcome::Refused, Outcome::Crashed,
                    Outcome::TooSlow, Outcome::TooLarge})
    std::printf(", \"%s\": %lu", outcomeName(kind), counts[kind]);
  std::printf(", \"slowest_seconds\": %.2f, \"largest_megabytes\": %lu}\n",
              slowest, largest >> 20);
  return failures ? 1 : 0;
}
