//===- LinearTest.cpp - linears, embeddings, patches ----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Model.h"
#include "effc/Dialect/Eff/Rounding.h"

namespace effc::reference {

static Values product(const Values &x, const Values &w, size_t m, size_t n,
                      size_t k) {
  Values y(m * n);
  for (size_t i = 0; i < m * n; ++i)
    for (size_t j = 0; j < k; ++j)
      y[i] += x[i / n * k + j] * w[i % n * k + j];
  return y;
}

TEST(LinearTest, Plain) {
  Values x = noise(3 * 37, 1), w = noise(5 * 37, 2);
  Model model(weight("w", "5x37", w) + R"(
    func.func @main(%x: tensor<1x3x37xf32>) -> tensor<1x3x5xf32> {)" +
              use("w", "!eff.weight<5x37, f32>") + R"(
      %y = eff.linear %x, %w : tensor<1x3x37xf32>, !eff.weight<5x37, f32> -> tensor<1x3x5xf32>
      return %y : tensor<1x3x5xf32>
    })");
  Values y = product(x, w, 3, 5, 37);
  expectNear(model.run<double>({tensor<double>({1, 3, 37}, x)})[0].floats, y,
             kDouble);
  expectNear(model.run<float>({tensor<float>({1, 3, 37}, x)})[0].floats, y,
             kFloat);
}

TEST(LinearTest, Epilogue) {
  Values x = noise(2 * 8, 3), w = noise(4 * 8, 4), b = noise(4, 5),
         r = noise(2 * 4, 6);
  Model model(weight("w", "4x8", w) + weight("b", "4", b) + R"(
    func.func @main(%x: tensor<1x2x8xf32>, %r: tensor<1x2x4xf32>) -> tensor<1x2x4xf32> {)" +
              use("w", "!eff.weight<4x8, f32>") +
              use("b", "!eff.weight<4, f32>") + R"(
      %y = eff.linear %x, %w extras(%b, %r : !eff.weight<4, f32>, tensor<1x2x4xf32>) epilogue {
      ^bb0(%acc: f32, %bias: f32, %residual: f32):
        %half = arith.constant 0.5 : f32
        %0 = arith.addf %acc, %bias : f32
        %1 = math.tanh %0 : f32
        %2 = arith.mulf %1, %half : f32
        %3 = arith.subf %2, %residual : f32
        eff.yield %3 : f32
      } : tensor<1x2x8xf32>, !eff.weight<4x8, f32> -> tensor<1x2x4xf32>
      return %y : tensor<1x2x4xf32>
    })");
  Values y = product(x, w, 2, 4, 8);
  for (size_t i = 0; i < y.size(); ++i)
    y[i] = std::tanh(y[i] + b[i % 4]) * 0.5 - r[i];
  expectNear(model
                 .run<double>({tensor<double>({1, 2, 8}, x),
                               tensor<double>({1, 2, 4}, r)})[0]
                 .floats,
             y, kDouble);
}

TEST(LinearTest, TransposedSourceAndBF16) {
  // 1/3 is not a bf16; rounding to 8 bits of mantissa gives 0.333984375.
  Model model(R"(
    eff.weight @w transposed : !eff.weight<2x3, bf16>
      = dense<[[1.0, 2.0], [0.333333333, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>
    func.func @main(%x: tensor<1x3xf32>) -> tensor<1x2xf32> {
      %w = eff.use @w : !eff.weight<2x3, bf16>
      %y = eff.linear %x, %w : tensor<1x3xf32>, !eff.weight<2x3, bf16> -> tensor<1x2xf32>
      return %y : tensor<1x2xf32>
    })");
  expectNear(model.run<double>({tensor<double>({1, 3}, {1, 1, 10})})[0].floats,
             {51.333984375, 66}, 1e-15);
}

// Rounded by hand: scale 2 for the first row, 1 for the second.
TEST(LinearTest, Int8WeightIsRounded) {
  Model model(R"(
    eff.weight @w : !eff.weight<2x3, #eff.int8> = dense<[[254.0, 5.2, -9.5], [-127.0, 2.4, 0.0]]> : tensor<2x3xf32>
    func.func @main() -> tensor<2x3xf32> {
      %w = eff.use @w : !eff.weight<2x3, #eff.int8>
      %t = eff.read %w : !eff.weight<2x3, #eff.int8> -> tensor<2x3xf32>
      return %t : tensor<2x3xf32>
    })");
  expectNear(model.run<double>({})[0].floats, {254, 6, -10, -127, 2, 0}, 0);
}

TEST(LinearTest, Int4WeightIsRoundedByGroup) {
  Model model(R"(
    eff.weight @w : !eff.weight<1x12, #eff.int4<group = 8>>
      = dense<[[-16.0, 3.1, 0.0, 0.0, 0.0, 0.0, 0.0, 16.0, 8.0, 1.0, 3.4, -8.0]]> : tensor<1x12xf32>
    func.func @main() -> tensor<1x12xf32> {
      %w = eff.use @w : !eff.weight<1x12, #eff.int4<group = 8>>
      %t = eff.read %w : !eff.weight<1x12, #eff.int4<group = 8>> -> tensor<1x12xf32>
      return %t : tensor<1x12xf32>
    })");
  // Group 1: scale 2; 16 clips to 7 * 2. Group 2: the first extreme is 8, scale
  // -1; -8 clips to -7.
  expectNear(model.run<double>({})[0].floats,
             {-16, 4, 0, 0, 0, 0, 0, 14, 8, 1, 3, -7}, 0);
}

TEST(LinearTest, Int8Activations) {
  Values x = noise(2 * 16, 7), w = noise(3 * 16, 8);
  Model model(
      "eff.weight @w : !eff.weight<3x16, #eff.int8> = " + dense(w, "3x16") + R"(
    func.func @main(%x: tensor<1x2x16xf32>) -> (tensor<1x2x3xf32>, tensor<1x2x16xi8>, tensor<1x2xf32>,
                                                tensor<1x2x16xf32>) {
      %w = eff.use @w : !eff.weight<3x16, #eff.int8>
      %q, %s = eff.quantize %x : tensor<1x2x16xf32> -> tensor<1x2x16xi8>, tensor<1x2xf32>
      %y = eff.linear %q, %w scale(%s : tensor<1x2xf32>)
        : tensor<1x2x16xi8>, !eff.weight<3x16, #eff.int8> -> tensor<1x2x3xf32>
      %d = eff.dequantize %q, %s : tensor<1x2x16xi8>, tensor<1x2xf32> -> tensor<1x2x16xf32>
      return %y, %q, %s, %d : tensor<1x2x3xf32>, tensor<1x2x16xi8>, tensor<1x2xf32>, tensor<1x2x16xf32>
    })");
  auto quantize = [](const Values &v, size_t row, std::vector<double> &q) {
    double largest = 0;
    for (size_t i = 0; i < 16; ++i)
      largest = std::max(largest, std::fabs(v[row * 16 + i]));
    float scale = float(largest) / 127;
    for (size_t i = 0; i < 16; ++i)
      q.push_back(std::nearbyint(float(v[row * 16 + i]) / scale));
    return double(scale);
  };
  Values qx, qw, scaleX, scaleW, y, dequantized;
  for (size_t row : {0, 1})
    scaleX.push_back(quantize(x, row, qx));
  for (size_t row : {0, 1, 2})
    scaleW.push_back(quantize(w, row, qw));
  Values sums = product(qx, qw, 2, 3, 16);
  for (size_t i = 0; i < sums.size(); ++i)
    y.push_back(sums[i] * scaleX[i / 3] * scaleW[i % 3]);
  for (size_t i = 0; i < qx.size(); ++i)
    dequantized.push_back(qx[i] * scaleX[i / 16]);
  auto outputs = model.run<double>({tensor<double>({1, 2, 16}, x)});
  expectNear(outputs[0].floats, y, 1e-15);
  for (size_t i = 0; i < qx.size(); ++i)
    EXPECT_EQ(outputs[1].integers[i], qx[i]);
  expectNear(outputs[2].floats, scaleX, 0);
  expectNear(outputs[3].floats, dequantized, 1e-15);
}

TEST(LinearTest, QuantizeARowOfZeros) {
  Model model(R"(
    func.func @main(%x: tensor<1x1x4xf32>) -> (tensor<1x1x4xi8>, tensor<1x1xf32>) {
      %q, %s = eff.quantize %x : tensor<1x1x4xf32> -> tensor<1x1x4xi8>, tensor<1x1xf32>
      return %q, %s : tensor<1x1x4xi8>, tensor<1x1xf32>
    })");
  auto outputs = model.run<double>({tensor<double>({1, 1, 4}, {0, 0, 0, 0})});
  EXPECT_EQ(outputs[0].integers, std::vector<int64_t>(4, 0));
  EXPECT_EQ(outputs[1].floats[0], 1.0);
}

TEST(LinearTest, Conv2D) {
  Values x = noise(2 * 3 * 4 * 6, 9), w = noise(5 * 12, 10), b = noise(5, 11);
  Model model(weight("w", "5x12", w) + weight("b", "5", b) + R"(
    func.func @main(%x: tensor<2x3x4x6xf32>) -> tensor<2x6x5xf32> {)" +
              use("w", "!eff.weight<5x12, f32>") +
              use("b", "!eff.weight<5, f32>") + R"(
      %y = eff.conv2d %x, %w bias %b {patch = array<i64: 2, 2>}
        : tensor<2x3x4x6xf32>, !eff.weight<5x12, f32>, !eff.weight<5, f32> -> tensor<2x6x5xf32>
      return %y : tensor<2x6x5xf32>
    })");
  // Scattered from the input's side: pixel (r, s) meets kernel element (r % 2,
  // s % 2) of patch (r / 2, s / 2).
  Values y(2 * 6 * 5);
  for (size_t i = 0; i < y.size(); ++i)
    y[i] = b[i % 5];
  for (size_t n = 0; n < 2; ++n)
    for (size_t c = 0; c < 3; ++c)
      for (size_t r = 0; r < 4; ++r)
        for (size_t s = 0; s < 6; ++s)
          for (size_t o = 0; o < 5; ++o)
            y[(n * 6 + r / 2 * 3 + s / 2) * 5 + o] +=
                x[((n * 3 + c) * 4 + r) * 6 + s] *
                w[o * 12 + c * 4 + r % 2 * 2 + s % 2];
  expectNear(model.run<double>({tensor<double>({2, 3, 4, 6}, x)})[0].floats, y,
             kDouble);
}

TEST(LinearTest, Embed) {
  Values w = noise(6 * 4, 12);
  Model model(weight("w", "6x4", w) + R"(
    func.func @main(%ids: tensor<1x3xi32>) -> tensor<1x3x4xf32> {)" +
              use("w", "!eff.weight<6x4, f32>") + R"(
      %y = eff.embed %ids, %w : tensor<1x3xi32>, !eff.weight<6x4, f32> -> tensor<1x3x4xf32>
      return %y : tensor<1x3x4xf32>
    })");
  Values y;
  for (size_t id : {5, 0, 2})
    for (size_t i = 0; i < 4; ++i)
      y.push_back(w[id * 4 + i]);
  expectNear(
      model.run<double>({Tensor<double>::fromIntegers({1, 3}, {5, 0, 2})})[0]
          .floats,
      y, 0);
  EXPECT_NE(model.fail({Tensor<double>::fromIntegers({1, 3}, {5, 6, 2})})
                .find("token id 6"),
            std::string::npos);
  EXPECT_NE(model.fail({Tensor<double>::fromIntegers({1, 3}, {-1, 0, 2})})
                .find("token id -1"),
            std::string::npos);
  // Padding may hold any number.
  Row<double> row{nullptr, 1};
  auto padded = model.run<double>(
      {Tensor<double>::fromIntegers({1, 3}, {5, 99, -3})}, {row});
  expectNear(Values(padded[0].floats.begin(), padded[0].floats.begin() + 4),
             part(y, 0, 4), 0);
}

TEST(LinearTest, SelectRowsAndHead) {
  Values x = noise(2 * 3 * 4, 13), w = noise(5 * 4, 14);
  Model model(weight("w", "5x4", w) + R"(
    func.func @main(%x: tensor<2x3x4xf32>) -> (tensor<6x5xf32>, tensor<6xi32>) {)" +
              use("w", "!eff.weight<5x4, f32>") + R"(
      %r = eff.select_rows %x : tensor<2x3x4xf32> -> tensor<6x4xf32>
      %y = eff.linear %r, %w : tensor<6x4xf32>, !eff.weight<5x4, f32> -> tensor<6x5xf32>
      %id = eff.sample %y : tensor<6x5xf32> -> tensor<6xi32>
      return %y, %id : tensor<6x5xf32>, tensor<6xi32>
    })");
  Values all = product(x, w, 6, 5, 4);
  std::vector<Row<double>> rows = {{nullptr, 2}, {nullptr, 3}};
  auto outputs = model.run<double>({tensor<double>({2, 3, 4}, x)}, rows, true);
  expectNear(outputs[0].floats, all, kDouble);
  for (size_t row = 0; row < 6; ++row) {
    Values logits = part(all, row * 5, 5);
    EXPECT_EQ(outputs[1].integers[row],
              std::max_element(logits.begin(), logits.end()) - logits.begin());
  }
  // Row 0 ends at token 1, row 1 at token 2.
  auto last = model.run<double>({tensor<double>({2, 3, 4}, x)}, rows)[0];
  EXPECT_EQ(last.getDefinedRows(), 2);
  expectNear(Values(last.floats.begin(), last.floats.begin() + 5),
             part(all, 5, 5), kDouble);
  expectNear(Values(last.floats.begin() + 5, last.floats.begin() + 10),
             part(all, 25, 5), kDouble);
}

TEST(LinearTest, SampleTakesTheFirstOfEqual) {
  Model model(R"(
    func.func @main(%x: tensor<2x4xf32>) -> tensor<2xi32> {
      %id = eff.sample %x : tensor<2x4xf32> -> tensor<2xi32>
      return %id : tensor<2xi32>
    })");
  auto ids = model.run<double>(
      {tensor<double>({2, 4}, {1, 7, 7, 2, -3, -3, -4, -3})})[0];
  EXPECT_EQ(ids.integers, (std::vector<int64_t>{1, 0}));
}

TEST(LinearTest, Split) {
  Model model(R"(
    func.func @main(%x: tensor<2x6xf32>) -> (tensor<2x1xf32>, tensor<2x3xf32>, tensor<2x2xf32>) {
      %a, %b, %c = eff.split %x : tensor<2x6xf32> -> tensor<2x1xf32>, tensor<2x3xf32>, tensor<2x2xf32>
      return %a, %b, %c : tensor<2x1xf32>, tensor<2x3xf32>, tensor<2x2xf32>
    })");
  auto parts = model.run<double>(
      {tensor<double>({2, 6}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11})});
  expectNear(parts[0].floats, {0, 6}, 0);
  expectNear(parts[1].floats, {1, 2, 3, 7, 8, 9}, 0);
  expectNear(parts[2].floats, {4, 5, 10, 11}, 0);
}

} // namespace effc::reference
