//===- TensorTest.cpp - constants and the tensor dialect ------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Model.h"

namespace effc::reference {

static Values count(int64_t n) {
  Values values(n);
  for (int64_t i = 0; i < n; ++i)
    values[i] = double(i);
  return values;
}

TEST(TensorTest, ExtractSlice) {
  Model model(R"(
    func.func @main(%x: tensor<3x5xf32>) -> (tensor<2x2xf32>, tensor<5xf32>) {
      %a = tensor.extract_slice %x[0, 1] [2, 2] [2, 3] : tensor<3x5xf32> to tensor<2x2xf32>
      %b = tensor.extract_slice %x[1, 0] [1, 5] [1, 1] : tensor<3x5xf32> to tensor<5xf32>
      return %a, %b : tensor<2x2xf32>, tensor<5xf32>
    })");
  auto outputs = model.run<double>({tensor<double>({3, 5}, count(15))});
  expectNear(outputs[0].floats, {1, 4, 11, 14}, 0);
  expectNear(outputs[1].floats, {5, 6, 7, 8, 9}, 0);
}

TEST(TensorTest, InsertSliceAtAComputedOffset) {
  Model model(R"(
    func.func @main(%x: tensor<2x4xf32>, %y: tensor<1x2xf32>) -> tensor<2x4xf32> {
      %i = arith.constant 1 : index
      %j = arith.addi %i, %i : index
      %z = tensor.insert_slice %y into %x[%i, %j] [1, 2] [1, 1] : tensor<1x2xf32> into tensor<2x4xf32>
      return %z : tensor<2x4xf32>
    })");
  expectNear(model
                 .run<double>({tensor<double>({2, 4}, count(8)),
                               tensor<double>({1, 2}, {70, 80})})[0]
                 .floats,
             {0, 1, 2, 3, 4, 5, 70, 80}, 0);
}

TEST(TensorTest, SliceOutsideIsAnError) {
  Model model(R"(
    func.func @main(%x: tensor<4xf32>) -> tensor<2xf32> {
      %i = arith.constant 3 : index
      %y = tensor.extract_slice %x[%i] [2] [1] : tensor<4xf32> to tensor<2xf32>
      return %y : tensor<2xf32>
    })");
  EXPECT_NE(model.fail({tensor<double>({4}, count(4))}).find("not inside"),
            std::string::npos);
}

TEST(TensorTest, ConcatPadReshape) {
  Model model(R"(
    func.func @main(%x: tensor<2x2xf32>, %y: tensor<2x1xf32>) -> (tensor<2x3xf32>, tensor<1x6xf32>, tensor<4x3xf32>) {
      %c = tensor.concat dim(1) %x, %y : (tensor<2x2xf32>, tensor<2x1xf32>) -> tensor<2x3xf32>
      %f = tensor.collapse_shape %c [[0, 1]] : tensor<2x3xf32> into tensor<6xf32>
      %e = tensor.expand_shape %f [[0, 1]] output_shape [1, 6] : tensor<6xf32> into tensor<1x6xf32>
      %p = tensor.pad %c low[1, 0] high[1, 0] {
      ^bb0(%i: index, %j: index):
        %m = arith.constant -1.0 : f32
        tensor.yield %m : f32
      } : tensor<2x3xf32> to tensor<4x3xf32>
      return %c, %e, %p : tensor<2x3xf32>, tensor<1x6xf32>, tensor<4x3xf32>
    })");
  auto outputs = model.run<double>(
      {tensor<double>({2, 2}, count(4)), tensor<double>({2, 1}, {8, 9})});
  expectNear(outputs[0].floats, {0, 1, 8, 2, 3, 9}, 0);
  expectNear(outputs[1].floats, {0, 1, 8, 2, 3, 9}, 0);
  EXPECT_EQ(llvm::ArrayRef<int64_t>(outputs[1].shape),
            llvm::ArrayRef<int64_t>({1, 6}));
  expectNear(outputs[2].floats, {-1, -1, -1, 0, 1, 8, 2, 3, 9, -1, -1, -1}, 0);
}

TEST(TensorTest, ElementsAndExtract) {
  Model model(R"(
    func.func @main(%x: tensor<2x3xf32>) -> (tensor<2xf32>, tensor<2x2xf32>) {
      %i = arith.constant 1 : index
      %j = arith.constant 2 : index
      %a = tensor.extract %x[%i, %j] : tensor<2x3xf32>
      %b = arith.addf %a, %a : f32
      %t = tensor.from_elements %a, %b : tensor<2xf32>
      %s = tensor.splat %b : tensor<2x2xf32>
      return %t, %s : tensor<2xf32>, tensor<2x2xf32>
    })");
  auto outputs = model.run<double>({tensor<double>({2, 3}, count(6))});
  expectNear(outputs[0].floats, {5, 10}, 0);
  expectNear(outputs[1].floats, {10, 10, 10, 10}, 0);
}

TEST(TensorTest, Constants) {
  Model model(R"(
    func.func @main() -> (tensor<2xf32>, tensor<3xi64>, tensor<2xi1>, tensor<2xbf16>, tensor<2xi32>, tensor<2xf32>) {
      %a = arith.constant dense<[1.5, -2.5]> : tensor<2xf32>
      %b = arith.constant dense<-7> : tensor<3xi64>
      %c = arith.constant dense<[true, false]> : tensor<2xi1>
      %d = arith.constant dense<[1.0, -0.5]> : tensor<2xbf16>
      %e = arith.constant dense_resource<ids> : tensor<2xi32>
      %f = arith.constant dense_resource<floats> : tensor<2xf32>
      return %a, %b, %c, %d, %e, %f
        : tensor<2xf32>, tensor<3xi64>, tensor<2xi1>, tensor<2xbf16>, tensor<2xi32>, tensor<2xf32>
    }
    {-#
      dialect_resources: {
        builtin: {
          ids: "0x0400000005000000FEFFFFFF",
          floats: "0x040000000000803F000000C0"
        }
      }
    #-})");
  auto outputs = model.run<double>({});
  expectNear(outputs[0].floats, {1.5, -2.5}, 0);
  EXPECT_EQ(outputs[1].integers, (std::vector<int64_t>{-7, -7, -7}));
  EXPECT_EQ(outputs[2].integers, (std::vector<int64_t>{1, 0}));
  expectNear(outputs[3].floats, {1.0, -0.5}, 0);
  EXPECT_EQ(outputs[4].integers, (std::vector<int64_t>{5, -2}));
  expectNear(outputs[5].floats, {1.0, -2.0}, 0);
}

TEST(TensorTest, AbsentAndShortResourcesAreErrors) {
  Model absent(R"(
    func.func @main() -> tensor<2xf32> {
      %a = arith.constant dense_resource<nowhere> : tensor<2xf32>
      return %a : tensor<2xf32>
    })");
  EXPECT_NE(absent.fail({}).find("absent"), std::string::npos);
  Model shortWeight(R"(
    eff.weight @w : !eff.weight<3, f32> = dense_resource<w> : tensor<3xf32>
    func.func @main() -> tensor<3xf32> {
      %w = eff.use @w : !eff.weight<3, f32>
      %a = eff.read %w : !eff.weight<3, f32> -> tensor<3xf32>
      return %a : tensor<3xf32>
    }
    {-# dialect_resources: { builtin: { w: "0x040000000000803F000000C0" } } #-})");
  EXPECT_NE(shortWeight.fail({}).find("12 bytes are needed, 8 are there"),
            std::string::npos);
}

} // namespace effc::reference
