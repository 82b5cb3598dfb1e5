//===- IndexingTest.cpp - slices, gathers, scatters, order ----------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Run.h"

using namespace effc::test;

TEST(Indexing, SlicesBackwardsToTheFront) {
  Tensor y = runOne(
      "(%x: tensor<5xf32>) -> tensor<3xf32> {"
      "%start = onnx.constant \"\" dense<-1> : tensor<1xi64>"
      "%end = onnx.constant \"\" dense<-9223372036854775808> : tensor<1xi64>"
      "%axis = onnx.constant \"\" dense<0> : tensor<1xi64>"
      "%step = onnx.constant \"\" dense<-2> : tensor<1xi64>"
      "%y = onnx.node \"Slice\"(%x, %start, %end, %axis, %step) since 13 : "
      "(tensor<5xf32>, tensor<1xi64>, "
      "tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<3xf32>"
      "return %y : tensor<3xf32> }",
      {floats({5}, {0, 1, 2, 3, 4})});
  expectNear(y, {4, 2, 0});
}

TEST(Indexing, GathersFromTheEndAndStaysInside) {
  std::string graph =
      "(%x: tensor<3x2xf32>, %i: tensor<4xi64>) -> tensor<4x2xf32> {"
      "%y = onnx.node \"Gather\"(%x, %i) since 13 {axis = 0 : i64}"
      " : (tensor<3x2xf32>, tensor<4xi64>) -> tensor<4x2xf32>"
      "return %y : tensor<4x2xf32> }";
  Tensor x = floats({3, 2}, {0, 1, 10, 11, 20, 21});
  // 9 is outside; the nearest row is read.
  expectNear(runOne(graph, {x, integers({4}, {2, -1, -3, 9})}),
             {20, 21, 20, 21, 0, 1, 20, 21});
}

TEST(Indexing, LastUpdateWinsAndReductionsTakeAll) {
  auto graph = [](const std::string &attributes) {
    return "(%x: tensor<4xf32>, %i: tensor<3x1xi64>, %u: tensor<3xf32>) -> "
           "tensor<4xf32> {"
           "%y = onnx.node \"ScatterND\"(%x, %i, %u) since 18 {" +
           attributes +
           "} : (tensor<4xf32>, tensor<3x1xi64>, tensor<3xf32>) -> "
           "tensor<4xf32> return %y : tensor<4xf32> }";
  };
  Tensor x = floats({4}, {1, 2, 3, 4}), i = integers({3, 1}, {1, -1, 1}),
         u = floats({3}, {10, 20, 30});
  expectNear(runOne(graph(""), {x, i, u}), {1, 30, 3, 20});
  expectNear(runOne(graph("reduction = \"add\""), {x, i, u}), {1, 42, 3, 24});
  expectNear(runOne(graph("reduction = \"min\""), {x, i, u}), {1, 2, 3, 4});
}

TEST(Indexing, KnownScattersAreSlices) {
  Tensor y = runOne(
      "(%x: tensor<3x2xf32>, %u: tensor<2x2xf32>) -> tensor<3x2xf32> {"
      "%i = onnx.constant \"\" dense<[[2], [-3]]> : tensor<2x1xi64>"
      "%y = onnx.node \"ScatterND\"(%x, %i, %u) since 18 : (tensor<3x2xf32>, "
      "tensor<2x1xi64>, "
      "tensor<2x2xf32>) -> tensor<3x2xf32> return %y : tensor<3x2xf32> }",
      {floats({3, 2}, {0, 0, 1, 1, 2, 2}), floats({2, 2}, {7, 8, 9, 10})});
  expectNear(y, {9, 10, 1, 1, 7, 8});
}

TEST(Indexing, ScatterElementsCoversPartOfTheTensor) {
  Tensor y =
      runOne("(%x: tensor<3x3xf32>, %i: tensor<2x2xi64>, %u: tensor<2x2xf32>) "
             "-> tensor<3x3xf32> {"
             "%y = onnx.node \"ScatterElements\"(%x, %i, %u) since 18 {axis = "
             "1 : i64} : (tensor<3x3xf32>, "
             "tensor<2x2xi64>, tensor<2x2xf32>) -> tensor<3x3xf32> return %y : "
             "tensor<3x3xf32> }",
             {floats({3, 3}, {0, 0, 0, 0, 0, 0, 0, 0, 0}),
              integers({2, 2}, {0, 2, -1, 0}), floats({2, 2}, {1, 2, 3, 4})});
  expectNear(y, {1, 0, 2, 4, 0, 3, 0, 0, 0});
}

TEST(Indexing, TopKPrefersTheFirstOfEqualElements) {
  auto results = run("(%x: tensor<5xf32>) -> (tensor<3xf32>, tensor<3xi64>) {"
                     "%k = onnx.constant \"\" dense<3> : tensor<1xi64>"
                     "%y:2 = onnx.node \"TopK\"(%x, %k) since 11 {axis = 0 : "
                     "i64} : (tensor<5xf32>, tensor<1xi64>) -> "
                     "(tensor<3xf32>, tensor<3xi64>) return %y#0, %y#1 : "
                     "tensor<3xf32>, tensor<3xi64> }",
                     {floats({5}, {1, 7, 3, 7, 5})});
  ASSERT_EQ(results.size(), 2u);
  expectNear(results[0], {7, 7, 5});
  EXPECT_EQ(results[1].integers, (std::vector<int64_t>{1, 3, 4}));
}

TEST(Indexing, CumSumCountsFromEitherEnd) {
  auto graph = [](const std::string &attributes) {
    return "(%x: tensor<5xf32>) -> tensor<5xf32> { %axis = onnx.constant \"\" "
           "dense<0> : tensor<i64>"
           "%y = onnx.node \"CumSum\"(%x, %axis) since 14 {" +
           attributes +
           "} : (tensor<5xf32>, tensor<i64>) -> tensor<5xf32> return %y : "
           "tensor<5xf32> }";
  };
  Tensor x = floats({5}, {1, 2, 3, 4, 5});
  expectNear(runOne(graph(""), {x}), {1, 3, 6, 10, 15});
  expectNear(runOne(graph("exclusive = 1 : i64"), {x}), {0, 1, 3, 6, 10});
  expectNear(runOne(graph("reverse = 1 : i64"), {x}), {15, 14, 12, 9, 5});
  expectNear(runOne(graph("exclusive = 1 : i64, reverse = 1 : i64"), {x}),
             {14, 12, 9, 5, 0});
}

TEST(Indexing, PadsFromInside) {
  auto graph = [](const std::string &mode) {
    return "(%x: tensor<3xf32>) -> tensor<7xf32> { %pads = onnx.constant \"\" "
           "dense<2> : tensor<2xi64>"
           "%y = onnx.node \"Pad\"(%x, %pads) since 19 {mode = \"" +
           mode +
           "\"} : (tensor<3xf32>, tensor<2xi64>) -> tensor<7xf32> return %y : "
           "tensor<7xf32> }";
  };
  Tensor x = floats({3}, {1, 2, 3});
  expectNear(runOne(graph("constant"), {x}), {0, 0, 1, 2, 3, 0, 0});
  expectNear(runOne(graph("edge"), {x}), {1, 1, 1, 2, 3, 3, 3});
  expectNear(runOne(graph("reflect"), {x}), {3, 2, 1, 2, 3, 2, 1});
  expectNear(runOne(graph("wrap"), {x}), {2, 3, 1, 2, 3, 1, 2});
}
