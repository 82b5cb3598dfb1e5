//===- OpUtils.h - checks that verifiers share ------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_DIALECT_EFF_OPUTILS_H
#define EFFC_LIB_DIALECT_EFF_OPUTILS_H

#include "effc/Dialect/Eff/Eff.h"

namespace effc::eff {

/// Checks that `value`, a tensor, weight or state, has a shape; `what` names it
/// in the message of `constraint`.
mlir::LogicalResult checkShape(mlir::Operation *op, llvm::StringRef constraint,
                               llvm::StringRef what, mlir::Value value,
                               llvm::ArrayRef<int64_t> expected);

/// Shape of a tensor, weight or state.
llvm::ArrayRef<int64_t> getShapeOf(mlir::Value value);

/// The basis of a tensor's features; null when they are as the model has them.
BasisAttr getBasis(mlir::Value value);

/// Whether `divisor` is positive and divides `value`.
bool divides(int64_t divisor, int64_t value);

/// Product of all dimensions but the last.
int64_t getRows(llvm::ArrayRef<int64_t> shape);

} // namespace effc::eff

#endif // EFFC_LIB_DIALECT_EFF_OPUTILS_H
