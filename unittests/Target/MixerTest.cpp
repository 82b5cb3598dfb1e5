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

/// Compares rows of real tokens alone, in operand `operand`.
std::function<bool(int, int64_t)> realTokens(const Call &call, int operand,
                                             int64_t ld, int64_t columns) {
  return [=, &call](int i, int64_t index) {
    if (i != operand)
      return true;
    int64_t row = index / ld, b = row / call.call.tokens,
            t = row % call.call.tokens;
    return t < call.valid[b] || index % ld >= columns;
  };
}

int64_t rowBytes(int64_t rows, int64_t ld, int64_t d) {
  return ((rows - 1) * ld + d) * 4;
}
Buffer rowsOf(int64_t rows, int64_t ld, int64_t d, uint64_t seed,
              float scale = 1) {
  return Buffer(randomFloats((rows - 1) * ld + d, seed, scale));
}

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

TEST_F(AttentionTest, Tensors) {
  tensors({3, 3, 64, 0, 0, 0}, Call(2, 65));
  tensors({4, 2, 24, 1, 0, 0}, Call(1, 33));
  tensors({2, 2, 17, 0, 0, 0}, Call(2, 10, {}, {10, 4}));
}

TEST_F(AttentionTest, MoreHeadsThanAnItemHolds) {
  cached({70, 1, 16, 1, 0, 0}, Call(1, 2, {5}), 8);
}

/// Runs a family on `tokens` tokens at once and one after the other; y and the
/// state must have equal bits.
void expectChunkEqualsSteps(Case c, const std::vector<int> &rowOperands,
                            const std::vector<int64_t> &lds, int64_t tokens,
                            bool advancePast) {
  for (const X86Machine &machine : machines()) {
    SCOPED_TRACE(c.family + " " + machine.name());
    auto run = [&](bool together) {
      std::vector<Buffer> copies;
      std::vector<void *> pointers;
      for (const Buffer *operand : c.operands)
        copies.push_back(operand ? operand->clone() : Buffer());
      c.constants["tokens"] = together ? tokens : 1;
      LoadedKernel kernel =
          llvm::cantFail(LoadedKernel::load(specOf(c), machine));
      for (int64_t t = 0; t < (together ? 1 : tokens); ++t) {
        pointers.clear();
        for (size_t i = 0; i < copies.size(); ++i)
          pointers.push_back(c.operands[i] ? copies[i].as<void>() : nullptr);
        for (size_t i = 0; i < rowOperands.size(); ++i)
          pointers[rowOperands[i]] = copies[rowOperands[i]].as() + t * lds[i];
        kernel(pointers.data(),
               Call(1, together ? tokens : 1,
                    {advancePast ? static_cast<int32_t>(t) : 0})
                   .call);
      }
      std::vector<std::vector<uint32_t>> results;
      for (int i : c.outputs)
        results.push_back(copies[i].get<uint32_t>());
      return results;
    };
    EXPECT_EQ(run(true), run(false));
  }
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
  expectChunkEqualsSteps(c, {0, 3}, {ld, ld}, tokens, true);
}

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
      c.operands = {&x, &w, activation ? &bias : nullptr, &state, &y};
      c.outputs = {3, 4};
      c.absolute = 2e-6;
      c.compared = realTokens(call, 4, ld, channels);
      check(c, call);
    }
}

Case ssmCase(int64_t channels, int64_t n, int64_t groups) {
  Case c;
  c.family = "ssm_scan";
  c.constants = {
      {"channels", channels}, {"n", n},           {"groups", groups},
      {"ldu", channels},      {"lddt", channels}, {"ldb", groups * n},
      {"ldc", groups * n},    {"ldz", channels},  {"ldy", channels}};
  c.outputs = {7, 8};
  return c;
}

/// Time steps are positive and decays negative, as models have them.
std::vector<float> magnitudes(int64_t count, uint64_t seed, float scale) {
  std::vector<float> values = randomFloats(count, seed, scale);
  for (float &v : values)
    v = std::fabs(v);
  return values;
}
std::vector<float> negated(std::vector<float> values) {
  for (float &v : values)
    v = -v;
  return values;
}

TEST(SsmTest, StatesAndPadding) {
  struct {
    int64_t channels, n, groups;
    bool skip, gate;
  } shapes[] = {{64, 16, 1, true, true},
                {40, 16, 2, true, false},
                {33, 5, 3, false, true},
                {16, 32, 1, false, false}};
  for (auto [channels, n, groups, skip, gate] : shapes) {
    Call call(2, 5, {}, {5, 3}, {1, 0});
    Buffer u = randomFloats(10 * channels, 1),
           dt = magnitudes(10 * channels, 2, 0.5f);
    Buffer a = negated(magnitudes(channels * n, 3, 4)),
           b = randomFloats(10 * groups * n, 4),
           cc = randomFloats(10 * groups * n, 5);
    Buffer d = randomFloats(channels, 6), z = randomFloats(10 * channels, 7, 3);
    Buffer state = randomFloats(2 * n * channels, 8), y(10 * channels * 4);
    Case c = ssmCase(channels, n, groups);
    c.constants["batch"] = 2;
    c.constants["tokens"] = 5;
    c.operands = {
        &u,     &dt, &a, &b, &cc, skip ? &d : nullptr, gate ? &z : nullptr,
        &state, &y};
    c.absolute = 1e-5;
    c.compared = realTokens(call, 8, channels, channels);
    check(c, call);
  }
}

TEST(SsmTest, ChunkEqualsSteps) {
  int64_t tokens = 11, channels = 40, n = 16;
  Buffer u = randomFloats(tokens * channels, 1),
         dt = magnitudes(tokens * channels, 2, 0.5f);
  Buffer a = negated(magnitudes(channels * n, 3, 4)),
         b = randomFloats(tokens * n, 4), cc = randomFloats(tokens * n, 5);
  Buffer d = randomFloats(channels, 6), z = randomFloats(tokens * channels, 7),
         state = randomFloats(n * channels, 8);
  Buffer y(tokens * channels * 4);
  Case c = ssmCase(channels, n, 1);
  c.constants["batch"] = 1;
  c.operands = {&u, &dt, &a, &b, &cc, &d, &z, &state, &y};
  expectChunkEqualsSteps(c, {0, 1, 3, 4, 6, 8},
                         {channels, channels, n, n, channels, channels}, tokens,
                         false);
}

Case ssdCase(int64_t heads, int64_t p, int64_t n, int64_t groups) {
  Case c;
  c.family = "ssd_scan";
  c.constants = {{"heads", heads},   {"head_dim", p},     {"n", n},
                 {"groups", groups}, {"chunk", 64},       {"ldx", heads * p},
                 {"lddt", heads},    {"ldb", groups * n}, {"ldc", groups * n},
                 {"ldy", heads * p}};
  c.outputs = {6, 7};
  return c;
}

TEST(SsdTest, StatesAndPadding) {
  struct {
    int64_t heads, p, n, groups, tokens;
    bool skip;
  } shapes[] = {{4, 64, 32, 1, 5, true},
                {6, 20, 13, 2, 3, false},
                {2, 48, 16, 2, 70, true},
                {3, 33, 8, 1, 4, true}};
  for (auto [heads, p, n, groups, tokens, skip] : shapes) {
    Call call(2, tokens, {}, {static_cast<int32_t>(tokens), 2}, {1, 0});
    int64_t rows = 2 * tokens;
    Buffer x = randomFloats(rows * heads * p, 1),
           dt = magnitudes(rows * heads, 2, 0.5f),
           a = negated(magnitudes(heads, 3, 4));
    Buffer b = randomFloats(rows * groups * n, 4),
           cc = randomFloats(rows * groups * n, 5), d = randomFloats(heads, 6);
    Buffer state = randomFloats(2 * heads * n * p, 7), y(rows * heads * p * 4);
    Case c = ssdCase(heads, p, n, groups);
    c.constants["batch"] = 2;
    c.constants["tokens"] = tokens;
    c.operands = {&x, &dt, &a, &b, &cc, skip ? &d : nullptr, &state, &y};
    c.absolute = 2e-5;
    c.compared = realTokens(call, 7, heads * p, heads * p);
    check(c, call);
  }
}

TEST(SsdTest, ChunkEqualsSteps) {
  int64_t tokens = 67, heads = 2, p = 64, n = 16;
  Buffer x = randomFloats(tokens * heads * p, 1),
         dt = magnitudes(tokens * heads, 2, 0.5f),
         a = negated(magnitudes(heads, 3, 4));
  Buffer b = randomFloats(tokens * n, 4), cc = randomFloats(tokens * n, 5),
         d = randomFloats(heads, 6);
  Buffer state = randomFloats(heads * n * p, 7), y(tokens * heads * p * 4);
  Case c = ssdCase(heads, p, n, 1);
  c.constants["batch"] = 1;
  c.operands = {&x, &dt, &a, &b, &cc, &d, &state, &y};
  expectChunkEqualsSteps(c, {0, 1, 3, 4, 7},
                         {heads * p, heads, n, n, heads * p}, tokens, false);
}

} // namespace
