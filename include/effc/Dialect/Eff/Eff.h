//===- Eff.h - the eff dialect: attributes, types, ops ----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_EFF_EFF_H
#define EFFC_DIALECT_EFF_EFF_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "effc/Dialect/Eff/EffEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "effc/Dialect/Eff/EffAttrs.h.inc"

#define GET_TYPEDEF_CLASSES
#include "effc/Dialect/Eff/EffTypes.h.inc"

#include "effc/Dialect/Eff/EffInterfaces.h.inc"

#include "effc/Dialect/Eff/EffDialect.h.inc"

#define GET_OP_CLASSES
#include "effc/Dialect/Eff/EffOps.h.inc"

#endif // EFFC_DIALECT_EFF_EFF_H
