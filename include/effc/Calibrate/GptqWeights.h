//===- GptqWeights.h - GPTQ for the weights of a model ----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Chooses the integers of weights from the second moments of what they are
/// multiplied by (GPTQ, arXiv 2210.17323; effc/Compress/Gptq.h). Works on one
/// weight at a time: besides the Hessians, memory holds that weight and one
/// factor of one Hessian.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_CALIBRATE_GPTQWEIGHTS_H
#define EFFC_CALIBRATE_GPTQWEIGHTS_H

#include "effc/Compress/Gptq.h"
#include "effc/Compress/Observers.h"
#include "effc/Dialect/Eff/Eff.h"

#include "llvm/Support/Error.h"

#include <functional>

namespace effc {

/// A weight [n, k] whose type says the format that it is to have, #eff.int8 or
/// #eff.int4, and the observed Hessian [k, k] of what it is multiplied by.
struct GptqTask {
  eff::WeightOp weight;
  const compress::Observer *hessian;
};

struct GptqWeightsOptions {
  /// Added to a Hessian's diagonal, times the mean of that diagonal.
  double damping = 0.01;
  /// Ratios that a scale is shrunk by in search of the least error; 1: none.
  compress::ClipSearch clip;
  /// Weights of one scale per row are worked on in descending order of the
  /// Hessian's diagonal. (With groups the columns would have to be reordered.)
  bool activationOrder = true;
  /// Threads; 0: one for each processor. The result does not depend on it.
  unsigned threads = 0;
  /// Before each weight and after the last: multiplications done and in all,
  /// for the time left.
  std::function<void(llvm::StringRef weight, double done, double total)>
      progress;
};

struct GptqReport {
  eff::WeightOp weight;
  /// Relative squared error of the outputs (compress::outputError) by GPTQ, and
  /// what rounding to the nearest would make; both of 32 rows of the weight.
  double error = 0, roundedError = 0;
  int64_t deadColumns = 0; ///< Inputs that were always 0.
  bool usedDouble = false;
  double seconds = 0;
};

/// Gives each weight its integers and scales (eff::setQuantizedValues). Reports
/// in the order of the tasks. Errors are UserErrors and name the weight; those
/// before it have their integers then.
llvm::Expected<std::vector<GptqReport>>
gptqWeights(llvm::ArrayRef<GptqTask> tasks, const GptqWeightsOptions &options);

} // namespace effc

#endif // EFFC_CALIBRATE_GPTQWEIGHTS_H
