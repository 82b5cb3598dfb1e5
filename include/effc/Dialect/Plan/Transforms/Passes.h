//===- Passes.h - passes over plans -----------------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_PLAN_TRANSFORMS_PASSES_H
#define EFFC_DIALECT_PLAN_TRANSFORMS_PASSES_H

#include "effc/Dialect/Plan/Plan.h"
#include "mlir/Pass/Pass.h"

namespace effc::plan {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "effc/Dialect/Plan/Transforms/Passes.h.inc"

} // namespace effc::plan

#endif // EFFC_DIALECT_PLAN_TRANSFORMS_PASSES_H
