//===- Lower.cpp - the table of lowerings ---------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Lowering.h"

using namespace mlir;

namespace effc {

static const lower::Table &getTable() {
  static const lower::Table table = [] {
    lower::Table table;
    lower::addElementwise(table);
    lower::addActivations(table);
    lower::addShapes(table);
    lower::addIndexing(table);
    lower::addScatters(table);
    lower::addReductions(table);
    lower::addConvolutions(table);
    lower::addPooling(table);
    lower::addAttention(table);
    lower::addLinearAttention(table);
    lower::addQuantization(table);
    lower::addResize(table);
    lower::addNorms(table);
    lower::addLosses(table);
    lower::addProducts(table);
    return table;
  }();
  return table;
}

static lower::LowerFn find(onnx::NodeOp node) {
  std::string key = node.getOpType().str();
  if (!node.getDomain().empty())
    key = (node.getDomain() + "." + key).str();
  return getTable().lookup(key);
}

bool hasLinalgLowering(onnx::NodeOp node) { return find(node) != nullptr; }

RankedTensorType getLoweredType(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor)
    return {};
  Type element = tensor.getElementType();
  if (auto integer = dyn_cast<IntegerType>(element))
    element = IntegerType::get(type.getContext(), integer.getWidth());
  else if (!isa<FloatType>(element))
    return {};
  return RankedTensorType::get(tensor.getShape(), element);
}

FailureOr<SmallVector<Value>>
lowerToLinalg(OpBuilder &builder, onnx::NodeOp node, ArrayRef<Value> operands,
                                            Type floats) {
  lower::LowerFn fn = find(node);
  if (!fn || operands.size() != node.getInputs().size())
    return failure();
  auto isStatic = [](Value value) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    return type && type.hasStaticShape() &&
           type.getElementType().isIntOrFloat();
  };
  for (Value operand : operands)
    if (operand && !isStatic(operand))
      return failure();
  for (Value output : node.getOutputs()) {
    if (isa<NoneType>(output.getType()))
      continue;
    RankedTensorType type = getLoweredType(output.getType());
    if (!type || !type.hasStaticShape())
      return failure();
  }
  lower::Lowering lowering(builder, node, operands, floats);
  lower::Results results = fn(lowering);
  if (failed(results))
    return failure();
  // What inference says and what the lowering made must agree.
  results->resize(node.getOutputs().size());
  for (unsigned i = 0; i < results->size(); ++i) {
    RankedTensorType type = lowering.out(i);
    if (!type)
      (*results)[i] = {};
    else if (!(*results)[i] || (*results)[i].getType() != type)
      return failure();
  }
  return results;
}

} // namespace effc
