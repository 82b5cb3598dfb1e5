//===- Plan.h - the plan dialect: types and ops -----------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_PLAN_PLAN_H
#define EFFC_DIALECT_PLAN_PLAN_H

#include "effc/Dialect/Eff/Eff.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/RegionKindInterface.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "effc/Dialect/Plan/PlanDialect.h.inc"

#define GET_TYPEDEF_CLASSES
#include "effc/Dialect/Plan/PlanTypes.h.inc"

#define GET_OP_CLASSES
#include "effc/Dialect/Plan/PlanOps.h.inc"

#endif // EFFC_DIALECT_PLAN_PLAN_H
