//===- LinearFit.h - weights that follow changed inputs ---------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// When a layer in front of a linear is replaced by a cheaper one, the linear's
/// inputs x change. Of all weights those are taken whose outputs are nearest to
/// what they should be, y:
///
///   W' = argmin sum_t |W' x_t - y_t|^2 + lambda |W' - W|^2
///      = W + (S_yx - W S_xx) (S_xx + lambda)^-1,   S_ab = sum_t a_t b_t^T,
///
/// with lambda the damping times the mean of S_xx's diagonal. The shape stays:
/// it costs nothing when the model runs.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_COMPRESS_LINEARFIT_H
#define EFFC_COMPRESS_LINEARFIT_H

#include "effc/Compress/Hessian.h"

namespace effc::compress {

struct FittedLinear {
  std::vector<float> weights; ///< [outputs][inputs]
  /// sum |W x - y|^2 / sum |y|^2 before and after, over the samples.
  double errorBefore = 0, errorAfter = 0;
};

class LinearFit {
public:
  static Result<LinearFit> create(int64_t inputs, int64_t outputs);

  /// Adds pairs of rows, x [n][inputs] and y [n][outputs].
  Status add(MatrixView<const float> x, MatrixView<const float> y,
             const ParallelFor &parallel = serial());

  /// W is [outputs][inputs]. An error without rows, if something was not
  /// finite, or when damping is not positive.
  Result<FittedLinear> solve(MatrixView<const float> w, double damping) const;

private:
  int64_t inputs = 0, outputs = 0;
  Hessian moments; ///< Of x and y side by side.
};

} // namespace effc::compress

#endif // EFFC_COMPRESS_LINEARFIT_H
