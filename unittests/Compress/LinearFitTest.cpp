//===- LinearFitTest.cpp - weights that follow changed inputs -------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Compress/LinearFit.h"

#include "TestUtils.h"

#include <limits>

using namespace effc::compress;
using namespace effc::compress::test;

namespace {

struct Pairs {
  int64_t rows, inputs, outputs;
  std::vector<float> x, y;

  MatrixView<const float> xs(int64_t from, int64_t count) const {
    return {x.data() + from * inputs, count, inputs};
  }
  MatrixView<const float> ys(int64_t from, int64_t count) const {
    return {y.data() + from * outputs, count, outputs};
  }
};

/// y = W x + noise.
Pairs draw(Random &random, int64_t rows, const std::vector<float> &w,
           int64_t inputs, double noise) {
  Pairs pairs{rows, inputs, int64_t(w.size()) / inputs, {}, {}};
  pairs.x = normal<float>(random, rows * inputs);
  pairs.y = normal<float>(random, rows * pairs.outputs);
  for (int64_t t = 0; t < rows; ++t)
    for (int64_t o = 0; o < pairs.outputs; ++o) {
      double sum = noise * pairs.y[t * pairs.outputs + o];
      for (int64_t i = 0; i < inputs; ++i)
        sum += double(w[o * inputs + i]) * pairs.x[t * inputs + i];
      pairs.y[t * pairs.outputs + o] = float(sum);
    }
  return pairs;
}

FittedLinear fit(const Pairs &pairs, const std::vector<float> &w,
                 double damping, int64_t batch) {
  auto fit = LinearFit::create(pairs.inputs, pairs.outputs);
  for (int64_t at = 0; at < pairs.rows; at += batch) {
    int64_t count = std::min(batch, pairs.rows - at);
    EXPECT_TRUE(bool((*fit).add(pairs.xs(at, count), pairs.ys(at, count))));
  }
  auto result = (*fit).solve({w.data(), pairs.outputs, pairs.inputs}, damping);
  EXPECT_TRUE(bool(result));
  return result ? result.take() : FittedLinear();
}

double distance(const std::vector<float> &a, const std::vector<float> &b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, std::abs(double(a[i]) - b[i]));
  return largest;
}

TEST(LinearFit, FindsTheWeightsThatMadeTheOutputs) {
  Random random(3);
  for (int trial = 0; trial < 10; ++trial) {
    int64_t inputs = between(random, 1, 40), outputs = between(random, 1, 20);
    auto wanted = normal<float>(random, inputs * outputs),
         start = normal<float>(random, inputs * outputs);
    Pairs pairs = draw(random, 20 * inputs + 50, wanted, inputs, 0);
    FittedLinear result = fit(pairs, start, 1e-9, 64);
    // f32 sums of a thousand products.
    EXPECT_LT(distance(result.weights, wanted), 1e-4);
    EXPECT_LT(result.errorAfter, 1e-6);
    EXPECT_GT(result.errorBefore, 1e-3);
  }
}

TEST(LinearFit, NeverWorseOnWhatItSaw) {
  Random random(5);
  auto wanted = normal<float>(random, 12 * 8),
       start = normal<float>(random, 12 * 8);
  Pairs pairs = draw(random, 100, wanted, 12, 2);
  double before = std::numeric_limits<double>::infinity();
  for (double damping : {100.0, 1.0, 0.01, 0.0001}) {
    FittedLinear result = fit(pairs, start, damping, 100);
    EXPECT_LT(result.errorAfter, result.errorBefore);
    EXPECT_LT(result.errorAfter, before);
    before = result.errorAfter;
  }
}

TEST(LinearFit, MuchDampingKeepsTheWeights) {
  Random random(7);
  auto wanted = normal<float>(random, 6 * 4), start = wanted;
  for (float &v : start)
    v += 0.1f;
  Pairs pairs = draw(random, 64, wanted, 6, 0);
  EXPECT_LT(distance(fit(pairs, start, 1e7, 64).weights, start), 1e-5);
}

TEST(LinearFit, BatchesDoNotMatter) {
  Random random(9);
  auto wanted = normal<float>(random, 5 * 3);
  Pairs pairs = draw(random, 700, wanted, 5, 1);
  std::vector<float> start(15, 0.0f);
  EXPECT_EQ(fit(pairs, start, 0.01, 700).weights,
            fit(pairs, start, 0.01, 33).weights);
}

TEST(LinearFit, InputsThatAreNeverThereKeepTheirColumns) {
  Random random(11);
  std::vector<float> wanted = normal<float>(random, 4 * 2),
                     start = normal<float>(random, 4 * 2);
  Pairs pairs = draw(random, 80, wanted, 4, 0);
  for (int64_t t = 0; t < 80; ++t)
    pairs.x[t * 4 + 2] = 0;
  FittedLinear result = fit(pairs, start, 1e-6, 80);
  EXPECT_EQ(result.weights[2], start[2]);
  EXPECT_EQ(result.weights[6], start[6]);
}

TEST(LinearFit, WhatDoesNotFitIsRefused) {
  EXPECT_FALSE(bool(LinearFit::create(0, 3)));
  EXPECT_FALSE(bool(LinearFit::create(3, 0)));
  auto fit = LinearFit::create(2, 1);
  float x[4] = {1, 2, 3, 4}, y[2] = {1, 2}, w[2] = {0, 0};
  EXPECT_FALSE(bool((*fit).solve({w, 1, 2}, 0.01))) << "no rows";
  EXPECT_FALSE(bool((*fit).add({x, 2, 2}, {y, 1, 1}))) << "rows differ";
  EXPECT_FALSE(bool((*fit).add({x, 4, 1}, {y, 2, 1}))) << "columns differ";
  ASSERT_TRUE(bool((*fit).add({x, 2, 2}, {y, 2, 1})));
  EXPECT_FALSE(bool((*fit).solve({w, 2, 1}, 0.01))) << "shape";
  EXPECT_FALSE(bool((*fit).solve({w, 1, 2}, 0))) << "damping";
  EXPECT_TRUE(bool((*fit).solve({w, 1, 2}, 0.01)));
  x[3] = std::numeric_limits<float>::quiet_NaN();
  ASSERT_TRUE(bool((*fit).add({x, 2, 2}, {y, 2, 1})));
  EXPECT_FALSE(bool((*fit).solve({w, 1, 2}, 0.01))) << "not finite";
}

} // namespace
