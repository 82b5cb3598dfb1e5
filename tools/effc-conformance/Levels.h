//===- Levels.h - ways to run a graph ---------------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_TOOLS_EFFC_CONFORMANCE_LEVELS_H
#define EFFC_TOOLS_EFFC_CONFORMANCE_LEVELS_H

#include "Case.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"

namespace effc::conformance {

using HostTensors = std::vector<onnx::HostTensor>;

/// The outputs of `@main` of a simplified graph with static types, for inputs
/// in the order of its arguments. `elements` are the outputs' element types.
/// Fails when the level does not cover the graph; diagnostics then say more.
llvm::Expected<HostTensors> runGraph(Level level, mlir::ModuleOp graph,
                                     llvm::ArrayRef<onnx::HostTensor> inputs,
                                     llvm::ArrayRef<mlir::Type> elements);

} // namespace effc::conformance

#endif // EFFC_TOOLS_EFFC_CONFORMANCE_LEVELS_H
