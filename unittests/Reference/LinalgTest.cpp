//===- LinalgTest.cpp - structured ops ------------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Model.h"

namespace effc::reference {

TEST(LinalgTest, GenericReduction) {
  Model model(R"(
    func.func @main(%x: tensor<3x4xf32>) -> tensor<3xf32> {
      %zero = arith.constant 0.0 : f32
      %e = tensor.empty() : tensor<3xf32>
      %f = linalg.fill ins(%zero : f32) outs(%e : tensor<3xf32>) -> tensor<3xf32>
      %y = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i)>],
                           iterator_types = ["parallel", "reduction"]}
        ins(%x : tensor<3x4xf32>) outs(%f : tensor<3xf32>) {
      ^bb0(%a: f32, %sum: f32):
        %s = arith.mulf %a, %a : f32
        %t = arith.addf %sum, %s : f32
        linalg.yield %t : f32
      } -> tensor<3xf32>
      return %y : tensor<3xf32>
    })");
  Values x = noise(12, 1), y(3);
  for (int i = 0; i < 12; ++i)
    y[i / 4] += x[i] * x[i];
  expectNear(model.run<double>({tensor<double>({3, 4}, x)})[0].floats, y,
             kDouble);
}

TEST(LinalgTest, GenericWithIndicesConstantsAndCapturedValues) {
  Model model(R"(
    func.func @main(%x: tensor<2x3xf32>) -> tensor<3x2xf32> {
      %ten = arith.constant 10.0 : f32
      %e = tensor.empty() : tensor<3x2xf32>
      %y = linalg.generic {indexing_maps = [affine_map<(i, j) -> (j, 2 - i)>, affine_map<(i, j) -> (i, j)>],
                           iterator_types = ["parallel", "parallel"]}
        ins(%x : tensor<2x3xf32>) outs(%e : tensor<3x2xf32>) {
      ^bb0(%a: f32, %out: f32):
        %i = linalg.index 0 : index
        %n = arith.index_cast %i : index to i32
        %f = arith.sitofp %n : i32 to f32
        %s = arith.mulf %f, %ten : f32
        %one = arith.constant 1 : index
        %t = tensor.extract %x[%one, %i] : tensor<2x3xf32>
        %u = arith.addf %a, %s : f32
        %v = arith.addf %u, %t : f32
        linalg.yield %v : f32
      } -> tensor<3x2xf32>
      return %y : tensor<3x2xf32>
    })");
  Values x = noise(6, 2), y(6);
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 2; ++j)
      y[i * 2 + j] = x[j * 3 + 2 - i] + 10 * i + x[3 + i];
  expectNear(model.run<double>({tensor<double>({2, 3}, x)})[0].floats, y,
             kDouble);
}

TEST(LinalgTest, BroadcastTransposeReduceMap) {
  Model model(R"(
    func.func @main(%x: tensor<2x3xf32>) -> (tensor<3x2xf32>, tensor<2x3x2xf32>, tensor<3xf32>, tensor<2x3xf32>) {
      %e = tensor.empty() : tensor<3x2xf32>
      %t = linalg.transpose ins(%x : tensor<2x3xf32>) outs(%e : tensor<3x2xf32>) permutation = [1, 0]
      %g = tensor.empty() : tensor<2x3x2xf32>
      %b = linalg.broadcast ins(%x : tensor<2x3xf32>) outs(%g : tensor<2x3x2xf32>) dimensions = [2]
      %init = arith.constant dense<1.0> : tensor<3xf32>
      %r = linalg.reduce { arith.mulf } ins(%x : tensor<2x3xf32>) outs(%init : tensor<3xf32>) dimensions = [0]
      %h = tensor.empty() : tensor<2x3xf32>
      %m = linalg.map { math.exp } ins(%x : tensor<2x3xf32>) outs(%h : tensor<2x3xf32>)
      return %t, %b, %r, %m : tensor<3x2xf32>, tensor<2x3x2xf32>, tensor<3xf32>, tensor<2x3xf32>
    })");
  Values x = noise(6, 3), t(6), b(12), r(3, 1.0), m(6);
  for (int i = 0; i < 6; ++i) {
    t[i % 3 * 2 + i / 3] = x[i];
    b[i * 2] = b[i * 2 + 1] = x[i];
    r[i % 3] *= x[i];
    m[i] = std::exp(x[i]);
  }
  auto outputs = model.run<double>({tensor<double>({2, 3}, x)});
  expectNear(outputs[0].floats, t, 0);
  expectNear(outputs[1].floats, b, 0);
  expectNear(outputs[2].floats, r, kDouble);
  expectNear(outputs[3].floats, m, kDouble);
}

TEST(LinalgTest, NamedContractions) {
  Model model(R"(
    func.func @main(%x: tensor<2x3xf32>, %w: tensor<3x4xf32>) -> tensor<2x4xf32> {
      %init = arith.constant dense<0.5> : tensor<2x4xf32>
      %y = linalg.matmul ins(%x, %w : tensor<2x3xf32>, tensor<3x4xf32>) outs(%init : tensor<2x4xf32>) -> tensor<2x4xf32>
      return %y : tensor<2x4xf32>
    })");
  Values x = noise(6, 4), w = noise(12, 5), y(8, 0.5);
  for (int i = 0; i < 8; ++i)
    for (int k = 0; k < 3; ++k)
      y[i] += x[i / 4 * 3 + k] * w[k * 4 + i % 4];
  expectNear(model
                 .run<double>(
                     {tensor<double>({2, 3}, x), tensor<double>({3, 4}, w)})[0]
                 .floats,
             y, kDouble);
}

// A window: the map is a sum of two loops.
TEST(LinalgTest, Pooling) {
  Model model(R"(
    func.func @main(%x: tensor<6xf32>) -> tensor<3xf32> {
      %w = tensor.empty() : tensor<2xf32>
      %init = arith.constant dense<-8.0> : tensor<3xf32>
      %y = linalg.generic {indexing_maps = [affine_map<(o, k) -> (o * 2 + k)>, affine_map<(o, k) -> (k)>,
                                            affine_map<(o, k) -> (o)>], iterator_types = ["parallel", "reduction"]}
        ins(%x, %w : tensor<6xf32>, tensor<2xf32>) outs(%init : tensor<3xf32>) {
      ^bb0(%a: f32, %unused: f32, %m: f32):
        %n = arith.maximumf %a, %m : f32
        linalg.yield %n : f32
      } -> tensor<3xf32>
      return %y : tensor<3xf32>
    })");
  expectNear(
      model.run<double>({tensor<double>({6}, {1, 2, 7, 3, -1, -9})})[0].floats,
      {2, 7, -1}, 0);
}

} // namespace effc::reference
