//===- LayoutTest.cpp - sizes and offsets of packed weights ---------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Dialect/Eff/Layout.h"
#include "Model.h"

#include "mlir/AsmParser/AsmParser.h"

#include <set>

using namespace effc::eff;

namespace effc::reference {

class LayoutTest : public testing::Test {
protected:
  LayoutTest() { context.loadDialect<EffDialect>(); }
  WeightType parse(const char *text) {
    return llvm::cast<WeightType>(mlir::parseType(text, &context));
  }
  mlir::MLIRContext context;
};

TEST_F(LayoutTest, SizesFollowTheDescriptions) {
  EXPECT_EQ(parse("!eff.weight<5x7, f32>").getPackedBytes(), 5 * 7 * 4);
  EXPECT_EQ(parse("!eff.weight<9, bf16>").getPackedBytes(), 18);
  EXPECT_EQ(parse("!eff.weight<17x7, f32, panel16>").getPackedBytes(),
            32 * 7 * 4);
  EXPECT_EQ(parse("!eff.weight<33x7, bf16, panel32_pair>").getPackedBytes(),
            2 * 7 * 64);
  EXPECT_EQ(parse("!eff.weight<17x9, #eff.int8, quad16>").getPackedBytes(),
            32 * 12 + 32 * 4 + 32 * 4);
  EXPECT_EQ(parse("!eff.weight<17x130, #eff.int4<group = 64>, nibble16>")
                .getPackedBytes(),
            2 * 17 * 64 + 2 * 3 * 16 * 4);
}

TEST_F(LayoutTest, PartsStartAtMultiplesOf64) {
  for (const char *text :
       {"!eff.weight<5x7, #eff.int8>", "!eff.weight<5x9, #eff.int4<group = 8>>",
        "!eff.weight<5x7, #eff.int8, quad16>",
        "!eff.weight<5x7, #eff.int4, nibble16>"}) {
    PackedLayout packed = getPackedLayout(parse(text));
    EXPECT_EQ(packed.scaleOffset % 64, 0) << text;
    EXPECT_GE(packed.scaleOffset, packed.valueBytes) << text;
    EXPECT_EQ(packed.sumOffset % 64, 0) << text;
  }
}

TEST_F(LayoutTest, OffsetsOfTheDescribedElements) {
  WeightType panel = parse("!eff.weight<40x7, f32, panel16>");
  EXPECT_EQ(getValueOffset(panel, 35, 3), ((2 * 7 + 3) * 16 + 3) * 4);
  WeightType pair = parse("!eff.weight<64x7, bf16, panel32_pair>");
  EXPECT_EQ(getValueOffset(pair, 37, 2), ((7 + 2) * 16 + 5) * 4);
  EXPECT_EQ(getValueOffset(pair, 53, 2), ((7 + 2) * 16 + 5) * 4 + 2);
  WeightType quad = parse("!eff.weight<32x10, #eff.int8, quad16>");
  EXPECT_EQ(getValueOffset(quad, 18, 9), ((3 + 2) * 16 + 2) * 4 + 1);
  EXPECT_EQ(getScaleOffset(quad, 18, 9), 32 * 12 + 18 * 4);
  EXPECT_EQ(getSumOffset(quad, 18), 32 * 12 + 32 * 4 + 18 * 4);
  WeightType nibble =
      parse("!eff.weight<32x24, #eff.int4<group = 8>, nibble16>");
  EXPECT_EQ(getValueOffset(nibble, 18, 13), ((3 + 1) * 16 + 2) * 4 + 1);
  EXPECT_EQ(getValueShift(nibble, 13), 4);
  EXPECT_EQ(getScaleOffset(nibble, 18, 13),
            2 * 3 * 64 + ((3 + 1) * 16 + 2) * 4);
}

// Every value has a place of its own inside the values' bytes.
TEST_F(LayoutTest, PlacesAreDistinct) {
  for (const char *text :
       {"!eff.weight<35x11, f32>", "!eff.weight<35x11, f32, panel16>",
        "!eff.weight<35x11, f16, panel32_pair>",
        "!eff.weight<35x11, #eff.int4>",
        "!eff.weight<35x11, #eff.int8, quad16>",
        "!eff.weight<35x11, #eff.int4, nibble16>"}) {
    WeightType type = parse(text);
    std::set<std::pair<int64_t, int64_t>> places;
    for (int64_t n = 0; n < 35; ++n)
      for (int64_t k = 0; k < 11; ++k) {
        int64_t offset = getValueOffset(type, n, k);
        EXPECT_LT(offset, getPackedLayout(type).valueBytes) << text;
        places.insert({offset, getValueShift(type, k)});
      }
    EXPECT_EQ(places.size(), 35u * 11u) << text;
  }
}

TEST_F(LayoutTest, KernelLayoutsFitTheirFormats) {
  for (const char *format : {"f32", "bf16", "f16", "#eff.int8", "#eff.int4"}) {
    WeightType type =
        parse(("!eff.weight<35x11, " + std::string(format) + ">").c_str());
    Layout layout = getKernelLayout(type.getFormat());
    EXPECT_NE(layout, Layout::RowMajor);
    EXPECT_TRUE(succeeded(WeightType::verify(
        [&] { return mlir::emitError(mlir::UnknownLoc::get(&context)); },
        type.getShape(), type.getFormat(), layout, BasisAttr(), BasisAttr())));
  }
}

} // namespace effc::reference
