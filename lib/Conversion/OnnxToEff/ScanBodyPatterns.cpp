//===- ScanBodyPatterns.cpp - scans spelled out in plain ONNX -------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A selective scan as an ONNX `Scan` over the tokens, and a causal convolution
/// as `Concat(state, x)`, a depthwise `Conv` and a `Slice` of the last columns.
///
//===----------------------------------------------------------------------===//

#include "Scan.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace effc;
using namespace effc::raise;

//===----------------------------------------------------------------------===//
// Causal convolution
//===----------------------------------------------------------------------===//

/// `v` holds the last `columns` columns of `concat`.
static bool isTail(Graph &g, Value v, Value concat, int64_t columns) {
  auto slice = g.node(v, "Slice");
  if (!slice || g.strip(slice.getInput(0)) != concat)
    return false;
  auto starts = g.ints(slice.getInput(1)), axes = g.ints(slice.getInput(3)),
       steps = g.ints(slice.getInput(4));
  int64_t extent = Graph::shape(concat)[2];
  if (!starts || starts->size() != 1 || !axes ||
      ((*axes)[0] != 2 && (*axes)[0] != -1) || (steps && (*steps)[0] != 1) ||
      Graph::shape(v)[2] != columns)
    return false;
  int64_t start = (*starts)[0] < 0 ? (*starts)[0] + extent : (*starts)[0];
  return start == extent - columns;
}

static std::optional<Match> causalConv(Graph &g, onnx::NodeOp root) {
  SmallVector<Operation *> covers;
  Value inner = matchSilu(g, root->getResult(0), covers);
  onnx::NodeOp conv = inner ? g.node(inner, "Conv") : root;
  bool silu = static_cast<bool>(inner);
  if (!conv || !conv.is("Conv") || Graph::rank(conv.getInput(0)) != 3)
    return std::nullopt;
  // Nothing but the activation may read the convolution: its state moves once.
  if (silu)
    for (Operation *user : conv->getUsers())
      if (!llvm::is_contained(covers, user))
        return std::nullopt;
  covers.push_back(conv);
  Value xp = g.strip(conv.getInput(0)), w = conv.getInput(1),
        b = conv.getInput(2);
  auto concat = g.node(xp, "Concat");
  int64_t channels = Graph::shape(xp)[1], k = Graph::shape(w)[2];
  auto ones = [&](StringRef name, int64_t value) {
    auto list = conv.getInts(name);
    return !list || llvm::all_of(*list, [&](int64_t x) { return x == value; });
  };
  if (!concat || concat->getNumOperands() != 2 ||
      Graph::axis(concat, 0, 3) != 2 || conv.getInt("group", 1) != channels ||
      !ones("strides", 1) || !ones("dilations", 1) || !ones("pads", 0) ||
      conv.getString("auto_pad", "NOTSET") != "NOTSET" || !g.isConstant(w) ||
      Graph::shape(w)[0] != channels ||
      (b && !g.isFeatureVector(b, channels)) || k < 2 ||
      !g.isState(concat.getInput(0)) ||
      Graph::shape(concat.getInput(0))[2] != k - 1)
    return std::nullopt;
  State *state = g.state(concat.getInput(0), Value(), "conv");
  if (!state || !state->present || !isTail(g, state->present, xp, k - 1)) {
    g.note(conv, "its state is not the last " + Twine(k - 1) +
                     " columns of what it reads");
    return std::nullopt;
  }
  covers.push_back(concat);
  Value x = concat.getInput(1), out = root->getResult(0);
  int64_t batch = Graph::shape(x)[0], tokens = Graph::shape(x)[2];
  Match m;
  m.needs = {x};
  m.covers = covers;
  m.states = {state};
  m.emit = [=](Emitter &e) {
    Value t = e.tensor(x, {0, 2, 1}, {batch, tokens, channels});
    Value weight = t ? e.weight(w, {channels, k}, true) : Value();
    Value bias = b ? e.weight(b, {channels}) : Value();
    auto type =
        eff::StateType::get(e.builder.getContext(), eff::StateKind::Conv,
                            {k - 1, channels}, e.builder.getF32Type());
    Value s = weight && (!b || bias) ? e.state(*state, type, {1, 0}) : Value();
    if (!s)
      return failure();
    Value y = eff::CausalConv1DOp::create(
        e.builder, e.loc, t.getType(), t, weight, s, bias,
        silu ? eff::Activation::SiLU : eff::Activation::None);
    e.define(out, y, {batch, tokens, channels}, {0, 2, 1});
    return success();
  };
  return m;
}

//===----------------------------------------------------------------------===//
// Scan
//===----------------------------------------------------------------------===//

namespace {
/// The body of a selective scan: which scanned inputs are what, by their
/// number.
struct Body {
  unsigned dt = 0, u = 0, b = 0, c = 0;
  Value a, skip; ///< constants from outside; skip may be null
};

/// Reads one body.
class BodyReader {
public:
  BodyReader(Graph &g, Block &body, unsigned states)
      : g(g), body(body), states(states) {}

  std::optional<Body> read() {
    auto yield = dyn_cast<onnx::YieldOp>(body.getTerminator());
    if (!yield || yield.getNumOperands() != 2)
      return std::nullopt;
    Value next = g.strip(yield.getOperand(0)), y = g.strip(yield.getOperand(1));
    return state(next) && output(y, next) ? std::optional(out) : std::nullopt;
  }

private:
  /// The scanned input under layout ops, or nullopt.
  std::optional<unsigned> input(Value v) {
    auto arg = dyn_cast<BlockArgument>(g.view(v).base);
    if (!arg || arg.getOwner() != &body || arg.getArgNumber() < states)
      return std::nullopt;
    return arg.getArgNumber() - states;
  }
  bool isRow(Value v, int64_t rank, int64_t broadcast) {
    // [batch, d, 1] or [batch, 1, n]: which dimension is repeated
    return Graph::rank(v) == rank && Graph::shape(v)[broadcast] == 1;
  }

  /// next = h exp(dt A) + (dt u) b
  bool state(Value next) {
    auto add = g.node(next, "Add");
    auto kept = g.either(add, [&](Value v) {
      return static_cast<bool>(g.either(g.node(v, "Mul"), [&](Value h) {
        return g.strip(h) == body.getArgument(0);
      }));
    });
    if (!kept)
      return false;
    auto decay = g.either(g.node(kept->first, "Mul"), [&](Value h) {
      return g.strip(h) == body.getArgument(0);
    });
    auto exp = g.node(decay->second, "Exp");
    auto rate = exp ? g.either(g.node(exp.getInput(0), "Mul"),
                               [&](Value a) { return g.isConstant(a); })
                    : std::nullopt;
    std::optional<unsigned> dt = rate ? input(rate->second) : std::nullopt;
    if (!dt || Graph::rank(rate->first) != 2 || !isRow(rate->second, 3, 2))
      return false;
    out.a = rate->first;
    out.dt = *dt;
    // A product of dt, u and b in any order; b lies along the state, the others
    // along the channels.
    bool seen[3] = {};
    return factors(kept->second, seen) && seen[0] && seen[1] && seen[2];
  }

  bool factors(Value v, bool (&seen)[3]) {
    if (std::optional<unsigned> i = input(v)) {
      bool alongState = Graph::rank(v) == 3 && Graph::shape(v)[1] == 1 &&
                        Graph::shape(v)[2] != 1;
      unsigned role = alongState ? 2 : *i == out.dt ? 0 : 1;
      if (seen[role])
        return false;
      seen[role] = true;
      (role == 1 ? out.u : role == 2 ? out.b : out.dt) = *i;
      return true;
    }
    // The product may be formed before its dimension is added.
    auto mul = g.view(v).base.getDefiningOp<onnx::NodeOp>();
    return mul && mul.is("Mul") && factors(mul.getInput(0), seen) &&
           factors(mul.getInput(1), seen);
  }

  /// y = sum over the state of next c, and u D
  bool output(Value y, Value next) {
    if (auto add = g.node(y, "Add")) {
      auto sum = g.either(add, [&](Value v) {
        return static_cast<bool>(g.node(v, "ReduceSum"));
      });
      auto skip = sum ? g.either(g.node(sum->second, "Mul"),
                                 [&](Value d) { return g.isConstant(d); })
                      : std::nullopt;
      if (!skip || input(skip->second) != std::optional(out.u) ||
          g.view(skip->second).base != g.strip(skip->second))
        return false;
      out.skip = skip->first;
      y = sum->first;
    }
    auto reduce = g.node(y, "ReduceSum");
    auto axes = reduce ? g.axes(reduce, 1, 3) : std::nullopt;
    auto product = axes && axes->size() == 1 && (*axes)[0] == 2
                       ? g.either(g.node(reduce.getInput(0), "Mul"),
                                  [&](Value h) { return g.strip(h) == next; })
                       : std::nullopt;
    std::optional<unsigned> c = product ? input(product->second) : std::nullopt;
    if (!c || !isRow(product->second, 3, 1))
      return false;
    out.c = *c;
    return true;
  }

  Graph &g;
  Block &body;
  unsigned states;
  Body out;
};
} // namespace

static std::optional<Match> scan(Graph &g, onnx::NodeOp root) {
  if (!root.is("Scan") || root->getNumRegions() != 1 ||
      root->getNumResults() != 2 || root.getInt("num_scan_inputs", 0) != 4 ||
      root->getNumOperands() != 5)
    return std::nullopt;
  auto refuse = [&](const Twine &why) -> std::optional<Match> {
    g.note(root, why);
    return std::nullopt;
  };
  Block &block = root->getRegion(0).front();
  if (block.getNumArguments() != 5)
    return std::nullopt;
  auto body = BodyReader(g, block, 1).read();
  if (!body)
    return refuse("its body is not a selective scan");
  for (StringRef name : {"scan_input_directions", "scan_output_directions"})
    if (auto list = root.getInts(name);
        list && llvm::any_of(*list, [](int64_t d) { return d != 0; }))
      return refuse("it runs backwards");
  auto inputAxes = root.getInts("scan_input_axes"),
       outputAxes = root.getInts("scan_output_axes");
  Value past = root.getInput(0);
  if (Graph::rank(past) != 3)
    return std::nullopt;
  int64_t batch = Graph::shape(past)[0], channels = Graph::shape(past)[1],
          n = Graph::shape(past)[2];
  int64_t tokens = g.options.tokens;
  // Token-first or batch-first: which permutation makes [batch, tokens, width]
  // of each.
  auto permOf = [&](unsigned i) -> SmallVector<int64_t> {
    int64_t axis = inputAxes && i < inputAxes->size() ? (*inputAxes)[i] : 0;
    return axis == 0 || axis == -3 ? SmallVector<int64_t>{1, 0, 2}
                                   : SmallVector<int64_t>{0, 1, 2};
  };
  auto fits = [&](unsigned i, int64_t width) {
    Value v = root.getInput(1 + i);
    SmallVector<int64_t> perm = permOf(i);
    return Graph::rank(v) == 3 && Graph::shape(v)[perm[0]] == batch &&
           Graph::shape(v)[perm[1]] == tokens && Graph::shape(v)[2] == width;
  };
  if (!fits(body->dt, channels) || !fits(body->u, channels) ||
      !fits(body->b, n) || !fits(body->c, n) || body->dt == body->u ||
      body->b == body->c ||
      Graph::shape(body->a) != ArrayRef<int64_t>{channels, n} ||
      (body->skip && !g.isFeatureVector(body->skip, channels)))
    return refuse("its operands do not have the shapes of a selective scan");
  SelectiveScan op;
  op.state = g.state(past, root->getResult(0), "ssm");
  if (!op.state)
    return refuse("its past is not a state of the model");
  int64_t outAxis = outputAxes && !outputAxes->empty() ? (*outputAxes)[0] : 0;
  SmallVector<int64_t> outPerm = outAxis == 0 || outAxis == -3
                                     ? SmallVector<int64_t>{1, 0, 2}
                                     : SmallVector<int64_t>{0, 1, 2};
  op.out = root->getResult(1);
  op.skip = body->skip;
  op.perm = {1, 0};
  op.n = n;
  op.channels = channels;
  auto read = [&](unsigned i, int64_t width) {
    Value v = root.getInput(1 + i);
    SmallVector<int64_t> perm = permOf(i);
    return
        [=](Emitter &e) { return e.tensor(v, perm, {batch, tokens, width}); };
  };
  op.u = read(body->u, channels);
  op.dt = read(body->dt, channels);
  op.b = read(body->b, n);
  op.c = read(body->c, n);
  Value a = body->a;
  op.a = [=](Emitter &e) { return e.weight(a, {channels, n}, true); };
  Match m;
  for (unsigned i = 1; i < 5; ++i)
    m.needs.push_back(root.getInput(i));
  m.covers = {root};
  m.states = {op.state};
  m.emit = [op, outPerm, batch, tokens, channels](Emitter &e) {
    if (failed(emitSelectiveScan(e, op)))
      return failure();
    if (outPerm[0] != 0) // the result is [tokens, batch, channels]
      e.define(op.out, e.lower(op.out).value, {batch, tokens, channels},
               outPerm);
    return success();
  };
  return m;
}

void effc::raise::addScanBodyPatterns(std::vector<RaisePattern> &patterns) {
  patterns.insert(patterns.end(), {causalConv, scan});
}
