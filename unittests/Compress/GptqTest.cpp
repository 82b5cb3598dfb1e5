//===- GptqTest.cpp - rounding with error feedback ------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Compress/Gptq.h"

#include "TestUtils.h"

#include <Eigen/Dense>

using namespace effc::compress;
using namespace effc::compress::test;

namespace {

using Dense =
    Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

WeightFormat formatOf(int bits, Granularity granularity, int64_t group = 32) {
  WeightFormat format;
  format.bits = bits;
  format.granularity = granularity;
  format.group = group;
  return format;
}

/// Inputs whose channels are correlated and of very different size, as those of
/// a layer.
std::vector<float> layerInputs(Random &random, int64_t rows, int64_t channels) {
  int64_t rank = std::max<int64_t>(1, channels / 4);
  auto factors = normal(random, rows * rank),
       loadings = normal(random, channels * rank, 1 / std::sqrt(double(rank)));
  auto x = multiply(factors, loadings, rank, channels);
  auto noise = normal(random, rows * channels, 0.3);
  auto gains = normal(random, channels, 0.7);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < channels; ++j)
      x[i * channels + j] =
          (x[i * channels + j] + noise[i * channels + j]) * std::exp(gains[j]);
  return x;
}

std::vector<float> hessianOf(const std::vector<float> &x, int64_t channels) {
  Hessian hessian = get(Hessian::create(channels));
  EXPECT_OK(hessian.add(constView(x, x.size() / channels, channels)));
  return get(hessian.getMatrix());
}

/// The method as it was first written down: one column at a time, all columns
/// to the right at once, and the inverse of the Hessian of what remains kept
/// explicitly. In double.
struct Literal {
  std::vector<int8_t> q;
  std::vector<float> scales;
  double loss = 0;
};
Literal literalGptq(const std::vector<float> &weights, const Dense &h,
                    int64_t rows, int64_t cols, const WeightFormat &format) {
  Literal result;
  bool grouped = format.granularity == Granularity::Group;
  int64_t group = grouped ? format.group : cols;
  int64_t groups = (cols + group - 1) / group;
  result.q.resize(rows * cols);
  result.scales.resize(rows * groups);
  Dense w(rows, cols), inverse = h.inverse();
  for (int64_t i = 0; i < rows * cols; ++i)
    w.data()[i] = weights[i];
  for (int64_t i = 0; i < cols; ++i) {
    double d = inverse(i, i);
    for (int64_t r = 0; r < rows; ++r) {
      float &scale = result.scales[r * groups + i / group];
      if (i % group == 0) {
        std::vector<float> values;
        for (int64_t j = i; j < std::min(cols, i + group); ++j)
          values.push_back(float(w(r, j)));
        scale = chooseScale(values, format);
      }
      double q = std::clamp(std::nearbyint(w(r, i) / scale),
                            double(format.low()), double(format.high()));
      result.q[r * cols + i] = int8_t(q);
      double error = (w(r, i) - q * scale) / d;
      result.loss += error * error * d;
      for (int64_t j = i; j < cols; ++j)
        w(r, j) -= error * inverse(i, j);
    }
    // Column i leaves the problem.
    Eigen::VectorXd column = inverse.col(i);
    inverse -= column * column.transpose() / d;
  }
  return result;
}

TEST(Gptq, IsTheLiteralMethod) {
  Random random(1);
  for (int trial = 0; trial < 12; ++trial) {
    int64_t rows = between(random, 1, 20), cols = between(random, 2, 150);
    auto w = normal(random, rows * cols, 0.05);
    auto h = hessianOf(layerInputs(random, 400, cols), cols);
    GptqOptions options;
    options.format =
        trial % 2 ? formatOf(4, Granularity::Group, between(random, 1, 70))
                  : formatOf(trial % 4 ? 8 : 4, Granularity::Row);
    options.block = between(random, 1, 64);
    GptqResult result =
        get(gptq(constView(w, rows, cols), constView(h, cols, cols), options));
    Dense damped(cols, cols);
    for (int64_t i = 0; i < cols * cols; ++i)
      damped.data()[i] = h[i];
    damped += 0.01 * damped.diagonal().mean() * Dense::Identity(cols, cols);
    Literal literal = literalGptq(w, damped, rows, cols, options.format);
    EXPECT_NEAR(result.loss / literal.loss, 1, 0.02);
    EXPECT_FALSE(result.usedDouble);
    // f32 may decide a near tie otherwise, after which a row goes its own way;
    // few do.
    int64_t different = 0;
    for (int64_t i = 0; i < rows * cols; ++i)
      different += result.weights.q[i] != literal.q[i];
    EXPECT_LE(different, rows * cols / 50 + 2) << rows << " x " << cols;
    // The reported loss is tr(E H E^T).
    Dense error(rows, cols);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < cols; ++j)
        error(i, j) = double(w[i * cols + j]) - result.weights.at(i, j);
    double trace = (error * damped * error.transpose()).trace();
    EXPECT_NEAR(result.loss / trace, 1, 1e-2);
  }
}

TEST(Gptq, LosesLessThanRoundingToNearest) {
  Random random(2);
  int64_t rows = 96, cols = 256;
  auto w = normal(random, rows * cols, 0.05);
  auto h = hessianOf(layerInputs(random, 1024, cols), cols);
  auto matrix = constView(w, rows, cols);
  auto moments = constView(h, cols, cols);
  for (auto format :
       {formatOf(4, Granularity::Row), formatOf(4, Granularity::Group, 128),
        formatOf(8, Granularity::Row)}) {
    GptqOptions options;
    options.format = format;
    auto error = [&](const QuantizedMatrix &q) {
      return get(
          outputError(matrix, constView(q.dequantize(), rows, cols), moments));
    };
    double nearest = error(get(roundToNearest(matrix, format)));
    double feedback = error(get(gptq(matrix, moments, options)).weights);
    EXPECT_LT(feedback, 0.5 * nearest);
    // Clipping is weighed by the plain error, so it need not win; it must not
    // break.
    options.format.clip = {20, 0.6};
    EXPECT_LT(error(get(gptq(matrix, moments, options)).weights), nearest);
  }
}

TEST(Gptq, WithAnIdentityHessianIsRoundingToNearest) {
  Random random(3);
  int64_t rows = 70, cols = 96;
  auto w = normal(random, rows * cols);
  std::vector<float> h(cols * cols);
  for (int64_t i = 0; i < cols; ++i)
    h[i * cols + i] = 2;
  for (auto format :
       {formatOf(4, Granularity::Group), formatOf(8, Granularity::Row)}) {
    GptqOptions options;
    options.format = format;
    auto matrix = constView(w, rows, cols);
    auto result = get(gptq(matrix, constView(h, cols, cols), options));
    auto nearest = get(roundToNearest(matrix, format));
    EXPECT_EQ(result.weights.q, nearest.q);
    EXPECT_EQ(result.weights.scales, nearest.scales);
  }
}

TEST(Gptq, EqualForAnyNumberOfThreads) {
  Random random(4);
  int64_t rows = 300, cols = 280;
  auto w = normal(random, rows * cols);
  auto x = layerInputs(random, 500, cols);
  auto run = [&](unsigned threads) {
    Hessian hessian = get(Hessian::create(cols));
    EXPECT_OK(hessian.add(view(x, 500, cols), onThreads(threads)));
    auto h = get(hessian.getMatrix(onThreads(threads)));
    GptqOptions options;
    options.format = formatOf(4, Granularity::Group, 64);
    return get(gptq(constView(w, rows, cols), constView(h, cols, cols), options,
                    onThreads(threads)));
  };
  GptqResult one = run(1);
  for (unsigned threads : {2, 3, 8}) {
    GptqResult many = run(threads);
    EXPECT_EQ(one.weights.q, many.weights.q);
    EXPECT_EQ(one.weights.scales, many.weights.scales);
    EXPECT_EQ(one.loss, many.loss);
  }
}

TEST(Gptq, BlockSizeChangesRoundingErrorsOnly) {
  Random random(5);
  int64_t rows = 40, cols = 200;
  auto w = normal(random, rows * cols);
  auto h = hessianOf(layerInputs(random, 500, cols), cols);
  double first = 0;
  // Groups larger and smaller than a block, and of no common measure.
  for (int64_t block : {1, 7, 48, 96, 128, 200, 300}) {
    GptqOptions options;
    options.format = formatOf(4, Granularity::Group, 48);
    options.block = block;
    auto result =
        get(gptq(constView(w, rows, cols), constView(h, cols, cols), options));
    if (first == 0)
      first = result.loss;
    EXPECT_NEAR(result.loss / first, 1, 0.02) << block;
  }
}

TEST(Gptq, ActivationOrderIsAPermutationOfTheInputs) {
  Random random(6);
  int64_t rows = 48, cols = 160;
  auto w = normal(random, rows * cols);
  auto h = hessianOf(layerInputs(random, 500, cols), cols);
  auto matrix = constView(w, rows, cols);
  auto moments = constView(h, cols, cols);
  GptqOptions options;
  options.format = formatOf(4, Granularity::Group);
  options.activationOrder = true;
  GptqResult ordered = get(gptq(matrix, moments, options));
  ASSERT_FALSE(ordered.order.isIdentity());
  for (int64_t j = 1; j < cols; ++j) {
    int64_t a = ordered.order[j - 1], b = ordered.order[j];
    EXPECT_GE(h[a * cols + a], h[b * cols + b]);
  }
  // The same as plain GPTQ on permuted weights and inputs.
  auto permuted = w, permutedH = h;
  EXPECT_OK(ordered.order.applyToColumns(view(permuted, rows, cols)));
  EXPECT_OK(ordered.order.applyToColumns(view(permutedH, cols, cols)));
  EXPECT_OK(ordered.order.applyToRows(view(permutedH, cols, cols)));
  options.activationOrder = false;
  GptqResult plain = get(gptq(constView(permuted, rows, cols),
                              constView(permutedH, cols, cols), options));
  EXPECT_EQ(ordered.weights.q, plain.weights.q);
  EXPECT_EQ(ordered.weights.scales, plain.weights.scales);

  // With one scale per row nothing needs to move.
  options.format = formatOf(4, Granularity::Row);
  options.activationOrder = true;
  GptqResult rowwise = get(gptq(matrix, moments, options));
  EXPECT_TRUE(rowwise.order.isIdentity());
  double error = get(outputError(
      matrix, constView(rowwise.weights.dequantize(), rows, cols), moments));
  double nearest = get(outputError(
      matrix,
      constView(get(roundToNearest(matrix, options.format)).dequantize(), rows,
                cols),
      moments));
  EXPECT_LT(error, 0.5 * nearest);
}

TEST(Gptq, DeadColumnsBecomeZero) {
  Random random(7);
  int64_t rows = 10, cols = 64;
  auto w = normal(random, rows * cols);
  auto x = layerInputs(random, 300, cols);
  for (int64_t t = 0; t < 300; ++t)
    x[t * cols + 9] = x[t * cols + 40] = 0;
  auto h = hessianOf(x, cols);
  GptqOptions options;
  options.format = formatOf(4, Granularity::Group);
  auto result =
      get(gptq(constView(w, rows, cols), constView(h, cols, cols), options));
  EXPECT_EQ(result.deadColumns, 2);
  for (int64_t i = 0; i < rows; ++i)
    EXPECT_EQ(result.weights.at(i, 9), 0);
  options.activationOrder = true;
  auto ordered =
      get(gptq(constView(w, rows, cols), constView(h, cols, cols), options));
  EXPECT_EQ(ordered.order[cols - 2], 9);
  for (int64_t i = 0; i < rows; ++i)
    EXPECT_EQ(ordered.weights.at(i, cols - 1), 0);
}

TEST(Gptq, FallsBackToDoubleForBadlyConditionedHessians) {
  Random random(8);
  int64_t rows = 16, cols = 96;
  auto w = normal(random, rows * cols);
  auto x = normal(random, 400 * cols);
  // Two large channels that are one.
  for (int64_t t = 0; t < 400; ++t)
    x[t * cols + 1] = x[t * cols] *= 30;
  auto h = hessianOf(x, cols);
  GptqOptions options;
  options.format = formatOf(4, Granularity::Row);
  options.damping = 1e-5;
  auto matrix = constView(w, rows, cols);
  auto moments = constView(h, cols, cols);
  auto result = get(gptq(matrix, moments, options));
  EXPECT_TRUE(result.usedDouble);
  double nearest = get(outputError(
      matrix,
      constView(get(roundToNearest(matrix, options.format)).dequantize(), rows,
                cols),
      moments));
  EXPECT_LT(get(outputError(matrix,
                            constView(result.weights.dequantize(), rows, cols),
                            moments)),
            nearest);
  // Where f32 does, double agrees.
  options.damping = 0.01;
  auto narrow = get(gptq(matrix, moments, options));
  options.forceDouble = true;
  auto wide = get(gptq(matrix, moments, options));
  EXPECT_FALSE(narrow.usedDouble);
  EXPECT_TRUE(wide.usedDouble);
  EXPECT_NEAR(narrow.loss / wide.loss, 1, 0.02);
}

TEST(Gptq, OneFactorServesSeveralMatrices) {
  Random random(9);
  int64_t cols = 64;
  auto h = hessianOf(layerInputs(random, 300, cols), cols);
  GptqOptions options;
  options.format = formatOf(4, Granularity::Group);
  auto moments = constView(h, cols, cols);
  GptqFactor factor = get(GptqFactor::create(moments, options));
  for (int64_t rows : {3, 65}) {
    auto w = normal(random, rows * cols);
    auto matrix = constView(w, rows, cols);
    EXPECT_EQ(get(factor.quantize(matrix, options.format)).weights.q,
              get(gptq(matrix, moments, options)).weights.q);
  }
}

TEST(Gptq, FeedsTheTwoLevelFormat) {
  Random random(10);
  int64_t rows = 32, cols = 256;
  auto w = normal(random, rows * cols, 0.05);
  auto h = hessianOf(layerInputs(random, 600, cols), cols);
  auto matrix = constView(w, rows, cols);
  auto moments = constView(h, cols, cols);
  GptqOptions options;
  options.format = formatOf(4, Granularity::Group, 128);
  auto error = [&](const std::vector<float> &v) {
    return get(outputError(matrix, constView(v, rows, cols), moments));
  };
  auto result = get(gptq(matrix, moments, options));
  auto nearest = get(roundToNearest(matrix, options.format));
  EXPECT_LT(error(get(toTwoLevel(result.weights)).dequantize()),
            error(get(toTwoLevel(nearest)).dequantize()));
}

TEST(Hessian, IsTheSecondMomentWhateverTheBatches) {
  Random random(11);
  for (int64_t channels : {1, 5, 130, 200}) {
    int64_t rows = between(random, 1, 900);
    auto x = normal(random, rows * channels);
    std::vector<float> first;
    for (int64_t batch : {int64_t(1), int64_t(7), int64_t(256), rows}) {
      Hessian hessian = get(Hessian::create(channels));
      for (int64_t t = 0; t < rows; t += batch)
        EXPECT_OK(
            hessian.add({&x[t * channels], std::min(batch, rows - t), channels},
                        onThreads(2)));
      EXPECT_EQ(hessian.getRows(), rows);
      auto h = get(hessian.getMatrix());
      if (first.empty())
        first = h;
      ASSERT_EQ(h, first);
    }
    std::vector<float> wanted(channels * channels);
    for (int64_t i = 0; i < channels; ++i)
      for (int64_t j = 0; j < channels; ++j) {
        double sum = 0;
        for (int64_t t = 0; t < rows; ++t)
          sum += double(x[t * channels + i]) * x[t * channels + j];
        wanted[i * channels + j] = float(2 * sum / double(rows));
      }
    EXPECT_LT(relativeDifference(first, wanted), 1e-5);
  }
}

TEST(Gptq, BadInputsAreErrors) {
  Random random(12);
  auto w = normal(random, 4 * 8);
  auto h = hessianOf(layerInputs(random, 50, 8), 8);
  auto matrix = constView(w, 4, 8);
  auto moments = constView(h, 8, 8);
  auto check = [&](auto change, const char *code) {
    GptqOptions options;
    options.format = formatOf(4, Granularity::Group, 4);
    change(options);
    EXPECT_ERROR(gptq(matrix, moments, options), code);
  };
  check([](GptqOptions &o) { o.damping = -1; }, "EFF0411");
  check([](GptqOptions &o) { o.damping = std::nan(""); }, "EFF0411");
  check([](GptqOptions &o) { o.block = 0; }, "EFF0411");
  check([](GptqOptions &o) { o.format.bits = 5; }, "EFF0411");
  check([](GptqOptions &o) { o.format.group = -1; }, "EFF0411");
  check([](GptqOptions &o) { o.format.granularity = Granularity::Tensor; },
        "EFF0411");
  check([](GptqOptions &o) { o.format.granularity = Granularity::Column; },
        "EFF0411");
  EXPECT_ERROR(gptq(constView(w, 8, 4), moments, {}), "EFF0410");
  EXPECT_ERROR(gptq(matrix, constView(h, 8, 4), {}), "EFF0410");
  EXPECT_ERROR(gptq(constView(w, 0, 8), moments, {}), "EFF0410");

  std::vector<float> zero(64);
  EXPECT_ERROR(gptq(matrix, constView(zero, 8, 8), {}), "EFF0412");
  auto negative = h;
  negative[9] = -1;
  EXPECT_ERROR(gptq(matrix, constView(negative, 8, 8), {}), "EFF0412");
  auto indefinite = h;
  for (int64_t i = 0; i < 8; ++i)
    for (int64_t j = 0; j < 8; ++j)
      if (i != j)
        indefinite[i * 8 + j] = 1e6f;
  EXPECT_ERROR(gptq(matrix, constView(indefinite, 8, 8), {}), "EFF0415");
  auto broken = h;
  broken[3] = INFINITY;
  EXPECT_ERROR(gptq(matrix, constView(broken, 8, 8), {}), "EFF0412");
  w[1] = std::nanf("");
  EXPECT_ERROR(gptq(matrix, moments, {}), "EFF0412");

  EXPECT_ERROR(Hessian::create(0), "EFF0410");
  EXPECT_ERROR(Hessian::create(1 << 20), "EFF0410");
  Hessian hessian = get(Hessian::create(4));
  EXPECT_ERROR(hessian.getMatrix(), "EFF0412");
  EXPECT_ERROR(hessian.add(constView(w, 4, 8)), "EFF0410");
  EXPECT_OK(hessian.add(constView(w, 8, 4)));
  EXPECT_ERROR(hessian.getMatrix(), "EFF0412");
}

} // namespace
