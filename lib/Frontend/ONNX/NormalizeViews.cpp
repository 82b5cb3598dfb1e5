//===- NormalizeViews.cpp - one form for nodes that move data -------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Simplify.h"
#include "Types.h"

using namespace mlir;
using namespace effc;
using namespace effc::onnx;

static Step error(LogicalResult result) {
  return failed(result) ? Step::Error : Step::Kept;
}

/// The axes of Squeeze and Unsqueeze: attribute before opset 13, operand since.
static std::optional<Shape> axesOf(NodeOp op, bool &given) {
  given = true;
  if (auto axes = op.getInts("axes"))
    return axes;
  if (Value operand = op.getInput(1))
    return constantInts(operand);
  given = false;
  return std::nullopt;
}

static Step reshapeTo(Simplifier &s, NodeOp op, Value input,
                      ArrayRef<int64_t> shape) {
  if (staticTypeOf(input).getShape() == shape)
    return s.replace(op, input);
  return s.replace(
      op, s.make(op, "Reshape", {input, s.ints(op, shape)})->getResults());
}

static Step squeeze(Simplifier &s, NodeOp op) {
  Value input = op.getInputs()[0];
  auto type = staticTypeOf(input);
  bool given;
  auto axes = axesOf(op, given);
  if (!type || (given && !axes))
    return Step::Kept;
  llvm::SmallBitVector gone(type.getRank());
  if (!given) {
    for (int64_t i = 0; i < type.getRank(); ++i)
      if (type.getDimSize(i) == 1)
        gone.set(i);
  } else {
    for (int64_t axis : *axes) {
      auto fixed = Inference(op).axis(axis, type.getRank());
      if (failed(fixed))
        return Step::Error;
      if (type.getDimSize(*fixed) != 1)
        return error(Inference(op).mismatch("axis " + Twine(*fixed) +
                                            " has more than one element"));
      gone.set(*fixed);
    }
  }
  Shape shape;
  for (int64_t i = 0; i < type.getRank(); ++i)
    if (!gone.test(i))
      shape.push_back(type.getDimSize(i));
  return reshapeTo(s, op, input, shape);
}

static Step unsqueeze(Simplifier &s, NodeOp op) {
  Value input = op.getInputs()[0];
  auto type = staticTypeOf(input);
  bool given;
  auto axes = axesOf(op, given);
  if (!type || !axes)
    return Step::Kept;
  int64_t rank = type.getRank() + int64_t(axes->size());
  if (rank > maxRank)
    return error(Inference(op).mismatch("the result has too many dimensions"));
  llvm::SmallBitVector fresh(rank);
  for (int64_t axis : *axes) {
    auto fixed = Inference(op).axis(axis, rank);
    if (failed(fixed))
      return Step::Error;
    if (fresh.test(*fixed))
      return error(Inference(op).wrong("an axis is given twice"));
    fresh.set(*fixed);
  }
  Shape shape;
  const int64_t *next = type.getShape().begin();
  for (int64_t i = 0; i < rank; ++i)
    shape.push_back(fresh.test(i) ? 1 : *next++);
  return reshapeTo(s, op, input, shape);
}

static Step flatten(Simplifier &s, NodeOp op) {
  Value input = op.getInputs()[0];
  auto type = staticTypeOf(input);
  if (!type)
    return Step::Kept;
  int64_t axis = op.getInt("axis", 1);
  if (axis < -type.getRank() || axis > type.getRank())
    return error(
        Inference(op).mismatch("the axis " + Twine(axis) + " is out of range"));
  if (axis < 0)
    axis += type.getRank();
  int64_t outer = 1, inner = 1;
  for (int64_t i = 0; i < type.getRank(); ++i)
    (i < axis ? outer : inner) *= type.getDimSize(i);
  return reshapeTo(s, op, input, {outer, inner});
}

static Step reshape(Simplifier &s, NodeOp op) {
  Value input = op.getInputs()[0];
  auto type = staticTypeOf(input);
  std::optional<Shape> wanted = op.getInts("shape");
  if (Value operand = op.getInput(1))
    wanted = constantInts(operand);
  if (!type || !wanted)
    return Step::Kept;
  bool allowZero = op.getInt("allowzero", 0);
  Shape shape = *wanted;
  int64_t open = -1, known = 1;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 0 && !allowZero) {
      if (int64_t(i) >= type.getRank())
        return error(
            Inference(op).mismatch("a size of 0 has nothing to copy from"));
      shape[i] = type.getDimSize(i);
    }
    if (shape[i] == -1) {
      if (open >= 0)
        return error(Inference(op).wrong("two sizes are -1"));
      open = i;
      continue;
    }
    if (shape[i] < 0 || (shape[i] > 0 && known > (int64_t(1) << 62) / shape[i]))
      return error(Inference(op).mismatch("a size is negative or too large"));
    known *= shape[i];
  }
  if (int64_t(shape.size()) > maxRank)
    return error(Inference(op).mismatch("the result has too many dimensions"));
  int64_t count = type.getNumElements();
  if (open >= 0) {
    if (known == 0 ? count != 0 : count % known != 0)
      return error(Inference(op).mismatch("the wanted shape does not divide " +
                                          Twine(count) + " elements"));
    shape[open] = known == 0 ? 0 : count / known;
  } else if (known != count) {
    std::string text;
    llvm::raw_string_ostream os(text);
    llvm::interleave(shape, os, "x");
    return error(Inference(op).mismatch("the wanted shape " + text + " has " +
                                        Twine(known) + " elements"));
  }
  if (ArrayRef<int64_t>(shape) == type.getShape())
    return s.replace(op, input);
  op->removeAttr("shape");
  op->removeAttr("allowzero");
  if (op.getInputs().size() < 2 || constantInts(op.getInputs()[1]) != shape)
    op.getInputsMutable().assign({input, s.ints(op, shape)});
  return Step::Kept;
}

static Step transpose(Simplifier &s, NodeOp op) {
  Value input = op.getInputs()[0];
  auto type = dyn_cast<RankedTensorType>(input.getType());
  if (!type)
    return Step::Kept;
  Shape perm;
  if (auto given = op.getInts("perm"))
    perm = *given;
  else
    for (int64_t i = type.getRank(); i-- > 0;)
      perm.push_back(i);
  bool same = int64_t(perm.size()) == type.getRank();
  for (auto [i, axis] : llvm::enumerate(perm)) {
    if (axis < 0)
      axis += type.getRank(); // the TorchScript exporter writes these
    same &= axis == int64_t(i);
  }
  if (same)
    return s.replace(op, input);
  op->setAttr("perm", s.b.getDenseI64ArrayAttr(perm));
  return Step::Kept;
}

static Step expand(Simplifier &s, NodeOp op) {
  Value input = op.getInputs()[0];
  auto type = staticTypeOf(input);
  auto wanted = constantInts(op.getInputs()[1]);
  if (!type || !wanted)
    return Step::Kept;
  auto shape = broadcast(type.getShape(), *wanted);
  if (!shape)
    return error(Inference(op).mismatch("the shape does not broadcast"));
  if (ArrayRef<int64_t>(*shape) == type.getShape())
    return s.replace(op, input);
  if (*shape != *wanted)
    op.getInputsMutable().assign({input, s.ints(op, *shape)});
  return Step::Kept;
}

static Step concat(Simplifier &s, NodeOp op) {
  if (op.getInputs().size() == 1)
    return s.replace(op, op.getInputs()[0]);
  auto type = dyn_cast<RankedTensorType>(op.getInputs()[0].getType());
  if (!type)
    return Step::Kept;
  auto axis = Inference(op).axis(op.getInt("axis", 1), type.getRank());
  if (failed(axis))
    return Step::Error;
  op->setAttr("axis", s.b.getI64IntegerAttr(*axis));
  return Step::Kept;
}

/// Starts, ends, axes and steps as constants, clamped.
static Step slice(Simplifier &s, NodeOp op) {
  Value input = op.getInputs()[0];
  auto type = staticTypeOf(input);
  if (!type)
    return Step::Kept;
  auto part = [&](unsigned operand, StringRef attribute) {
    if (auto list = op.getInts(attribute))
      return list;
    Value value = op.getInput(operand);
    return value ? constantInts(value) : std::optional<Shape>();
  };
  auto starts = part(1, "starts"), ends = part(2, "ends");
  auto axes = part(3, "axes"), steps = part(4, "steps");
  if (!starts || !ends || (op.getInput(3) && !axes) ||
      (op.getInput(4) && !steps))
    return Step::Kept;
  if (!axes) {
    axes = Shape();
    for (size_t i = 0; i < starts->size(); ++i)
      axes->push_back(i);
  }
  if (!steps)
    steps = Shape(starts->size(), 1);
  if (starts->size() != ends->size() || axes->size() != starts->size() ||
      steps->size() != starts->size())
    return error(
        Inference(op).wrong("starts, ends, axes and steps differ in length"));
  bool whole = true;
  llvm::SmallBitVector seen(type.getRank());
  for (size_t i = 0; i < starts->size(); ++i) {
    auto axis = Inference(op).axis((*axes)[i], type.getRank());
    if (failed(axis))
      return Step::Error;
    int64_t size = type.getDimSize(*axis), &start = (*starts)[i],
            &end = (*ends)[i], &step = (*steps)[i];
    if (step == 0 || seen.test(*axis))
      return error(
          Inference(op).wrong("a step is zero, or an axis is given twice"));
    seen.set(*axis);
    step = std::clamp<int64_t>(step, -(int64_t(1) << 40), int64_t(1) << 40);
    auto fromFront = [&](int64_t at) {
      return at < 0 && at >= -size ? at + size : at < 0 ? -1 : at;
    };
    if (step > 0) {
      start = std::clamp<int64_t>(fromFront(start), 0, size);
      end = std::clamp<int64_t>(fromFront(end), 0, size);
    } else {
      start = std::clamp<int64_t>(fromFront(start), 0,
                                  std::max<int64_t>(size - 1, 0));
      end = std::clamp<int64_t>(fromFront(end), -1,
                                std::max<int64_t>(size - 1, -1));
      if (size == 0) {
        start = end = 0;
        step = 1;
      } else if (end < 0) {
        end = -size - 1;
      }
    }
    (*axes)[i] = *axis;
    whole &= step == 1 && start == 0 && end == size;
  }
  if (whole)
    return s.replace(op, input);
  for (StringRef name : {"starts", "ends", "axes", "steps"})
    op->removeAttr(name);
  op.getInputsMutable().assign({input, s.ints(op, *starts), s.ints(op, *ends),
                                s.ints(op, *axes), s.ints(op, *steps)});
  return Step::Kept;
}

static Step split(Simplifier &s, NodeOp op) {
  Value input = op.getInputs()[0];
  auto type = staticTypeOf(input);
  if (!type)
    return Step::Kept;
  auto axis = Inference(op).axis(op.getInt("axis", 0), type.getRank());
  if (failed(axis))
    return Step::Error;
  std::optional<Shape> sizes = op.getInts("split");
  if (Value operand = op.getInput(1)) {
    sizes = constantInts(operand);
    if (!sizes)
      return Step::Kept;
  }
  int64_t size = type.getDimSize(*axis);
  if (!sizes) {
    int64_t parts = op.getInt("num_outputs", op.getOutputs().size());
    if (parts < 1 || parts < int64_t(op.getOutputs().size()) ||
        parts > std::max<int64_t>(size, 1) + 1000)
      return error(
          Inference(op).mismatch("it cannot make " + Twine(parts) + " parts"));
    bool even = size % parts == 0;
    if (!even && !op->hasAttr("num_outputs"))
      return error(Inference(op).mismatch(
          "axis " + Twine(*axis) + " is no multiple of " + Twine(parts)));
    int64_t each = llvm::divideCeil(size, parts);
    sizes = Shape();
    for (int64_t i = 0, left = size; i < parts; ++i, left -= sizes->back())
      sizes->push_back(std::min(each, left));
  }
  op->setAttr("axis", s.b.getI64IntegerAttr(*axis));
  op->removeAttr("split");
  op->removeAttr("num_outputs");
  if (op.getInputs().size() < 2 || constantInts(op.getInputs()[1]) != sizes)
    op.getInputsMutable().assign({input, s.ints(op, *sizes)});
  if (sizes->size() == 1 && (*sizes)[0] == size && op.getOutputs().size() == 1)
    return s.replace(op, input);
  return Step::Kept;
}

/// Pads for all axes and the value as operands.
static Step pad(Simplifier &s, NodeOp op) {
  Value input = op.getInputs()[0];
  auto type = staticTypeOf(input);
  if (!type)
    return Step::Kept;
  std::optional<Shape> pads = op.getInts("pads");
  if (Value operand = op.getInput(1))
    pads = constantInts(operand);
  if (!pads)
    return Step::Kept;
  int64_t rank = type.getRank();
  if (Value operand = op.getInput(3)) {
    auto axes = constantInts(operand);
    if (!axes)
      return Step::Kept;
    if (pads->size() != 2 * axes->size())
      return error(Inference(op).wrong("there must be two pads for each axis"));
    Shape all(2 * rank, 0);
    for (size_t i = 0; i < axes->size(); ++i) {
      auto axis = Inference(op).axis((*axes)[i], rank);
      if (failed(axis))
        return Step::Error;
      all[*axis] = (*pads)[i];
      all[*axis + rank] = (*pads)[i + axes->size()];
    }
    pads = all;
  }
  if (int64_t(pads->size()) != 2 * rank)
    return error(Inference(op).wrong("there must be two pads for each axis"));
  if (llvm::all_of(*pads, [](int64_t p) { return p == 0; }))
    return s.replace(op, input);
  SmallVector<Value> operands{input, s.ints(op, *pads)};
  if (Value value = op.getInput(2)) {
    operands.push_back(value);
  } else if (auto element = dyn_cast<FloatType>(type.getElementType());
             element && op->hasAttr("value")) {
    auto number =
        FloatAttr::get(element, roundTo(element, op.getFloat("value", 0)));
    operands.push_back(s.constant(
        op, DenseElementsAttr::get(RankedTensorType::get({}, element),
                                   Attribute(number))));
  }
  op->removeAttr("pads");
  op->removeAttr("value");
  op.getInputsMutable().assign(operands);
  return Step::Kept;
}

Step onnx::normalizeView(Simplifier &s, NodeOp op) {
  StringRef name = op.getOpType();
  if (name == "Reshape")
    return reshape(s, op);
  if (name == "Transpose")
    return transpose(s, op);
  if (name == "Squeeze")
    return squeeze(s, op);
  if (name == "Unsqueeze")
    return unsqueeze(s, op);
  if (name == "Flatten")
    return flatten(s, op);
  if (name == "Expand")
    return expand(s, op);
  if (name == "Concat")
    return concat(s, op);
  if (name == "Slice")
    return slice(s, op);
  if (name == "Split")
    return split(s, op);
  if (name == "Pad")
    return pad(s, op);
  return Step::Kept;
}
