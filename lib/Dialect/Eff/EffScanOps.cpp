//===- EffScanOps.cpp - convolutions and state-space scans ----------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "OpUtils.h"

using namespace mlir;
using namespace effc::eff;

/// Each row's state is read and written once.
static int64_t getStateTraffic(int64_t batch, Value state) {
  return 2 * batch * cast<StateType>(state.getType()).getBytes();
}

static int64_t getWeightBytes(Value weight) {
  return weight ? cast<WeightType>(weight.getType()).getPackedBytes() : 0;
}

//===----------------------------------------------------------------------===//
// causal_conv1d
//===----------------------------------------------------------------------===//

LogicalResult CausalConv1DOp::verify() {
  int64_t channels = getShapeOf(getInput()).back();
  int64_t kernel = getShapeOf(getWeight())[1];
  if (failed(checkShape(*this, "C1", "the weight", getWeight(),
                        {channels, kernel})))
    return failure();
  if (getBias() &&
      failed(checkShape(*this, "C1", "the bias", getBias(), channels)))
    return failure();
  return checkShape(*this, "C2", "the state", getState(),
                    {kernel - 1, channels});
}

SmallVector<Value> CausalConv1DOp::getStateOperands() { return {getState()}; }

int64_t CausalConv1DOp::getFlops() {
  return 2 * getResult().getType().getNumElements() *
         getShapeOf(getWeight())[1];
}

int64_t CausalConv1DOp::getTraffic() {
  return getWeightBytes(getWeight()) + getWeightBytes(getBias()) +
         getStateTraffic(getShapeOf(getInput())[0], getState());
}

//===----------------------------------------------------------------------===//
// ssd_scan
//===----------------------------------------------------------------------===//

LogicalResult SsdScanOp::verify() {
  ArrayRef<int64_t> input = getShapeOf(getInput());
  int64_t batch = input[0], tokens = input[1];
  int64_t heads = getHeads(), groups = getGroups();
  if (!divides(heads, input[2]))
    return emitOpError("C1: heads (")
           << heads << ") must divide the number of features (" << input[2]
           << ")";
  if (failed(checkShape(*this, "C1", "dt", getDt(), {batch, tokens, heads})) ||
      failed(checkShape(*this, "C1", "A", getA(), heads)))
    return failure();
  if (getSkip() && failed(checkShape(*this, "C1", "skip", getSkip(), heads)))
    return failure();
  if (!divides(groups, heads))
    return emitOpError("C2: groups (")
           << groups << ") must divide heads (" << heads << ")";
  int64_t n = getShapeOf(getState())[1];
  if (failed(checkShape(*this, "C3", "the state", getState(),
                        {heads, n, input[2] / heads})))
    return failure();
  return checkShape(*this, "C2", "B and C", getB(),
                    {batch, tokens, groups * n});
}

SmallVector<Value> SsdScanOp::getStateOperands() { return {getState()}; }

int64_t SsdScanOp::getFlops() {
  // Per element of the state: decay, dt x B (one multiplication), sum, C.
  return 6 * getResult().getType().getNumElements() * getShapeOf(getState())[1];
}

int64_t SsdScanOp::getTraffic() {
  return getWeightBytes(getA()) + getWeightBytes(getSkip()) +
         getStateTraffic(getShapeOf(getInput())[0], getState());
}

//===----------------------------------------------------------------------===//
// ssm_scan
//===----------------------------------------------------------------------===//

LogicalResult SsmScanOp::verify() {
  ArrayRef<int64_t> input = getShapeOf(getInput());
  int64_t channels = input[2], groups = getGroups();
  int64_t n = getShapeOf(getA())[1];
  if (failed(checkShape(*this, "C1", "A", getA(), {channels, n})))
    return failure();
  if (getSkip() && failed(checkShape(*this, "C1", "skip", getSkip(), channels)))
    return failure();
  if (getGate() && failed(checkShape(*this, "C1", "gate", getGate(), input)))
    return failure();
  if (!divides(groups, channels))
    return emitOpError("C2: groups (")
           << groups << ") must divide the channels (" << channels << ")";
  if (failed(checkShape(*this, "C2", "B and C", getB(),
                        {input[0], input[1], groups * n})))
    return failure();
  return checkShape(*this, "C3", "the state", getState(), {n, channels});
}

SmallVector<Value> SsmScanOp::getStateOperands() { return {getState()}; }

int64_t SsmScanOp::getFlops() {
  // Per element of the state: exp, decay, dt u B, sum, C.
  return 7 * getResult().getType().getNumElements() * getShapeOf(getA())[1];
}

int64_t SsmScanOp::getTraffic() {
  return getWeightBytes(getA()) + getWeightBytes(getSkip()) +
         getStateTraffic(getShapeOf(getInput())[0], getState());
}
