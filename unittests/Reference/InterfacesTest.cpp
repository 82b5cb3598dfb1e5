//===- InterfacesTest.cpp - interfaces and builders of eff ops ------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Model.h"

namespace effc::reference {

/// The only op of a kind in a module.
template <typename Op> static Op find(Model &model) {
  Op found;
  model.module->walk([&](Op op) { found = op; });
  EXPECT_TRUE(found);
  return found;
}

TEST(InterfacesTest, Linear) {
  Model model(R"(
    func.func @main(%x: tensor<1x3x8xf32>, %w: !eff.weight<20x8, bf16, panel32_pair>, %b: !eff.weight<20, f32>)
        -> tensor<1x3x20xf32> {
      %y = eff.linear %x, %w extras(%b : !eff.weight<20, f32>) epilogue {
      ^bb0(%acc: f32, %bias: f32):
        %0 = arith.addf %acc, %bias : f32
        eff.yield %0 : f32
      } : tensor<1x3x8xf32>, !eff.weight<20x8, bf16, panel32_pair> -> tensor<1x3x20xf32>
      return %y : tensor<1x3x20xf32>
    })");
  auto op = find<eff::LinearOp>(model);
  auto linear = llvm::cast<eff::LinearLike>(op.getOperation());
  EXPECT_EQ(linear.getActivations(), op.getInput());
  EXPECT_EQ(linear.getWeightMatrix(), op.getWeight());
  EXPECT_EQ(linear.getWeightOperand().getOperandNumber(), 1u);
  auto costed = llvm::cast<eff::Costed>(op.getOperation());
  EXPECT_EQ(costed.getFlops(), 2 * 3 * 20 * 8);
  // One panel of 32 columns, then the bias.
  EXPECT_EQ(costed.getTraffic(), 8 * 64 + 20 * 4);
}

TEST(InterfacesTest, LinearBuilderInfersItsResult) {
  Model model("func.func @main(%x: tensor<2x3x8xf32>, %w: !eff.weight<20x8, "
              "f32>) { return }");
  auto function = find<mlir::func::FuncOp>(model);
  mlir::OpBuilder builder(function.getBody());
  auto op =
      eff::LinearOp::create(builder, function.getLoc(), function.getArgument(0),
                            function.getArgument(1));
  EXPECT_EQ(op.getResult().getType(),
            mlir::RankedTensorType::get({2, 3, 20}, builder.getF32Type()));
  EXPECT_FALSE(op.hasEpilogue());
  EXPECT_TRUE(succeeded(op.verify()));
}

TEST(InterfacesTest, Conv2D) {
  Model model(R"(
    func.func @main(%x: tensor<1x3x8x8xf32>, %w: !eff.weight<16x48, f32>) -> tensor<1x4x16xf32> {
      %y = eff.conv2d %x, %w {patch = array<i64: 4, 4>}
        : tensor<1x3x8x8xf32>, !eff.weight<16x48, f32> -> tensor<1x4x16xf32>
      return %y : tensor<1x4x16xf32>
    })");
  auto op = find<eff::Conv2DOp>(model);
  auto linear = llvm::cast<eff::LinearLike>(op.getOperation());
  EXPECT_EQ(linear.getWeightMatrix(), op.getWeight());
  EXPECT_EQ(llvm::cast<eff::Costed>(op.getOperation()).getFlops(),
            2 * 4 * 16 * 48);
}

TEST(InterfacesTest, StatesAreNamed) {
  Model model(R"(
    func.func @main(%q: tensor<1x1x24xf32>, %t: tensor<1x1x8xf32>, %k: !eff.cache<2x4, capacity = 8, f32>,
                    %v: !eff.cache<2x4, capacity = 8, f32>, %s: !eff.state<conv, 3x8, f32>, %w: !eff.weight<8x4, f32>) {
      %y = eff.attention %q, %k, %v {heads = 6, kv_heads = 2, scale = 1.0 : f32}
        : tensor<1x1x24xf32>, !eff.cache<2x4, capacity = 8, f32>, !eff.cache<2x4, capacity = 8, f32>
      eff.cache_append %t, %k : tensor<1x1x8xf32>, !eff.cache<2x4, capacity = 8, f32>
      %z = eff.causal_conv1d %t, %w, %s : tensor<1x1x8xf32>, !eff.weight<8x4, f32>, !eff.state<conv, 3x8, f32>
      return
    })");
  auto attention = find<eff::AttentionOp>(model);
  EXPECT_EQ(attention.getStateOperands(),
            (llvm::SmallVector<mlir::Value>{attention.getKey(),
                                            attention.getValue()}));
  // A key and a value for each of two heads.
  EXPECT_EQ(attention.getTraffic(), 2 * 2 * 4 * 4);
  auto append = find<eff::CacheAppendOp>(model);
  EXPECT_EQ(append.getStateOperands(),
            llvm::SmallVector<mlir::Value>{append.getCache()});
  EXPECT_EQ(append.getTraffic(), 8 * 4);
  auto conv = find<eff::CausalConv1DOp>(model);
  EXPECT_EQ(conv.getStateOperands(),
            llvm::SmallVector<mlir::Value>{conv.getState()});
  // The weight once, the state read and written.
  EXPECT_EQ(conv.getTraffic(), 8 * 4 * 4 + 2 * 3 * 8 * 4);
  EXPECT_EQ(conv.getFlops(), 2 * 8 * 4);
}

TEST(InterfacesTest, AttentionOverTensorsHasNoState) {
  Model model(R"(
    func.func @main(%q: tensor<1x5x8xf32>) {
      %y = eff.attention %q, %q, %q {heads = 2, kv_heads = 2, scale = 1.0 : f32}
        : tensor<1x5x8xf32>, tensor<1x5x8xf32>, tensor<1x5x8xf32>
      return
    })");
  auto attention = find<eff::AttentionOp>(model);
  EXPECT_TRUE(attention.getStateOperands().empty());
  EXPECT_EQ(attention.getTraffic(), 0);
  // Two products of 5 x 5 x 4 for each of two heads.
  EXPECT_EQ(attention.getFlops(), 2 * 2 * 2 * 5 * 5 * 4);
}

TEST(InterfacesTest, WeightTypeChangesFormatAndLayout) {
  Model model(
      "func.func @main(%w: !eff.weight<20x8, bf16, panel32_pair>) { return }");
  auto type = llvm::cast<eff::WeightType>(
      find<mlir::func::FuncOp>(model).getArgument(0).getType());
  auto int8 = eff::Int8Attr::get(&model.context);
  // A layout that does not hold the new format is dropped.
  EXPECT_EQ(type.withFormat(int8).getLayout(), eff::Layout::RowMajor);
  EXPECT_EQ(type.withFormat(type.getFormat()), type);
  eff::WeightType quad = type.withFormat(int8).withLayout(eff::Layout::Quad16);
  EXPECT_EQ(quad.getElementBits(), 8);
  EXPECT_FALSE(quad.getFloatFormat());
  EXPECT_TRUE(type.getFloatFormat().isBF16());
  EXPECT_EQ(eff::WeightType::get(&model.context, {4, 4},
                                 eff::Int4Attr::get(&model.context, 32),
                                 eff::Layout::RowMajor)
                .getGroup(),
            32);
}

} // namespace effc::reference
