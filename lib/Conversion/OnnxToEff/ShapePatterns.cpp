//===- ShapePatterns.cpp - Concat, Split, Slice, one index of many --------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace effc;
using namespace effc::raise;

static Value slice(Emitter &e, Value t, ArrayRef<int64_t> offsets,
                   ArrayRef<int64_t> sizes, ArrayRef<int64_t> strides) {
  auto type = cast<RankedTensorType>(t.getType());
  auto result = RankedTensorType::get(sizes, type.getElementType());
  if (type.getShape() == sizes &&
      llvm::all_of(offsets, [](int64_t o) { return o == 0; }) &&
      llvm::all_of(strides, [](int64_t s) { return s == 1; }))
    return t;
  auto fold = [&](ArrayRef<int64_t> values) {
    return getAsIndexOpFoldResult(e.builder.getContext(), values);
  };
  return tensor::ExtractSliceOp::create(
      e.builder, e.loc, result, t, fold(offsets), fold(sizes), fold(strides));
}

/// The match of one node whose results `emit` defines from the tensor of its
/// operand `x`.
template <typename Emit>
static Match matchTensor(onnx::NodeOp root, Value x, const Emit &emit) {
  Match m;
  m.needs = {x};
  m.covers = {root};
  m.emit = [=](Emitter &e) {
    Value t = e.tensor(x);
    if (!t)
      return failure();
    emit(e, t);
    return success();
  };
  return m;
}

static std::optional<Match> concat(Graph &, onnx::NodeOp root) {
  if (!root.is("Concat"))
    return std::nullopt;
  Value out = root->getResult(0);
  int64_t rank = Graph::rank(out), axis = Graph::axis(root, 0, rank);
  SmallVector<Value> parts;
  for (Value v : root.getInputs())
    if (Graph::shape(v)[axis] != 0)
      parts.push_back(v);
  if (parts.empty())
    return std::nullopt;
  Match m;
  m.needs = parts;
  m.covers = {root};
  m.emit = [=](Emitter &e) {
    SmallVector<Value> tensors;
    for (Value v : parts) {
      tensors.push_back(e.tensor(v));
      if (!tensors.back())
        return failure();
    }
    e.define(out, tensors.size() == 1 ? tensors[0]
                                      : tensor::ConcatOp::create(
                                            e.builder, e.loc, axis, tensors)
                                            .getResult());
    return success();
  };
  return m;
}

static std::optional<Match> split(Graph &, onnx::NodeOp root) {
  if (!root.is("Split"))
    return std::nullopt;
  Value x = root.getInput(0);
  int64_t rank = Graph::rank(x), axis = Graph::axis(root, 0, rank);
  SmallVector<Value> outs(root->getResults());
  return matchTensor(root, x, [=](Emitter &e, Value t) {
    if (axis == rank - 1 && Graph::isFloat(x)) {
      SmallVector<Type> types;
      for (Value v : outs)
        types.push_back(e.f32(Graph::shape(v)));
      auto op = eff::SplitOp::create(e.builder, e.loc, types, t);
      for (auto [v, r] : llvm::zip(outs, op.getResults()))
        e.define(v, r);
      return;
    }
    SmallVector<int64_t> offsets(rank, 0), strides(rank, 1);
    for (Value v : outs) {
      e.define(v, slice(e, t, offsets, Graph::shape(v), strides));
      offsets[axis] += Graph::shape(v)[axis];
    }
  });
}

static std::optional<Match> sliceOp(Graph &g, onnx::NodeOp root) {
  if (!root.is("Slice"))
    return std::nullopt;
  Value x = root.getInput(0), out = root->getResult(0);
  int64_t rank = Graph::rank(x);
  auto list = [&](StringRef name, unsigned operand) {
    if (auto values = root.getInts(name))
      return values;
    return g.ints(root.getInput(operand));
  };
  auto starts = list("starts", 1), axes = list("axes", 3),
       steps = list("steps", 4);
  if (!starts || (root.getInput(3) && !axes) || (root.getInput(4) && !steps))
    return std::nullopt;
  SmallVector<int64_t> offsets(rank, 0), strides(rank, 1),
      sizes(Graph::shape(out));
  for (unsigned i = 0; i < starts->size(); ++i) {
    int64_t axis = axes ? (*axes)[i] : i, step = steps ? (*steps)[i] : 1;
    axis = axis < 0 ? axis + rank : axis;
    if (axis < 0 || axis >= rank)
      return std::nullopt;
    int64_t extent = Graph::shape(x)[axis], start = (*starts)[i];
    start = start < 0 ? start + extent : start;
    offsets[axis] = std::clamp<int64_t>(start, 0, extent);
    strides[axis] = step;
  }
  if (llvm::any_of(strides, [](int64_t step) { return step <= 0; }))
    return std::nullopt;
  return matchTensor(root, x, [=](Emitter &e, Value t) {
    e.define(out, slice(e, t, offsets, sizes, strides));
  });
}

/// Gather of one index that is known.
static std::optional<Match> pick(Graph &g, onnx::NodeOp root) {
  if (!root.is("Gather"))
    return std::nullopt;
  Value x = root.getInput(0), out = root->getResult(0);
  int64_t rank = Graph::rank(x), axis = Graph::axis(root, 0, rank);
  auto indices = g.ints(root.getInput(1));
  if (axis < 0 || axis >= rank || !indices || indices->size() != 1)
    return std::nullopt;
  int64_t extent = Graph::shape(x)[axis],
          at = (*indices)[0] < 0 ? (*indices)[0] + extent : (*indices)[0];
  if (at < 0 || at >= extent)
    return std::nullopt;
  return matchTensor(root, x, [=](Emitter &e, Value t) {
    SmallVector<int64_t> offsets(rank, 0), strides(rank, 1),
        sizes(Graph::shape(x));
    offsets[axis] = at;
    sizes[axis] = 1;
    e.define(out, slice(e, t, offsets, sizes, strides));
  });
}

/// A layout op whose operand's order it cannot follow: computed on a plain
/// tensor.
static std::optional<Match> layout(Graph &, onnx::NodeOp root) {
  if (!root.is("Reshape") && !root.is("Squeeze") && !root.is("Unsqueeze") &&
      !root.is("Flatten"))
    return std::nullopt;
  Value x = root.getInput(0), out = root->getResult(0);
  return matchTensor(root, x, [=](Emitter &e, Value t) {
    e.define(out, e.reshape(t, Graph::shape(out)));
  });
}

void effc::raise::addShapePatterns(std::vector<RaisePattern> &patterns) {
  patterns.insert(patterns.end(), {concat, split, sliceOp, pick, layout});
}
