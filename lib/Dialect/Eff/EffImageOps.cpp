//===- EffImageOps.cpp - convolutions and scans of images -----------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "OpUtils.h"

using namespace mlir;
using namespace effc::eff;

/// C1 of every op here but the number of directions.
static LogicalResult checkPixels(Operation *op, int64_t tokens, int64_t height,
                                 int64_t width) {
  if (height > 0 && width > 0 && tokens % height == 0 &&
      tokens / height == width)
    return success();
  return op->emitOpError("C1: ")
         << tokens << " tokens are no image of " << height << " x " << width;
}

static LogicalResult checkDirections(Operation *op, int64_t directions) {
  if (directions == 1 || directions == 2 || directions == 4)
    return success();
  return op->emitOpError("C1: directions must be 1, 2 or 4, got ")
         << directions;
}

LogicalResult CrossMergeOp::verify() {
  ArrayRef<int64_t> input = getShapeOf(getInput());
  if (failed(checkDirections(*this, getDirections())) ||
      failed(checkPixels(*this, input[1], getHeight(), getWidth())))
    return failure();
  if (!divides(getDirections(), input[2]))
    return emitOpError("C2: directions (")
           << getDirections() << ") must divide the number of features ("
           << input[2] << ")";
  return checkShape(*this, "C2", "the result", getResult(),
                    {input[0], input[1], input[2] / int64_t(getDirections())});
}

LogicalResult CrossScanOp::verify() {
  if (failed(checkDirections(*this, getDirections())))
    return failure();
  int64_t count = getInputs().size(), directions = getDirections();
  if (count != 1 && count != directions)
    return emitOpError("C2: there must be one input or ")
           << directions << ", got " << count;
  ArrayRef<int64_t> input = getShapeOf(getInputs().front());
  if (failed(checkPixels(*this, input[1], getHeight(), getWidth())))
    return failure();
  for (Value other : getInputs())
    if (failed(checkShape(*this, "C2", "an input", other, input)))
      return failure();
  return checkShape(*this, "C3", "the result", getResult(),
                    {input[0], input[1], directions * input[2]});
}

LogicalResult DepthwiseConv2DOp::verify() {
  ArrayRef<int64_t> input = getShapeOf(getInput());
  if (failed(checkPixels(*this, input[1], getHeight(), getWidth())))
    return failure();
  ArrayRef<int64_t> kernel = getKernel();
  auto isOdd = [](int64_t size) { return size > 0 && size % 2 == 1; };
  if (kernel.size() != 2 || !llvm::all_of(kernel, isOdd))
    return emitOpError("C2: the kernel must be two odd numbers");
  if (failed(checkShape(*this, "C2", "the weight", getWeight(),
                        {input[2], kernel[0] * kernel[1]})))
    return failure();
  if (getBias())
    return checkShape(*this, "C2", "the bias", getBias(), input[2]);
  return success();
}

int64_t DepthwiseConv2DOp::getFlops() {
  return 2 * getResult().getType().getNumElements() *
         getShapeOf(getWeight())[1];
}

int64_t DepthwiseConv2DOp::getTraffic() {
  int64_t bytes = cast<WeightType>(getWeight().getType()).getPackedBytes();
  if (getBias())
    bytes += cast<WeightType>(getBias().getType()).getPackedBytes();
  return bytes;
}
