//===- GenericTest.cpp - generic code computes what its ops mean ----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "TestModels.h"

#include "effc/Reference/Interpreter.h"
#include "effc/Target/Generic/CompileGeneric.h"
#include "effrt/engine.h"
#include "gtest/gtest.h"

#include <cmath>

using namespace effc;
using namespace effc::test;
using reference::Tensor;

namespace {
constexpr const char *kHeader =
    "module attributes {eff.model = #eff.model<generic, arch = \"test\", vocab "
    "= 0, max_length = 0>} {\n";
constexpr const char *kEntry =
    " attributes {eff.entry = #eff.entry<forward, batch = 1, tokens = 1>} {\n";

/// Compiles `@f` of one f32 input and one f32 output, runs it and the
/// reference, and compares.
void check(const std::string &text, std::vector<int64_t> inputShape,
           size_t outputSize, double tolerance) {
  TempDir dir;
  size_t count = 1;
  for (int64_t dim : inputShape)
    count *= dim;
  std::vector<float> input(count);
  for (size_t i = 0; i < count; ++i)
    input[i] = 3 * std::sin(0.7 * i + 0.2);
  TestModule source(text);
  reference::Interpreter<double> interpreter(source.get());
  auto expected = interpreter.run(
      "f", {Tensor<double>::fromFloats(
               inputShape, std::vector<double>(input.begin(), input.end()))});
  ASSERT_TRUE(static_cast<bool>(expected))
      << llvm::toString(expected.takeError());
  TestModule module(text);
  ASSERT_EQ(module.write(dir.file("f.eff")), "");
  auto model = effrt::Model::open(dir.file("f.eff"));
  ASSERT_TRUE(model.ok()) << model.error().format();
  auto engine = effrt::Engine::create(model.take());
  ASSERT_TRUE(engine.ok()) << engine.error().format();
  std::vector<float> output(outputSize);
  auto status = (*engine)->forward({{"x", input.data(), input.size() * 4}},
                                   {{"y", output.data(), output.size() * 4}});
  ASSERT_TRUE(status.ok()) << status.error().format();
  for (size_t i = 0; i < outputSize; ++i)
    EXPECT_NEAR(output[i], expected->front().floats[i], tolerance) << i;
}
} // namespace

TEST(Generic, Elementwise) {
  check(std::string(kHeader) +
            "func.func @f(%x: tensor<1x3x37xf32> {eff.name = \"x\"}) -> "
            "(tensor<1x3x37xf32> {eff.name = \"y\"})" +
            kEntry + R"(
  %0 = math.exp %x : tensor<1x3x37xf32>
  %1 = math.log1p %0 : tensor<1x3x37xf32>
  %2 = math.tanh %1 : tensor<1x3x37xf32>
  %3 = math.erf %x : tensor<1x3x37xf32>
  %4 = arith.mulf %2, %3 : tensor<1x3x37xf32>
  return %4 : tensor<1x3x37xf32>
}})",
        {1, 3, 37}, 111, 2e-6);
}

// A softmax by hand: two reductions, temporaries, broadcasts.
TEST(Generic, Softmax) {
  check(std::string(kHeader) +
            "func.func @f(%x: tensor<5x48xf32> {eff.name = \"x\"}) -> "
            "(tensor<5x48xf32> {eff.name = \"y\"})" +
            kEntry + R"(
  %low = arith.constant -3.0e38 : f32
  %zero = arith.constant 0.0 : f32
  %e1 = tensor.empty() : tensor<5xf32>
  %e2 = tensor.empty() : tensor<5x48xf32>
  %i1 = linalg.fill ins(%low : f32) outs(%e1 : tensor<5xf32>) -> tensor<5xf32>
  %max = linalg.reduce { arith.maximumf } ins(%x : tensor<5x48xf32>) outs(%i1 : tensor<5xf32>) dimensions = [1]
  %maxb = linalg.broadcast ins(%max : tensor<5xf32>) outs(%e2 : tensor<5x48xf32>) dimensions = [1]
  %0 = arith.subf %x, %maxb : tensor<5x48xf32>
  %1 = math.exp %0 : tensor<5x48xf32>
  %i2 = linalg.fill ins(%zero : f32) outs(%e1 : tensor<5xf32>) -> tensor<5xf32>
  %sum = linalg.reduce { arith.addf } ins(%1 : tensor<5x48xf32>) outs(%i2 : tensor<5xf32>) dimensions = [1]
  %sumb = linalg.broadcast ins(%sum : tensor<5xf32>) outs(%e2 : tensor<5x48xf32>) dimensions = [1]
  %2 = arith.divf %1, %sumb : tensor<5x48xf32>
  return %2 : tensor<5x48xf32>
}})",
        {5, 48}, 240, 1e-6);
}

// Comparisons and selects, i1 in between; a transposition; a slice and a
// concatenation.
TEST(Generic, SelectTransposeConcat) {
  check(std::string(kHeader) +
            "func.func @f(%x: tensor<6x20xf32> {eff.name = \"x\"}) -> "
            "(tensor<20x9xf32> {eff.name = \"y\"})" +
            kEntry + R"(
  %zero = arith.constant dense<0.0> : tensor<6x20xf32>
  %slope = arith.constant dense<0.1> : tensor<6x20xf32>
  %c = arith.cmpf ogt, %x, %zero : tensor<6x20xf32>
  %s = arith.mulf %x, %slope : tensor<6x20xf32>
  %l = arith.select %c, %x, %s : tensor<6x20xi1>, tensor<6x20xf32>
  %e = tensor.empty() : tensor<20x6xf32>
  %t = linalg.transpose ins(%l : tensor<6x20xf32>) outs(%e : tensor<20x6xf32>) permutation = [1, 0]
  %p = tensor.extract_slice %t[0, 2] [20, 3] [1, 1] : tensor<20x6xf32> to tensor<20x3xf32>
  %y = tensor.concat dim(1) %t, %p : (tensor<20x6xf32>, tensor<20x3xf32>) -> tensor<20x9xf32>
  return %y : tensor<20x9xf32>
}})",
        {6, 20}, 180, 1e-6);
}

TEST(Generic, MatmulOfTensors) {
  check(std::string(kHeader) +
            "func.func @f(%x: tensor<16x32xf32> {eff.name = \"x\"}) -> "
            "(tensor<16x16xf32> {eff.name = \"y\"})" +
            kEntry + R"(
  %zero = arith.constant 0.0 : f32
  %e1 = tensor.empty() : tensor<32x16xf32>
  %t = linalg.transpose ins(%x : tensor<16x32xf32>) outs(%e1 : tensor<32x16xf32>) permutation = [1, 0]
  %e2 = tensor.empty() : tensor<16x16xf32>
  %i = linalg.fill ins(%zero : f32) outs(%e2 : tensor<16x16xf32>) -> tensor<16x16xf32>
  %y = linalg.matmul ins(%x, %t : tensor<16x32xf32>, tensor<32x16xf32>) outs(%i : tensor<16x16xf32>) -> tensor<16x16xf32>
  return %y : tensor<16x16xf32>
}})",
        {16, 32}, 256, 2e-4);
}

// Not generic code, but the same way in and out: rows of int8 that are no whole
// words, and their scales.
TEST(Generic, QuantizeAndBack) {
  check(std::string(kHeader) +
            "func.func @f(%x: tensor<1x5x18xf32> {eff.name = \"x\"}) -> "
            "(tensor<1x5x18xf32> {eff.name = \"y\"})" +
            kEntry + R"(
  %q, %s = eff.quantize %x : tensor<1x5x18xf32> -> tensor<1x5x18xi8>, tensor<1x5xf32>
  %y = eff.dequantize %q, %s : tensor<1x5x18xi8>, tensor<1x5xf32> -> tensor<1x5x18xf32>
  return %y : tensor<1x5x18xf32>
}})",
        {1, 5, 18}, 90, 1e-6);
}

// An input handed through, and a result that two outputs share in shape only.
TEST(Generic, InputIsReturned) {
  check(std::string(kHeader) +
            "func.func @f(%x: tensor<3x7xf32> {eff.name = \"x\"}) -> "
            "(tensor<21xf32> {eff.name = \"y\"})" +
            kEntry + R"(
  %y = tensor.collapse_shape %x [[0, 1]] : tensor<3x7xf32> into tensor<21xf32>
  return %y : tensor<21xf32>
}})",
        {3, 7}, 21, 0);
}

TEST(Generic, ScratchMustFitThePlan) {
  const char *text =
      R"(func.func @generic(%x: tensor<4x16xf32>) -> tensor<4x16xf32> {
  %0 = math.exp %x : tensor<4x16xf32>
  return %0 : tensor<4x16xf32>
})";
  auto scratch = measureScratch(text);
  ASSERT_TRUE(static_cast<bool>(scratch))
      << llvm::toString(scratch.takeError());
  auto code = compileGeneric(text, *scratch + 64, X86Machine::host(), "f");
  ASSERT_FALSE(static_cast<bool>(code));
  std::string message = llvm::toString(code.takeError());
  EXPECT_NE(message.find("EFF0501"), std::string::npos) << message;
  EXPECT_NE(message.find("plan-size-generics"), std::string::npos) << message;
}
