//===- Infer.cpp - result types of nodes ----------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Infer.h"
#include "Types.h"

#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace effc;
using namespace effc::onnx;

ElementsAttr onnx::constantOf(Value value) {
  auto constant = value ? value.getDefiningOp<ConstantOp>() : ConstantOp();
  return constant ? constant.getValue() : ElementsAttr();
}

std::optional<Shape> onnx::constantInts(Value value) {
  ElementsAttr elements = constantOf(value);
  if (!elements || elements.getNumElements() > (1 << 20) ||
      !isa<IntegerType>(elements.getElementType()))
    return std::nullopt;
  auto tensor = HostTensor::read(elements);
  if (failed(tensor))
    return std::nullopt;
  return Shape(tensor->ints.begin(), tensor->ints.end());
}

RankedTensorType onnx::staticTypeOf(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || !type.hasStaticShape() ||
      isa<UnknownType>(type.getElementType()))
    return {};
  return type;
}

std::string onnx::describeOperands(NodeOp node) {
  std::string text;
  llvm::raw_string_ostream os(text);
  llvm::interleaveComma(node.getInputs(), os,
                        [&](Value value) { os << value.getType(); });
  return text;
}

std::optional<Shape> onnx::broadcast(ArrayRef<int64_t> a, ArrayRef<int64_t> b) {
  if (a.size() < b.size())
    std::swap(a, b);
  Shape result(a);
  size_t lead = a.size() - b.size();
  for (size_t i = 0; i < b.size(); ++i) {
    int64_t &out = result[lead + i];
    if (out == 1)
      out = b[i];
    else if (b[i] != 1 && b[i] != out)
      return std::nullopt;
  }
  return result;
}

void Inference::set(unsigned i, ArrayRef<int64_t> shape, Type element) {
  // A shape that no tensor can have comes from hostile constants; the result
  // stays unknown and is refused later.
  if (op.getOutput(i) && elementCount(shape))
    op.getOutputs()[i].setType(RankedTensorType::get(shape, element));
}

LogicalResult Inference::mismatch(const Twine &why) {
  auto d = emitUserError(op.getLoc(), ErrorCode::ShapeMismatch,
                         op.getOpType() + " cannot take (" +
                             describeOperands(op) + ")");
  noteWhy(d, why);
  return failure();
}

LogicalResult Inference::wrong(const Twine &why) {
  auto d = emitUserError(op.getLoc(), ErrorCode::BadGraph,
                         op.getOpType() + " is not well formed");
  noteWhy(d, why);
  return failure();
}

FailureOr<int64_t> Inference::axis(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank)
    return mismatch("the axis " + Twine(axis) + " is outside a rank of " +
                    Twine(rank));
  return axis < 0 ? axis + rank : axis;
}

LogicalResult onnx::inferTypes(NodeOp node) {
  InferFn rule = nullptr;
  if (node.getDomain().empty()) {
    rule = findElementwiseRule(node);
    if (!rule)
      rule = findMovementRule(node);
  }
  if (!rule)
    rule = findLayerRule(node);
  if (!rule)
    rule = findRecurrentRule(node);
  if (!rule)
    rule = findContribRule(node);
  if (!rule)
    return success();
  Inference inference(node);
  return rule(inference);
}
