//===- FilterFitTest.cpp - fixed filters in place of scans ----------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Compress/FilterFit.h"

#include "TestUtils.h"

#include <limits>

using namespace effc::compress;
using namespace effc::compress::test;

namespace {

struct Shape {
  int64_t channels, height, width, kernel;
  int64_t pixels() const { return height * width; }
  int64_t taps() const { return kernel * kernel; }
};

/// f applied to x, zeros around the image.
std::vector<float> filtered(const Shape &s, const std::vector<float> &x,
                            const std::vector<float> &f,
                            const std::vector<float> &bias) {
  std::vector<float> y(x.size());
  for (int64_t i = 0; i < s.height; ++i)
    for (int64_t j = 0; j < s.width; ++j)
      for (int64_t c = 0; c < s.channels; ++c) {
        double sum = bias[c];
        for (int64_t d = 0; d < s.taps(); ++d) {
          int64_t u = i + d / s.kernel - s.kernel / 2,
                  v = j + d % s.kernel - s.kernel / 2;
          if (u >= 0 && u < s.height && v >= 0 && v < s.width)
            sum += double(f[c * s.taps() + d]) *
                   x[(u * s.width + v) * s.channels + c];
        }
        y[(i * s.width + j) * s.channels + c] = float(sum);
      }
  return y;
}

Status addImage(FilterFit &fit, const Shape &s, const std::vector<float> &x,
                const std::vector<float> &y, const std::vector<float> &weights,
                unsigned threads = 1) {
  return fit.add({x.data(), s.pixels(), s.channels},
                 {y.data(), s.pixels(), s.channels}, weights,
                 onThreads(threads));
}

TEST(FilterFit, FindsTheFiltersThatMadeTheOutputs) {
  Random random(1);
  for (Shape s : {Shape{1, 5, 7, 3}, Shape{19, 6, 6, 3}, Shape{16, 8, 5, 5},
                  Shape{3, 4, 9, 1}}) {
    auto f = normal<float>(random, s.channels * s.taps()),
         bias = normal<float>(random, s.channels);
    auto fit = FilterFit::create(s.channels, s.height, s.width, s.kernel);
    for (int image = 0; image < 12; ++image) {
      auto x = normal<float>(random, s.pixels() * s.channels),
           weights = normal<float>(random, s.pixels());
      for (float &w : weights)
        w = w * w + 0.1f;
      EXPECT_OK(addImage(*fit, s, x, filtered(s, x, f, bias), weights));
    }
    FittedFilter found = get((*fit).solve(1e-9));
    // f32 products of a few pixels, and the damping.
    EXPECT_LT(relativeDifference(found.filters, f), 1e-4);
    EXPECT_LT(relativeDifference(found.bias, bias), 1e-4);
    EXPECT_LT(found.error, 1e-6);
  }
}

TEST(FilterFit, PixelsWithoutWeightDoNotCount) {
  Random random(2);
  Shape s{4, 5, 5, 3};
  auto f = normal<float>(random, s.channels * s.taps()),
       bias = normal<float>(random, s.channels);
  auto fit = FilterFit::create(s.channels, s.height, s.width, s.kernel);
  for (int image = 0; image < 12; ++image) {
    auto x = normal<float>(random, s.pixels() * s.channels),
         y = filtered(s, x, f, bias);
    std::vector<float> weights(s.pixels(), 1.0f);
    weights[7] = 0;
    for (int64_t c = 0; c < s.channels; ++c)
      y[7 * s.channels + c] = 1000;
    EXPECT_OK(addImage(*fit, s, x, y, weights));
  }
  EXPECT_LT(relativeDifference(get((*fit).solve(1e-9)).filters, f), 1e-4);
}

TEST(FilterFit, ThreadsDoNotMatter) {
  Random random(3);
  Shape s{40, 6, 4, 3};
  auto x = normal<float>(random, s.pixels() * s.channels),
       y = normal<float>(random, s.pixels() * s.channels);
  std::vector<float> weights(s.pixels(), 1.0f);
  std::vector<FittedFilter> found;
  for (unsigned threads : {1, 3}) {
    auto fit = FilterFit::create(s.channels, s.height, s.width, s.kernel);
    EXPECT_OK(addImage(*fit, s, x, y, weights, threads));
    found.push_back(get((*fit).solve(0.01)));
  }
  EXPECT_EQ(found[0].filters, found[1].filters);
  EXPECT_EQ(found[0].error, found[1].error);
}

/// A kernel larger than the image: taps that never meet a pixel are zero.
TEST(FilterFit, TapsOutsideTheImageAreZero) {
  Random random(4);
  Shape s{2, 2, 2, 7};
  auto fit = FilterFit::create(s.channels, s.height, s.width, s.kernel);
  for (int image = 0; image < 20; ++image) {
    auto x = normal<float>(random, s.pixels() * s.channels);
    EXPECT_OK(addImage(*fit, s, x, x, std::vector<float>(s.pixels(), 1.0f)));
  }
  FittedFilter found = get((*fit).solve(1e-6));
  EXPECT_NEAR(found.filters[24], 1, 1e-4);
  EXPECT_EQ(found.filters[0], 0);
}

TEST(FilterFit, WhatDoesNotFitIsRefused) {
  EXPECT_FALSE(FilterFit::create(0, 2, 2, 3).ok());
  EXPECT_FALSE(FilterFit::create(2, 2, 2, 2).ok()) << "even";
  EXPECT_FALSE(FilterFit::create(2, 2, 2, 17).ok()) << "large";
  Shape s{1, 2, 2, 3};
  auto fit = FilterFit::create(1, 2, 2, 3);
  std::vector<float> x = {1, 2, 3, 4}, ones(4, 1.0f), negative = {1, 1, -1, 1};
  EXPECT_FALSE((*fit).solve(0.01).ok()) << "no images";
  EXPECT_FALSE(addImage(*fit, s, x, x, {1, 1, 1}).ok()) << "weights";
  EXPECT_FALSE(addImage(*fit, s, x, x, negative).ok()) << "negative weight";
  EXPECT_FALSE((*fit).add({x.data(), 2, 2}, {x.data(), 2, 2}, ones).ok());
  EXPECT_OK(addImage(*fit, s, x, x, ones));
  EXPECT_FALSE((*fit).solve(0).ok()) << "damping";
  x[0] = std::numeric_limits<float>::infinity();
  EXPECT_OK(addImage(*fit, s, x, x, ones));
  EXPECT_FALSE((*fit).solve(0.01).ok()) << "not finite";
}

} // namespace
