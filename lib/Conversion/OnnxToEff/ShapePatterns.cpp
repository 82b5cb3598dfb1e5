//===- ShapePatterns.cpp - Concat, Split, Slice, Gather, Pad --------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace effc;
using namespace effc::raise;

static Value slice(Emitter &e, Value t, ArrayRef<int64_t> offsets, ArrayRef<int64_t> sizes, ArrayRef<int64_t> strides) {
  auto type = cast<RankedTensorType>(t.getType());
  auto result = RankedTensorType::get(sizes, type.getElementType());
  if (type.getShape() == sizes && llvm::all_of(offsets, [](int64_t o) { return o == 0; }) &&
      llvm::all_of(strides, [](int64_t s) { return s == 1; }))
    return t;
  auto fold = [&](ArrayRef<int64_t> values) {
    return getAsIndexOpFoldResult(e.builder.getContext(), values);
  };
  return tensor::ExtractSliceOp::create(e.builder, e.loc, result, t, fold(offsets), fold(sizes), fold(strides));
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
                                      : tensor::ConcatOp::create(e.builder, e.loc, axis, tensors).getResult());
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
  Match m;
  m.needs = {x};
  m.covers = {root};
  m.emit = [=](Emitter &e) {
    Value t = e.tensor(x);
    if (!t)
      return failure();
    if (axis == rank - 1 && Graph::isFloat(x)) {
      SmallVector<Type> types;
      for (Value v : outs)
        types.push_back(e.f32(Graph::shape(v)));
      auto op = eff::SplitOp::create(e.builder, e.loc, types, t);
      for (auto [v, r] : llvm::zip(outs, op.getResults()))
        e.define(v, r);
      return success();
    }
    SmallVector<int64_t> offsets(rank, 0), strides(rank, 1);
    for (Value v : outs) {
      e.define(v, slice(e, t, offsets, Graph::shape(v), strides));
      offsets[axis] += Graph::shape(v)[axis];
    }
    return success();
  };
  return m;
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
  auto starts = list("starts", 1), axes = list("axes", 3), steps = list("steps", 4);
  if (!starts || (root.getInput(3) && !axes) || (root.getInput(4) && !steps))
    return std::nullopt;
  SmallVector<int64_t> offsets(rank, 0), strides(rank, 1), sizes(Graph::shape(out));
  for (unsigned i = 0; i < starts->size(); ++i) {
    int64_t axis = axes ? (*axes)[i] : i, step = steps ? (*steps)[i] : 1;
    axis = axis < 0 ? axis + rank : axis;
    if (axis < 0 || axis >= rank)
      return std::nullopt;
    int64_t extent = Graph::shape(x)[axis], start = (*starts)[i];
    start = start < 0 ? start + extent : start;
    offsets[axis] = std::clamp<int64_t>(start, 0, step < 0 ? extent - 1 : extent);
    strides[axis] = step;
  }
  bool backwards = llvm::any_of(strides, [](int64_t s) { return s < 0; });
  Match m;
  m.needs = {x};
  m.covers = {root};
  m.emit = [=](Emitter &e) {
    Value t = e.tensor(x);
    if (!t)
      return failure();
    if (!backwards) {
      e.define(out, slice(e, t, offsets, sizes, strides));
      return success();
    }
    // result[i..] = x[offset + stride * i..]
    auto type = RankedTensorType::get(sizes, cast<RankedTensorType>(t.getType()).getElementType());
    SmallVector<AffineMap> maps{AffineMap::getMultiDimIdentityMap(rank, e.builder.getContext())};
    SmallVector<utils::IteratorType> iterators(rank, utils::IteratorType::parallel);
    auto generic = linalg::GenericOp::create(
        e.builder, e.loc, type, ValueRange{}, e.empty(sizes, type.getElementType()), maps, iterators,
        [&](OpBuilder &b, Location l, ValueRange) {
          SmallVector<Value> at;
          for (int64_t d = 0; d < rank; ++d) {
            Value i = linalg::IndexOp::create(b, l, d);
            Value stride = arith::ConstantIndexOp::create(b, l, strides[d]);
            Value offset = arith::ConstantIndexOp::create(b, l, offsets[d]);
            at.push_back(arith::AddIOp::create(b, l, arith::MulIOp::create(b, l, i, stride), offset));
          }
          linalg::YieldOp::create(b, l, tensor::ExtractOp::create(b, l, t, at).getResult());
        });
    e.define(out, generic.getResult(0));
    return success();
  };
  return m;
}

static std::optional<Match> gather(Graph &g, onnx::NodeOp root) {
  if (!root.is("Gather"))
    return std::nullopt;
  Value x = root.getInput(0), indices = root.getInput(1), out = root->getResult(0);
  int64_t rank = Graph::rank(x), axis = Graph::axis(root, 0, rank);
  if (axis < 0 || axis >= rank)
    return std::nullopt;
  int64_t extent = Graph::shape(x)[axis], indexRank = Graph::rank(indices);
  std::optional<int64_t> fixed;
  if (auto values = g.ints(indices); values && values->size() == 1) {
    fixed = (*values)[0] < 0 ? (*values)[0] + extent : (*values)[0];
    if (*fixed < 0 || *fixed >= extent)
      return std::nullopt;
  }
  Match m;
  m.needs = {x};
  if (!fixed)
    m.needs.push_back(indices);
  m.covers = {root};
  m.emit = [=](Emitter &e) {
    Value t = e.tensor(x);
    if (!t)
      return failure();
    if (fixed) {
      SmallVector<int64_t> offsets(rank, 0), strides(rank, 1), sizes(Graph::shape(x));
      offsets[axis] = *fixed;
      sizes[axis] = 1;
      e.define(out, slice(e, t, offsets, sizes, strides));
      return success();
    }
    Value i = e.tensor(indices);
    if (!i)
      return failure();
    int64_t outRank = Graph::rank(out);
    SmallVector<AffineExpr> dims;
    for (int64_t d = 0; d < indexRank; ++d)
      dims.push_back(e.builder.getAffineDimExpr(axis + d));
    MLIRContext *context = e.builder.getContext();
    SmallVector<AffineMap> maps{AffineMap::get(outRank, 0, dims, context),
                                AffineMap::getMultiDimIdentityMap(outRank, context)};
    SmallVector<utils::IteratorType> iterators(outRank, utils::IteratorType::parallel);
    auto type = RankedTensorType::get(Graph::shape(out), cast<RankedTensorType>(t.getType()).getElementType());
    auto generic = linalg::GenericOp::create(
        e.builder, e.loc, type, ValueRange{i}, e.empty(type.getShape(), type.getElementType()), maps, iterators,
        [&](OpBuilder &b, Location l, ValueRange args) {
          Value index = arith::IndexCastOp::create(b, l, b.getIndexType(), args[0]);
          // Negative indices count from the end; others are clamped, so that no index reads outside.
          Value zero = arith::ConstantIndexOp::create(b, l, 0), last = arith::ConstantIndexOp::create(b, l, extent - 1);
          Value wrapped = arith::AddIOp::create(b, l, index, arith::ConstantIndexOp::create(b, l, extent));
          Value negative = arith::CmpIOp::create(b, l, arith::CmpIPredicate::slt, index, zero);
          index = arith::SelectOp::create(b, l, negative, wrapped, index);
          index = arith::MaxSIOp::create(b, l, arith::MinSIOp::create(b, l, index, last), zero);
          SmallVector<Value> at;
          for (int64_t d = 0; d < rank; ++d) {
            if (d == axis)
              at.push_back(index);
            else
              at.push_back(linalg::IndexOp::create(b, l, d < axis ? d : d - 1 + indexRank));
          }
          linalg::YieldOp::create(b, l, tensor::ExtractOp::create(b, l, t, at).getResult());
        });
    e.define(out, generic.getResult(0));
    return success();
  };
  return m;
}

static std::optional<Match> pad(Graph &g, onnx::NodeOp root) {
  if (!root.is("Pad") || root.getString("mode", "constant") != "constant")
    return std::nullopt;
  Value x = root.getInput(0), out = root->getResult(0);
  int64_t rank = Graph::rank(x);
  auto pads = root.getInts("pads");
  if (!pads && root.getInput(1))
    pads = g.ints(root.getInput(1));
  double value = root.getFloat("value", 0);
  if (root.getInput(2)) {
    auto number = g.scalar(root.getInput(2));
    if (!number)
      return std::nullopt;
    value = *number;
  }
  SmallVector<int64_t> low(rank, 0), high(rank, 0);
  if (!pads)
    return std::nullopt;
  SmallVector<int64_t> axes;
  if (root.getInput(3)) {
    auto given = g.ints(root.getInput(3));
    if (!given)
      return std::nullopt;
    axes = *given;
  } else {
    for (int64_t i = 0; i < rank; ++i)
      axes.push_back(i);
  }
  if (pads->size() != 2 * axes.size())
    return std::nullopt;
  for (unsigned i = 0; i < axes.size(); ++i) {
    int64_t axis = axes[i] < 0 ? axes[i] + rank : axes[i];
    if (axis < 0 || axis >= rank)
      return std::nullopt;
    low[axis] = (*pads)[i];
    high[axis] = (*pads)[i + axes.size()];
  }
  Match m;
  m.needs = {x};
  m.covers = {root};
  m.emit = [=](Emitter &e) {
    Value t = e.tensor(x);
    if (!t)
      return failure();
    auto type = cast<RankedTensorType>(t.getType());
    // Negative pads cut.
    SmallVector<int64_t> offsets, sizes, strides(rank, 1), up, down;
    for (int64_t d = 0; d < rank; ++d) {
      offsets.push_back(std::max<int64_t>(0, -low[d]));
      sizes.push_back(type.getDimSize(d) - offsets[d] - std::max<int64_t>(0, -high[d]));
      up.push_back(std::max<int64_t>(0, low[d]));
      down.push_back(std::max<int64_t>(0, high[d]));
    }
    t = slice(e, t, offsets, sizes, strides);
    // Into a filled tensor: later passes need no rule for padding.
    Value into = e.filled(Graph::shape(out), type.getElementType(), value);
    auto fold = [&](ArrayRef<int64_t> v) { return getAsIndexOpFoldResult(e.builder.getContext(), v); };
    Value y = tensor::InsertSliceOp::create(e.builder, e.loc, t, into, fold(up), fold(sizes), fold(strides));
    e.define(out, y);
    return success();
  };
  return m;
}

/// A layout op whose operand's order it cannot follow: computed on a plain tensor.
static std::optional<Match> layout(Graph &, onnx::NodeOp root) {
  if (!root.is("Reshape") && !root.is("Squeeze") && !root.is("Unsqueeze") && !root.is("Flatten"))
    return std::nullopt;
  Value x = root.getInput(0), out = root->getResult(0);
  Match m;
  m.needs = {x};
  m.covers = {root};
  m.emit = [=](Emitter &e) {
    Value t = e.tensor(x);
    if (!t)
      return failure();
    e.define(out, e.reshape(t, Graph::shape(out)));
    return success();
  };
  return m;
}

void effc::raise::addShapePatterns(std::vector<RaisePattern> &patterns) {
  patterns.insert(patterns.end(), {concat, split, sliceOp, gather, pad, layout});
}
