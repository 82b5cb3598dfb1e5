//===- Scan.h - Scan, step by step ------------------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_ONNXTOLINALG_SCAN_H
#define EFFC_LIB_CONVERSION_ONNXTOLINALG_SCAN_H

#include "Lowering.h"

#include "mlir/IR/IRMapping.h"

namespace effc::lower {

/// Writes out the steps of a Scan (version 9 on) and maps its results in `values`. `convert` lowers one op of the body
/// under `values`. nullopt when the node has another form or too many steps.
std::optional<mlir::LogicalResult>
unrollScan(mlir::OpBuilder &builder, onnx::NodeOp node, ArrayRef<Value> operands, mlir::IRMapping &values,
           llvm::function_ref<mlir::LogicalResult(mlir::Operation &)> convert);

} // namespace effc::lower

#endif // EFFC_LIB_CONVERSION_ONNXTOLINALG_SCAN_H
