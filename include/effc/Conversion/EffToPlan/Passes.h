//===- Passes.h - from the eff dialect to the plan dialect ------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_CONVERSION_EFFTOPLAN_PASSES_H
#define EFFC_CONVERSION_EFFTOPLAN_PASSES_H

#include "effc/Dialect/Plan/Plan.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace effc {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "effc/Conversion/EffToPlan/Passes.h.inc"

} // namespace effc

#endif // EFFC_CONVERSION_EFFTOPLAN_PASSES_H
