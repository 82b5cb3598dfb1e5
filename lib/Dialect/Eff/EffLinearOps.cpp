//===- EffLinearOps.cpp - linears, embeddings, patches --------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "OpUtils.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace effc::eff;

/// The rotation of a basis; 0: none.
static int64_t getRotation(BasisAttr basis) {
  return basis ? basis.getHadamard() : 0;
}

//===----------------------------------------------------------------------===//
// conv2d
//===----------------------------------------------------------------------===//

LogicalResult Conv2DOp::verify() {
  ArrayRef<int64_t> input = getShapeOf(getInput());
  ArrayRef<int64_t> patch = getPatch();
  if (patch.size() != 2 || !divides(patch[0], input[2]) ||
      !divides(patch[1], input[3]))
    return emitOpError("C1: patch must be two numbers that divide height (")
           << input[2] << ") and width (" << input[3] << ")";
  int64_t outputs = getShapeOf(getWeight())[0];
  if (failed(checkShape(*this, "C2", "the weight", getWeight(),
                        {outputs, input[1] * patch[0] * patch[1]})))
    return failure();
  if (getBias() &&
      failed(checkShape(*this, "C2", "the bias", getBias(), outputs)))
    return failure();
  int64_t patches = (input[2] / patch[0]) * (input[3] / patch[1]);
  return checkShape(*this, "C3", "the result", getResult(),
                    {input[0], patches, outputs});
}

Value Conv2DOp::getActivations() { return getInput(); }
Value Conv2DOp::getWeightMatrix() { return getWeight(); }
OpOperand &Conv2DOp::getWeightOperand() { return getWeightMutable(); }

int64_t Conv2DOp::getFlops() {
  return 2 * getResult().getType().getNumElements() *
         getShapeOf(getWeight())[1];
}

int64_t Conv2DOp::getTraffic() {
  return cast<WeightType>(getWeight().getType()).getPackedBytes();
}

//===----------------------------------------------------------------------===//
// quantize and dequantize
//===----------------------------------------------------------------------===//

/// A scale for each feature, or one for all.
static LogicalResult verifyStaticScale(Operation *op, Value scale,
                                       int64_t features) {
  if (getShapeOf(scale)[0] == 1)
    return success();
  return checkShape(op, "C1", "the scale", scale, features);
}

LogicalResult DequantizeOp::verify() {
  ArrayRef<int64_t> input = getShapeOf(getInput());
  bool isStatic = isa<WeightType>(getScale().getType());
  if (failed(isStatic ? verifyStaticScale(*this, getScale(), input.back())
                      : checkShape(*this, "C1", "the scale", getScale(),
                                   input.drop_back())))
    return failure();
  return checkShape(*this, "C1", "the result", getResult(), input);
}

LogicalResult QuantizeOp::verify() {
  ArrayRef<int64_t> input = getShapeOf(getInput());
  if (failed(checkShape(*this, "C1", "the result", getResult(), input)))
    return failure();
  return checkShape(*this, "C1", "the scale", getScale(), input.drop_back());
}

LogicalResult QuantizeStaticOp::verify() {
  ArrayRef<int64_t> input = getShapeOf(getInput());
  if (failed(checkShape(*this, "C1", "the result", getResult(), input)))
    return failure();
  if (getAsymmetric())
    return checkShape(*this, "C1", "scale and zero point", getScale(), 2);
  if (!isa<WeightType>(getScale().getType()))
    return emitOpError("C1: a scale without a zero point must be a weight");
  return verifyStaticScale(*this, getScale(), input.back());
}

LogicalResult TensorScaleOp::verify() {
  return checkShape(*this, "C1", "the result", getResult(), 2);
}

//===----------------------------------------------------------------------===//
// hadamard
//===----------------------------------------------------------------------===//

LogicalResult HadamardOp::verify() {
  ArrayRef<int64_t> input = getShapeOf(getInput());
  if (failed(checkShape(*this, "C1", "the result", getResult(), input)))
    return failure();
  int64_t features = input.empty() ? 1 : input.back();
  if (features % 2 != 0)
    return emitOpError("C3: no order above 1 divides ")
           << features << " features";
  if (getBasesErased()) {
    if (getBasis(getInput()) || getBasis(getResult()))
      return emitOpError("C2: neither input nor result may have a basis once "
                         "bases are erased");
    return success();
  }
  BasisAttr plain = getBasis(getTransposed() ? getResult() : getInput());
  BasisAttr rotated = getBasis(getTransposed() ? getInput() : getResult());
  StringAttr order = plain ? plain.getOrder() : StringAttr();
  if ((plain && plain.getHadamard()) || !rotated ||
      rotated.getHadamard() != features || rotated.getOrder() != order)
    return emitOpError("C2: the rotation of ")
           << features
           << " features must be what the bases of input and result differ in";
  return success();
}

OpFoldResult HadamardOp::fold(FoldAdaptor) {
  auto inner = getInput().getDefiningOp<HadamardOp>();
  if (inner && inner.getTransposed() != getTransposed() &&
      inner.getInput().getType() == getResult().getType())
    return inner.getInput();
  return {};
}

//===----------------------------------------------------------------------===//
// embed
//===----------------------------------------------------------------------===//

LogicalResult EmbedOp::verify() {
  ArrayRef<int64_t> ids = getShapeOf(getIds());
  if (failed(checkShape(*this, "C1", "the result", getResult(),
                        {ids[0], ids[1], getShapeOf(getTable())[1]})))
    return failure();
  auto table = cast<WeightType>(getTable().getType());
  if (getRotation(getBasis(getResult())) != getRotation(table.getInputs()))
    return emitOpError(
        "C2: the result is not in the basis of the table's rows");
  return success();
}

int64_t EmbedOp::getFlops() { return 0; }

int64_t EmbedOp::getTraffic() {
  auto table = cast<WeightType>(getTable().getType());
  return getIds().getType().getNumElements() *
         (table.getPackedBytes() / table.getShape()[0]);
}

//===----------------------------------------------------------------------===//
// linear
//===----------------------------------------------------------------------===//

void LinearOp::build(OpBuilder &builder, OperationState &state, Value input,
                     Value weight) {
  auto type = cast<RankedTensorType>(input.getType());
  SmallVector<int64_t> shape(type.getShape());
  shape.back() = getShapeOf(weight)[0];
  auto result = RankedTensorType::get(shape, builder.getF32Type());
  build(builder, state, result, input, weight, /*scale=*/Value(),
        /*extras=*/ValueRange());
}

static LogicalResult verifyQuantizedInput(LinearOp op) {
  ArrayRef<int64_t> input = getShapeOf(op.getInput());
  Type element = op.getInput().getType().getElementType();
  if (element.isF32()) {
    if (op.getScale())
      return op.emitOpError("C5: f32 activations have no scales");
    return success();
  }
  if (!op.getScale())
    return op.emitOpError("C5: int8 activations need scales");
  auto weight = cast<WeightType>(op.getWeight().getType());
  if (!isa<Int8Attr, Int4Attr>(weight.getFormat()))
    return op.emitOpError("C5: int8 activations need an #eff.int8 or "
                          "#eff.int4 weight, got ")
           << weight.getFormat();
  if (weight.isInt8() && weight.getGroup())
    return op.emitOpError("C5: int8 activations need a weight without groups, "
                          "got ")
           << weight.getFormat();
  if (op.isAsymmetric()) {
    if (!weight.isInt8())
      return op.emitOpError("C5: activations with a zero point need an "
                            "#eff.int8 weight, got ")
             << weight.getFormat();
    return checkShape(op, "C5", "scale and zero point", op.getScale(), 2);
  }
  if (isa<WeightType>(op.getScale().getType()))
    return checkShape(op, "C5", "the scale", op.getScale(), 1);
  return checkShape(op, "C5", "the scale", op.getScale(), input.drop_back());
}

static LogicalResult verifyBases(LinearOp op) {
  auto weight = cast<WeightType>(op.getWeight().getType());
  if (getRotation(getBasis(op.getInput())) != getRotation(weight.getInputs()))
    return op.emitOpError("C7: the activations are not in the basis that the "
                          "weight reads");
  int64_t written = getRotation(weight.getOutputs());
  if (getRotation(getBasis(op.getResult())) != written)
    return op.emitOpError(
        "C7: the result is not in the basis that the weight writes");
  for (Value extra : op.getExtras())
    if (isa<RankedTensorType>(extra.getType()) &&
        getRotation(getBasis(extra)) != written)
      return op.emitOpError("C7: an extra is not in the result's basis");
  return success();
}

LogicalResult LinearOp::verify() {
  ArrayRef<int64_t> input = getShapeOf(getInput());
  ArrayRef<int64_t> weight = getShapeOf(getWeight());
  if (input.empty() || input.back() != weight[1])
    return emitOpError("C1: the activations' last dimension must be the "
                       "weight's k (")
           << weight[1] << "), got " << (input.empty() ? 0 : input.back());
  SmallVector<int64_t> result(input.drop_back());
  result.push_back(weight[0]);
  if (failed(checkShape(*this, "C2", "the result", getResult(), result)))
    return failure();
  for (Value extra : getExtras()) {
    bool vector = isa<WeightType>(extra.getType());
    ArrayRef<int64_t> expected =
        vector ? weight.take_front() : ArrayRef<int64_t>(result);
    if (failed(checkShape(*this, "C3", "an extra", extra, expected)))
      return failure();
  }
  if (failed(verifyQuantizedInput(*this)) || failed(verifyBases(*this)))
    return failure();
  if (!hasEpilogue() && !getExtras().empty())
    return emitOpError("C6: extras need an epilogue");
  return success();
}

LogicalResult LinearOp::verifyRegions() {
  if (!hasEpilogue())
    return success();
  Block &block = getEpilogue().front();
  size_t expected = 1 + getExtras().size();
  if (block.getNumArguments() != expected)
    return emitOpError("C4: the epilogue must have ")
           << expected << " argument(s), got " << block.getNumArguments();
  for (BlockArgument argument : block.getArguments())
    if (!argument.getType().isF32())
      return emitOpError("C4: the epilogue's arguments must be f32, got ")
             << argument.getType();
  if (block.empty() || !isa<YieldOp>(block.back()))
    return emitOpError("C4: the epilogue must end with eff.yield");
  for (Operation &op : block.without_terminator())
    if (!isa_and_nonnull<arith::ArithDialect, math::MathDialect>(
            op.getDialect()))
      return op.emitOpError("C4: an epilogue holds only arith and math ops");
  return success();
}

bool LinearOp::isAsymmetric() {
  if (!getScale())
    return false;
  ArrayRef<int64_t> shape = getShapeOf(getScale());
  bool isWeight = isa<WeightType>(getScale().getType());
  return shape.size() == 1 && (!isWeight || shape[0] == 2);
}

Value LinearOp::getActivations() { return getInput(); }
Value LinearOp::getWeightMatrix() { return getWeight(); }
OpOperand &LinearOp::getWeightOperand() { return getWeightMutable(); }

int64_t LinearOp::getFlops() {
  return 2 * getResult().getType().getNumElements() *
         getShapeOf(getWeight())[1];
}

int64_t LinearOp::getTraffic() {
  int64_t bytes = cast<WeightType>(getWeight().getType()).getPackedBytes();
  for (Value extra : getExtras())
    if (auto vector = dyn_cast<WeightType>(extra.getType()))
      bytes += vector.getPackedBytes();
  return bytes;
}

//===----------------------------------------------------------------------===//
// sample, select_rows, split
//===----------------------------------------------------------------------===//

LogicalResult SampleOp::verify() {
  return checkShape(*this, "C1", "the result", getResult(),
                    getShapeOf(getLogits()).drop_back());
}

LogicalResult SelectRowsOp::verify() {
  ArrayRef<int64_t> input = getShapeOf(getInput());
  return checkShape(*this, "C1", "the result", getResult(),
                    {input[0] * input[1], input[2]});
}

LogicalResult SplitOp::verify() {
  ArrayRef<int64_t> input = getShapeOf(getInput());
  if (input.empty())
    return emitOpError("C1: the input must have features, got a scalar");
  int64_t sum = 0;
  for (Value result : getResults()) {
    ArrayRef<int64_t> shape = getShapeOf(result);
    if (shape.size() != input.size() || shape.drop_back() != input.drop_back())
      return emitOpError("C1: the leading dimensions of results and input must "
                         "agree");
    if (cast<RankedTensorType>(result.getType()).getElementType() !=
        getInput().getType().getElementType())
      return emitOpError("C1: the element types of results and input must "
                         "agree");
    sum += shape.back();
  }
  if (sum != input.back())
    return emitOpError("C1: the results' last dimensions must add up to ")
           << input.back() << ", got " << sum;
  return success();
}
