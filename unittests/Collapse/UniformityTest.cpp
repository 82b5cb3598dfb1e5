//===- UniformityTest.cpp - what is equal along a dimension ---------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Model.h"

#include "effc/Dialect/Eff/Uniformity.h"

using namespace effc;
using namespace effc::reference;
using Kind = eff::Uniformity::Kind;

namespace {

/// The analysis of a function's first result.
struct Analysed {
  explicit Analysed(const std::string &text)
      : model(text),
        main(model.module->lookupSymbol<mlir::func::FuncOp>("main")),
        uniformity(main),
        value(main.getBody().front().getTerminator()->getOperand(0)) {}
  std::vector<int64_t> blocks() const {
    auto b = uniformity.getBlocks(value);
    return {b.begin(), b.end()};
  }
  Kind kind(int64_t features) const {
    return uniformity.getKind(value, features);
  }

  Model model;
  mlir::func::FuncOp main;
  eff::Uniformity uniformity;
  mlir::Value value;
};

using Sizes = std::vector<int64_t>;

TEST(Uniformity, BroadcastsAreUniformAlongNewDimensions) {
  Analysed a(R"(func.func @main(%x: tensor<3xf32>) -> tensor<3x4xf32> {
    %e = tensor.empty() : tensor<3x4xf32>
    %y = linalg.broadcast ins(%x : tensor<3xf32>) outs(%e : tensor<3x4xf32>) dimensions = [1]
    return %y : tensor<3x4xf32>
  })");
  EXPECT_EQ(a.blocks(), (Sizes{1, 4}));
  EXPECT_EQ(a.kind(4), Kind::Uniform);
}

TEST(Uniformity, TransposesAndReshapesMoveBlocks) {
  Analysed a(R"(func.func @main(%x: tensor<3xf32>) -> tensor<24xf32> {
    %e = tensor.empty() : tensor<3x8xf32>
    %y = linalg.broadcast ins(%x : tensor<3xf32>) outs(%e : tensor<3x8xf32>) dimensions = [1]
    %z = tensor.expand_shape %y [[0], [1, 2]] output_shape [3, 2, 4] : tensor<3x8xf32> into tensor<3x2x4xf32>
    %f = tensor.empty() : tensor<2x3x4xf32>
    %t = linalg.transpose ins(%z : tensor<3x2x4xf32>) outs(%f : tensor<2x3x4xf32>) permutation = [1, 0, 2]
    %c = tensor.collapse_shape %t [[0, 1, 2]] : tensor<2x3x4xf32> into tensor<24xf32>
    return %c : tensor<24xf32>
  })");
  EXPECT_EQ(a.blocks(), (Sizes{4}));
  EXPECT_EQ(a.kind(4), Kind::Uniform);
  EXPECT_EQ(a.kind(8), Kind::Varying);
}

TEST(Uniformity, SlicesAndConcatenationsKeepAlignedBlocks) {
  Analysed a(R"(func.func @main(%x: tensor<2xf32>) -> tensor<2x10xf32> {
    %e = tensor.empty() : tensor<2x8xf32>
    %y = linalg.broadcast ins(%x : tensor<2xf32>) outs(%e : tensor<2x8xf32>) dimensions = [1]
    %s = tensor.extract_slice %y[0, 3] [2, 4] [1, 1] : tensor<2x8xf32> to tensor<2x4xf32>
    %t = tensor.extract_slice %y[0, 0] [2, 6] [1, 1] : tensor<2x8xf32> to tensor<2x6xf32>
    %c = tensor.concat dim(1) %s, %t : (tensor<2x4xf32>, tensor<2x6xf32>) -> tensor<2x10xf32>
    return %c : tensor<2x10xf32>
  })");
  EXPECT_EQ(a.blocks(), (Sizes{1, 2}));
}

TEST(Uniformity, SumsHaveTheAddendsOfTheirTerms) {
  Analysed a(
      R"(func.func @main(%x: tensor<1x2x1xf32>, %v: tensor<1x2x6xf32>) -> tensor<1x2x6xf32> {
    %y = eff.expand_channels %x : tensor<1x2x1xf32> -> tensor<1x2x6xf32>
    %s = arith.addf %v, %y : tensor<1x2x6xf32>
    return %s : tensor<1x2x6xf32>
  })");
  EXPECT_EQ(a.kind(6), Kind::Sum);
}

TEST(Uniformity, ProductsHaveNoAddend) {
  Analysed a(
      R"(func.func @main(%x: tensor<1x2x1xf32>, %v: tensor<1x2x6xf32>) -> tensor<1x2x6xf32> {
    %y = eff.expand_channels %x : tensor<1x2x1xf32> -> tensor<1x2x6xf32>
    %s = arith.addf %v, %y : tensor<1x2x6xf32>
    %p = arith.mulf %s, %v : tensor<1x2x6xf32>
    return %p : tensor<1x2x6xf32>
  })");
  EXPECT_EQ(a.kind(6), Kind::Varying);
}

TEST(Uniformity, MergedDirectionsStayUniform) {
  Analysed a(R"(func.func @main(%x: tensor<1x6x4xf32>) -> tensor<1x6x5xf32> {
    %y = eff.expand_channels %x : tensor<1x6x4xf32> -> tensor<1x6x20xf32>
    %m = eff.cross_merge %y {directions = 4, height = 2, width = 3} : tensor<1x6x20xf32> -> tensor<1x6x5xf32>
    return %m : tensor<1x6x5xf32>
  })");
  EXPECT_EQ(a.kind(5), Kind::Uniform);
}

/// Four features of five: a direction's block ends within the norm's row.
TEST(Uniformity, BlocksThatDoNotFitAreVarying) {
  Analysed a(R"(func.func @main(%x: tensor<1x6x5xf32>) -> tensor<1x6x5xf32> {
    %y = eff.expand_channels %x : tensor<1x6x5xf32> -> tensor<1x6x20xf32>
    %m = eff.cross_merge %y {directions = 4, height = 2, width = 3} : tensor<1x6x20xf32> -> tensor<1x6x5xf32>
    return %m : tensor<1x6x5xf32>
  })");
  EXPECT_EQ(a.kind(5), Kind::Varying);
}

TEST(Uniformity, UnknownOpsAndArgumentsAreVarying) {
  Analysed a(R"(func.func @main(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
    return %x : tensor<2x4xf32>
  })");
  EXPECT_EQ(a.blocks(), (Sizes{1, 1}));
  EXPECT_EQ(a.kind(4), Kind::Varying);
}

} // namespace
