//===- Eval.cpp - nodes computed at compile time --------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "EvalImpl.h"

#include "llvm/ADT/StringMap.h"

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

/// What the functions take for granted about element types, a letter for each
/// operand: `=` the result's, `i` integers, `f` floats, `*` any numbers. The
/// last letter holds for all further operands; `=` is the rule for operators
/// that are not listed.
static StringRef signatureOf(StringRef name) {
  static const llvm::StringMap<StringRef> signatures = {
      {"Pow", "=*"},
      {"Equal", "*"},
      {"Greater", "*"},
      {"GreaterOrEqual", "*"},
      {"Less", "*"},
      {"LessOrEqual", "*"},
      {"Where", "i="},
      {"Cast", "*"},
      {"IsNaN", "*"},
      {"IsInf", "*"},
      {"Not", "i"},
      {"Reshape", "=*"},
      {"Expand", "=*"},
      {"Slice", "=i"},
      {"Tile", "=i"},
      {"Split", "=i"},
      {"Gather", "=i"},
      {"Pad", "=i=*"},
      {"Trilu", "=i"},
      {"ConstantOfShape", "i"},
      {"Shape", "*"},
      {"Size", "*"},
      {"EyeLike", "*"},
      {"OneHot", "**="},
      {"NonZero", "*"},
      {"Compress", "=i"},
      {"ReverseSequence", "=i"},
      {"GatherElements", "=i"},
      {"GatherND", "=i"},
      {"ScatterND", "=i="},
      {"ScatterElements", "=i="},
      {"Scatter", "=i="},
      {"TensorScatter", "==i"},
      {"ArgMax", "*"},
      {"ArgMin", "*"},
      {"CumSum", "=i"},
      {"TopK", "=i"},
      {"LayerNormalization", "f"},
      {"RMSNormalization", "f"},
      {"MatMul", "*"},
      {"Gemm", "f"},
      {"Einsum", "f"},
      {"Conv", "f"},
      {"DequantizeLinear", "*f*"},
      {"QuantizeLinear", "ff*"},
  };
  if (name.starts_with("Reduce"))
    return "=i";
  auto it = signatures.find(name);
  return it == signatures.end() ? StringRef("=") : it->second;
}

static bool fits(Evaluation &e) {
  StringRef signature = signatureOf(e.op.getOpType());
  for (auto [i, tensor] : llvm::enumerate(e.in)) {
    if (!tensor)
      continue;
    Type type = tensor->elementType;
    switch (signature[std::min(i, signature.size() - 1)]) {
    case '=':
      if (!e.out.empty() && e.out[0].elementType &&
          type != e.out[0].elementType)
        return false;
      break;
    case 'i':
      if (!isa<IntegerType>(type))
        return false;
      break;
    case 'f':
      if (!isa<FloatType>(type))
        return false;
      break;
    default:
      break;
    }
  }
  return true;
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
  if (!fits(evaluation) || !function(evaluation))
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
