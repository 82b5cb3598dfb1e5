//===- LowerTest.cpp - the interface of the lowering ----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Run.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace effc;

namespace {
class Lower : public testing::Test {
protected:
  Lower() {
    context.loadDialect<onnx::OnnxDialect, func::FuncDialect,
                        arith::ArithDialect, linalg::LinalgDialect,
                        math::MathDialect, tensor::TensorDialect>();
  }

  /// The first node of a function.
  onnx::NodeOp parse(const std::string &text) {
    module = parseSourceString<ModuleOp>("func.func @main" + text, &context);
    if (!module)
      return {};
    function = *module->getOps<func::FuncOp>().begin();
    return *function.getOps<onnx::NodeOp>().begin();
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  func::FuncOp function;
};
} // namespace

TEST_F(Lower, WidensWhatIsComputedInF32) {
  onnx::NodeOp node = parse(
      "(%x: tensor<4xf16>, %wide: tensor<4xf32>) -> tensor<4xf16> {"
      "%y = onnx.node \"Exp\"(%x) since 13 : (tensor<4xf16>) -> tensor<4xf16>"
      "return %y : tensor<4xf16> }");
  ASSERT_TRUE(node);
  EXPECT_TRUE(hasLinalgLowering(node));
  OpBuilder builder(node);
  auto same = lowerToLinalg(builder, node, {function.getArgument(0)});
  ASSERT_TRUE(succeeded(same));
  EXPECT_EQ((*same)[0].getType(), node->getResult(0).getType());
  auto wide = lowerToLinalg(builder, node, {function.getArgument(1)});
  ASSERT_TRUE(succeeded(wide));
  EXPECT_TRUE(
      cast<RankedTensorType>((*wide)[0].getType()).getElementType().isF32());
}

TEST_F(Lower, WideFloatsStillRoundToEightBits) {
  onnx::NodeOp node = parse("(%x: tensor<4xf32>) -> tensor<4xf8E5M2> {"
                            "%y = onnx.node \"Cast\"(%x) since 19 : "
                            "(tensor<4xf32>) -> tensor<4xf8E5M2>"
                            "return %y : tensor<4xf8E5M2> }");
  ASSERT_TRUE(node);
  OpBuilder builder(node);
  auto results = lowerToLinalg(builder, node, {function.getArgument(0)},
                               builder.getF32Type());
  ASSERT_TRUE(succeeded(results));
  auto back = (*results)[0].getDefiningOp<arith::ExtFOp>();
  ASSERT_TRUE(back);
  EXPECT_TRUE(back.getIn().getDefiningOp<arith::TruncFOp>());
}

TEST_F(Lower, ReadsConstantsOfEitherDialect) {
  onnx::NodeOp node =
      parse("(%x: tensor<2x4xf32>, %axes: tensor<1xi64>) -> tensor<2x1xf32> {"
            "%y = onnx.node \"ReduceSum\"(%x, %axes) since 13 : "
            "(tensor<2x4xf32>, tensor<1xi64>) -> tensor<2x1xf32>"
            "return %y : tensor<2x1xf32> }");
  ASSERT_TRUE(node);
  OpBuilder builder(node);
  Value x = function.getArgument(0);
  // The axes are an argument: no lowering, and no diagnostic.
  bool diagnosed = false;
  ScopedDiagnosticHandler handler(&context,
                                  [&](Diagnostic &) { diagnosed = true; });
  EXPECT_TRUE(
      failed(lowerToLinalg(builder, node, {x, function.getArgument(1)})));
  EXPECT_FALSE(diagnosed);
  auto type = RankedTensorType::get({1}, builder.getI64Type());
  Value axes = arith::ConstantOp::create(
      builder, node.getLoc(), DenseIntElementsAttr::get(type, {int64_t(-1)}));
  EXPECT_TRUE(succeeded(lowerToLinalg(builder, node, {x, axes})));
}

TEST_F(Lower, LeavesAbsentResultsNull) {
  onnx::NodeOp node =
      parse("(%x: tensor<2x4xf32>, %w: tensor<4xf32>) -> tensor<2x1xf32> {"
            "%y:3 = onnx.node \"LayerNormalization\"(%x, %w) since 17 {axis = "
            "-1 : i64}"
            " : (tensor<2x4xf32>, tensor<4xf32>) -> (tensor<2x4xf32>, none, "
            "tensor<2x1xf32>)"
            "return %y#2 : tensor<2x1xf32> }");
  ASSERT_TRUE(node);
  OpBuilder builder(node);
  auto results = lowerToLinalg(
      builder, node, {function.getArgument(0), function.getArgument(1)});
  ASSERT_TRUE(succeeded(results));
  ASSERT_EQ(results->size(), 3u);
  EXPECT_TRUE((*results)[0]);
  EXPECT_FALSE((*results)[1]);
  EXPECT_TRUE((*results)[2]);
}

TEST_F(Lower, KnowsWhatItDoesNotKnow) {
  onnx::NodeOp node = parse("(%x: tensor<4xf32>) -> tensor<4xf32> {"
                            "%y = onnx.node \"Exp\"(%x) domain \"org.example\" "
                            "since 1 : (tensor<4xf32>) -> tensor<4xf32>"
                            "return %y : tensor<4xf32> }");
  ASSERT_TRUE(node);
  EXPECT_FALSE(hasLinalgLowering(node));
  OpBuilder builder(node);
  EXPECT_TRUE(failed(lowerToLinalg(builder, node, {function.getArgument(0)})));
}

TEST_F(Lower, RefusesShapesThatDoNotFit) {
  onnx::NodeOp node =
      parse("(%x: tensor<4xf32>, %y: tensor<3xf32>) -> tensor<4xf32> {"
            "%z = onnx.node \"Add\"(%x, %y) since 13 : (tensor<4xf32>, "
            "tensor<3xf32>) -> tensor<4xf32>"
            "return %z : tensor<4xf32> }");
  ASSERT_TRUE(node);
  OpBuilder builder(node);
  EXPECT_TRUE(failed(lowerToLinalg(
      builder, node, {function.getArgument(0), function.getArgument(1)})));
}
