//===- InferElementwise.cpp - types of elementwise nodes ------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Infer.h"
#include "Types.h"

#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace effc;
using namespace effc::onnx;

static LogicalResult same(Inference &in) {
  if (auto type = in.type(0))
    in.set(0, type.getShape(), type.getElementType());
  return success();
}

static LogicalResult toBool(Inference &in) {
  if (auto type = in.type(0))
    in.set(0, type.getShape(), IntegerType::get(in.op.getContext(), 1));
  return success();
}

/// Broadcasts operands `first` and up; null when one is not static.
static FailureOr<std::optional<Shape>> common(Inference &in, unsigned first) {
  std::optional<Shape> shape = Shape();
  for (unsigned i = first; i < in.op.getInputs().size(); ++i) {
    auto type = in.type(i);
    if (!type)
      return std::optional<Shape>();
    shape = broadcast(*shape, type.getShape());
    if (!shape)
      return in.mismatch("the shapes do not broadcast");
  }
  return shape;
}

static LogicalResult broadcastTo(Inference &in, Type element) {
  auto shape = common(in, 0);
  if (failed(shape))
    return failure();
  if (*shape)
    in.set(0, **shape, element);
  return success();
}

static LogicalResult arithmetic(Inference &in) {
  auto first = in.type(0);
  if (!first)
    return success();
  for (unsigned i = 1; i < in.op.getInputs().size(); ++i)
    if (auto type = in.type(i))
      if (type.getElementType() != first.getElementType())
        return in.mismatch("the element types differ");
  return broadcastTo(in, first.getElementType());
}

/// Pow and BitShift take the first operand's type whatever the second's.
static LogicalResult firstType(Inference &in) {
  auto first = in.type(0);
  return first ? broadcastTo(in, first.getElementType()) : success();
}

static LogicalResult comparison(Inference &in) {
  auto a = in.type(0), b = in.type(1);
  if (a && b && a.getElementType() != b.getElementType())
    return in.mismatch("the element types differ");
  return broadcastTo(in, IntegerType::get(in.op.getContext(), 1));
}

static LogicalResult where(Inference &in) {
  auto a = in.type(1), b = in.type(2);
  if (!a || !b)
    return success();
  if (a.getElementType() != b.getElementType())
    return in.mismatch("the element types of the two choices differ");
  return broadcastTo(in, a.getElementType());
}

static LogicalResult cast(Inference &in) {
  Type element = elementType(in.op.getContext(), in.op.getInt("to", 0));
  if (!element)
    return in.wrong("there is no element type " + Twine(in.op.getInt("to", 0)));
  if (auto type = in.type(0))
    in.set(0, type.getShape(), element);
  return success();
}

InferFn onnx::findElementwiseRule(NodeOp node) {
  return llvm::StringSwitch<InferFn>(node.getOpType())
      .Cases({"Abs",
              "Acos",
              "Acosh",
              "Asin",
              "Asinh",
              "Atan",
              "Atanh",
              "BitwiseNot",
              "Ceil",
              "Celu",
              "Clip",
              "Cos",
              "Cosh",
              "Elu",
              "Erf",
              "Exp",
              "Floor",
              "Gelu",
              "HardSigmoid",
              "HardSwish",
              "Hardmax",
              "Identity",
              "LeakyRelu",
              "Log",
              "LogSoftmax",
              "Mish",
              "Neg",
              "Not",
              "Reciprocal",
              "Relu",
              "Round",
              "Selu",
              "Shrink",
              "Sigmoid",
              "Sign",
              "Sin",
              "Sinh",
              "Softmax",
              "Softplus",
              "Softsign",
              "Sqrt",
              "Swish",
              "Tan",
              "Tanh",
              "ThresholdedRelu",
              "CumProd",
              "CumSum",
              "Trilu",
              "LpNormalization",
              "LRN",
              "MeanVarianceNormalization",
              "InstanceNormalization",
              "GroupNormalization",
              "ScatterElements",
              "ScatterND",
              "Scatter",
              "ReverseSequence",
              "TensorScatter"},
             same)
      .Cases({"IsNaN", "IsInf"}, toBool)
      .Cases({"Add", "Sub", "Mul", "Div", "Mod", "Max", "Min", "And", "Or",
              "Xor", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "PRelu", "Sum",
              "Mean"},
             arithmetic)
      .Cases({"Pow", "BitShift"}, firstType)
      .Cases({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"},
             comparison)
      .Case("Where", where)
      .Cases({"Cast", "BitCast"}, cast)
      .Default(nullptr);
}
