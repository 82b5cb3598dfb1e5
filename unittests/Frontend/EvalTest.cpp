//===- EvalTest.cpp - numbers computed at compile time --------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Frontend/ONNX/Eval.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "gtest/gtest.h"

#include <cmath>

using namespace effc::onnx;
using namespace mlir;

namespace {

class EvalTest : public testing::Test {
protected:
  EvalTest() : b(&context) {
    context.loadDialect<OnnxDialect>();
    module = ModuleOp::create(b.getUnknownLoc());
    b.setInsertionPointToStart(module->getBody());
  }

  HostTensor floats(Type type, SmallVector<int64_t> shape,
                    std::vector<double> values) {
    HostTensor t(type, shape);
    t.floats = values;
    return t;
  }
  HostTensor ints(Type type, SmallVector<int64_t> shape,
                  std::vector<int64_t> values) {
    HostTensor t(type, shape);
    t.ints = values;
    return t;
  }

  NodeOp node(StringRef name, std::vector<HostTensor> operands,
              RankedTensorType result,
              SmallVector<NamedAttribute> attributes = {}) {
    SmallVector<Value> values;
    for (const HostTensor &t : operands)
      values.push_back(ConstantOp::create(b, b.getUnknownLoc(), t.getType(),
                                          b.getStringAttr(""), t.write()));
    auto op = NodeOp::create(b, b.getUnknownLoc(), TypeRange(result), values,
                             b.getStringAttr(name), b.getStringAttr(""),
                             b.getI64IntegerAttr(18), b.getStrArrayAttr({}), 0);
    op->setDiscardableAttrs(b.getDictionaryAttr(attributes));
    return op;
  }

  std::optional<HostTensor> run(StringRef name,
                                std::vector<HostTensor> operands,
                                RankedTensorType result,
                                SmallVector<NamedAttribute> attributes = {}) {
    NodeOp op = node(name, operands, result, attributes);
    SmallVector<const HostTensor *> pointers;
    for (const HostTensor &t : operands)
      pointers.push_back(&t);
    auto results = evaluate(op, ArrayRef<const HostTensor *>(pointers));
    return results ? std::optional<HostTensor>(results->front()) : std::nullopt;
  }

  MLIRContext context;
  OpBuilder b;
  OwningOpRef<ModuleOp> module;
};

} // namespace

TEST_F(EvalTest, IntegersDivideTowardZeroAndRefuseZero) {
  Type i64 = b.getI64Type();
  auto type = RankedTensorType::get({4}, i64);
  auto a = ints(i64, {4}, {7, -7, 7, -7}), d = ints(i64, {4}, {2, 2, -2, -2});
  EXPECT_EQ(run("Div", {a, d}, type)->ints,
            (std::vector<int64_t>{3, -3, -3, 3}));
  EXPECT_EQ(run("Mod", {a, d}, type)->ints,
            (std::vector<int64_t>{1, 1, -1, -1}));
  EXPECT_FALSE(run("Div", {a, ints(i64, {1}, {0})}, type));
  EXPECT_FALSE(run("Mod", {a, ints(i64, {1}, {0})}, type));
  auto least = ints(i64, {1}, {INT64_MIN});
  EXPECT_EQ(
      run("Div", {least, ints(i64, {1}, {-1})}, RankedTensorType::get({1}, i64))
          ->ints[0],
      INT64_MIN);
}

TEST_F(EvalTest, ResultsAreRoundedToTheirType) {
  Type f32 = b.getF32Type(), bf16 = b.getBF16Type(),
       u8 = b.getIntegerType(8, false);
  auto sum = run("Add", {floats(f32, {1}, {16777216}), floats(f32, {1}, {1})},
                 RankedTensorType::get({1}, f32));
  EXPECT_EQ(sum->floats[0], 16777216); // 2^24 + 1 is no float
  auto cast = run("Cast", {floats(f32, {1}, {1.00390625})},
                  RankedTensorType::get({1}, bf16));
  EXPECT_EQ(cast->floats[0], 1); // a tie: to even
  auto wrapped = run("Add", {ints(u8, {1}, {250}), ints(u8, {1}, {10})},
                     RankedTensorType::get({1}, u8));
  EXPECT_EQ(wrapped->ints[0], 4);
}

TEST_F(EvalTest, CastsOutOfRange) {
  Type f32 = b.getF32Type(), i32 = b.getI32Type(), i1 = b.getI1Type();
  auto x = floats(f32, {3}, {-1.9, 2.9, NAN});
  EXPECT_EQ(run("Cast", {x}, RankedTensorType::get({3}, i32))->ints,
            (std::vector<int64_t>{-1, 2, 0}));
  EXPECT_EQ(run("Cast", {x}, RankedTensorType::get({3}, i1))->ints,
            (std::vector<int64_t>{1, 1, 1}));
}

TEST_F(EvalTest, BroadcastsAndPropagatesNaN) {
  Type f32 = b.getF32Type();
  auto type = RankedTensorType::get({2, 2}, f32);
  auto max = run(
      "Max", {floats(f32, {2, 1}, {1, NAN}), floats(f32, {2}, {0, 5})}, type);
  EXPECT_EQ(max->floats[0], 1);
  EXPECT_EQ(max->floats[1], 5);
  EXPECT_TRUE(std::isnan(max->floats[2]) && std::isnan(max->floats[3]));
}

TEST_F(EvalTest, IndicesOutOfRangeAreRefused) {
  Type f32 = b.getF32Type(), i64 = b.getI64Type();
  auto type = RankedTensorType::get({1}, f32);
  auto axis = b.getNamedAttr("axis", b.getI64IntegerAttr(0));
  auto x = floats(f32, {3}, {1, 2, 3});
  EXPECT_EQ(run("Gather", {x, ints(i64, {1}, {-1})}, type, {axis})->floats[0],
            3);
  EXPECT_FALSE(run("Gather", {x, ints(i64, {1}, {3})}, type, {axis}));
  EXPECT_FALSE(run("GatherND", {x, ints(i64, {1, 1}, {-4})}, type));
}

TEST_F(EvalTest, UnknownOperatorsAndDynamicTypes) {
  Type f32 = b.getF32Type();
  auto x = floats(f32, {1}, {1});
  EXPECT_FALSE(run("FancyNorm", {x}, RankedTensorType::get({1}, f32)));
  EXPECT_FALSE(
      run("Neg", {x}, RankedTensorType::get({ShapedType::kDynamic}, f32)));
  EXPECT_FALSE(
      canEvaluate(node("FancyNorm", {x}, RankedTensorType::get({1}, f32))));
  EXPECT_TRUE(canEvaluate(node("Neg", {x}, RankedTensorType::get({1}, f32))));
}

TEST_F(EvalTest, AttributesRoundTrip) {
  for (Type type :
       {Type(b.getF32Type()), Type(b.getF64Type()), Type(b.getF16Type()),
        Type(b.getBF16Type()), Type(Float8E4M3FNType::get(&context)),
        Type(Float4E2M1FNType::get(&context)), Type(b.getI1Type()),
        Type(b.getIntegerType(4)), Type(b.getIntegerType(4, false)),
        Type(b.getI64Type()), Type(b.getIntegerType(64, false)),
        Type(b.getIntegerType(2))}) {
    for (int64_t count : {1, 3, 9000}) {
      HostTensor t(type, {count});
      for (int64_t i = 0; i < count; ++i)
        (t.isFloat() ? t.floats[i] = double(i % 3) : double(t.ints[i] = i % 2));
      t.round();
      auto back = HostTensor::read(t.write());
      ASSERT_TRUE(succeeded(back));
      EXPECT_EQ(back->floats, t.floats);
      EXPECT_EQ(back->ints, t.ints);
      EXPECT_EQ(back->getType(), t.getType());
    }
  }
}
