//===- Passes.h - passes over generic code ----------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_TARGET_GENERIC_PASSES_H
#define EFFC_TARGET_GENERIC_PASSES_H

#include "effc/Dialect/Plan/Plan.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace effc {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "effc/Target/Generic/Passes.h.inc"

} // namespace effc

#endif // EFFC_TARGET_GENERIC_PASSES_H
