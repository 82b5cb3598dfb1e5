//===- HadamardTest.cpp - exact Hadamard rotations ------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Compress/Hadamard.h"

#include "TestUtils.h"

#include <Eigen/Core>

using namespace effc::compress;
using namespace effc::compress::test;

namespace {

/// H H^T = n I in integers.
void expectHadamard(const SignMatrix &h, int64_t order) {
  ASSERT_EQ(h.order, order);
  ASSERT_EQ(int64_t(h.signs.size()), order * order);
  for (int64_t i = 0; i < order; ++i)
    for (int64_t j = 0; j < order; ++j) {
      int64_t sum = 0;
      for (int64_t k = 0; k < order; ++k) {
        ASSERT_EQ(std::abs(h(i, k)), 1);
        sum += h(i, k) * h(j, k);
      }
      ASSERT_EQ(sum, i == j ? order : 0) << order << ": " << i << ", " << j;
    }
}

bool isSymmetric(const SignMatrix &h) {
  for (int64_t i = 0; i < h.order; ++i)
    for (int64_t j = 0; j < i; ++j)
      if (h(i, j) != h(j, i))
        return false;
  return true;
}

/// Sizes of every family, base given where it is not the one that is chosen.
struct Size {
  int64_t size, base;
};
const Size kSizes[] = {{1, 0},  {2, 0},   {4, 0},   {64, 0},  {256, 0}, {12, 0},
                       {24, 0}, {192, 0}, {20, 0},  {40, 0},  {160, 0}, {28, 0},
                       {56, 0}, {224, 0}, {40, 40}, {80, 40}, {320, 40}};

TEST(Hadamard, PaleyFirstGivesHadamardMatrices) {
  for (int64_t q : {3, 7, 11, 19, 23, 31, 43})
    expectHadamard(get(paleyFirst(q)), q + 1);
}

TEST(Hadamard, PaleySecondGivesSymmetricHadamardMatrices) {
  for (int64_t q : {5, 13, 17, 29}) {
    SignMatrix h = get(paleySecond(q));
    expectHadamard(h, 2 * (q + 1));
    EXPECT_TRUE(isSymmetric(h));
  }
}

TEST(Hadamard, BaseMatricesAreHadamardMatrices) {
  for (int64_t k : {1, 12, 20, 28, 40}) {
    SignMatrix h = get(baseMatrix(k));
    expectHadamard(h, k);
    EXPECT_EQ(isSymmetric(h), k == 1 || k == 12) << k;
  }
}

// The rows as checkpoints of other tools have them, block row by block row.
TEST(Hadamard, BaseMatricesAreThoseOfOtherTools) {
  const std::vector<std::string> rows20 = {
      "+----+----++--++-++-", "-+++++-----+--+++--+", "--++-+-++-+-----++++",
      "-+--+--++-+----+----"};
  const std::vector<std::string> rows28 = {
      "+------++----++-+--+-+--++--", "--++++-+-------++--+++-+--+-",
      "-+-++-++--++--+--------++++-", "-++--++-+-++-+++----++------"};
  for (const auto &rows : {rows20, rows28}) {
    int64_t n = rows[0].size() / 4;
    SignMatrix h = get(baseMatrix(4 * n));
    // Inside a block row, each row is the one above it shifted right by one.
    for (int64_t i = 0; i < 4 * n; ++i)
      for (int64_t j = 0; j < 4 * n; ++j) {
        int64_t shifted = j / n * n + (j % n - i % n + n) % n;
        EXPECT_EQ(h(i, j), rows[i / n][shifted] == '+' ? 1 : -1)
            << 4 * n << ": " << i << ", " << j;
      }
  }
  SignMatrix h40 = get(baseMatrix(40));
  for (int64_t j = 0; j < 20; ++j) {
    EXPECT_EQ(h40(0, j), j == 0 ? 1 : -1);
    EXPECT_EQ(h40(20 + j, 20 + j), -h40(j, j));
  }
}

TEST(Hadamard, QuambaInvariant2_FastTransformIsTheDenseMatrix) {
  Random random(1);
  for (auto [size, base] : kSizes) {
    HadamardPlan plan = get(HadamardPlan::create(size, base));
    ASSERT_EQ(plan.getSize(), size);
    auto x = normal<double>(random, size);
    for (Direction direction : {Direction::Forward, Direction::Transposed}) {
      std::vector<double> fast = x, dense(size);
      transform(plan, fast.data(), 1, direction);
      for (int64_t i = 0; i < size; ++i)
        for (int64_t j = 0; j < size; ++j)
          dense[i] += x[j] * (direction == Direction::Forward ? plan.at(i, j)
                                                              : plan.at(j, i));
      EXPECT_LT(relativeDifference(fast, dense), 1e-13) << size;
    }
    // A unit vector gives a column.
    int64_t column = between(random, 0, size - 1);
    std::vector<double> unit(size);
    unit[column] = 1;
    transform(plan, unit.data());
    for (int64_t i = 0; i < size; ++i)
      EXPECT_NEAR(unit[i], plan.at(i, column), 1e-15);
  }
}

TEST(Hadamard, QuambaInvariant2_ParsevalAndInverse) {
  Random random(2);
  for (auto [size, base] : kSizes) {
    HadamardPlan plan = get(HadamardPlan::create(size, base));
    auto x = normal<float>(random, size);
    auto y = x;
    transform(plan, y.data());
    double before = 0, after = 0;
    for (int64_t i = 0; i < size; ++i) {
      before += double(x[i]) * x[i];
      after += double(y[i]) * y[i];
    }
    EXPECT_NEAR(after / before, 1, 1e-5) << size;
    transform(plan, y.data(), 1, Direction::Transposed);
    EXPECT_LT(relativeDifference(y, x), 2e-6) << size;
  }
}

/// (W H^T)(H o) against W o; `online` is what is done to o.
template <typename T>
double rotationError(const HadamardPlan &plan, Direction online, Random &random,
                     const std::function<T(T)> &round = {}) {
  int64_t size = plan.getSize(), out = between(random, 1, 40);
  auto w = normal<T>(random, out * size);
  auto o = normal<T>(random, 3 * size);
  auto wanted = multiply(o, w, size, out);
  EXPECT_OK(rotateInputs(plan, view(w, out, size)));
  transform(plan, o.data(), 3, online);
  if (round)
    for (auto *values : {&w, &o})
      for (T &value : *values)
        value = round(value);
  return relativeDifference(multiply(o, w, size, out), wanted);
}

TEST(Hadamard, QuambaInvariant1_RotationCancels) {
  Random random(3);
  for (auto [size, base] : kSizes) {
    HadamardPlan plan = get(HadamardPlan::create(size, base));
    EXPECT_LT(rotationError<double>(plan, Direction::Forward, random), 1e-12);
    EXPECT_LT(rotationError<float>(plan, Direction::Forward, random), 1e-5);
    // Operands stored in f16: 2^-11 each, averaged over the sum.
    EXPECT_LT(
        rotationError<float>(plan, Direction::Forward, random,
                             [](float x) { return float(Eigen::half(x)); }),
        2e-3);
  }
}

TEST(Hadamard, QuambaInvariant1_TransposedOnlineRotationFails) {
  Random random(4);
  for (auto [size, base] :
       {Size{20, 0}, {160, 0}, {28, 0}, {224, 0}, {40, 40}, {320, 40}}) {
    HadamardPlan plan = get(HadamardPlan::create(size, base));
    EXPECT_GT(rotationError<double>(plan, Direction::Transposed, random), 0.1)
        << size;
  }
}

TEST(Hadamard, RotateOutputsIsTheDenseProduct) {
  Random random(5);
  for (auto [size, base] : kSizes) {
    HadamardPlan plan = get(HadamardPlan::create(size, base));
    int64_t cols = between(random, 1, 50), stride = cols + 3;
    auto w = normal<double>(random, size * stride);
    auto original = w;
    MatrixView<double> rotated(w.data(), size, cols, stride);
    EXPECT_OK(rotateOutputs(plan, rotated, Direction::Forward, onThreads(3)));
    for (int64_t i = 0; i < size; ++i) {
      for (int64_t j = 0; j < cols; ++j) {
        double sum = 0;
        for (int64_t k = 0; k < size; ++k)
          sum += plan.at(i, k) * original[k * stride + j];
        EXPECT_NEAR(rotated(i, j), sum, 1e-12);
      }
      // What lies between the rows is not touched.
      for (int64_t j = cols; j < stride; ++j)
        EXPECT_EQ(w[i * stride + j], original[i * stride + j]);
    }
    EXPECT_OK(rotateOutputs(plan, rotated, Direction::Transposed));
    EXPECT_LT(relativeDifference(w, original), 1e-12);
  }
}

TEST(Hadamard, RowsOfAMatrixAreTransformedAsVectors) {
  Random random(6);
  HadamardPlan plan = get(HadamardPlan::create(96));
  auto w = normal<float>(random, 37 * 96);
  auto rows = w;
  EXPECT_OK(
      rotateInputs(plan, view(w, 37, 96), Direction::Forward, onThreads(2)));
  transform(plan, rows.data(), 37);
  EXPECT_EQ(w, rows);
}

//===----------------------------------------------------------------------===//
// The residual stream
//===----------------------------------------------------------------------===//

struct Net {
  static constexpr int64_t kVocab = 11, kWidth = 48, kHidden = 20, kLayers = 2;
  std::vector<double> embedding, norms[kLayers + 1], in[kLayers], out[kLayers],
      head;

  explicit Net(Random &random)
      : embedding(normal<double>(random, kVocab * kWidth)),
        head(normal<double>(random, kVocab * kWidth, 0.2)) {
    for (auto &norm : norms)
      norm = normal<double>(random, kWidth);
    for (int64_t l = 0; l < kLayers; ++l) {
      in[l] = normal<double>(random, kHidden * kWidth, 0.2);
      out[l] = normal<double>(random, kWidth * kHidden, 0.2);
    }
  }

  static std::vector<double> rms(std::vector<double> x,
                                 const std::vector<double> &g) {
    double square = 0;
    for (double value : x)
      square += value * value;
    for (int64_t i = 0; i < kWidth; ++i)
      x[i] *= g[i] / std::sqrt(square / kWidth + 1e-5);
    return x;
  }

  std::vector<double> run() const {
    std::vector<double> logits;
    for (int64_t token = 0; token < kVocab; ++token) {
      std::vector<double> x(embedding.begin() + token * kWidth,
                            embedding.begin() + (token + 1) * kWidth);
      for (int64_t l = 0; l < kLayers; ++l) {
        auto hidden = multiply(rms(x, norms[l]), in[l], kWidth, kHidden);
        for (double &value : hidden)
          value = std::tanh(value);
        auto added = multiply(hidden, out[l], kHidden, kWidth);
        for (int64_t i = 0; i < kWidth; ++i)
          x[i] += added[i];
      }
      auto row = multiply(rms(x, norms[kLayers]), head, kWidth, kVocab);
      logits.insert(logits.end(), row.begin(), row.end());
    }
    return logits;
  }

  void rotate(bool fold) {
    HadamardPlan plan = get(HadamardPlan::create(kWidth));
    auto intoInputs = [&](std::vector<double> &w, std::vector<double> *norm,
                          int64_t rows) {
      if (norm && fold) {
        EXPECT_OK(
            foldIntoInputs(view(w, rows, kWidth), Span<const double>(*norm)));
        norm->assign(kWidth, 1.0);
      }
      EXPECT_OK(rotateInputs(plan, view(w, rows, kWidth)));
    };
    intoInputs(embedding, nullptr, kVocab);
    for (int64_t l = 0; l < kLayers; ++l) {
      intoInputs(in[l], &norms[l], kHidden);
      EXPECT_OK(rotateOutputs(plan, view(out[l], kWidth, kHidden)));
    }
    intoInputs(head, &norms[kLayers], kVocab);
  }
};

TEST(Hadamard, Quamba2Invariant2_ResidualRotationLeavesLogits) {
  Random random(7);
  Net net(random);
  auto wanted = net.run();
  Net rotated = net;
  rotated.rotate(/*fold=*/true);
  EXPECT_LT(relativeDifference(rotated.run(), wanted), 1e-10);
  EXPECT_GT(relativeDifference(rotated.embedding, net.embedding), 0.1);
  // A norm's weight does not commute with the rotation.
  net.rotate(/*fold=*/false);
  EXPECT_GT(relativeDifference(net.run(), wanted), 1e-2);
}

//===----------------------------------------------------------------------===//
// Plans and errors
//===----------------------------------------------------------------------===//

TEST(Hadamard, PlansTakeTheSmallestBase) {
  auto base = [](int64_t size) {
    return get(HadamardPlan::create(size)).getBase();
  };
  EXPECT_EQ(base(2048), 1);
  EXPECT_EQ(base(1536), 12);
  EXPECT_EQ(base(2560), 20);
  EXPECT_EQ(base(5120), 20);
  EXPECT_EQ(base(7168), 28);
  EXPECT_EQ(get(HadamardPlan::create(5120, 40)).getLog2(), 7);
}

TEST(Hadamard, OtherSizesAreBlockDiagonal) {
  struct Case {
    int64_t size, order;
  };
  for (auto [size, order] : {Case{60, 20},
                             {120, 40},
                             {6, 2},
                             {1440, 160},
                             {96, 96},
                             {36, 12},
                             {84, 28},
                             {1, 1}}) {
    HadamardPlan plan = get(HadamardPlan::createBlockDiagonal(size));
    EXPECT_EQ(plan.getOrder(), order) << size;
    EXPECT_EQ(plan.getSize(), size);
    Random random(size);
    EXPECT_LT(rotationError<double>(plan, Direction::Forward, random), 1e-12);
    for (int64_t i = 0; i < size; ++i) {
      double square = 0;
      for (int64_t j = 0; j < size; ++j)
        square += plan.at(i, j) * plan.at(i, j);
      EXPECT_NEAR(square, 1, 1e-12);
    }
  }
}

TEST(Hadamard, BadSizesAreErrors) {
  for (int64_t size :
       {int64_t(0), int64_t(-4), int64_t(3), int64_t(60), int64_t(1) << 62 | 1})
    EXPECT_ERROR(HadamardPlan::create(size), "EFF0410");
  EXPECT_ERROR(HadamardPlan::create(64, 12), "EFF0410");
  EXPECT_ERROR(HadamardPlan::create(64, 7), "EFF0410");
  for (int64_t size : {0, -2, 7, 15})
    EXPECT_ERROR(HadamardPlan::createBlockDiagonal(size), "EFF0410");
  for (int64_t q : {-1, 0, 1, 2, 9, 15, 13})
    EXPECT_ERROR(paleyFirst(q), "EFF0410");
  for (int64_t q : {-3, 0, 1, 3, 9, 21})
    EXPECT_ERROR(paleySecond(q), "EFF0410");
  EXPECT_ERROR(baseMatrix(16), "EFF0410");
  EXPECT_ERROR(williamson("+-", "+", "+", "+"), "EFF0410");
  EXPECT_ERROR(williamson("+-+", "++-", "+++", "+++"), "EFF0410");
  EXPECT_ERROR(williamson("+0+", "+++", "+++", "+++"), "EFF0410");

  HadamardPlan plan = get(HadamardPlan::create(8));
  std::vector<float> w(7 * 7);
  EXPECT_ERROR(rotateInputs(plan, view(w, 7, 7)), "EFF0410");
  EXPECT_ERROR(rotateOutputs(plan, view(w, 7, 7)), "EFF0410");
  EXPECT_ERROR(rotateInputs(plan, MatrixView<float>(w.data(), 2, 8, 4)),
               "EFF0410");
  EXPECT_ERROR(foldIntoInputs(view(w, 7, 7), Span<const float>(w.data(), 6)),
               "EFF0410");
}

} // namespace
