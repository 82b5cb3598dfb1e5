//===- RecurrenceConv.cpp - causal convolutions spelled out ---------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Two shapes: a depthwise `Conv` that is padded and cut to the length of its
/// input, and one step on a window of the last columns, `ReduceSum(window *
/// w)`. That the window is the state without its oldest column and the new one
/// behind it is found by moving numbers through the graph.
///
//===----------------------------------------------------------------------===//

#include "Recurrence.h"

#include "effc/Frontend/ONNX/Eval.h"

using namespace mlir;
using namespace effc;
using namespace effc::raise;
using onnx::HostTensor;

/// The SiLU of `v` that is all that reads it; null when there is none.
static Value siluOf(Graph &g, Value v) {
  for (Operation *user : v.getUsers()) {
    auto mul = dyn_cast<onnx::NodeOp>(user);
    if (!mul || !mul.is("Mul"))
      continue;
    auto pair = g.either(mul, [&](Value x) { return x == v; });
    auto sigmoid =
        pair ? pair->second.getDefiningOp<onnx::NodeOp>() : onnx::NodeOp();
    if (!sigmoid || !sigmoid.is("Sigmoid") || sigmoid.getInput(0) != v)
      continue;
    bool alone = llvm::all_of(
        v.getUsers(), [&](Operation *u) { return u == user || u == sigmoid; });
    if (alone)
      return mul->getResult(0);
  }
  return {};
}

/// `v` seen as [batch, tokens, channels] from [batch, channels, tokens].
static View tokensFirst(Value v) {
  View out{v, Strided::identity(Graph::shape(v))};
  out.dims.transpose({0, 2, 1});
  return out;
}

static bool allAre(std::optional<SmallVector<int64_t>> list, int64_t value) {
  return !list || llvm::all_of(*list, [&](int64_t x) { return x == value; });
}

static void withSilu(Graph &g, ConvRoles &r) {
  // Mamba-2 brings the tokens to the front before the activation.
  if (r.result.hasOneUse() && Graph::rank(r.result) == 3)
    if (auto t = dyn_cast<onnx::NodeOp>(*r.result.getUsers().begin());
        t && t.is("Transpose"))
      if (auto perm = t.getInts("perm");
          perm && ArrayRef(*perm) == ArrayRef<int64_t>{0, 2, 1} &&
          siluOf(g, t->getResult(0))) {
        r.result = t->getResult(0);
        r.y.base = r.result;
        r.y.dims = Strided::identity(Graph::shape(r.result));
        if (r.tokens == 1 && Graph::shape(r.result)[1] != 1)
          r.y.dims.transpose({0, 2, 1});
      }
  if (Value silu = siluOf(g, r.result)) {
    r.y.base = silu;
    r.result = silu;
    r.silu = true;
  }
}

static std::optional<ConvRoles> padded(Graph &g, onnx::NodeOp conv) {
  if (!conv.is("Conv") || Graph::rank(conv.getInput(0)) != 3)
    return std::nullopt;
  Value x = conv.getInput(0), w = conv.getInput(1);
  int64_t channels = Graph::shape(x)[1], tokens = Graph::shape(x)[2],
          k = Graph::shape(w)[2];
  if (conv.getInt("group", 1) != channels || !g.isConstant(w) ||
      Graph::shape(w)[0] != channels || Graph::shape(w)[1] != 1 || k < 2 ||
      !allAre(conv.getInts("strides"), 1) ||
      !allAre(conv.getInts("dilations"), 1) ||
      conv.getString("auto_pad", "NOTSET") != "NOTSET" || g.isConstant(x))
    return std::nullopt;
  auto given = conv.getInts("pads");
  SmallVector<int64_t> pads = given ? *given : SmallVector<int64_t>{0, 0};
  // Pad before Conv is the same.
  if (auto pad = x.getDefiningOp<onnx::NodeOp>();
      pad && pad.is("Pad") && allAre(given, 0)) {
    auto by = g.ints(pad.getInput(1));
    bool zero = !pad.getInput(2) || g.isScalar(pad.getInput(2), 0, 0);
    if (by && by->size() == 6 && zero &&
        pad.getString("mode", "constant") == "constant" && (*by)[0] == 0 &&
        (*by)[1] == 0 && (*by)[3] == 0 && (*by)[4] == 0) {
      pads = {(*by)[2], (*by)[5]};
      x = pad.getInput(0);
      tokens = Graph::shape(x)[2];
    }
  }
  if (pads.size() != 2 || pads[0] != k - 1 ||
      (conv.getInput(2) && !g.isFeatureVector(conv.getInput(2), channels)))
    return std::nullopt;
  Value result = conv->getResult(0);
  if (pads[1] > 0) {
    if (!result.hasOneUse())
      return std::nullopt;
    auto slice = dyn_cast<onnx::NodeOp>(*result.getUsers().begin());
    if (!slice || !slice.is("Slice") ||
        Graph::shape(slice->getResult(0))[2] != tokens)
      return std::nullopt;
    auto starts = g.ints(slice.getInput(1)), axes = g.ints(slice.getInput(3)),
         steps = g.ints(slice.getInput(4));
    if (!starts || !allAre(starts, 0) || (steps && !allAre(steps, 1)) ||
        Graph::shape(slice->getResult(0))[1] != channels)
      return std::nullopt;
    result = slice->getResult(0);
  }
  if (Graph::shape(result)[2] != tokens)
    return std::nullopt;
  ConvRoles r;
  r.root = conv;
  r.batch = Graph::shape(x)[0];
  r.tokens = tokens;
  r.channels = channels;
  r.kernel = k;
  r.x = tokensFirst(x);
  r.weight = w;
  r.taps = g.view(w);
  if (!r.taps.dims.reshape({channels, k}))
    return std::nullopt;
  r.bias = conv.getInput(2);
  r.result = result;
  r.y = tokensFirst(result);
  withSilu(g, r);
  return r;
}

//===----------------------------------------------------------------------===//
// One step
//===----------------------------------------------------------------------===//

namespace {
/// What a window of columns is made from: moves of a state and a new column.
struct Window {
  llvm::SetVector<Operation *> nodes;
  llvm::SetVector<Value> leaves;
};
} // namespace

static bool collectWindow(Graph &g, Value v, Window &w, unsigned depth) {
  auto node = v.getDefiningOp<onnx::NodeOp>();
  if (isa<NoneType>(v.getType()) || v.getDefiningOp<onnx::ConstantOp>())
    return true;
  static constexpr StringLiteral moves[] = {
      "Transpose", "Reshape",   "Concat",  "Slice",          "ScatterND",
      "Identity",  "Unsqueeze", "Squeeze", "ScatterElements"};
  if (node && w.nodes.contains(node))
    return true;
  bool moved = node && node.getDomain().empty() &&
               llvm::is_contained(moves, node.getOpType());
  if (!moved || depth == 0) {
    w.leaves.insert(v);
    return w.leaves.size() <= 2;
  }
  for (Value x : node.getInputs())
    if (!collectWindow(g, x, w, depth - 1))
      return false;
  w.nodes.insert(node);
  return true;
}

/// The numbers that each leaf's elements become in the window: element `i` of
/// leaf `l` is `1000 * (l + 1) + i` apart.
static std::optional<std::vector<double>> moveNumbers(Window &w, Value window) {
  llvm::DenseMap<Value, HostTensor> values;
  double next = 1;
  for (Value leaf : w.leaves) {
    HostTensor t(Graph::elementType(leaf), Graph::shape(leaf));
    if (!t.isFloat())
      return std::nullopt;
    for (double &x : t.floats)
      x = next++;
    values[leaf] = std::move(t);
  }
  if (next >= double(1 << 24)) // not exact in f32
    return std::nullopt;
  for (Operation *op : w.nodes) {
    auto node = cast<onnx::NodeOp>(op);
    for (Value v : node.getInputs())
      if (auto constant = v.getDefiningOp<onnx::ConstantOp>())
        if (auto t = HostTensor::read(constant.getValue()); succeeded(t))
          values[v] = std::move(*t);
    SmallVector<const HostTensor *> operands;
    for (Value v : node.getInputs()) {
      auto it = values.find(v);
      operands.push_back(it == values.end() ? nullptr : &it->second);
    }
    auto results = onnx::canEvaluate(node)
                       ? onnx::evaluate(node, operands)
                       : std::optional<SmallVector<HostTensor>>();
    if (!results)
      return std::nullopt;
    for (auto [v, t] : llvm::zip_equal(node.getOutputs(), *results))
      values[v] = std::move(t);
  }
  return values[window].floats;
}

static std::optional<ConvRoles> step(Graph &g, onnx::NodeOp sum) {
  if (!sum.is("ReduceSum") || Graph::rank(sum.getInput(0)) < 2)
    return std::nullopt;
  Value product = sum.getInput(0);
  int64_t rank = Graph::rank(product), k = Graph::shape(product).back();
  auto axes = g.axes(sum, 1, rank);
  auto mul = product.getDefiningOp<onnx::NodeOp>();
  if (!axes || axes->size() != 1 || (*axes)[0] != rank - 1 || !mul ||
      !mul.is("Mul") || k < 2 || k > 16)
    return std::nullopt;
  auto pair = g.either(mul, [&](Value v) { return g.isConstant(v); });
  if (!pair)
    return std::nullopt;
  Value weight = pair->first, window = pair->second;
  int64_t all = numElements(Graph::shape(window));
  View taps = g.view(weight);
  taps.dims = taps.dims.withoutRepeats();
  int64_t channels = taps.dims.numElements() / k;
  if (channels < 1 || all % (channels * k) != 0 ||
      Graph::shape(window) != Graph::shape(product) ||
      !taps.dims.reshape({channels, k}))
    return std::nullopt;
  Window w;
  if (!collectWindow(g, window, w, 12) || w.leaves.size() != 2)
    return std::nullopt;
  ConvRoles r;
  r.batch = all / (channels * k);
  r.channels = channels;
  r.kernel = k;
  // The larger leaf is the state.
  Value state = w.leaves[0], x = w.leaves[1];
  if (numElements(Graph::shape(state)) < numElements(Graph::shape(x)))
    std::swap(state, x);
  int64_t columns = numElements(Graph::shape(state)) / (r.batch * r.channels);
  if (numElements(Graph::shape(x)) != r.batch * channels ||
      (columns != k && columns != k - 1) ||
      numElements(Graph::shape(state)) != r.batch * channels * columns)
    return std::nullopt;
  w.leaves.clear();
  w.leaves.insert(state);
  w.leaves.insert(x);
  auto numbers = moveNumbers(w, window);
  if (!numbers)
    return std::nullopt;
  int64_t drop = columns - (k - 1), held = r.batch * channels * columns;
  for (int64_t row = 0; row < r.batch * channels; ++row)
    for (int64_t j = 0; j < k; ++j) {
      double wanted = j < k - 1 ? double(row * columns + j + drop + 1)
                                : double(held + row + 1);
      if ((*numbers)[row * k + j] != wanted)
        return std::nullopt;
    }
  r.root = sum;
  r.tokens = 1;
  r.weight = weight;
  r.taps = taps;
  r.x = {x, Strided::identity(Graph::shape(x))};
  r.past = {state, Strided::identity(Graph::shape(state))};
  r.stateColumns = columns;
  if (!r.x.dims.reshape({r.batch, 1, channels}) ||
      !r.past.dims.reshape({r.batch, channels, columns}))
    return std::nullopt;
  r.past.dims.transpose({0, 2, 1});
  // The state after is the window, or its last columns.
  SmallVector<Value> work{window};
  for (Value v = window; auto node = v.getDefiningOp<onnx::NodeOp>();) {
    if (!node.is("Transpose") && !node.is("Reshape"))
      break;
    v = node.getInput(0);
    work.push_back(v);
  }
  for (Value v : work)
    r.presents.push_back({v, Strided::identity(Graph::shape(v))});
  r.result = sum->getResult(0);
  // A bias, then SiLU.
  for (Operation *user : r.result.getUsers()) {
    auto add = dyn_cast<onnx::NodeOp>(user);
    if (!add || !add.is("Add") || !r.result.hasOneUse())
      break;
    auto bias = g.either(add, [&](Value v) { return g.isConstant(v); });
    if (!bias || !g.isFeatureVector(bias->first, channels))
      break;
    r.bias = bias->first;
    r.result = add->getResult(0);
    break;
  }
  r.y = {r.result, Strided::identity(Graph::shape(r.result))};
  if (!r.y.dims.reshape({r.batch, 1, channels}))
    return std::nullopt;
  withSilu(g, r);
  return r;
}

std::vector<ConvRoles> effc::raise::findConvolutions(Graph &g) {
  std::vector<ConvRoles> out;
  for (auto node : g.main.getBody().front().getOps<onnx::NodeOp>()) {
    auto found = node.is("Conv")        ? padded(g, node)
                 : node.is("ReduceSum") ? step(g, node)
                                        : std::optional<ConvRoles>();
    if (found)
      out.push_back(std::move(*found));
  }
  return out;
}
