//===- Lower.h - from onnx nodes to linalg on tensors -----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What each operator means, in arith, math, tensor and linalg on tensors of
/// static shape. Raising calls it for the nodes that no op of `eff` covers; the
/// pass `convert-onnx-to-linalg` for whole graphs.
///
/// Elementwise nodes whose operands have the result's shape become plain arith
/// and math ops on tensors. Integers are signless in the result; what is
/// unsigned follows from the node's own types.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_CONVERSION_ONNXTOLINALG_LOWER_H
#define EFFC_CONVERSION_ONNXTOLINALG_LOWER_H

#include "effc/Dialect/ONNX/Onnx.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Pass/Pass.h"

namespace effc {

/// Whether the operator has a lowering. A node may still be outside of what it
/// covers.
bool hasLinalgLowering(onnx::NodeOp node);

/// Computes the node's results from `operands`: one tensor of static shape for
/// each operand of the node, null where absent. Operands that must be known at
/// compile time (axes, pads, ...) are read from the node's `onnx.constant` or
/// the operand's `arith.constant`. Results have static shapes, null where the
/// node's result is absent.
///
/// Element types are those of the node, signless. With `floats`, every float
/// that is not wider is computed in that type; so it is without it when a float
/// operand has another type than the node says.
///
/// Fails without a diagnostic when the node is not covered; ops that were built
/// until then have no users.
mlir::FailureOr<llvm::SmallVector<mlir::Value>>
lowerToLinalg(mlir::OpBuilder &builder, onnx::NodeOp node,
              llvm::ArrayRef<mlir::Value> operands, mlir::Type floats = {});

/// Lowers one op of a graph: a constant, or a node, also one with subgraphs.
/// `values` holds what stands for its operands and for what subgraphs read from
/// outside; the results are added, but for constants that are no numbers. Fails
/// without a diagnostic as lowerToLinalg does.
mlir::LogicalResult lowerOp(mlir::OpBuilder &builder, mlir::Operation &op,
                            mlir::IRMapping &values, mlir::Type floats = {});

/// Where inference found no shape for an output, the one that the file declares
/// serves; a lowering that makes another one is refused.
void trustDeclaredShapes(mlir::func::FuncOp function);

/// The signless tensor type that stands for a type of the onnx dialect; null
/// when none does.
mlir::RankedTensorType getLoweredType(mlir::Type type);

#define GEN_PASS_DECL
#include "effc/Conversion/OnnxToLinalg/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "effc/Conversion/OnnxToLinalg/Passes.h.inc"

} // namespace effc

#endif // EFFC_CONVERSION_ONNXTOLINALG_LOWER_H
