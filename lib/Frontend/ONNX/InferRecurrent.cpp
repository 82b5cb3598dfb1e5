//===- InferRecurrent.cpp - types of recurrences, losses and resizing -----===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Infer.h"
#include "effc/Frontend/ONNX/HostTensor.h"

#include "llvm/ADT/StringSwitch.h"

#include <cmath>

using namespace mlir;
using namespace effc;
using namespace effc::onnx;

/// RNN, GRU and LSTM: x [T, B, I], or [B, T, I] with layout 1; r [D, .., H].
static LogicalResult recurrent(Inference &in) {
  auto x = in.type(0), r = in.type(2);
  if (!x || !r)
    return success();
  if (x.getRank() != 3 || r.getRank() != 3)
    return in.mismatch("inputs and weights must have three dimensions");
  bool batchFirst = in.op.getInt("layout", 0) == 1;
  int64_t steps = x.getDimSize(batchFirst ? 1 : 0),
          batch = x.getDimSize(batchFirst ? 0 : 1);
  int64_t directions = r.getDimSize(0), hidden = r.getDimSize(2);
  Type element = x.getElementType();
  if (batchFirst) {
    in.set(0, {batch, steps, directions, hidden}, element);
    in.set(1, {batch, directions, hidden}, element);
    in.set(2, {batch, directions, hidden}, element);
    return success();
  }
  in.set(0, {steps, directions, batch, hidden}, element);
  in.set(1, {directions, batch, hidden}, element);
  in.set(2, {directions, batch, hidden}, element);
  return success();
}

/// NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss: x [N, C, d..], target
/// [N, d..].
static LogicalResult loss(Inference &in) {
  auto x = in.type(0), target = in.type(1);
  if (!x || !target)
    return success();
  if (in.op.getString("reduction", "mean") == "none")
    in.set(0, target.getShape(), x.getElementType());
  else
    in.set(0, {}, x.getElementType());
  in.set(1, x.getShape(), x.getElementType());
  return success();
}

/// The scales of a Resize or Upsample, where they are known.
static std::vector<double> scalesOf(Inference &in, unsigned operand) {
  if (auto list = in.op->getAttrOfType<DenseF32ArrayAttr>("scales"))
    return {list.asArrayRef().begin(), list.asArrayRef().end()};
  ElementsAttr value =
      in.has(operand) ? constantOf(in.op.getInput(operand)) : ElementsAttr();
  if (!value)
    return {};
  FailureOr<HostTensor> numbers = HostTensor::read(value);
  return failed(numbers) || !numbers->isFloat() ? std::vector<double>()
                                                : numbers->floats;
}

static LogicalResult resize(Inference &in) {
  auto x = in.type(0);
  if (!x || in.op.getString("coordinate_transformation_mode", "") ==
                "tf_crop_and_resize")
    return success();
  Shape axes = in.op.getInts("axes").value_or(Shape());
  if (axes.empty())
    for (int64_t i = 0; i < x.getRank(); ++i)
      axes.push_back(i);
  for (int64_t &axis : axes) {
    auto normal = in.axis(axis, x.getRank());
    if (failed(normal))
      return failure();
    axis = *normal;
  }
  bool old = in.op.is("Upsample") || in.op.getInputs().size() == 2;
  Shape shape(x.getShape());
  std::vector<double> scales = scalesOf(in, old ? 1 : 2);
  if (scales.size() == axes.size()) {
    for (auto [axis, scale] : llvm::zip(axes, scales)) {
      double size = std::floor(double(shape[axis]) * scale);
      if (!(size >= 0 && size < 1e9))
        return in.mismatch("a scale gives an impossible size");
      shape[axis] = int64_t(size);
    }
    in.set(0, shape, x.getElementType());
    return success();
  }
  auto sizes = in.ints(3);
  StringRef policy = in.op.getString("keep_aspect_ratio_policy", "stretch");
  if (!sizes || sizes->size() != axes.size() || !scales.empty())
    return success();
  double common = policy == "not_larger" ? HUGE_VAL : 0;
  for (auto [axis, size] : llvm::zip(axes, *sizes)) {
    if (shape[axis] == 0 || size < 0)
      return success();
    double scale = double(size) / double(shape[axis]);
    common = policy == "not_larger" ? std::min(common, scale)
                                    : std::max(common, scale);
  }
  for (auto [axis, size] : llvm::zip(axes, *sizes))
    shape[axis] = policy == "stretch"
                      ? size
                      : int64_t(std::floor(common * double(shape[axis]) + 0.5));
  in.set(0, shape, x.getElementType());
  return success();
}

InferFn onnx::findRecurrentRule(NodeOp node) {
  if (!node.getDomain().empty())
    return nullptr;
  return llvm::StringSwitch<InferFn>(node.getOpType())
      .Cases({"RNN", "GRU", "LSTM"}, recurrent)
      .Cases({"NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"}, loss)
      .Cases({"Resize", "Upsample"}, resize)
      .Default(nullptr);
}
