//===- NormPatterns.cpp - RMSNorm, LayerNorm, gated norm ------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace effc;
using namespace effc::raise;

/// How a norm over the last dimension of `x`'s shape reads the lowered tensor:
/// as it lies, when each run of `size` neighbouring features is one row, else
/// as a tensor of x's own shape.
static std::pair<Lowered, int64_t> normRows(Emitter &e, Value x, int64_t size) {
  Lowered l = e.lower(x);
  if (!l.value)
    return {l, 0};
  int64_t features =
      cast<RankedTensorType>(l.value.getType()).getShape().back();
  const auto &last = l.dims.dims.back();
  bool rows = size == 1 || (last.size() == 1 && last[0] == Factor{size, 1});
  if (rows && features % size == 0 &&
      l.dims.isPermutation(l.dims.numElements()))
    return {l, features == size ? 0 : size};
  Value t = e.tensor(l);
  return {Lowered{t, Strided::identity(Graph::shape(x))}, 0};
}

/// `weight` is null for a norm without one.
static LogicalResult emitRms(Emitter &e, Value out, Value x, Value weight,
                             double eps) {
  int64_t size = Graph::shape(x).back();
  auto [l, group] = normRows(e, x, size);
  Value w;
  if (l.value && weight) {
    w = e.weight(weight, {size});
  } else if (l.value) {
    SmallVector<double> ones(size, 1.0);
    w = e.table("ones." + std::to_string(size), ones,
                [&](ArrayRef<double> have) { return have == ArrayRef(ones); });
  }
  if (!w)
    return failure();
  Value y = eff::RmsNormOp::create(e.builder, e.loc, l.value, w,
                                   APFloat(static_cast<float>(eps)), group);
  e.define(out, Lowered{y, l.dims});
  return success();
}

static LogicalResult emitLayerNorm(Emitter &e, Value out, Value x, Value weight,
                                   Value bias, double eps) {
  int64_t size = Graph::shape(x).back();
  auto [l, group] = normRows(e, x, size);
  if (!l.value)
    return failure();
  if (group != 0) { // layer_norm has no groups
    Value t = e.tensor(l);
    l = Lowered{t, Strided::identity(Graph::shape(x))};
  }
  Value w = e.weight(weight, {size}),
        b = bias ? e.weight(bias, {size}) : Value();
  if (!w || (bias && !b))
    return failure();
  Value y = eff::LayerNormOp::create(e.builder, e.loc, l.value, w, b,
                                     APFloat(static_cast<float>(eps)));
  e.define(out, Lowered{y, l.dims});
  return success();
}

/// The norm of `h * silu(z)` that nothing else reads, as Mamba-2 has it.
static std::optional<Match> gatedMatch(Graph &g, Value out, Value x,
                                       Value weight, double eps,
                                       SmallVector<Operation *> covers) {
  auto mul = g.node(x, "Mul");
  SmallVector<Operation *> gateCovers;
  Value z;
  auto pair = g.either(mul, [&](Value v) {
    gateCovers.clear();
    return static_cast<bool>(z = matchSilu(g, v, gateCovers));
  });
  if (!pair || Graph::shape(pair->second) != Graph::shape(x) ||
      Graph::shape(z) != Graph::shape(x) ||
      llvm::any_of(mul->getUsers(), [&](Operation *user) {
        return !llvm::is_contained(covers, user);
      }))
    return std::nullopt;
  Value h = pair->second;
  int64_t size = Graph::shape(x).back();
  Match m;
  m.needs = {h, z};
  m.covers = std::move(covers);
  m.covers.push_back(mul);
  m.covers.append(gateCovers);
  m.emit = [=](Emitter &e) {
    Lowered l = e.rows(h);
    if (!l.value)
      return failure();
    Value t = e.tensor(z), w = t ? e.weight(weight, {size}) : Value();
    if (!w)
      return failure();
    Value gate =
        e.reshape(t, cast<RankedTensorType>(l.value.getType()).getShape());
    e.define(out, eff::GatedNormOp::create(e.builder, e.loc, l.value, gate, w,
                                           APFloat(static_cast<float>(eps)), 0,
                                           /*before=*/false));
    return success();
  };
  return m;
}

static Match rmsMatch(Graph &g, Value out, Value x, Value weight, double eps,
                      SmallVector<Operation *> covers) {
  if (auto gated = gatedMatch(g, out, x, weight, eps, covers))
    return std::move(*gated);
  Match m;
  m.needs = {x};
  m.covers = std::move(covers);
  m.emit = [=](Emitter &e) { return emitRms(e, out, x, weight, eps); };
  return m;
}

/// RMSNormalization and SimplifiedLayerNormalization with a constant scale over
/// the last dimension.
static std::optional<Match> rmsOp(Graph &g, onnx::NodeOp root) {
  bool known = root.is("RMSNormalization") ||
               root.is("SimplifiedLayerNormalization") ||
               root.is("SimplifiedLayerNormalization", "com.microsoft");
  Value x = root.getInput(0), w = root.getInput(1);
  if (!known || !x || !w || Graph::rank(x) == 0 ||
      Graph::axis(root, -1, Graph::rank(x)) != Graph::rank(x) - 1 ||
      !g.isFeatureVector(w, Graph::shape(x).back()))
    return std::nullopt;
  for (Value extra : root->getResults().drop_front())
    if (!extra.use_empty())
      return std::nullopt;
  return rmsMatch(g, root->getResult(0), x, w, root.getFloat("epsilon", 1e-5f),
                  {root});
}

/// The square of a value: Pow(x, 2) or Mul(x, x).
static Value squareOf(Graph &g, Value v, SmallVectorImpl<Operation *> &covers) {
  if (auto pow = g.node(v, "Pow"); pow && g.isScalar(pow.getInput(1), 2)) {
    covers.push_back(pow);
    return g.strip(pow.getInput(0));
  }
  auto mul = g.node(v, "Mul");
  if (!mul || g.strip(mul.getInput(0)) != g.strip(mul.getInput(1)))
    return {};
  covers.push_back(mul);
  return g.strip(mul.getInput(0));
}

/// sqrt(mean(x^2) + eps) over the last dimension; returns x.
static Value rootMeanSquare(Graph &g, Value v, double &eps,
                            SmallVectorImpl<Operation *> &covers) {
  auto sqrt = g.node(v, "Sqrt");
  if (!sqrt)
    return {};
  auto add = g.node(sqrt.getInput(0), "Add");
  auto pair = g.either(
      add, [&](Value s) { return static_cast<bool>(g.node(s, "ReduceMean")); });
  std::optional<double> epsilon = pair ? g.scalar(pair->second) : std::nullopt;
  if (!epsilon || *epsilon < 0)
    return {};
  auto mean = g.node(pair->first, "ReduceMean");
  int64_t rank = Graph::rank(mean.getInput(0));
  auto axes = g.axes(mean, 1, rank);
  if (!axes || axes->size() != 1 || (*axes)[0] != rank - 1 ||
      mean.getInt("keepdims", 1) == 0)
    return {};
  covers.append({sqrt, add, mean});
  eps = *epsilon;
  return squareOf(g, mean.getInput(0), covers);
}

/// x / sqrt(mean(x^2) + eps), by Div, Reciprocal or a quotient of one; returns
/// x.
static Value normalised(Graph &g, Value v, double &eps,
                        SmallVectorImpl<Operation *> &covers) {
  if (auto div = g.node(v, "Div")) {
    Value x = rootMeanSquare(g, div.getInput(1), eps, covers);
    covers.push_back(div);
    return x && g.strip(div.getInput(0)) == x ? x : Value();
  }
  auto mul = g.node(v, "Mul");
  Value x;
  auto pair = g.either(mul, [&](Value r) {
    Value root;
    if (auto reciprocal = g.node(r, "Reciprocal"))
      root = reciprocal.getInput(0);
    else if (auto div = g.node(r, "Div"); div && g.isScalar(div.getInput(0), 1))
      root = div.getInput(1);
    SmallVector<Operation *> tried;
    x = root ? rootMeanSquare(g, root, eps, tried) : Value();
    if (!x)
      return false;
    covers.append(tried.begin(), tried.end());
    covers.push_back(g.anyNode(r));
    return true;
  });
  covers.push_back(mul);
  return pair && g.strip(pair->second) == x ? x : Value();
}

static std::optional<Match> rmsDecomposed(Graph &g, onnx::NodeOp root) {
  Value out = root->getResult(0);
  if (!root.is("Mul") || Graph::rank(out) == 0)
    return std::nullopt;
  auto pair = g.either(root, [&](Value w) {
    return g.isFeatureVector(w, Graph::shape(out).back());
  });
  if (!pair || Graph::shape(pair->second) != Graph::shape(out))
    return std::nullopt;
  double eps = 0;
  SmallVector<Operation *> covers{root};
  Value x = normalised(g, pair->second, eps, covers);
  if (!x)
    return std::nullopt;
  return rmsMatch(g, out, x, pair->first, eps, std::move(covers));
}

/// The same without a weight, as Falcon-Mamba has it.
static std::optional<Match> rmsBare(Graph &g, onnx::NodeOp root) {
  Value out = root->getResult(0);
  if ((!root.is("Mul") && !root.is("Div")) || Graph::rank(out) == 0 ||
      !Graph::isFloat(out))
    return std::nullopt;
  double eps = 0;
  SmallVector<Operation *> covers;
  Value x = normalised(g, out, eps, covers);
  if (!x || Graph::shape(x) != Graph::shape(out))
    return std::nullopt;
  Match m;
  m.needs = {x};
  m.covers = std::move(covers);
  m.emit = [=](Emitter &e) { return emitRms(e, out, x, Value(), eps); };
  return m;
}

/// Skip(Simplified)LayerNormalization: the norm of a sum, and the sum.
static std::optional<Match> skipNorm(Graph &g, onnx::NodeOp root) {
  bool simple = root.is("SkipSimplifiedLayerNormalization", "com.microsoft");
  if (!simple && !root.is("SkipLayerNormalization", "com.microsoft"))
    return std::nullopt;
  Value x = root.getInput(0), skip = root.getInput(1), gamma = root.getInput(2);
  Value beta = simple ? Value() : root.getInput(3),
        bias = root.getInput(simple ? 3 : 4);
  if (!x || !skip || !gamma || Graph::rank(x) == 0 ||
      Graph::shape(x) != Graph::shape(skip))
    return std::nullopt;
  int64_t size = Graph::shape(x).back();
  if (!g.isFeatureVector(gamma, size) ||
      (beta && !g.isFeatureVector(beta, size)))
    return std::nullopt;
  Value out = root->getResult(0), sum = root.getOutput(3);
  for (unsigned i : {1u, 2u})
    if (root.getOutput(i) && !root.getOutput(i).use_empty())
      return std::nullopt;
  float eps = root.getFloat("epsilon", 1e-12f);
  Match m;
  m.needs = {x, skip};
  if (bias)
    m.needs.push_back(bias);
  m.covers = {root};
  m.emit = [=](Emitter &e) {
    auto add = [](OpBuilder &b, Location l, ValueRange v) -> Value {
      return arith::AddFOp::create(b, l, v[0], v[1]);
    };
    // The norm reads the sum under the name of the sum's output; a node without
    // one lends its first output.
    Value at = sum ? sum : out;
    e.map(at, {x, skip}, add);
    if (bias)
      e.map(at, {at, bias}, add);
    return simple ? emitRms(e, out, at, gamma, eps)
                  : emitLayerNorm(e, out, at, gamma, beta, eps);
  };
  return m;
}

static std::optional<Match> layerNorm(Graph &g, onnx::NodeOp root) {
  if (!root.is("LayerNormalization"))
    return std::nullopt;
  Value x = root.getInput(0), w = root.getInput(1), b = root.getInput(2);
  int64_t size = Graph::shape(x).empty() ? 0 : Graph::shape(x).back();
  if (!w || Graph::axis(root, -1, Graph::rank(x)) != Graph::rank(x) - 1 ||
      !g.isFeatureVector(w, size) || (b && !g.isFeatureVector(b, size)))
    return std::nullopt;
  for (Value extra : root->getResults().drop_front())
    if (!extra.use_empty())
      return std::nullopt;
  float eps = root.getFloat("epsilon", 1e-5f);
  Value out = root->getResult(0);
  Match m;
  m.needs = {x};
  m.covers = {root};
  m.emit = [=](Emitter &e) { return emitLayerNorm(e, out, x, w, b, eps); };
  return m;
}

/// ai.effc.GatedRMSNorm and com.microsoft.GatedRMSNorm (which norms before the
/// gate, per head of its scale).
static std::optional<Match> gatedNorm(Graph &g, onnx::NodeOp root) {
  bool ours = root.is("GatedRMSNorm", "ai.effc"),
       theirs = root.is("GatedRMSNorm", "com.microsoft");
  if (!ours && !theirs)
    return std::nullopt;
  Value x = root.getInput(0);
  Value z = root.getInput(ours ? 1 : 2), w = root.getInput(ours ? 2 : 1);
  if (!x || !z || !w || Graph::rank(x) == 0 ||
      Graph::shape(x) != Graph::shape(z) || !g.isConstant(w))
    return std::nullopt;
  int64_t size = Graph::shape(x).back(), scale = numElements(Graph::shape(w));
  int64_t group = ours ? root.getInt("group_size", size) : scale;
  bool before = ours ? root.getInt("norm_before_gate", 0) != 0 : true;
  if (group <= 0 || size % group != 0 || size % scale != 0)
    return std::nullopt;
  float eps = root.getFloat("epsilon", 1e-5f);
  Value out = root->getResult(0);
  Match m;
  m.needs = {x, z};
  m.covers = {root};
  m.emit = [=](Emitter &e) {
    Lowered l = e.rows(x);
    if (!l.value)
      return failure();
    Value gate = e.reshape(
        e.tensor(z), cast<RankedTensorType>(l.value.getType()).getShape());
    Value weight;
    if (scale == size) {
      weight = e.weight(w, {size});
    } else { // one scale for every head
      auto numbers = e.graph.numbers(w);
      SmallVector<double> all;
      for (int64_t i = 0; numbers && i < size; ++i)
        all.push_back((*numbers)[i % scale]);
      if (all.empty())
        return LogicalResult(e.error("a norm's scale has no data"));
      auto constant = e.graph.constant(w);
      std::string name = constant && !constant.getName().empty()
                             ? constant.getName().str()
                             : "gated_norm.scale";
      weight = e.table(name + ".repeated", all, [&](ArrayRef<double> have) {
        return have == ArrayRef(all);
      });
    }
    if (!weight)
      return failure();
    Value y = eff::GatedNormOp::create(e.builder, e.loc, l.value, gate, weight,
                                       APFloat(eps), group == size ? 0 : group,
                                       before);
    e.define(out, y);
    return success();
  };
  return m;
}

void effc::raise::addNormPatterns(std::vector<RaisePattern> &patterns) {
  patterns.insert(patterns.end(), {rmsOp, rmsDecomposed, rmsBare, skipNorm,
                                   layerNorm, gatedNorm});
}
