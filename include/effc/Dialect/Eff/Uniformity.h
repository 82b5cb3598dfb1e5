//===- Uniformity.h - what is equal along a dimension -----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A dataflow analysis over tensors. For each dimension a value has a block: it
/// is constant within each aligned run of so many indices (1: nothing is known;
/// the dimension's size: uniform). A value may also have an addend with larger
/// blocks than its own, that is, value = addend + rest: the lattice of each
/// dimension is varying, sum, uniform. Followed through constants, broadcasts,
/// transposes, reshapes, slices, splits, concatenations, elementwise ops, scan
/// orders of images and their merge, and expanded channels. Everything else is
/// varying.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_EFF_UNIFORMITY_H
#define EFFC_DIALECT_EFF_UNIFORMITY_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SmallVector.h"

namespace effc::eff {

class Uniformity {
public:
  /// One number for each dimension, each a divisor of the dimension's size.
  using Blocks = llvm::SmallVector<int64_t, 4>;

  explicit Uniformity(mlir::func::FuncOp function);

  enum class Kind { Varying, Sum, Uniform };
  /// Of the last dimension, asked for blocks of so many features.
  Kind getKind(mlir::Value value, int64_t features) const;

  /// The blocks of a value itself.
  Blocks getBlocks(mlir::Value value) const;
  /// Those of its addend: at least the value's own.
  Blocks getAddend(mlir::Value value) const;

private:
  struct State {
    Blocks own, addend;
  };
  void visit(mlir::Operation *op);
  State get(mlir::Value value) const;

  llvm::DenseMap<mlir::Value, State> states;
};

} // namespace effc::eff

#endif // EFFC_DIALECT_EFF_UNIFORMITY_H
