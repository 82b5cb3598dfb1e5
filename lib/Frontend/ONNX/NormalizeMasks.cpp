//===- NormalizeMasks.cpp - masks as views, operands that do nothing ------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Builders of attention masks read the mask of the tokens at computed places
/// and join it with conditions that are always true. Once sizes are known,
/// these are views. Biases of zeros and factors of one, which some exporters
/// keep, go.
///
//===----------------------------------------------------------------------===//

#include "Simplify.h"
#include "Types.h"
#include "effc/Frontend/ONNX/HostTensor.h"

using namespace mlir;
using namespace effc;
using namespace effc::onnx;

/// A value, repeated to a shape.
static Step expandTo(Simplifier &s, NodeOp op, Value value,
                     ArrayRef<int64_t> shape) {
  if (staticTypeOf(value).getShape() == shape)
    return s.replace(op, value);
  return s.replace(
      op, s.make(op, "Expand", {value, s.ints(op, shape)})->getResults());
}

/// GatherND of whole elements whose places repeat the data along some of the
/// result's dimensions and follow its order along the others.
static Step gather(Simplifier &s, NodeOp op) {
  auto type = staticTypeOf(op.getInputs()[0]),
       places = staticTypeOf(op.getInputs()[1]);
  if (!type || !places || op.getInt("batch_dims", 0) != 0 ||
      places.getRank() < 2 || places.getShape().back() != type.getRank() ||
      places.getNumElements() == 0 || type.getNumElements() == 0)
    return Step::Kept;
  auto numbers = constantInts(op.getInputs()[1]);
  if (!numbers)
    return Step::Kept;
  int64_t depth = type.getRank();
  SmallVector<int64_t> at;
  for (size_t i = 0; i < numbers->size(); i += depth) {
    int64_t index = 0;
    for (int64_t d = 0; d < depth; ++d) {
      int64_t place = (*numbers)[i + d], size = type.getDimSize(d);
      place = place < 0 ? place + size : place;
      if (place < 0 || place >= size)
        return Step::Kept; // refused elsewhere
      index = index * size + place;
    }
    at.push_back(index);
  }
  // The distance that each dimension of the result goes in the data.
  Shape shape(places.getShape().drop_back()), kept;
  SmallVector<int64_t> steps(shape.size());
  int64_t below = 1, expected = 1;
  for (size_t d = shape.size(); d-- > 0; below *= shape[d])
    steps[d] = shape[d] > 1 ? at[below] - at[0] : 0;
  for (size_t d = shape.size(); d-- > 0;) {
    if (steps[d] != 0 && steps[d] != expected)
      return Step::Kept;
    if (steps[d] != 0)
      expected *= shape[d];
  }
  if (expected != type.getNumElements())
    return Step::Kept;
  for (size_t i = 0; i < at.size(); ++i) {
    int64_t rest = i, index = 0;
    for (size_t d = shape.size(); d-- > 0; rest /= shape[d])
      index += rest % shape[d] * steps[d];
    if (at[i] != index)
      return Step::Kept;
  }
  for (size_t d = 0; d < shape.size(); ++d)
    kept.push_back(steps[d] != 0 ? shape[d] : 1);
  Value data = op.getInputs()[0];
  if (type.getShape() != ArrayRef<int64_t>(kept)) {
    NodeOp reshape = s.make(op, "Reshape", {data, s.ints(op, kept)});
    data = reshape->getResult(0);
  }
  if (kept == shape)
    return s.replace(op, data);
  return s.replace(
      op, s.make(op, "Expand", {data, s.ints(op, shape)})->getResults());
}

/// And with what is always true, Or with what is always false.
static Step junction(Simplifier &s, NodeOp op, bool neutral) {
  auto a = staticTypeOf(op.getInputs()[0]), b = staticTypeOf(op.getInputs()[1]);
  if (!a || !b)
    return Step::Kept;
  auto shape = broadcast(a.getShape(), b.getShape());
  if (!shape)
    return Step::Kept;
  for (unsigned i : {0u, 1u}) {
    auto numbers = constantInts(op.getInputs()[i]);
    if (numbers &&
        llvm::all_of(*numbers, [&](int64_t x) { return (x != 0) == neutral; }))
      return expandTo(s, op, op.getInputs()[1 - i], *shape);
  }
  return Step::Kept;
}

/// A convolution's bias of zeros is none.
static void dropZeroBias(NodeOp op) {
  ElementsAttr bias = op.getInputs().size() == 3 && op.getInput(2)
                          ? constantOf(op.getInput(2))
                          : ElementsAttr();
  if (!bias || !isa<FloatType>(bias.getElementType()))
    return;
  auto numbers = HostTensor::read(bias);
  if (succeeded(numbers) &&
      llvm::all_of(numbers->floats, [](double x) { return x == 0; }))
    op->eraseOperand(2);
}

/// Products with one and quotients by it.
static Step dropOne(Simplifier &s, NodeOp op) {
  auto isOne = [&](Value other, Value one) {
    auto type = staticTypeOf(other), scalar = staticTypeOf(one);
    ElementsAttr value = type && scalar && scalar.getNumElements() == 1 &&
                                 scalar.getRank() <= type.getRank() &&
                                 isa<FloatType>(type.getElementType())
                             ? constantOf(one)
                             : ElementsAttr();
    auto number = value ? HostTensor::read(value) : FailureOr<HostTensor>();
    return succeeded(number) && number->floats.size() == 1 &&
           number->floats[0] == 1;
  };
  Value a = op.getInputs()[0], b = op.getInputs()[1];
  if (isOne(a, b))
    return s.replace(op, a);
  if (op.is("Mul") && isOne(b, a))
    return s.replace(op, b);
  return Step::Kept;
}

Step onnx::normalizeMask(Simplifier &s, NodeOp op) {
  if (op.is("GatherND"))
    return gather(s, op);
  if (op.is("And") || op.is("Or"))
    return junction(s, op, op.is("And"));
  if (op.is("Mul") || op.is("Div"))
    return dropOne(s, op);
  if (op.is("Conv"))
    dropZeroBias(op);
  return Step::Kept;
}
