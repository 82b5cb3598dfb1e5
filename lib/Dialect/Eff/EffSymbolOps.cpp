//===- EffSymbolOps.cpp - weights, states and caches as symbols -----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "OpUtils.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/OpImplementation.h"

using namespace mlir;
using namespace effc::eff;

#define GET_OP_CLASSES
#include "effc/Dialect/Eff/EffOps.cpp.inc"

//===----------------------------------------------------------------------===//
// Checks that verifiers share
//===----------------------------------------------------------------------===//

ArrayRef<int64_t> effc::eff::getShapeOf(Value value) {
  Type type = value.getType();
  if (auto weight = dyn_cast<WeightType>(type))
    return weight.getShape();
  if (auto state = dyn_cast<StateType>(type))
    return state.getShape();
  return cast<RankedTensorType>(type).getShape();
}

BasisAttr effc::eff::getBasis(Value value) {
  return dyn_cast_or_null<BasisAttr>(
      cast<RankedTensorType>(value.getType()).getEncoding());
}

static std::string formatShape(ArrayRef<int64_t> shape) {
  std::string text;
  llvm::raw_string_ostream os(text);
  llvm::interleave(shape, os, "x");
  return text;
}

LogicalResult effc::eff::checkShape(Operation *op, StringRef constraint,
                                    StringRef what, Value value,
                                    ArrayRef<int64_t> expected) {
  ArrayRef<int64_t> shape = getShapeOf(value);
  if (shape == expected)
    return success();
  return op->emitOpError() << constraint << ": " << what << " must be "
                           << formatShape(expected) << ", got "
                           << formatShape(shape);
}

bool effc::eff::divides(int64_t divisor, int64_t value) {
  return divisor > 0 && value % divisor == 0;
}

int64_t effc::eff::getRows(ArrayRef<int64_t> shape) {
  int64_t rows = 1;
  for (int64_t dimension : shape.drop_back())
    rows *= dimension;
  return rows;
}

//===----------------------------------------------------------------------===//
// read
//===----------------------------------------------------------------------===//

LogicalResult ReadOp::verify() {
  return checkShape(*this, "C1", "the result", getResult(),
                    getShapeOf(getWeight()));
}

//===----------------------------------------------------------------------===//
// use
//===----------------------------------------------------------------------===//

LogicalResult UseOp::verifySymbolUses(SymbolTableCollection &symbolTable) {
  Operation *symbol =
      symbolTable.lookupNearestSymbolFrom(*this, getSymbolAttr());
  Type type;
  if (auto weight = dyn_cast_or_null<WeightOp>(symbol))
    type = weight.getType();
  else if (auto state = dyn_cast_or_null<StateOp>(symbol))
    type = state.getType();
  else if (auto cache = dyn_cast_or_null<CacheOp>(symbol))
    type = cache.getType();
  else
    return emitOpError("C1: '@")
           << getSymbol() << "' names no eff.weight, eff.state or eff.cache";
  if (type == getResult().getType())
    return success();
  InFlightDiagnostic error = emitOpError("C2: the result has type ")
                             << getResult().getType() << ", but '@"
                             << getSymbol() << "' has type " << type;
  error.attachNote(symbol->getLoc()) << "declared here";
  return error;
}

//===----------------------------------------------------------------------===//
// weight
//===----------------------------------------------------------------------===//

/// C4: integers and scales that a pass has chosen.
static LogicalResult verifyQuantized(WeightOp op) {
  std::optional<ElementsAttr> quantized = op.getQuantized();
  std::optional<ElementsAttr> scales = op.getScales();
  std::optional<ElementsAttr> zeros = op.getZeros();
  if (op.getPinned() && !quantized)
    return op.emitOpError("C5: a pinned weight must have 'quantized'");
  WeightType type = op.getType();
  if (type.getFloat8() && !quantized)
    return op.emitOpError("C6: a weight of #eff.float8 must have 'quantized'");
  if (!quantized && !scales && !zeros)
    return success();
  if (!quantized || !scales || type.getFloatFormat())
    return op.emitOpError("C4: an integer format, 'quantized' and 'scales' go "
                          "together");
  if (zeros.has_value() != type.hasZeros())
    return op.emitOpError("C4: 'zeros' must be there if the format has zero "
                          "points, and only then");
  SmallVector<int64_t> expected{type.getShape()[0]};
  if (type.getGroup())
    expected.push_back(type.getGroupCount());
  SmallVector<std::tuple<StringRef, ElementsAttr, ArrayRef<int64_t>, unsigned>>
      parts{{"quantized", *quantized, type.getShape(), 8u},
            {"scales", *scales, expected, 32u}};
  if (zeros)
    parts.push_back({"zeros", *zeros, expected, 32u});
  for (auto [what, elements, shape, width] : parts) {
    Type element = elements.getElementType();
    bool fits = width == 8 ? element.isInteger(8) : element.isF32();
    if (!fits || elements.getShapedType().getShape() != shape)
      return op.emitOpError("C4: '")
             << what << "' must be " << formatShape(shape) << " of "
             << (width == 8 ? "i8" : "f32") << ", got "
             << elements.getShapedType();
  }
  return success();
}

LogicalResult WeightOp::verify() {
  if (failed(verifyQuantized(*this)))
    return failure();
  ArrayRef<int64_t> shape = getType().getShape();
  if (getTransposed() && shape.size() != 2)
    return emitOpError("C2: 'transposed' needs a 2-d weight, got ")
           << shape.size() << "-d";
  std::optional<ElementsAttr> source = getSource();
  if (!source)
    return success();
  SmallVector<int64_t> expected(shape);
  if (getTransposed())
    std::swap(expected[0], expected[1]);
  ShapedType sourceType = source->getShapedType();
  if (sourceType.getShape() != ArrayRef<int64_t>(expected))
    return emitOpError("C1: the source must be ")
           << formatShape(expected) << ", got "
           << formatShape(sourceType.getShape());
  Type element = sourceType.getElementType();
  if (!isa<Float32Type, Float16Type, BFloat16Type, Float64Type>(element))
    return emitOpError(
               "C3: the source's elements must be f32, f16, bf16 or f64, got ")
           << element;
  return success();
}
