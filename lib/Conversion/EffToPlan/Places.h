//===- Places.h - where tensors lie -----------------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_EFFTOPLAN_PLACES_H
#define EFFC_LIB_CONVERSION_EFFTOPLAN_PLACES_H

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/SmallVector.h"

#include <optional>

namespace effc {

/// Where the elements of a tensor lie: element (i, j, ..) is at offset + (i *
/// strides[0] + j * strides[1] + ..) elements from what `base` names.
struct Place {
  mlir::Value base;
  /// In bytes.
  int64_t offset = 0;
  llvm::SmallVector<int64_t, 4> shape;
  /// In elements.
  llvm::SmallVector<int64_t, 4> strides;
  int64_t elementBytes = 4;

  /// Row-major without gaps.
  static Place contiguous(mlir::Value base, mlir::RankedTensorType type);
  bool isContiguous() const;
  /// The part that starts at element `index` of the first dimension, without
  /// that dimension.
  Place at(int64_t index) const;
};

/// A tensor as rows: row r starts r * ld elements behind the first.
struct RowLayout {
  int64_t rows, columns, ld;
};

/// The rows of a place, of the last dimension; nothing when they have no common
/// distance.
std::optional<RowLayout> getRowLayout(const Place &place);

/// The result of a reshape; nothing when it needs a copy.
std::optional<Place> expand(const Place &place, mlir::tensor::ExpandShapeOp op);
std::optional<Place> collapse(const Place &place,
                              mlir::tensor::CollapseShapeOp op);
/// The result of a slice with known offsets and steps of one.
std::optional<Place> slice(const Place &place, mlir::tensor::ExtractSliceOp op);

/// Bytes of one element in memory.
int64_t getElementBytes(mlir::Type type);

} // namespace effc

#endif // EFFC_LIB_CONVERSION_EFFTOPLAN_PLACES_H
