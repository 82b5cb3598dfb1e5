//===- LinearPatterns.cpp - linears, embeddings, patches ------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Linear.h"

#include "effc/Support/Error.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

#include <cmath>

using namespace mlir;
using namespace effc;
using namespace effc::raise;

/// The activations of a linear: f32 and null, or codes and their scale.
static std::pair<Value, Value> emitInput(Emitter &e, const Linear &p,
                                         int64_t k) {
  if (p.dynamic)
    return e.dynamicCodes(p.dynamic);
  if (p.codes) {
    Value codes = e.codes(p.codes);
    Value scale =
        codes ? e.codeScale(p.codeScale.scale, p.codeScale.zero) : Value();
    return {scale ? codes : Value(), scale};
  }
  Lowered x = e.rows(p.x);
  if (!x.value)
    return {};
  auto type = cast<RankedTensorType>(x.value.getType());
  Value input = x.value;
  if (type.getRank() > 3) // activations are [batch, tokens, features]
    input = e.reshape(input, {type.getNumElements() / k, k});
  return {p.order.empty() ? input : e.reorder(input, p.order), Value()};
}

static LogicalResult emitLinear(Emitter &e, const Linear &p) {
  SmallVector<int64_t> shape{p.n, p.k};
  View w;
  if (p.weight) {
    w = e.graph.view(p.weight);
    if (!p.rows)
      w.dims.transpose({1, 0});
    shape = w.dims.shape(); // [n, k]
  }
  auto [input, scale] = emitInput(e, p, shape[1]);
  if (!input)
    return failure();
  // Of small floats, a scale for each output.
  std::vector<double> factors;
  Value weight = p.weight ? e.smallFloats(w, shape, factors) : p.makeWeight(e);
  if (!weight && p.weight)
    weight = e.matrix(w, shape, scale ? 8 : 4);
  if (!weight)
    return failure();
  double alpha = p.alpha;
  Value factor;
  if (llvm::all_equal(factors))
    alpha *= factors.empty() ? 1 : factors[0];
  else
    factor = e.vector("factor", factors);
  SmallVector<int64_t> result(
      cast<RankedTensorType>(input.getType()).getShape());
  result.back() = shape[0];
  Value bias = p.bias ? e.weight(p.bias, {shape[0]}) : Value();
  if (p.bias && !bias)
    return failure();
  if (!p.numbers.empty())
    bias = e.vector("bias", p.numbers);
  SmallVector<Value> extras;
  for (Value extra : {bias, factor})
    if (extra)
      extras.push_back(extra);
  auto op = eff::LinearOp::create(e.builder, e.loc, e.f32(result), input,
                                  weight, scale, extras);
  if (!extras.empty() || alpha != 1) {
    OpBuilder::InsertionGuard guard(e.builder);
    Block *block = e.builder.createBlock(&op.getEpilogue());
    Type f32 = e.builder.getF32Type();
    Value acc = block->addArgument(f32, e.loc);
    Value b = bias ? block->addArgument(f32, e.loc) : Value();
    Value f = factor ? block->addArgument(f32, e.loc) : Value();
    auto scaled = [&](Value v, double by) -> Value {
      if (by == 1)
        return v;
      return arith::MulFOp::create(
          e.builder, e.loc, v, Emitter::constant(e.builder, e.loc, f32, by));
    };
    Value y = scaled(acc, alpha);
    if (f)
      y = arith::MulFOp::create(e.builder, e.loc, y, f);
    if (b)
      y = arith::AddFOp::create(e.builder, e.loc, y, scaled(b, p.beta));
    eff::YieldOp::create(e.builder, e.loc, y);
  }
  if (!p.result) {
    e.define(p.out, op.getResult());
    return success();
  }
  Value rounded = e.codeScale(p.result->scale, p.result->zero);
  if (!rounded)
    return failure();
  e.defineCodes(p.out,
                e.quantize(e.activations(op.getResult(), p.out), rounded));
  return success();
}

Value effc::raise::withoutZeros(Graph &g, Value bias) {
  if (!bias)
    return {};
  auto numbers = g.numbers(bias);
  bool zero =
      numbers && llvm::all_of(*numbers, [](double x) { return x == 0; });
  return zero ? Value() : bias;
}

Match effc::raise::linearMatch(Linear p, SmallVector<Operation *> covers) {
  Match m;
  m.needs = {p.dynamic ? p.dynamic.getInput(0) : p.codes ? p.codes : p.x};
  m.covers = std::move(covers);
  m.emit = [p](Emitter &e) { return emitLinear(e, p); };
  return m;
}

std::optional<CodeScale> effc::raise::readCodeScale(Graph &g, Type element,
                                                    Value scale, Value zero) {
  auto integer = dyn_cast<IntegerType>(element);
  auto s = g.scalar(scale);
  auto z = zero ? g.scalar(zero) : std::optional<double>(0);
  if (!integer || integer.getWidth() != 8 || !s || !z || !std::isfinite(*s) ||
      *s <= 0)
    return std::nullopt;
  return CodeScale{double(float(*s)),
                   int64_t(*z) - (integer.isUnsigned() ? 128 : 0)};
}

void effc::raise::takeCodes(Graph &g, Linear &p) {
  auto node = g.anyNode(p.x);
  if (!node ||
      (!node.is("DequantizeLinear") &&
       !node.is("DequantizeLinear", "com.microsoft")) ||
      !g.dequantized(p.weight))
    return;
  Value q = node.getInput(0);
  auto scale = readCodeScale(g, Graph::elementType(q), node.getInput(1),
                             node.getInput(2));
  View w = g.view(p.weight);
  if (!p.rows)
    w.dims.transpose({1, 0});
  // Sums of products with zero points stay within 32 bits.
  if (!scale || w.dims.size(1) > 33000 || !hasScalePerRow(w) ||
      Graph::rank(q) < 1)
    return;
  p.codes = q;
  p.codeScale = *scale;
}

/// MatMul with a constant matrix on the right.
std::optional<Linear> effc::raise::matchMatmul(Graph &g, onnx::NodeOp root) {
  if (!root || !root.is("MatMul"))
    return std::nullopt;
  Value x = root.getInput(0), w = root.getInput(1);
  if (!Graph::isFloat(x) || Graph::rank(x) < 2 || Graph::rank(w) != 2 ||
      !g.isWeight(w) || g.isConstant(x))
    return std::nullopt;
  Linear p;
  p.out = root->getResult(0);
  p.x = x;
  p.weight = w;
  takeCodes(g, p);
  return p;
}

static std::optional<Match> plain(Graph &g, onnx::NodeOp root) {
  auto p = matchMatmul(g, root);
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
  auto p = matchMatmul(g, node);
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
  if (!Graph::isFloat(x) || !g.isWeight(w) || g.isConstant(x))
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
  takeCodes(g, p);
  return linearMatch(p, {root});
}

bool effc::raise::areTokenIds(Graph &g, Value ids) {
  return isa<BlockArgument>(g.view(ids).base) && Graph::rank(ids) <= 2 &&
         Graph::rank(ids) > 0;
}

Match effc::raise::embedMatch(onnx::NodeOp root, Value ids, int64_t width,
                              const std::function<Value(Emitter &)> &table) {
  Match m;
  m.needs = {ids};
  m.covers = {root};
  m.emit = [=](Emitter &e) {
    Lowered l = e.lower(ids);
    Value w = l.value ? table(e) : Value();
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
    flat.push_back(width);
    Value y = eff::EmbedOp::create(e.builder, e.loc, e.f32(flat), t, w);
    e.define(root->getResult(0), y);
    return success();
  };
  return m;
}

/// Gather of rows of a constant table by token ids.
static std::optional<Match> embed(Graph &g, onnx::NodeOp root) {
  if (!root.is("Gather"))
    return std::nullopt;
  Value table = root.getInput(0), ids = root.getInput(1);
  if (!Graph::isFloat(table) || Graph::rank(table) != 2 || !g.isWeight(table) ||
      g.isConstant(ids) || Graph::axis(root, 0, 2) != 0 || !areTokenIds(g, ids))
    return std::nullopt;
  return embedMatch(root, ids, Graph::shape(table)[1], [=](Emitter &e) {
    return e.matrix(e.graph.view(table), Graph::shape(table));
  });
}

/// Rows of a constant table at the positions of the call's tokens: the table
/// and the row of position 0.
static std::optional<std::pair<Value, int64_t>> positionRows(Graph &g,
                                                             Value v) {
  int64_t batch = g.options.batch, tokens = g.options.tokens;
  View view = g.view(v);
  auto gather = view.base.getDefiningOp<onnx::NodeOp>();
  if (!gather || !gather.is("Gather") || Graph::rank(gather.getInput(0)) != 2 ||
      Graph::axis(gather, 0, 2) != 0 || !g.constant(gather.getInput(0)))
    return std::nullopt;
  auto ids = g.ints(gather.getInput(1));
  int64_t offset = ids && !ids->empty() ? ids->front() - g.options.past : -1;
  if (offset < 0)
    return std::nullopt;
  for (auto [i, id] : llvm::enumerate(*ids))
    if (id != ids->front() + int64_t(i) % tokens)
      return std::nullopt;
  // The rows as they are, for every sequence or for one that stands for all.
  int64_t d = Graph::shape(gather.getInput(0))[1];
  SmallVector<int64_t> shape = view.dims.shape();
  if (shape.size() == 2)
    shape.insert(shape.begin(), 1);
  if (shape.size() != 3 || (shape[0] != 1 && shape[0] != batch) ||
      shape[1] != tokens || shape[2] != d ||
      !view.dims.withoutRepeats().isIdentity(int64_t(ids->size()) * d))
    return std::nullopt;
  return std::make_pair(gather.getInput(0), offset);
}

/// x + the rows of learned positions.
static std::optional<Match> addPositions(Graph &g, onnx::NodeOp root) {
  Value out = root->getResult(0);
  if (!root.is("Add") || Graph::rank(out) != 3 || !Graph::isFloat(out) ||
      g.options.kind == eff::EntryKind::Forward)
    return std::nullopt;
  std::optional<std::pair<Value, int64_t>> rows;
  auto pair = g.either(root, [&](Value v) {
    rows = positionRows(g, v);
    return rows.has_value();
  });
  if (!pair || Graph::shape(pair->second) != Graph::shape(out) ||
      Graph::shape(out)[0] != g.options.batch ||
      Graph::shape(out)[1] != g.options.tokens)
    return std::nullopt;
  auto [table, offset] = *rows;
  int64_t most = Graph::shape(table)[0] - offset;
  g.mostTokens = g.mostTokens ? std::min(g.mostTokens, most) : most;
  Value x = pair->second;
  Match m;
  m.needs = {x};
  m.covers = {root};
  m.emit = [=, table = table, offset = offset](Emitter &e) {
    Value t = e.tensor(x);
    Value w = t ? e.weight(table) : Value();
    if (!w)
      return failure();
    Value y =
        eff::PositionEmbedOp::create(e.builder, e.loc, t.getType(), w, offset);
    e.define(out, arith::AddFOp::create(e.builder, e.loc, t, y));
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
      !g.isWeight(w) || root.getInt("group", 1) != 1)
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
        t ? e.matrix(e.graph.view(w), {outputs, Graph::shape(w)[1] * ph * pw})
          : Value();
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
  patterns.insert(patterns.end(),
                  {biased, plain, gemm, embed, addPositions, patches});
}
