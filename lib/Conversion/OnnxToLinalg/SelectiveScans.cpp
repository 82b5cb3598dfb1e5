//===- SelectiveScans.cpp - the recurrences of ai.effc, token by token ----===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Where no scan kernel fits: a state that is an input and an output of the
/// model (`--states-as-tensors`), a decay that a call brings.
///
/// ```
/// h[g, r, p, n] <- exp(dt[g, r] a[g, r, n]) h + dt[g, r] x[g, r, p] b[g, n]
/// y[g, r, p] = sum over n of h[g, r, p, n] c[g, n]
/// ```
///
/// for groups g of r heads with p features each. SelectiveScan has a head for
/// each channel, of one feature; SSDScan has the same decay for all n.
///
//===----------------------------------------------------------------------===//

#include "Lowering.h"

using namespace mlir;

namespace effc::lower {

/// Tokens that are written out one after the other; longer sequences are for
/// the scan kernels.
static constexpr int64_t mostTokens = 512;

static Value multiply(Lowering &l, Value x, Value y) {
  return l.map(x, y,
               [](const Expr &e, ValueRange v) { return e.mul(v[0], v[1]); });
}

/// `features`: of one head. `decays`: of one head, 1 or n.
static Results scan(Lowering &l, int64_t heads, int64_t features,
                    int64_t decays) {
  Value x = l.widened(l.in(0)), dt = l.widened(l.in(1)), a = l.widened(l.in(2)),
        b = l.widened(l.in(3)), c = l.widened(l.in(4)),
        state = l.widened(l.in(5));
  if (Lowering::rank(b) != 4 || Lowering::shape(b) != Lowering::shape(c) ||
      Lowering::rank(x) < 2)
    return failure();
  ArrayRef<int64_t> sb = Lowering::shape(b);
  int64_t batch = sb[0], tokens = sb[1], groups = sb[2], n = sb[3];
  if (groups == 0 || heads % groups || tokens > mostTokens)
    return failure();
  int64_t share = heads / groups;
  SmallVector<int64_t> shape(Lowering::shape(l.in(0))),
      stateShape(Lowering::shape(l.in(5)));
  Type element = Lowering::elementOf(x);
  x = l.reshape(x, {batch, tokens, groups, share, features, 1});
  dt = l.reshape(dt, {batch, tokens, groups, share, 1, 1});
  a = l.reshape(a, {1, 1, groups, share, 1, decays});
  b = l.reshape(b, {batch, tokens, groups, 1, 1, n});
  c = l.reshape(c, {batch, tokens, groups, n});
  state = l.reshape(state, {batch, groups, share, features, n});
  Value decay = multiply(l, dt, a), input = multiply(l, dt, x);
  if (!decay || !input || !b || !c || !state)
    return failure();
  decay = l.map(decay, [](const Expr &e, ValueRange v) { return e.exp(v[0]); });
  auto at = [&](Value value, int64_t t) {
    SmallVector<int64_t> rest(Lowering::shape(value));
    rest.erase(rest.begin() + 1);
    return l.reshape(l.sliceAxis(value, 1, t, 1), rest);
  };
  SmallVector<Value> outputs;
  for (int64_t t = 0; t < tokens; ++t) {
    Value fresh = multiply(l, at(input, t), at(b, t));
    state =
        l.map(multiply(l, state, at(decay, t)), fresh,
              [](const Expr &e, ValueRange v) { return e.add(v[0], v[1]); });
    AffineExpr i = l.dim(0), g = l.dim(1), k = l.dim(4);
    Value y = l.contract(
        {batch, groups, share, features}, {n},
        {{state, {i, g, l.dim(2), l.dim(3), k}}, {at(c, t), {i, g, k}}},
        element);
    outputs.push_back(l.reshape(y, {batch, 1, heads * features}));
  }
  Value y = tokens ? l.concat(outputs, 1) : l.empty(shape, element);
  SmallVector<Value> results{
      l.cast(l.reshape(y, shape), l.out().getElementType())};
  if (l.out(1))
    results.push_back(
        l.cast(l.reshape(state, stateShape), l.out(1).getElementType()));
  return results;
}

/// u [B, L, D], dt [B, L, D], A [D, N], B and C [B, L, G, N], past [B, D, N].
static Results selectiveScan(Lowering &l) {
  if (Lowering::rank(l.in(0)) != 3 || Lowering::rank(l.in(2)) != 2)
    return failure();
  return scan(l, Lowering::shape(l.in(0))[2], 1, Lowering::shape(l.in(2))[1]);
}

/// x [B, L, H, P], dt [B, L, H], A [H], B and C [B, L, G, N], past
/// [B, H, P, N].
static Results ssdScan(Lowering &l) {
  if (Lowering::rank(l.in(0)) != 4)
    return failure();
  return scan(l, Lowering::shape(l.in(0))[2], Lowering::shape(l.in(0))[3], 1);
}

void addSelectiveScans(Table &t) {
  t["ai.effc.SelectiveScan"] = selectiveScan;
  t["ai.effc.SSDScan"] = ssdScan;
}

} // namespace effc::lower
