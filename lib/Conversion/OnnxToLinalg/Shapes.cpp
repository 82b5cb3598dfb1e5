//===- Shapes.cpp - moving elements without looking at them ---------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Lowering.h"

#include <limits>

using namespace mlir;

namespace effc::lower {

/// Reshape, Flatten, Squeeze, Unsqueeze: inference has found the shape.
static Results reshaped(Lowering &l) {
  return one(l.reshape(l.in(0), l.out().getShape()));
}

static Results transposed(Lowering &l) {
  int64_t rank = Lowering::rank(l.in(0));
  SmallVector<int64_t> perm;
  if (auto given = l.node.getInts("perm"))
    perm = *given;
  else
    for (int64_t i = rank; i-- > 0;)
      perm.push_back(i);
  auto normal = normalAxes(perm, rank);
  if (!normal || int64_t(normal->size()) != rank)
    return failure();
  return one(l.transpose(l.in(0), *normal));
}

static Results shapeOf(Lowering &l) {
  int64_t rank = Lowering::rank(l.in(0));
  auto clamp = [&](int64_t i) {
    return std::clamp<int64_t>(i < 0 ? i + rank : i, 0, rank);
  };
  int64_t begin = clamp(l.node.getInt("start", 0));
  int64_t end = clamp(l.node.getInt("end", rank));
  SmallVector<double> sizes;
  for (int64_t i = begin; i < end; ++i)
    sizes.push_back(double(Lowering::shape(l.in(0))[i]));
  return one(l.tensor({int64_t(sizes.size())}, l.b.getI64Type(), sizes));
}

static Results sizeOf(Lowering &l) {
  double size = double(product(Lowering::shape(l.in(0))));
  return one(l.tensor({}, l.b.getI64Type(), {size}));
}

//===----------------------------------------------------------------------===//
// Slices
//===----------------------------------------------------------------------===//

static Results sliced(Lowering &l) {
  Value x = l.in(0);
  int64_t rank = Lowering::rank(x);
  auto starts = l.intsFrom("starts", 1), ends = l.intsFrom("ends", 2);
  auto axes = l.intsFrom("axes", 3), steps = l.ints(4);
  if (!starts || !ends || starts->size() != ends->size() ||
      (l.in(3) && !axes) || (l.in(4) && !steps))
    return failure();
  if (!axes) {
    axes.emplace();
    for (size_t i = 0; i < starts->size(); ++i)
      axes->push_back(int64_t(i));
  }
  auto normal = normalAxes(*axes, rank);
  if (!normal || normal->size() != starts->size() ||
      (steps && steps->size() != starts->size()))
    return failure();
  SmallVector<int64_t> offsets(rank, 0), strides(rank, 1);
  SmallVector<int64_t> sizes(Lowering::shape(x));
  bool backwards = false;
  for (size_t i = 0; i < normal->size(); ++i) {
    int64_t axis = (*normal)[i], size = Lowering::shape(x)[axis];
    int64_t step = steps ? (*steps)[i] : 1;
    if (step == 0 || step == std::numeric_limits<int64_t>::min())
      return failure();
    // Indices are clamped before they are counted from the end: extremes mean
    // the ends.
    auto place = [&](int64_t index, int64_t low, int64_t high) {
      if (index < 0)
        index = index < -size ? -1 : index + size;
      return std::clamp(index, low, high);
    };
    int64_t start, end, count;
    if (step > 0) {
      start = place((*starts)[i], 0, size);
      end = place((*ends)[i], 0, size);
      count = end > start ? (end - start - 1) / step + 1 : 0;
    } else {
      start = place((*starts)[i], -1, size - 1);
      end = place((*ends)[i], -1, size - 1);
      count = start > end ? (start - end - 1) / -step + 1 : 0;
      backwards = true;
    }
    offsets[axis] = count ? start : 0;
    sizes[axis] = count;
    strides[axis] = count > 1 ? step : 1;
  }
  if (!backwards)
    return one(l.slice(x, offsets, sizes, strides));
  return one(l.generate(sizes, Lowering::elementOf(x),
                        [&](const Expr &e, ValueRange i) {
                          SmallVector<Value> at;
                          for (int64_t d = 0; d < rank; ++d)
                            at.push_back(e.add(e.mul(i[d], e.index(strides[d])),
                                               e.index(offsets[d])));
                          return e.extract(x, at);
                        }));
}

static Results concatenated(Lowering &l) {
  SmallVector<Value> parts;
  for (Value operand : l.operands) {
    if (!operand)
      return failure();
    parts.push_back(operand);
  }
  if (parts.empty())
    return failure();
  // Version 1 had a default.
  auto axis = normalAxis(l.node.getInt("axis", 1), Lowering::rank(parts[0]));
  if (!axis)
    return failure();
  for (Value part : parts) {
    if (Lowering::rank(part) != Lowering::rank(parts[0]) ||
        Lowering::elementOf(part) != Lowering::elementOf(parts[0]))
      return failure();
    for (int64_t i = 0; i < Lowering::rank(part); ++i)
      if (i != *axis &&
          Lowering::shape(part)[i] != Lowering::shape(parts[0])[i])
        return failure();
  }
  return one(l.concat(parts, *axis));
}

static Results split(Lowering &l) {
  Value x = l.in(0);
  auto axis = normalAxis(l.node.getInt("axis", 0), Lowering::rank(x));
  if (!axis)
    return failure();
  SmallVector<Value> results;
  int64_t offset = 0, size = Lowering::shape(x)[*axis];
  for (unsigned i = 0; i < l.node->getNumResults(); ++i) {
    RankedTensorType type = l.out(i);
    if (!type || type.getRank() != Lowering::rank(x))
      return failure();
    int64_t part = type.getShape()[*axis];
    if (offset + part > size)
      return failure();
    results.push_back(l.sliceAxis(x, *axis, offset, part));
    offset += part;
  }
  return results;
}

//===----------------------------------------------------------------------===//
// Repetition and padding
//===----------------------------------------------------------------------===//

static Results expanded(Lowering &l) {
  return one(l.broadcast(l.in(0), l.out().getShape()));
}

static Results tiled(Lowering &l) {
  Value x = l.in(0);
  ArrayRef<int64_t> shape = l.out().getShape();
  if (int64_t(shape.size()) != Lowering::rank(x))
    return failure();
  // [a, b] becomes [1, a, 1, b], is repeated, and merged again.
  SmallVector<int64_t> inner, outer;
  for (size_t i = 0; i < shape.size(); ++i) {
    int64_t size = Lowering::shape(x)[i];
    if (size == 0 || shape[i] % size)
      return shape[i] == 0 ? one(l.empty(shape, Lowering::elementOf(x)))
                           : Results(failure());
    inner.append({1, size});
    outer.append({shape[i] / size, size});
  }
  return one(l.reshape(l.broadcast(l.reshape(x, inner), outer), shape));
}

/// Pads with elements of the tensor itself.
static Value padFromInside(Lowering &l, Value x, ArrayRef<int64_t> low,
                           StringRef mode) {
  int64_t rank = Lowering::rank(x);
  ArrayRef<int64_t> sizes = Lowering::shape(x);
  return l.generate(l.out().getShape(), Lowering::elementOf(x),
                    [&](const Expr &e, ValueRange i) {
                      SmallVector<Value> at;
                      for (int64_t d = 0; d < rank; ++d) {
                        Value index = e.sub(i[d], e.index(low[d]));
                        Value zero = e.index(0), size = e.index(sizes[d]);
                        Value last = e.index(sizes[d] - 1);
                        if (mode == "edge") {
                          index = e.max(e.min(index, last), zero);
                        } else if (mode == "wrap") {
                          index = e.rem(index, size);
                          index = e.select(e.compare(Compare::LT, index, zero),
                                           e.add(index, size), index);
                        } else if (sizes[d] == 1) {
                          index = zero;
                        } else {
                          // A zigzag of period 2 (size - 1).
                          Value period = e.index(2 * (sizes[d] - 1));
                          index = e.rem(index, period);
                          index = e.select(e.compare(Compare::LT, index, zero),
                                           e.add(index, period), index);
                          index = e.select(e.compare(Compare::GT, index, last),
                                           e.sub(period, index), index);
                        }
                        at.push_back(index);
                      }
                      return e.extract(x, at);
                    });
}

static Results padded(Lowering &l) {
  Value x = l.in(0);
  int64_t rank = Lowering::rank(x);
  auto pads = l.intsFrom("pads", 1);
  if (!pads)
    pads = l.node.getInts("paddings");
  if (!pads || pads->size() % 2)
    return failure();
  SmallVector<int64_t> axes;
  if (auto given = l.ints(3)) {
    auto normal = normalAxes(*given, rank);
    if (!normal)
      return failure();
    axes = *normal;
  } else if (l.in(3)) {
    return failure();
  } else {
    for (int64_t i = 0; i < rank; ++i)
      axes.push_back(i);
  }
  size_t half = pads->size() / 2;
  if (half != axes.size())
    return failure();
  SmallVector<int64_t> low(rank, 0), high(rank, 0);
  for (size_t i = 0; i < half; ++i) {
    low[axes[i]] = (*pads)[i];
    high[axes[i]] = (*pads)[half + i];
  }
  // Negative pads cut off.
  SmallVector<int64_t> offsets(rank, 0), sizes(Lowering::shape(x));
  for (int64_t i = 0; i < rank; ++i) {
    offsets[i] = std::max<int64_t>(0, -low[i]);
    sizes[i] -= offsets[i] + std::max<int64_t>(0, -high[i]);
    low[i] = std::max<int64_t>(0, low[i]);
    high[i] = std::max<int64_t>(0, high[i]);
    if (sizes[i] < 0 || sizes[i] + low[i] + high[i] != l.out().getShape()[i])
      return failure();
  }
  StringRef mode = l.node.getString("mode", "constant");
  x = l.slice(x, offsets, sizes);
  if (mode == "constant") {
    Value scalar;
    if (Value value = l.in(2)) {
      value = l.reshape(value, {});
      if (!value)
        return failure();
      scalar = l.e.extract(value, {});
    } else {
      scalar =
          l.e.constant(Lowering::elementOf(x), l.node.getFloat("value", 0));
    }
    return one(l.pad(x, low, high, scalar));
  }
  if (mode != "edge" && mode != "reflect" && mode != "wrap")
    return failure();
  if (llvm::is_contained(sizes, 0))
    return failure();
  return one(padFromInside(l, x, low, mode));
}

//===----------------------------------------------------------------------===//
// Blocks
//===----------------------------------------------------------------------===//

static Results depthToSpace(Lowering &l) {
  Value x = l.in(0);
  int64_t block = l.node.getInt("blocksize", 0);
  ArrayRef<int64_t> s = Lowering::shape(x);
  if (s.size() != 4 || block <= 0 || s[1] % (block * block))
    return failure();
  int64_t depth = s[1] / (block * block);
  bool columnFirst = l.node.getString("mode", "DCR") == "CRD";
  SmallVector<int64_t> parts =
      columnFirst ? SmallVector<int64_t>{s[0], depth, block, block, s[2], s[3]}
                  : SmallVector<int64_t>{s[0], block, block, depth, s[2], s[3]};
  SmallVector<int64_t> perm = columnFirst
                                  ? SmallVector<int64_t>{0, 1, 4, 2, 5, 3}
                                  : SmallVector<int64_t>{0, 3, 4, 1, 5, 2};
  Value y = l.transpose(l.reshape(x, parts), perm);
  return one(l.reshape(y, {s[0], depth, s[2] * block, s[3] * block}));
}

static Results spaceToDepth(Lowering &l) {
  Value x = l.in(0);
  int64_t block = l.node.getInt("blocksize", 0);
  ArrayRef<int64_t> s = Lowering::shape(x);
  if (s.size() != 4 || block <= 0 || s[2] % block || s[3] % block)
    return failure();
  Value y =
      l.reshape(x, {s[0], s[1], s[2] / block, block, s[3] / block, block});
  y = l.transpose(y, {0, 3, 5, 1, 2, 4});
  return one(
      l.reshape(y, {s[0], s[1] * block * block, s[2] / block, s[3] / block}));
}

//===----------------------------------------------------------------------===//
// Tensors from nothing
//===----------------------------------------------------------------------===//

static Results constantOfShape(Lowering &l) {
  RankedTensorType type = l.out();
  double value = 0;
  if (auto attribute = l.node->getAttrOfType<ElementsAttr>("value")) {
    FailureOr<onnx::HostTensor> tensor = onnx::HostTensor::read(attribute);
    if (failed(tensor) || tensor->size() != 1)
      return failure();
    // Integers may not fit a double.
    if (!tensor->isFloat())
      return one(l.e.integer(type, tensor->ints[0]));
    value = tensor->floats[0];
  }
  return one(l.e.constant(type, value));
}

static Results range(Lowering &l) {
  auto start = l.constant(0), delta = l.constant(2);
  RankedTensorType type = l.out();
  if (!start || !delta || start->size() != 1 || delta->size() != 1 ||
      type.getRank() != 1)
    return failure();
  onnx::HostTensor result(type.getElementType(), type.getShape());
  for (int64_t i = 0; i < type.getShape()[0]; ++i)
    if (result.isFloat())
      result.floats[i] = start->floats[0] + double(i) * delta->floats[0];
    else
      result.ints[i] = start->ints[0] + i * delta->ints[0];
  result.round();
  return one(l.tensor(result));
}

static Results eyeLike(Lowering &l) {
  RankedTensorType type = l.out();
  if (type.getRank() != 2)
    return failure();
  int64_t k = l.node.getInt("k", 0), columns = type.getShape()[1];
  SmallVector<double> values(type.getNumElements(), 0);
  for (int64_t row = 0; row < type.getShape()[0]; ++row)
    if (row + k >= 0 && row + k < columns)
      values[row * columns + row + k] = 1;
  return one(l.tensor(type.getShape(), type.getElementType(), values));
}

static Results constantNode(Lowering &l) {
  for (StringRef name :
       {"value", "value_int", "value_float", "value_ints", "value_floats"}) {
    Attribute attribute = l.node->getAttr(name);
    if (!attribute)
      continue;
    RankedTensorType type = l.out();
    if (auto elements = dyn_cast<ElementsAttr>(attribute)) {
      FailureOr<onnx::HostTensor> tensor = onnx::HostTensor::read(elements);
      return failed(tensor) ? Results(failure()) : one(l.tensor(*tensor));
    }
    SmallVector<double> values;
    if (auto integer = dyn_cast<IntegerAttr>(attribute))
      return one(l.e.integer(type, integer.getInt()));
    if (auto number = dyn_cast<FloatAttr>(attribute))
      return one(l.e.constant(type, number.getValueAsDouble()));
    if (auto list = dyn_cast<DenseI64ArrayAttr>(attribute)) {
      onnx::HostTensor result(type.getElementType(), type.getShape());
      if (result.size() != list.size() || result.isFloat())
        return failure();
      result.ints.assign(list.asArrayRef().begin(), list.asArrayRef().end());
      return one(l.tensor(result));
    }
    if (auto list = dyn_cast<DenseF32ArrayAttr>(attribute)) {
      values.assign(list.asArrayRef().begin(), list.asArrayRef().end());
      if (type.getNumElements() != int64_t(values.size()))
        return failure();
      return one(l.tensor(type.getShape(), type.getElementType(), values));
    }
  }
  return failure();
}

void addShapes(Table &t) {
  for (StringRef name : {"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
    t[name] = reshaped;
  t["Transpose"] = transposed;
  t["Shape"] = shapeOf;
  t["Size"] = sizeOf;
  t["Slice"] = sliced;
  t["Concat"] = concatenated;
  t["Split"] = split;
  t["Expand"] = expanded;
  t["Tile"] = tiled;
  t["Pad"] = padded;
  t["DepthToSpace"] = depthToSpace;
  t["SpaceToDepth"] = spaceToDepth;
  t["ConstantOfShape"] = constantOfShape;
  t["Range"] = range;
  t["EyeLike"] = eyeLike;
  t["Constant"] = constantNode;
}

} // namespace effc::lower
