//===- Gemm.cpp - matrix products with one defined sum order --------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Gemm.h"

#include <algorithm>

namespace effc::compress {

Isa getIsa() {
  if (__builtin_cpu_supports("avx512f"))
    return Isa::Avx512;
  if (__builtin_cpu_supports("avx2"))
    return Isa::Avx2;
  return Isa::Baseline;
}

namespace {

/// Products that are summed before they meet C.
constexpr int64_t kDepth = 256;
constexpr int64_t kTileRows = 64, kTileCols = 128;

#define EFFC_INLINE inline __attribute__((always_inline))

/// Vectors of `Bytes`, `Rows` x 2 of them as accumulators.
template <typename T, int Bytes, int Rows> struct Body {
  typedef T Vec __attribute__((vector_size(Bytes)));
  static constexpr int kLanes = Bytes / sizeof(T);
  static constexpr int kCols = 2 * kLanes;

  /// `panel` holds depth x kCols elements of B; rows at and beyond `rows`
  /// repeat the last one.
  static EFFC_INLINE void micro(int64_t depth, const T *a, int64_t aRow,
                                int64_t aCol, const T *panel, int64_t rows,
                                int64_t cols, T *c, int64_t ldc, T sign) {
    const T *row[Rows];
    for (int r = 0; r < Rows; ++r)
      row[r] = a + std::min<int64_t>(r, rows - 1) * aRow;
    Vec sum[Rows][2];
    for (int r = 0; r < Rows; ++r)
      sum[r][0] = sum[r][1] = Vec{};
    for (int64_t k = 0; k < depth; ++k) {
      const Vec *b = reinterpret_cast<const Vec *>(panel + k * kCols);
      Vec b0 = b[0], b1 = b[1];
      for (int r = 0; r < Rows; ++r) {
        T x = row[r][k * aCol];
        sum[r][0] += x * b0;
        sum[r][1] += x * b1;
      }
    }
    alignas(Bytes) T out[Rows][kCols];
    for (int r = 0; r < Rows; ++r) {
      reinterpret_cast<Vec *>(out[r])[0] = sum[r][0];
      reinterpret_cast<Vec *>(out[r])[1] = sum[r][1];
    }
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t j = 0; j < cols; ++j)
        c[r * ldc + j] += sign * out[r][j];
  }

  static EFFC_INLINE void run(int64_t m, int64_t n, int64_t k, Strided<T> a,
                              Strided<T> b, T *c, int64_t ldc, T sign) {
    alignas(64) T panel[kDepth * kCols];
    for (int64_t k0 = 0; k0 < k; k0 += kDepth) {
      int64_t depth = std::min(kDepth, k - k0);
      for (int64_t j0 = 0; j0 < n; j0 += kCols) {
        int64_t cols = std::min<int64_t>(kCols, n - j0);
        for (int64_t p = 0; p < depth; ++p) {
          const T *from = b.data + (k0 + p) * b.row + j0 * b.col;
          for (int64_t j = 0; j < cols; ++j)
            panel[p * kCols + j] = from[j * b.col];
          for (int64_t j = cols; j < kCols; ++j)
            panel[p * kCols + j] = 0;
        }
        for (int64_t i0 = 0; i0 < m; i0 += Rows)
          micro(depth, a.data + i0 * a.row + k0 * a.col, a.row, a.col, panel,
                std::min<int64_t>(Rows, m - i0), cols, c + i0 * ldc + j0, ldc,
                sign);
      }
    }
  }
};

template <typename T>
void runBaseline(int64_t m, int64_t n, int64_t k, Strided<T> a, Strided<T> b,
                 T *c, int64_t ldc, T sign) {
  Body<T, 16, 4>::run(m, n, k, a, b, c, ldc, sign);
}
template <typename T>
__attribute__((target("avx2"))) void runAvx2(int64_t m, int64_t n, int64_t k,
                                             Strided<T> a, Strided<T> b, T *c,
                                             int64_t ldc, T sign) {
  Body<T, 32, 4>::run(m, n, k, a, b, c, ldc, sign);
}
template <typename T>
__attribute__((target("avx512f"))) void
runAvx512(int64_t m, int64_t n, int64_t k, Strided<T> a, Strided<T> b, T *c,
          int64_t ldc, T sign) {
  Body<T, 64, 8>::run(m, n, k, a, b, c, ldc, sign);
}

} // namespace

template <typename T>
void gemmSerial(Isa isa, int64_t m, int64_t n, int64_t k, Strided<T> a,
                Strided<T> b, T *c, int64_t ldc, T sign) {
  if (m <= 0 || n <= 0 || k <= 0)
    return;
  switch (isa) {
  case Isa::Avx512:
    return runAvx512(m, n, k, a, b, c, ldc, sign);
  case Isa::Avx2:
    return runAvx2(m, n, k, a, b, c, ldc, sign);
  case Isa::Baseline:
    return runBaseline(m, n, k, a, b, c, ldc, sign);
  }
}

template <typename T>
void gemm(Isa isa, int64_t m, int64_t n, int64_t k, Strided<T> a, Strided<T> b,
          T *c, int64_t ldc, T sign, const ParallelFor &parallel,
          Region region) {
  if (m <= 0 || n <= 0 || k <= 0)
    return;
  int64_t across = (n + kTileCols - 1) / kTileCols;
  int64_t down = (m + kTileRows - 1) / kTileRows;
  parallel(across * down, [&](int64_t tile) {
    int64_t i0 = tile / across * kTileRows, j0 = tile % across * kTileCols;
    int64_t rows = std::min(kTileRows, m - i0);
    int64_t cols = std::min(kTileCols, n - j0);
    if (region == Region::LowerTriangle && j0 > i0 + rows - 1)
      return;
    Strided<T> tileA{a.data + i0 * a.row, a.row, a.col};
    Strided<T> tileB{b.data + j0 * b.col, b.row, b.col};
    gemmSerial(isa, rows, cols, k, tileA, tileB, c + i0 * ldc + j0, ldc, sign);
  });
}

template void gemmSerial(Isa, int64_t, int64_t, int64_t, Strided<float>,
                         Strided<float>, float *, int64_t, float);
template void gemmSerial(Isa, int64_t, int64_t, int64_t, Strided<double>,
                         Strided<double>, double *, int64_t, double);
template void gemm(Isa, int64_t, int64_t, int64_t, Strided<float>,
                   Strided<float>, float *, int64_t, float, const ParallelFor &,
                   Region);
template void gemm(Isa, int64_t, int64_t, int64_t, Strided<double>,
                   Strided<double>, double *, int64_t, double,
                   const ParallelFor &, Region);

} // namespace effc::compress
