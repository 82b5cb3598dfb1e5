//===- SequenceTest.cpp - rolling sequences back --------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Toy.h"

#include <fstream>

using namespace effrt;
using namespace effrt::test;

namespace {

constexpr char badSequence[] = "EFF0610";

std::vector<float> run(Engine &engine, int sequence,
                       const std::vector<TokenId> &tokens) {
  Result<const float *> logits = engine.prefill(sequence, tokens);
  EXPECT_TRUE(logits.ok()) << (logits ? "" : logits.error().format());
  return logits ? logitsOf(engine, *logits) : std::vector<float>();
}

TEST(Sequence, SnapshotsAreExact) {
  TempDir dir;
  for (const ToyKind &kind : {both(), cacheOnly(), recurrentOnly()})
    for (SnapshotKind how : {SnapshotKind::Full, SnapshotKind::Light}) {
      std::unique_ptr<Engine> engine = makeEngine(openToy(dir, kind), 2, 2);
      run(*engine, 0, {1, 2, 3, 4, 5});
      Result<Snapshot> saved = engine->snapshot(0, how);
      ASSERT_OK(saved);
      EXPECT_EQ(saved->length(), 5);
      for (TokenId other = 0; other < 4; ++other) {
        run(*engine, 0, {other, 9, 8, 7});
        ASSERT_OK(engine->restore(0, *saved));
        EXPECT_EQ(engine->length(0), 5);
        EXPECT_EQ(run(*engine, 0, {6}),
                  expectedLogits(kind, {1, 2, 3, 4, 5, 6}));
      }
    }
}

TEST(Sequence, FullSnapshotsSurviveEverything) {
  TempDir dir;
  std::shared_ptr<const Model> model = openToy(dir, both());
  std::unique_ptr<Engine> engine = makeEngine(model, 1, 2);
  run(*engine, 0, {1, 2, 3});
  Result<Snapshot> saved = engine->snapshot(0);
  ASSERT_OK(saved);
  EXPECT_GT(saved->bytes(), 3u * TOY_HEADS * TOY_TOKEN_BYTES);
  ASSERT_OK(engine->reset(0));
  run(*engine, 0, {9, 9, 9, 9});
  ASSERT_OK(engine->restore(1, *saved));
  EXPECT_EQ(run(*engine, 1, {4}), expectedLogits(both(), {1, 2, 3, 4}));
  EXPECT_EQ(run(*engine, 0, {4}), expectedLogits(both(), {9, 9, 9, 9, 4}));
  // Another engine of the same model, after this one is gone.
  engine = makeEngine(model, 1, 1);
  ASSERT_OK(engine->restore(0, *saved));
  EXPECT_EQ(run(*engine, 0, {4}), expectedLogits(both(), {1, 2, 3, 4}));
  // Another model.
  engine = makeEngine(openToy(dir, both()));
  EXPECT_ERROR(engine->restore(0, *saved), badSequence);
  EXPECT_ERROR(engine->restore(0, Snapshot()), badSequence);
}

TEST(Sequence, LightSnapshotsKnowWhenTheyAreOld) {
  TempDir dir;
  std::unique_ptr<Engine> engine = makeEngine(openToy(dir, cacheOnly()), 1, 2);
  run(*engine, 0, {1, 2, 3, 4});
  Result<Snapshot> four = engine->snapshot(0, SnapshotKind::Light);
  run(*engine, 0, {5, 6});
  Result<Snapshot> six = engine->snapshot(0, SnapshotKind::Light);
  ASSERT_OK(four);
  ASSERT_OK(six);
  EXPECT_ERROR(engine->restore(1, *four), badSequence);
  ASSERT_OK(engine->truncate(0, 5));
  run(*engine, 0, {9, 9}); // where row 6 of the second snapshot was
  EXPECT_ERROR(engine->restore(0, *six), badSequence);
  ASSERT_OK(engine->restore(0, *four));
  EXPECT_EQ(run(*engine, 0, {7}), expectedLogits(cacheOnly(), {1, 2, 3, 4, 7}));
  ASSERT_OK(engine->reset(0));
  EXPECT_ERROR(engine->restore(0, *four), badSequence);
}

TEST(Sequence, TruncateCaches) {
  TempDir dir;
  std::unique_ptr<Engine> engine = makeEngine(openToy(dir, cacheOnly()));
  std::vector<TokenId> tokens = someTokens(20);
  run(*engine, 0, tokens);
  for (int length : {20, 13, 12, 1}) {
    ASSERT_OK(engine->truncate(0, length));
    EXPECT_EQ(engine->length(0), length);
    tokens.resize(size_t(length));
    std::vector<TokenId> more = tokens;
    more.push_back(3);
    EXPECT_EQ(run(*engine, 0, {3}), expectedLogits(cacheOnly(), more));
    ASSERT_OK(engine->truncate(0, length));
  }
  EXPECT_ERROR(engine->truncate(0, 2), badSequence);
  EXPECT_ERROR(engine->truncate(0, -1), badSequence);
  EXPECT_ERROR(engine->truncate(1, 0), badSequence);
  ASSERT_OK(engine->truncate(0, 0));
  EXPECT_EQ(run(*engine, 0, {8}), expectedLogits(cacheOnly(), {8}));
}

TEST(Sequence, RecurrentStatesAreNotCut) {
  TempDir dir;
  for (const ToyKind &kind : {both(), recurrentOnly()}) {
    std::unique_ptr<Engine> engine = makeEngine(openToy(dir, kind));
    run(*engine, 0, {1, 2, 3});
    EXPECT_ERROR(engine->truncate(0, 2), badSequence);
    EXPECT_EQ(engine->length(0), 3);
    ASSERT_OK(engine->truncate(0, 3));
    ASSERT_OK(engine->truncate(0, 0));
    EXPECT_EQ(run(*engine, 0, {4, 5}), expectedLogits(kind, {4, 5}));
  }
}

TEST(Sequence, Copies) {
  TempDir dir;
  std::unique_ptr<Engine> engine = makeEngine(openToy(dir, both()), 1, 3);
  run(*engine, 0, {1, 2, 3});
  run(*engine, 2, {7, 7, 7, 7, 7, 7});
  ASSERT_OK(engine->copy(0, 2));
  ASSERT_OK(engine->copy(0, 0));
  run(*engine, 0, {9});
  EXPECT_EQ(run(*engine, 2, {4}), expectedLogits(both(), {1, 2, 3, 4}));
  EXPECT_EQ(run(*engine, 0, {4}), expectedLogits(both(), {1, 2, 3, 9, 4}));
  EXPECT_ERROR(engine->copy(0, 3), badSequence);
}

/// Prompts that share parts with what the sequence held before, in one engine:
/// equal length, shorter, longer, identical, different from the start. Each
/// must give what it gives alone.
TEST(Sequence, PromptsReuseWhatTheyShare) {
  TempDir dir;
  const std::vector<std::vector<TokenId>> prompts = {
      {1, 2, 3, 4}, {1, 2, 4, 3}, {1, 2, 4},    {1, 2, 4, 3, 7, 6},
      {1, 2, 3, 4}, {5, 2, 3, 4}, {5, 2, 3, 4}, {5, 2, 3, 4, 1}};
  const std::vector<int> fromCache = {0, 2, 2, 3, 2, 0, 3, 4};
  const std::vector<int> fromStates = {0, 0, 0, 3, 0, 0, 0, 4};
  for (const ToyKind &kind : {both(), cacheOnly(), recurrentOnly()}) {
    std::unique_ptr<Engine> engine = makeEngine(openToy(dir, kind), 2);
    for (size_t i = 0; i < prompts.size(); ++i) {
      int reused = -1;
      Result<const float *> logits = engine->prompt(0, prompts[i], &reused);
      ASSERT_OK(logits);
      EXPECT_EQ(logitsOf(*engine, *logits), expectedLogits(kind, prompts[i]))
          << kind.code << " prompt " << i;
      EXPECT_EQ(reused, kind.recurrent ? fromStates[i] : fromCache[i])
          << kind.code << " prompt " << i;
      EXPECT_EQ(engine->tokens(0), prompts[i]);
    }
  }
}

/// Prompts of unequal length in one batch, each alone, in chunks and padded to
/// a bucket: padding must not touch a state. One is shorter than every chunk.
TEST(Sequence, PaddingTouchesNoState) {
  TempDir dir;
  const std::vector<std::vector<TokenId>> prompts = {{1, 4, 2, 5, 3}, {3, 0}},
                                          then = {{2, 1}, {5, 5}};
  for (const ToyKind &kind : {both(), recurrentOnly()}) {
    std::unique_ptr<Engine> engine = makeEngine(openToy(dir, kind), 1, 2);
    std::vector<std::vector<float>> alone;
    for (size_t i = 0; i < 2; ++i) {
      ASSERT_OK(engine->reset(0));
      run(*engine, 0, prompts[i]); // padded to the bucket of 16
      alone.push_back(run(*engine, 0, then[i]));
      std::vector<TokenId> all = prompts[i];
      all.insert(all.end(), then[i].begin(), then[i].end());
      EXPECT_EQ(alone[i], expectedLogits(kind, all));
    }
    ASSERT_OK(engine->reset(0));
    ASSERT_OK(engine->prefill({{0, prompts[0]}, {1, prompts[1]}}));
    Result<const float *> logits =
        engine->prefill({{0, then[0]}, {1, then[1]}});
    ASSERT_OK(logits);
    for (size_t i = 0; i < 2; ++i)
      EXPECT_EQ(logitsOf(*engine, *logits, i), alone[i]);
    for (size_t i = 0; i < 2; ++i) {
      ASSERT_OK(engine->reset(0));
      for (size_t at = 0; at < prompts[i].size(); at += 2)
        run(*engine, 0,
            {prompts[i].begin() + ptrdiff_t(at),
             prompts[i].begin() +
                 ptrdiff_t(std::min(at + 2, prompts[i].size()))});
      EXPECT_EQ(run(*engine, 0, then[i]), alone[i]);
    }
  }
}

} // namespace
