//===- CancelUniform.h - layer norms drop what is uniform -------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_DIALECT_EFF_TRANSFORMS_CANCELUNIFORM_H
#define EFFC_LIB_DIALECT_EFF_TRANSFORMS_CANCELUNIFORM_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

namespace effc::eff {

/// Applies eff-cancel-uniform to a module; the number of layer norms that lost
/// an addend.
llvm::Expected<int64_t> cancelUniformAddends(mlir::ModuleOp module);

} // namespace effc::eff

#endif // EFFC_LIB_DIALECT_EFF_TRANSFORMS_CANCELUNIFORM_H
