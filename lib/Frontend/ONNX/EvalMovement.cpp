//===- EvalMovement.cpp - nodes that move data ----------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "EvalImpl.h"

#include "llvm/ADT/StringMap.h"

using namespace mlir;
using namespace effc::onnx;

namespace {

bool reshape(Evaluation &e) {
  e.out[0].floats = e.in[0]->floats;
  e.out[0].ints = e.in[0]->ints;
  return true;
}

/// Fills the result from the operand through strides: result element i is
/// operand element `offset + at`.
void gatherStrided(Evaluation &e, const Shape &strides, int64_t offset = 0) {
  HostTensor &y = e.out[0];
  forEach<1>(y.shape, {strides},
             [&](int64_t i, const std::array<int64_t, 1> &at) {
               copyElement(*e.in[0], offset + at[0], y, i);
             });
}

bool transpose(Evaluation &e) {
  auto perm = e.op.getInts("perm");
  if (!perm)
    return false;
  Shape own = stridesOf(e.in[0]->shape), strides;
  for (int64_t axis : *perm)
    strides.push_back(own[axis]);
  gatherStrided(e, strides);
  return true;
}

bool expand(Evaluation &e) {
  gatherStrided(e, broadcastStrides(e.in[0]->shape, e.out[0].shape));
  return true;
}

bool slice(Evaluation &e) {
  Shape strides = stridesOf(e.in[0]->shape);
  Shape starts = e.ints(1), axes = e.ints(3), steps = e.ints(4);
  if (e.in.size() != 5)
    return false;
  int64_t offset = 0;
  for (size_t i = 0; i < axes.size(); ++i) {
    offset += starts[i] * strides[axes[i]];
    strides[axes[i]] *= steps[i];
  }
  gatherStrided(e, strides, offset);
  return true;
}

bool tile(Evaluation &e) {
  const HostTensor &x = *e.in[0];
  HostTensor &y = e.out[0];
  Shape own = stridesOf(x.shape);
  Shape index(y.shape.size(), 0);
  for (int64_t i = 0; i < y.size(); ++i) {
    int64_t from = 0;
    for (size_t d = 0; d < index.size(); ++d)
      from += index[d] % x.shape[d] * own[d];
    copyElement(x, from, y, i);
    for (size_t d = index.size(); d-- > 0;) {
      if (++index[d] < y.shape[d])
        break;
      index[d] = 0;
    }
  }
  return true;
}

bool concat(Evaluation &e) {
  HostTensor &y = e.out[0];
  int64_t axis = e.op.getInt("axis", 0), base = 0;
  Split3 whole(y.shape, axis);
  for (const HostTensor *x : e.in) {
    Split3 part(x->shape, axis);
    int64_t run = part.size * part.inner;
    for (int64_t o = 0; o < part.outer; ++o)
      for (int64_t i = 0; i < run; ++i)
        copyElement(*x, o * run + i, y,
                    o * whole.size * whole.inner + base + i);
    base += run;
  }
  return true;
}

bool split(Evaluation &e) {
  int64_t axis = e.op.getInt("axis", 0), base = 0;
  Split3 whole(e.in[0]->shape, axis);
  Shape sizes = e.ints(1);
  for (size_t k = 0; k < sizes.size(); ++k) {
    int64_t run = sizes[k] * whole.inner;
    if (k < e.out.size() && e.out[k].elementType)
      for (int64_t o = 0; o < whole.outer; ++o)
        for (int64_t i = 0; i < run; ++i)
          copyElement(*e.in[0], o * whole.size * whole.inner + base + i,
                      e.out[k], o * run + i);
    base += run;
  }
  return true;
}

bool gather(Evaluation &e) {
  const HostTensor &x = *e.in[0], &indices = *e.in[1];
  Split3 parts(x.shape, e.op.getInt("axis", 0));
  int64_t to = 0;
  for (int64_t o = 0; o < parts.outer; ++o)
    for (int64_t index : indices.ints) {
      if (index < 0)
        index += parts.size;
      if (index < 0 || index >= parts.size)
        return false;
      for (int64_t i = 0; i < parts.inner; ++i)
        copyElement(x, (o * parts.size + index) * parts.inner + i, e.out[0],
                    to++);
    }
  return true;
}

bool pad(Evaluation &e) {
  const HostTensor &x = *e.in[0];
  HostTensor &y = e.out[0];
  Shape pads = e.ints(1);
  StringRef mode = e.op.getString("mode", "constant");
  const HostTensor *value = e.operand(2);
  if (mode != "constant" && mode != "edge" && mode != "reflect" &&
      mode != "wrap")
    return false;
  if (value && value->size() != 1)
    return false;
  Shape own = stridesOf(x.shape), index(y.shape.size(), 0);
  for (int64_t i = 0; i < y.size(); ++i) {
    int64_t from = 0;
    bool inside = true;
    for (size_t d = 0; d < index.size(); ++d) {
      int64_t at = index[d] - pads[d], size = x.shape[d];
      if (at < 0 || at >= size) {
        if (mode == "constant" || size == 0) {
          inside = false;
        } else if (mode == "edge") {
          at = at < 0 ? 0 : size - 1;
        } else if (mode == "wrap") {
          at = (at % size + size) % size;
        } else { // reflect, without repeating the edge
          int64_t period = std::max<int64_t>(2 * (size - 1), 1);
          at = (at % period + period) % period;
          at = at < size ? at : period - at;
        }
      }
      from += at * own[d];
    }
    if (inside)
      copyElement(x, from, y, i);
    else if (value)
      copyElement(*value, 0, y, i);
    for (size_t d = index.size(); d-- > 0;) {
      if (++index[d] < y.shape[d])
        break;
      index[d] = 0;
    }
  }
  return true;
}

bool trilu(Evaluation &e) {
  const HostTensor &x = *e.in[0];
  if (x.rank() < 2 || (e.operand(1) && e.operand(1)->size() != 1))
    return false;
  int64_t k = e.operand(1) ? e.ints(1)[0] : 0;
  bool upper = e.op.getInt("upper", 1);
  int64_t columns = x.shape.back(), rows = x.shape[x.rank() - 2];
  for (int64_t i = 0; i < x.size(); ++i) {
    int64_t column = i % columns, row = i / columns % rows;
    if (upper ? column - row >= k : column - row <= k)
      copyElement(x, i, e.out[0], i);
  }
  return true;
}

bool constantOfShape(Evaluation &e) {
  HostTensor &y = e.out[0];
  auto attr = e.op->getAttrOfType<ElementsAttr>("value");
  if (!attr)
    return true;
  auto value = HostTensor::read(attr);
  if (failed(value) || value->size() != 1)
    return false;
  for (int64_t i = 0; i < y.size(); ++i)
    copyElement(*value, 0, y, i);
  return true;
}

bool range(Evaluation &e) {
  HostTensor &y = e.out[0];
  for (int64_t i = 0; i < y.size(); ++i) {
    if (y.isFloat())
      y.floats[i] = e.in[0]->floats[0] + double(i) * e.in[2]->floats[0];
    else
      y.ints[i] = e.in[0]->ints[0] + i * e.in[2]->ints[0];
  }
  return true;
}

bool shapeOf(Evaluation &e) {
  auto type = cast<RankedTensorType>(e.op.getInputs()[0].getType());
  int64_t start = e.op.getInt("start", 0);
  start = std::clamp<int64_t>(start < 0 ? start + type.getRank() : start, 0,
                              type.getRank());
  for (int64_t i = 0; i < e.out[0].size(); ++i)
    e.out[0].ints[i] = type.getDimSize(start + i);
  return true;
}

bool size(Evaluation &e) {
  e.out[0].ints[0] =
      cast<RankedTensorType>(e.op.getInputs()[0].getType()).getNumElements();
  return true;
}

bool eyeLike(Evaluation &e) {
  HostTensor &y = e.out[0];
  if (y.rank() != 2)
    return false;
  int64_t k = e.op.getInt("k", 0);
  for (int64_t row = 0; row < y.shape[0]; ++row) {
    int64_t column = row + k;
    if (column < 0 || column >= y.shape[1])
      continue;
    int64_t i = row * y.shape[1] + column;
    if (y.isFloat())
      y.floats[i] = 1;
    else
      y.ints[i] = 1;
  }
  return true;
}

bool oneHot(Evaluation &e) {
  const HostTensor &indices = *e.in[0], &values = *e.in[2];
  HostTensor &y = e.out[0];
  int64_t axis = e.op.getInt("axis", -1);
  if (axis < 0)
    axis += y.rank();
  if (values.size() != 2)
    return false;
  Split3 parts(y.shape, axis);
  for (int64_t i = 0; i < y.size(); ++i)
    copyElement(values, 0, y, i);
  for (int64_t o = 0; o < parts.outer; ++o)
    for (int64_t i = 0; i < parts.inner; ++i) {
      int64_t index = int64_t(indices.number(o * parts.inner + i));
      if (!indices.isFloat())
        index = indices.ints[o * parts.inner + i];
      if (index < 0)
        index += parts.size;
      if (index >= 0 && index < parts.size)
        copyElement(values, 1, y, (o * parts.size + index) * parts.inner + i);
    }
  return true;
}

bool nonZero(Evaluation &e) {
  const HostTensor &x = *e.in[0];
  HostTensor &y = e.out[0];
  Shape strides = stridesOf(x.shape);
  int64_t count = y.shape[1], at = 0;
  for (int64_t i = 0; i < x.size(); ++i) {
    if (x.isFloat() ? x.floats[i] == 0 : x.ints[i] == 0)
      continue;
    for (int64_t d = 0; d < x.rank(); ++d)
      y.ints[d * count + at] = i / strides[d] % x.shape[d];
    ++at;
  }
  return true;
}

bool compress(Evaluation &e) {
  const HostTensor &x = *e.in[0];
  Shape keep = e.ints(1);
  bool flat = !e.op->hasAttr("axis");
  int64_t axis = e.op.getInt("axis", 0);
  Split3 parts(x.shape, axis < 0 ? axis + x.rank() : axis);
  if (flat) {
    parts.outer = parts.inner = 1;
    parts.size = x.size();
  }
  int64_t to = 0;
  for (int64_t o = 0; o < parts.outer; ++o)
    for (int64_t k = 0; k < std::min<int64_t>(parts.size, keep.size()); ++k)
      if (keep[k])
        for (int64_t i = 0; i < parts.inner; ++i)
          copyElement(x, (o * parts.size + k) * parts.inner + i, e.out[0],
                      to++);
  return to == e.out[0].size();
}

bool depthToSpace(Evaluation &e) {
  const HostTensor &x = *e.in[0];
  HostTensor &y = e.out[0];
  bool deepen = e.op.is("SpaceToDepth");
  bool columns = e.op.getString("mode", "DCR") == "CRD";
  int64_t s = e.op.getInt("blocksize", 1);
  // Walks the wide image; its element (c, h, w) belongs to channel ch of the
  // deep one.
  const HostTensor &wide = deepen ? x : y, &deep = deepen ? y : x;
  int64_t n = wide.shape[0], c = wide.shape[1], h = wide.shape[2],
          w = wide.shape[3];
  Shape deepStrides = stridesOf(deep.shape);
  int64_t i = 0;
  for (int64_t in = 0; in < n; ++in)
    for (int64_t ic = 0; ic < c; ++ic)
      for (int64_t ih = 0; ih < h; ++ih)
        for (int64_t iw = 0; iw < w; ++iw, ++i) {
          int64_t block = ih % s * s + iw % s;
          int64_t channel =
              columns && !deepen ? ic * s * s + block : block * c + ic;
          int64_t at = in * deepStrides[0] + channel * deepStrides[1] +
                       ih / s * deepStrides[2] + iw / s;
          if (deepen)
            copyElement(x, i, y, at);
          else
            copyElement(x, at, y, i);
        }
  return true;
}

bool reverseSequence(Evaluation &e) {
  const HostTensor &x = *e.in[0];
  int64_t batchAxis = e.op.getInt("batch_axis", 1),
          timeAxis = e.op.getInt("time_axis", 0);
  Shape lengths = e.ints(1), strides = stridesOf(x.shape);
  if (x.rank() < 2 || batchAxis == timeAxis || batchAxis < 0 || timeAxis < 0 ||
      batchAxis > 1 || timeAxis > 1 ||
      int64_t(lengths.size()) != x.shape[batchAxis])
    return false;
  for (int64_t i = 0; i < x.size(); ++i) {
    int64_t batch = i / strides[batchAxis] % x.shape[batchAxis];
    int64_t time = i / strides[timeAxis] % x.shape[timeAxis],
            length = lengths[batch];
    int64_t from = length >= 0 && length <= x.shape[timeAxis] && time < length
                       ? length - 1 - time
                       : time;
    copyElement(x, i + (from - time) * strides[timeAxis], e.out[0], i);
  }
  return true;
}

} // namespace

EvalFn effc::onnx::findMovementEval(StringRef name) {
  static const llvm::StringMap<bool (*)(Evaluation &)> table = {
      {"Reshape", reshape},
      {"Transpose", transpose},
      {"Expand", expand},
      {"Slice", slice},
      {"Tile", tile},
      {"Concat", concat},
      {"Split", split},
      {"Gather", gather},
      {"Pad", pad},
      {"Trilu", trilu},
      {"ConstantOfShape", constantOfShape},
      {"Range", range},
      {"Shape", shapeOf},
      {"Size", size},
      {"EyeLike", eyeLike},
      {"OneHot", oneHot},
      {"NonZero", nonZero},
      {"Compress", compress},
      {"DepthToSpace", depthToSpace},
      {"SpaceToDepth", depthToSpace},
      {"ReverseSequence", reverseSequence},
  };
  auto it = table.find(name);
  return it == table.end() ? EvalFn() : EvalFn(it->second);
}
