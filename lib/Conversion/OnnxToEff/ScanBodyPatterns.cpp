//===- ScanBodyPatterns.cpp - convolutions spelled out in plain ONNX -----===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A causal convolution as `Concat(state, x)`, a depthwise `Conv` and a `Slice`
/// of the last columns.
///
//===----------------------------------------------------------------------===//

#include "Scan.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace effc;
using namespace effc::raise;

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
  return matchCausalConv({x, w, b, out, {0, 2, 1}, state, silu}, covers);
}

void effc::raise::addScanBodyPatterns(std::vector<RaisePattern> &patterns) {
  patterns.push_back(causalConv);
}
