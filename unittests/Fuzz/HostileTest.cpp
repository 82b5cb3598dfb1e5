//===- HostileTest.cpp - files that were made, or damaged, to do harm -----===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A short fixed set; ./x fuzz makes many more. Each input is read in a process
/// of its own, with 10 s of processor time and 2 GB of memory.
///
//===----------------------------------------------------------------------===//

#include "Limited.h"
#include "Mutate.h"

#include "gtest/gtest.h"

#include <chrono>
#include <csignal>
#include <filesystem>
#include <vector>

using namespace effc::fuzz;

namespace {
std::string source(const std::string &path) {
  return std::string(EFFC_SOURCE_DIR) + "/" + path;
}

/// Reads a file under limits; what went wrong is the test's failure.
Outcome read(Kind kind, const std::string &bytes, const std::string &name,
             const Scratch &scratch) {
  Outcome outcome = runLimited([&] { return tryFile(kind, bytes, scratch); });
  EXPECT_LT(outcome.kind, Outcome::Crashed)
      << name << ": " << outcomeName(outcome.kind) << ", " << outcome.seconds
      << " s, " << (outcome.bytes >> 20) << " MB\n"
      << outcome.text;
  return outcome;
}

/// `count` mutants of each file. Some must be refused, or nothing was damaged.
void readMutants(Kind kind, const std::vector<std::string> &files, int count) {
  Scratch scratch;
  int refused = 0;
  for (const std::string &file : files) {
    std::string bytes = readFile(file);
    ASSERT_FALSE(bytes.empty()) << file;
    EXPECT_EQ(read(kind, bytes, file, scratch).kind, Outcome::Accepted) << file;
    for (int i = 0; i < count; ++i) {
      Random random(i);
      refused += read(kind, mutate(kind, bytes, random),
                      file + ", mutant " + std::to_string(i), scratch)
                     .kind == Outcome::Refused;
    }
  }
  EXPECT_GT(refused, 0);
}
} // namespace

/// What was found once, reduced.
TEST(Hostile, FoundOnce) {
  Scratch scratch;
  int files = 0;
  for (const auto &entry : std::filesystem::recursive_directory_iterator(
           source("unittests/Fuzz/data"))) {
    Kind kind;
    if (!entry.is_regular_file() || !kindOf(entry.path(), kind))
      continue;
    read(kind, readFile(entry.path()), entry.path(), scratch);
    ++files;
  }
  EXPECT_GT(files, 0);
}

TEST(Hostile, DamagedOnnxModels) {
  readMutants(Kind::Onnx,
              {source("examples/models/llama-tiny.onnx"),
               source("examples/models/mamba-tiny.onnx"),
               source("examples/models/mamba2-tiny.onnx")},
              15);
}

TEST(Hostile, DamagedTokenizers) {
  readMutants(Kind::Tokenizer,
              {source("examples/models/llama-tiny.tokenizer.json")}, 40);
}

TEST(Hostile, DamagedModelFiles) {
  Scratch scratch;
  std::string file = scratch.file("toy.eff");
  Outcome compiled = runLimited([&] {
    return compileExample(source("unittests/Fuzz/data/add.onnx"), file);
  });
  ASSERT_EQ(compiled.kind, Outcome::Accepted) << compiled.text;
  readMutants(Kind::Model, {file}, 200);
}

//===----------------------------------------------------------------------===//
// The limits themselves
//===----------------------------------------------------------------------===//

TEST(Limited, SaysWhatBecameOfAProcess) {
  EXPECT_EQ(runLimited([] { return true; }).kind, Outcome::Accepted);
  EXPECT_EQ(runLimited([] { return false; }).kind, Outcome::Refused);
  Outcome crash = runLimited([]() -> bool {
    std::fputs("why it did\n", stderr);
    std::signal(SIGABRT, SIG_DFL);
    std::abort();
  });
  EXPECT_EQ(crash.kind, Outcome::Crashed);
  EXPECT_NE(crash.text.find("why it did"), std::string::npos);
}

TEST(Limited, EndsWhatIsTooSlowOrTooLarge) {
  Limits limits;
  limits.seconds = 1;
  EXPECT_EQ(runLimited(
                [] {
                  for (volatile unsigned i = 0;; i = i + 1) {
                  }
                  return true;
                },
                limits)
                .kind,
            Outcome::TooSlow);
  limits.seconds = 10;
  limits.bytes = uint64_t(400) << 20;
  Outcome large = runLimited(
      [] {
        for (;;) {
          volatile char *block = static_cast<char *>(std::malloc(1 << 24));
          for (int k = 0; k < 1 << 24; k += 4096)
            block[k] = 1; // without memory this ends the process
        }
        return true;
      },
      limits);
  EXPECT_GE(large.kind, Outcome::Crashed);
}

//===----------------------------------------------------------------------===//
// Mutants
//===----------------------------------------------------------------------===//

TEST(Mutate, FollowsFromItsNumber) {
  std::string model = readFile(source("examples/models/llama-tiny.onnx"));
  int changed = 0;
  for (int i = 0; i < 20; ++i) {
    Random a(i), b(i);
    std::string first = mutateOnnx(model, a);
    EXPECT_EQ(first, mutateOnnx(model, b));
    changed += first != model;
  }
  EXPECT_GT(changed, 15);
}
