//===- ProductPatterns.cpp - MatMul, Gemm and Conv through linalg ---------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Products that are no eff.linear: of two activations, in batches, and convolutions.
///
//===----------------------------------------------------------------------===//

#include "Emitter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace effc;
using namespace effc::raise;

/// `[.., m, k] x [.., k, n]` of equal leading dimensions.
static Value product(Emitter &e, Value a, Value b) {
  SmallVector<int64_t> x(cast<RankedTensorType>(a.getType()).getShape()),
      y(cast<RankedTensorType>(b.getType()).getShape());
  int64_t m = x[x.size() - 2], k = x.back(), n = y.back(), batch = numElements(x) / (m * k);
  Type f32 = e.builder.getF32Type();
  SmallVector<int64_t> shape(x);
  shape.back() = n;
  if (batch == 1) {
    Value into = e.filled({m, n}, f32, 0);
    Value c = linalg::MatmulOp::create(e.builder, e.loc, ValueRange{e.reshape(a, {m, k}), e.reshape(b, {k, n})}, into)
                  .getResult(0);
    return e.reshape(c, shape);
  }
  Value into = e.filled({batch, m, n}, f32, 0);
  Value c = linalg::BatchMatmulOp::create(
                e.builder, e.loc, ValueRange{e.reshape(a, {batch, m, k}), e.reshape(b, {batch, k, n})}, into)
                .getResult(0);
  return e.reshape(c, shape);
}

static std::optional<Match> matmul(Graph &, onnx::NodeOp root) {
  if (!root.is("MatMul"))
    return std::nullopt;
  Value x = root.getInput(0), y = root.getInput(1), out = root->getResult(0);
  if (!Graph::isFloat(x) || Graph::rank(x) == 0 || Graph::rank(y) == 0 || numElements(Graph::shape(x)) == 0 ||
      numElements(Graph::shape(y)) == 0)
    return std::nullopt;
  Match m;
  m.needs = {x, y};
  m.covers = {root};
  m.emit = [=](Emitter &e) {
    Lowered a = e.lower(x), b = e.lower(y);
    if (!a.value || !b.value)
      return failure();
    SmallVector<int64_t> p(Graph::shape(x)), q(Graph::shape(y));
    if (p.size() == 1)
      p.insert(p.begin(), 1);
    if (q.size() == 1)
      q.push_back(1);
    // Leading dimensions of both, by numpy's rules.
    size_t rank = std::max(p.size(), q.size());
    p.insert(p.begin(), rank - p.size(), 1);
    q.insert(q.begin(), rank - q.size(), 1);
    auto prepare = [&](Lowered l, ArrayRef<int64_t> shape) {
      if (!l.dims.reshape(shape)) {
        Value plain = e.reshape(e.tensor(l), shape);
        l = Lowered{plain, Strided::identity(shape)};
      }
      SmallVector<int64_t> full(shape);
      for (size_t d = 0; d + 2 < rank; ++d)
        full[d] = std::max(p[d], q[d]);
      l.dims.expand(full);
      return e.tensor(l);
    };
    Value c = product(e, prepare(a, p), prepare(b, q));
    e.define(out, e.reshape(c, Graph::shape(out)));
    return success();
  };
  return m;
}

static std::optional<Match> gemm(Graph &, onnx::NodeOp root) {
  if (!root.is("Gemm"))
    return std::nullopt;
  Value x = root.getInput(0), y = root.getInput(1), c = root.getInput(2), out = root->getResult(0);
  if (!Graph::isFloat(x))
    return std::nullopt;
  bool transA = root.getInt("transA", 0) != 0, transB = root.getInt("transB", 0) != 0;
  double alpha = root.getFloat("alpha", 1), beta = root.getFloat("beta", 1);
  Match m;
  m.needs = {x, y};
  if (c)
    m.needs.push_back(c);
  m.covers = {root};
  m.emit = [=](Emitter &e) {
    Lowered a = e.lower(x), b = e.lower(y);
    if (!a.value || !b.value)
      return failure();
    if (transA)
      a.dims.transpose({1, 0});
    if (transB)
      b.dims.transpose({1, 0});
    Value t = product(e, e.tensor(a), e.tensor(b));
    if (alpha != 1)
      t = arith::MulFOp::create(e.builder, e.loc, t, Emitter::constant(e.builder, e.loc, t.getType(), alpha));
    e.define(out, t);
    if (c)
      e.map(out, {out, c}, [&](OpBuilder &bu, Location l, ValueRange v) -> Value {
        Value bias = v[1];
        if (beta != 1)
          bias = arith::MulFOp::create(bu, l, bias, Emitter::constant(bu, l, bias.getType(), beta));
        return arith::AddFOp::create(bu, l, v[0], bias);
      });
    return success();
  };
  return m;
}

/// Convolutions over one or two dimensions, grouped ones too, as a sum over the kernel.
static std::optional<Match> conv(Graph &, onnx::NodeOp root) {
  if (!root.is("Conv"))
    return std::nullopt;
  Value x = root.getInput(0), w = root.getInput(1), bias = root.getInput(2), out = root->getResult(0);
  int64_t rank = Graph::rank(x), spatial = rank - 2;
  if (!Graph::isFloat(x) || (spatial != 1 && spatial != 2))
    return std::nullopt;
  int64_t group = root.getInt("group", 1);
  ArrayRef<int64_t> in = Graph::shape(x), kernel = Graph::shape(w), result = Graph::shape(out);
  if (group <= 0 || in[1] % group != 0 || kernel[0] % group != 0)
    return std::nullopt;
  SmallVector<int64_t> ones(spatial, 1);
  auto strides = root.getInts("strides").value_or(ones), dilations = root.getInts("dilations").value_or(ones);
  SmallVector<int64_t> low(spatial, 0), high(spatial, 0);
  auto pads = root.getInts("pads");
  StringRef automatic = root.getString("auto_pad", "NOTSET");
  for (int64_t d = 0; d < spatial; ++d) {
    int64_t needed = (result[d + 2] - 1) * strides[d] + (kernel[d + 2] - 1) * dilations[d] + 1;
    int64_t missing = std::max<int64_t>(0, needed - in[d + 2]);
    if (automatic == "SAME_UPPER" || automatic == "SAME_LOWER") {
      low[d] = automatic == "SAME_UPPER" ? missing / 2 : missing - missing / 2;
      high[d] = missing - low[d];
    } else if (pads && automatic == "NOTSET") {
      low[d] = (*pads)[d];
      high[d] = (*pads)[d + spatial];
    }
    if (low[d] < 0 || high[d] < 0)
      return std::nullopt;
  }
  Match m;
  m.needs = {x, w};
  if (bias)
    m.needs.push_back(bias);
  m.covers = {root};
  m.emit = [=](Emitter &e) {
    Value t = e.tensor(x), k = e.tensor(w);
    if (!t || !k)
      return failure();
    ArrayRef<int64_t> shape = Graph::shape(x), weights = Graph::shape(w), size = Graph::shape(out);
    MLIRContext *context = e.builder.getContext();
    Type f32 = e.builder.getF32Type();
    SmallVector<int64_t> padded(shape), offsets(rank, 0), unit(rank, 1);
    for (int64_t d = 0; d < spatial; ++d) {
      padded[d + 2] += low[d] + high[d];
      offsets[d + 2] = low[d];
    }
    if (padded != SmallVector<int64_t>(shape)) {
      Value into = e.filled(padded, f32, 0);
      auto fold = [&](ArrayRef<int64_t> v) { return getAsIndexOpFoldResult(context, v); };
      t = tensor::InsertSliceOp::create(e.builder, e.loc, t, into, fold(offsets), fold(shape), fold(unit));
    }
    // y[b, g, o, s..] = sum over c, r.. of x[b, g, c, s * stride + r * dilation..] w[g, o, c, r..]
    int64_t outputs = weights[0] / group, channels = weights[1];
    SmallVector<int64_t> xs{shape[0], group, channels}, ws{group, outputs, channels}, ys{shape[0], group, outputs};
    for (int64_t d = 0; d < spatial; ++d) {
      xs.push_back(padded[d + 2]);
      ws.push_back(weights[d + 2]);
      ys.push_back(size[d + 2]);
    }
    unsigned loops = 3 + spatial + 1 + spatial;
    auto dim = [&](unsigned i) { return getAffineDimExpr(i, context); };
    AffineExpr c = dim(3 + spatial);
    SmallVector<AffineExpr> xe{dim(0), dim(1), c}, we{dim(1), dim(2), c}, ye{dim(0), dim(1), dim(2)};
    for (int64_t d = 0; d < spatial; ++d) {
      AffineExpr s = dim(3 + d), r = dim(4 + spatial + d);
      xe.push_back(s * strides[d] + r * dilations[d]);
      we.push_back(r);
      ye.push_back(s);
    }
    SmallVector<AffineMap> maps{AffineMap::get(loops, 0, xe, context), AffineMap::get(loops, 0, we, context),
                                AffineMap::get(loops, 0, ye, context)};
    SmallVector<utils::IteratorType> iterators(3 + spatial, utils::IteratorType::parallel);
    iterators.append(1 + spatial, utils::IteratorType::reduction);
    auto generic = linalg::GenericOp::create(
        e.builder, e.loc, e.f32(ys), ValueRange{e.reshape(t, xs), e.reshape(k, ws)}, e.filled(ys, f32, 0), maps,
        iterators, [](OpBuilder &b, Location l, ValueRange v) {
          Value p = arith::MulFOp::create(b, l, v[0], v[1]);
          linalg::YieldOp::create(b, l, arith::AddFOp::create(b, l, v[2], p).getResult());
        });
    Value y = e.reshape(generic.getResult(0), size);
    if (bias) {
      Value line = e.tensor(bias);
      if (!line)
        return failure();
      SmallVector<int64_t> column(rank, 1);
      column[1] = weights[0];
      Lowered l{line, Strided::identity({weights[0]})};
      l.dims.reshape(column);
      l.dims.expand(size);
      y = arith::AddFOp::create(e.builder, e.loc, y, e.tensor(l));
    }
    e.define(out, y);
    return success();
  };
  return m;
}

void effc::raise::addProductPatterns(std::vector<RaisePattern> &patterns) {
  patterns.insert(patterns.end(), {matmul, gemm, conv});
}
