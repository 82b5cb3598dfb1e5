//===- Cholesky.h - the factor that error feedback needs --------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_COMPRESS_CHOLESKY_H
#define EFFC_LIB_COMPRESS_CHOLESKY_H

#include "Gemm.h"

namespace effc::compress {

/// Replaces a symmetric positive definite H (n x n, its lower triangle is read)
/// by upper triangular U with U^T U = H^-1; what is below the diagonal becomes
/// 0. False, and H in ruins, if a pivot is not clearly positive in T.
///
/// With J the reversal of the order and L L^T = J H J: U = J L^-1 J. So one
/// factorisation and one triangular inverse do, and H^-1 is never formed.
template <typename T>
bool invertToUpperFactor(Isa isa, std::vector<T> &h, int64_t n,
                         const ParallelFor &parallel);

} // namespace effc::compress

#endif // EFFC_LIB_COMPRESS_CHOLESKY_H
