//===- CheckQuantisation.cpp - scales and zero points of a graph ----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Conversion/OnnxToEff/CheckQuantisation.h"

#include "effc/Dialect/ONNX/Onnx.h"
#include "effc/Frontend/ONNX/HostTensor.h"
#include "effc/Support/Error.h"

#include <cstring>

using namespace mlir;
using namespace effc;
using onnx::NodeOp;

namespace {
/// Operands: a scale, its zero point, and the weight of whose outputs there may
/// be one each (-1: none, or any number); `divides` when numbers are rounded by
/// it, not weights read.
struct Scale {
  int scale, zero, weight = -1;
  bool divides = false;
};
struct Operator {
  StringLiteral domain, name;
  SmallVector<Scale, 3> scales;
};
} // namespace

static ArrayRef<Operator> operators() {
  static constexpr StringLiteral ms = "com.microsoft";
  static const Operator table[] = {
      {"", "QuantizeLinear", {{1, 2}}},
      {"", "DequantizeLinear", {{1, 2}}},
      {ms, "QuantizeLinear", {{1, 2}}},
      {ms, "DequantizeLinear", {{1, 2}}},
      {"", "QLinearMatMul", {{1, 2}, {4, 5, 3}, {6, 7}}},
      {"", "QLinearConv", {{1, 2}, {4, 5, 3}, {6, 7}}},
      {ms, "QGemm", {{1, 2}, {4, 5, 3}, {7, 8}}},
      {ms, "QLinearAdd", {{1, 2}, {4, 5}, {6, 7}}},
      {ms, "QLinearMul", {{1, 2}, {4, 5}, {6, 7}}},
      {ms, "QLinearSigmoid", {{1, 2}, {3, 4}}},
      {ms, "QLinearLeakyRelu", {{1, 2}, {3, 4}}},
      {ms, "QLinearSoftmax", {{1, 2}, {3, 4}}},
      {ms, "QLinearGlobalAveragePool", {{1, 2}, {3, 4}}},
      {ms, "MatMulIntegerToFloat", {{2, 4}, {3, 5, 1}}},
      {ms, "DynamicQuantizeMatMul", {{2, 3, 1}}},
      {ms, "GroupQueryAttention", {{12, -1, -1, true}, {13, -1, -1, true}}},
  };
  return table;
}

static RankedTensorType typeOf(NodeOp node, int operand) {
  Value v = operand >= 0 ? node.getInput(operand) : Value();
  return v ? dyn_cast<RankedTensorType>(v.getType()) : RankedTensorType();
}

/// Null unless the operand is a constant.
static ElementsAttr constantOf(NodeOp node, int operand) {
  Value v = operand >= 0 ? node.getInput(operand) : Value();
  auto constant = v ? v.getDefiningOp<onnx::ConstantOp>() : onnx::ConstantOp();
  return constant ? constant.getValue() : ElementsAttr();
}

/// What is wrong with the numbers of a scale; empty when nothing is.
static StringRef faultOf(ElementsAttr values, bool divides) {
  auto type = dyn_cast<FloatType>(values.getElementType());
  auto bytes = type && type.getWidth() >= 16 && type.getWidth() <= 32
                   ? onnx::ElementBytes::of(values)
                   : FailureOr<onnx::ElementBytes>(failure());
  if (failed(bytes))
    return {};
  ArrayRef<char> data = bytes->get();
  auto check = [&](auto exponent) -> StringRef {
    using Bits = decltype(exponent);
    constexpr Bits sign = Bits(1) << (8 * sizeof(Bits) - 1);
    for (size_t at = 0; at + sizeof(Bits) <= data.size(); at += sizeof(Bits)) {
      Bits bits;
      std::memcpy(&bits, data.data() + at, sizeof(Bits));
      // All ones in the exponent: infinity or NaN.
      if ((bits & exponent) == exponent)
        return "a scale is not finite";
      if (divides && (bits == 0 || (bits & sign)))
        return "a scale is not positive";
    }
    return {};
  };
  if (type.isF32())
    return check(uint32_t(0x7f800000));
  return check(uint16_t(type.isBF16() ? 0x7f80 : 0x7c00));
}

/// How many scales QuantizeLinear and DequantizeLinear take besides one; 0 when
/// the shape does not tell.
static int64_t countAlong(NodeOp node) {
  auto type = typeOf(node, 0);
  if (!type || type.getRank() == 0)
    return 0;
  int64_t axis = node.getInt("axis", 1), block = node.getInt("block_size", 0);
  axis += axis < 0 ? type.getRank() : 0;
  if (axis < 0 || axis >= type.getRank() || type.isDynamicDim(axis))
    return 0;
  if (block <= 0)
    return type.getDimSize(axis);
  if (!type.hasStaticShape())
    return 0;
  SmallVector<int64_t> shape(type.getShape());
  shape[axis] = llvm::divideCeil(shape[axis], block);
  return ShapedType::getNumElements(shape);
}

/// Outputs of a weight; 0 when its shape does not tell.
static int64_t outputsOf(NodeOp node, int weight) {
  auto type = typeOf(node, weight);
  if (!type || type.getRank() < 2)
    return 0;
  bool first = node.is("QLinearConv") || node.getInt("transB", 0);
  int64_t axis = first ? 0 : type.getRank() - 1;
  return type.isDynamicDim(axis) ? 0 : type.getDimSize(axis);
}

static LogicalResult check(NodeOp node, const Scale &s) {
  auto refuse = [&](const Twine &why) -> LogicalResult {
    auto d =
        emitUserError(node.getLoc(), ErrorCode::UnsupportedQuant,
                      "the scales of " + node.getOpType() + " cannot be used");
    noteWhy(d, why);
    noteTry(d, defaultHint(ErrorCode::UnsupportedQuant));
    return failure();
  };
  if (ElementsAttr values = constantOf(node, s.scale))
    if (StringRef fault = faultOf(values, s.divides); !fault.empty())
      return refuse(fault);
  auto scale = typeOf(node, s.scale), zero = typeOf(node, s.zero);
  if (!scale || !scale.hasStaticShape())
    return success();
  int64_t count = scale.getNumElements();
  bool linear = node.is("QuantizeLinear") || node.is("DequantizeLinear") ||
                node.is("QuantizeLinear", "com.microsoft") ||
                node.is("DequantizeLinear", "com.microsoft");
  int64_t wanted = linear ? countAlong(node) : outputsOf(node, s.weight);
  if (wanted && count != 1 && count != wanted)
    return refuse("there must be 1 or " + Twine(wanted) + " scales, got " +
                  Twine(count));
  if (!zero || !zero.hasStaticShape())
    return success();
  int64_t zeros = zero.getNumElements();
  // Operators on integers take one zero point for all outputs.
  if (zeros != count && (linear || (zeros != 1 && zeros != wanted)))
    return refuse("there must be " + Twine(count) +
                  " zero points, as many as scales, got " + Twine(zeros));
  return success();
}

LogicalResult effc::checkQuantisation(ModuleOp onnx) {
  WalkResult walked = onnx.walk([&](NodeOp node) {
    for (const Operator &op : operators()) {
      if (node.getOpType() != op.name || node.getDomain() != op.domain)
        continue;
      for (const Scale &scale : op.scales)
        if (failed(check(node, scale)))
          return WalkResult::interrupt();
    }
    return WalkResult::advance();
  });
  return failure(walked.wasInterrupted());
}
