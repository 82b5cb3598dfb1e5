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
  if (!state)
    return 0;
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
  if (failed(checkShape(*this, "C2", "the state", getState(),
                        {kernel - 1, channels})))
    return failure();
  bool isInt8 = !cast<StateType>(getState().getType()).isF32();
  if (isInt8 != static_cast<bool>(getStateScale()))
    return emitOpError("C3: an i8 state comes with state_scale, another "
                       "without");
  if (isInt8 && getShapeOf(getStateScale())[0] != 1)
    return checkShape(*this, "C3", "state_scale", getStateScale(), channels);
  return success();
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

/// C4 and C5 of the scans; `steps` values of dt belong to a token.
template <typename ScanOp>
static LogicalResult verifyScanState(ScanOp op, int64_t steps) {
  if (op.getDtBias() &&
      failed(checkShape(op, "C4", "dt_bias", op.getDtBias(), steps)))
    return failure();
  auto type =
      op.getState() ? cast<StateType>(op.getState().getType()) : StateType();
  bool isStatic = type && type.getInt8() &&
                  type.getInt8().getScaling() == StateScaling::Static;
  if (isStatic != static_cast<bool>(op.getStateScale()))
    return op.emitOpError("C5: a static int8 state comes with state_scale, "
                          "another without");
  if (isStatic)
    return checkShape(op, "C5", "state_scale", op.getStateScale(),
                      type.getNumElements());
  return success();
}

//===----------------------------------------------------------------------===//
// ssd_scan
//===----------------------------------------------------------------------===//

/// Whether runs of equally many ends each ascend to `last`.
static bool ascend(ArrayRef<int64_t> ends, int64_t runs, int64_t last) {
  if (runs < 1 || ends.empty() || ends.size() % runs != 0)
    return false;
  size_t length = ends.size() / runs;
  for (; !ends.empty(); ends = ends.drop_front(length)) {
    int64_t before = 0;
    for (int64_t end : ends.take_front(length)) {
      if (end <= before)
        return false;
      before = end;
    }
    if (before != last)
      return false;
  }
  return true;
}

static LogicalResult verifyClusters(SsdScanOp op, int64_t headDim) {
  ClustersAttr clusters = op.getClustersAttr();
  if (!clusters)
    return success();
  ArrayRef<int64_t> heads = clusters.getHeadEnds();
  if (!ascend(heads, op.getGroups(), op.getHeads() / op.getGroups()) ||
      !ascend(clusters.getChannelEnds(), heads.size(), headDim))
    return op.emitOpError("C6: the ends of clusters must ascend to the heads "
                          "of a group and to the channels of a head");
  return success();
}

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
                        {heads, n, input[2] / heads})) ||
      failed(verifyScanState(*this, heads)) ||
      failed(verifyClusters(*this, input[2] / heads)))
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
         getWeightBytes(getDtBias()) + getWeightBytes(getStateScale()) +
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
  if (getState() &&
      failed(checkShape(*this, "C3", "the state", getState(), {n, channels})))
    return failure();
  return verifyScanState(*this, channels);
}

SmallVector<Value> SsmScanOp::getStateOperands() {
  return getState() ? SmallVector<Value>{getState()} : SmallVector<Value>();
}

void SsmScanOp::getEffects(
    SmallVectorImpl<MemoryEffects::EffectInstance> &effects) {
  if (!getState())
    return;
  effects.emplace_back(MemoryEffects::Read::get());
  effects.emplace_back(MemoryEffects::Write::get());
}

int64_t SsmScanOp::getFlops() {
  // Per element of the state: exp, decay, dt u B, sum, C.
  return 7 * getResult().getType().getNumElements() * getShapeOf(getA())[1];
}

int64_t SsmScanOp::getTraffic() {
  return getWeightBytes(getA()) + getWeightBytes(getSkip()) +
         getWeightBytes(getDtBias()) + getWeightBytes(getStateScale()) +
         getStateTraffic(getShapeOf(getInput())[0], getState());
}
