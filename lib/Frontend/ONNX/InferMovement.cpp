//===- InferMovement.cpp - types of nodes that move data ------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Infer.h"
#include "Types.h"

#include "llvm/ADT/StringSwitch.h"

#include <cmath>

using namespace mlir;
using namespace effc;
using namespace effc::onnx;

static Type i64(Inference &in) {
  return IntegerType::get(in.op.getContext(), 64);
}

/// The shape is operand 1, a constant with every size given.
static LogicalResult reshape(Inference &in) {
  auto type = in.type(0);
  auto shape = in.ints(1);
  if (!type || !shape)
    return success();
  if (elementCount(*shape) != type.getNumElements())
    return in.mismatch("the number of elements changes");
  in.set(0, *shape, type.getElementType());
  return success();
}

static LogicalResult expand(Inference &in) {
  auto type = in.type(0);
  auto shape = in.ints(1);
  if (!type || !shape)
    return success();
  auto result = broadcast(type.getShape(), *shape);
  if (!result)
    return in.mismatch("the shape does not broadcast");
  in.set(0, *result, type.getElementType());
  return success();
}

static LogicalResult transpose(Inference &in) {
  auto type = in.type(0);
  auto perm = in.op.getInts("perm");
  if (!type || !perm)
    return success();
  if (int64_t(perm->size()) != type.getRank())
    return in.mismatch("perm has " + Twine(perm->size()) + " entries");
  Shape shape;
  llvm::SmallBitVector seen(type.getRank());
  for (int64_t axis : *perm) {
    if (axis < 0 || axis >= type.getRank() || seen.test(axis))
      return in.wrong("perm is not a permutation");
    seen.set(axis);
    shape.push_back(type.getDimSize(axis));
  }
  in.set(0, shape, type.getElementType());
  return success();
}

static LogicalResult concat(Inference &in) {
  auto first = in.type(0);
  if (!first)
    return success();
  auto axis = in.axis(in.op.getInt("axis", 1), first.getRank());
  if (failed(axis))
    return failure();
  Shape shape(first.getShape());
  for (unsigned i = 1; i < in.op.getInputs().size(); ++i) {
    auto type = in.type(i);
    if (!type)
      return success();
    if (type.getElementType() != first.getElementType())
      return in.mismatch("the element types differ");
    if (type.getRank() != first.getRank())
      return in.mismatch("the ranks differ");
    for (int64_t d = 0; d < type.getRank(); ++d)
      if (d != *axis && type.getDimSize(d) != shape[d])
        return in.mismatch("sizes differ on axis " + Twine(d) + " while axis " +
                           Twine(*axis) + " is concatenated");
    shape[*axis] += type.getDimSize(*axis);
  }
  in.set(0, shape, first.getElementType());
  return success();
}

/// Operands 1 to 4 are constants, clamped.
static LogicalResult slice(Inference &in) {
  auto type = in.type(0);
  auto starts = in.ints(1), ends = in.ints(2), axes = in.ints(3),
       steps = in.ints(4);
  if (!type || !starts || !ends || !axes || !steps)
    return success();
  Shape shape(type.getShape());
  for (size_t i = 0; i < axes->size(); ++i) {
    int64_t step = (*steps)[i], start = (*starts)[i], end = (*ends)[i];
    int64_t size = shape[(*axes)[i]];
    if (step < 0 && end < 0)
      end += size; // -size - 1 is one before the front
    int64_t span = step > 0 ? end - start : start - end;
    int64_t stride = step > 0 ? step : -step;
    shape[(*axes)[i]] = span > 0 ? (span - 1) / stride + 1 : 0;
  }
  in.set(0, shape, type.getElementType());
  return success();
}

static LogicalResult split(Inference &in) {
  auto type = in.type(0);
  auto sizes = in.ints(1);
  if (!type || !sizes)
    return success();
  auto axis = in.axis(in.op.getInt("axis", 0), type.getRank());
  if (failed(axis))
    return failure();
  if (sizes->size() < in.op.getOutputs().size())
    return in.mismatch("there are " + Twine(sizes->size()) + " sizes for " +
                       Twine(in.op.getOutputs().size()) + " results");
  int64_t sum = 0;
  for (int64_t size : *sizes) {
    if (size < 0 || size > type.getDimSize(*axis))
      return in.mismatch("a size is negative or too large");
    sum += size;
  }
  if (sum != type.getDimSize(*axis))
    return in.mismatch("the sizes add up to " + Twine(sum));
  for (size_t i = 0; i < sizes->size(); ++i) {
    Shape shape(type.getShape());
    shape[*axis] = (*sizes)[i];
    in.set(i, shape, type.getElementType());
  }
  return success();
}

static LogicalResult gather(Inference &in) {
  auto type = in.type(0), indices = in.type(1);
  if (!type || !indices)
    return success();
  auto axis = in.axis(in.op.getInt("axis", 0), type.getRank());
  if (failed(axis))
    return failure();
  if (auto values = in.ints(1))
    for (int64_t index : *values)
      if (index < -type.getDimSize(*axis) || index >= type.getDimSize(*axis))
        return in.mismatch("the index " + Twine(index) + " is out of range");
  Shape shape(type.getShape().take_front(*axis));
  llvm::append_range(shape, indices.getShape());
  llvm::append_range(shape, type.getShape().drop_front(*axis + 1));
  in.set(0, shape, type.getElementType());
  return success();
}

static LogicalResult gatherElements(Inference &in) {
  auto type = in.type(0), indices = in.type(1);
  if (!type || !indices)
    return success();
  if (type.getRank() != indices.getRank())
    return in.mismatch("the ranks differ");
  in.set(0, indices.getShape(), type.getElementType());
  return success();
}

static LogicalResult gatherND(Inference &in) {
  auto type = in.type(0), indices = in.type(1);
  if (!type || !indices)
    return success();
  int64_t batch = in.op.getInt("batch_dims", 0);
  if (indices.getRank() == 0 || batch < 0 || batch >= indices.getRank() ||
      batch > type.getRank())
    return in.mismatch("batch_dims is out of range");
  int64_t depth = indices.getShape().back();
  if (depth < 1 || batch + depth > type.getRank())
    return in.mismatch("an index has " + Twine(depth) + " parts");
  Shape shape(indices.getShape().drop_back());
  llvm::append_range(shape, type.getShape().drop_front(batch + depth));
  in.set(0, shape, type.getElementType());
  return success();
}

static LogicalResult tile(Inference &in) {
  auto type = in.type(0);
  auto repeats = in.ints(1);
  if (!type || !repeats)
    return success();
  if (int64_t(repeats->size()) != type.getRank())
    return in.mismatch("there are " + Twine(repeats->size()) + " repeats");
  Shape shape(type.getShape());
  for (size_t i = 0; i < shape.size(); ++i) {
    if ((*repeats)[i] < 0 || (*repeats)[i] > (int64_t(1) << 32))
      return in.mismatch("a repeat is negative or too large");
    if (shape[i] != 0 && (*repeats)[i] > (int64_t(1) << 62) / shape[i])
      return in.mismatch("a repeat is too large");
    shape[i] *= (*repeats)[i];
  }
  in.set(0, shape, type.getElementType());
  return success();
}

/// Pads are for all axes: fronts, then ends.
static LogicalResult pad(Inference &in) {
  auto type = in.type(0);
  auto pads = in.ints(1);
  if (!type || !pads)
    return success();
  size_t rank = type.getRank();
  if (pads->size() != 2 * rank)
    return in.mismatch("there are " + Twine(pads->size()) + " pads");
  Shape shape(type.getShape());
  for (size_t i = 0; i < rank; ++i) {
    int64_t front = (*pads)[i], end = (*pads)[i + rank];
    if (std::abs(front) > (int64_t(1) << 40) ||
        std::abs(end) > (int64_t(1) << 40))
      return in.mismatch("a pad is too large");
    shape[i] += front + end;
    if (shape[i] < 0)
      return in.mismatch("the pads take away more than there is");
  }
  in.set(0, shape, type.getElementType());
  return success();
}

static LogicalResult constantOfShape(Inference &in) {
  auto shape = in.ints(0);
  if (!shape)
    return success();
  if (!elementCount(*shape))
    return in.mismatch("the shape is negative or too large");
  Type element = Float32Type::get(in.op.getContext());
  if (auto value = in.op->getAttrOfType<ElementsAttr>("value"))
    element = value.getElementType();
  in.set(0, *shape, element);
  return success();
}

static LogicalResult range(Inference &in) {
  SmallVector<double> numbers;
  Type element;
  for (unsigned i = 0; i < 3; ++i) {
    ElementsAttr elements = constantOf(in.op.getInput(i));
    if (!elements)
      return success();
    auto tensor = HostTensor::read(elements);
    if (failed(tensor) || tensor->size() != 1)
      return in.wrong("its operands must be single numbers");
    numbers.push_back(tensor->number(0));
    element = tensor->elementType;
  }
  if (numbers[2] == 0)
    return in.wrong("the step is zero");
  double count = std::ceil((numbers[1] - numbers[0]) / numbers[2]);
  if (!(count < 4e9))
    return in.wrong("the range has too many elements");
  in.set(0, {int64_t(std::max(count, 0.0))}, element);
  return success();
}

static LogicalResult shapeOf(Inference &in) {
  auto type = in.type(0);
  if (!type)
    return success();
  auto clamp = [&](int64_t i) {
    return std::clamp<int64_t>(i < 0 ? i + type.getRank() : i, 0,
                               type.getRank());
  };
  int64_t start = clamp(in.op.getInt("start", 0));
  int64_t end = clamp(in.op.getInt("end", type.getRank()));
  in.set(0, {std::max<int64_t>(end - start, 0)}, i64(in));
  return success();
}

static LogicalResult size(Inference &in) {
  if (in.type(0))
    in.set(0, {}, i64(in));
  return success();
}

/// Operand 1 holds the sorted axes.
static LogicalResult reduce(Inference &in) {
  auto type = in.type(0);
  auto axes = in.ints(1);
  if (!type || !axes)
    return success();
  bool keep = in.op.getInt("keepdims", 1) != 0;
  Shape shape;
  for (int64_t i = 0; i < type.getRank(); ++i) {
    if (!llvm::is_contained(*axes, i))
      shape.push_back(type.getDimSize(i));
    else if (keep)
      shape.push_back(1);
  }
  in.set(0, shape, type.getElementType());
  return success();
}

static LogicalResult argReduce(Inference &in) {
  auto type = in.type(0);
  if (!type)
    return success();
  auto axis = in.axis(in.op.getInt("axis", 0), type.getRank());
  if (failed(axis))
    return failure();
  Shape shape(type.getShape());
  if (in.op.getInt("keepdims", 1))
    shape[*axis] = 1;
  else
    shape.erase(shape.begin() + *axis);
  in.set(0, shape, i64(in));
  return success();
}

static LogicalResult topK(Inference &in) {
  auto type = in.type(0);
  auto k = in.ints(1);
  if (!type || !k || k->size() != 1)
    return success();
  auto axis = in.axis(in.op.getInt("axis", -1), type.getRank());
  if (failed(axis))
    return failure();
  Shape shape(type.getShape());
  if ((*k)[0] < 0 || (*k)[0] > shape[*axis])
    return in.mismatch("k is " + Twine((*k)[0]));
  shape[*axis] = (*k)[0];
  in.set(0, shape, type.getElementType());
  in.set(1, shape, i64(in));
  return success();
}

static LogicalResult oneHot(Inference &in) {
  auto indices = in.type(0), values = in.type(2);
  ElementsAttr depth = constantOf(in.op.getInput(1));
  if (!indices || !values || !depth || depth.getNumElements() != 1)
    return success();
  auto number = HostTensor::read(depth);
  if (failed(number))
    return success();
  int64_t count = int64_t(number->number(0));
  auto axis = in.axis(in.op.getInt("axis", -1), indices.getRank() + 1);
  if (failed(axis))
    return failure();
  Shape shape(indices.getShape());
  shape.insert(shape.begin() + *axis, count);
  in.set(0, shape, values.getElementType());
  return success();
}

static LogicalResult eyeLike(Inference &in) {
  auto type = in.type(0);
  if (!type)
    return success();
  Type element = type.getElementType();
  if (int64_t code = in.op.getInt("dtype", 0))
    element = elementType(in.op.getContext(), code);
  if (element)
    in.set(0, type.getShape(), element);
  return success();
}

/// The result's size depends on the values: known for constants alone.
static LogicalResult nonZero(Inference &in) {
  auto type = in.type(0);
  ElementsAttr elements = constantOf(in.op.getInput(0));
  if (!type || !elements || elements.getNumElements() > (1 << 24))
    return success();
  auto tensor = HostTensor::read(elements);
  if (failed(tensor))
    return success();
  int64_t count = 0;
  for (int64_t i = 0; i < tensor->size(); ++i)
    count += tensor->isFloat() ? tensor->floats[i] != 0 : tensor->ints[i] != 0;
  in.set(0, {type.getRank(), count}, i64(in));
  return success();
}

static LogicalResult compress(Inference &in) {
  auto type = in.type(0);
  auto keep = in.ints(1);
  if (!type || !keep)
    return success();
  int64_t count = llvm::count_if(*keep, [](int64_t v) { return v != 0; });
  if (!in.op->hasAttr("axis")) {
    in.set(0, {count}, type.getElementType());
    return success();
  }
  auto axis = in.axis(in.op.getInt("axis", 0), type.getRank());
  if (failed(axis))
    return failure();
  Shape shape(type.getShape());
  shape[*axis] = count;
  in.set(0, shape, type.getElementType());
  return success();
}

static LogicalResult depthToSpace(Inference &in) {
  auto type = in.type(0);
  int64_t block = in.op.getInt("blocksize", 0);
  if (!type)
    return success();
  bool deepen = in.op.is("SpaceToDepth");
  if (type.getRank() != 4 || block < 1 || block > (1 << 20))
    return in.mismatch("it wants four dimensions and a block size");
  int64_t n = type.getDimSize(0), c = type.getDimSize(1),
          h = type.getDimSize(2), w = type.getDimSize(3);
  if (deepen ? (h % block || w % block) : c % (block * block))
    return in.mismatch("the sizes are no multiples of the block size");
  if (deepen)
    in.set(0, {n, c * block * block, h / block, w / block},
           type.getElementType());
  else
    in.set(0, {n, c / (block * block), h * block, w * block},
           type.getElementType());
  return success();
}

InferFn onnx::findMovementRule(NodeOp node) {
  if (node.getOpType().starts_with("Reduce"))
    return reduce;
  return llvm::StringSwitch<InferFn>(node.getOpType())
      .Case("Reshape", reshape)
      .Case("Expand", expand)
      .Case("Transpose", transpose)
      .Case("Concat", concat)
      .Case("Slice", slice)
      .Case("Split", split)
      .Case("Gather", gather)
      .Case("GatherElements", gatherElements)
      .Case("GatherND", gatherND)
      .Case("Tile", tile)
      .Case("Pad", pad)
      .Case("ConstantOfShape", constantOfShape)
      .Case("Range", range)
      .Case("Shape", shapeOf)
      .Case("Size", size)
      .Cases({"ArgMax", "ArgMin"}, argReduce)
      .Case("TopK", topK)
      .Case("OneHot", oneHot)
      .Case("EyeLike", eyeLike)
      .Case("NonZero", nonZero)
      .Case("Compress", compress)
      .Cases({"DepthToSpace", "SpaceToDepth"}, depthToSpace)
      .Default(nullptr);
}
