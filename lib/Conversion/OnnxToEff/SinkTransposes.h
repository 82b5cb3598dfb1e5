//===- SinkTransposes.h - layout changes behind what they feed --*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_ONNXTOEFF_SINKTRANSPOSES_H
#define EFFC_LIB_CONVERSION_ONNXTOEFF_SINKTRANSPOSES_H

#include "effc/Conversion/OnnxToEff/Raise.h"

namespace effc::raise {

/// Moves transposes behind the elementwise nodes, Splits and Slices that read
/// them, where every operand is transposed alike or constant. Leaves nodes that
/// nothing reads.
void sinkTransposes(mlir::func::FuncOp main, const RaiseOptions &options);

/// Moves Expands behind the elementwise nodes that read them, and turns the
/// choice of the one element of a dimension into a Reshape.
void prepareRepeats(mlir::func::FuncOp main, const RaiseOptions &options);

} // namespace effc::raise

#endif // EFFC_LIB_CONVERSION_ONNXTOEFF_SINKTRANSPOSES_H
