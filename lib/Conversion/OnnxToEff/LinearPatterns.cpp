//===- LinearPatterns.cpp - linears, embeddings, patches ------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"

#include "effc/Support/Error.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace effc;
using namespace effc::raise;

namespace {
/// y = alpha x W + bias, W constant.
struct Linear {
  Value out, x, weight; ///< weight [k, n], or [n, k] when `rows`
  bool rows = false;
  Value bias; ///< constant [n] or null
  double alpha = 1, beta = 1;
};
} // namespace

static LogicalResult emitLinear(Emitter &e, const Linear &p) {
  View w = e.graph.view(p.weight);
  if (!p.rows)
    w.dims.transpose({1, 0});
  SmallVector<int64_t> shape = w.dims.shape(); // [n, k]
  Lowered x = e.rows(p.x);
  if (!x.value)
    return failure();
  auto type = cast<RankedTensorType>(x.value.getType());
  Value input = x.value;
  if (type.getRank() > 3) // activations are [batch, tokens, features]
    input = e.reshape(input, {type.getNumElements() / shape[1], shape[1]});
  Value weight = e.weight(w);
  if (!weight)
    return failure();
  SmallVector<int64_t> result(
      cast<RankedTensorType>(input.getType()).getShape());
  result.back() = shape[0];
  Value bias = p.bias ? e.weight(p.bias, {shape[0]}) : Value();
  if (p.bias && !bias)
    return failure();
  SmallVector<Value> extras;
  if (bias)
    extras.push_back(bias);
  auto op = eff::LinearOp::create(e.builder, e.loc, e.f32(result), input,
                                  weight, Value(), extras);
  if (bias || p.alpha != 1) {
    OpBuilder::InsertionGuard guard(e.builder);
    Block *block = e.builder.createBlock(&op.getEpilogue());
    Type f32 = e.builder.getF32Type();
    Value acc = block->addArgument(f32, e.loc);
    Value b = bias ? block->addArgument(f32, e.loc) : Value();
    auto scaled = [&](Value v, double by) -> Value {
      if (by == 1)
        return v;
      return arith::MulFOp::create(
          e.builder, e.loc, v, Emitter::constant(e.builder, e.loc, f32, by));
    };
    Value y = scaled(acc, p.alpha);
    if (b)
      y = arith::AddFOp::create(e.builder, e.loc, y, scaled(b, p.beta));
    eff::YieldOp::create(e.builder, e.loc, y);
  }
  e.define(p.out, op.getResult());
  return success();
}

/// A bias of zeros is none: exporters differ in whether they keep it.
static Value withoutZeros(Graph &g, Value bias) {
  if (!bias)
    return {};
  auto numbers = g.numbers(bias);
  bool zero =
      numbers && llvm::all_of(*numbers, [](double x) { return x == 0; });
  return zero ? Value() : bias;
}

static Match linearMatch(Linear p, SmallVector<Operation *> covers) {
  Match m;
  m.needs = {p.x};
  m.covers = std::move(covers);
  m.emit = [p](Emitter &e) { return emitLinear(e, p); };
  return m;
}

/// MatMul with a constant matrix on the right.
static std::optional<Linear> matmul(Graph &g, onnx::NodeOp root) {
  if (!root || !root.is("MatMul"))
    return std::nullopt;
  Value x = root.getInput(0), w = root.getInput(1);
  if (!Graph::isFloat(x) || Graph::rank(x) < 2 || Graph::rank(w) != 2 ||
      !g.constant(w) || g.isConstant(x))
    return std::nullopt;
  Linear p;
  p.out = root->getResult(0);
  p.x = x;
  p.weight = w;
  return p;
}

static std::optional<Match> plain(Graph &g, onnx::NodeOp root) {
  auto p = matmul(g, root);
  if (!p)
    return std::nullopt;
  return linearMatch(*p, {root});
}

static std::optional<Match> biased(Graph &g, onnx::NodeOp root) {
  if (!root.is("Add") || !Graph::isFloat(root->getResult(0)) ||
      Graph::rank(root->getResult(0)) < 2)
    return std::nullopt;
  Value out = root->getResult(0);
  auto pair = g.either(root, [&](Value b) {
    return g.isFeatureVector(b, Graph::shape(out).back());
  });
  if (!pair || !g.strip(pair->second).hasOneUse())
    return std::nullopt;
  auto node = g.anyNode(pair->second);
  auto p = matmul(g, node);
  if (!p || Graph::shape(node->getResult(0)) != Graph::shape(out))
    return std::nullopt;
  p->out = out;
  p->bias = withoutZeros(g, pair->first);
  return linearMatch(*p, {node, root});
}

static std::optional<Match> gemm(Graph &g, onnx::NodeOp root) {
  if (!root.is("Gemm") || root.getInt("transA", 0) != 0)
    return std::nullopt;
  Value x = root.getInput(0), w = root.getInput(1), c = root.getInput(2),
        out = root->getResult(0);
  if (!Graph::isFloat(x) || !g.constant(w) || g.isConstant(x))
    return std::nullopt;
  if (c && !g.isFeatureVector(c, Graph::shape(out).back()))
    return std::nullopt;
  Linear p;
  p.out = out;
  p.x = x;
  p.weight = w;
  p.rows = root.getInt("transB", 0) != 0;
  p.bias = withoutZeros(g, c);
  p.alpha = root.getFloat("alpha", 1);
  p.beta = root.getFloat("beta", 1);
  return linearMatch(p, {root});
}

/// Gather of rows of a constant table by token ids.
static std::optional<Match> embed(Graph &g, onnx::NodeOp root) {
  if (!root.is("Gather"))
    return std::nullopt;
  Value table = root.getInput(0), ids = root.getInput(1),
        out = root->getResult(0);
  if (!Graph::isFloat(table) || Graph::rank(table) != 2 || !g.constant(table) ||
      g.isConstant(ids) || Graph::axis(root, 0, 2) != 0)
    return std::nullopt;
  // Ids must be an input's own numbers: eff.embed does not count negative ones
  // from the end.
  auto arg = dyn_cast<BlockArgument>(g.view(ids).base);
  if (!arg || Graph::rank(ids) > 2 || Graph::rank(ids) == 0)
    return std::nullopt;
  Match m;
  m.needs = {ids};
  m.covers = {root};
  m.emit = [=](Emitter &e) {
    Lowered l = e.lower(ids);
    Value w = l.value ? e.weight(table) : Value();
    if (!w)
      return failure();
    ArrayRef<int64_t> shape = Graph::shape(ids);
    SmallVector<int64_t> flat = shape.size() == 2
                                    ? SmallVector<int64_t>(shape)
                                    : SmallVector<int64_t>{1, shape[0]};
    Value t = e.reshape(e.tensor(l), flat);
    Type i32 = e.builder.getI32Type();
    if (cast<RankedTensorType>(t.getType()).getElementType() != i32)
      t = arith::TruncIOp::create(e.builder, e.loc,
                                  RankedTensorType::get(flat, i32), t);
    flat.push_back(Graph::shape(table)[1]);
    Value y = eff::EmbedOp::create(e.builder, e.loc, e.f32(flat), t, w);
    e.define(out, y);
    return success();
  };
  return m;
}

/// A convolution whose patches do not overlap.
static std::optional<Match> patches(Graph &g, onnx::NodeOp root) {
  if (!root.is("Conv"))
    return std::nullopt;
  Value x = root.getInput(0), w = root.getInput(1), b = root.getInput(2),
        out = root->getResult(0);
  if (!Graph::isFloat(x) || Graph::rank(x) != 4 || Graph::rank(w) != 4 ||
      !g.constant(w) || root.getInt("group", 1) != 1)
    return std::nullopt;
  ArrayRef<int64_t> in = Graph::shape(x), kernel = Graph::shape(w);
  int64_t outputs = kernel[0], ph = kernel[2], pw = kernel[3];
  auto all = [&](StringRef name, int64_t a, int64_t c, int64_t otherwise) {
    auto values = root.getInts(name);
    if (!values)
      return a == otherwise && c == otherwise;
    return values->size() >= 2 && (*values)[0] == a && (*values)[1] == c;
  };
  auto pads = root.getInts("pads");
  bool padded = pads && llvm::any_of(*pads, [](int64_t p) { return p != 0; });
  StringRef automatic = root.getString("auto_pad", "NOTSET");
  if (padded || (automatic != "NOTSET" && automatic != "VALID") ||
      !all("strides", ph, pw, 1) || !all("dilations", 1, 1, 1) ||
      in[2] % ph != 0 || in[3] % pw != 0 ||
      (b && !g.isFeatureVector(b, outputs)))
    return std::nullopt;
  int64_t gh = in[2] / ph, gw = in[3] / pw;
  b = withoutZeros(g, b);
  Match m;
  m.needs = {x};
  m.covers = {root};
  m.emit = [=](Emitter &e) {
    Value t = e.tensor(x);
    Value weight =
        t ? e.weight(w, {outputs, Graph::shape(w)[1] * ph * pw}) : Value();
    Value bias = b ? e.weight(b, {outputs}) : Value();
    if (!weight || (b && !bias))
      return failure();
    int64_t batch = Graph::shape(x)[0];
    Value y = eff::Conv2DOp::create(e.builder, e.loc,
                                    e.f32({batch, gh * gw, outputs}), t, weight,
                                    bias, ArrayRef<int64_t>{ph, pw});
    e.define(out, y, {batch, gh, gw, outputs}, {0, 3, 1, 2});
    return success();
  };
  return m;
}

void effc::raise::addLinearPatterns(std::vector<RaisePattern> &patterns) {
  patterns.insert(patterns.end(), {biased, plain, gemm, embed, patches});
}
