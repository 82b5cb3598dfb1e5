//===- EngineTest.cpp - running models ------------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Toy.h"

#include <cstring>
#include <fstream>
#include <unistd.h>

using namespace effrt;
using namespace effrt::test;

namespace {

constexpr char badOption[] = "EFF0102", tooLong[] = "EFF0605",
               badTokens[] = "EFF0606", badInput[] = "EFF0607",
               badSequence[] = "EFF0610", interrupted[] = "EFF0611";

class EngineKinds : public ::testing::TestWithParam<int> {
protected:
  void SetUp() override {
    kind = std::vector<ToyKind>{both(), cacheOnly(),
                                recurrentOnly()}[size_t(GetParam())];
    model = openToy(dir, kind);
    ASSERT_TRUE(model);
  }
  TempDir dir;
  ToyKind kind;
  std::shared_ptr<const Model> model;
};
INSTANTIATE_TEST_SUITE_P(All, EngineKinds, ::testing::Range(0, 3));

TEST_P(EngineKinds, EveryPromptLength) {
  std::unique_ptr<Engine> engine = makeEngine(model);
  for (size_t count = 1; count <= TOY_CAPACITY; ++count) {
    ASSERT_OK(engine->reset(0));
    std::vector<TokenId> tokens = someTokens(count, unsigned(count));
    Result<const float *> logits = engine->prefill(0, tokens);
    ASSERT_OK(logits);
    EXPECT_EQ(logitsOf(*engine, *logits), expectedLogits(kind, tokens))
        << count;
    EXPECT_EQ(engine->tokens(0), tokens);
  }
}

TEST_P(EngineKinds, ChunksEqualSteps) {
  std::unique_ptr<Engine> engine = makeEngine(model, 2, 2);
  std::vector<TokenId> tokens = someTokens(37);
  ASSERT_OK(engine->prefill(0, tokens));
  for (TokenId token : tokens)
    ASSERT_OK(engine->decode({{1, token}}));
  Result<const float *> logits = engine->decode({{0, 5}, {1, 5}});
  ASSERT_OK(logits);
  EXPECT_EQ(logitsOf(*engine, *logits, 0), logitsOf(*engine, *logits, 1));
}

TEST_P(EngineKinds, RowsOfUnequalLength) {
  // Rows that have ended and rows that were never used must not disturb the
  // others: more sequences than the largest batch, some left out.
  constexpr int count = 7;
  std::unique_ptr<Engine> engine = makeEngine(model, 2, count);
  std::vector<std::vector<TokenId>> held(count);
  for (int round = 0; round < 3; ++round) {
    std::vector<Engine::Row> rows;
    for (int s = 0; s < count; ++s) {
      if ((s + round) % 4 == 3)
        continue;
      std::vector<TokenId> tokens =
          someTokens(size_t(1 + (s * 5 + round * 3) % 11), unsigned(s + 100));
      held[size_t(s)].insert(held[size_t(s)].end(), tokens.begin(),
                             tokens.end());
      rows.push_back({s, tokens});
    }
    Result<const float *> logits = engine->prefill(rows);
    ASSERT_OK(logits);
    for (size_t i = 0; i < rows.size(); ++i)
      EXPECT_EQ(logitsOf(*engine, *logits, i),
                expectedLogits(kind, held[size_t(rows[i].sequence)]))
          << "round " << round << " row " << i;
  }
  for (int s = 0; s < count; ++s)
    EXPECT_EQ(engine->tokens(s), held[size_t(s)]);
}

TEST_P(EngineKinds, DecodeAnySubset) {
  constexpr int count = 5;
  std::unique_ptr<Engine> engine = makeEngine(model, 1, count);
  std::vector<std::vector<TokenId>> held(count);
  for (unsigned mask = 1; mask < 1u << count; ++mask) {
    if (mask % 8 == 0)
      for (int s = 0; s < count; ++s) {
        ASSERT_OK(engine->reset(s));
        held[size_t(s)].clear();
      }
    std::vector<Engine::Step> steps;
    for (int s = count - 1; s >= 0; --s)
      if (mask >> s & 1) {
        auto token = TokenId((mask * 3 + unsigned(s)) % TOY_VOCAB);
        steps.push_back({s, token});
        held[size_t(s)].push_back(token);
      }
    Result<const float *> logits = engine->decode(steps);
    ASSERT_OK(logits);
    for (size_t i = 0; i < steps.size(); ++i)
      EXPECT_EQ(logitsOf(*engine, *logits, i),
                expectedLogits(kind, held[size_t(steps[i].sequence)]));
  }
}

TEST_P(EngineKinds, ScoresEveryPosition) {
  std::unique_ptr<Engine> engine = makeEngine(model, 2);
  std::vector<TokenId> tokens = someTokens(41);
  size_t next = 0;
  ASSERT_OK(engine->score(0, tokens, [&](size_t at, const float *logits) {
    EXPECT_EQ(at, next++);
    EXPECT_EQ(logitsOf(*engine, logits),
              expectedLogits(
                  kind, {tokens.begin(), tokens.begin() + ptrdiff_t(at) + 1}));
    return true;
  }));
  EXPECT_EQ(next, tokens.size());
  EXPECT_EQ(engine->length(0), 41);
  // The caller may stop.
  size_t calls = 0;
  ASSERT_OK(engine->score(0, {1, 2}, [&](size_t, const float *) {
    ++calls;
    return false;
  }));
  EXPECT_EQ(calls, 1u);
}

TEST_P(EngineKinds, ThreadsDoNotMatter) {
  std::vector<std::vector<float>> results;
  std::vector<TokenId> tokens = someTokens(29);
  for (int threads : {1, 2, 3, 7}) {
    std::unique_ptr<Engine> engine = makeEngine(model, threads);
    EXPECT_EQ(engine->threads(), threads);
    ASSERT_OK(engine->prefill(0, tokens));
    Result<const float *> logits = engine->decode({{0, 1}});
    ASSERT_OK(logits);
    results.push_back(logitsOf(*engine, *logits));
  }
  for (const std::vector<float> &result : results)
    EXPECT_EQ(result, results[0]);
}

TEST(Engine, CapacityAndTokens) {
  TempDir dir;
  std::unique_ptr<Engine> engine = makeEngine(openToy(dir, both()), 1, 2);
  EXPECT_EQ(engine->capacity(), TOY_CAPACITY);
  EXPECT_TRUE(engine->hasRecurrentStates());
  EXPECT_EQ(engine->sequenceBytes(),
            uint64_t(TOY_CACHE_BYTES + TOY_RECURRENT_BYTES));
  EXPECT_ERROR(engine->prefill(0, someTokens(65)), tooLong);
  EXPECT_EQ(engine->length(0), 0); // nothing has happened
  ASSERT_OK(engine->prefill(0, someTokens(64)));
  EXPECT_ERROR(engine->decode({{0, 1}}), tooLong);
  EXPECT_ERROR(engine->prefill({{1, {1}}, {0, {1}}}), tooLong);
  EXPECT_EQ(engine->length(1), 0);

  ASSERT_OK(engine->reset(0));
  EXPECT_ERROR(engine->prefill(0, {}), badTokens);
  EXPECT_ERROR(engine->prefill(0, {1, 32}), badTokens);
  EXPECT_ERROR(engine->decode({{0, TokenId(-1)}}), badTokens);
  EXPECT_ERROR(engine->prefill(2, {1}), badSequence);
  EXPECT_ERROR(engine->prefill(-1, {1}), badSequence);
  EXPECT_ERROR(engine->decode({}), badSequence);
  EXPECT_ERROR(engine->decode({{0, 1}, {0, 2}}), badSequence);
  EXPECT_ERROR(engine->forward({}, {}), badInput);
  EngineOptions options;
  options.sequences = 0;
  EXPECT_ERROR(Engine::create(openToy(dir, both()), options), badOption);
}

TEST(Engine, EmptyPast) {
  // Length 0 is a legal past, for one row and for a batch.
  TempDir dir;
  std::unique_ptr<Engine> engine = makeEngine(openToy(dir, cacheOnly()), 1, 2);
  Result<const float *> logits = engine->prefill(0, {3, 1, 4});
  ASSERT_OK(logits);
  EXPECT_EQ(logitsOf(*engine, *logits), expectedLogits(cacheOnly(), {3, 1, 4}));
  ASSERT_OK(engine->reset(0));
  logits = engine->prefill({{0, {7}}, {1, {9}}});
  ASSERT_OK(logits);
  EXPECT_EQ(logitsOf(*engine, *logits, 0), expectedLogits(cacheOnly(), {7}));
  EXPECT_EQ(logitsOf(*engine, *logits, 1), expectedLogits(cacheOnly(), {9}));
}

TEST(Engine, Tensors) {
  TempDir dir;
  std::unique_ptr<Engine> engine = makeEngine(openToy(dir, tensors()), 2);
  float x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, factor = 3, y[8] = {};
  std::vector<TensorView> in = {{"factor", &factor, 4}, {"x", x, 32}},
                          out = {{"y", y, 32}};
  ASSERT_OK(engine->forward(in, out));
  std::string weights = toyWeights();
  for (int i = 0; i < 8; ++i) {
    float w;
    std::memcpy(&w, weights.data() + 4 * i, 4);
    EXPECT_EQ(y[i], x[i] * 3 + w);
  }
  ASSERT_OK(engine->forward(in, {}, "forward_b1"));
  EXPECT_ERROR(engine->forward(in, out, "forward_b2"), badInput);
  EXPECT_ERROR(engine->forward({in[0]}, out), badInput);
  EXPECT_ERROR(engine->forward({in[0], {"x", x, 28}}, out), badInput);
  EXPECT_ERROR(engine->forward({in[0], {"z", x, 32}}, out), badInput);
  EXPECT_ERROR(engine->forward(in, {{"y", y, 31}}), badInput);
  EXPECT_ERROR(engine->prefill(0, {1}), badInput);
}

TEST(Engine, Interrupt) {
  TempDir dir;
  std::atomic<int> flag{0};
  EngineOptions options;
  options.threads = 2;
  options.interrupt = &flag;
  Result<std::unique_ptr<Engine>> made =
      Engine::create(openToy(dir, both()), options);
  ASSERT_OK(made);
  Engine &engine = **made;
  ASSERT_OK(engine.prefill(0, {1, 2}));
  Result<Snapshot> saved = engine.snapshot(0, SnapshotKind::Light);
  ASSERT_OK(saved);
  flag = 1;
  EXPECT_ERROR(engine.prefill(0, {3}), interrupted);
  flag = 0;
  // Nobody knows what the states are now.
  EXPECT_ERROR(engine.prefill(0, {3}), badSequence);
  EXPECT_ERROR(engine.snapshot(0), badSequence);
  ASSERT_OK(engine.restore(0, *saved));
  Result<const float *> logits = engine.prefill(0, {3});
  ASSERT_OK(logits);
  EXPECT_EQ(logitsOf(engine, *logits), expectedLogits(both(), {1, 2, 3}));
}

TEST(Engine, Statistics) {
  TempDir dir;
  std::unique_ptr<Engine> engine = makeEngine(openToy(dir, both()));
  ASSERT_OK(engine->prefill(0, someTokens(15)));
  EngineStats stats = engine->stats();
  EXPECT_EQ(stats.tokens, 15u);
  EXPECT_EQ(stats.steps, stats.calls * 5);
  EXPECT_GT(stats.seconds, 0);
  EXPECT_EQ(stats.bytes, stats.steps * 100);
  engine->resetStats();
  EXPECT_EQ(engine->stats().calls, 0u);
}

// AddressSanitizer keeps freed memory for a while, and finds leaks itself.
#if defined(__SANITIZE_ADDRESS__)
#define EFFC_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EFFC_ASAN 1
#endif
#endif
#ifdef EFFC_ASAN
constexpr uint64_t slackPages = 1 << 17;
#else
constexpr uint64_t slackPages = 64; // 256 KiB for 10 000 steps
#endif

uint64_t residentPages() {
  std::ifstream file("/proc/self/statm");
  uint64_t size = 0, resident = 0;
  file >> size >> resident;
  return resident;
}

TEST(Engine, LongDecodeDoesNotLeak) {
  TempDir dir;
  std::unique_ptr<Engine> engine = makeEngine(openToy(dir, both()), 2);
  auto steps = [&](int count) {
    for (int i = 0; i < count; ++i) {
      if (engine->length(0) == engine->capacity()) {
        ASSERT_OK(engine->reset(0));
      }
      ASSERT_OK(engine->decode({{0, TokenId(i % TOY_VOCAB)}}));
      Result<Snapshot> saved = engine->snapshot(0, SnapshotKind::Light);
      ASSERT_OK(saved);
    }
  };
  steps(1000);
  uint64_t before = residentPages();
  steps(10000);
  EXPECT_LT(residentPages(), before + slackPages);
}

TEST(Engine, SequencesTakeRoomAsTheyGrow) {
  TempDir dir;
  std::shared_ptr<const Model> model = openToy(dir, both());
  uint64_t before = residentPages();
  std::unique_ptr<Engine> engine = makeEngine(model, 1, 60000);
  // 60 000 sequences of 1 044 bytes would be 15 300 pages.
  EXPECT_LT(residentPages(), before + 4000 + slackPages);
  ASSERT_OK(engine->prefill(59999, {1}));
}

} // namespace
