//===- EffCollapseOps.cpp - one scan in place of many ---------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "OpUtils.h"

using namespace mlir;
using namespace effc::eff;

//===----------------------------------------------------------------------===//
// collapse_channels
//===----------------------------------------------------------------------===//

LogicalResult CollapseChannelsOp::verify() {
  ArrayRef<int64_t> input = getShapeOf(getInput()), a = getShapeOf(getA());
  int64_t channels = input[2], groups = getGroups(), scans = getScans();
  if (!divides(groups, channels))
    return emitOpError("C2: groups (")
           << groups << ") must divide the channels (" << channels << ")";
  int64_t features = getShapeOf(getB())[2];
  if (!divides(groups, features))
    return emitOpError("C2: groups (")
           << groups << ") must divide the features of B and C (" << features
           << ")";
  int64_t n = features / groups;
  if (a.size() == 2) {
    if (failed(checkShape(*this, "C1", "A", getA(), {channels, n})) ||
        failed(checkShape(*this, "C1", "dt", getDt(), input)))
      return failure();
  } else {
    int64_t heads = a[0];
    if (!divides(heads, channels))
      return emitOpError("C1: the heads (")
             << heads << ") must divide the channels (" << channels << ")";
    if (!divides(groups, heads))
      return emitOpError("C2: groups (")
             << groups << ") must divide the heads (" << heads << ")";
    if (failed(checkShape(*this, "C1", "dt", getDt(),
                          {input[0], input[1], heads})))
      return failure();
  }
  if (failed(checkShape(*this, "C2", "B and C", getB(),
                        {input[0], input[1], features})))
    return failure();
  if (scans != 1 && scans != groups)
    return emitOpError("C3: scans must be 1 or ")
           << groups << ", got " << scans;
  return checkShape(*this, "C4", "a result", getDecay(),
                    {input[0], input[1], scans * n});
}

int64_t CollapseChannelsOp::getFlops() {
  // Per channel and state: dt A, exp, sum; per channel: dt x, sum.
  int64_t elements = getInput().getType().getNumElements();
  ArrayRef<int64_t> a = getShapeOf(getA());
  return a.size() == 2 ? elements * (3 * a[1] + 2)
                       : 2 * elements + 3 * getDt().getType().getNumElements();
}

int64_t CollapseChannelsOp::getTraffic() {
  return cast<WeightType>(getA().getType()).getPackedBytes();
}

//===----------------------------------------------------------------------===//
// collapsed_scan
//===----------------------------------------------------------------------===//

LogicalResult CollapsedScanOp::verify() {
  ArrayRef<int64_t> decay = getShapeOf(getDecay());
  int64_t scans = getShapeOf(getResult())[2];
  if (!divides(scans, decay[2]))
    return emitOpError("C1: scans (")
           << scans << ") must divide the features (" << decay[2] << ")";
  if (failed(checkShape(*this, "C1", "the result", getResult(),
                        {decay[0], decay[1], scans})))
    return failure();
  if (getState())
    return checkShape(*this, "C2", "the state", getState(),
                      {decay[2] / scans, scans});
  return success();
}

SmallVector<Value> CollapsedScanOp::getStateOperands() {
  return getState() ? SmallVector<Value>{getState()} : SmallVector<Value>();
}

void CollapsedScanOp::getEffects(
    SmallVectorImpl<MemoryEffects::EffectInstance> &effects) {
  if (!getState())
    return;
  effects.emplace_back(MemoryEffects::Read::get());
  effects.emplace_back(MemoryEffects::Write::get());
}

int64_t CollapsedScanOp::getFlops() {
  return 4 * getDecay().getType().getNumElements();
}

int64_t CollapsedScanOp::getTraffic() {
  if (!getState())
    return 0;
  return 2 * getShapeOf(getDecay())[0] *
         cast<StateType>(getState().getType()).getBytes();
}

//===----------------------------------------------------------------------===//
// expand_channels
//===----------------------------------------------------------------------===//

LogicalResult ExpandChannelsOp::verify() {
  ArrayRef<int64_t> input = getShapeOf(getInput());
  ArrayRef<int64_t> result = getShapeOf(getResult());
  if (failed(checkShape(*this, "C1", "the result", getResult(),
                        {input[0], input[1], result[2]})))
    return failure();
  if (!divides(input[2], result[2]))
    return emitOpError("C1: scans (")
           << input[2] << ") must divide the channels (" << result[2] << ")";
  if (static_cast<bool>(getSkip()) != static_cast<bool>(getFactor()))
    return emitOpError("C2: a skip needs its tensor and its weight");
  if (getSkip() &&
      (failed(checkShape(*this, "C2", "skip", getSkip(), result)) ||
       failed(checkShape(*this, "C2", "the skip's weight", getFactor(),
                         result[2]))))
    return failure();
  if (getGate())
    return checkShape(*this, "C2", "gate", getGate(), result);
  return success();
}
