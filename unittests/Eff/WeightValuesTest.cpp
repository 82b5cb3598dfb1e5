//===- WeightValuesTest.cpp - reading and changing weights ----------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Dialect/Eff/WeightValues.h"
#include "Model.h"
#include "effc/Dialect/Eff/WeightSource.h"

#include "mlir/IR/Verifier.h"

#include <cstdlib>
#include <numeric>

using namespace mlir;
using namespace effc::eff;

namespace effc::reference {
namespace {

WeightOp first(Model &model) {
  return *model.module->getOps<WeightOp>().begin();
}

std::vector<float> valuesOf(WeightOp op) {
  auto values = WeightValues::read(op);
  if (!values) {
    ADD_FAILURE() << llvm::toString(values.takeError());
    return {};
  }
  return values->getValues().vec();
}

TEST(WeightValues, TransposedSourcesAreReadInLogicalOrder) {
  Model model("eff.weight @w transposed : !eff.weight<2x3, bf16> = "
              "dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xbf16>");
  EXPECT_EQ(valuesOf(first(model)), (std::vector<float>{1, 3, 5, 2, 4, 6}));
}

TEST(WeightValues, WhatIsReplacedIsReadBack) {
  // 12 elements are written out, 100 are a resource.
  for (int64_t columns : {6, 50}) {
    std::string shape = "2x" + std::to_string(columns);
    Model model(weight("w", shape, noise(2 * columns, 1)));
    WeightOp op = first(model);
    auto values = WeightValues::read(op);
    ASSERT_TRUE(bool(values));
    EXPECT_EQ(values->getRows(), 2);
    EXPECT_EQ(values->getColumns(), columns);
    values->getRow(1)[2] = 7;
    std::vector<float> changed = values->getValues().vec();
    WeightValues::replace(op, std::move(*values));
    ASSERT_TRUE(succeeded(verify(op)));
    EXPECT_EQ(valuesOf(op), changed);
    EXPECT_EQ(isa<DenseResourceElementsAttr>(*op.getSource()), columns == 50);
    auto source = WeightSource::create(op);
    ASSERT_TRUE(bool(source));
    EXPECT_FALSE(source->getVerbatim().empty());
  }
}

TEST(WeightValues, NamesOfResourcesAreDeterministic) {
  std::string texts[2];
  for (std::string &text : texts) {
    Model model(weight("w", "2x50", noise(100, 1)));
    for (int i = 0; i < 2; ++i) {
      auto values = WeightValues::read(first(model));
      ASSERT_TRUE(bool(values));
      WeightValues::replace(first(model), std::move(*values));
    }
    llvm::raw_string_ostream(text) << *model.module;
  }
  EXPECT_EQ(texts[0], texts[1]);
  EXPECT_NE(texts[0].find("w.f32_1"), std::string::npos) << texts[0];
}

TEST(WeightValues, FilledWeightsHaveOneValue) {
  Model model(weight("w", "4", noise(4, 1)));
  fillWeight(first(model), 1);
  ASSERT_TRUE(succeeded(verify(first(model))));
  EXPECT_EQ(valuesOf(first(model)), std::vector<float>(4, 1));
}

TEST(WeightValues, IntegersOfAPassComeBackScaled) {
  Model model("eff.weight @w : !eff.weight<2x10, #eff.int4<group = 8>> = "
              "dense<0.5> : tensor<2x10xf32>");
  std::vector<int8_t> q(20);
  std::iota(q.begin(), q.end(), -8);
  for (int8_t &value : q)
    value = std::min<int8_t>(value, 7);
  ASSERT_FALSE(bool(
      setQuantizedValues(first(model), q, std::vector<float>{1, 2, 4, 8})));
  ASSERT_TRUE(succeeded(verify(first(model))));
  std::vector<float> values = valuesOf(first(model));
  ASSERT_EQ(values.size(), 20u);
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(values[i], float(q[i]) * float(1 << (i / 10 * 2 + i % 10 / 8)));
  // New values end the integers.
  fillWeight(first(model), 0);
  EXPECT_FALSE(first(model).getQuantized());
}

TEST(WeightValues, Floats8OfAFileComeBackScaled) {
  // 1, -2, the largest number, the smallest one.
  for (auto [kind, bytes, wanted] :
       {std::tuple("e4m3fn", "[[56, -64, 126, 1]]",
                   std::vector<float>{0.5, -1, 224, 0.0009765625}),
        std::tuple("e5m2", "[[60, -64, 123, 1]]",
                   std::vector<float>{0.5, -1, 28672, 7.62939453125e-06})}) {
    Model model("eff.weight @w : !eff.weight<1x4, #eff.float8<" +
                std::string(kind) + ">> {pinned, quantized = dense<" + bytes +
                "> : tensor<1x4xi8>, scales = dense<0.5> : tensor<1xf32>}");
    EXPECT_EQ(valuesOf(first(model)), wanted) << kind;
  }
}

TEST(WeightValues, IntegersThatDoNotFitAreRefused) {
  Model model(weight("w", "2x10", noise(20, 1)));
  std::vector<int8_t> q(20);
  // A float format, then a group too few.
  std::string text =
      llvm::toString(setQuantizedValues(first(model), q, {1, 2}));
  EXPECT_NE(text.find("EFF0204"), std::string::npos) << text;
  WeightType type = first(model).getType();
  first(model).setType(type.withFormat(Int4Attr::get(&model.context, 8)));
  text = llvm::toString(setQuantizedValues(first(model), q, {1, 2}));
  EXPECT_NE(text.find("20 integers and 2 scales"), std::string::npos) << text;
}

TEST(WeightValues, AbsentValuesAreAnError) {
  Model model("eff.weight @w : !eff.weight<2x3, f32>");
  auto values = WeightValues::read(first(model));
  ASSERT_FALSE(bool(values));
  EXPECT_NE(llvm::toString(values.takeError()).find("has no values"),
            std::string::npos);
}

TEST(WeightValues, LargeBuffersAreMappedFiles) {
  MLIRContext context;
  auto buffer = ValueBuffer::create(400, /*limit=*/400);
  ASSERT_TRUE(bool(buffer));
  llvm::MutableArrayRef<float> values = buffer->as<float>();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(values.data()) % 4096, 0u);
  EXPECT_EQ(values.vec(), std::vector<float>(100, 0));
  std::iota(values.begin(), values.end(), 0.0f);
  auto type = RankedTensorType::get(100, Float32Type::get(&context));
  auto attr = cast<DenseResourceElementsAttr>(
      ValueBuffer::toAttr(std::move(*buffer), type, "w"));
  auto back = cast<DenseF32ResourceElementsAttr>(attr).tryGetAsArrayRef();
  ASSERT_TRUE(back);
  EXPECT_EQ((*back)[99], 99.0f);
}

TEST(WeightValues, AFolderWithoutRoomIsAnError) {
  const char *old = std::getenv("TMPDIR");
  std::string kept = old ? old : "";
  ::setenv("TMPDIR", "/proc/no-such-folder", 1);
  auto buffer = ValueBuffer::create(400, /*limit=*/400);
  if (kept.empty())
    ::unsetenv("TMPDIR");
  else
    ::setenv("TMPDIR", kept.c_str(), 1);
  ASSERT_FALSE(bool(buffer));
  std::string text = llvm::toString(buffer.takeError());
  EXPECT_NE(text.find("EFF0103"), std::string::npos) << text;
  EXPECT_NE(text.find("TMPDIR"), std::string::npos) << text;
}

TEST(WeightValues, VectorsAreDeclaredUnderNamesThatAreFree) {
  Model model(weight("w", "2x3", noise(6, 1)));
  SymbolTable symbols(*model.module);
  for (const char *name : {"w.scale", "w.scale_0"}) {
    auto op = createWeightVector(symbols, first(model), "w.scale", {1, 2, 3});
    ASSERT_TRUE(bool(op));
    EXPECT_EQ(op->getSymName(), name);
    EXPECT_EQ(valuesOf(*op), (std::vector<float>{1, 2, 3}));
  }
  EXPECT_TRUE(succeeded(verify(*model.module)));
}

} // namespace
} // namespace effc::reference
