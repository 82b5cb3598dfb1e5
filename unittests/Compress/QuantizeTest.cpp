//===- QuantizeTest.cpp - integer formats and rounding to them ------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Compress/Quantize.h"

#include "TestUtils.h"

#include <Eigen/Core>

#include <cfenv>

using namespace effc::compress;
using namespace effc::compress::test;

namespace {

WeightFormat formatOf(int bits, Granularity granularity, int64_t group = 32,
                      ScaleType type = ScaleType::F32) {
  WeightFormat format;
  format.bits = bits;
  format.granularity = granularity;
  format.group = group;
  format.scaleType = type;
  return format;
}

std::vector<float> withOutliers(Random &random, int64_t rows, int64_t cols) {
  auto w = normal(random, rows * cols);
  for (int64_t j = 0; j < cols; j += 17)
    for (int64_t i = 0; i < rows; ++i)
      w[i * cols + j] *= 20;
  return w;
}

TEST(Quantize, RoundsHalfToEvenAndSaturates) {
  ASSERT_EQ(std::fegetround(), FE_TONEAREST);
  EXPECT_EQ(roundInto(0.5f, -128, 127), 0);
  EXPECT_EQ(roundInto(1.5f, -128, 127), 2);
  EXPECT_EQ(roundInto(-0.5f, -128, 127), 0);
  EXPECT_EQ(roundInto(-2.5f, -128, 127), -2);
  EXPECT_EQ(roundInto(0.49999997f, -128, 127), 0);
  EXPECT_EQ(roundInto(2.5f, -128, 127, Rounding::HalfAway), 3);
  EXPECT_EQ(roundInto(-2.5f, -128, 127, Rounding::HalfAway), -3);
  EXPECT_EQ(roundInto(std::nanf(""), -128, 127), 0);
  EXPECT_EQ(roundInto(std::nanf(""), -128, 127, Rounding::HalfAway), 0);
  Random random(1);
  for (int trial = 0; trial < 20000; ++trial) {
    float x = normal(random, 1, 60)[0];
    if (trial % 2)
      x = std::floor(x) + 0.5f;
    EXPECT_EQ(roundInto(x, -128, 127),
              std::min(127.0f, std::max(-128.0f, std::nearbyint(x))));
  }
}

TEST(Quantize, QuambaInvariant8_WritersSaturate) {
  for (float x : {1e3f, 1e9f, 1e30f, INFINITY}) {
    EXPECT_EQ(quantizeInt8(x, 1), 127);
    EXPECT_EQ(quantizeInt8(-x, 1), -128);
    int8_t q[2];
    float values[2] = {x, -x};
    quantizeWith(Span<const float>(values, 2), 0.5f, q);
    EXPECT_EQ(q[0], 127);
    EXPECT_EQ(q[1], -128);
  }
  EXPECT_EQ(requantizeInt8(INT32_MAX, 1), 127);
  EXPECT_EQ(requantizeInt8(INT32_MIN, 1), -128);
  EXPECT_EQ(requantizeInt8(5, 0.5f), 2);
}

TEST(Quantize, HalfFloatsAreThoseOfIeee) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    float value = fromF16(uint16_t(bits));
    if (std::isnan(value))
      continue;
    ASSERT_EQ(toF16(value), bits);
    // Halfway to the next larger magnitude goes to the even neighbour.
    if ((bits & 0x7fff) < 0x7bff) {
      float next = fromF16(uint16_t(bits + 1));
      ASSERT_EQ(toF16((value + next) / 2), bits % 2 ? bits + 1 : bits);
    }
  }
}

TEST(Quantize, ErrorsStayWithinHalfAStep) {
  Random random(2);
  for (int bits : {4, 8})
    for (Granularity granularity : {Granularity::Tensor, Granularity::Row,
                                    Granularity::Column, Granularity::Group})
      for (ScaleType type : {ScaleType::F32, ScaleType::F16}) {
        int64_t rows = between(random, 1, 40), cols = between(random, 1, 100);
        auto w = withOutliers(random, rows, cols);
        auto format = formatOf(bits, granularity, between(random, 1, 40), type);
        QuantizedMatrix q =
            get(roundToNearest(constView(w, rows, cols), format, onThreads(2)));
        ASSERT_EQ(int64_t(q.scales.size()), q.numScales());
        for (int64_t i = 0; i < rows; ++i)
          for (int64_t j = 0; j < cols; ++j) {
            float scale = q.scales[q.scaleIndex(i, j)];
            // 4 bit: the positive extreme is 7.5 steps, and 7 the last level.
            ASSERT_LE(std::fabs(w[i * cols + j] - q.at(i, j)),
                      scale * 0.5001f +
                          4e-3f * scale * (type == ScaleType::F16));
          }
        if (type == ScaleType::F16)
          for (float scale : q.scales)
            ASSERT_EQ(fromF16(toF16(scale)), scale);
        // The same for any number of threads.
        EXPECT_EQ(get(roundToNearest(constView(w, rows, cols), format)).q, q.q);
      }
}

TEST(Quantize, FinerScalesLoseLess) {
  Random random(3);
  int64_t rows = 64, cols = 256;
  auto w = normal(random, rows * cols);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < cols; ++j)
      w[i * cols + j] *= float(1 + i) * (j / 32 % 2 ? 8 : 1);
  auto error = [&](Granularity granularity) {
    auto q =
        get(roundToNearest(constView(w, rows, cols), formatOf(4, granularity)));
    return get(relativeError(constView(w, rows, cols),
                             constView(q.dequantize(), rows, cols)));
  };
  EXPECT_LT(error(Granularity::Group), error(Granularity::Row));
  EXPECT_LT(error(Granularity::Row), error(Granularity::Tensor));
}

TEST(Quantize, ScaleRules) {
  std::vector<float> w = {0.5f, -3, 1, 3};
  auto format = formatOf(4, Granularity::Row);
  EXPECT_EQ(chooseScale(w, format), 3.0f * 2 / 15);
  format.rule = ScaleRule::Exact;
  // The first of the largest magnitudes is -8 steps.
  EXPECT_EQ(chooseScale(w, format), -3.0f / -8);
  auto q = get(roundToNearest(constView(w, 1, 4), format));
  EXPECT_EQ(q.q, (std::vector<int8_t>{1, -8, 3, 7}));
  EXPECT_EQ(q.at(0, 1), -3);
  EXPECT_EQ(chooseScale(w, formatOf(8, Granularity::Row)), 3.0f / 127);
  std::vector<float> zeros(4);
  auto z = get(
      roundToNearest(constView(zeros, 1, 4), formatOf(8, Granularity::Row)));
  EXPECT_EQ(z.scales[0], 0);
  EXPECT_EQ(z.dequantize(), zeros);
  auto floored = formatOf(8, Granularity::Row);
  floored.scaleFloor = 1e-6f;
  EXPECT_EQ(chooseScale(zeros, floored), 1e-6f);
}

TEST(Quantize, ClipSearchNeverLosesAndHelpsWithOutliers) {
  Random random(4);
  double gain = 0;
  for (int trial = 0; trial < 20; ++trial) {
    auto w = normal(random, 128);
    w[5] = 5;
    auto format = formatOf(4, Granularity::Group, 128);
    auto plain = get(roundToNearest(constView(w, 1, 128), format));
    format.clip.steps = 40;
    format.clip.least = 0.3;
    auto clipped = get(roundToNearest(constView(w, 1, 128), format));
    double before = get(sqnr(w, plain.dequantize()));
    double after = get(sqnr(w, clipped.dequantize()));
    EXPECT_GE(after, before);
    EXPECT_LT(clipped.scales[0], plain.scales[0]);
    gain += (after - before) / 20;
  }
  EXPECT_GT(gain, 0.3);
}

TEST(Quantize, QuambaInvariant3_FoldedMultiplierEqualsDequantisedProduct) {
  Random random(5);
  for (int trial = 0; trial < 10; ++trial) {
    int64_t k = between(random, 1, 300), n = between(random, 1, 40);
    auto x = normal(random, k), w = normal(random, n * k);
    auto weights =
        get(roundToNearest(constView(w, n, k), formatOf(8, Granularity::Row)));
    std::vector<int8_t> qx(k);
    float sx = quantizeToken(x, qx.data());
    float out = 0.05f * std::sqrt(float(k));
    for (int64_t i = 0; i < n; ++i) {
      int32_t sum = 0;
      double exact = 0;
      for (int64_t j = 0; j < k; ++j) {
        sum += int32_t(qx[j]) * weights.q[i * k + j];
        exact += double(sx) * qx[j] * double(weights.at(i, j));
      }
      int8_t folded = requantizeInt8(sum, sx * weights.scales[i] / out);
      int8_t unfolded = quantizeInt8(float(exact), out);
      ASSERT_LE(std::abs(folded - unfolded), 1);
      // The same rounding of the same quotient.
      ASSERT_EQ(folded,
                int8_t(std::clamp(
                    std::nearbyint(float(sum) * (sx * weights.scales[i] / out)),
                    -128.0f, 127.0f)));
    }
  }
}

TEST(Quantize, QuambaInvariant7_TokensDoNotSeeEachOther) {
  Random random(6);
  int64_t tokens = 20, k = 33;
  auto x = normal(random, tokens * k), y = x;
  int64_t changed = 11;
  for (int64_t j = 0; j < k; ++j)
    y[changed * k + j] *= 1000;
  for (int64_t t = 0; t < tokens; ++t) {
    std::vector<int8_t> a(k), b(k);
    float sa = quantizeToken(Span<const float>(&x[t * k], k), a.data());
    float sb = quantizeToken(Span<const float>(&y[t * k], k), b.data());
    if (t != changed) {
      EXPECT_EQ(a, b);
      EXPECT_EQ(sa, sb);
    }
  }
  std::vector<float> zeros(3);
  int8_t q[3];
  EXPECT_EQ(quantizeToken(zeros, q), 1);
}

//===----------------------------------------------------------------------===//
// Two levels
//===----------------------------------------------------------------------===//

TEST(Quantize, Quamba2Invariant7_TwoLevelsStayInRangeAndMultiplyExactly) {
  Random random(7);
  for (int trial = 0; trial < 20; ++trial) {
    int64_t rows = between(random, 1, 20), group = between(random, 1, 64),
            cols = group * between(random, 2, 5) + between(random, 0, 3);
    auto w = withOutliers(random, rows, cols);
    if (trial == 0)
      std::fill_n(w.begin(), cols, 0.0f);
    auto q = get(
        roundToNearest(constView(w, rows, cols),
                       formatOf(4, Granularity::Group, group,
                                trial % 2 ? ScaleType::F16 : ScaleType::F32)));
    TwoLevelMatrix two = get(toTwoLevel(q));
    ASSERT_FALSE(two.singleLevel);
    std::vector<int8_t> x(cols);
    for (int8_t &value : x)
      value = int8_t(between(random, -128, 127));
    auto multipliers = get(two.multipliers(0.25f, {}));
    for (int64_t i = 0; i < rows; ++i) {
      int32_t sum = 0;
      double wanted = 0;
      for (int64_t j = 0; j < cols; ++j) {
        int8_t t = two.expanded(i, j);
        ASSERT_GE(t, -127);
        // The kernel's form: q r + 1152 in f16, whose last mantissa bit is
        // worth 1, is t + 1152.
        float r = fromF16(two.r[i * two.groupsPerRow() + j / group]);
        float magic = fromF16(toF16(float(two.q[i * cols + j]) * r + 1152));
        ASSERT_EQ(magic - 1152, float(t));
        // One step of c: half from this rounding and what r in f16 adds.
        ASSERT_LE(std::fabs(two.at(i, j) - q.at(i, j)),
                  two.channel[i] * (0.5f + 127.0f / 2048));
        sum += int32_t(t) * x[j];
        wanted += double(t) * x[j];
      }
      ASSERT_EQ(double(sum), wanted);
      ASSERT_EQ(multipliers[i], 0.25f * two.channel[i]);
    }
    std::vector<float> out(rows, 0.5f);
    auto folded = get(two.multipliers(0.25f, out));
    for (int64_t i = 0; i < rows; ++i)
      ASSERT_EQ(folded[i], 2 * multipliers[i]);
  }
}

TEST(Quantize, Quamba2Invariant7_OneLevelIsTheHighNibble) {
  Random random(8);
  auto w = normal(random, 5 * 96);
  for (auto format :
       {formatOf(4, Granularity::Row), formatOf(4, Granularity::Group, 128)}) {
    auto q = get(roundToNearest(constView(w, 5, 96), format));
    TwoLevelMatrix two = get(toTwoLevel(q));
    EXPECT_TRUE(two.singleLevel);
    // Scaling by 16 and back is exact.
    EXPECT_EQ(two.dequantize(), q.dequantize());
    EXPECT_EQ(two.expanded(1, 2), 16 * q.q[96 + 2]);
  }
}

TEST(Quantize, SecondLevelCostsLittle) {
  Random random(9);
  int64_t rows = 64, cols = 512;
  auto w = normal(random, rows * cols);
  auto q = get(roundToNearest(constView(w, rows, cols),
                              formatOf(4, Granularity::Group, 128)));
  double one = get(sqnr(w, q.dequantize()));
  double both = get(sqnr(w, get(toTwoLevel(q)).dequantize()));
  EXPECT_LT(both, one);
  EXPECT_GT(both, one - 0.2);
}

//===----------------------------------------------------------------------===//
// Percentiles and errors
//===----------------------------------------------------------------------===//

TEST(Quantize, QuantileInterpolatesBetweenTheNearest) {
  std::vector<float> x = {-4, 1, -2, 3};
  EXPECT_EQ(get(absQuantile(x, 0)), 1);
  EXPECT_EQ(get(absQuantile(x, 1)), 4);
  EXPECT_EQ(get(absQuantile(x, 0.5)), 2.5f);
  EXPECT_FLOAT_EQ(get(absQuantile(x, 0.9)), 3.7f);
  Random random(10);
  for (int trial = 0; trial < 20; ++trial) {
    auto values = normal(random, between(random, 1, 400));
    double alpha = double(between(random, 0, 1000)) / 1000;
    auto sorted = values;
    for (float &value : sorted)
      value = std::fabs(value);
    std::sort(sorted.begin(), sorted.end());
    double position = alpha * double(sorted.size() - 1);
    size_t low = size_t(position), high = std::min(low + 1, sorted.size() - 1);
    EXPECT_FLOAT_EQ(get(absQuantile(values, alpha)),
                    float(sorted[low] + (position - double(low)) *
                                            (sorted[high] - sorted[low])));
  }
}

TEST(Quantize, RunningPercentileWeighsTheFirstSampleMost) {
  RunningPercentile running;
  running.alpha = 1;
  EXPECT_OK(running.add(std::vector<float>{-10, 1}));
  EXPECT_EQ(running.value, 10);
  EXPECT_OK(running.add(std::vector<float>{20}));
  EXPECT_DOUBLE_EQ(running.value, 10.1);
  for (int i = 2; i < 512; ++i)
    EXPECT_OK(running.add(std::vector<float>{0}));
  // 0.99^510 of what the first two left.
  EXPECT_NEAR(running.value, 10.1 * std::pow(0.99, 510), 1e-12);
  EXPECT_EQ(running.scale(), float(running.value / 127));
  running.value = 0;
  EXPECT_EQ(running.scale(), 1e-6f);
}

TEST(Quantize, Metrics) {
  std::vector<float> a = {3, 4}, b = {3, 3.5f};
  EXPECT_DOUBLE_EQ(get(sqnr(a, b)), 10 * std::log10(100.0));
  EXPECT_EQ(get(sqnr(a, a)), INFINITY);
  EXPECT_DOUBLE_EQ(get(relativeError(constView(a, 1, 2), constView(b, 1, 2))),
                   0.1);
  // The inputs' second moments decide what an error costs.
  std::vector<float> h = {5, 0, 0, 2};
  EXPECT_NEAR(get(outputError(constView(a, 1, 2), constView(b, 1, 2),
                              constView(h, 2, 2))),
              0.25 * 2 / (9 * 5 + 16 * 2), 1e-7);
}

TEST(Quantize, BadInputsAreErrors) {
  std::vector<float> w(12, 1.0f);
  auto matrix = constView(w, 3, 4);
  auto check = [&](WeightFormat format, const char *code) {
    EXPECT_ERROR(roundToNearest(matrix, format), code);
  };
  check(formatOf(3, Granularity::Row), "EFF0411");
  check(formatOf(4, Granularity::Group, 0), "EFF0411");
  auto format = formatOf(8, Granularity::Row);
  format.rule = ScaleRule::Exact;
  check(format, "EFF0411");
  format = formatOf(8, Granularity::Row);
  format.clip.steps = 0;
  check(format, "EFF0411");
  format.clip = {3, 0};
  check(format, "EFF0411");
  format = formatOf(8, Granularity::Row);
  format.scaleFloor = std::nanf("");
  check(format, "EFF0411");
  EXPECT_ERROR(roundToNearest(constView(w, 0, 4), {}), "EFF0410");
  EXPECT_ERROR(roundToNearest(MatrixView<const float>(w.data(), 3, 4, 2), {}),
               "EFF0410");
  auto huge = std::vector<float>(4, 1e9f);
  EXPECT_ERROR(
      roundToNearest(constView(huge, 1, 4),
                     formatOf(8, Granularity::Row, 32, ScaleType::F16)),
      "EFF0412");
  w[5] = std::nanf("");
  check(formatOf(8, Granularity::Row), "EFF0412");
  EXPECT_ERROR(absQuantile(w, 0.5), "EFF0412");
  EXPECT_ERROR(absQuantile({}, 0.5), "EFF0412");
  EXPECT_ERROR(absQuantile(huge, 1.5), "EFF0411");
  RunningPercentile running;
  running.sigma = 0;
  EXPECT_ERROR(running.add(huge), "EFF0411");

  auto eight =
      get(roundToNearest(constView(huge, 1, 4), formatOf(8, Granularity::Row)));
  EXPECT_ERROR(toTwoLevel(eight), "EFF0411");
  auto columns = get(
      roundToNearest(constView(huge, 1, 4), formatOf(4, Granularity::Column)));
  EXPECT_ERROR(toTwoLevel(columns), "EFF0411");
  auto two = get(toTwoLevel(get(
      roundToNearest(constView(huge, 1, 4), formatOf(4, Granularity::Row)))));
  EXPECT_ERROR(two.multipliers(1, std::vector<float>(2)), "EFF0410");
  EXPECT_ERROR(two.multipliers(1, std::vector<float>(1)), "EFF0412");
  EXPECT_ERROR(sqnr(huge, w), "EFF0410");
  EXPECT_ERROR(relativeError(constView(huge, 1, 4), constView(huge, 2, 2)),
               "EFF0410");
  EXPECT_ERROR(outputError(constView(huge, 1, 4), constView(huge, 1, 4),
                           constView(huge, 2, 2)),
               "EFF0410");
}

} // namespace
