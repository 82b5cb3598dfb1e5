//===- LayersTest.cpp - products, convolutions, norms, attention ----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Run.h"

#include <cmath>

using namespace effc::test;

TEST(Layers, MatMulBroadcastsBatches) {
  Tensor a = numbers({2, 1, 3, 4}), b = numbers({5, 4, 2}, 2);
  Tensor y = runOne("(%a: tensor<2x1x3x4xf32>, %b: tensor<5x4x2xf32>) -> "
                    "tensor<2x5x3x2xf32> {"
                    "%y = onnx.node \"MatMul\"(%a, %b) since 13 : "
                    "(tensor<2x1x3x4xf32>, tensor<5x4x2xf32>) -> "
                    "tensor<2x5x3x2xf32> return %y : tensor<2x5x3x2xf32> }",
                    {a, b});
  std::vector<double> expected;
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 5; ++j)
      for (int m = 0; m < 3; ++m)
        for (int n = 0; n < 2; ++n) {
          double sum = 0;
          for (int k = 0; k < 4; ++k)
            sum +=
                a.floats[(i * 3 + m) * 4 + k] * b.floats[(j * 4 + k) * 2 + n];
          expected.push_back(sum);
        }
  expectNear(y, expected);
}

TEST(Layers, MatMulTakesVectors) {
  Tensor y = runOne("(%a: tensor<3xf32>, %b: tensor<3xf32>) -> tensor<f32> {"
                    "%y = onnx.node \"MatMul\"(%a, %b) since 13 : "
                    "(tensor<3xf32>, tensor<3xf32>) -> tensor<f32>"
                    "return %y : tensor<f32> }",
                    {floats({3}, {1, 2, 3}), floats({3}, {4, 5, 6})});
  expectNear(y, {32});
}

TEST(Layers, EinsumWithARepeatedIndex) {
  // The trace of each matrix, weighted.
  Tensor a = numbers({2, 3, 3}), w = numbers({3}, 2);
  Tensor y =
      runOne("(%a: tensor<2x3x3xf32>, %w: tensor<3xf32>) -> tensor<2xf32> {"
             "%y = onnx.node \"Einsum\"(%a, %w) since 12 {equation = "
             "\"bii,i->b\"} : (tensor<2x3x3xf32>, "
             "tensor<3xf32>) -> tensor<2xf32> return %y : tensor<2xf32> }",
             {a, w});
  std::vector<double> expected(2);
  for (int b = 0; b < 2; ++b)
    for (int i = 0; i < 3; ++i)
      expected[b] += a.floats[(b * 3 + i) * 3 + i] * w.floats[i];
  expectNear(y, expected);
}

TEST(Layers, ConvWithGroupsStridesDilationsAndPads) {
  Tensor x = numbers({1, 4, 7, 6}), w = numbers({6, 2, 3, 2}, 2),
         bias = numbers({6}, 3);
  Tensor y = runOne(
      "(%x: tensor<1x4x7x6xf32>, %w: tensor<6x2x3x2xf32>, %b: tensor<6xf32>) "
      "-> tensor<1x6x3x5xf32> {"
      "%y = onnx.node \"Conv\"(%x, %w, %b) since 11 {group = 2 : i64, strides "
      "= array<i64: 2, 1>, dilations"
      " = array<i64: 1, 2>, pads = array<i64: 1, 0, 0, 1>} : "
      "(tensor<1x4x7x6xf32>, tensor<6x2x3x2xf32>, "
      "tensor<6xf32>) -> tensor<1x6x3x5xf32> return %y : tensor<1x6x3x5xf32> }",
      {x, w, bias});
  std::vector<double> expected;
  for (int m = 0; m < 6; ++m)
    for (int oy = 0; oy < 3; ++oy)
      for (int ox = 0; ox < 5; ++ox) {
        double sum = bias.floats[m];
        for (int c = 0; c < 2; ++c)
          for (int ky = 0; ky < 3; ++ky)
            for (int kx = 0; kx < 2; ++kx) {
              int iy = oy * 2 + ky - 1, ix = ox + kx * 2,
                  channel = m / 3 * 2 + c;
              if (iy >= 0 && iy < 7 && ix < 6)
                sum += x.floats[(channel * 7 + iy) * 6 + ix] *
                       w.floats[((m * 2 + c) * 3 + ky) * 2 + kx];
            }
        expected.push_back(sum);
      }
  expectNear(y, expected);
}

TEST(Layers, ConvTransposeSpreadsEachElement) {
  Tensor x = numbers({1, 2, 4}), w = numbers({2, 3, 3}, 2);
  // Length (4 - 1) * 2 + (3 - 1) * 1 + 1 - 1 + 1.
  Tensor y = runOne(
      "(%x: tensor<1x2x4xf32>, %w: tensor<2x3x3xf32>) -> tensor<1x3x9xf32> {"
      "%y = onnx.node \"ConvTranspose\"(%x, %w) since 11 {strides = array<i64: "
      "2>, pads = array<i64: 1, 0>,"
      " output_padding = array<i64: 1>} : (tensor<1x2x4xf32>, "
      "tensor<2x3x3xf32>) -> tensor<1x3x9xf32>"
      "return %y : tensor<1x3x9xf32> }",
      {x, w});
  std::vector<double> expected(3 * 9);
  for (int c = 0; c < 2; ++c)
    for (int m = 0; m < 3; ++m)
      for (int i = 0; i < 4; ++i)
        for (int k = 0; k < 3; ++k)
          if (int at = i * 2 + k - 1; at >= 0 && at < 9)
            expected[m * 9 + at] +=
                x.floats[c * 4 + i] * w.floats[(c * 3 + m) * 3 + k];
  expectNear(y, expected);
}

TEST(Layers, MaxPoolSaysWhere) {
  auto results =
      run("(%x: tensor<1x1x5xf32>) -> (tensor<1x1x3xf32>, tensor<1x1x3xi64>) {"
          "%y:2 = onnx.node \"MaxPool\"(%x) since 12 {kernel_shape = "
          "array<i64: 3>, strides = array<i64: 2>, "
          "pads = array<i64: 1, 1>} : (tensor<1x1x5xf32>) -> "
          "(tensor<1x1x3xf32>, tensor<1x1x3xi64>)"
          "return %y#0, %y#1 : tensor<1x1x3xf32>, tensor<1x1x3xi64> }",
          {floats({1, 1, 5}, {-3, -5, -1, -1, -9})});
  ASSERT_EQ(results.size(), 2u);
  expectNear(results[0], {-3, -1, -1});
  EXPECT_EQ(results[1].integers, (std::vector<int64_t>{0, 2, 3}));
}

TEST(Layers, AveragePoolCountsPaddingWhenAsked) {
  auto graph = [](const std::string &count) {
    return "(%x: tensor<1x1x3xf32>) -> tensor<1x1x3xf32> {"
           "%y = onnx.node \"AveragePool\"(%x) since 19 {kernel_shape = "
           "array<i64: 3>, pads = array<i64: 1, 1>, "
           "count_include_pad = " +
           count +
           " : i64} : (tensor<1x1x3xf32>) -> tensor<1x1x3xf32> return %y : "
           "tensor<1x1x3xf32> }";
  };
  Tensor x = floats({1, 1, 3}, {3, 6, 9});
  expectNear(runOne(graph("0"), {x}), {4.5, 6, 7.5});
  expectNear(runOne(graph("1"), {x}), {3, 6, 5});
}

TEST(Layers, LayerNormOverTwoAxes) {
  Tensor x = numbers({2, 3, 4}), scale = numbers({3, 4}, 2),
         bias = numbers({3, 4}, 3);
  Tensor y = runOne("(%x: tensor<2x3x4xf32>, %s: tensor<3x4xf32>, %b: "
                    "tensor<3x4xf32>) -> tensor<2x3x4xf32> {"
                    "%y = onnx.node \"LayerNormalization\"(%x, %s, %b) since "
                    "17 {axis = 1 : i64, epsilon = 0.25 : f32}"
                    " : (tensor<2x3x4xf32>, tensor<3x4xf32>, tensor<3x4xf32>) "
                    "-> tensor<2x3x4xf32>"
                    "return %y : tensor<2x3x4xf32> }",
                    {x, scale, bias});
  std::vector<double> expected;
  for (int row = 0; row < 2; ++row) {
    double mean = 0, variance = 0;
    for (int i = 0; i < 12; ++i)
      mean += x.floats[row * 12 + i] / 12;
    for (int i = 0; i < 12; ++i)
      variance += std::pow(x.floats[row * 12 + i] - mean, 2) / 12;
    for (int i = 0; i < 12; ++i)
      expected.push_back((x.floats[row * 12 + i] - mean) /
                             std::sqrt(variance + 0.25) * scale.floats[i] +
                         bias.floats[i]);
  }
  expectNear(y, expected, f32Constants);
}

TEST(Layers, SoftmaxDoesNotOverflow) {
  Tensor y = runOne("(%x: tensor<3xf32>) -> tensor<3xf32> {"
                    "%y = onnx.node \"Softmax\"(%x) since 13 : (tensor<3xf32>) "
                    "-> tensor<3xf32> return %y : tensor<3xf32> }",
                    {floats({3}, {1000, 1000, -1000})});
  expectNear(y, {0.5, 0.5, 0});
}

TEST(Layers, AttentionWithSharedHeadsAPastAndACausalMask) {
  // 4 heads share 2 keys; 2 tokens follow 3 past ones; key 0 is hidden from all
  // of batch row 0.
  constexpr int batch = 2, heads = 4, kv = 2, tokens = 2, past = 3,
                keys = past + tokens, size = 3;
  Tensor q = numbers({batch, heads, tokens, size}),
         k = numbers({batch, kv, tokens, size}, 2);
  Tensor v = numbers({batch, kv, tokens, size}, 3),
         pastK = numbers({batch, kv, past, size}, 4);
  Tensor pastV = numbers({batch, kv, past, size}, 5);
  std::vector<int64_t> shown(batch * keys, 1);
  shown[0] = 0;
  auto results =
      run("(%q: tensor<2x4x2x3xf32>, %k: tensor<2x2x2x3xf32>, %v: "
          "tensor<2x2x2x3xf32>, %m: tensor<2x1x1x5xi1>, %pk: "
          "tensor<2x2x3x3xf32>, %pv: tensor<2x2x3x3xf32>) -> "
          "(tensor<2x4x2x3xf32>, tensor<2x2x5x3xf32>) {"
          "%y:3 = onnx.node \"Attention\"(%q, %k, %v, %m, %pk, %pv) since 23 "
          "{is_causal = 1 : i64} : (tensor<2x4x2x3xf32>, "
          "tensor<2x2x2x3xf32>, tensor<2x2x2x3xf32>, tensor<2x1x1x5xi1>, "
          "tensor<2x2x3x3xf32>, tensor<2x2x3x3xf32>) -> "
          "(tensor<2x4x2x3xf32>, tensor<2x2x5x3xf32>, tensor<2x2x5x3xf32>)"
          "return %y#0, %y#1 : tensor<2x4x2x3xf32>, tensor<2x2x5x3xf32> }",
          {q, k, v, integers({batch, 1, 1, keys}, shown), pastK, pastV});
  ASSERT_EQ(results.size(), 2u);
  auto at = [&](const Tensor &before, const Tensor &now, int b, int h, int t,
                int d) {
    return t < past ? before.floats[((b * kv + h) * past + t) * size + d]
                    : now.floats[((b * kv + h) * tokens + t - past) * size + d];
  };
  std::vector<double> expected;
  for (int b = 0; b < batch; ++b)
    for (int h = 0; h < heads; ++h)
      for (int s = 0; s < tokens; ++s) {
        double weights[keys], sum = 0, y[size] = {};
        for (int t = 0; t < keys; ++t) {
          double score = 0;
          for (int d = 0; d < size; ++d)
            score += q.floats[((b * heads + h) * tokens + s) * size + d] *
                     at(pastK, k, b, h / 2, t, d);
          bool seen = t <= s + past && shown[b * keys + t];
          weights[t] = seen ? std::exp(score / std::sqrt(double(size))) : 0;
          sum += weights[t];
        }
        for (int t = 0; t < keys; ++t)
          for (int d = 0; d < size; ++d)
            y[d] += weights[t] / sum * at(pastV, v, b, h / 2, t, d);
        expected.insert(expected.end(), y, y + size);
      }
  expectNear(results[0], expected, f32Constants);
  EXPECT_EQ(results[1].floats[past * size], k.floats[0]);
}

TEST(Layers, RowsWithoutKeysGiveZero) {
  Tensor y = runOne("(%q: tensor<1x1x1x2xf32>, %m: tensor<1x2xi1>, %k: "
                    "tensor<1x1x2x2xf32>) -> tensor<1x1x1x2xf32> {"
                    "%y = onnx.node \"Attention\"(%q, %k, %k, %m) since 23 : "
                    "(tensor<1x1x1x2xf32>, tensor<1x1x2x2xf32>, "
                    "tensor<1x1x2x2xf32>, tensor<1x2xi1>) -> "
                    "tensor<1x1x1x2xf32> return %y : tensor<1x1x1x2xf32> }",
                    {floats({1, 1, 1, 2}, {1, 2}), integers({1, 2}, {0, 0}),
                     floats({1, 1, 2, 2}, {1, 2, 3, 4})});
  expectNear(y, {0, 0});
}

TEST(Layers, QuantizesInBlocks) {
  Tensor y = runOne("(%x: tensor<1x4xf32>, %s: tensor<1x2xf32>, %z: "
                    "tensor<1x2xui8>) -> tensor<1x4xui8> {"
                    "%y = onnx.node \"QuantizeLinear\"(%x, %s, %z) since 21 "
                    "{axis = 1 : i64, block_size = 2 : i64} : "
                    "(tensor<1x4xf32>, tensor<1x2xf32>, tensor<1x2xui8>) -> "
                    "tensor<1x4xui8> return %y : tensor<1x4xui8> }",
                    {floats({1, 4}, {1.25, -9, 5, 2000}),
                     floats({1, 2}, {0.5, 2}), integers({1, 2}, {3, 10})});
  // 2.5 rounds to even; below 0 and above 255 (-1 as a signed byte) saturate.
  EXPECT_EQ(y.integers, (std::vector<int64_t>{5, 0, 12, -1}));
}

TEST(Layers, LinearAttentionDecaysAndCorrects) {
  // One head of size 1: s <- exp(g) s + k beta (v - exp(g) s k), y = s q.
  Tensor q = floats({1, 2, 1}, {2, 3}), k = floats({1, 2, 1}, {0.5, -1}),
         v = floats({1, 2, 1}, {4, 1});
  Tensor g = floats({1, 2, 1}, {-0.5, -1}),
         beta = floats({1, 2, 1}, {0.5, 0.25}),
         past = floats({1, 1, 1, 1}, {2});
  std::string t = "tensor<1x2x1xf32>", s = "tensor<1x1x1x1xf32>";
  auto results = run("(%q: " + t + ", %k: " + t + ", %v: " + t + ", %p: " + s +
                         ", %g: " + t + ", %b: " + t + ") -> (" + t + ", " + s +
                         ") { %y:2 = onnx.node \"LinearAttention\"(%q, %k, %v, "
                         "%p, %g, %b) since 27 "
                         "{q_num_heads = 1 : i64, kv_num_heads = 1 : i64, "
                         "scale = 1.0 : f32} : (" +
                         t + ", " + t + ", " + t + ", " + s + ", " + t + ", " +
                         t + ") -> (" + t + ", " + s +
                         ") return %y#0, %y#1 : " + t + ", " + s + " }",
                     {q, k, v, past, g, beta});
  ASSERT_EQ(results.size(), 2u);
  std::vector<double> expected;
  double state = 2;
  for (int i = 0; i < 2; ++i) {
    state *= std::exp(g.floats[i]);
    state += k.floats[i] * beta.floats[i] * (v.floats[i] - state * k.floats[i]);
    expected.push_back(state * q.floats[i]);
  }
  expectNear(results[0], expected);
  expectNear(results[1], {state});
}
