//===- FeatureOrder.h - what a new order of channels reaches ----*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Putting the features of one value in another order asks the same of the
/// values beside it, until weights take the order in: rows of what writes a
/// value, columns of what reads it. FeatureOrders follows that through a
/// function and gathers what each weight must take.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_DIALECT_EFF_TRANSFORMS_FEATUREORDER_H
#define EFFC_LIB_DIALECT_EFF_TRANSFORMS_FEATUREORDER_H

#include "effc/Compress/Permutation.h"
#include "effc/Dialect/Eff/Eff.h"

#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

namespace effc::eff {

class FeatureOrders {
public:
  /// New orders of a weight's dimensions; absent: as it is. A vector has rows.
  struct WeightOrder {
    std::optional<compress::Permutation> rows, columns;
  };

  /// Puts the features of a value in an order. Nothing is followed before
  /// `propagate`.
  mlir::LogicalResult require(mlir::Value value,
                              const compress::Permutation &order,
                              mlir::Operation *asker);
  /// The rows of a weight (`resource` is an `eff.use`) that `operand` reads.
  mlir::LogicalResult requireRows(mlir::OpOperand &operand,
                                  const compress::Permutation &order);
  mlir::LogicalResult requireColumns(mlir::OpOperand &operand,
                                     const compress::Permutation &order);

  /// Follows all orders through the ops that have the values. When an op does
  /// not commute, reports which and why.
  mlir::LogicalResult propagate();

  /// By symbol, in the order in which they were reached.
  const llvm::MapVector<llvm::StringRef, WeightOrder> &getWeights() const {
    return weights;
  }
  /// Channels of convolution states, by symbol.
  const llvm::MapVector<llvm::StringRef, compress::Permutation> &
  getStates() const {
    return states;
  }
  /// The operands through which weights were reached.
  bool isReached(mlir::OpOperand &operand) const {
    return reached.contains(&operand);
  }
  bool isOrdered(mlir::Value value) const { return orders.count(value); }
  /// Ops whose wiring is known without following: their operands are asked for
  /// with `require`.
  void setAnchor(mlir::Operation *op) { anchors.insert(op); }

private:
  mlir::LogicalResult visit(mlir::Operation *op, mlir::Value value);
  mlir::LogicalResult visitElementwise(mlir::Operation *op,
                                       const compress::Permutation &order);
  mlir::LogicalResult visitLinear(LinearOp linear, mlir::Value value);
  mlir::LogicalResult visitConv(CausalConv1DOp conv,
                                const compress::Permutation &order);
  mlir::LogicalResult visitNorm(mlir::Operation *norm,
                                const compress::Permutation &order);
  mlir::LogicalResult closeSplit(SplitOp split);

  llvm::MapVector<mlir::Value, compress::Permutation> orders;
  llvm::MapVector<llvm::StringRef, WeightOrder> weights;
  llvm::MapVector<llvm::StringRef, compress::Permutation> states;
  llvm::DenseSet<mlir::OpOperand *> reached;
  llvm::SmallVector<mlir::Value> work;
  llvm::SetVector<mlir::Operation *> splits;
  llvm::DenseSet<mlir::Operation *> anchors, closed;
};

/// Emits error EFF0421 at an op.
mlir::LogicalResult refuseReordering(mlir::Operation *op,
                                     const llvm::Twine &why,
                                     const llvm::Twine &hint = {});

} // namespace effc::eff

#endif // EFFC_LIB_DIALECT_EFF_TRANSFORMS_FEATUREORDER_H
