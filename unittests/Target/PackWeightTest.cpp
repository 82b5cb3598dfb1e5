//===- PackWeightTest.cpp - packed weights hold what their types say
//--------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Target/PackWeight.h"

#include "KernelTest.h"
#include "effc/Dialect/Eff/Rounding.h"
#include "mlir/AsmParser/AsmParser.h"
#include "mlir/IR/MLIRContext.h"

#include <cstring>
#include <random>

using namespace effc;

namespace {

class PackWeightTest : public testing::Test {
protected:
  PackWeightTest() : context(mlir::MLIRContext::Threading::DISABLED) {
    context.loadDialect<eff::EffDialect>();
  }

  eff::WeightType typeOf(const std::string &text) {
    return mlir::cast<eff::WeightType>(
        mlir::parseType("!eff.weight<" + text + ">", &context));
  }
  static std::vector<uint8_t>
  pack(eff::WeightType type, const RowSource &source, unsigned threads = 1) {
    // Stale bytes must not survive.
    std::vector<uint8_t> packed(type.getPackedBytes(), 0xa5);
    llvm::cantFail(packWeight(type, source, packed, threads));
    return packed;
  }
  /// A source of rows from `values` [n][k].
  struct Rows {
    const std::vector<float> &values;
    int64_t k;
    void operator()(int64_t n, int64_t count,
                    llvm::MutableArrayRef<float> out) const {
      std::copy(values.begin() + n * k, values.begin() + (n + count) * k,
                out.begin());
    }
  };
  template <class T>
  static T at(const std::vector<uint8_t> &bytes, int64_t offset) {
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof(T));
    return value;
  }
  /// The stored value (n, k), as the layout's functions find it.
  static float valueAt(eff::WeightType type, const std::vector<uint8_t> &bytes,
                       int64_t n, int64_t k) {
    int64_t offset = eff::getValueOffset(type, n, k);
    if (mlir::FloatType format = type.getFloatFormat()) {
      if (format.isF32())
        return at<float>(bytes, offset);
      auto bits = at<uint16_t>(bytes, offset);
      return format.isBF16() ? eff::fromBF16(bits) : eff::fromF16(bits);
    }
    int q = at<int8_t>(bytes, offset);
    if (type.getElementBits() == 4)
      q = static_cast<int8_t>(at<uint8_t>(bytes, offset) >>
                              eff::getValueShift(type, k) << 4) >>
          4;
    return at<float>(bytes, eff::getScaleOffset(type, n, k)) * q;
  }

  mlir::MLIRContext context;
};

TEST_F(PackWeightTest, EveryLayoutHoldsTheRoundedValues) {
  int64_t n = 37, k = 29;
  std::vector<float> values = randomFloats(n * k, 1);
  std::fill(values.begin() + 5 * k, values.begin() + 6 * k,
            0.0f); // a row of zeros
  Rows rows{values, k};
  for (const char *format :
       {"f32", "f32, panel16", "bf16", "bf16, panel32_pair", "f16",
        "f16, panel32_pair", "#eff.int8", "#eff.int8, quad16",
        "#eff.int4<group = 8>", "#eff.int4<group = 8>, nibble16",
        "#eff.int4<group = 16>, nibble16"}) {
    eff::WeightType type = typeOf("37x29, " + std::string(format));
    ASSERT_TRUE(type) << format;
    std::vector<uint8_t> packed = pack(type, RowSource{rows});
    for (int64_t r = 0; r < n; ++r) {
      std::vector<float> expected(values.begin() + r * k,
                                  values.begin() + (r + 1) * k);
      std::vector<int8_t> q(k);
      int64_t group = type.getFloatFormat() ? 0
                      : type.getGroup()     ? type.getGroup()
                                            : k;
      for (int64_t begin = 0; group && begin < k; begin += group) {
        llvm::ArrayRef<float> part =
            llvm::ArrayRef(expected).slice(begin, std::min(group, k - begin));
        float scale = type.getGroup() ? eff::roundInt4(part, q.data())
                                      : eff::roundInt8(part, q.data());
        for (size_t i = 0; i < part.size(); ++i)
          expected[begin + i] = scale * q[i];
      }
      for (int64_t i = 0; i < k; ++i) {
        float e = expected[i];
        if (mlir::FloatType f = type.getFloatFormat())
          e = f.isBF16()  ? eff::fromBF16(eff::toBF16(e))
              : f.isF16() ? eff::fromF16(eff::toF16(e))
                          : e;
        ASSERT_EQ(valueAt(type, packed, r, i), e)
            << format << " (" << r << ", " << i << ")";
      }
    }
  }
}

// unpack(pack(q)) = q: values that are integers times a power of two come back
// as they are, at random shapes.
TEST_F(PackWeightTest, Quamba2Invariant6_PackingRoundTrip) {
  std::mt19937_64 random(6);
  auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  for (int round = 0; round < 12; ++round) {
    int64_t n = pick(1, 150), group = 8 << pick(0, 4), k = pick(1, 20) * 16;
    bool four = round % 2 == 0;
    std::string format = four ? "#eff.int4<group = " + std::to_string(group) +
                                    (round % 4 ? ">" : ">, nibble16")
                         : round % 4 == 1 ? "#eff.int8"
                                          : "#eff.int8, quad16";
    std::vector<float> values(n * k);
    int64_t width = four ? group : k;
    for (int64_t r = 0; r < n; ++r)
      for (int64_t at = 0; at < k; at += width) {
        float scale = std::ldexp(1.0f, int(pick(-6, 6)));
        for (int64_t i = at; i < std::min(at + width, k); ++i)
          values[r * k + i] =
              scale * float(four ? pick(-7, 7) : pick(-127, 127));
        // The value that the scale follows from.
        values[r * k + at] = scale * (four ? -8.0f : 127.0f);
      }
    std::string shape = std::to_string(n) + "x" + std::to_string(k);
    eff::WeightType type = typeOf(shape + ", " + format);
    ASSERT_TRUE(type) << format;
    std::vector<uint8_t> packed =
        pack(type, RowSource{Rows{values, k}}, unsigned(pick(1, 3)));
    for (int64_t r = 0; r < n; ++r)
      for (int64_t i = 0; i < k; ++i)
        ASSERT_EQ(valueAt(type, packed, r, i), values[r * k + i])
            << format << " " << shape << " (" << r << ", " << i << ")";
  }
}

TEST_F(PackWeightTest, GoldenBytes) {
  // One row of 5 values in nibble16: q = 7, -8, 3, 0, 1 with scale 1, two steps
  // of eight k each for one panel.
  std::vector<float> values = {7, -8, 3, 0, 1};
  std::vector<uint8_t> packed =
      pack(typeOf("1x5, #eff.int4<group = 8>, nibble16"),
           RowSource{Rows{values, 5}});
  EXPECT_EQ(at<uint32_t>(packed, 0), 0x00030817u);
  EXPECT_EQ(at<float>(packed, 64), 1.0f);
  // Two columns of quad16, then their scales and sums.
  values = {127, -127, 64, 1, 0, 0, 0, 254};
  packed = pack(typeOf("2x4, #eff.int8, quad16"), RowSource{Rows{values, 4}});
  EXPECT_EQ(at<uint32_t>(packed, 0), 0x0140817fu);
  EXPECT_EQ(at<uint32_t>(packed, 4), 0x7f000000u);
  EXPECT_EQ(at<float>(packed, 64), 1.0f);
  EXPECT_EQ(at<float>(packed, 68), 2.0f);
  EXPECT_EQ(at<int32_t>(packed, 128), 65);
  EXPECT_EQ(at<int32_t>(packed, 132), 127);
  // Columns 0 and 16 share a dword of panel32_pair.
  values.assign(17, 0.0f);
  values[0] = 1;
  values[16] = -2;
  packed = pack(typeOf("17x1, bf16, panel32_pair"), RowSource{Rows{values, 1}});
  EXPECT_EQ(at<uint32_t>(packed, 0), 0xc0003f80u);
}

TEST_F(PackWeightTest, ZeroPointsFollowTheScales) {
  // Two rows of groups of 8, 3 columns in the second.
  std::vector<int8_t> q(2 * 11, 1);
  std::vector<float> scales = {1, 2, 3, 4}, zeros = {5, 6, 7, 8};
  auto none = [](int64_t, int64_t, llvm::MutableArrayRef<float>) {};
  for (const char *format : {"#eff.int4<group = 8, zeros = true>",
                             "#eff.int4<group = 8, zeros = true>, nibble16",
                             "#eff.int8<group = 8, zeros = true>",
                             "#eff.int8<group = 8, zeros = true>, quad16"}) {
    eff::WeightType type = typeOf("2x11, " + std::string(format));
    ASSERT_TRUE(type) << format;
    std::vector<uint8_t> packed =
        pack(type, RowSource{none, {}, {q, scales, zeros}});
    for (int64_t n : {0, 1})
      for (int64_t k : {0, 7, 8, 10}) {
        size_t index = n * 2 + k / 8;
        EXPECT_EQ(at<float>(packed, eff::getScaleOffset(type, n, k)),
                  scales[index]);
        EXPECT_EQ(at<float>(packed, eff::getZeroOffset(type, n, k)),
                  zeros[index]);
        EXPECT_EQ(valueAt(type, packed, n, k), scales[index]);
      }
    if (type.getLayout() == eff::Layout::Quad16)
      EXPECT_EQ(at<int32_t>(packed, eff::getSumOffset(type, 1)), 11);
  }
}

TEST_F(PackWeightTest, PaddingIsZero) {
  std::vector<float> values(3 * 5, 1.0f);
  for (const char *format :
       {"f32, panel16", "bf16, panel32_pair", "#eff.int8, quad16",
        "#eff.int4<group = 8>, nibble16"}) {
    eff::WeightType type = typeOf("3x5, " + std::string(format));
    std::vector<uint8_t> packed = pack(type, RowSource{Rows{values, 5}});
    eff::PackedLayout layout = eff::getPackedLayout(type);
    for (int64_t r = 0; r < layout.rows; ++r)
      for (int64_t i = 0; i < layout.columns; ++i)
        if (r >= 3 || i >= 5)
          EXPECT_EQ(valueAt(type, packed, r, i), 0.0f) << format;
  }
}

TEST_F(PackWeightTest, ThreadsAndVerbatimBitsChangeNothing) {
  int64_t n = 100, k = 9000;
  std::vector<float> values = randomFloats(n * k, 3);
  eff::WeightType type = typeOf("100x9000, bf16, panel32_pair");
  std::vector<uint16_t> bits;
  for (float &v : values)
    bits.push_back(eff::toBF16(v));
  Rows rows{values, k};
  std::vector<uint8_t> packed = pack(type, RowSource{rows});
  EXPECT_EQ(packed, pack(type, RowSource{rows}, 4));
  llvm::ArrayRef<char> verbatim(reinterpret_cast<const char *>(bits.data()),
                                bits.size() * 2);
  EXPECT_EQ(packed, pack(type, RowSource{rows, verbatim}, 3));
}

TEST_F(PackWeightTest, WrongSizeIsAnError) {
  std::vector<float> values(4, 1.0f);
  std::vector<uint8_t> packed(5);
  Rows rows{values, 2};
  EXPECT_NE(
      llvm::toString(packWeight(typeOf("2x2, f32"), RowSource{rows}, packed))
          .find("16 bytes"),
      std::string::npos);
}

} // namespace
