//===- Eval.h - nodes computed at compile time ------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_FRONTEND_ONNX_EVAL_H
#define EFFC_FRONTEND_ONNX_EVAL_H

#include "effc/Dialect/ONNX/Onnx.h"
#include "effc/Frontend/ONNX/HostTensor.h"

#include <optional>

namespace effc::onnx {

/// Whether `evaluate` knows the operator.
bool canEvaluate(NodeOp node);

/// The results of a node in the form that onnx-simplify leaves (explicit axes,
/// static result types), for the given operands; null pointers stand for absent
/// ones. Floats are computed in double and rounded to the result's type once
/// per node, so each result is at least as exact as one computed in that type.
/// nullopt when the operator, its attributes or an element type are not known
/// here.
std::optional<llvm::SmallVector<HostTensor>>
evaluate(NodeOp node, llvm::ArrayRef<const HostTensor *> operands);

/// The same on attributes; null attributes stand for absent operands.
std::optional<llvm::SmallVector<mlir::ElementsAttr>>
evaluate(NodeOp node, llvm::ArrayRef<mlir::ElementsAttr> operands);

} // namespace effc::onnx

#endif // EFFC_FRONTEND_ONNX_EVAL_H
