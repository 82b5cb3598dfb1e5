//===- CheckQuantisation.h - scales and zero points of a graph --*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_CONVERSION_ONNXTOEFF_CHECKQUANTISATION_H
#define EFFC_CONVERSION_ONNXTOEFF_CHECKQUANTISATION_H

#include "mlir/IR/BuiltinOps.h"

namespace effc {

/// Checks the constant scales and zero points of operators on integers, before
/// anything is folded: scales are finite, there are as many as what they belong
/// to needs, and as many zero points. Emits EFF0214 for the first that is not
/// so. MatMulNBits and GatherBlockQuantized say it themselves where they are
/// recognised.
mlir::LogicalResult checkQuantisation(mlir::ModuleOp onnx);

} // namespace effc

#endif // EFFC_CONVERSION_ONNXTOEFF_CHECKQUANTISATION_H
