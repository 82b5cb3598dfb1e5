//===- Gemm.h - matrix products with one defined sum order ------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// C (M x N, row-major) += or -= A (M x K) B (K x N), A and B with any strides.
/// Element (i, j) is `c ± s_0 ± s_1 ...` where s_b sums 256 consecutive
/// products one after the other, each multiplied and added without fusing.
/// Vectors run along j, so the bits do not depend on the vector width, the
/// tiles or the number of threads.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_COMPRESS_GEMM_H
#define EFFC_LIB_COMPRESS_GEMM_H

#include "effc/Compress/Support.h"

namespace effc::compress {

enum class Isa { Baseline, Avx2, Avx512 };
/// The widest that this processor has.
Isa getIsa();

/// An operand: element (i, j) is `data[i * row + j * col]`.
template <typename T> struct Strided {
  const T *data;
  int64_t row, col;
};

/// Which part of C is wanted; LowerTriangle may or may not change what is
/// above.
enum class Region { Full, LowerTriangle };

/// On the calling thread. `sign` is +1 or -1.
template <typename T>
void gemmSerial(Isa isa, int64_t m, int64_t n, int64_t k, Strided<T> a,
                Strided<T> b, T *c, int64_t ldc, T sign);

/// Over tiles of C in parallel.
template <typename T>
void gemm(Isa isa, int64_t m, int64_t n, int64_t k, Strided<T> a, Strided<T> b,
          T *c, int64_t ldc, T sign, const ParallelFor &parallel,
          Region region = Region::Full);

} // namespace effc::compress

#endif // EFFC_LIB_COMPRESS_GEMM_H
