//===- Infer.h - result types of nodes --------------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_FRONTEND_ONNX_INFER_H
#define EFFC_LIB_FRONTEND_ONNX_INFER_H

#include "effc/Dialect/ONNX/Onnx.h"
#include "effc/Frontend/ONNX/HostTensor.h"
#include "effc/Support/Error.h"

#include <optional>

namespace effc::onnx {

using Shape = llvm::SmallVector<int64_t>;

/// The constant that a value is; null when it is none.
mlir::ElementsAttr constantOf(mlir::Value value);
/// The integers that a constant operand of at most 2^20 elements holds.
std::optional<Shape> constantInts(mlir::Value value);
/// The type with all sizes known; null otherwise.
mlir::RankedTensorType staticTypeOf(mlir::Value value);

/// "tensor<2x4xf32>, tensor<3xf32>" for messages.
std::string describeOperands(NodeOp node);

/// A node whose result types are being found. A rule leaves results alone where
/// it cannot tell.
class Inference {
public:
  explicit Inference(NodeOp node) : op(node) {}

  NodeOp op;

  /// Operand `i`'s type; null when it is absent or not static.
  mlir::RankedTensorType type(unsigned i) {
    mlir::Value value = op.getInput(i);
    return value ? staticTypeOf(value) : mlir::RankedTensorType();
  }
  bool has(unsigned i) { return bool(op.getInput(i)); }
  std::optional<Shape> ints(unsigned i) {
    mlir::Value value = op.getInput(i);
    return value ? constantInts(value) : std::nullopt;
  }
  /// Sets result `i` where it exists.
  void set(unsigned i, llvm::ArrayRef<int64_t> shape, mlir::Type element);
  /// The error EFF0213 at this node.
  mlir::LogicalResult mismatch(const llvm::Twine &why);
  /// The error EFF0206 at this node.
  mlir::LogicalResult wrong(const llvm::Twine &why);
  /// `axis` counted from the front; failure (with an error) outside [-rank,
  /// rank).
  mlir::FailureOr<int64_t> axis(int64_t axis, int64_t rank);
};

using InferFn = mlir::LogicalResult (*)(Inference &);

/// Numpy's rule; nullopt where the shapes do not fit.
std::optional<Shape> broadcast(llvm::ArrayRef<int64_t> a,
                               llvm::ArrayRef<int64_t> b);

/// Finds the result types of a node in normal form from its operands. Operators
/// that are not known, and operands that are not static, leave them as they
/// are.
mlir::LogicalResult inferTypes(NodeOp node);

InferFn findElementwiseRule(NodeOp node);
InferFn findMovementRule(NodeOp node);
InferFn findLayerRule(NodeOp node);
InferFn findRecurrentRule(NodeOp node);
InferFn findContribRule(NodeOp node);

} // namespace effc::onnx

#endif // EFFC_LIB_FRONTEND_ONNX_INFER_H
