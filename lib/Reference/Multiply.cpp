//===- Multiply.cpp - the one hot loop of the reference -------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include <cstdint>

namespace effc::reference {

namespace {
/// Partial sums that run side by side, so that the compiler may use vectors
/// without reordering sums by itself.
constexpr int64_t kLanes = 16;

template <typename T> T dot(const T *a, const T *b, int64_t k) {
  T sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= k; i += kLanes)
    for (int64_t lane = 0; lane < kLanes; ++lane)
      sums[lane] += a[i + lane] * b[i + lane];
  T sum = 0;
  for (; i < k; ++i)
    sum += a[i] * b[i];
  for (int64_t lane = 0; lane < kLanes; ++lane)
    sum += sums[lane];
  return sum;
}

template <typename T>
void multiplyRows(const T *x, const T *w, T *y, int64_t m, int64_t n,
                  int64_t k) {
  // A row of the weight stays in the cache while all rows of x meet it.
  for (int64_t j = 0; j < n; ++j)
    for (int64_t i = 0; i < m; ++i)
      y[i * n + j] = dot(x + i * k, w + j * k, k);
}
} // namespace

void multiply(const float *x, const float *w, float *y, int64_t m, int64_t n,
              int64_t k) {
  multiplyRows(x, w, y, m, n, k);
}

void multiply(const double *x, const double *w, double *y, int64_t m, int64_t n,
              int64_t k) {
  multiplyRows(x, w, y, m, n, k);
}

} // namespace effc::reference
