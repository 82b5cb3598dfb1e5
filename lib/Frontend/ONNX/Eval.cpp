//===- Eval.cpp - nodes computed at compile time --------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "EvalImpl.h"

using namespace mlir;
using namespace effc::onnx;

static EvalFn find(NodeOp node) {
  if (!node.getDomain().empty() || node.getNumRegions())
    return nullptr;
  StringRef name = node.getOpType();
  for (auto lookup : {findElementwiseEval, findMovementEval, findScatterEval,
                      findReduceEval, findProductEval})
    if (EvalFn function = lookup(name))
      return function;
  return nullptr;
}

bool effc::onnx::canEvaluate(NodeOp node) { return bool(find(node)); }

std::optional<SmallVector<HostTensor>>
effc::onnx::evaluate(NodeOp node, ArrayRef<const HostTensor *> operands) {
  EvalFn function = find(node);
  if (!function)
    return std::nullopt;
  Evaluation evaluation{node, operands, {}};
  for (Type type : node.getOutputs().getTypes()) {
    if (isa<NoneType>(type)) {
      evaluation.out.emplace_back();
      continue;
    }
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (!tensor || !tensor.hasStaticShape() ||
        !isa<IntegerType, FloatType>(tensor.getElementType()))
      return std::nullopt;
    evaluation.out.emplace_back(tensor.getElementType(), tensor.getShape());
  }
  if (!function(evaluation))
    return std::nullopt;
  for (HostTensor &result : evaluation.out)
    if (result.elementType)
      result.round();
  return std::move(evaluation.out);
}

std::optional<SmallVector<ElementsAttr>>
effc::onnx::evaluate(NodeOp node, ArrayRef<ElementsAttr> operands) {
  std::vector<HostTensor> tensors(operands.size());
  SmallVector<const HostTensor *> pointers;
  for (auto [tensor, operand] : llvm::zip(tensors, operands)) {
    pointers.push_back(operand ? &tensor : nullptr);
    if (!operand)
      continue;
    auto read = HostTensor::read(operand);
    if (failed(read))
      return std::nullopt;
    tensor = std::move(*read);
  }
  auto results = evaluate(node, ArrayRef<const HostTensor *>(pointers));
  if (!results)
    return std::nullopt;
  SmallVector<ElementsAttr> attributes;
  for (const HostTensor &result : *results)
    attributes.push_back(result.elementType ? result.write() : ElementsAttr());
  return attributes;
}
