//===- RopePatterns.cpp - rotary position embedding -----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "RopeTable.h"

using namespace mlir;
using namespace effc;
using namespace effc::raise;

/// The value whose last dimension `v` is a part of, `size` features from
/// `begin` on, seen through the same transpose; nullopt when there is none.
static std::optional<View> wholeOf(Graph &g, const View &v, int64_t begin,
                                   SmallVectorImpl<Operation *> &covers) {
  auto node = v.base.getDefiningOp<onnx::NodeOp>();
  Value x = node ? node.getInput(0) : Value();
  int64_t rank = x ? Graph::rank(x) : 0;
  if (rank == 0 || rank != Graph::rank(v.base))
    return std::nullopt;
  if (node.is("Split")) {
    int64_t at = 0;
    for (unsigned i = 0; v.base != node->getResult(i); ++i)
      at += Graph::shape(node->getResult(i)).back();
    if (at != begin || Graph::axis(node, 0, rank) != rank - 1)
      return std::nullopt;
  } else {
    if (!node.is("Slice"))
      return std::nullopt;
    auto starts = g.ints(node.getInput(1)), axes = g.ints(node.getInput(3)),
         steps = g.ints(node.getInput(4));
    if (!starts || starts->size() != 1 || (axes && axes->size() != 1) ||
        (!axes && rank != 1) || (steps && (*steps)[0] != 1))
      return std::nullopt;
    int64_t start = (*starts)[0], axis = axes ? (*axes)[0] : 0;
    if ((axis < 0 ? axis + rank : axis) != rank - 1 ||
        (start < 0 ? start + Graph::shape(x).back() : start) != begin)
      return std::nullopt;
  }
  // Tokens and heads may have changed places behind the part.
  View whole = g.view(x);
  Strided dims = Strided::identity(Graph::shape(v.base));
  if (dims != v.dims) {
    if (rank != 4)
      return std::nullopt;
    dims.transpose({0, 2, 1, 3});
    whole.dims.transpose({0, 2, 1, 3});
    if (dims != v.dims)
      return std::nullopt;
  }
  covers.push_back(node);
  return whole;
}

static bool sameView(const View &a, const View &b) {
  return a.base == b.base && a.dims == b.dims;
}

/// Half `which` (0: the first) of the last dimension of a value; returns that
/// value.
static std::optional<View> halfOf(Graph &g, Value v, int which,
                                  SmallVectorImpl<Operation *> &covers) {
  int64_t width = Graph::rank(v) ? Graph::shape(v).back() : 0;
  auto whole = wholeOf(g, g.view(v), which * width, covers);
  if (!whole || whole->dims.size(whole->dims.rank() - 1) != 2 * width)
    return std::nullopt;
  return whole;
}

/// Concat(-x2, x1) over the last dimension; returns x.
static std::optional<View> rotatedHalf(Graph &g, Value v,
                                       SmallVectorImpl<Operation *> &covers) {
  auto concat = g.node(v, "Concat");
  if (!concat || concat->getNumOperands() != 2 ||
      Graph::axis(concat, 0, Graph::rank(v)) != Graph::rank(v) - 1)
    return std::nullopt;
  auto neg = g.anyNode(g.view(concat.getInput(0)).base);
  if (!neg || !neg.is("Neg"))
    return std::nullopt;
  // The sign may stand below a transpose.
  View negated = g.view(concat.getInput(0)), second = g.view(neg.getInput(0));
  auto composed = negated.dims.compose(second.dims);
  if (!composed)
    return std::nullopt;
  second.dims = *composed;
  int64_t width = Graph::shape(concat.getInput(0)).back();
  auto whole = wholeOf(g, second, width, covers);
  auto first = halfOf(g, concat.getInput(1), 0, covers);
  if (!whole || !first || !sameView(*whole, *first))
    return std::nullopt;
  covers.append({concat, neg});
  return first;
}

static std::vector<int64_t> callPositions(Graph &g) {
  std::vector<int64_t> out;
  for (int64_t t = 0; t < g.options.tokens; ++t)
    out.push_back(g.options.past + t);
  return out;
}

namespace {
/// The rotation of `[batch, heads, tokens, width]`, or with `axis` 1 of
/// `[batch, tokens, heads, width]`.
struct Rotation {
  View x;
  unsigned axis = 2; ///< of the tokens
  bool interleaved = false;
  std::shared_ptr<const Rope> rope;
  SmallVector<Operation *> covers;
};
} // namespace

/// `out` is the rotated `r.x`, whole heads of it.
static Match rotationMatch(Graph &g, const Rotation &r, Value out) {
  SmallVector<int64_t> dims(Graph::shape(out));
  int64_t tokens = g.options.tokens, heads = dims[3 - r.axis];
  Match m;
  m.needs = {r.x.base};
  m.covers = r.covers;
  m.emit = [=](Emitter &e) {
    SmallVector<int64_t> perm{0, static_cast<int64_t>(r.axis),
                              3 - static_cast<int64_t>(r.axis), 3};
    Value t = e.tensor(e.lower(r.x), perm, {dims[0], tokens, heads * dims[3]});
    Value y = t ? emitRope(e, t, heads, r.interleaved, *r.rope) : Value();
    if (!y)
      return failure();
    e.define(out, y, {dims[0], tokens, heads, dims[3]}, perm);
    return success();
  };
  return m;
}

/// Without sequences of its own, a call starts at position 0.
static bool startsElsewhere(Graph &g) {
  return g.options.kind == eff::EntryKind::Forward && g.options.past != 0;
}

/// x cos + rotate_half(x) sin
static std::optional<Rotation> findRotateHalf(Graph &g, onnx::NodeOp root) {
  if (!root || startsElsewhere(g) || !root.is("Add") ||
      Graph::rank(root->getResult(0)) != 4)
    return std::nullopt;
  Value out = root->getResult(0);
  SmallVector<Operation *> covers{root};
  std::optional<View> x;
  Value sin, cos;
  auto rotated = g.either(root, [&](Value v) {
    auto mul = g.node(v, "Mul");
    auto pair = g.either(mul, [&](Value r) {
      x = rotatedHalf(g, r, covers);
      return x.has_value();
    });
    if (!pair)
      return false;
    sin = pair->second;
    covers.push_back(mul);
    return true;
  });
  auto mul = rotated ? g.node(rotated->second, "Mul") : onnx::NodeOp();
  auto plain = g.either(mul, [&](Value v) { return sameView(g.view(v), *x); });
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
  return Rotation{*x, axis, false, rope, covers};
}

static std::optional<Match> rotateHalf(Graph &g, onnx::NodeOp root) {
  auto rotation = findRotateHalf(g, root);
  if (!rotation)
    return std::nullopt;
  return rotationMatch(g, *rotation, root->getResult(0));
}

/// RotaryEmbedding of ai.onnx 23 and com.microsoft.
static std::shared_ptr<const Rope> tableOf(Graph &g, onnx::NodeOp root) {
  bool standard = root.is("RotaryEmbedding");
  Value x = root.getInput(0);
  Value cos = root.getInput(standard ? 1 : 2),
        sin = root.getInput(standard ? 2 : 3);
  Value ids = root.getInput(standard ? 3 : 1);
  if (!cos || !sin || (Graph::rank(x) != 3 && Graph::rank(x) != 4) ||
      !g.isConstant(cos) || Graph::rank(cos) < 2)
    return nullptr;
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
      return nullptr;
    }
    positions.clear();
    for (int64_t i = 0; i < Graph::shape(cos)[0]; ++i)
      positions.push_back(i);
  }
  std::string reason;
  auto rope = findRope(g, cos, sin, rank - 2, positions, reason);
  if (!rope)
    g.note(root, reason);
  return rope;
}

static bool isRotaryOp(Graph &g, onnx::NodeOp node) {
  return node && !startsElsewhere(g) &&
         (node.is("RotaryEmbedding") ||
          node.is("RotaryEmbedding", "com.microsoft"));
}

static std::optional<Match> rotaryOp(Graph &g, onnx::NodeOp root) {
  if (!isRotaryOp(g, root))
    return std::nullopt;
  Value x = root.getInput(0), out = root->getResult(0);
  auto rope = tableOf(g, root);
  if (!rope)
    return std::nullopt;
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
  if (shape.size() == 4)
    return rotationMatch(g, {g.view(x), 2, interleaved, rope, {root}}, out);
  Match m;
  m.needs = {x};
  m.covers = {root};
  m.emit = [=](Emitter &e) {
    Value t = e.tensor(x);
    Value y = t ? emitRope(e, t, heads, interleaved, *rope) : Value();
    if (!y)
      return failure();
    e.define(out, y);
    return success();
  };
  return m;
}

/// The first features of each head rotated, the others as they are.
static std::optional<Match> partly(Graph &g, onnx::NodeOp root) {
  Value out = root->getResult(0);
  if (!root.is("Concat") || root->getNumOperands() != 2 ||
      Graph::rank(out) != 4 || Graph::axis(root, 0, 4) != 3)
    return std::nullopt;
  auto first = g.anyNode(root.getInput(0));
  auto rotation = findRotateHalf(g, first);
  if (isRotaryOp(g, first) && Graph::rank(first.getInput(0)) == 4)
    if (auto rope = tableOf(g, first))
      rotation = {g.view(first.getInput(0)),
                  2,
                  first.getInt("interleaved", 0) != 0,
                  rope,
                  {first}};
  if (!rotation)
    return std::nullopt;
  int64_t rotated = 2 * rotation->rope->table.pairs;
  SmallVector<Operation *> covers{root};
  auto x = wholeOf(g, rotation->x, 0, covers),
       rest = wholeOf(g, g.view(root.getInput(1)), rotated, covers);
  if (!x || !rest || !sameView(*x, *rest) ||
      x->dims.shape() != SmallVector<int64_t>(Graph::shape(out)) ||
      rotation->x.dims.size(3) != rotated)
    return std::nullopt;
  rotation->x = *x;
  rotation->covers.append(covers);
  return rotationMatch(g, *rotation, out);
}

void effc::raise::addRopePatterns(std::vector<RaisePattern> &patterns) {
  patterns.insert(patterns.end(), {partly, rotateHalf, rotaryOp});
}
