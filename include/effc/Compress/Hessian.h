//===- Hessian.h - second moments of a layer's inputs -----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_COMPRESS_HESSIAN_H
#define EFFC_COMPRESS_HESSIAN_H

#include "effc/Compress/Support.h"

namespace effc::compress {

/// H = (2 / n) sum_t x_t x_t^T in f32 over inputs that come in batches. The
/// bits of the result depend on the sequence of rows alone, not on how it was
/// cut into batches: rows are gathered and summed 256 at a time.
class Hessian {
public:
  static Result<Hessian> create(int64_t channels);

  int64_t getChannels() const { return channels; }
  int64_t getRows() const { return rows; }
  /// Adds the rows of x.
  Status add(MatrixView<const float> x, const ParallelFor &parallel = serial());
  /// The full symmetric matrix, [channels][channels]. An error without rows or
  /// if an input was not finite.
  Result<std::vector<float>>
  getMatrix(const ParallelFor &parallel = serial()) const;

private:
  friend class HessianObserver;
  /// Rows that are summed before they meet the others.
  static constexpr int64_t kChunk = 256;
  static void addChunk(std::vector<float> &sum, const float *chunk,
                       int64_t count, int64_t channels,
                       const ParallelFor &parallel);

  int64_t channels = 0, rows = 0;
  std::vector<float> sum;     ///< The lower triangle of sum x x^T.
  std::vector<float> pending; ///< Rows that do not fill a chunk yet.
};

} // namespace effc::compress

#endif // EFFC_COMPRESS_HESSIAN_H
