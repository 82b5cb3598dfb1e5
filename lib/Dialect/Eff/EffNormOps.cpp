//===- EffNormOps.cpp - normalisations ------------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "OpUtils.h"

using namespace mlir;
using namespace effc::eff;

static LogicalResult checkEps(Operation *op, const APFloat &eps) {
  // Also refuses NaN.
  if (!eps.isNegative() && eps.isFinite())
    return success();
  return op->emitOpError("C2: eps must not be negative, got ")
         << eps.convertToDouble();
}

/// `group` is 0 or divides `features`.
static LogicalResult checkGroup(Operation *op, int64_t group,
                                int64_t features) {
  if (group == 0 || divides(group, features))
    return success();
  return op->emitOpError("C2: group (")
         << group << ") must divide the number of features (" << features
         << ")";
}

static FailureOr<int64_t> getFeatures(Operation *op, Value input) {
  ArrayRef<int64_t> shape = getShapeOf(input);
  if (shape.empty())
    return op->emitOpError("C1: the input must have features, got a scalar");
  return shape.back();
}

LogicalResult GatedNormOp::verify() {
  FailureOr<int64_t> features = getFeatures(*this, getInput());
  if (failed(features) ||
      failed(checkShape(*this, "C1", "the weight", getWeight(), *features)) ||
      failed(checkGroup(*this, getGroup(), *features)))
    return failure();
  return checkEps(*this, getEps());
}

LogicalResult LayerNormOp::verify() {
  FailureOr<int64_t> features = getFeatures(*this, getInput());
  if (failed(features) ||
      failed(checkShape(*this, "C1", "the weight", getWeight(), *features)))
    return failure();
  if (getBias() &&
      failed(checkShape(*this, "C1", "the bias", getBias(), *features)))
    return failure();
  return checkEps(*this, getEps());
}

LogicalResult RmsNormOp::verify() {
  FailureOr<int64_t> features = getFeatures(*this, getInput());
  if (failed(features) || failed(checkGroup(*this, getGroup(), *features)))
    return failure();
  int64_t elements = getGroup() ? getGroup() : *features;
  if (failed(checkShape(*this, "C1", "the weight", getWeight(), elements)))
    return failure();
  return checkEps(*this, getEps());
}
