//===- TensorTest.cpp - tensors of a model --------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "TestSupport.h"
#include "effc/Dialect/ONNX/Onnx.h"
#include "effc/Frontend/ONNX/HostTensor.h"

#include "gtest/gtest.h"

using namespace effc;
using namespace effc::test;
using namespace effc::onnx;
using mlir::MLIRContext;
using onnx_ir::TensorProto;

namespace {

/// A model that returns its only initializer.
onnx_ir::ModelProto holding(const TensorProto &tensor) {
  onnx_ir::ModelProto model = emptyModel();
  *model.mutable_graph()->add_initializer() = tensor;
  addOutput(*model.mutable_graph(), tensor.name());
  return model;
}

TensorProto tensor(int type, std::vector<int64_t> dims) {
  TensorProto t;
  t.set_name("t");
  t.set_data_type(type);
  for (int64_t dim : dims)
    t.add_dims(dim);
  return t;
}

std::string codeFor(const TensorProto &t) {
  MLIRContext context;
  return importModel(context, holding(t)).code();
}

/// The numbers of the initializer.
std::vector<double> numbers(const TensorProto &t) {
  MLIRContext context;
  Imported result = importModel(context, holding(t));
  std::vector<double> values;
  if (result.error)
    return values;
  result.module->walk([&](ConstantOp op) {
    auto host = HostTensor::read(op.getValue());
    ASSERT_TRUE(mlir::succeeded(host));
    for (int64_t i = 0; i < host->size(); ++i)
      values.push_back(host->number(i));
  });
  return values;
}

using Numbers = std::vector<double>;

} // namespace

TEST(TensorTest, H6_ShapesThatNoTensorHas) {
  auto negative = tensor(TensorProto::FLOAT, {2, -1});
  EXPECT_EQ(codeFor(negative), "EFF0204");
  auto huge = tensor(TensorProto::FLOAT, {int64_t(1) << 40, int64_t(1) << 40});
  EXPECT_EQ(codeFor(huge), "EFF0204");
  auto wide = tensor(TensorProto::FLOAT, std::vector<int64_t>(65, 1));
  wide.add_float_data(1);
  EXPECT_EQ(codeFor(wide), "EFF0204");
  // 2^62 bytes: representable, far beyond the data.
  auto large = tensor(TensorProto::FLOAT, {int64_t(1) << 30, int64_t(1) << 30});
  large.set_raw_data("abcd");
  EXPECT_EQ(codeFor(large), "EFF0204");
}

TEST(TensorTest, H7_OneSourceOfExactlyTheDeclaredSize) {
  auto t = tensor(TensorProto::FLOAT, {2});
  EXPECT_EQ(codeFor(t), "EFF0204") << "no data";
  t.set_raw_data(std::string(4, '\0'));
  EXPECT_EQ(codeFor(t), "EFF0204") << "too short";
  t.set_raw_data(std::string(12, '\0'));
  EXPECT_EQ(codeFor(t), "EFF0204") << "too long";
  t.set_raw_data(std::string(8, '\0'));
  EXPECT_EQ(codeFor(t), "");
  t.add_float_data(1);
  EXPECT_EQ(codeFor(t), "EFF0204") << "two sources";
  t.clear_raw_data();
  EXPECT_EQ(codeFor(t), "EFF0204") << "one of two values";
  t.add_float_data(2);
  EXPECT_EQ(numbers(t), (Numbers{1, 2}));
  auto wrong = tensor(TensorProto::FLOAT, {1});
  wrong.add_int32_data(1);
  EXPECT_EQ(codeFor(wrong), "EFF0204") << "data in the field of another type";
}

TEST(TensorTest, H8_EmptyTensorsStringsAndBooleans) {
  auto empty = tensor(TensorProto::FLOAT, {0, 3});
  EXPECT_EQ(codeFor(empty), "");
  empty.set_raw_data("abcd");
  EXPECT_EQ(codeFor(empty), "EFF0204");
  auto text = tensor(TensorProto::STRING, {2});
  text.add_string_data("a");
  EXPECT_EQ(codeFor(text), "EFF0204");
  text.add_string_data("b");
  EXPECT_EQ(codeFor(text), "");
  text.clear_string_data();
  text.set_raw_data("ab");
  EXPECT_EQ(codeFor(text), "EFF0204");
  auto flags = tensor(TensorProto::BOOL, {4});
  flags.set_raw_data(std::string("\x00\x01\x02\xff", 4));
  EXPECT_EQ(numbers(flags), (Numbers{0, 1, 1, 1}));
}

TEST(TensorTest, H9_SparseInitializersAreRefused) {
  MLIRContext context;
  auto model = holding(tensor(TensorProto::FLOAT, {0}));
  model.mutable_graph()->add_sparse_initializer()->mutable_values()->set_name(
      "s");
  EXPECT_EQ(importModel(context, model).code(), "EFF0211");
}

TEST(TensorTest, H10_LimitsOnWeightsNodesAndNames) {
  MLIRContext context;
  auto t = tensor(TensorProto::FLOAT, {2});
  t.set_raw_data(std::string(8, '\0'));
  ImportOptions options;
  options.maxWeightBytes = 7;
  EXPECT_EQ(importModel(context, holding(t), options).code(), "EFF0204");
  auto model = emptyModel();
  addInput(*model.mutable_graph(), "x", 1, {1});
  addNode(*model.mutable_graph()->mutable_node(), "Neg", {"x"}, {"a"});
  addNode(*model.mutable_graph()->mutable_node(), "Neg", {"a"}, {"y"});
  addOutput(*model.mutable_graph(), "y");
  EXPECT_EQ(importModel(context, model).code(), "");
  ImportOptions one;
  one.maxNodes = 1;
  EXPECT_EQ(importModel(context, model, one).code(), "EFF0207");
  for (std::string name :
       {std::string(5000, 'a'), std::string("\xff\xfe"), std::string("a\nb")}) {
    t.set_name(name);
    EXPECT_EQ(codeFor(t), "EFF0206");
  }
}

TEST(TensorTest, UnknownElementTypesAreRefused) {
  auto t = tensor(99, {1});
  t.set_raw_data("abcd");
  EXPECT_EQ(codeFor(t), "EFF0211");
}

TEST(TensorTest, TypedFieldsHoldEveryType) {
  auto half = tensor(TensorProto::FLOAT16, {2});
  half.add_int32_data(0x3c00);
  half.add_int32_data(0xc000);
  EXPECT_EQ(numbers(half), (Numbers{1, -2}));
  auto brain = tensor(TensorProto::BFLOAT16, {1});
  brain.add_int32_data(0x4049);
  EXPECT_EQ(numbers(brain), (Numbers{3.140625}));
  auto small = tensor(TensorProto::INT8, {2});
  small.add_int32_data(-3);
  small.add_int32_data(127);
  EXPECT_EQ(numbers(small), (Numbers{-3, 127}));
  auto natural = tensor(TensorProto::UINT32, {1});
  natural.add_uint64_data(4000000000u);
  EXPECT_EQ(numbers(natural), (Numbers{4000000000.0}));
  auto real = tensor(TensorProto::DOUBLE, {1});
  real.add_double_data(0.1);
  EXPECT_EQ(numbers(real), (Numbers{0.1}));
  // Two values of four bits to a byte, the lower first; an odd count leaves the
  // last half empty.
  auto nibbles = tensor(TensorProto::INT4, {3});
  nibbles.add_int32_data(0x8f);
  nibbles.add_int32_data(0x07);
  EXPECT_EQ(numbers(nibbles), (Numbers{-1, -8, 7}));
  auto pairs = tensor(TensorProto::UINT2, {5});
  pairs.set_raw_data(std::string("\xe4\x02", 2));
  EXPECT_EQ(numbers(pairs), (Numbers{0, 1, 2, 3, 2}));
  auto tiny = tensor(TensorProto::FLOAT4E2M1, {2});
  tiny.set_raw_data("\xf2");
  EXPECT_EQ(numbers(tiny), (Numbers{1, -6}));
}
