//===- CoverTest.cpp - covering a prompt with chunks ----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effrt/engine.h"

#include <gtest/gtest.h>

#include <numeric>

using namespace effrt;

namespace {

using Ints = std::vector<int>;

TEST(CoverTokens, Nothing) {
  EXPECT_EQ(coverTokens({}, 5), Ints{});
  EXPECT_EQ(coverTokens({{1, 1}}, 0), Ints{});
}

TEST(CoverTokens, OneTokenAtATimeIfThereIsNothingElse) {
  EXPECT_EQ(coverTokens({{1, 1}}, 3), (Ints{1, 1, 1}));
}

TEST(CoverTokens, LongestFirstAndThePaddingLast) {
  // Bound by memory: a call costs the weights, whatever its length.
  std::vector<Chunk> chunks = {{1, 100}, {16, 104}, {128, 150}, {512, 320}};
  EXPECT_EQ(coverTokens(chunks, 512), Ints{512});
  EXPECT_EQ(coverTokens(chunks, 700), (Ints{512, 128, 128}));
  EXPECT_EQ(coverTokens(chunks, 60), Ints{128});
  EXPECT_EQ(coverTokens(chunks, 1), Ints{1});
  EXPECT_EQ(coverTokens(chunks, 2), Ints{16});
}

TEST(CoverTokens, NoPaddingWhereTokensAreExpensive) {
  std::vector<Chunk> chunks = {{1, 2}, {16, 17}, {128, 129}};
  EXPECT_EQ(coverTokens(chunks, 145), (Ints{128, 16, 1}));
}

TEST(CoverTokens, OnlyALongChunk) {
  EXPECT_EQ(coverTokens({{64, 10}}, 1), Ints{64});
  EXPECT_EQ(coverTokens({{64, 10}}, 65), (Ints{64, 64}));
}

TEST(CoverTokens, EveryCountIsCoveredWithoutAnEmptyCall) {
  std::vector<Chunk> chunks = {{1, 90}, {8, 100}, {32, 130}, {128, 260}};
  for (int count = 1; count < 3000; count += count < 300 ? 1 : 37) {
    Ints cover = coverTokens(chunks, count);
    int sum = std::accumulate(cover.begin(), cover.end(), 0);
    EXPECT_GE(sum, count);
    EXPECT_LT(sum - cover.back(), count) << count;
    EXPECT_TRUE(std::is_sorted(cover.rbegin(), cover.rend()));
  }
}

} // namespace
