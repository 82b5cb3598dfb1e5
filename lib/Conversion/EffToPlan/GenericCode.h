//===- GenericCode.h - ops that no kernel family covers ---------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_EFFTOPLAN_GENERICCODE_H
#define EFFC_LIB_CONVERSION_EFFTOPLAN_GENERICCODE_H

#include "mlir/IR/Operation.h"

namespace effc {

/// Whether an op is repeated wherever its result is used: constants, empty
/// tensors, scalars.
bool isCloned(mlir::Operation *op);

} // namespace effc

#endif // EFFC_LIB_CONVERSION_EFFTOPLAN_GENERICCODE_H
