//===- ScanTest.cpp - convolutions and state-space scans ------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "ScanCase.h"

#include <array>
#include <cmath>
#include <random>

using namespace effc;

namespace {

TEST(ConvTest, StatesAndPadding) {
  for (auto [channels, kernel] :
       {std::pair<int64_t, int64_t>{64, 4}, {40, 4}, {19, 3}, {7, 1}, {33, 8}})
    for (int64_t activation : {0, 1}) {
      Call call(3, 6, {}, {6, 2, 0}, {2, 0, 1});
      int64_t ld = channels + 3;
      Buffer x = rowsOf(18, ld, channels, 1),
             w = randomFloats(channels * kernel, 2),
             bias = randomFloats(channels, 3);
      Buffer state = randomFloats(3 * (kernel - 1) * channels, 4),
             y(rowBytes(18, ld, channels));
      Case c;
      c.family = "causal_conv1d";
      c.constants = {{"batch", 3},        {"tokens", 6}, {"channels", channels},
                     {"kernel", kernel},  {"ldx", ld},   {"ldy", ld},
                     {"silu", activation}};
      c.operands = {&x,      &w,     activation ? &bias : nullptr, &state, &y,
                    nullptr, nullptr};
      c.outputs = {3, 4};
      c.absolute = 2e-6;
      c.compared = realTokens(call, 4, ld, channels);
      check(c, call);
    }
}

/// A convolution whose input, state and result are int8.
Case codesConv(const Call &call, int64_t channels, int64_t kernel, bool each,
               std::vector<Buffer> &room) {
  int64_t ld = channels + 3, rows = call.call.batch * call.call.tokens;
  room.clear();
  room.push_back(randomCodes((rows - 1) * ld + channels, 1));
  room.push_back(randomFloats(channels * kernel, 2));
  room.push_back(randomFloats(channels, 3));
  room.push_back(randomCodes(3 * (kernel - 1) * channels, 4));
  room.push_back(Buffer((rows - 1) * ld + channels));
  // Results up to about 1.5 saturate for some channels.
  for (uint64_t seed : {5, 6}) {
    std::vector<float> scales = randomFloats(each ? channels : 1, seed, 0.004f);
    for (float &scale : scales)
      scale = std::fabs(scale) + 0.002f;
    room.push_back(scales);
  }
  Case c;
  c.family = "causal_conv1d";
  c.constants = {{"batch", call.call.batch},
                 {"tokens", call.call.tokens},
                 {"channels", channels},
                 {"kernel", kernel},
                 {"ldx", ld},
                 {"ldy", ld},
                 {"silu", 1},
                 {"x_i8", 1},
                 {"xscale_each", each},
                 {"quant", 1},
                 {"oscale_each", each}};
  for (const Buffer &buffer : room)
    c.operands.push_back(&buffer);
  c.outputs = {3, 4};
  c.nearCodes = {3, 4};
  return c;
}

TEST(ConvTest, Integers) {
  std::vector<Buffer> room;
  Call call(3, 6, {}, {6, 2, 0}, {2, 0, 1});
  for (auto [channels, kernel] :
       {std::pair<int64_t, int64_t>{64, 4}, {40, 4}, {19, 3}, {7, 1}, {33, 8}})
    for (bool each : {false, true}) {
      Case c = codesConv(call, channels, kernel, each, room);
      c.compared = realTokens(call, 4, channels + 3, channels);
      check(c, call);
    }
}

// The state holds the last inputs exactly, so that the first
// token that is decoded equals the one of a longer chunk.
TEST(ConvTest, IntegerChunkEqualsSteps) {
  std::vector<Buffer> room;
  for (int32_t tokens : {1, 2, 3, 4, 33}) {
    Call call(1, tokens);
    Case c = codesConv(call, 40, 4, true, room);
    expectChunkEqualsSteps(c, {{0, 43}, {4, 43}}, tokens, false);
  }
}

/// Every tensor f32, then integers by tensor and by column, without and with
/// the model's time steps.
const Scan kScans[] = {
    {true, true, false, "", false},     {false, false, false, "", false},
    {true, false, true, "", false},     {false, true, true, "utbcz", true},
    {true, true, true, "utbcz", false}, {true, false, false, "ub", true},
    {false, true, false, "ctz", false},
};

TEST(SsmTest, StatesAndPadding) {
  Call call(2, 5, {}, {5, 3}, {1, 0});
  const std::array<int64_t, 3> shapes[] = {
      {64, 16, 1}, {40, 16, 2}, {33, 5, 3}, {16, 32, 1}};
  // Two shapes for each: kernels take time to compile.
  for (size_t i = 0; i < std::size(kScans); ++i)
    for (size_t j : {i % 4, (i + 1) % 4}) {
      auto [channels, n, groups] = shapes[j];
      ScanCase::ssm(channels, n, groups, call, kScans[i]).checkAll();
    }
}

TEST(SsmTest, ChunkEqualsSteps) {
  for (const Scan &scan : kScans)
    ScanCase::ssm(40, 16, 1, Call(1, 11), scan).checkChunkEqualsSteps();
}

TEST(SsdTest, StatesAndPadding) {
  const std::array<int64_t, 5> shapes[] = {{4, 64, 32, 1, 5},
                                           {6, 20, 13, 2, 3},
                                           {2, 48, 16, 2, 70},
                                           {3, 33, 8, 1, 4}};
  for (size_t i = 0; i < std::size(kScans); ++i)
    for (size_t j : {i % 4, (i + 1) % 4}) {
      auto [heads, p, n, groups, tokens] = shapes[j];
      Call call(2, static_cast<int32_t>(tokens), {},
                {static_cast<int32_t>(tokens), 2}, {1, 0});
      ScanCase::ssd(heads, p, n, groups, call, kScans[i]).checkAll();
    }
}

TEST(SsdTest, ChunkEqualsSteps) {
  for (const Scan &scan : kScans)
    ScanCase::ssd(2, 64, 16, 1, Call(1, 67), scan).checkChunkEqualsSteps();
}

// The rows of the smallest and the largest Mamba-2, and of one between.
TEST(SsdTest, ShapesOfModels) {
  Scan scan{true, false, true, "utbc", true};
  for (auto [heads, p, n, groups] : {std::array<int64_t, 4>{24, 64, 128, 1},
                                     {80, 64, 128, 1},
                                     {128, 64, 128, 8}})
    ScanCase::ssd(heads, p, n, groups, Call(1, 2), scan).checkAll();
}

TEST(SsdTest, LengthsOfChunks) {
  for (int64_t tokens : {1, 3, 4, 33, 63, 64, 65, 1024})
    for (int batch : {1, 2, 4})
      if (tokens * batch <= 1024)
        for (const char *codes : {"", "utbc"}) {
          std::vector<int32_t> valid(batch, static_cast<int32_t>(tokens));
          valid.back() = static_cast<int32_t>(tokens + 1) / 2;
          ScanCase::ssd(2, 32, 16, 1,
                        Call(batch, static_cast<int32_t>(tokens), {}, valid),
                        {true, false, true, codes, false})
              .checkAll();
        }
}

// A prompt at once, in chunks of 64 and token by token: the same results and
// the same states, also for prompts shorter than a convolution and longer than
// a chunk. Against the sequential reference: checkAll.
TEST(SsmTest, QuambaInvariant4_ScanEquivalence) {
  std::mt19937_64 random(4);
  auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  for (int32_t tokens : {1, 3, int(pick(4, 40)), 65}) {
    Scan scan{pick(0, 1) == 1, pick(0, 1) == 1, pick(0, 1) == 1, "", false};
    int64_t groups = pick(1, 3), channels = groups * pick(1, 30);
    Call call(1, tokens);
    ScanCase s = ScanCase::ssm(channels, pick(1, 20), groups, call, scan);
    s.checkAll();
    s.checkChunkEqualsSteps();
  }
}

TEST(SsdTest, QuambaInvariant4_ScanEquivalence) {
  std::mt19937_64 random(5);
  auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  for (int32_t tokens : {1, 3, int(pick(65, 100))}) {
    Scan scan{pick(0, 1) == 1, false, pick(0, 1) == 1, "", false};
    int64_t groups = pick(1, 2), heads = groups * pick(1, 3);
    Call call(1, tokens);
    ScanCase s =
        ScanCase::ssd(heads, pick(1, 70), pick(1, 40), groups, call, scan);
    s.checkAll();
    s.checkChunkEqualsSteps();
  }
}

} // namespace
