//===- ScanTest.cpp - convolutions and state-space scans ------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Model.h"

namespace effc::reference {

//===----------------------------------------------------------------------===//
// causal_conv1d
//===----------------------------------------------------------------------===//

namespace {
/// 3 channels, kernel of 4, entry points of 1 to 7 tokens.
class ConvTest : public testing::Test {
protected:
  Values x = noise(7 * 3, 1), w = noise(3 * 4, 2), b = noise(3, 3);

  std::string function(int tokens) {
    std::string t = "tensor<1x" + std::to_string(tokens) + "x3xf32>";
    return "func.func @f" + std::to_string(tokens) + "(%x: " + t + ") -> " + t +
           " {\n" + use("w", "!eff.weight<3x4, f32>") +
           use("b", "!eff.weight<3, f32>") +
           use("s", "!eff.state<conv, 3x3, f32>") +
           "%y = eff.causal_conv1d %x, %w, %s bias %b {activation = "
           "#eff.activation<silu>} : " +
           t +
           ", !eff.weight<3x4, f32>, !eff.state<conv, 3x3, f32>, "
           "!eff.weight<3, f32>\nreturn %y : " +
           t + "\n}\n";
  }
  std::string text() {
    std::string text = weight("w", "3x4", w) + weight("b", "3", b) +
                       "eff.state @s : !eff.state<conv, 3x3, f32>\n";
    for (int tokens : {1, 2, 3, 4, 7})
      text += function(tokens);
    return text;
  }
  /// Each output from the four inputs up to it, zeros before the first.
  Values direct() {
    Values y(x.size());
    for (int t = 0; t < 7; ++t)
      for (int c = 0; c < 3; ++c) {
        double sum = b[c];
        for (int j = 0; j < 4; ++j)
          if (t + j - 3 >= 0)
            sum += w[c * 4 + j] * x[(t + j - 3) * 3 + c];
        y[t * 3 + c] = silu(sum);
      }
    return y;
  }
  template <typename T>
  Values run(Model &model, Sequence<T> &sequence, int begin, int tokens,
             int valid) {
    std::string name = "f" + std::to_string(tokens);
    Values padded = part(x, begin * 3, valid * 3);
    padded.resize(tokens * 3, 77.0);
    auto y = model
                 .run<T>({tensor<T>({1, tokens, 3}, padded)},
                         {{&sequence, valid}}, false, name.c_str())[0]
                 .floats;
    return Values(y.begin(), y.begin() + valid * 3);
  }
};
} // namespace

TEST_F(ConvTest, WholeSequence) {
  Model model(text());
  auto single = model.get<float>().createSequence();
  expectNear(run<float>(model, single, 0, 7, 7), direct(), kFloat);
  auto precise = model.get<double>().createSequence();
  expectNear(run<double>(model, precise, 0, 7, 7), direct(), kDouble);
  // The state is the last three columns.
  expectNear(precise.buffers["s"], part(x, 4 * 3, 3 * 3), 0);
}

TEST_F(ConvTest, AnySplitGivesTheSame) {
  Model model(text());
  for (const std::vector<int> &chunks : std::vector<std::vector<int>>{
           {3, 4}, {4, 3}, {1, 1, 1, 1, 1, 1, 1}, {2, 2, 3}}) {
    auto sequence = model.get<double>().createSequence();
    Values y;
    int begin = 0;
    for (int tokens : chunks) {
      Values part = run<double>(model, sequence, begin, tokens, tokens);
      y.insert(y.end(), part.begin(), part.end());
      begin += tokens;
    }
    expectNear(y, direct(), kDouble);
  }
}

// Fewer valid tokens than the state has columns: some old columns stay.
TEST_F(ConvTest, ShortValidKeepsOldColumns) {
  Model model(text());
  auto sequence = model.get<double>().createSequence();
  run<double>(model, sequence, 0, 4, 4);
  expectNear(run<double>(model, sequence, 4, 4, 1), part(direct(), 4 * 3, 3),
             kDouble);
  expectNear(sequence.buffers["s"], part(x, 2 * 3, 3 * 3), 0);
  run<double>(model, sequence, 5, 4, 0);
  expectNear(sequence.buffers["s"], part(x, 2 * 3, 3 * 3), 0);
  expectNear(run<double>(model, sequence, 5, 4, 2),
             part(direct(), 5 * 3, 2 * 3), kDouble);
  EXPECT_EQ(sequence.length, 7);
}

TEST_F(ConvTest, WithoutBiasAndActivation) {
  Model model(weight("w", "3x4", w) + R"(
    eff.state @s : !eff.state<conv, 3x3, f32>
    func.func @main(%x: tensor<1x1x3xf32>) -> tensor<1x1x3xf32> {)" +
              use("w", "!eff.weight<3x4, f32>") +
              use("s", "!eff.state<conv, 3x3, f32>") + R"(
      %y = eff.causal_conv1d %x, %w, %s : tensor<1x1x3xf32>, !eff.weight<3x4, f32>, !eff.state<conv, 3x3, f32>
      return %y : tensor<1x1x3xf32>
    })");
  auto sequence = model.get<double>().createSequence();
  auto y = model
               .run<double>({tensor<double>({1, 1, 3}, {1, 10, 100})},
                            {{&sequence, 1}})[0]
               .floats;
  expectNear(y, {w[3], 10 * w[7], 100 * w[11]}, kDouble);
}

//===----------------------------------------------------------------------===//
// ssd_scan
//===----------------------------------------------------------------------===//

namespace {
/// 4 heads of 3 over 2 groups, state of 5, 2 rows; entry points of 3, 4 and 7
/// tokens.
class SsdTest : public testing::Test {
protected:
  static constexpr int kHeads = 4, kDim = 3, kState = 5, kBatch = 2,
                       kTokens = 7;
  Values x = noise(kBatch * kTokens * 12, 1),
         dt = noise(kBatch * kTokens * 4, 2);
  Values b = noise(kBatch * kTokens * 10, 3),
         c = noise(kBatch * kTokens * 10, 4);
  Values a = noise(4, 5), d = noise(4, 6);

  void SetUp() override {
    for (double &value : dt)
      value = std::fabs(value) + 0.125;
    for (double &value : a)
      value = -std::fabs(value) - 0.25;
  }

  std::string function(int tokens) {
    std::string t = "2x" + std::to_string(tokens);
    std::string tx = "tensor<" + t + "x12xf32>",
                tdt = "tensor<" + t + "x4xf32>",
                tb = "tensor<" + t + "x10xf32>";
    return "func.func @f" + std::to_string(tokens) + "(%x: " + tx +
           ", %dt: " + tdt + ", %bb: " + tb + ", %cc: " + tb + ") -> " + tx +
           " {\n" + use("a", "!eff.weight<4, f32>") +
           use("d", "!eff.weight<4, f32>") +
           use("s", "!eff.state<ssd, 4x5x3, f32>") +
           "%y = eff.ssd_scan %x, %dt, %a, %bb, %cc, %s skip %d {heads = 4, "
           "groups = 2} : " +
           tx + ", " + tdt + ", !eff.weight<4, f32>, " + tb +
           ", !eff.state<ssd, 4x5x3, f32>, !eff.weight<4, f32>\nreturn %y : " +
           tx + "\n}\n";
  }
  std::string text() {
    return weight("a", "4", a) + weight("d", "4", d) +
           "eff.state @s : !eff.state<ssd, 4x5x3, f32>\n" + function(3) +
           function(4) + function(7);
  }

  /// The quadratic form (arXiv 2405.21060, section 2): y_t = sum_{s <= t} (C_t
  /// . B_s) prod a dt_s x_s.
  Values direct() {
    Values y(x.size());
    for (int row = 0; row < kBatch; ++row)
      for (int i = 0; i < kHeads; ++i)
        for (int t = 0; t < kTokens; ++t)
          for (int p = 0; p < kDim; ++p) {
            auto at = [&](int token) { return row * kTokens + token; };
            double sum = d[i] * x[at(t) * 12 + i * 3 + p];
            for (int s = 0; s <= t; ++s) {
              double exponent = 0, dot = 0;
              for (int r = s + 1; r <= t; ++r)
                exponent += dt[at(r) * 4 + i] * a[i];
              for (int n = 0; n < kState; ++n)
                dot += c[at(t) * 10 + i / 2 * 5 + n] *
                       b[at(s) * 10 + i / 2 * 5 + n];
              sum += dot * std::exp(exponent) * dt[at(s) * 4 + i] *
                     x[at(s) * 12 + i * 3 + p];
            }
            y[at(t) * 12 + i * 3 + p] = sum;
          }
    return y;
  }

  /// Rows [begin, begin + valid) of each batch row, padded with `padding`.
  Values cut(const Values &values, int features, int begin,
             const std::vector<int> &valid, int tokens) {
    Values out;
    for (int row = 0; row < kBatch; ++row) {
      Values piece = part(values, (row * kTokens + begin) * features,
                          valid[row] * features);
      piece.resize(tokens * features, 55.0);
      out.insert(out.end(), piece.begin(), piece.end());
    }
    return out;
  }

  template <typename T>
  Tensor<T> run(Model &model, std::vector<Sequence<T>> &sequences, int begin,
                std::vector<int> valid, int tokens) {
    std::string name = "f" + std::to_string(tokens);
    std::vector<Row<T>> rows;
    for (int row = 0; row < kBatch; ++row)
      rows.push_back({&sequences[row], valid[row]});
    return model.run<T>(
        {tensor<T>({2, tokens, 12}, cut(x, 12, begin, valid, tokens)),
         tensor<T>({2, tokens, 4}, cut(dt, 4, begin, valid, tokens)),
         tensor<T>({2, tokens, 10}, cut(b, 10, begin, valid, tokens)),
         tensor<T>({2, tokens, 10}, cut(c, 10, begin, valid, tokens))},
        rows, false, name.c_str())[0];
  }
};
} // namespace

TEST_F(SsdTest, AgreesWithTheQuadraticForm) {
  Model model(text());
  std::vector<Sequence<double>> precise(2,
                                        model.get<double>().createSequence());
  expectNear(run<double>(model, precise, 0, {7, 7}, 7).floats, direct(),
             kDouble);
  std::vector<Sequence<float>> single(2, model.get<float>().createSequence());
  expectNear(run<float>(model, single, 0, {7, 7}, 7).floats, direct(), kFloat);
}

TEST_F(SsdTest, ChunksCarryTheState) {
  Model model(text());
  std::vector<Sequence<double>> whole(2, model.get<double>().createSequence()),
      chunked = whole;
  Values expected = run<double>(model, whole, 0, {7, 7}, 7).floats;
  auto first = run<double>(model, chunked, 0, {3, 3}, 3).floats;
  auto second = run<double>(model, chunked, 3, {4, 4}, 4).floats;
  for (int row = 0; row < 2; ++row) {
    Values joined = part(first, row * 36, 36),
           rest = part(second, row * 48, 48);
    joined.insert(joined.end(), rest.begin(), rest.end());
    // The same operations in the same order: equal to the last bit.
    EXPECT_EQ(joined, part(expected, row * 84, 84));
    EXPECT_EQ(chunked[row].buffers, whole[row].buffers);
  }
}

TEST_F(SsdTest, PaddingChangesNothing) {
  Model model(text());
  std::vector<Sequence<double>> padded(2, model.get<double>().createSequence()),
      exact = padded;
  auto y = run<double>(model, padded, 0, {4, 2}, 7).floats;
  Values expected = direct();
  expectNear(part(y, 0, 4 * 12), part(expected, 0, 4 * 12), kDouble);
  expectNear(part(y, 7 * 12, 2 * 12), part(expected, 7 * 12, 2 * 12), kDouble);
  run<double>(model, exact, 0, {4, 2}, 4);
  for (int row = 0; row < 2; ++row) {
    EXPECT_EQ(padded[row].buffers, exact[row].buffers);
    EXPECT_EQ(padded[row].length, row ? 2 : 4);
  }
  for (double value : y)
    EXPECT_TRUE(std::isfinite(value));
}

//===----------------------------------------------------------------------===//
// ssm_scan
//===----------------------------------------------------------------------===//

TEST(SsmTest, AgreesWithTheSumOverThePast) {
  constexpr int kTokens = 6, kChannels = 4, kState = 3;
  Values u = noise(kTokens * 4, 1), dt = noise(kTokens * 4, 2),
         z = noise(kTokens * 4, 3);
  Values b = noise(kTokens * 6, 4), c = noise(kTokens * 6, 5), a = noise(12, 6),
         d = noise(4, 7);
  for (double &value : dt)
    value = std::fabs(value) + 0.125;
  for (double &value : a)
    value = -std::fabs(value) - 0.25;
  auto text = [&](int tokens, const std::string &optional,
                  const std::string &types) {
    std::string t = "tensor<1x" + std::to_string(tokens) + "x4xf32>",
                tb = "tensor<1x" + std::to_string(tokens) + "x6xf32>";
    return "func.func @f" + std::to_string(tokens) +
           (optional.empty() ? "plain" : "") + "(%u: " + t + ", %dt: " + t +
           ", %bb: " + tb + ", %cc: " + tb + ", %z: " + t + ") -> " + t +
           " {\n" + use("a", "!eff.weight<4x3, f32>") +
           use("d", "!eff.weight<4, f32>") +
           use("s", "!eff.state<ssm, 3x4, f32>") +
           "%y = eff.ssm_scan %u, %dt, %a, %bb, %cc, %s " + optional +
           " {groups = 2} : " + t + ", !eff.weight<4x3, f32>, " + tb +
           ", !eff.state<ssm, 3x4, f32> " + types + "\nreturn %y : " + t +
           "\n}\n";
  };
  auto full = [&](int tokens) {
    return text(tokens, "skip %d gate %z",
                "skip !eff.weight<4, f32> gate tensor<1x" +
                    std::to_string(tokens) + "x4xf32>");
  };
  Model model(weight("a", "4x3", a) + weight("d", "4", d) +
              "eff.state @s : !eff.state<ssm, 3x4, f32>\n" + full(6) + full(2) +
              full(4) + text(6, "", ""));

  // y_t = sum_{s <= t} sum_n C_t B_s exp(sum dt A) dt_s u_s: no state is
  // carried.
  Values plain(u.size()), gated;
  for (int t = 0; t < kTokens; ++t)
    for (int ch = 0; ch < kChannels; ++ch)
      for (int n = 0; n < kState; ++n)
        for (int s = 0; s <= t; ++s) {
          double exponent = 0;
          for (int r = s + 1; r <= t; ++r)
            exponent += dt[r * 4 + ch] * a[ch * 3 + n];
          plain[t * 4 + ch] += c[t * 6 + ch / 2 * 3 + n] *
                               b[s * 6 + ch / 2 * 3 + n] * std::exp(exponent) *
                               dt[s * 4 + ch] * u[s * 4 + ch];
        }
  for (size_t i = 0; i < u.size(); ++i)
    gated.push_back((plain[i] + d[i % 4] * u[i]) * silu(z[i]));

  auto run = [&](Sequence<double> &sequence, const char *name, int begin,
                 int tokens, int valid) {
    auto cut = [&](const Values &values, int features) {
      Values piece = part(values, begin * features, valid * features);
      piece.resize(tokens * features, 33.0);
      return tensor<double>({1, tokens, features}, piece);
    };
    auto y = model
                 .run<double>(
                     {cut(u, 4), cut(dt, 4), cut(b, 6), cut(c, 6), cut(z, 4)},
                     {{&sequence, valid}}, false, name)[0]
                 .floats;
    return Values(y.begin(), y.begin() + valid * 4);
  };
  auto sequence = model.get<double>().createSequence();
  expectNear(run(sequence, "f6plain", 0, 6, 6), plain, kDouble);
  model.get<double>().reset(sequence);
  expectNear(run(sequence, "f6", 0, 6, 6), gated, kDouble);

  // 6 = 2 + 4, and 6 = 3 (padded to 4) + 2 + 1 (padded to 2).
  auto chunked = model.get<double>().createSequence();
  expectNear(run(chunked, "f2", 0, 2, 2), part(gated, 0, 8), kDouble);
  expectNear(run(chunked, "f4", 2, 4, 4), part(gated, 8, 16), kDouble);
  EXPECT_EQ(chunked.buffers, sequence.buffers);
  model.get<double>().reset(chunked);
  run(chunked, "f4", 0, 4, 3);
  run(chunked, "f2", 3, 2, 2);
  expectNear(run(chunked, "f2", 5, 2, 1), part(gated, 20, 4), kDouble);
  EXPECT_EQ(chunked.buffers, sequence.buffers);
}

} // namespace effc::reference
