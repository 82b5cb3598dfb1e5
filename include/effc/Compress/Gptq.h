//===- Gptq.h - rounding with error feedback --------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// GPTQ: columns of W are rounded one after the other, and each rounding error
/// is made up for in the columns that are still to come. With U upper
/// triangular, U^T U = H^-1,
///
///   e_i = (w_i - round(w_i)) / U_ii,    w_j -= e_i U_ij for j > i,
///
/// and the sum of all e^2 is tr(E H E^T), the squared error of the outputs. A
/// group's scale is chosen from the weights as they are when the group starts.
/// Rows are independent: they are worked on in tiles of fixed size, so threads
/// do not change the result.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_COMPRESS_GPTQ_H
#define EFFC_COMPRESS_GPTQ_H

#include "effc/Compress/Hessian.h"
#include "effc/Compress/Permutation.h"
#include "effc/Compress/Quantize.h"

namespace effc::compress {

struct GptqOptions {
  /// Row or Group granularity.
  WeightFormat format;
  /// Added to H's diagonal, times the mean of that diagonal.
  double damping = 0.01;
  /// Columns between two updates of all that is to the right.
  int64_t block = 128;
  /// Works on columns in descending order of H's diagonal. With groups the
  /// result stays in that order, so that groups are contiguous, and the layer's
  /// inputs must be permuted by `order`.
  bool activationOrder = false;
  /// Starts with the f64 factorisation instead of falling back to it.
  bool forceDouble = false;
};

struct GptqResult {
  /// Column j is column order[j] of the input.
  QuantizedMatrix weights;
  /// The identity unless activationOrder and groups.
  Permutation order;
  /// tr(E H E^T) with the damped H, and with dead columns (no input ever) taken
  /// as they are.
  double loss = 0;
  int64_t deadColumns = 0;
  bool usedDouble = false;
};

/// W is [out][in], the Hessian [in][in] and symmetric (Hessian::getMatrix).
Result<GptqResult> gptq(MatrixView<const float> w,
                        MatrixView<const float> hessian,
                        const GptqOptions &options,
                        const ParallelFor &parallel = serial());

/// Several matrices that read the same inputs share the factorisation.
class GptqFactor {
public:
  static Result<GptqFactor> create(MatrixView<const float> hessian,
                                   const GptqOptions &options,
                                   const ParallelFor &parallel = serial());
  /// The options' format may differ from that of `create`; damping and order
  /// may not be changed any more.
  Result<GptqResult> quantize(MatrixView<const float> w,
                              const WeightFormat &format,
                              const ParallelFor &parallel = serial()) const;

private:
  GptqOptions options;
  int64_t size = 0;
  std::vector<float> u; ///< In the order of `order`.
  std::vector<bool> dead;
  Permutation order;
  int64_t deadColumns = 0;
  bool usedDouble = false;
};

} // namespace effc::compress

#endif // EFFC_COMPRESS_GPTQ_H
