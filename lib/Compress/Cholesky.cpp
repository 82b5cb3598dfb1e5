//===- Cholesky.cpp - the factor that error feedback needs ----------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Cholesky.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace effc::compress {

static constexpr int64_t kBlock = 128;

/// Factors one diagonal block in place, lower triangle only. `diagonal` holds
/// the diagonal of the whole matrix before anything was subtracted from it.
template <typename T>
static bool factorBlock(T *a, int64_t n, int64_t lda, const T *diagonal,
                        T tolerance) {
  std::vector<T> column(n);
  for (int64_t k = 0; k < n; ++k) {
    T pivot = a[k * lda + k];
    // A NaN fails too.
    if (!(pivot > tolerance * diagonal[k]) || !std::isfinite(pivot))
      return false;
    pivot = std::sqrt(pivot);
    a[k * lda + k] = pivot;
    for (int64_t i = k + 1; i < n; ++i)
      column[i] = a[i * lda + k] /= pivot;
    for (int64_t i = k + 1; i < n; ++i) {
      T *__restrict row = a + i * lda;
      const T *__restrict other = column.data();
      T x = column[i];
      for (int64_t j = k + 1; j <= i; ++j)
        row[j] -= x * other[j];
    }
  }
  return true;
}

/// The inverse of a lower triangular block, dense with zeros above.
template <typename T>
static void invertBlock(const T *a, int64_t n, int64_t lda,
                        std::vector<T> &inverse) {
  inverse.assign(n * n, T(0));
  for (int64_t i = 0; i < n; ++i) {
    T *__restrict row = &inverse[i * n];
    for (int64_t k = 0; k < i; ++k) {
      const T *__restrict other = &inverse[k * n];
      T x = a[i * lda + k];
      for (int64_t j = 0; j <= k; ++j)
        row[j] -= x * other[j];
    }
    T pivot = a[i * lda + i];
    for (int64_t j = 0; j < i; ++j)
      row[j] /= pivot;
    row[i] = 1 / pivot;
  }
}

template <typename T>
bool invertToUpperFactor(Isa isa, std::vector<T> &h, int64_t n,
                         const ParallelFor &parallel) {
  // The lower triangle of J H J, which is read from the lower triangle of H by
  // symmetry, in rows that are padded against cache conflicts.
  int64_t ld = (n + 15) / 16 * 16 + 16;
  std::vector<T> a(n * ld), diagonal(n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j <= i; ++j)
      a[i * ld + j] = h[(n - 1 - j) * n + (n - 1 - i)];
  for (int64_t i = 0; i < n; ++i)
    diagonal[i] = a[i * ld + i];
  T tolerance = 4 * std::sqrt(T(n)) * std::numeric_limits<T>::epsilon();

  std::vector<T> inverse, panel(n * kBlock);
  std::vector<std::vector<T>> inverses;
  for (int64_t k = 0; k < n; k += kBlock) {
    int64_t width = std::min(kBlock, n - k), below = n - k - width;
    T *block = &a[k * ld + k];
    if (!factorBlock(block, width, ld, &diagonal[k], tolerance))
      return false;
    invertBlock(block, width, ld, inverse);
    inverses.push_back(inverse);
    if (below == 0)
      break;
    // L_ik = A_ik L_kk^-T.
    T *under = &a[(k + width) * ld + k];
    std::fill_n(panel.begin(), below * width, T(0));
    gemm<T>(isa, below, width, width, {under, ld, 1},
            {inverse.data(), 1, width}, panel.data(), width, 1, parallel);
    for (int64_t i = 0; i < below; ++i)
      std::copy_n(&panel[i * width], width, under + i * ld);
    // A_ij -= L_ik L_jk^T.
    gemm<T>(isa, below, below, width, {panel.data(), width, 1},
            {panel.data(), 1, width}, &a[(k + width) * ld + k + width], ld, -1,
            parallel, Region::LowerTriangle);
  }

  // Block row i of L^-1, in place: -L_ii^-1 (sum_k L_ik X_kj) for j < i, then
  // L_ii^-1.
  std::vector<T> sum(kBlock * n);
  for (int64_t i = 0; i < n; i += kBlock) {
    int64_t height = std::min(kBlock, n - i);
    const std::vector<T> &own = inverses[i / kBlock];
    if (i > 0) {
      std::fill_n(sum.begin(), height * i, T(0));
      // X has zeros above its diagonal, so block column j starts at row j.
      for (int64_t j = 0; j < i; j += kBlock) {
        int64_t cols = std::min(kBlock, i - j);
        gemm<T>(isa, height, cols, i - j, {&a[i * ld + j], ld, 1},
                {&a[j * ld + j], ld, 1}, &sum[j], i, 1, parallel);
      }
      for (int64_t r = 0; r < height; ++r)
        std::fill_n(&a[(i + r) * ld], i, T(0));
      gemm<T>(isa, height, i, height, {own.data(), height, 1},
              {sum.data(), i, 1}, &a[i * ld], ld, -1, parallel);
    }
    for (int64_t r = 0; r < height; ++r) {
      std::fill_n(&a[(i + r) * ld + i], height, T(0));
      std::copy_n(&own[r * height], r + 1, &a[(i + r) * ld + i]);
    }
  }

  for (int64_t i = 0; i < n; ++i) {
    std::fill_n(&h[i * n], i, T(0));
    for (int64_t j = i; j < n; ++j)
      h[i * n + j] = a[(n - 1 - i) * ld + (n - 1 - j)];
  }
  return true;
}

template bool invertToUpperFactor(Isa, std::vector<float> &, int64_t,
                                  const ParallelFor &);
template bool invertToUpperFactor(Isa, std::vector<double> &, int64_t,
                                  const ParallelFor &);

} // namespace effc::compress
