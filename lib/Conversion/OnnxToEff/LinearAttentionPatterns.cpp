//===- LinearAttentionPatterns.cpp - scans written as linear attention ----===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// LinearAttention of ai.onnx 27 and com.microsoft with the rules "linear" and
/// "gated" is a state-space scan: `S = exp(g) S + k v^T`, `o = scale q^T S`
/// with `B = k`, `C = q`, `g = dt A` and `v = dt x`. Three cases:
/// - dt is in the graph (v = x * dt, g = dt * A): the scan as it was before
/// export;
/// - decay per head, dt not in the graph: `ssd_scan` with A = 1, dt = g and x =
/// v / g;
/// - decay per key: `ssm_scan` over one channel for each element of the state,
/// n = 1, and a sum over the keys. In the last two a decay of 0 (keep all) is
/// taken as -1e-30: exp of both is 1, and (v / g) g = v up to rounding.
///
//===----------------------------------------------------------------------===//

#include "Scan.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

#include <cmath>

using namespace mlir;
using namespace effc;
using namespace effc::raise;

namespace {
struct LinearAttention {
  onnx::NodeOp node;
  Value q, k, v, decay;
  int64_t batch, tokens, heads, dk, dv;
  double scale;
  State *state = nullptr;
};

/// dt, A and x as the graph has them before the products.
struct Steps {
  Value dt, a;
  View x; ///< of v's elements, in v's order
};
} // namespace

static bool isLinearAttention(onnx::NodeOp n) {
  return n.is("LinearAttention") || n.is("LinearAttention", "com.microsoft");
}

static std::optional<LinearAttention> read(Graph &g, onnx::NodeOp node) {
  auto refuse = [&](const Twine &why) -> std::optional<LinearAttention> {
    g.note(node, why);
    return std::nullopt;
  };
  LinearAttention l;
  l.node = node;
  l.q = node.getInput(0);
  l.k = node.getInput(1);
  l.v = node.getInput(2);
  l.decay = node.getInput(4);
  Value past = node.getInput(3);
  StringRef rule = node.getString("update_rule", "gated_delta");
  if ((rule != "gated" && rule != "linear") || node.getInput(5))
    return refuse("its update rule is '" + rule +
                  "'; linear and gated are supported");
  if (!l.q || !l.k || !l.v || Graph::rank(l.q) != 3 || Graph::rank(l.k) != 3 ||
      Graph::rank(l.v) != 3)
    return refuse(
        "queries, keys and values must be [batch, tokens, heads * width]");
  if ((rule == "gated") != static_cast<bool>(l.decay))
    return refuse("the gated rule needs a decay, and only it");
  if (node.getInt("state_window", 0) != 0)
    return refuse("state_window is not supported");
  int64_t qHeads = node.getInt("q_num_heads", 0);
  l.heads = node.getInt("kv_num_heads", 0);
  if (l.heads <= 0 || qHeads != l.heads)
    return refuse("queries and keys must have the same number of heads");
  if (Graph::shape(l.k)[2] % l.heads != 0 ||
      Graph::shape(l.v)[2] % l.heads != 0 ||
      Graph::shape(l.q) != Graph::shape(l.k))
    return refuse("its heads do not divide the features");
  l.batch = Graph::shape(l.q)[0];
  l.tokens = Graph::shape(l.q)[1];
  l.dk = Graph::shape(l.k)[2] / l.heads;
  l.dv = Graph::shape(l.v)[2] / l.heads;
  l.scale = node.getFloat("scale", 0);
  if (l.scale == 0)
    l.scale = 1 / std::sqrt(static_cast<double>(l.dk));
  if (l.decay && (Graph::rank(l.decay) != 3 ||
                  (Graph::shape(l.decay)[2] != l.heads &&
                   Graph::shape(l.decay)[2] != l.heads * l.dk)))
    return refuse(
        "its decay is neither one for each head nor one for each key");
  l.state = past ? g.state(past, node.getOutput(1), "ssm") : nullptr;
  if (!l.state)
    return refuse("its past is not a state of the model");
  return l;
}

/// Finds dt, A and x where `decay[b, t, h, n] = dt[b, t, h] A[h, n]` and `v[b,
/// t, h, p] = dt[b, t, h] x[b, t, h, p]`.
static std::optional<Steps> steps(Graph &g, const LinearAttention &l,
                                  int64_t n) {
  View d = g.view(l.decay), v = g.view(l.v);
  auto decay = d.base.getDefiningOp<onnx::NodeOp>(),
       value = v.base.getDefiningOp<onnx::NodeOp>();
  if (!decay || !value || !decay.is("Mul") || !value.is("Mul") ||
      !d.dims.isIdentity(numElements(Graph::shape(d.base))) ||
      !v.dims.isIdentity(numElements(Graph::shape(v.base))))
    return std::nullopt;
  Steps s;
  auto pair = g.either(decay, [&](Value a) { return g.isConstant(a); });
  if (!pair || numElements(Graph::shape(pair->first)) != l.heads * n ||
      (n > 1 && Graph::shape(pair->first).back() != n))
    return std::nullopt;
  s.a = pair->first;
  s.dt = pair->second;
  View dt = g.view(s.dt);
  if (!dt.dims.reshape({l.batch, l.tokens, l.heads}))
    return std::nullopt;
  auto product = g.either(value, [&](Value f) {
    View w = g.view(f);
    w.dims.expand(Graph::shape(v.base));
    if (w.base != dt.base ||
        !w.dims.reshape({l.batch, l.tokens, l.heads, l.dv}))
      return false;
    Strided repeated = dt.dims;
    repeated.dims.push_back({});
    repeated.expand({l.batch, l.tokens, l.heads, l.dv});
    return w.dims == repeated;
  });
  if (!product || Graph::shape(product->second) != Graph::shape(v.base))
    return std::nullopt;
  s.x = g.view(product->second);
  return s;
}

/// The groups of heads that share one key, from the repetition in `[batch,
/// tokens, heads * dk]`; heads when there is none.
static int64_t groupsOf(const View &v, const LinearAttention &l) {
  const auto &features = v.dims.dims[2];
  int64_t groups = 1;
  for (unsigned i = 0; i < features.size(); ++i) {
    if (features[i].stride != 0) {
      groups *= features[i].size;
      continue;
    }
    bool innermost = i + 2 == features.size() && features[i + 1].size == l.dk;
    return (innermost || (l.dk == 1 && i + 1 == features.size())) ? groups
                                                                  : l.heads;
  }
  return l.heads;
}

/// Keys or queries with the repetition left out, times `scale`.
static Value keys(Emitter &e, const View &v, const LinearAttention &l,
                  int64_t groups, double scale) {
  Lowered t = e.lower(v);
  if (!t.value)
    return {};
  if (groups != l.heads)
    t.dims = t.dims.withoutRepeats();
  Value out = e.tensor(t);
  if (scale != 1)
    out = arith::MulFOp::create(
        e.builder, e.loc, out,
        Emitter::constant(e.builder, e.loc, out.getType(), scale));
  return out;
}

/// The scan with the steps of the graph.
static std::optional<Match> withSteps(Graph &g, const ScanSurroundings &around,
                                      const LinearAttention &l) {
  if (!l.decay)
    return std::nullopt;
  bool perKey = Graph::shape(l.decay)[2] != l.heads;
  if (perKey && l.dv != 1)
    return std::nullopt;
  auto s = steps(g, l, perKey ? l.dk : 1);
  if (!s)
    return std::nullopt;
  View q = g.view(l.q), k = g.view(l.k);
  int64_t groups = groupsOf(q, l);
  if (groupsOf(k, l) != groups)
    groups = l.heads;
  if (around.skip) {
    View x = s->x, skipped = around.skipped;
    SmallVector<int64_t> flat{l.batch, l.tokens, l.heads * l.dv};
    if (numElements(Graph::shape(around.skip)) != l.heads ||
        !x.dims.reshape(flat) || !skipped.dims.reshape(flat) ||
        x.base != skipped.base || x.dims != skipped.dims)
      return std::nullopt;
    ArrayRef<int64_t> d = Graph::shape(around.skip),
                      out = Graph::shape(around.out);
    bool alongHeads = l.dv == 1
                          ? d.back() == l.heads && out.back() == l.heads
                          : d.size() >= 2 && d.back() == 1 &&
                                d[d.size() - 2] == l.heads && out.size() == 4;
    if (!alongHeads)
      return std::nullopt;
  }
  Value dt = s->dt, a = s->a;
  View x = s->x;
  auto features = [l, x](Emitter &e) -> Value {
    Value t = e.tensor(e.lower(x));
    return t ? e.reshape(t, {l.batch, l.tokens, l.heads * l.dv}) : Value();
  };
  auto dtOf = [l, dt](Emitter &e) -> Value {
    Value t = e.tensor(dt);
    return t ? e.reshape(t, {l.batch, l.tokens, l.heads}) : Value();
  };
  auto bOf = [=](Emitter &e) { return keys(e, k, l, groups, 1); };
  auto cOf = [=](Emitter &e) { return keys(e, q, l, groups, l.scale); };
  Match m;
  m.needs = {x.base, dt, q.base, k.base};
  m.covers = around.covers;
  m.states = {l.state};
  if (perKey) {
    SelectiveScan op;
    op.out = around.out;
    op.gate = around.gate;
    op.skip = around.skip;
    op.state = l.state;
    op.perm = {1, 0, 2};
    op.n = l.dk;
    op.channels = l.heads;
    op.groups = groups;
    op.u = features;
    op.dt = dtOf;
    op.a = [=](Emitter &e) { return e.weight(a, {l.heads, l.dk}, true); };
    op.b = bOf;
    op.c = cOf;
    if (op.gate)
      m.needs.push_back(op.gate);
    m.emit = [op](Emitter &e) { return emitSelectiveScan(e, op); };
    return m;
  }
  if (around.gate)
    return std::nullopt;
  SsdScan op;
  op.out = around.out;
  op.skip = around.skip;
  op.state = l.state;
  op.perm = {0, 1, 2};
  op.heads = l.heads;
  op.n = l.dk;
  op.p = l.dv;
  op.groups = groups;
  op.x = features;
  op.dt = dtOf;
  op.a = [=](Emitter &e) { return e.weight(a, {l.heads}, true); };
  op.b = bOf;
  op.c = cOf;
  m.emit = [op](Emitter &e) { return emitSsdScan(e, op); };
  return m;
}

//===----------------------------------------------------------------------===//
// Without steps
//===----------------------------------------------------------------------===//

/// The log decay as step widths for A = 1: itself, but never 0.
static Value nonZero(Emitter &e, Value g) {
  auto number = [&](double v) {
    return Emitter::constant(e.builder, e.loc, g.getType(), v);
  };
  Value small = arith::CmpFOp::create(
      e.builder, e.loc, arith::CmpFPredicate::OLT,
      math::AbsFOp::create(e.builder, e.loc, g), number(1e-30));
  return arith::SelectOp::create(e.builder, e.loc, small, number(-1e-30), g);
}

/// Each of `[batch, tokens, heads * width]` repeated along the other axis of
/// `[heads, dk, dv]`.
static Value overState(Emitter &e, Value v, const LinearAttention &l,
                       bool alongKeys) {
  Lowered t = e.lower(v);
  if (!t.value)
    return {};
  SmallVector<int64_t> axes{l.batch, l.tokens, l.heads, alongKeys ? l.dk : 1,
                            alongKeys ? 1 : l.dv};
  SmallVector<int64_t> flat{l.batch, l.tokens, l.heads * l.dk * l.dv};
  if (!t.dims.reshape(axes))
    t = {e.reshape(e.tensor(t), axes), Strided::identity(axes)};
  t.dims.expand({l.batch, l.tokens, l.heads, l.dk, l.dv});
  return e.tensor(t, {0, 1, 2, 3, 4}, flat);
}

static Value ones(Emitter &e, int64_t n) {
  SmallVector<double> values(n, 1.0);
  return e.table(
      "ones." + std::to_string(n), values,
      [&](ArrayRef<double> have) { return have == ArrayRef(values); });
}

static LogicalResult emitPerHead(Emitter &e, const LinearAttention &l) {
  View q = e.graph.view(l.q), k = e.graph.view(l.k);
  int64_t groups = groupsOf(q, l);
  if (groupsOf(k, l) != groups)
    groups = l.heads;
  Value dt;
  SmallVector<int64_t> byHead{l.batch, l.tokens, l.heads};
  if (l.decay) {
    dt = e.tensor(l.decay);
    if (dt)
      dt = nonZero(e, dt);
  } else {
    dt = Emitter::constant(e.builder, e.loc, e.f32(byHead), -1e-30);
  }
  Value v = e.tensor(l.v);
  if (!v || !dt)
    return failure();
  Lowered repeated{dt, Strided::identity(byHead)};
  repeated.dims.reshape({l.batch, l.tokens, l.heads, 1});
  repeated.dims.expand({l.batch, l.tokens, l.heads, l.dv});
  Value width = e.reshape(e.tensor(repeated), Graph::shape(l.v));
  Value x = arith::DivFOp::create(e.builder, e.loc, v, width);
  SsdScan op;
  op.out = l.node->getResult(0);
  op.state = l.state;
  op.perm = {0, 1, 2};
  op.heads = l.heads;
  op.n = l.dk;
  op.p = l.dv;
  op.groups = groups;
  op.x = [=](Emitter &) { return x; };
  op.dt = [=](Emitter &) { return dt; };
  op.a = [=](Emitter &em) { return ones(em, l.heads); };
  op.b = [=](Emitter &em) { return keys(em, k, l, groups, 1); };
  op.c = [=](Emitter &em) { return keys(em, q, l, groups, l.scale); };
  return emitSsdScan(e, op);
}

static LogicalResult emitPerKey(Emitter &e, const LinearAttention &l) {
  Value k = overState(e, l.k, l, true), q = overState(e, l.q, l, true),
        dt = overState(e, l.decay, l, true), v = overState(e, l.v, l, false);
  if (!k || !q || !dt || !v)
    return failure();
  dt = nonZero(e, dt);
  int64_t channels = l.heads * l.dk * l.dv;
  Value u = arith::DivFOp::create(e.builder, e.loc, v, dt);
  auto type = eff::StateType::get(e.builder.getContext(), eff::StateKind::Ssm,
                                  {1, channels}, e.builder.getF32Type());
  Value state = e.state(*l.state, type, {0, 1, 2});
  SmallVector<double> values(channels, 1.0);
  auto matrix = eff::WeightType::get(e.builder.getContext(), {channels, 1},
                                     TypeAttr::get(e.builder.getF32Type()),
                                     eff::Layout::RowMajor);
  Value a =
      state
          ? e.table(
                "ones." + std::to_string(channels) + "x1", values,
                [&](ArrayRef<double> have) { return have == ArrayRef(values); },
                matrix)
          : Value();
  if (!a)
    return failure();
  Value y = eff::SsmScanOp::create(e.builder, e.loc, u.getType(), u, dt, a, k,
                                   q, state, Value(), Value(), channels);
  y = e.reshape(y, {l.batch, l.tokens, l.heads, l.dk, l.dv});
  y = e.reduce(y, {3}, 0,
               [](OpBuilder &b, Location loc, ValueRange s) -> Value {
                 return arith::AddFOp::create(b, loc, s[0], s[1]);
               });
  if (l.scale != 1)
    y = arith::MulFOp::create(
        e.builder, e.loc, y,
        Emitter::constant(e.builder, e.loc, y.getType(), l.scale));
  e.define(l.node->getResult(0),
           e.reshape(y, Graph::shape(l.node->getResult(0))));
  return success();
}

static std::optional<Match> linearAttention(Graph &g, onnx::NodeOp root) {
  auto around = surroundings(g, root, isLinearAttention);
  auto l = around ? read(g, around->scan) : std::nullopt;
  if (!l)
    return std::nullopt;
  if (auto m = withSteps(g, *around, *l))
    return m;
  if (around->scan != root)
    return std::nullopt;
  Match m;
  m.needs = {l->q, l->k, l->v};
  if (l->decay)
    m.needs.push_back(l->decay);
  m.covers = {root};
  m.states = {l->state};
  bool perKey = l->decay && Graph::shape(l->decay)[2] != l->heads;
  LinearAttention copy = *l;
  m.emit = [copy, perKey](Emitter &e) {
    return perKey ? emitPerKey(e, copy) : emitPerHead(e, copy);
  };
  return m;
}

void effc::raise::addLinearAttentionPatterns(
    std::vector<RaisePattern> &patterns) {
  patterns.push_back(linearAttention);
}
