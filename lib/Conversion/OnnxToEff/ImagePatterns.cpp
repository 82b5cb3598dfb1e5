//===- ImagePatterns.cpp - depthwise convolutions, scan orders ------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"

using namespace mlir;
using namespace effc;
using namespace effc::raise;

//===----------------------------------------------------------------------===//
// Depthwise convolutions
//===----------------------------------------------------------------------===//

/// The kernel of a depthwise convolution of stride 1 that keeps the image's
/// size; nullopt for all others.
static std::optional<std::array<int64_t, 2>> depthwiseKernel(Graph &g,
                                                             onnx::NodeOp n) {
  if (!n.is("Conv"))
    return std::nullopt;
  Value x = n.getInput(0), w = n.getInput(1), b = n.getInput(2);
  if (!x || !w || Graph::rank(x) != 4 || Graph::rank(w) != 4 ||
      !g.isConstant(w))
    return std::nullopt;
  int64_t channels = Graph::shape(x)[1];
  ArrayRef<int64_t> kernel = Graph::shape(w);
  bool depthwise = n.getInt("group", 1) == channels && kernel[0] == channels &&
                   kernel[1] == 1;
  // The kernels keep all elements of 16 channels on the stack.
  bool fits =
      kernel[2] % 2 == 1 && kernel[3] % 2 == 1 && kernel[2] * kernel[3] <= 49;
  if (!depthwise || !fits || (b && !g.isFeatureVector(b, channels)))
    return std::nullopt;
  auto ones = [&](StringRef name) {
    auto values = n.getInts(name);
    return !values || llvm::all_of(*values, [](int64_t v) { return v == 1; });
  };
  if (!ones("strides") || !ones("dilations"))
    return std::nullopt;
  StringRef automatic = n.getString("auto_pad", "NOTSET");
  SmallVector<int64_t> pads(4, 0);
  if (automatic == "NOTSET") {
    if (auto given = n.getInts("pads"))
      pads = SmallVector<int64_t>(*given);
  } else if (automatic.starts_with("SAME")) {
    pads = {kernel[2] / 2, kernel[3] / 2, kernel[2] / 2, kernel[3] / 2};
  }
  if (pads != SmallVector<int64_t>{kernel[2] / 2, kernel[3] / 2, kernel[2] / 2,
                                   kernel[3] / 2})
    return std::nullopt;
  return std::array<int64_t, 2>{kernel[2], kernel[3]};
}

static std::optional<Match> depthwiseConv(Graph &g, onnx::NodeOp root) {
  onnx::NodeOp conv = root;
  SmallVector<Operation *> covers;
  eff::Activation activation = eff::Activation::None;
  if (!root.is("Conv")) {
    Value x = matchSilu(g, root->getResult(0), covers);
    conv = x ? g.anyNode(x) : onnx::NodeOp();
    if (!conv || !conv.is("Conv"))
      return std::nullopt;
    // Nothing but the activation may read the sum.
    for (Operation *user : conv->getResult(0).getUsers())
      if (!llvm::is_contained(covers, user))
        return std::nullopt;
    activation = eff::Activation::SiLU;
  }
  auto kernel = depthwiseKernel(g, conv);
  if (!kernel)
    return std::nullopt;
  covers.push_back(conv);
  Value x = conv.getInput(0), w = conv.getInput(1), b = conv.getInput(2),
        out = root->getResult(0);
  ArrayRef<int64_t> shape = Graph::shape(x);
  int64_t batch = shape[0], channels = shape[1], height = shape[2],
          width = shape[3];
  SmallVector<int64_t> size(kernel->begin(), kernel->end());
  Match m;
  m.needs = {x};
  m.covers = covers;
  m.emit = [=](Emitter &e) {
    Value t = e.tensor(x, {0, 2, 3, 1}, {batch, height * width, channels});
    Value weight =
        t ? e.weight(w, {channels, size[0] * size[1]}, true) : Value();
    Value bias = b ? e.weight(b, {channels}) : Value();
    if (!weight || (b && !bias))
      return failure();
    Value y =
        eff::DepthwiseConv2DOp::create(e.builder, e.loc, t.getType(), t, weight,
                                       bias, height, width, size, activation);
    e.define(out, y, {batch, height, width, channels}, {0, 3, 1, 2});
    return success();
  };
  return m;
}

//===----------------------------------------------------------------------===//
// Scan orders
//===----------------------------------------------------------------------===//

namespace {
struct Grid {
  int64_t height, width;
};
/// Pixels of [batch, pixels, features] in another order.
struct Moved {
  Value source;
  SmallVector<int64_t> order; ///< empty: as they are
  onnx::NodeOp gather;        ///< null: as they are
};
} // namespace

/// The pixel that position l of direction k reads (eff.cross_scan).
static int64_t pixelOf(int64_t k, int64_t l, Grid grid) {
  int64_t at = k < 2 ? l : grid.height * grid.width - 1 - l;
  return k % 2 == 0 ? at : at % grid.height * grid.width + at / grid.height;
}

static Moved moved(Graph &g, Value v) {
  auto gather = g.node(v, "Gather");
  if (!gather || Graph::rank(v) != 3 || Graph::rank(gather.getInput(0)) != 3 ||
      Graph::axis(gather, 0, 3) != 1)
    return {g.strip(v), {}, {}};
  auto order = g.ints(gather.getInput(1));
  int64_t pixels = Graph::shape(gather.getInput(0))[1];
  if (!order || int64_t(order->size()) != pixels ||
      Graph::rank(gather.getInput(1)) != 1)
    return {g.strip(v), {}, {}};
  for (int64_t &at : *order)
    at = at < 0 ? at + pixels : at;
  return {g.strip(gather.getInput(0)), *order, gather};
}

/// The image whose scan orders these are, or with `inverse` their inverses.
static std::optional<Grid> gridOf(ArrayRef<Moved> parts, int64_t pixels,
                                  bool inverse) {
  if ((parts.size() != 2 && parts.size() != 4) || pixels < 2 ||
      parts[1].order.empty())
    return std::nullopt;
  // The second pixel of the first column is one row down.
  ArrayRef<int64_t> columns = parts[1].order;
  int64_t width =
      inverse ? llvm::find(columns, 1) - columns.begin() : columns[1];
  if (width < 1 || pixels % width != 0)
    return std::nullopt;
  Grid grid{pixels / width, width};
  for (auto [k, part] : llvm::enumerate(parts))
    for (int64_t l = 0; l < pixels; ++l) {
      int64_t p = pixelOf(k, l, grid), from = inverse ? p : l,
              to = inverse ? l : p;
      if ((part.order.empty() ? from : part.order[from]) != to)
        return std::nullopt;
    }
  return grid;
}

static std::optional<Match> crossScan(Graph &g, onnx::NodeOp root) {
  Value out = root->getResult(0);
  if (!root.is("Concat") || Graph::rank(out) != 3 ||
      Graph::axis(root, 0, 3) != 2 || !Graph::isFloat(out))
    return std::nullopt;
  SmallVector<Moved> parts;
  SmallVector<Operation *> covers{root};
  bool shared = true;
  for (Value v : root.getInputs()) {
    parts.push_back(moved(g, v));
    if (parts.back().gather)
      covers.push_back(parts.back().gather);
    if (Graph::shape(v) != Graph::shape(root.getInputs().front()))
      return std::nullopt;
    shared &= g.same(parts.back().source, parts.front().source);
  }
  auto grid = gridOf(parts, Graph::shape(out)[1], false);
  if (!grid)
    return std::nullopt;
  SmallVector<Value> sources;
  for (const Moved &part : parts)
    if (sources.empty() || !shared)
      sources.push_back(part.source);
  int64_t directions = parts.size();
  Match m;
  m.needs = sources;
  m.covers = covers;
  m.emit = [=, grid = *grid](Emitter &e) {
    SmallVector<Value> tensors;
    for (Value v : sources) {
      tensors.push_back(e.tensor(v));
      if (!tensors.back())
        return failure();
    }
    e.define(out, eff::CrossScanOp::create(
                      e.builder, e.loc, e.f32(Graph::shape(out)), tensors,
                      directions, grid.height, grid.width));
    return success();
  };
  return m;
}

/// Sums of the parts of one value, each with its pixels moved back.
static std::optional<Match> crossMerge(Graph &g, onnx::NodeOp root) {
  Value out = root->getResult(0);
  if (!root.is("Add") || Graph::rank(out) != 3)
    return std::nullopt;
  SmallVector<Operation *> covers;
  SmallVector<Value> leaves, open{out};
  while (!open.empty()) {
    Value v = open.pop_back_val();
    auto add = g.node(v, "Add");
    if (add && (add == root || add->getResult(0).hasOneUse())) {
      covers.push_back(add);
      open.append({add.getInput(0), add.getInput(1)});
    } else {
      leaves.push_back(v);
    }
    if (leaves.size() + open.size() > 4)
      return std::nullopt;
  }
  SmallVector<Moved> parts(leaves.size());
  onnx::NodeOp split;
  for (Value leaf : leaves) {
    Moved part = moved(g, leaf);
    auto from = part.source.getDefiningOp<onnx::NodeOp>();
    if (!from || !from.is("Split") || (split && split != from) ||
        from->getNumResults() != leaves.size() ||
        Graph::axis(from, 0, 3) != 2 ||
        Graph::shape(part.source) != Graph::shape(out))
      return std::nullopt;
    split = from;
    unsigned k = cast<OpResult>(part.source).getResultNumber();
    if (parts[k].source)
      return std::nullopt;
    if (part.gather)
      covers.push_back(part.gather);
    parts[k] = part;
  }
  auto grid = gridOf(parts, Graph::shape(out)[1], true);
  if (!grid)
    return std::nullopt;
  covers.push_back(split);
  Value x = split.getInput(0);
  int64_t directions = parts.size();
  Match m;
  m.needs = {x};
  m.covers = covers;
  m.emit = [=, grid = *grid](Emitter &e) {
    Value t = e.tensor(x);
    if (!t)
      return failure();
    e.define(out, eff::CrossMergeOp::create(
                      e.builder, e.loc, e.f32(Graph::shape(out)), t, directions,
                      grid.height, grid.width));
    return success();
  };
  return m;
}

void effc::raise::addImagePatterns(std::vector<RaisePattern> &patterns) {
  patterns.insert(patterns.end(), {depthwiseConv, crossScan, crossMerge});
}
