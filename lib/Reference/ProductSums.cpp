//===- ProductSums.cpp - the loops of convolutions and products -----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "ProductSums.h"

namespace effc::reference {

namespace {
/// Products that are added to an element one after another in one pass.
constexpr std::size_t kAtOnce = 4;

template <typename T>
void addScaled(T *__restrict out, const T *__restrict x, T w, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    out[i] += x[i] * w;
}

/// The same sums as four calls of addScaled.
template <typename T>
void addFour(T *__restrict out, const T *const *x, const T *w, int64_t n) {
  const T *__restrict a = x[0], *__restrict b = x[1], *__restrict c = x[2],
                      *__restrict d = x[3];
  T wa = w[0], wb = w[1], wc = w[2], wd = w[3];
  for (int64_t i = 0; i < n; ++i)
    out[i] = out[i] + a[i] * wa + b[i] * wb + c[i] * wc + d[i] * wd;
}

template <typename T>
void addStrided(T *__restrict out, const T *__restrict x, T w, int64_t n,
                int64_t stride) {
  for (int64_t i = 0; i < n; ++i)
    out[i] += x[i * stride] * w;
}

template <typename T>
void run(T *out, const T *x, const T *w, const ProductSum &sum) {
  if (sum.stride != 1) {
    for (const ProductSum::Step &step : sum.steps)
      addStrided(out, x + step.x, w[step.w], sum.row, sum.stride);
    return;
  }
  const T *rows[kAtOnce];
  T factors[kAtOnce];
  std::size_t i = 0;
  for (; i + kAtOnce <= sum.steps.size(); i += kAtOnce) {
    for (std::size_t k = 0; k < kAtOnce; ++k) {
      rows[k] = x + sum.steps[i + k].x;
      factors[k] = w[sum.steps[i + k].w];
    }
    addFour(out, rows, factors, sum.row);
  }
  for (; i < sum.steps.size(); ++i)
    addScaled(out, x + sum.steps[i].x, w[sum.steps[i].w], sum.row);
}
} // namespace

void addProducts(float *out, const float *x, const float *w,
                 const ProductSum &sum) {
  run(out, x, w, sum);
}

void addProducts(double *out, const double *x, const double *w,
                 const ProductSum &sum) {
  run(out, x, w, sum);
}

} // namespace effc::reference
