//===- EmptyTensors.h - tensors without elements ----------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_ONNXTOEFF_EMPTYTENSORS_H
#define EFFC_LIB_CONVERSION_ONNXTOEFF_EMPTYTENSORS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace effc::raise {

/// Removes what computes or reads tensors without elements: a result without
/// elements is `tensor.empty`, a reduction over nothing what it starts from.
void removeEmptyTensors(mlir::func::FuncOp function);

} // namespace effc::raise

#endif // EFFC_LIB_CONVERSION_ONNXTOEFF_EMPTYTENSORS_H
