//===- Onnx.h - the onnx dialect --------------------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_ONNX_ONNX_H
#define EFFC_DIALECT_ONNX_ONNX_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include <optional>

#include "effc/Dialect/ONNX/OnnxDialect.h.inc"

#define GET_TYPEDEF_CLASSES
#include "effc/Dialect/ONNX/OnnxTypes.h.inc"

#define GET_OP_CLASSES
#include "effc/Dialect/ONNX/OnnxOps.h.inc"

#endif // EFFC_DIALECT_ONNX_ONNX_H
