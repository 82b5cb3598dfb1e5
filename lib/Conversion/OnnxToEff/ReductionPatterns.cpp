//===- ReductionPatterns.cpp - Reduce*, Softmax, norms as reductions ------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

#include <limits>

using namespace mlir;
using namespace effc;
using namespace effc::raise;

static Value add(OpBuilder &b, Location l, ValueRange v) { return arith::AddFOp::create(b, l, v[0], v[1]); }
static Value maximum(OpBuilder &b, Location l, ValueRange v) { return arith::MaximumFOp::create(b, l, v[0], v[1]); }
static Value minimum(OpBuilder &b, Location l, ValueRange v) { return arith::MinimumFOp::create(b, l, v[0], v[1]); }
static Value multiply(OpBuilder &b, Location l, ValueRange v) { return arith::MulFOp::create(b, l, v[0], v[1]); }

/// `t` with `dims` reduced away, repeated back to t's shape.
static Value repeated(Emitter &e, Value reduced, ArrayRef<int64_t> dims, ArrayRef<int64_t> shape) {
  SmallVector<int64_t> kept(shape);
  for (int64_t d : dims)
    kept[d] = 1;
  Lowered l{e.reshape(reduced, kept), Strided::identity(kept)};
  l.dims.expand(shape);
  return e.tensor(l);
}

static std::optional<Match> reduce(Graph &g, onnx::NodeOp root) {
  StringRef type = root.getOpType();
  if (!root.getDomain().empty() || !type.starts_with("Reduce"))
    return std::nullopt;
  Value x = root.getInput(0), out = root->getResult(0);
  int64_t rank = Graph::rank(x);
  auto axes = g.axes(root, 1, rank);
  bool named = root.getInts("axes") || root.getInput(1);
  if (!Graph::isFloat(x) || !axes)
    return std::nullopt;
  bool nothing = !named && root.getInt("noop_with_empty_axes", 0) != 0;
  static constexpr StringLiteral known[] = {"ReduceSum", "ReduceMean", "ReduceMax",       "ReduceMin",      "ReduceProd",
                                            "ReduceL1",  "ReduceL2",   "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"};
  if (!llvm::is_contained(known, type) || nothing)
    return std::nullopt;
  int64_t count = 1;
  for (int64_t a : *axes)
    count *= Graph::shape(x)[a];
  Match m;
  m.needs = {x};
  m.covers = {root};
  SmallVector<int64_t> dims = *axes;
  std::string kind = type.drop_front(6).str();
  m.emit = [=](Emitter &e) {
    Value t = e.tensor(x);
    if (!t)
      return failure();
    OpBuilder &b = e.builder;
    constexpr double infinity = std::numeric_limits<double>::infinity();
    Value y;
    if (kind == "Max")
      y = e.reduce(t, dims, -infinity, maximum);
    else if (kind == "Min")
      y = e.reduce(t, dims, infinity, minimum);
    else if (kind == "Prod")
      y = e.reduce(t, dims, 1, multiply);
    else if (kind == "LogSumExp") {
      Value top = e.reduce(t, dims, -infinity, maximum);
      Value shifted = arith::SubFOp::create(b, e.loc, t, repeated(e, top, dims, Graph::shape(x)));
      Value sum = e.reduce(math::ExpOp::create(b, e.loc, shifted), dims, 0, add);
      y = arith::AddFOp::create(b, e.loc, top, math::LogOp::create(b, e.loc, sum));
    } else {
      if (kind == "L1")
        t = math::AbsFOp::create(b, e.loc, t);
      else if (kind == "L2" || kind == "SumSquare")
        t = arith::MulFOp::create(b, e.loc, t, t);
      y = e.reduce(t, dims, 0, add);
      if (kind == "Mean")
        y = arith::MulFOp::create(b, e.loc, y, Emitter::constant(b, e.loc, y.getType(), 1.0 / count));
      else if (kind == "L2")
        y = math::SqrtOp::create(b, e.loc, y);
      else if (kind == "LogSum")
        y = math::LogOp::create(b, e.loc, y);
    }
    e.define(out, e.reshape(y, Graph::shape(out)));
    return success();
  };
  return m;
}

static std::optional<Match> softmax(Graph &, onnx::NodeOp root) {
  bool logarithm = root.is("LogSoftmax");
  if (!root.is("Softmax") && !logarithm)
    return std::nullopt;
  Value x = root.getInput(0), out = root->getResult(0);
  int64_t rank = Graph::rank(x);
  if (!Graph::isFloat(x) || rank == 0)
    return std::nullopt;
  // Before opset 13 all dimensions from the axis on are one.
  SmallVector<int64_t> dims;
  bool flat = root.getSince() < 13;
  int64_t axis = Graph::axis(root, flat ? 1 : -1, rank);
  for (int64_t d = axis; d < (flat ? rank : axis + 1); ++d)
    dims.push_back(d);
  if (dims.empty() || axis < 0 || axis >= rank)
    return std::nullopt;
  Match m;
  m.needs = {x};
  m.covers = {root};
  m.emit = [=](Emitter &e) {
    Value t = e.tensor(x);
    if (!t)
      return failure();
    OpBuilder &b = e.builder;
    Value top = e.reduce(t, dims, -std::numeric_limits<double>::infinity(), maximum);
    Value shifted = arith::SubFOp::create(b, e.loc, t, repeated(e, top, dims, Graph::shape(x)));
    Value exps = math::ExpOp::create(b, e.loc, shifted);
    Value sum = e.reduce(exps, dims, 0, add);
    if (logarithm) {
      Value log = repeated(e, math::LogOp::create(b, e.loc, sum), dims, Graph::shape(x));
      e.define(out, arith::SubFOp::create(b, e.loc, shifted, log));
    } else {
      e.define(out, arith::DivFOp::create(b, e.loc, exps, repeated(e, sum, dims, Graph::shape(x))));
    }
    return success();
  };
  return m;
}

/// LayerNormalization and RMSNormalization that the eff ops do not cover: over several dimensions, with a scale that is
/// not constant, or with the statistics read.
static std::optional<Match> norm(Graph &, onnx::NodeOp root) {
  bool layer = root.is("LayerNormalization");
  if (!layer && !root.is("RMSNormalization"))
    return std::nullopt;
  Value x = root.getInput(0), w = root.getInput(1), bias = layer ? root.getInput(2) : Value();
  Value out = root->getResult(0), mean = root.getOutput(1), deviation = root.getOutput(2);
  if (!x || !w || !Graph::isFloat(x))
    return std::nullopt;
  int64_t rank = Graph::rank(x), axis = Graph::axis(root, -1, rank), count = 1;
  SmallVector<int64_t> dims;
  for (int64_t d = axis; d < rank; ++d) {
    dims.push_back(d);
    count *= Graph::shape(x)[d];
  }
  double eps = root.getFloat("epsilon", 1e-5f);
  Match m;
  m.needs = {x, w};
  if (bias)
    m.needs.push_back(bias);
  m.covers = {root};
  m.emit = [=](Emitter &e) {
    Value t = e.tensor(x);
    if (!t)
      return failure();
    OpBuilder &b = e.builder;
    auto average = [&](Value v) -> Value {
      Value s = e.reduce(v, dims, 0, add);
      return arith::MulFOp::create(b, e.loc, s, Emitter::constant(b, e.loc, s.getType(), 1.0 / count));
    };
    if (layer) {
      Value mu = average(t);
      if (mean)
        e.define(mean, e.reshape(mu, Graph::shape(mean)));
      t = arith::SubFOp::create(b, e.loc, t, repeated(e, mu, dims, Graph::shape(x)));
    }
    Value variance = average(arith::MulFOp::create(b, e.loc, t, t));
    variance = arith::AddFOp::create(b, e.loc, variance, Emitter::constant(b, e.loc, variance.getType(), eps));
    Value one = Emitter::constant(b, e.loc, variance.getType(), 1);
    Value inverse = arith::DivFOp::create(b, e.loc, one, math::SqrtOp::create(b, e.loc, variance));
    if (deviation)
      e.define(deviation, e.reshape(inverse, Graph::shape(deviation)));
    t = arith::MulFOp::create(b, e.loc, t, repeated(e, inverse, dims, Graph::shape(x)));
    e.define(out, t);
    e.map(out, {out, w}, multiply);
    if (bias)
      e.map(out, {out, bias}, add);
    return success();
  };
  return m;
}

void effc::raise::addReductionPatterns(std::vector<RaisePattern> &patterns) {
  patterns.insert(patterns.end(), {reduce, softmax, norm});
}
