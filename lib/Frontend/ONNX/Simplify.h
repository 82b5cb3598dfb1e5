//===- Simplify.h - one forward walk over a graph ---------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_FRONTEND_ONNX_SIMPLIFY_H
#define EFFC_LIB_FRONTEND_ONNX_SIMPLIFY_H

#include "Infer.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"

namespace effc::onnx {

/// What happened to a node.
enum class Step {
  Error,    // an error was emitted
  Kept,     // the node is there, perhaps changed
  Replaced, // the node is gone; new nodes stand before its place
};

/// Normalises, infers and folds nodes in their order. Nodes that a rewrite
/// makes are visited in turn.
class Simplifier {
public:
  Simplifier(mlir::MLIRContext *context, int64_t maxUnroll)
      : b(context), unrollBudget(maxUnroll) {}

  mlir::LogicalResult run(mlir::Block &block);

  // For the rules in Normalize*.cpp and Control.cpp.

  mlir::OpBuilder b;
  /// A constant of one or more integers, before the node that is being visited.
  mlir::Value ints(NodeOp at, llvm::ArrayRef<int64_t> values);
  mlir::Value constant(NodeOp at, mlir::ElementsAttr value,
                       llvm::StringRef name = "");
  /// A node of ai.onnx with the location of `at`, before it; its type is found
  /// when it is visited.
  NodeOp make(NodeOp at, llvm::StringRef type,
              llvm::ArrayRef<mlir::Value> operands, unsigned results = 1);
  Step replace(NodeOp op, mlir::ValueRange values);

private:
  mlir::LogicalResult runRange(mlir::Operation *first, mlir::Operation *end);
  Step visit(NodeOp op);
  Step fold(NodeOp op);
  bool worthFolding(NodeOp op, bool hasWeight);
  mlir::ElementsAttr gatherRows(NodeOp op);
  void release(llvm::ArrayRef<mlir::Value> operands);
  /// The value as a constant, computing pending casts and views of
  /// initializers.
  mlir::ElementsAttr valueOf(mlir::Value value, unsigned depth = 0);

  // Control.cpp
  Step visitControl(NodeOp op);
  Step visitIf(NodeOp op);
  mlir::LogicalResult inferLoop(NodeOp op, mlir::Block &body);
  Step splitBatch(NodeOp op);
  Step visitLoop(NodeOp op);
  Step visitScan(NodeOp op);
  Step visitSequence(NodeOp op);
  mlir::LogicalResult inlineBlock(NodeOp op, mlir::Block &block,
                                  llvm::ArrayRef<mlir::Value> arguments,
                                  llvm::SmallVectorImpl<mlir::Value> &results);

  llvm::DenseMap<mlir::Value, llvm::SmallVector<mlir::Value>> sequences;
  /// Resources that folding made in this walk; no other module refers to them.
  llvm::DenseSet<mlir::Attribute> made;
  int64_t foldedBytes = 0;
  int64_t unrollBudget;
};

/// Whether a node reads the rows of a table at the positions of a call that
/// comes behind others, for a sum: learned positions of a model that generates.
/// They depend on the call and are not folded.
bool isPositionRows(NodeOp op);

/// Brings a node of ai.onnx to its normal form. Normalize.cpp,
/// NormalizeViews.cpp, NormalizeMasks.cpp.
Step normalize(Simplifier &s, NodeOp op);
Step normalizeView(Simplifier &s, NodeOp op);
Step normalizeMask(Simplifier &s, NodeOp op);
/// The form of opset 6 and before: `b` is aligned with the axes of `a` from
/// `axis` on.
Step normalizeBroadcast(Simplifier &s, NodeOp op);

} // namespace effc::onnx

#endif // EFFC_LIB_FRONTEND_ONNX_SIMPLIFY_H
