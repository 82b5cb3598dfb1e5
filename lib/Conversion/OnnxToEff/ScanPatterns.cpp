//===- ScanPatterns.cpp - ai.effc scans and causal convolutions -----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Scan.h"

using namespace mlir;
using namespace effc;
using namespace effc::raise;

//===----------------------------------------------------------------------===//
// What surrounds a scan
//===----------------------------------------------------------------------===//

std::optional<ScanSurroundings>
effc::raise::surroundings(Graph &g, onnx::NodeOp root,
                          function_ref<bool(onnx::NodeOp)> isScan) {
  ScanSurroundings s;
  s.out = root->getResult(0);
  // The scan under a value, past layout ops.
  auto scanUnder = [&](Value v) {
    View y = g.view(v);
    auto node = y.base.getDefiningOp<onnx::NodeOp>();
    bool plain = node && y.base == node->getResult(0) &&
                 y.dims.isIdentity(numElements(Graph::shape(y.base)));
    return plain && isScan(node) ? node : onnx::NodeOp();
  };
  auto sum = [&](Value v) {
    auto add = g.node(v, "Add");
    auto pair =
        g.either(add, [&](Value y) { return static_cast<bool>(scanUnder(y)); });
    if (!pair || !g.strip(pair->first).hasOneUse())
      return false;
    onnx::NodeOp scan = scanUnder(pair->first);
    auto mul = g.node(pair->second, "Mul");
    auto product = g.either(mul, [&](Value d) { return g.isConstant(d); });
    if (!product || !scan->getResult(0).hasOneUse())
      return false;
    s.scan = scan;
    s.skip = product->first;
    s.skipped = g.view(product->second);
    s.covers.append({add, mul, scan});
    return true;
  };
  if (isScan(root)) {
    s.scan = root;
    s.covers = {root};
    return s;
  }
  if (root.is("Add"))
    return sum(root->getResult(0)) ? std::optional(s) : std::nullopt;
  if (!root.is("Mul"))
    return std::nullopt;
  // (y + D u) * silu(z), or y * silu(z)
  Value z;
  SmallVector<Operation *> gateCovers;
  auto pair = g.either(root, [&](Value v) {
    gateCovers.clear();
    return static_cast<bool>(z = matchSilu(g, v, gateCovers));
  });
  if (!pair)
    return std::nullopt;
  Value y = pair->second;
  s.gate = z;
  s.covers = gateCovers;
  s.covers.push_back(root);
  if (sum(y) && g.strip(y).hasOneUse())
    return s;
  s.skip = Value();
  s.scan = scanUnder(y);
  if (!s.scan || !s.scan->getResult(0).hasOneUse())
    return std::nullopt;
  s.covers = gateCovers;
  s.covers.append({root, s.scan});
  return s;
}

//===----------------------------------------------------------------------===//
// Building
//===----------------------------------------------------------------------===//

void ScanResult::define(Emitter &e, Value out, Value y) const {
  shape.empty() ? e.define(out, y) : e.define(out, y, shape, perm);
}

LogicalResult effc::raise::emitSelectiveScan(Emitter &e,
                                             const SelectiveScan &s) {
  Value u = s.u(e), dt = s.dt(e), a = s.a(e), b = s.b(e), c = s.c(e);
  if (!u || !dt || !a || !b || !c)
    return failure();
  auto type = eff::StateType::get(e.builder.getContext(), eff::StateKind::Ssm,
                                  {s.n, s.channels}, e.builder.getF32Type());
  Value state = s.state ? e.state(*s.state, type, s.perm) : Value();
  Value skip = s.skip ? e.weight(s.skip, {s.channels}) : Value(), gate;
  if ((s.state && !state) || (s.skip && !skip))
    return failure();
  if (s.gate) {
    gate = e.tensor(s.gate);
    if (!gate)
      return failure();
    gate = e.reshape(gate, cast<RankedTensorType>(u.getType()).getShape());
  }
  Value y = eff::SsmScanOp::create(e.builder, e.loc, u.getType(), u, dt, a, b,
                                   c, state, skip, gate, s.groups);
  s.y.define(e, s.out, y);
  return success();
}

LogicalResult effc::raise::emitSsdScan(Emitter &e, const SsdScan &s) {
  Value x = s.x(e), dt = s.dt(e), a = s.a(e), b = s.b(e), c = s.c(e);
  if (!x || !dt || !a || !b || !c)
    return failure();
  auto type = eff::StateType::get(e.builder.getContext(), eff::StateKind::Ssd,
                                  {s.heads, s.n, s.p}, e.builder.getF32Type());
  Value state = e.state(*s.state, type, s.perm);
  Value skip = s.skip ? e.weight(s.skip, {s.heads}) : Value();
  if (!state || (s.skip && !skip))
    return failure();
  Value y = eff::SsdScanOp::create(e.builder, e.loc, x.getType(), x, dt, a, b,
                                   c, state, skip, s.heads, s.groups, s.chunk);
  s.y.define(e, s.out, y);
  return success();
}

//===----------------------------------------------------------------------===//
// ai.effc
//===----------------------------------------------------------------------===//

static bool isZero(Graph &g, Value v) {
  auto values = g.numbers(v);
  return values && llvm::all_of(*values, [](double x) { return x == 0; });
}

static std::optional<Match> selectiveScan(Graph &g, onnx::NodeOp root) {
  auto s = surroundings(
      g, root, [](onnx::NodeOp n) { return n.is("SelectiveScan", "ai.effc"); });
  if (!s)
    return std::nullopt;
  onnx::NodeOp scan = s->scan;
  Value u = scan.getInput(0), dt = scan.getInput(1), a = scan.getInput(2),
        b = scan.getInput(3), c = scan.getInput(4), past = scan.getInput(5);
  if (!u || !dt || !a || !b || !c || !past || Graph::rank(u) != 3 ||
      Graph::shape(dt) != Graph::shape(u) || Graph::rank(b) != 4 ||
      Graph::rank(a) != 2)
    return std::nullopt;
  int64_t batch = Graph::shape(u)[0], tokens = Graph::shape(u)[1];
  SelectiveScan op;
  op.channels = Graph::shape(u)[2];
  op.groups = Graph::shape(b)[2];
  op.n = Graph::shape(b)[3];
  op.perm = {1, 0};
  if (!g.isConstant(a) || Graph::shape(b) != Graph::shape(c) ||
      op.channels % op.groups != 0) {
    g.note(
        scan,
        "the decay is not constant, or the groups do not divide the channels");
    return std::nullopt;
  }
  if (s->skip &&
      (!g.isFeatureVector(s->skip, op.channels) ||
       s->skipped.base != g.view(u).base || s->skipped.dims != g.view(u).dims))
    return std::nullopt;
  // A model that goes forward keeps nothing: the scan starts at zero.
  bool fresh = g.options.kind == eff::EntryKind::Forward &&
               g.isConstant(past) && isZero(g, past) &&
               (!scan.getOutput(1) || scan.getOutput(1).use_empty());
  op.state = fresh ? nullptr : g.state(past, scan.getOutput(1), "ssm");
  if (!op.state && !fresh) {
    g.note(scan, "its past is not a state of the model");
    return std::nullopt;
  }
  op.out = s->out;
  op.gate = s->gate;
  op.skip = s->skip;
  int64_t channels = op.channels, n = op.n, width = op.groups * op.n;
  op.u = [=](Emitter &e) { return e.tensor(u); };
  op.dt = [=](Emitter &e) { return e.tensor(dt); };
  op.a = [=](Emitter &e) { return e.weight(a, {channels, n}, true); };
  op.b = [=](Emitter &e) {
    return e.tensor(b, {0, 1, 2, 3}, {batch, tokens, width});
  };
  op.c = [=](Emitter &e) {
    return e.tensor(c, {0, 1, 2, 3}, {batch, tokens, width});
  };
  Match m;
  m.needs = {u, dt, b, c};
  if (s->gate)
    m.needs.push_back(s->gate);
  m.covers = s->covers;
  if (op.state)
    m.states = {op.state};
  m.emit = [op](Emitter &e) { return emitSelectiveScan(e, op); };
  return m;
}

/// D of a Mamba-2 skip: one number a head, repeated over the head's features.
static bool isHeadVector(Graph &g, Value d, int64_t heads) {
  return g.isConstant(d) && Graph::isFloat(d) &&
         numElements(Graph::shape(d)) == heads;
}

static std::optional<Match> ssdScan(Graph &g, onnx::NodeOp root) {
  auto s = surroundings(
      g, root, [](onnx::NodeOp n) { return n.is("SSDScan", "ai.effc"); });
  if (!s || s->gate)
    return std::nullopt;
  onnx::NodeOp scan = s->scan;
  Value x = scan.getInput(0), dt = scan.getInput(1), a = scan.getInput(2),
        b = scan.getInput(3), c = scan.getInput(4), past = scan.getInput(5);
  if (!x || !dt || !a || !b || !c || !past || Graph::rank(x) != 4 ||
      Graph::rank(dt) != 3 || Graph::rank(b) != 4)
    return std::nullopt;
  ArrayRef<int64_t> shape = Graph::shape(x);
  SsdScan op;
  op.heads = shape[2];
  op.p = shape[3];
  op.groups = Graph::shape(b)[2];
  op.n = Graph::shape(b)[3];
  op.perm = {0, 2, 1};
  if (int64_t chunk = scan.getInt("chunk_size", 0); chunk > 0)
    op.chunk = chunk;
  if (!isHeadVector(g, a, op.heads) || Graph::shape(b) != Graph::shape(c) ||
      op.heads % op.groups != 0) {
    g.note(scan,
           "the decay is not constant, or the groups do not divide the heads");
    return std::nullopt;
  }
  if (s->skip) {
    // [heads, 1] against [batch, tokens, heads, p]
    ArrayRef<int64_t> d = Graph::shape(s->skip);
    bool alongHeads =
        d.size() >= 2 && d.back() == 1 && d[d.size() - 2] == op.heads;
    View same = g.view(x);
    if (!isHeadVector(g, s->skip, op.heads) || !alongHeads ||
        s->skipped.base != same.base || s->skipped.dims != same.dims)
      return std::nullopt;
  }
  op.state = g.state(past, scan.getOutput(1), "ssm");
  if (!op.state) {
    g.note(scan, "its past is not a state of the model");
    return std::nullopt;
  }
  op.out = s->out;
  op.skip = s->skip;
  int64_t batch = shape[0], tokens = shape[1], features = op.heads * op.p,
          heads = op.heads, width = op.groups * op.n;
  op.x = [=](Emitter &e) {
    return e.tensor(x, {0, 1, 2, 3}, {batch, tokens, features});
  };
  op.dt = [=](Emitter &e) {
    return e.tensor(dt, {0, 1, 2}, {batch, tokens, heads});
  };
  op.a = [=](Emitter &e) { return e.weight(a, {heads}, true); };
  op.b = [=](Emitter &e) {
    return e.tensor(b, {0, 1, 2, 3}, {batch, tokens, width});
  };
  op.c = [=](Emitter &e) {
    return e.tensor(c, {0, 1, 2, 3}, {batch, tokens, width});
  };
  Match m;
  m.needs = {x, dt, b, c};
  m.covers = s->covers;
  m.states = {op.state};
  m.emit = [op](Emitter &e) { return emitSsdScan(e, op); };
  return m;
}

Match effc::raise::matchCausalConv(const CausalConv &conv,
                                   ArrayRef<Operation *> covers) {
  Match m;
  m.needs = {conv.x};
  m.covers.assign(covers.begin(), covers.end());
  m.states = {conv.state};
  m.emit = [conv](Emitter &e) {
    ArrayRef<int64_t> shape = Graph::shape(conv.x);
    int64_t batch = shape[0], tokens = shape[conv.perm[1]],
            channels = shape[conv.perm[2]],
            k = Graph::shape(conv.weight).back();
    Value x = e.tensor(conv.x, conv.perm, {batch, tokens, channels});
    Value weight = x ? e.weight(conv.weight, {channels, k}, true) : Value();
    Value bias = conv.bias ? e.weight(conv.bias, {channels}) : Value();
    auto type =
        eff::StateType::get(e.builder.getContext(), eff::StateKind::Conv,
                            {k - 1, channels}, e.builder.getF32Type());
    Value state = weight && (!conv.bias || bias)
                      ? e.state(*conv.state, type, {1, 0})
                      : Value();
    if (!state)
      return failure();
    Value y = eff::CausalConv1DOp::create(
        e.builder, e.loc, x.getType(), x, weight, state, bias,
        conv.silu ? eff::Activation::SiLU : eff::Activation::None);
    e.define(conv.out, y, {batch, tokens, channels}, conv.perm);
    return success();
  };
  return m;
}

/// CausalConv1d of ai.effc; CausalConvWithState of ai.onnx 27 and
/// com.microsoft.
static std::optional<Match> causalConv(Graph &g, onnx::NodeOp root) {
  bool ours = root.is("CausalConv1d", "ai.effc");
  bool contrib = root.is("CausalConvWithState", "com.microsoft");
  if (!ours && !contrib && !root.is("CausalConvWithState"))
    return std::nullopt;
  auto refuse = [&](const Twine &why) -> std::optional<Match> {
    g.note(root, why);
    return std::nullopt;
  };
  Value x = root.getInput(0), w = root.getInput(1), b = root.getInput(2),
        past = root.getInput(3);
  if (!x || !w || !past || Graph::rank(x) != 3 || Graph::rank(w) != 3)
    return refuse(
        "it has no past state, or more than one dimension to convolve");
  bool last = contrib && root.getInt("channels_last", 0) != 0;
  if (contrib &&
      (root.getInt("ndim", 1) != 1 || root.getInt("dilation", 1) != 1 ||
       root.getInt("state_window", 0) != 0))
    return refuse("ndim, dilation and state_window are not supported");
  StringRef activation = root.getString("activation", ours ? "silu" : "none");
  if (activation != "none" && activation != "silu" && activation != "swish")
    return refuse("its activation is neither none nor silu");
  SmallVector<int64_t> perm =
      last ? SmallVector<int64_t>{0, 1, 2} : SmallVector<int64_t>{0, 2, 1};
  ArrayRef<int64_t> shape = Graph::shape(x);
  int64_t channels = shape[perm[2]], k = Graph::shape(w).back();
  if (!g.isConstant(w) || Graph::shape(w)[0] != channels ||
      Graph::shape(w)[1] != 1 || k < 2 ||
      (b && !g.isFeatureVector(b, channels)))
    return refuse("its weight or bias is not constant, or not depthwise");
  State *state = g.state(past, root.getOutput(1), "conv");
  if (!state)
    return refuse("its past is not a state of the model");
  return matchCausalConv(
      {x, w, b, root->getResult(0), perm, state, activation != "none"}, {root});
}

void effc::raise::addScanPatterns(std::vector<RaisePattern> &patterns) {
  patterns.insert(patterns.end(), {selectiveScan, ssdScan, causalConv});
}
