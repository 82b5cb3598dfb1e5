//===- LinearAttention.cpp - recurrences, token by token ------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Convolutions.h"
#include "Lowering.h"

#include <cmath>

using namespace mlir;

namespace effc::lower {

/// Tokens that are written out one after the other; longer sequences are for
/// the scan kernels.
static constexpr int64_t mostTokens = 512;

/// S <- exp(g) S + k (beta (v - S^T k))^T; y = scale S^T q, for each head;
/// `gated` and `delta` say which parts are there.
static Results linearAttention(Lowering &l) {
  Value q = l.in(0), k = l.in(1), v = l.in(2), past = l.in(3), decay = l.in(4),
        beta = l.in(5);
  int64_t heads = l.node.getInt("q_num_heads", 0),
          kvHeads = l.node.getInt("kv_num_heads", 0);
  StringRef rule = l.node.getString("update_rule", "gated_delta");
  bool gated = rule == "gated" || rule == "gated_delta";
  bool delta = rule == "delta" || rule == "gated_delta";
  if ((!gated && !delta && rule != "linear") || heads <= 0 || kvHeads <= 0 ||
      heads % kvHeads || Lowering::rank(q) != 3 || Lowering::rank(k) != 3 ||
      Lowering::rank(v) != 3 || (gated && Lowering::rank(decay) == 0) ||
      (delta && Lowering::rank(beta) == 0))
    return failure();
  ArrayRef<int64_t> sq = Lowering::shape(q), sk = Lowering::shape(k),
                    sv = Lowering::shape(v);
  int64_t batch = sq[0], tokens = sq[1], size = sq[2] / heads,
          valueSize = sv[2] / kvHeads;
  int64_t group = heads / kvHeads;
  if (sq[2] % heads || sk[2] != kvHeads * size || sv[2] % kvHeads ||
      sk[0] != batch || sv[0] != batch || sk[1] != tokens || sv[1] != tokens ||
      tokens > mostTokens)
    return failure();
  double scale = l.node.getFloat("scale", 0);
  if (scale == 0)
    scale = 1 / std::sqrt(double(size));
  q = l.reshape(l.widened(q), {batch, tokens, kvHeads, group, size});
  k = l.reshape(l.widened(k), {batch, tokens, kvHeads, size});
  v = l.reshape(l.widened(v), {batch, tokens, kvHeads, valueSize});
  Type element = Lowering::elementOf(q);
  // One factor for each head, or one for each element of the key.
  if (gated) {
    int64_t width = Lowering::shape(decay).back();
    if (width != kvHeads && width != kvHeads * size)
      return failure();
    decay =
        l.reshape(l.widened(decay), {batch, tokens, kvHeads, width / kvHeads});
    decay =
        l.map(decay, [](const Expr &e, ValueRange x) { return e.exp(x[0]); });
  }
  if (delta) {
    int64_t width = Lowering::shape(beta).back();
    if (width != kvHeads && width != 1)
      return failure();
    beta = l.reshape(l.widened(beta), {batch, tokens, width, 1});
  }
  if ((gated && !decay) || (delta && !beta))
    return failure();
  SmallVector<int64_t> stateShape{batch, kvHeads, size, valueSize};
  Value state = past ? l.widened(past) : l.filled(stateShape, element, 0);
  if (Lowering::shape(state) != ArrayRef<int64_t>(stateShape))
    return failure();

  auto at = [&](Value x, int64_t t) {
    SmallVector<int64_t> shape(Lowering::shape(x));
    shape.erase(shape.begin() + 1);
    return l.reshape(l.sliceAxis(x, 1, t, 1), shape);
  };
  auto add = [](const Expr &e, ValueRange x) { return e.add(x[0], x[1]); };
  auto multiply = [](const Expr &e, ValueRange x) { return e.mul(x[0], x[1]); };
  AffineExpr b = l.dim(0), h = l.dim(1);
  SmallVector<Value> outputs;
  for (int64_t t = 0; t < tokens; ++t) {
    Value key = at(k, t), value = at(v, t), query = at(q, t);
    if (gated) {
      Value factor = at(decay, t);
      SmallVector<int64_t> shape(Lowering::shape(factor));
      shape.push_back(1);
      state = l.map(state, l.reshape(factor, shape), multiply);
    }
    if (delta) {
      // What the state holds under this key.
      Value held = l.contract(
          {batch, kvHeads, valueSize}, {size},
          {{state, {b, h, l.dim(3), l.dim(2)}}, {key, {b, h, l.dim(3)}}},
          element);
      value = l.map(value, held, [](const Expr &e, ValueRange x) {
        return e.sub(x[0], x[1]);
      });
      value = l.map(value, at(beta, t), multiply);
    }
    Value outer =
        l.map(l.reshape(key, {batch, kvHeads, size, 1}),
              l.reshape(value, {batch, kvHeads, 1, valueSize}), multiply);
    state = l.map(state, outer, add);
    Value y = l.contract({batch, kvHeads, group, valueSize}, {size},
                         {{query, {b, h, l.dim(2), l.dim(4)}},
                          {state, {b, h, l.dim(4), l.dim(3)}}},
                         element);
    outputs.push_back(l.reshape(y, {batch, 1, heads * valueSize}));
  }
  Value y = l.map(l.concat(outputs, 1), [&](const Expr &e, ValueRange x) {
    return e.scale(x[0], scale);
  });
  SmallVector<Value> results{l.cast(y, l.out().getElementType())};
  if (l.out(1))
    results.push_back(l.cast(state, l.out(1).getElementType()));
  return results;
}

/// A depthwise convolution over the state and the input behind it; the last K -
/// 1 columns are the next state.
static Results causalConv(Lowering &l) {
  Value x = l.in(0), w = l.in(1), bias = l.in(2), past = l.in(3);
  if (Lowering::rank(x) != 3 || Lowering::rank(w) != 3 ||
      Lowering::shape(w)[1] != 1)
    return failure();
  int64_t channels = Lowering::shape(x)[1], tokens = Lowering::shape(x)[2],
          taps = Lowering::shape(w)[2];
  if (Lowering::shape(w)[0] != channels || taps == 0)
    return failure();
  bool ours = l.node.getDomain() == "ai.effc";
  StringRef activation = l.node.getString("activation", ours ? "silu" : "none");
  bool silu = activation == "silu" || activation == "swish";
  if (!silu && activation != "none" && !activation.empty())
    return failure();
  Value all;
  if (past) {
    if (Lowering::rank(past) != 3 || Lowering::shape(past)[2] != taps - 1)
      return failure();
    all = taps > 1 ? l.concat({past, x}, 2) : x;
  } else {
    all = l.pad(x, {0, 0, taps - 1}, {0, 0, 0}, 0);
  }
  Type element = Lowering::elementOf(x);
  Value y = convolve(l, l.widened(all), l.widened(w), channels, {1}, {1},
                     {tokens}, Lowering::elementOf(l.widened(x)));
  y = addChannelBias(l, y, bias);
  if (!y)
    return failure();
  if (silu)
    y = l.map(y, [](const Expr &e, ValueRange v) {
      return e.mul(v[0], e.sigmoid(v[0]));
    });
  SmallVector<Value> results{l.cast(y, element)};
  if (l.out(1))
    results.push_back(l.sliceAxis(all, 2, tokens, taps - 1));
  return results;
}

void addLinearAttention(Table &t) {
  t["LinearAttention"] = linearAttention;
  t["CausalConvWithState"] = causalConv;
  t["com.microsoft.LinearAttention"] = linearAttention;
  t["com.microsoft.CausalConvWithState"] = causalConv;
  t["ai.effc.CausalConv1d"] = causalConv;
}

} // namespace effc::lower
