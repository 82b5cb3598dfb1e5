//===- Places.cpp - where tensors lie -------------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Places.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace effc;

static llvm::SmallVector<int64_t, 4>
getRowMajorStrides(llvm::ArrayRef<int64_t> shape) {
  llvm::SmallVector<int64_t, 4> strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;)
    strides[i - 1] = strides[i] * shape[i];
  return strides;
}

int64_t effc::getElementBytes(Type type) {
  return llvm::divideCeil(type.getIntOrFloatBitWidth(), 8);
}

Place Place::contiguous(Value base, RankedTensorType type) {
  Place place;
  place.base = base;
  place.shape.assign(type.getShape().begin(), type.getShape().end());
  place.strides = getRowMajorStrides(place.shape);
  place.elementBytes = effc::getElementBytes(type.getElementType());
  return place;
}

bool Place::isContiguous() const {
  auto expected = getRowMajorStrides(shape);
  for (size_t i = 0; i < shape.size(); ++i)
    if (shape[i] != 1 && strides[i] != expected[i])
      return false;
  return true;
}

Place Place::at(int64_t index) const {
  Place part = *this;
  part.offset += index * strides[0] * elementBytes;
  part.shape.erase(part.shape.begin());
  part.strides.erase(part.strides.begin());
  return part;
}

std::optional<RowLayout> effc::getRowLayout(const Place &place) {
  size_t rank = place.shape.size();
  if (rank == 0)
    return RowLayout{1, 1, 1};
  int64_t columns = place.shape.back();
  if (columns != 1 && place.strides.back() != 1)
    return std::nullopt;
  // From the inside: each dimension must continue the rows of the one behind
  // it.
  int64_t rows = 1, ld = columns;
  for (size_t i = rank - 1; i-- > 0;) {
    if (place.shape[i] == 1)
      continue;
    if (rows == 1)
      ld = place.strides[i];
    else if (place.strides[i] != rows * ld)
      return std::nullopt;
    rows *= place.shape[i];
  }
  return RowLayout{rows, columns, ld};
}

std::optional<Place> effc::expand(const Place &place,
                                  tensor::ExpandShapeOp op) {
  Place result = place;
  RankedTensorType type = op.getResultType();
  result.shape.assign(type.getShape().begin(), type.getShape().end());
  result.strides.assign(result.shape.size(), 1);
  for (auto [dim, group] : llvm::enumerate(op.getReassociationIndices())) {
    int64_t stride = place.strides[dim];
    for (int64_t i : llvm::reverse(group)) {
      result.strides[i] = stride;
      stride *= result.shape[i];
    }
  }
  return result;
}

std::optional<Place> effc::collapse(const Place &place,
                                    tensor::CollapseShapeOp op) {
  Place result = place;
  RankedTensorType type = op.getResultType();
  result.shape.assign(type.getShape().begin(), type.getShape().end());
  result.strides.assign(result.shape.size(), 1);
  for (auto [dim, group] : llvm::enumerate(op.getReassociationIndices())) {
    // Dimensions of one element do not matter; the others must nest.
    int64_t extent = 1, stride = 1;
    for (int64_t i : llvm::reverse(group)) {
      if (place.shape[i] == 1)
        continue;
      if (extent == 1)
        stride = place.strides[i];
      else if (place.strides[i] != extent * stride)
        return std::nullopt;
      extent *= place.shape[i];
    }
    result.strides[dim] = stride;
  }
  return result;
}

std::optional<Place> effc::slice(const Place &place,
                                 tensor::ExtractSliceOp op) {
  auto isOne = [](int64_t step) { return step == 1; };
  if (llvm::any_of(op.getStaticOffsets(), ShapedType::isDynamic) ||
      !llvm::all_of(op.getStaticStrides(), isOne) ||
      !op.getResultType().hasStaticShape())
    return std::nullopt;
  Place result = place;
  result.shape.clear();
  result.strides.clear();
  llvm::SmallBitVector dropped = op.getDroppedDims();
  for (size_t i = 0; i < place.shape.size(); ++i) {
    result.offset +=
        op.getStaticOffsets()[i] * place.strides[i] * place.elementBytes;
    if (dropped.test(i))
      continue;
    result.shape.push_back(op.getStaticSizes()[i]);
    result.strides.push_back(place.strides[i]);
  }
  return result;
}
