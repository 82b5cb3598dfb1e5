//===- TensorOps.cpp - the tensor dialect and constants -------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Call.h"
#include "effc/Dialect/Eff/Rounding.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/TypeSwitch.h"

#include <cstring>

using namespace mlir;

namespace effc::reference {

//===----------------------------------------------------------------------===//
// Constants
//===----------------------------------------------------------------------===//

template <typename E> static E load(const char *bytes, int64_t index) {
  E value;
  std::memcpy(&value, bytes + index * int64_t(sizeof(E)), sizeof(E));
  return value;
}

/// Element `index` of raw little-endian data as a float; nullopt for other
/// types.
static std::optional<double> loadFloat(Type type, const char *bytes,
                                       int64_t index) {
  if (type.isF32())
    return load<float>(bytes, index);
  if (type.isF64())
    return load<double>(bytes, index);
  if (type.isF16())
    return eff::fromF16(load<uint16_t>(bytes, index));
  if (type.isBF16())
    return eff::fromBF16(load<uint16_t>(bytes, index));
  // Smaller ones take a byte each.
  if (auto small = dyn_cast<FloatType>(type); small && small.getWidth() <= 8) {
    APFloat value(small.getFloatSemantics(),
                  APInt(small.getWidth(), load<uint8_t>(bytes, index),
                        /*isSigned=*/false, /*implicitTrunc=*/true));
    return value.convertToDouble();
  }
  return std::nullopt;
}

static std::optional<int64_t> loadInteger(Type type, const char *bytes,
                                          int64_t index) {
  if (!type.isIntOrIndex())
    return std::nullopt;
  switch (type.isIndex() ? 64 : type.getIntOrFloatBitWidth()) {
  case 1:
    return bytes[index] != 0;
  case 2:
  case 4:
    return llvm::SignExtend64(load<uint8_t>(bytes, index),
                              type.getIntOrFloatBitWidth());
  case 8:
    return load<int8_t>(bytes, index);
  case 16:
    return load<int16_t>(bytes, index);
  case 32:
    return load<int32_t>(bytes, index);
  case 64:
    return load<int64_t>(bytes, index);
  default:
    return std::nullopt;
  }
}

template <typename T>
static llvm::Expected<Tensor<T>> decodeRaw(arith::ConstantOp op, Type type,
                                           ArrayRef<char> bytes, bool splat,
                                           Tensor<T> result) {
  int64_t count = result.getNumElements();
  int64_t bits = type.isIndex() ? 64 : type.getIntOrFloatBitWidth();
  if (int64_t(bytes.size()) < (splat ? 1 : count) * ((bits + 7) / 8))
    return cannotInterpret(op, "its data is too short");
  for (int64_t i = 0; i < count; ++i) {
    int64_t at = splat ? 0 : i;
    if (result.isInteger) {
      std::optional<int64_t> value = loadInteger(type, bytes.data(), at);
      if (!value)
        return cannotInterpret(op, "its element type is not supported");
      result.integers[i] = *value;
    } else {
      std::optional<double> value = loadFloat(type, bytes.data(), at);
      if (!value)
        return cannotInterpret(op, "its element type is not supported");
      result.floats[i] = T(*value);
    }
  }
  return result;
}

template <typename T>
static llvm::Expected<Tensor<T>> decode(arith::ConstantOp op) {
  Attribute value = op.getValue();
  Type type = getElementTypeOrSelf(op.getType());
  Tensor<T> scalar({}, type.isIntOrIndex());
  if (auto number = dyn_cast<FloatAttr>(value)) {
    scalar.floats[0] = T(number.getValueAsDouble());
    return scalar;
  }
  if (auto number = dyn_cast<IntegerAttr>(value)) {
    scalar.integers[0] = type.isInteger(1) ? number.getValue().getZExtValue()
                                           : number.getValue().getSExtValue();
    return scalar;
  }
  auto tensorType = dyn_cast<RankedTensorType>(op.getType());
  if (!tensorType || !tensorType.hasStaticShape() ||
      !type.isIntOrIndexOrFloat())
    return cannotInterpret(op, "it is not a scalar or tensor of numbers");
  Tensor<T> result(tensorType.getShape(), type.isIntOrIndex());
  if (auto dense = dyn_cast<DenseElementsAttr>(value)) {
    // Bits of i1 are packed.
    if (!type.isInteger(1))
      return decodeRaw(op, type, dense.getRawData(), dense.isSplat(),
                       std::move(result));
    for (auto [index, bit] : llvm::enumerate(dense.getValues<bool>()))
      result.integers[index] = bit;
    return result;
  }
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(value))
    if (AsmResourceBlob *blob = resource.getRawHandle().getBlob())
      return decodeRaw(op, type, blob->getData(), /*splat=*/false,
                       std::move(result));
  return cannotInterpret(op, "its value is absent or of an unknown kind");
}

template <typename T>
llvm::Error evaluate(arith::ConstantOp op, Call<T> &call) {
  llvm::Expected<Tensor<T>> value = decode<T>(op);
  if (!value)
    return value.takeError();
  call.set(op.getResult(), std::move(*value));
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Copies between tensors
//===----------------------------------------------------------------------===//

template <typename T>
static void copyElement(const Tensor<T> &from, int64_t source, Tensor<T> &to,
                        int64_t target) {
  if (from.isInteger)
    to.integers[target] = from.integers[source];
  else
    to.floats[target] = from.floats[source];
}

namespace {
/// A box of elements inside a tensor: element (i..) of the box is element
/// `offsets + i * strides` of the tensor.
struct Box {
  llvm::SmallVector<int64_t, 4> offsets, sizes, strides;

  bool isInside(ArrayRef<int64_t> shape) const {
    for (size_t i = 0; i < shape.size(); ++i) {
      int64_t last = offsets[i] + (sizes[i] - 1) * strides[i];
      if (sizes[i] > 0 && (std::min(offsets[i], last) < 0 ||
                           std::max(offsets[i], last) >= shape[i]))
        return false;
    }
    return true;
  }

  /// Calls `visit(element of the tensor)` in row-major order of the box.
  template <typename Visit>
  void forEach(ArrayRef<int64_t> shape, Visit visit, size_t dimension = 0,
               int64_t offset = 0) const {
    if (dimension == shape.size())
      return visit(offset);
    for (int64_t i = 0; i < sizes[dimension]; ++i)
      forEach(shape, visit, dimension + 1,
              offset * shape[dimension] + offsets[dimension] +
                  i * strides[dimension]);
  }
};
} // namespace

template <typename T>
static llvm::Expected<Box> getBox(OffsetSizeAndStrideOpInterface op,
                                  Call<T> &call) {
  auto resolve = [&](ArrayRef<OpFoldResult> values) {
    llvm::SmallVector<int64_t, 4> numbers;
    for (OpFoldResult value : values) {
      if (auto attribute = dyn_cast<Attribute>(value))
        numbers.push_back(cast<IntegerAttr>(attribute).getInt());
      else
        numbers.push_back(call.get(cast<Value>(value)).integers[0]);
    }
    return numbers;
  };
  return Box{resolve(op.getMixedOffsets()), resolve(op.getMixedSizes()),
             resolve(op.getMixedStrides())};
}

template <typename T>
static llvm::Error evaluate(tensor::ExtractSliceOp op, Call<T> &call) {
  const Tensor<T> &source = call.get(op.getSource());
  llvm::Expected<Box> box = getBox<T>(op, call);
  if (!box)
    return box.takeError();
  if (!op.getType().hasStaticShape() || !box->isInside(source.shape))
    return cannotInterpret(op, "the slice is not inside the tensor");
  Tensor<T> result(op.getType().getShape(), source.isInteger);
  int64_t next = 0;
  box->forEach(source.shape, [&](int64_t element) {
    copyElement(source, element, result, next++);
  });
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T>
static llvm::Error evaluate(tensor::InsertSliceOp op, Call<T> &call) {
  const Tensor<T> &source = call.get(op.getSource());
  Tensor<T> result = call.get(op.getDest());
  llvm::Expected<Box> box = getBox<T>(op, call);
  if (!box)
    return box.takeError();
  if (!box->isInside(result.shape))
    return cannotInterpret(op, "the slice is not inside the tensor");
  int64_t next = 0;
  box->forEach(result.shape, [&](int64_t element) {
    copyElement(source, next++, result, element);
  });
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T>
static llvm::Error evaluate(tensor::ConcatOp op, Call<T> &call) {
  if (!op.getResultType().hasStaticShape())
    return cannotInterpret(op, "its shape is not static");
  Tensor<T> result(op.getResultType().getShape(),
                   op.getResultType().getElementType().isIntOrIndex());
  Box box;
  box.offsets.assign(result.shape.size(), 0);
  box.strides.assign(result.shape.size(), 1);
  for (Value input : op.getInputs()) {
    const Tensor<T> &source = call.get(input);
    box.sizes = source.shape;
    int64_t next = 0;
    box.forEach(result.shape, [&](int64_t element) {
      copyElement(source, next++, result, element);
    });
    box.offsets[op.getDim()] += source.shape[op.getDim()];
  }
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T>
static llvm::Error evaluate(tensor::PadOp op, Call<T> &call) {
  const Tensor<T> &source = call.get(op.getSource());
  Value padding = op.getConstantPaddingValue();
  ArrayRef<int64_t> low = op.getStaticLow();
  if (!padding || !op.getResultType().hasStaticShape() ||
      llvm::is_contained(low, ShapedType::kDynamic) ||
      llvm::any_of(low, [](int64_t value) { return value < 0; }) ||
      llvm::any_of(op.getStaticHigh(), [](int64_t value) { return value < 0; }))
    return cannotInterpret(op, "it is not a static pad with a constant");
  if (auto constant = padding.getDefiningOp<arith::ConstantOp>())
    if (llvm::Error error = evaluate(constant, call))
      return error;
  const Tensor<T> &value = call.get(padding);
  Tensor<T> result(op.getResultType().getShape(), source.isInteger);
  if (result.isInteger)
    llvm::fill(result.integers, value.integers[0]);
  else
    llvm::fill(result.floats, value.floats[0]);
  Box box{llvm::SmallVector<int64_t, 4>(low), source.shape,
          llvm::SmallVector<int64_t, 4>(low.size(), 1)};
  int64_t next = 0;
  box.forEach(result.shape, [&](int64_t element) {
    copyElement(source, next++, result, element);
  });
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T>
static llvm::Error evaluate(tensor::ExtractOp op, Call<T> &call) {
  const Tensor<T> &source = call.get(op.getTensor());
  int64_t offset = 0;
  for (auto [dimension, index] : llvm::zip(source.shape, op.getIndices())) {
    int64_t at = call.get(index).integers[0];
    if (at < 0 || at >= dimension)
      return cannotInterpret(op, "an index is outside the tensor");
    offset = offset * dimension + at;
  }
  Tensor<T> result({}, source.isInteger);
  copyElement(source, offset, result, 0);
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

/// Elements stay where they are and get another shape: expand_shape,
/// collapse_shape, reshape, cast.
template <typename T>
static llvm::Error evaluateReshape(Operation *op, Call<T> &call) {
  auto type = cast<RankedTensorType>(op->getResult(0).getType());
  Tensor<T> result = call.get(op->getOperand(0));
  if (!type.hasStaticShape() ||
      type.getNumElements() != result.getNumElements())
    return cannotInterpret(op, "its shape is not static");
  // Defined rows are rows of the last dimension.
  if (result.definedRows >= 0) {
    int64_t elements = result.definedRows * result.getColumns();
    int64_t columns = type.getRank() ? type.getShape().back() : 1;
    if (columns == 0 || elements % columns)
      return cannotInterpret(op, "it cuts rows of eff.select_rows");
    result.definedRows = elements / columns;
  }
  result.shape.assign(type.getShape().begin(), type.getShape().end());
  call.set(op->getResult(0), std::move(result));
  return llvm::Error::success();
}

/// Ops whose result holds given elements: empty, splat, from_elements.
template <typename T>
static llvm::Error evaluateElements(Operation *op, Call<T> &call) {
  auto type = cast<RankedTensorType>(op->getResult(0).getType());
  if (!type.hasStaticShape())
    return cannotInterpret(op, "its shape is not static");
  Tensor<T> result(type.getShape(), type.getElementType().isIntOrIndex());
  bool splat = isa<tensor::SplatOp>(op);
  if (!isa<tensor::EmptyOp>(op))
    for (int64_t i = 0; i < result.getNumElements(); ++i)
      copyElement(call.get(op->getOperand(splat ? 0 : i)), 0, result, i);
  call.set(op->getResult(0), std::move(result));
  return llvm::Error::success();
}

template <typename T>
llvm::Error evaluateTensorOp(Operation *op, Call<T> &call) {
  return llvm::TypeSwitch<Operation *, llvm::Error>(op)
      .Case<tensor::ExtractSliceOp, tensor::InsertSliceOp, tensor::ConcatOp,
            tensor::PadOp, tensor::ExtractOp>(
          [&](auto typed) { return evaluate(typed, call); })
      .template Case<tensor::ExpandShapeOp, tensor::CollapseShapeOp,
                     tensor::ReshapeOp, tensor::CastOp>(
          [&](auto typed) { return evaluateReshape<T>(typed, call); })
      .template Case<tensor::EmptyOp, tensor::SplatOp, tensor::FromElementsOp>(
          [&](auto typed) { return evaluateElements<T>(typed, call); })
      .Default([&](Operation *other) {
        return cannotInterpret(other,
                               "the reference interpreter does not know it");
      });
}

EFFC_INSTANTIATE(evaluate, arith::ConstantOp)
EFFC_INSTANTIATE(evaluateTensorOp, Operation *)

} // namespace effc::reference
