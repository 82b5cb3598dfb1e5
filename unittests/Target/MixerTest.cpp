//===- MixerTest.cpp - kernels that mix tokens
//------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "KernelTest.h"

#include <cmath>
#include <cstring>

using namespace effc;

namespace {

TEST(RopeTest, HalvesAndPairs) {
  Call call(2, 3, {7, 100000});
  for (int64_t interleaved : {0, 1})
    for (auto [d, half] :
         {std::pair<int64_t, int64_t>{64, 32}, {80, 20}, {6, 3}, {24, 11}}) {
      int64_t heads = 3, ld = heads * d + 5;
      std::vector<float> frequencies(half);
      for (int64_t i = 0; i < half; ++i)
        frequencies[i] = std::pow(10000.0f, -static_cast<float>(i) / half);
      Buffer x = rowsOf(6, ld, heads * d, 1), f = frequencies,
             y(rowBytes(6, ld, heads * d));
      Case c;
      c.family = "rope";
      c.constants = {{"batch", 2},
                     {"tokens", 3},
                     {"heads", heads},
                     {"head_dim", d},
                     {"half", half},
                     {"ldx", ld},
                     {"ldy", ld},
                     {"interleaved", interleaved},
                     {"scale_bits", bitsOf(1.25f)}};
      c.operands = {&x, &f, &y};
      c.outputs = {2};
      c.absolute = 1e-6;
      check(c, call);
    }
}

TEST(CacheTest, AppendsRealTokensAtTheirSlot) {
  int64_t heads = 2, d = 20, capacity = 9, ld = heads * d + 3;
  Buffer x = rowsOf(6, ld, heads * d, 2),
         cache = randomFloats(3 * heads * capacity * d, 3);
  Case c;
  c.family = "cache_append";
  c.constants = {{"batch", 2},    {"tokens", 3},          {"heads", heads},
                 {"head_dim", d}, {"capacity", capacity}, {"ldx", ld}};
  c.operands = {&x, &cache};
  c.outputs = {1};
  check(c, Call(2, 3, {6, 0}, {3, 2}, {2, 0}));
  check(c, Call(2, 3, {6, 0}, {0, 1}, {1, 2}));
}

/// Rows of a scale and codes, as caches of integers have them. Scales from row
/// `real` of each head on are NaN: such rows must not take part in anything.
Buffer randomRows(int64_t heads, int64_t capacity, int64_t d, uint64_t seed,
                  const std::function<int64_t(int64_t)> &real) {
  int64_t rowBytes = 4 + (d + 3) / 4 * 4;
  Buffer rows(heads * capacity * rowBytes);
  std::vector<float> values = randomFloats(heads * capacity * d, seed, 127.4f);
  for (int64_t row = 0; row < heads * capacity; ++row) {
    char *at = rows.as<char>() + row * rowBytes;
    float scale = row % capacity < real(row / capacity)
                      ? 0.002f + 0.0001f * static_cast<float>(row % 60)
                      : NAN;
    std::memcpy(at, &scale, 4);
    for (int64_t i = 0; i < d; ++i)
      at[4 + i] = static_cast<char>(std::lround(values[row * d + i]));
  }
  return rows;
}

TEST(CacheTest, RoundsRowsToIntegers) {
  for (int64_t d : {20, 64, 30}) {
    int64_t heads = 2, capacity = 9, ld = heads * d + 3;
    Buffer x = rowsOf(6, ld, heads * d, 2);
    // A row of zeros, and one with a number that is none.
    std::fill_n(x.as(), d, 0.0f);
    x.as()[ld + 5] = NAN;
    Buffer cache =
        randomRows(3 * heads, capacity, d, 3, [](int64_t) { return 9; });
    Case c;
    c.family = "cache_append";
    c.constants = {{"batch", 2},    {"tokens", 3},          {"heads", heads},
                   {"head_dim", d}, {"capacity", capacity}, {"ldx", ld},
                   {"cache_i8", 1}};
    c.operands = {&x, &cache};
    c.outputs = {1};
    check(c, Call(2, 3, {6, 0}, {3, 2}, {2, 0}));
  }
}

/// Rows of integers of `bits` bits by scales of the model, as bytes.
Buffer randomBytes(int64_t bytes, uint64_t seed) {
  Buffer rows(bytes);
  std::vector<float> values = randomFloats(bytes, seed, 127.4f);
  for (int64_t i = 0; i < bytes; ++i)
    rows.as<char>()[i] = static_cast<char>(std::lround(values[i]));
  return rows;
}
/// A scale for each head and feature.
std::vector<float> scalesOf(int64_t count, uint64_t seed) {
  std::vector<float> scales = randomFloats(count, seed, 0.015f);
  for (float &scale : scales)
    scale = std::fabs(scale) + 0.004f;
  return scales;
}

TEST(CacheTest, RoundsByScalesOfTheModel) {
  for (int64_t bits : {8, 4})
    for (int64_t d : {20, 64, 30, 96, 17, 2}) {
      if (bits == 4 && d % 2)
        continue;
      int64_t heads = 2, capacity = 9, ld = heads * d + 3;
      Buffer x = rowsOf(6, ld, heads * d, 2), scales = scalesOf(heads * d, 5);
      // Ties, numbers beyond the range, and one that is none.
      x.as()[0] = 2.5f * scales.as()[0];
      x.as()[1] = -1e9f;
      x.as()[ld] = INFINITY;
      x.as()[ld + 1] = NAN;
      Buffer cache = randomBytes(3 * heads * capacity * d * bits / 8, 3);
      Case c;
      c.family = "cache_append";
      c.constants = {{"batch", 2},           {"tokens", 3},
                     {"heads", heads},       {"head_dim", d},
                     {"capacity", capacity}, {"ldx", ld},
                     {"cache_bits", bits}};
      c.operands = {&x, &cache, &scales};
      c.outputs = {1};
      check(c, Call(2, 3, {6, 0}, {3, 2}, {2, 0}));
    }
}

class AttentionTest : public testing::Test {
protected:
  struct Shape {
    int64_t heads, kvHeads, dim, causal, window;
    float softcap;
  };

  void cached(const Shape &s, const Call &call, int64_t capacity) {
    int64_t tokens = call.call.tokens, batch = call.call.batch,
            ld = s.heads * s.dim + 4;
    Buffer q = rowsOf(batch * tokens, ld, s.heads * s.dim, 4, 2),
           y(rowBytes(batch * tokens, ld, s.heads * s.dim));
    int64_t slots = *std::max_element(call.slot.begin(), call.slot.end()) + 1,
            each = s.kvHeads * capacity * s.dim;
    std::vector<float> keys = randomFloats(slots * each, 5),
                       values = randomFloats(slots * each, 6);
    // What lies behind the last token is not a number: it must not take part in
    // anything.
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t h = 0; h < s.kvHeads; ++h)
        for (int64_t i = (call.past[b] + call.valid[b]) * s.dim;
             i < capacity * s.dim; ++i)
          keys[call.slot[b] * each + h * capacity * s.dim + i] =
              values[call.slot[b] * each + h * capacity * s.dim + i] = NAN;
    Buffer k = keys, v = values;
    Case c = caseOf("attention_cache", s, call, ld);
    c.constants["capacity"] = capacity;
    c.operands = {&q, &k, &v, &y};
    check(c, call);
  }

  void integers(const Shape &s, const Call &call, int64_t capacity) {
    int64_t tokens = call.call.tokens, batch = call.call.batch,
            ld = s.heads * s.dim + 4;
    Buffer q = rowsOf(batch * tokens, ld, s.heads * s.dim, 4, 2),
           y(rowBytes(batch * tokens, ld, s.heads * s.dim));
    int64_t slots = *std::max_element(call.slot.begin(), call.slot.end()) + 1;
    auto real = [&](int64_t head) -> int64_t {
      for (int64_t b = 0; b < batch; ++b)
        if (call.slot[b] == head / s.kvHeads)
          return call.past[b] + call.valid[b];
      return capacity;
    };
    Buffer k = randomRows(slots * s.kvHeads, capacity, s.dim, 5, real),
           v = randomRows(slots * s.kvHeads, capacity, s.dim, 6, real);
    Case c = caseOf("attention_cache", s, call, ld);
    c.constants["capacity"] = capacity;
    c.constants["cache_i8"] = 1;
    c.operands = {&q, &k, &v, &y};
    check(c, call);
  }

  void scaled(const Shape &s, const Call &call, int64_t capacity) {
    int64_t tokens = call.call.tokens, batch = call.call.batch,
            ld = s.heads * s.dim + 4;
    Buffer q = rowsOf(batch * tokens, ld, s.heads * s.dim, 4, 2),
           y(rowBytes(batch * tokens, ld, s.heads * s.dim));
    int64_t slots = *std::max_element(call.slot.begin(), call.slot.end()) + 1;
    for (int64_t bits : {8, 4}) {
      int64_t bytes = slots * s.kvHeads * capacity * s.dim * bits / 8;
      Buffer k = randomBytes(bytes, 5), v = randomBytes(bytes, 6),
             kscale = scalesOf(s.kvHeads * s.dim, 7),
             vscale = scalesOf(s.kvHeads * s.dim, 8);
      Case c = caseOf("attention_cache", s, call, ld);
      c.constants["capacity"] = capacity;
      c.constants["cache_bits"] = bits;
      c.operands = {&q, &k, &v, &y, &kscale, &vscale};
      check(c, call);
    }
  }

  void tensors(const Shape &s, const Call &call) {
    int64_t rows = call.call.tokens * call.call.batch, ld = s.heads * s.dim,
            ldk = s.kvHeads * s.dim + 3;
    Buffer q = rowsOf(rows, ld, ld, 4, 2), y(rowBytes(rows, ld, ld));
    Buffer k = rowsOf(rows, ldk, ldk - 3, 5),
           v = rowsOf(rows, ldk + 2, ldk - 3, 6);
    Case c = caseOf("attention", s, call, ld);
    c.constants["ldk"] = ldk;
    c.constants["ldv"] = ldk + 2;
    c.operands = {&q, &k, &v, &y};
    check(c, call);
  }

  /// With what is added to the scores: [batches][heads][rows][tokens].
  void biased(const Shape &s, const Call &call, int64_t batches, int64_t heads,
              int64_t biasRows) {
    int64_t tokens = call.call.tokens, rows = tokens * call.call.batch,
            ld = s.heads * s.dim;
    Buffer q = rowsOf(rows, ld, ld, 4, 2), y(rowBytes(rows, ld, ld));
    Buffer k = rowsOf(rows, ld, ld, 5), v = rowsOf(rows, ld, ld, 6);
    std::vector<float> numbers =
        randomFloats(batches * heads * biasRows * tokens, 7);
    // A key that nothing sees, and a query that sees nothing.
    for (size_t i = 0; i < numbers.size(); ++i)
      if (i % tokens == 2 || i < static_cast<size_t>(tokens))
        numbers[i] = -INFINITY;
    Buffer bias = numbers;
    Case c = caseOf("attention", s, call, ld);
    c.constants["ldk"] = c.constants["ldv"] = ld;
    c.constants["bias_batch"] = batches;
    c.constants["bias_heads"] = heads;
    c.constants["bias_tokens"] = biasRows;
    c.operands = {&q, &k, &v, &y, &bias};
    check(c, call);
  }

private:
  Case caseOf(const char *family, const Shape &s, const Call &call,
              int64_t ld) {
    Case c;
    c.family = family;
    c.constants = {
        {"batch", call.call.batch},
        {"tokens", call.call.tokens},
        {"heads", s.heads},
        {"kv_heads", s.kvHeads},
        {"head_dim", s.dim},
        {"ldq", ld},
        {"ldy", ld},
        {"causal", s.causal},
        {"window", s.window},
        {"scale_bits", bitsOf(1 / std::sqrt(static_cast<float>(s.dim)))},
        {"softcap_bits", bitsOf(s.softcap)}};
    c.outputs = {3};
    c.absolute = 1e-5;
    c.compared = realTokens(call, 3, ld, s.heads * s.dim);
    return c;
  }
};

TEST_F(AttentionTest, Decode) {
  cached({4, 4, 64, 1, 0, 0}, Call(1, 1, {0}), 16);
  cached({8, 2, 64, 1, 0, 0}, Call(1, 1, {100}), 128);
  cached({6, 3, 20, 1, 0, 0}, Call(3, 1, {31, 0, 63}, {}, {2, 0, 1}), 64);
  cached({3, 1, 100, 1, 0, 0}, Call(1, 1, {40}), 41);
}

TEST_F(AttentionTest, Prefill) {
  cached({4, 2, 32, 1, 0, 0}, Call(1, 40, {0}), 64);
  cached({4, 1, 48, 1, 0, 0}, Call(2, 19, {33, 5}, {19, 7}, {1, 0}), 64);
  cached({2, 2, 16, 1, 0, 0}, Call(2, 5, {9, 0}, {0, 5}), 16);
}

TEST_F(AttentionTest, WindowAndSoftcap) {
  cached({2, 1, 32, 1, 10, 0}, Call(1, 40, {20}), 64);
  cached({2, 2, 32, 1, 0, 5}, Call(1, 9, {20}), 64);
  cached({2, 2, 32, 1, 1, 3}, Call(1, 1, {70}), 128);
}

TEST_F(AttentionTest, Bias) {
  biased({4, 4, 16, 0, 0, 0}, Call(4, 16), 2, 4, 16);
  biased({2, 2, 24, 0, 0, 0}, Call(2, 37), 2, 1, 1);
  biased({2, 2, 8, 1, 0, 3}, Call(1, 50), 1, 2, 50);
}

TEST_F(AttentionTest, Integers) {
  integers({8, 2, 64, 1, 0, 0}, Call(1, 1, {100}), 128);
  integers({3, 1, 100, 1, 0, 0}, Call(1, 1, {40}), 41);
  integers({2, 1, 128, 1, 10, 0}, Call(1, 40, {20}), 64);
  integers({4, 1, 48, 1, 0, 5}, Call(2, 19, {33, 5}, {19, 7}, {1, 0}), 64);
  integers({6, 3, 20, 1, 0, 0}, Call(3, 1, {31, 0, 63}, {}, {2, 0, 1}), 64);
}

TEST_F(AttentionTest, IntegerChunkEqualsSteps) {
  int64_t tokens = 45, heads = 4, kv = 2, d = 64, ld = heads * d, capacity = 64;
  Buffer q = randomFloats(tokens * ld, 1), y(tokens * ld * 4);
  auto all = [&](int64_t) { return capacity; };
  Buffer k = randomRows(kv, capacity, d, 2, all),
         v = randomRows(kv, capacity, d, 3, all);
  Case c;
  c.family = "attention_cache";
  c.constants = {
      {"batch", 1},    {"heads", heads},       {"kv_heads", kv},
      {"head_dim", d}, {"capacity", capacity}, {"ldq", ld},
      {"ldy", ld},     {"causal", 1},          {"scale_bits", bitsOf(0.2f)},
      {"cache_i8", 1}};
  c.operands = {&q, &k, &v, &y};
  c.outputs = {3};
  expectChunkEqualsSteps(c, {{0, 4 * ld}, {3, 4 * ld}}, tokens, true);
}

TEST_F(AttentionTest, IntegersByScalesOfTheModel) {
  scaled({8, 2, 64, 1, 0, 0}, Call(1, 1, {100}), 128);
  scaled({3, 1, 100, 1, 0, 0}, Call(1, 1, {40}), 41);
  scaled({2, 1, 128, 1, 10, 0}, Call(1, 40, {20}), 64);
  scaled({4, 1, 48, 1, 0, 5}, Call(2, 19, {33, 5}, {19, 7}, {1, 0}), 64);
  scaled({6, 3, 20, 1, 0, 0}, Call(3, 1, {31, 0, 63}, {}, {2, 0, 1}), 64);
  scaled({70, 1, 16, 1, 0, 0}, Call(1, 2, {5}), 8);
}

TEST_F(AttentionTest, ScaledIntegerChunkEqualsSteps) {
  int64_t tokens = 45, heads = 4, kv = 2, d = 64, ld = heads * d, capacity = 64;
  Buffer q = randomFloats(tokens * ld, 1), y(tokens * ld * 4);
  Buffer kscale = scalesOf(kv * d, 7), vscale = scalesOf(kv * d, 8);
  for (int64_t bits : {8, 4}) {
    Buffer k = randomBytes(kv * capacity * d * bits / 8, 2),
           v = randomBytes(kv * capacity * d * bits / 8, 3);
    Case c;
    c.family = "attention_cache";
    c.constants = {{"batch", 1},
                   {"heads", heads},
                   {"kv_heads", kv},
                   {"head_dim", d},
                   {"capacity", capacity},
                   {"ldq", ld},
                   {"ldy", ld},
                   {"causal", 1},
                   {"scale_bits", bitsOf(0.2f)},
                   {"cache_bits", bits}};
    c.operands = {&q, &k, &v, &y, &kscale, &vscale};
    c.outputs = {3};
    expectChunkEqualsSteps(c, {{0, 4 * ld}, {3, 4 * ld}}, tokens, true);
  }
}

TEST_F(AttentionTest, Tensors) {
  tensors({3, 3, 64, 0, 0, 0}, Call(2, 65));
  tensors({4, 2, 24, 1, 0, 0}, Call(1, 33));
  tensors({2, 2, 17, 0, 0, 0}, Call(2, 10, {}, {10, 4}));
}

TEST_F(AttentionTest, MoreHeadsThanAnItemHolds) {
  cached({70, 1, 16, 1, 0, 0}, Call(1, 2, {5}), 8);
}

TEST_F(AttentionTest, ChunkEqualsSteps) {
  int64_t tokens = 45, heads = 4, kv = 2, d = 32, ld = heads * d, capacity = 64;
  Buffer q = randomFloats(tokens * ld, 1),
         k = randomFloats(kv * capacity * d, 2),
         v = randomFloats(kv * capacity * d, 3);
  Buffer y(tokens * ld * 4);
  Case c;
  c.family = "attention_cache";
  c.constants = {
      {"batch", 1},    {"heads", heads},       {"kv_heads", kv},
      {"head_dim", d}, {"capacity", capacity}, {"ldq", ld},
      {"ldy", ld},     {"causal", 1},          {"scale_bits", bitsOf(0.2f)}};
  c.operands = {&q, &k, &v, &y};
  c.outputs = {3};
  expectChunkEqualsSteps(c, {{0, 4 * ld}, {3, 4 * ld}}, tokens, true);
}

} // namespace
