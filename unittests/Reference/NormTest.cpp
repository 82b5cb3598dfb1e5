//===- NormTest.cpp - normalisations --------------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Model.h"

namespace effc::reference {

static double rms(const Values &x, size_t begin, size_t count, double eps) {
  double sum = 0;
  for (size_t i = begin; i < begin + count; ++i)
    sum += x[i] * x[i] / count;
  return std::sqrt(sum + eps);
}

TEST(NormTest, RmsNorm) {
  Values x = noise(2 * 24, 1), w = noise(24, 2), y;
  Model model(weight("w", "24", w) + R"(
    func.func @main(%x: tensor<1x2x24xf32>) -> tensor<1x2x24xf32> {)" +
              use("w", "!eff.weight<24, f32>") + R"(
      %y = eff.rms_norm %x, %w {eps = 0.125 : f32} : tensor<1x2x24xf32>, !eff.weight<24, f32>
      return %y : tensor<1x2x24xf32>
    })");
  for (size_t i = 0; i < x.size(); ++i)
    y.push_back(x[i] / rms(x, i / 24 * 24, 24, 0.125) * w[i % 24]);
  expectNear(model.run<double>({tensor<double>({1, 2, 24}, x)})[0].floats, y,
             kDouble);
  expectNear(model.run<float>({tensor<float>({1, 2, 24}, x)})[0].floats, y,
             kFloat);
}

TEST(NormTest, RmsNormOfEachHead) {
  Values x = noise(2 * 24, 3), w = noise(8, 4), y;
  Model model(weight("w", "8", w) + R"(
    func.func @main(%x: tensor<1x2x24xf32>) -> tensor<1x2x24xf32> {)" +
              use("w", "!eff.weight<8, f32>") + R"(
      %y = eff.rms_norm %x, %w {eps = 0.0 : f32, group = 8} : tensor<1x2x24xf32>, !eff.weight<8, f32>
      return %y : tensor<1x2x24xf32>
    })");
  for (size_t i = 0; i < x.size(); ++i)
    y.push_back(x[i] / rms(x, i / 8 * 8, 8, 0) * w[i % 8]);
  expectNear(model.run<double>({tensor<double>({1, 2, 24}, x)})[0].floats, y,
             kDouble);
}

TEST(NormTest, LayerNorm) {
  Values x = noise(3 * 16, 5), w = noise(16, 6), b = noise(16, 7), y, plain;
  Model model(weight("w", "16", w) + weight("b", "16", b) + R"(
    func.func @main(%x: tensor<1x3x16xf32>) -> (tensor<1x3x16xf32>, tensor<1x3x16xf32>) {)" +
              use("w", "!eff.weight<16, f32>") +
              use("b", "!eff.weight<16, f32>") + R"(
      %y = eff.layer_norm %x, %w bias %b {eps = 0.25 : f32}
        : tensor<1x3x16xf32>, !eff.weight<16, f32>, !eff.weight<16, f32>
      %z = eff.layer_norm %x, %w {eps = 0.25 : f32} : tensor<1x3x16xf32>, !eff.weight<16, f32>
      return %y, %z : tensor<1x3x16xf32>, tensor<1x3x16xf32>
    })");
  for (size_t i = 0; i < x.size(); ++i) {
    // The variance as E[x^2] - E[x]^2, unlike the interpreter.
    double mean = 0, square = 0;
    for (size_t j = 0; j < 16; ++j) {
      mean += x[i / 16 * 16 + j] / 16;
      square += x[i / 16 * 16 + j] * x[i / 16 * 16 + j] / 16;
    }
    plain.push_back((x[i] - mean) / std::sqrt(square - mean * mean + 0.25) *
                    w[i % 16]);
    y.push_back(plain.back() + b[i % 16]);
  }
  auto outputs = model.run<double>({tensor<double>({1, 3, 16}, x)});
  expectNear(outputs[0].floats, y, kDouble);
  expectNear(outputs[1].floats, plain, kDouble);
}

TEST(NormTest, GatedNormGatesFirst) {
  Values x = noise(2 * 12, 8), z = noise(2 * 12, 9), w = noise(12, 10), h, y;
  Model model(weight("w", "12", w) + R"(
    func.func @main(%x: tensor<2x12xf32>, %z: tensor<2x12xf32>) -> tensor<2x12xf32> {)" +
              use("w", "!eff.weight<12, f32>") + R"(
      %y = eff.gated_norm %x, %z, %w {eps = 0.125 : f32, group = 4} : tensor<2x12xf32>, !eff.weight<12, f32>
      return %y : tensor<2x12xf32>
    })");
  for (size_t i = 0; i < x.size(); ++i)
    h.push_back(x[i] * silu(z[i]));
  for (size_t i = 0; i < x.size(); ++i)
    y.push_back(h[i] / rms(h, i / 4 * 4, 4, 0.125) * w[i % 12]);
  expectNear(model
                 .run<double>({tensor<double>({2, 12}, x),
                               tensor<double>({2, 12}, z)})[0]
                 .floats,
             y, kDouble);
}

TEST(NormTest, GatedNormNormsFirst) {
  Values x = noise(2 * 12, 11), z = noise(2 * 12, 12), w = noise(12, 13), y;
  Model model(weight("w", "12", w) + R"(
    func.func @main(%x: tensor<2x12xf32>, %z: tensor<2x12xf32>) -> tensor<2x12xf32> {)" +
              use("w", "!eff.weight<12, f32>") + R"(
      %y = eff.gated_norm %x, %z, %w {eps = 0.125 : f32, norm_before_gate} : tensor<2x12xf32>, !eff.weight<12, f32>
      return %y : tensor<2x12xf32>
    })");
  for (size_t i = 0; i < x.size(); ++i)
    y.push_back(x[i] / rms(x, i / 12 * 12, 12, 0.125) * w[i % 12] * silu(z[i]));
  expectNear(model
                 .run<double>({tensor<double>({2, 12}, x),
                               tensor<double>({2, 12}, z)})[0]
                 .floats,
             y, kDouble);
}

} // namespace effc::reference
