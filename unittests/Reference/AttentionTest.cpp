//===- AttentionTest.cpp - attention, caches, rope ------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Model.h"

#include <complex>
#include <functional>

namespace effc::reference {

namespace {
/// Attention over a whole sequence, written down from the definition: every
/// query sees the sequence as `sees` says.
struct Direct {
  size_t heads, kvHeads, headDim, tokens;
  double scale, softcap = 0;
  std::function<bool(size_t query, size_t key)> sees;

  Values operator()(const Values &q, const Values &k, const Values &v) const {
    Values y(q.size());
    for (size_t h = 0; h < heads; ++h) {
      size_t g = h / (heads / kvHeads);
      for (size_t i = 0; i < tokens; ++i) {
        double total = 0;
        for (size_t j = 0; j < tokens; ++j) {
          if (!sees(i, j))
            continue;
          double s = 0;
          for (size_t d = 0; d < headDim; ++d)
            s += q[(i * heads + h) * headDim + d] *
                 k[(j * kvHeads + g) * headDim + d];
          s *= scale;
          if (softcap > 0)
            s = softcap * std::tanh(s / softcap);
          total += std::exp(s);
          for (size_t d = 0; d < headDim; ++d)
            y[(i * heads + h) * headDim + d] +=
                std::exp(s) * v[(j * kvHeads + g) * headDim + d];
        }
        for (size_t d = 0; d < headDim && total > 0; ++d)
          y[(i * heads + h) * headDim + d] /= total;
      }
    }
    return y;
  }
};

/// Attention over tensors of 7 tokens, 6 heads of 4 over 2 key heads.
std::string overTensors(const std::string &attributes) {
  return R"(
    func.func @main(%q: tensor<1x7x24xf32>, %k: tensor<1x7x8xf32>, %v: tensor<1x7x8xf32>) -> tensor<1x7x24xf32> {
      %y = eff.attention %q, %k, %v {heads = 6, kv_heads = 2, scale = 0.5 : f32)" +
         attributes +
         R"(} : tensor<1x7x24xf32>, tensor<1x7x8xf32>, tensor<1x7x8xf32>
      return %y : tensor<1x7x24xf32>
    })";
}

/// The same over caches, for a call of `tokens` tokens.
std::string overCaches(const std::string &name, int tokens,
                       const std::string &attributes) {
  std::string t = std::to_string(tokens);
  return "func.func @" + name + "(%q: tensor<1x" + t +
         "x24xf32>, %k: tensor<1x" + t + "x8xf32>, %v: tensor<1x" + t +
         "x8xf32>) -> tensor<1x" + t + "x24xf32> {\n" +
         use("kc", "!eff.cache<2x4, capacity = 9, f32>") +
         use("vc", "!eff.cache<2x4, capacity = 9, f32>") +
         "eff.cache_append %k, %kc : tensor<1x" + t +
         "x8xf32>, !eff.cache<2x4, capacity = 9, f32>\neff.cache_append %v, "
         "%vc : tensor<1x" +
         t + "x8xf32>, !eff.cache<2x4, capacity = 9, f32>\n" +
         "%y = eff.attention %q, %kc, %vc {heads = 6, kv_heads = 2, scale = "
         "0.5 : f32, causal" +
         attributes + "} : tensor<1x" + t +
         "x24xf32>, !eff.cache<2x4, capacity = 9, f32>, !eff.cache<2x4, "
         "capacity = 9, f32>\n" +
         "return %y : tensor<1x" + t + "x24xf32>\n}\n";
}

class AttentionTest : public testing::Test {
protected:
  Values q = noise(7 * 24, 1), k = noise(7 * 8, 2), v = noise(7 * 8, 3);
  Direct direct{6, 2, 4, 7, 0.5, 0, [](size_t i, size_t j) { return j <= i; }};

  template <typename T>
  std::vector<Tensor<T>> inputs(int64_t begin, int64_t tokens) {
    return {tensor<T>({1, tokens, 24}, part(q, begin * 24, tokens * 24)),
            tensor<T>({1, tokens, 8}, part(k, begin * 8, tokens * 8)),
            tensor<T>({1, tokens, 8}, part(v, begin * 8, tokens * 8))};
  }
  std::string caches = "eff.cache @kc : !eff.cache<2x4, capacity = 9, f32>\n"
                       "eff.cache @vc : !eff.cache<2x4, capacity = 9, f32>\n";
};
} // namespace

TEST_F(AttentionTest, Bidirectional) {
  Model model(overTensors(""));
  direct.sees = [](size_t, size_t) { return true; };
  expectNear(model.run<double>(inputs<double>(0, 7))[0].floats, direct(q, k, v),
             kDouble);
  expectNear(model.run<float>(inputs<float>(0, 7))[0].floats, direct(q, k, v),
             kFloat);
}

TEST_F(AttentionTest, Causal) {
  Model model(overTensors(", causal"));
  expectNear(model.run<double>(inputs<double>(0, 7))[0].floats, direct(q, k, v),
             kDouble);
}

TEST_F(AttentionTest, Window) {
  Model model(overTensors(", causal, window = 3"));
  direct.sees = [](size_t i, size_t j) { return j <= i && j + 3 > i; };
  expectNear(model.run<double>(inputs<double>(0, 7))[0].floats, direct(q, k, v),
             kDouble);
}

TEST_F(AttentionTest, Softcap) {
  Model model(overTensors(", causal, softcap = 0.25 : f32"));
  direct.softcap = 0.25;
  expectNear(model.run<double>(inputs<double>(0, 7))[0].floats, direct(q, k, v),
             kDouble);
}

TEST_F(AttentionTest, PaddedKeysAreNotSeen) {
  Model model(overTensors(""));
  direct.sees = [](size_t, size_t j) { return j < 5; };
  auto y = model.run<double>(inputs<double>(0, 7), {{nullptr, 5}})[0].floats;
  expectNear(Values(y.begin(), y.begin() + 5 * 24),
             part(direct(q, k, v), 0, 5 * 24), kDouble);
  for (double value : y)
    EXPECT_TRUE(std::isfinite(value));
}

TEST_F(AttentionTest, NoKeysGiveZero) {
  Model model(overTensors(""));
  auto y = model.run<double>(inputs<double>(0, 7), {{nullptr, 0}})[0].floats;
  expectNear(y, Values(7 * 24, 0.0), 0);
}

TEST_F(AttentionTest, LargeScoresDoNotOverflow) {
  Model model(overTensors(", causal"));
  auto in = inputs<float>(0, 7);
  for (float &value : in[0].floats)
    value *= 1000;
  auto outputs = model.run<float>(in);
  for (float value : outputs[0].floats)
    EXPECT_TRUE(std::isfinite(value));
}

// 7 = 3 + 4 tokens, through the cache; then the same with a padded chunk.
TEST_F(AttentionTest, ChunksThroughTheCache) {
  Model model(caches + overCaches("three", 3, "") + overCaches("four", 4, ""));
  Values expected = direct(q, k, v);
  Sequence<double> sequence = model.get<double>().createSequence();
  auto first = model
                   .run<double>(inputs<double>(0, 3), {{&sequence, 3}}, false,
                                "three")[0]
                   .floats;
  EXPECT_EQ(sequence.length, 3);
  auto second =
      model
          .run<double>(inputs<double>(3, 4), {{&sequence, 4}}, false, "four")[0]
          .floats;
  first.insert(first.end(), second.begin(), second.end());
  expectNear(first, expected, kDouble);

  model.get<double>().reset(sequence);
  EXPECT_EQ(sequence.length, 0);
  model.run<double>(inputs<double>(0, 4), {{&sequence, 2}}, false, "four");
  EXPECT_EQ(sequence.length, 2);
  auto middle =
      model
          .run<double>(inputs<double>(2, 4), {{&sequence, 4}}, false, "four")[0]
          .floats;
  expectNear(middle, part(expected, 2 * 24, 4 * 24), kDouble);
}

TEST_F(AttentionTest, WindowReachesIntoTheCache) {
  Model model(caches + overCaches("three", 3, ", window = 4") +
              overCaches("four", 4, ", window = 4"));
  direct.sees = [](size_t i, size_t j) { return j <= i && j + 4 > i; };
  Sequence<double> sequence = model.get<double>().createSequence();
  model.run<double>(inputs<double>(0, 3), {{&sequence, 3}}, false, "three");
  auto y =
      model
          .run<double>(inputs<double>(3, 4), {{&sequence, 4}}, false, "four")[0]
          .floats;
  expectNear(y, part(direct(q, k, v), 3 * 24, 4 * 24), kDouble);
}

/// The integers are those of the definition, written down here again; attention
/// then is that over what they stand for.
TEST_F(AttentionTest, CachesOfIntegersByScalesOfTheModel) {
  for (int bits : {8, 4}) {
    double half = bits == 8 ? 128 : 8;
    std::string type = "!eff.cache<2x4, capacity = 9, #eff.int_cache<" +
                       std::to_string(bits) + ">>";
    Values ks(8), vs(8);
    for (size_t i = 0; i < 8; ++i) {
      ks[i] = (1 + double(i)) / (bits == 8 ? 1024 : 64);
      vs[i] = (9 - double(i)) / (bits == 8 ? 1024 : 64);
    }
    Model model(
        "eff.cache @kc : " + type + "\neff.cache @vc : " + type + "\n" +
        weight("ks", "8", ks) + weight("vs", "8", vs) +
        "func.func @main(%q: tensor<1x7x24xf32>, %k: tensor<1x7x8xf32>, %v: "
        "tensor<1x7x8xf32>) -> tensor<1x7x24xf32> {\n" +
        use("kc", type) + use("vc", type) + use("ks", "!eff.weight<8, f32>") +
        use("vs", "!eff.weight<8, f32>") +
        "eff.cache_append %k, %kc scale %ks : tensor<1x7x8xf32>, " + type +
        ", !eff.weight<8, f32>\neff.cache_append %v, %vc scale %vs : "
        "tensor<1x7x8xf32>, " +
        type +
        ", !eff.weight<8, f32>\n%y = eff.attention %q, %kc, %vc key_scale %ks "
        "value_scale %vs {heads = 6, kv_heads = 2, scale = 0.5 : f32, causal} "
        ": tensor<1x7x24xf32>, " +
        type + ", " + type +
        " key_scale !eff.weight<8, f32> value_scale !eff.weight<8, f32>\n"
        "return %y : tensor<1x7x24xf32>\n}\n");
    auto rounded = [&](Values x, const Values &scales) {
      for (size_t i = 0; i < x.size(); ++i) {
        float s = float(scales[i % 8]);
        double code = std::nearbyint(float(x[i]) * (1 / s));
        x[i] = s * std::max(-half, std::min(half - 1, code));
      }
      return x;
    };
    Sequence<double> sequence = model.get<double>().createSequence();
    auto y =
        model.run<double>(inputs<double>(0, 7), {{&sequence, 7}})[0].floats;
    expectNear(sequence.buffers["kc"], rounded(k, ks), kDouble);
    expectNear(sequence.buffers["vc"], rounded(v, vs), kDouble);
    expectNear(y, direct(q, rounded(k, ks), rounded(v, vs)), kDouble);
  }
}

TEST_F(AttentionTest, SnapshotIsACopy) {
  Model model(caches + overCaches("three", 3, ""));
  Sequence<double> sequence = model.get<double>().createSequence();
  model.run<double>(inputs<double>(0, 3), {{&sequence, 3}}, false, "three");
  Sequence<double> snapshot = sequence;
  auto once = model
                  .run<double>(inputs<double>(3, 3), {{&sequence, 3}}, false,
                               "three")[0]
                  .floats;
  auto again = model
                   .run<double>(inputs<double>(3, 3), {{&snapshot, 3}}, false,
                                "three")[0]
                   .floats;
  EXPECT_EQ(once, again);
}

TEST_F(AttentionTest, FullCacheIsAnErrorAndChangesNothing) {
  Model model(caches + overCaches("four", 4, ""));
  Sequence<double> sequence = model.get<double>().createSequence();
  model.run<double>(inputs<double>(0, 4), {{&sequence, 4}}, false, "four");
  model.run<double>(inputs<double>(0, 4), {{&sequence, 4}}, false, "four");
  Sequence<double> before = sequence;
  EXPECT_NE(model.fail(inputs<double>(0, 4), {{&sequence, 4}}, "four")
                .find("EFF0605"),
            std::string::npos);
  EXPECT_EQ(sequence.length, before.length);
  EXPECT_EQ(sequence.buffers, before.buffers);
}

//===----------------------------------------------------------------------===//
// rope
//===----------------------------------------------------------------------===//

static std::string rope(const std::string &attributes) {
  return weight("f", "2", {1.0, 0.25}) + R"(
    func.func @main(%x: tensor<1x2x10xf32>) -> tensor<1x2x10xf32> {)" +
         use("f", "!eff.weight<2, f32>") + R"(
      %y = eff.rope %x, %f {heads = 2)" +
         attributes + R"(} : tensor<1x2x10xf32>, !eff.weight<2, f32>
      return %y : tensor<1x2x10xf32>
    })";
}

/// Rotation as a complex product: (x1 + i x2) * scale * exp(i angle).
static Values rotate(const Values &x, size_t past, bool interleaved,
                     double scale) {
  Values y = x;
  const double frequency[] = {1.0, 0.25};
  for (size_t t = 0; t < 2; ++t)
    for (size_t h = 0; h < 2; ++h)
      for (size_t i = 0; i < 2; ++i) {
        size_t base = t * 10 + h * 5;
        size_t a = base + (interleaved ? 2 * i : i),
               b = interleaved ? a + 1 : a + 2;
        std::complex<double> z(x[a], x[b]);
        z *= scale * std::polar(1.0, double(past + t) * frequency[i]);
        y[a] = z.real();
        y[b] = z.imag();
      }
  return y;
}

TEST(RopeTest, HalvesAndPairsAtAPosition) {
  Values x = noise(20, 4);
  for (bool interleaved : {false, true}) {
    Model model(rope(interleaved ? ", interleaved, scale = 0.5 : f32"
                                 : ", scale = 0.5 : f32"));
    Sequence<double> sequence;
    sequence.length = 6;
    auto y =
        model.run<double>({tensor<double>({1, 2, 10}, x)}, {{&sequence, 2}})[0]
            .floats;
    expectNear(y, rotate(x, 6, interleaved, 0.5), kDouble);
    EXPECT_EQ(sequence.length, 8);
  }
}

TEST(RopeTest, PositionZeroIsTheIdentity) {
  Model model(rope(""));
  Values x = noise(20, 5);
  auto y = model.run<double>({tensor<double>({1, 2, 10}, x)})[0].floats;
  expectNear(Values(y.begin(), y.begin() + 10), part(x, 0, 10), 0);
}

} // namespace effc::reference
