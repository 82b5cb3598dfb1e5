//===- RoundWeights.h - rounding with error feedback ------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_DIALECT_EFF_TRANSFORMS_ROUNDWEIGHTS_H
#define EFFC_LIB_DIALECT_EFF_TRANSFORMS_ROUNDWEIGHTS_H

#include "Statistics.h"

namespace effc::eff {

/// What rounding a weight cost: the squared error of the outputs relative to
/// the outputs, `tr(E H E^T) / tr(W H W^T)`, and what rounding to the nearest
/// would have cost.
struct RoundedWeight {
  WeightOp op;
  double error, nearestError;
};

/// Gives weights of integer formats the integers that GPTQ (arXiv 2210.17323)
/// finds for the inputs that calibration has seen (`linear:@W:in`). Weights
/// without a Hessian are left to be rounded to nearest. One weight is in memory
/// at a time; the result does not depend on the number of threads.
llvm::Expected<std::vector<RoundedWeight>>
roundWithFeedback(llvm::ArrayRef<WeightOp> weights,
                  const Statistics &statistics);

} // namespace effc::eff

#endif // EFFC_LIB_DIALECT_EFF_TRANSFORMS_ROUNDWEIGHTS_H
