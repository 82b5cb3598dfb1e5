//===- OnnxOps.cpp - ops of the onnx dialect ------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Dialect/ONNX/Onnx.h"

using namespace mlir;
using namespace effc::onnx;

OpFoldResult ConstantOp::fold(FoldAdaptor) { return getValue(); }

OpFoldResult NoneOp::fold(FoldAdaptor) { return UnitAttr::get(getContext()); }

LogicalResult NodeOp::verify() {
  if (getGraphs().size() != getSubgraphs().size())
    return emitOpError("C1: has ") << getSubgraphs().size() << " regions but "
                                   << getGraphs().size() << " names for them";
  for (Region &region : getSubgraphs())
    if (!region.hasOneBlock() || region.front().empty() ||
        !isa<YieldOp>(region.front().back()))
      return emitOpError("C2: a subgraph must be one block that ends in "
                         "onnx.yield");
  return success();
}

int64_t NodeOp::getInt(StringRef name, int64_t otherwise) {
  if (auto attr = getOperation()->getDiscardableAttr(name))
    if (auto integer = dyn_cast<IntegerAttr>(attr))
      return integer.getValue().getSExtValue();
  return otherwise;
}

float NodeOp::getFloat(StringRef name, float otherwise) {
  if (auto attr = getOperation()->getDiscardableAttr(name))
    if (auto number = dyn_cast<FloatAttr>(attr)) {
      APFloat value = number.getValue();
      bool losesInfo = false;
      value.convert(APFloat::IEEEsingle(), APFloat::rmNearestTiesToEven,
                    &losesInfo);
      return value.convertToFloat();
    }
  return otherwise;
}

StringRef NodeOp::getString(StringRef name, StringRef otherwise) {
  if (auto attr = getOperation()->getDiscardableAttr(name))
    if (auto text = dyn_cast<StringAttr>(attr))
      return text.getValue();
  return otherwise;
}

std::optional<SmallVector<int64_t>> NodeOp::getInts(StringRef name) {
  if (auto attr = getOperation()->getDiscardableAttr(name))
    if (auto list = dyn_cast<DenseI64ArrayAttr>(attr))
      return llvm::to_vector(list.asArrayRef());
  return std::nullopt;
}

Value NodeOp::getInput(unsigned i) {
  if (i >= getInputs().size())
    return {};
  Value value = getInputs()[i];
  return isa<NoneType>(value.getType()) ? Value() : value;
}

Value NodeOp::getOutput(unsigned i) {
  if (i >= getOutputs().size())
    return {};
  Value value = getOutputs()[i];
  return isa<NoneType>(value.getType()) ? Value() : value;
}

StringRef NodeOp::getNodeName() {
  if (auto named = getLoc()->findInstanceOf<NameLoc>())
    return named.getName().getValue();
  return {};
}

#define GET_OP_CLASSES
#include "effc/Dialect/ONNX/OnnxOps.cpp.inc"
