//===- TestUtils.h - random data for the compression tests ------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_UNITTESTS_COMPRESS_TESTUTILS_H
#define EFFC_UNITTESTS_COMPRESS_TESTUTILS_H

#include "effc/Compress/Support.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace effc::compress::test {

using Random = std::mt19937_64;

template <typename T = float>
std::vector<T> normal(Random &random, int64_t size, double deviation = 1) {
  std::normal_distribution<double> distribution(0, deviation);
  std::vector<T> values(size);
  for (T &value : values)
    value = T(distribution(random));
  return values;
}

inline int64_t between(Random &random, int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(random);
}

/// Largest difference over the largest magnitude of `b`.
template <typename T>
double relativeDifference(const std::vector<T> &a, const std::vector<T> &b) {
  EXPECT_EQ(a.size(), b.size());
  double difference = 0, magnitude = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    difference = std::max(difference, double(std::abs(a[i] - b[i])));
    magnitude = std::max(magnitude, double(std::abs(b[i])));
  }
  return difference / std::max(magnitude, 1e-300);
}

template <typename T>
MatrixView<T> view(std::vector<T> &values, int64_t rows, int64_t cols) {
  return {values.data(), rows, cols};
}
template <typename T>
MatrixView<const T> constView(const std::vector<T> &values, int64_t rows,
                              int64_t cols) {
  return {values.data(), rows, cols};
}

/// y = x W^T for rows x.
template <typename T>
std::vector<T> multiply(const std::vector<T> &x, const std::vector<T> &w,
                        int64_t in, int64_t out) {
  int64_t rows = x.size() / in;
  std::vector<T> y(rows * out);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t o = 0; o < out; ++o) {
      T sum = 0;
      for (int64_t i = 0; i < in; ++i)
        sum += x[r * in + i] * w[o * in + i];
      y[r * out + o] = sum;
    }
  return y;
}

/// The value of a Result that must hold one.
template <typename T> T get(Result<T> result) {
  EXPECT_TRUE(result.ok()) << (result ? "" : result.error().format());
  return result.take();
}
#define EXPECT_OK(status)                                                      \
  do {                                                                         \
    auto result_ = (status);                                                   \
    EXPECT_TRUE(result_.ok()) << result_.error().format();                     \
  } while (false)
/// An error with this code and a text in every part that users need.
#define EXPECT_ERROR(expression, number)                                       \
  do {                                                                         \
    auto result_ = (expression);                                               \
    ASSERT_FALSE(result_.ok());                                                \
    EXPECT_EQ(result_.error().code, number) << result_.error().format();       \
    EXPECT_FALSE(result_.error().what.empty());                                \
    EXPECT_FALSE(result_.error().tryThis.empty());                             \
  } while (false)

} // namespace effc::compress::test

#endif // EFFC_UNITTESTS_COMPRESS_TESTUTILS_H
