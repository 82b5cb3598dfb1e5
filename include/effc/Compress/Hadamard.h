//===- Hadamard.h - exact Hadamard rotations --------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Orthonormal rotations H_n = (H_K (x) H_2^m) / sqrt(n), n = K 2^m, K one of
/// 1, 12, 20, 28, 40. The index of K is the outermost: channel = k 2^m + j;
/// H_2^m is Sylvester's. For other sizes the matrix is block-diagonal.
///
/// H_20, H_28 and H_40 are not symmetric: `out_proj(o) = (W H^T)(H o)`, and H
/// is not its own inverse.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_COMPRESS_HADAMARD_H
#define EFFC_COMPRESS_HADAMARD_H

#include "effc/Compress/Support.h"

namespace effc::compress {

/// A Hadamard matrix as +1 and -1, row-major.
struct SignMatrix {
  int64_t order = 0;
  std::vector<int8_t> signs;
  int8_t operator()(int64_t i, int64_t j) const { return signs[i * order + j]; }
};

/// Paley's first construction: order q + 1, q a prime that is 3 modulo 4.
Result<SignMatrix> paleyFirst(int64_t q);
/// Paley's second construction: order 2 (q + 1), q a prime that is 1 modulo 4.
/// Symmetric.
Result<SignMatrix> paleySecond(int64_t q);
/// Williamson's array of four symmetric circulants, each given by its first row
/// ("+-+...").
Result<SignMatrix> williamson(const std::string &a, const std::string &b,
                              const std::string &c, const std::string &d);
/// [[H, H], [H, -H]].
SignMatrix doubled(const SignMatrix &matrix);
/// The matrix of order K in {1, 12, 20, 28, 40}: Paley II with q = 5,
/// Williamson, Williamson, and Paley I with q = 19 doubled. These are the
/// matrices that rotated checkpoints of other tools use.
Result<SignMatrix> baseMatrix(int64_t k);

/// Which way to rotate.
enum class Direction { Forward, Transposed };

/// How a rotation of one size is made.
class HadamardPlan {
public:
  /// One block. Takes the smallest K that fits, or the one that is given. An
  /// error if the size is not K 2^m.
  static Result<HadamardPlan> create(int64_t size, int64_t base = 0);
  /// Equal blocks of the largest order that divides the size; one block where
  /// `create` succeeds. An error if only order 1 divides it.
  static Result<HadamardPlan> createBlockDiagonal(int64_t size);

  int64_t getSize() const { return blocks * getOrder(); }
  /// Order of one block.
  int64_t getOrder() const { return base.order << log2; }
  int64_t getBase() const { return base.order; }
  int64_t getLog2() const { return log2; }
  int64_t getBlocks() const { return blocks; }
  const SignMatrix &getBaseMatrix() const { return base; }

  /// One element of the orthonormal matrix.
  double at(int64_t i, int64_t j) const;

private:
  SignMatrix base;
  int64_t log2 = 0, blocks = 1;
};

/// x <- H x or H^T x for each of the `count` vectors of plan.getSize() elements
/// that lie one after the other; O(n log n).
template <typename T>
void transform(const HadamardPlan &plan, T *x, int64_t count = 1,
               Direction direction = Direction::Forward);

/// Rotates what a matrix reads: W <- W H^T (each row becomes H row), or W H.
template <typename T>
Status rotateInputs(const HadamardPlan &plan, MatrixView<T> w,
                    Direction direction = Direction::Forward,
                    const ParallelFor &parallel = serial());
/// Rotates what a matrix writes: W <- H W, or H^T W.
template <typename T>
Status rotateOutputs(const HadamardPlan &plan, MatrixView<T> w,
                     Direction direction = Direction::Forward,
                     const ParallelFor &parallel = serial());

/// W <- W diag(g): a norm's weight moves into the matrix that reads the norm's
/// output.
template <typename T> Status foldIntoInputs(MatrixView<T> w, Span<const T> g);

} // namespace effc::compress

#endif // EFFC_COMPRESS_HADAMARD_H
