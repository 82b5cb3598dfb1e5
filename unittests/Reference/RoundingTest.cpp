//===- RoundingTest.cpp - rounding to weight formats ----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Dialect/Eff/Rounding.h"
#include "Model.h"

#include "llvm/ADT/APFloat.h"

#include <cstring>

using namespace effc::eff;

namespace effc::reference {

static uint64_t convert(float value, const llvm::fltSemantics &semantics) {
  llvm::APFloat number(value);
  bool losesInfo;
  number.convert(semantics, llvm::APFloat::rmNearestTiesToEven, &losesInfo);
  return number.bitcastToAPInt().getZExtValue();
}

// LLVM's software floats are the independent reference; all exponents and both
// signs are met.
TEST(RoundingTest, HalfFormatsAgreeWithSoftwareFloats) {
  uint64_t seed = 1;
  for (int i = 0; i < 200000; ++i) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    uint32_t bits = seed >> 32;
    // Exact ties are rare among random bits.
    if (i % 4 == 0)
      bits = (bits & ~0xffffu) | 0x8000;
    if (i % 4 == 1)
      bits = (bits & ~0x1fffu) | 0x1000;
    float value;
    std::memcpy(&value, &bits, 4);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(fromBF16(toBF16(value))));
      EXPECT_TRUE(std::isnan(fromF16(toF16(value))));
      continue;
    }
    ASSERT_EQ(toBF16(value), convert(value, llvm::APFloat::BFloat())) << value;
    ASSERT_EQ(toF16(value), convert(value, llvm::APFloat::IEEEhalf())) << value;
  }
}

TEST(RoundingTest, HalfFormatsAreReadBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    if (!std::isnan(fromF16(bits))) {
      EXPECT_EQ(toF16(fromF16(bits)), bits);
    }
    if (!std::isnan(fromBF16(bits))) {
      EXPECT_EQ(toBF16(fromBF16(bits)), bits);
    }
  }
  EXPECT_EQ(fromF16(0x0001), std::ldexp(1.0f, -24));
  EXPECT_EQ(fromF16(0x3c00), 1.0f);
}

TEST(RoundingTest, Int8) {
  std::vector<float> row = {254, -1, 1, 3, -127, 0};
  std::vector<int8_t> q(row.size());
  EXPECT_EQ(roundInt8(row, q.data()), 2.0f);
  // Ties go to even.
  EXPECT_EQ(q, (std::vector<int8_t>{127, 0, 0, 2, -64, 0}));
}

TEST(RoundingTest, Int4) {
  std::vector<float> group = {-16, 3, 16, 1, -5, 0, 14, 15};
  std::vector<int8_t> q(group.size());
  EXPECT_EQ(roundInt4(group, q.data()), 2.0f);
  EXPECT_EQ(q, (std::vector<int8_t>{-8, 2, 7, 0, -2, 0, 7, 7}));
  group[0] = 15.5;
  // The largest is positive now: it becomes -8 with a negative scale, and so is
  // exact.
  EXPECT_EQ(roundInt4(group, q.data()), -2.0f);
  EXPECT_EQ(q[2], -8);
}

TEST(RoundingTest, Floats8AgreeWithSoftwareFloats) {
  for (auto [kind, semantics] :
       {std::pair(Float8Kind::E4M3FN, &llvm::APFloat::Float8E4M3FN()),
        std::pair(Float8Kind::E5M2, &llvm::APFloat::Float8E5M2())})
    for (unsigned bits = 0; bits < 256; ++bits) {
      llvm::APFloat exact(*semantics, llvm::APInt(8, bits));
      float value = fromFloat8(kind, static_cast<uint8_t>(bits));
      if (exact.isNaN())
        EXPECT_TRUE(std::isnan(value)) << bits;
      else
        EXPECT_EQ(value, exact.convertToFloat()) << bits;
    }
}

TEST(RoundingTest, ZeroAndNan) {
  std::vector<float> zeros(8, 0.0f);
  std::vector<int8_t> q(8, 1);
  EXPECT_EQ(roundInt8(zeros, q.data()), 0.0f);
  EXPECT_EQ(q, std::vector<int8_t>(8, 0));
  EXPECT_EQ(roundInt4(zeros, q.data()), 0.0f);
  EXPECT_EQ(roundActivations(zeros, q.data()), 1.0f);
  std::vector<float> odd = {1, NAN, -1};
  EXPECT_EQ(roundInt8(odd, q.data()), 1 / 127.0f);
  EXPECT_EQ(q[0], 127);
  EXPECT_EQ(q[1], 0);
}

} // namespace effc::reference
