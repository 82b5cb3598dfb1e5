//===- Lower.cpp - the table of lowerings ---------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Control.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

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
    lower::addSelectiveScans(table);
    lower::addQuantization(table);
    lower::addResize(table);
    lower::addGridSample(table);
    lower::addNorms(table);
    lower::addLosses(table);
    lower::addProducts(table);
    lower::addRecurrent(table);
    lower::addContrib(table);
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

bool hasLinalgLowering(onnx::NodeOp node) {
  bool isControl = node.is("If") || node.is("Loop") || node.is("Scan");
  return isControl || find(node) != nullptr;
}

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

FailureOr<SmallVector<Value>> lowerToLinalg(OpBuilder &builder,
                                            onnx::NodeOp node,
                                            ArrayRef<Value> operands,
                                            Type floats) {
  lower::LowerFn fn = find(node);
  if (!fn || operands.size() != node.getInputs().size())
    return failure();
  // Lowerings write tables with an entry for each place of an axis.
  constexpr int64_t longestAxis = int64_t(1) << 25;
  auto isShort = [](RankedTensorType type) {
    return llvm::all_of(type.getShape(),
                        [](int64_t size) { return size <= longestAxis; });
  };
  auto isStatic = [&](Value value) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    return type && type.hasStaticShape() && isShort(type) &&
           type.getElementType().isIntOrFloat();
  };
  for (Value operand : operands)
    if (operand && !isStatic(operand))
      return failure();
  for (Value output : node.getOutputs()) {
    if (isa<NoneType>(output.getType()))
      continue;
    RankedTensorType type = getLoweredType(output.getType());
    if (!type || !type.hasStaticShape() || !isShort(type))
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

static bool isStatic(Type type) {
  RankedTensorType lowered = getLoweredType(type);
  return lowered && lowered.hasStaticShape();
}

void trustDeclaredShapes(func::FuncOp function) {
  Operation *terminator = function.getBody().front().getTerminator();
  for (auto [i, value] : llvm::enumerate(terminator->getOperands())) {
    auto type = dyn_cast<TensorType>(value.getType());
    auto dims = function.getResultAttrOfType<ArrayAttr>(i, "onnx.dims");
    if (!type || isStatic(type) || !dims)
      continue;
    SmallVector<int64_t> shape;
    for (Attribute dim : dims)
      if (auto size = dyn_cast<IntegerAttr>(dim))
        shape.push_back(size.getInt());
    if (shape.size() == dims.size())
      value.setType(RankedTensorType::get(shape, type.getElementType()));
  }
}

LogicalResult lowerOp(OpBuilder &builder, Operation &op, IRMapping &values,
                      Type floats) {
  if (isa<onnx::NoneOp>(op))
    return success();
  if (auto constant = dyn_cast<onnx::ConstantOp>(op)) {
    FailureOr<onnx::HostTensor> value =
        onnx::HostTensor::read(constant.getValue());
    if (failed(value))
      return success(); // nothing that computes can read it
    if (auto element = dyn_cast<FloatType>(value->elementType);
        element && floats &&
        element.getWidth() <= floats.getIntOrFloatBitWidth())
      value->elementType = floats;
    else if (auto integer = dyn_cast<IntegerType>(value->elementType))
      value->elementType =
          IntegerType::get(builder.getContext(), integer.getWidth());
    values.map(
        constant.getResult(),
        arith::ConstantOp::create(builder, op.getLoc(),
                                  cast<TypedAttr>(Attribute(value->write())))
            .getResult());
    return success();
  }
  auto node = dyn_cast<onnx::NodeOp>(op);
  if (!node)
    return failure();
  SmallVector<Value> operands;
  for (Value input : node.getInputs()) {
    operands.push_back(
        isa<NoneType>(input.getType()) ? Value() : values.lookupOrNull(input));
    if (!operands.back() && !isa<NoneType>(input.getType()))
      return failure();
  }
  if (!node.getSubgraphs().empty()) {
    auto done = lower::lowerControl(
        builder, node, operands, values, floats, [&](Operation &inner) {
          return lowerOp(builder, inner, values, floats);
        });
    return done.value_or(failure());
  }
  FailureOr<SmallVector<Value>> results =
      lowerToLinalg(builder, node, operands, floats);
  if (failed(results))
    return failure();
  for (auto [output, result] : llvm::zip(node.getOutputs(), *results))
    if (result)
      values.map(output, result);
  return success();
}

} // namespace effc
