//===- RopePatterns.cpp - rotary position embedding -----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "RopeTable.h"

using namespace mlir;
using namespace effc;
using namespace effc::raise;

/// Half `which` (0: the first) of the last dimension of a value; returns that
/// value.
static Value halfOf(Graph &g, Value v, int which,
                    SmallVectorImpl<Operation *> &covers) {
  v = g.strip(v);
  auto node = v.getDefiningOp<onnx::NodeOp>();
  if (!node)
    return {};
  Value x = node.getInput(0);
  if (!x || Graph::rank(x) == 0)
    return {};
  int64_t rank = Graph::rank(x), width = Graph::shape(x).back();
  if (node.is("Split")) {
    if (node->getNumResults() != 2 || Graph::axis(node, 0, rank) != rank - 1 ||
        v != node->getResult(which) || Graph::shape(v).back() != width / 2)
      return {};
    covers.push_back(node);
    return x;
  }
  if (!node.is("Slice"))
    return {};
  auto starts = g.ints(node.getInput(1)), axes = g.ints(node.getInput(3)),
       steps = g.ints(node.getInput(4));
  if (!starts || starts->size() != 1 || (axes && axes->size() != 1) ||
      (!axes && rank != 1) || (steps && (*steps)[0] != 1))
    return {};
  int64_t axis = axes ? (*axes)[0] : 0, start = (*starts)[0];
  axis = axis < 0 ? axis + rank : axis;
  start = start < 0 ? start + width : start;
  if (axis != rank - 1 || start != which * width / 2 ||
      Graph::shape(v).back() != width / 2)
    return {};
  covers.push_back(node);
  return x;
}

/// Concat(-x2, x1) over the last dimension; returns x.
static Value rotatedHalf(Graph &g, Value v,
                         SmallVectorImpl<Operation *> &covers) {
  auto concat = g.node(v, "Concat");
  if (!concat || concat->getNumOperands() != 2 ||
      Graph::axis(concat, 0, Graph::rank(v)) != Graph::rank(v) - 1)
    return {};
  auto neg = g.node(concat.getInput(0), "Neg");
  Value second = neg ? halfOf(g, neg.getInput(0), 1, covers) : Value();
  Value first = halfOf(g, concat.getInput(1), 0, covers);
  if (!second || !first || g.strip(first) != g.strip(second))
    return {};
  covers.append({concat, neg});
  return g.strip(first);
}

static std::vector<int64_t> callPositions(Graph &g) {
  std::vector<int64_t> out;
  for (int64_t t = 0; t < g.options.tokens; ++t)
    out.push_back(g.options.past + t);
  return out;
}

/// x cos + rotate_half(x) sin
static std::optional<Match> rotateHalf(Graph &g, onnx::NodeOp root) {
  Value out = root->getResult(0);
  if (!root.is("Add") || Graph::rank(out) != 4)
    return std::nullopt;
  SmallVector<Operation *> covers{root};
  Value x, sin, cos;
  auto rotated = g.either(root, [&](Value v) {
    auto mul = g.node(v, "Mul");
    auto pair = g.either(mul, [&](Value r) {
      return static_cast<bool>(x = rotatedHalf(g, r, covers));
    });
    if (!pair)
      return false;
    sin = pair->second;
    covers.push_back(mul);
    return true;
  });
  auto mul = rotated ? g.node(rotated->second, "Mul") : onnx::NodeOp();
  auto plain = g.either(mul, [&](Value v) { return g.strip(v) == x; });
  if (!plain)
    return std::nullopt;
  cos = plain->second;
  covers.push_back(mul);

  // Which dimension is the tokens', which the heads': the table has one row for
  // a token and one for all heads.
  ArrayRef<int64_t> shape = Graph::shape(out), table = Graph::shape(cos);
  int64_t tokens = g.options.tokens;
  if (table.size() > 4 || table.size() < 2)
    return std::nullopt;
  auto tableDim = [&](unsigned d) { // a missing leading dimension is 1
    int64_t at =
        static_cast<int64_t>(d) - (4 - static_cast<int64_t>(table.size()));
    return at < 0 ? 1 : table[at];
  };
  unsigned axis;
  if (shape[2] == tokens && tableDim(2) == tokens && tableDim(1) == 1)
    axis = 2;
  else if (shape[1] == tokens && tableDim(1) == tokens && tableDim(2) == 1)
    axis = 1;
  else {
    g.note(root, "the rotary table has no row for each token");
    return std::nullopt;
  }
  if (tokens == 1 && shape[1] == 1 &&
      shape[2] != 1) // [batch, 1 token, heads, width]
    axis = 1;
  int64_t inTable =
      static_cast<int64_t>(axis) - (4 - static_cast<int64_t>(table.size()));
  if (inTable < 0)
    return std::nullopt;
  std::string reason;
  auto rope = findRope(g, cos, sin, inTable, callPositions(g), reason);
  if (!rope || 2 * rope->table.pairs != shape[3]) {
    g.note(root, reason.empty() ? "the rotary table is not as wide as the head"
                                : reason);
    return std::nullopt;
  }
  Match m;
  m.needs = {x};
  m.covers = covers;
  SmallVector<int64_t> dims(shape);
  int64_t heads = dims[3 - axis];
  m.emit = [=](Emitter &e) {
    SmallVector<int64_t> perm{0, static_cast<int64_t>(axis),
                              3 - static_cast<int64_t>(axis), 3};
    Value t = e.tensor(x, perm, {dims[0], tokens, heads * dims[3]});
    Value y = t ? emitRope(e, t, heads, false, *rope) : Value();
    if (!y)
      return failure();
    e.define(out, y, {dims[0], tokens, heads, dims[3]}, perm);
    return success();
  };
  return m;
}

/// RotaryEmbedding of ai.onnx 23 and com.microsoft.
static std::optional<Match> rotaryOp(Graph &g, onnx::NodeOp root) {
  bool standard = root.is("RotaryEmbedding");
  if (!standard && !root.is("RotaryEmbedding", "com.microsoft"))
    return std::nullopt;
  Value x = root.getInput(0), out = root->getResult(0);
  Value cos = root.getInput(standard ? 1 : 2),
        sin = root.getInput(standard ? 2 : 3);
  Value ids = root.getInput(standard ? 3 : 1);
  if (!cos || !sin || (Graph::rank(x) != 3 && Graph::rank(x) != 4) ||
      !g.isConstant(cos) || Graph::rank(cos) < 2)
    return std::nullopt;
  int64_t tokens = g.options.tokens, rank = Graph::rank(cos);
  std::vector<int64_t> positions = callPositions(g);
  if (ids) { // a table of all positions
    auto values = g.ints(ids);
    bool offset =
        values && values->size() == 1 && tokens >= 1 && Graph::rank(ids) == 1;
    bool ok = values && !values->empty();
    for (size_t i = 0; ok && i < values->size(); ++i)
      ok = (*values)[i] ==
           g.options.past + (offset ? 0 : static_cast<int64_t>(i) % tokens);
    if (!ok || rank != 2) {
      g.note(root, "the positions are not those of the call's tokens");
      return std::nullopt;
    }
    positions.clear();
    for (int64_t i = 0; i < Graph::shape(cos)[0]; ++i)
      positions.push_back(i);
  }
  std::string reason;
  auto rope = findRope(g, cos, sin, rank - 2, positions, reason);
  if (!rope) {
    g.note(root, reason);
    return std::nullopt;
  }
  ArrayRef<int64_t> shape = Graph::shape(x);
  int64_t heads = shape.size() == 4 ? shape[1] : root.getInt("num_heads", 0);
  if (heads == 0) // the rotated width is the head's
    heads = shape.back() / (2 * rope->table.pairs);
  int64_t features = shape.size() == 4 ? shape[1] * shape[3] : shape[2];
  if (heads <= 0 || features % heads != 0 ||
      2 * rope->table.pairs > features / heads) {
    g.note(root, "the rotary table does not fit the heads");
    return std::nullopt;
  }
  bool interleaved = root.getInt("interleaved", 0) != 0;
  int64_t batch = shape[0], width = features / heads;
  bool byHeads = shape.size() == 4;
  Match m;
  m.needs = {x};
  m.covers = {root};
  m.emit = [=](Emitter &e) {
    Value t = byHeads ? e.tensor(x, {0, 2, 1, 3}, {batch, tokens, features})
                      : e.tensor(x);
    Value y = t ? emitRope(e, t, heads, interleaved, *rope) : Value();
    if (!y)
      return failure();
    if (byHeads)
      e.define(out, y, {batch, tokens, heads, width}, {0, 2, 1, 3});
    else
      e.define(out, y);
    return success();
  };
  return m;
}

void effc::raise::addRopePatterns(std::vector<RaisePattern> &patterns) {
  patterns.insert(patterns.end(), {rotateHalf, rotaryOp});
}
