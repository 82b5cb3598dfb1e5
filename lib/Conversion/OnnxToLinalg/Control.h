//===- Control.h - nodes with subgraphs -------------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_ONNXTOLINALG_CONTROL_H
#define EFFC_LIB_CONVERSION_ONNXTOLINALG_CONTROL_H

#include "Lowering.h"

#include "mlir/IR/IRMapping.h"

namespace effc::lower {

/// Lowers one op of a subgraph; adds its results to the values.
using LowerInner = llvm::function_ref<mlir::LogicalResult(mlir::Operation &)>;

/// Lowers a node that has subgraphs. `values` holds what stands for its
/// operands and for what the subgraphs read from outside; the results are
/// added. nullopt when the node is not covered. Success without results means
/// that a node of a subgraph has no lowering.
std::optional<mlir::LogicalResult>
lowerControl(mlir::OpBuilder &builder, onnx::NodeOp node,
             ArrayRef<Value> operands, mlir::IRMapping &values,
             mlir::Type floats, LowerInner lowerInner);

/// A Loop that runs while its condition holds.
std::optional<mlir::LogicalResult> runLoop(Lowering &l, mlir::IRMapping &values,
                                           LowerInner lowerInner);

/// A Scan, step by step.
std::optional<mlir::LogicalResult>
unrollScan(Lowering &l, mlir::IRMapping &values, LowerInner lowerInner);

} // namespace effc::lower

#endif // EFFC_LIB_CONVERSION_ONNXTOLINALG_CONTROL_H
