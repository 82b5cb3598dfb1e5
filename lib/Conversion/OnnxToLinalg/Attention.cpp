//===- Attention.cpp - Attention and RotaryEmbedding, literally -----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Indexing.h"
#include "Products.h"

#include <cmath>

using namespace mlir;

namespace effc::lower {

/// [B, S, H * D] as [B, H, S, D]; tensors of rank 4 are so already. Null when
/// it does not fit.
static Value splitHeads(Lowering &l, Value x, int64_t heads) {
  if (Lowering::rank(x) == 4)
    return x;
  ArrayRef<int64_t> s = Lowering::shape(x);
  if (s.size() != 3 || heads <= 0 || s[2] % heads)
    return {};
  return l.transpose(l.reshape(x, {s[0], s[1], heads, s[2] / heads}),
                     {0, 2, 1, 3});
}

static Value scaled(Lowering &l, Value x, double factor) {
  return l.map(
      x, [&](const Expr &e, ValueRange v) { return e.scale(v[0], factor); });
}

namespace {
/// Scores [B, H, S, T] on their way.
struct Scores {
  Lowering &l;
  Value value;
  int64_t past = 0;

  int64_t batch() const { return Lowering::shape(value)[0]; }
  int64_t queries() const { return Lowering::shape(value)[2]; }
  int64_t keys() const { return Lowering::shape(value)[3]; }
  Type element() const { return Lowering::elementOf(value); }

  /// Where `mask` is false the score becomes minus infinity.
  bool keep(Value mask) {
    value = l.map(Lowering::shape(value), element(), {mask, value},
                  [](const Expr &e, ValueRange v) {
                    return e.select(v[0], v[1],
                                    e.constant(v[1].getType(), -HUGE_VAL));
                  });
    return value != nullptr;
  }

  bool addMask(Value mask) {
    ArrayRef<int64_t> shape = Lowering::shape(mask);
    if (shape.empty() || shape.back() > keys())
      return false;
    bool isBool = Lowering::elementOf(mask).isInteger(1);
    // A mask for fewer keys hides the others.
    if (shape.back() < keys() && shape.back() != 1) {
      SmallVector<int64_t> low(shape.size(), 0), high(shape.size(), 0);
      high.back() = keys() - shape.back();
      mask = l.pad(mask, low, high, isBool ? 0 : -HUGE_VAL);
    }
    if (isBool)
      return keep(mask);
    value = l.map(
        Lowering::shape(value), element(), {value, l.cast(mask, element())},
        [](const Expr &e, ValueRange v) { return e.add(v[0], v[1]); });
    return value != nullptr;
  }

  /// Query s sees keys up to s + offset: `offset` is the past length, or what
  /// `lengths` leave before the queries.
  bool hideFuture(Value lengths) {
    if (!lengths) {
      SmallVector<double> seen;
      for (int64_t s = 0; s < queries(); ++s)
        for (int64_t t = 0; t < keys(); ++t)
          seen.push_back(t <= s + past);
      return keep(l.tensor({queries(), keys()}, l.b.getI1Type(), seen));
    }
    return keep(
        l.generate({batch(), 1, queries(), keys()}, l.b.getI1Type(),
                   [&](const Expr &e, ValueRange i) {
                     Value offset = e.sub(e.toIndex(e.extract(lengths, i[0])),
                                          e.index(queries()));
                     return e.compare(Compare::LE, i[3], e.add(i[2], offset));
                   }));
  }

  /// Keys at and behind a length are no keys.
  bool hidePadding(Value lengths) {
    return keep(l.generate({batch(), 1, 1, keys()}, l.b.getI1Type(),
                           [&](const Expr &e, ValueRange i) {
                             return e.compare(
                                 Compare::LT, i[3],
                                 e.toIndex(e.extract(lengths, i[0])));
                           }));
  }
};
} // namespace

static Results attention(Lowering &l) {
  bool flat = Lowering::rank(l.in(0)) == 3;
  int64_t kvHeadsGiven = l.node.getInt("kv_num_heads", 0);
  Value q = splitHeads(l, l.in(0), l.node.getInt("q_num_heads", 0));
  Value k = splitHeads(l, l.in(1), kvHeadsGiven),
        v = splitHeads(l, l.in(2), kvHeadsGiven);
  if (!q || !k || !v || Lowering::rank(q) != 4 || Lowering::rank(k) != 4 ||
      Lowering::rank(v) != 4)
    return failure();
  Value lengths = l.in(6);
  if (lengths && Lowering::rank(lengths) != 1)
    return failure();
  int64_t past = 0;
  if (l.in(4)) {
    if (!l.in(5) || Lowering::rank(l.in(4)) != 4 ||
        Lowering::rank(l.in(5)) != 4)
      return failure();
    past = Lowering::shape(l.in(4))[2];
    k = l.concat({l.in(4), k}, 2);
    v = l.concat({l.in(5), v}, 2);
  }
  SmallVector<Value> results(4);
  results[1] = l.out(1) ? k : Value();
  results[2] = l.out(2) ? v : Value();

  ArrayRef<int64_t> sq = Lowering::shape(q), sk = Lowering::shape(k),
                    sv = Lowering::shape(v);
  int64_t batch = sq[0], heads = sq[1], tokens = sq[2], size = sq[3];
  int64_t kvHeads = sk[1], keys = sk[2], valueSize = sv[3];
  if (kvHeads == 0 || heads % kvHeads || sk[3] != size || sk[0] != batch ||
      sv[0] != batch || sv[1] != kvHeads || sv[2] != keys)
    return failure();
  int64_t group = heads / kvHeads;
  // Small floats are computed in f32.
  q = l.widened(q);
  k = l.widened(k);
  v = l.widened(v);
  Type sum = Lowering::elementOf(q);
  double scale = l.node.getFloat("scale", 0) != 0 ? l.node.getFloat("scale", 0)
                                                  : 1 / std::sqrt(double(size));
  q = l.reshape(scaled(l, q, scale), {batch, kvHeads, group, tokens, size});
  // Loops b, h, g, s, t, d.
  AffineExpr b = l.dim(0), h = l.dim(1), g = l.dim(2), s = l.dim(3),
             t = l.dim(4), d = l.dim(5);
  Value scores = l.contract({batch, kvHeads, group, tokens, keys}, {size},
                            {{q, {b, h, g, s, d}}, {k, {b, h, t, d}}}, sum);
  Scores state{l, l.reshape(scores, {batch, heads, tokens, keys}), past};
  int64_t wanted = l.node.getInt("qk_matmul_output_mode", 0);
  auto emit = [&](int64_t mode) {
    if (mode == wanted && l.out(3))
      results[3] = l.cast(state.value, l.out(3).getElementType());
  };
  emit(0);
  if (double cap = l.node.getFloat("softcap", 0); cap != 0)
    state.value = l.map(state.value, [&](const Expr &e, ValueRange x) {
      Value inner = e.op<math::TanhOp>(e.scale(x[0], 1 / cap));
      return e.scale(inner, cap);
    });
  emit(1);
  if (l.in(3) && !state.addMask(l.in(3)))
    return failure();
  if (l.node.getInt("is_causal", 0) && !state.hideFuture(lengths))
    return failure();
  if (lengths && !state.hidePadding(lengths))
    return failure();
  emit(2);
  state.value = softmax(l, state.value, 3, /*zeroRows=*/true);
  emit(3);
  // Loops b, h, g, s, e, t.
  AffineExpr e = l.dim(4), key = l.dim(5);
  Value weights = l.reshape(state.value, {batch, kvHeads, group, tokens, keys});
  Value y =
      l.contract({batch, kvHeads, group, tokens, valueSize}, {keys},
                 {{weights, {b, h, g, s, key}}, {v, {b, h, key, e}}}, sum);
  y = l.reshape(y, {batch, heads, tokens, valueSize});
  if (flat)
    y = l.reshape(l.transpose(y, {0, 2, 1, 3}),
                  {batch, tokens, heads * valueSize});
  results[0] = l.cast(y, l.out().getElementType());
  return results;
}

/// Rotates pairs of the first `rotary_embedding_dim` elements of each head.
static Results rotaryEmbedding(Lowering &l) {
  Value x = l.in(0), cosine = l.in(1), sine = l.in(2), places = l.in(3);
  bool flat = Lowering::rank(x) == 3;
  x = splitHeads(l, x, l.node.getInt("num_heads", 0));
  if (!x || Lowering::rank(x) != 4)
    return failure();
  ArrayRef<int64_t> s = Lowering::shape(x);
  int64_t batch = s[0], heads = s[1], tokens = s[2], size = s[3];
  int64_t rotary = l.node.getInt("rotary_embedding_dim", 0);
  if (rotary == 0)
    rotary = size;
  if (rotary > size || rotary % 2)
    return failure();
  int64_t half = rotary / 2;
  // Tables [B, 1, S, half].
  auto table = [&](Value cache) -> Value {
    if (!places)
      return Lowering::shape(cache) == ArrayRef<int64_t>({batch, tokens, half})
                 ? l.reshape(cache, {batch, 1, tokens, half})
                 : Value();
    if (Lowering::rank(cache) != 2 || Lowering::shape(cache)[1] != half ||
        Lowering::shape(places) != ArrayRef<int64_t>({batch, tokens}) ||
        Lowering::shape(cache)[0] == 0)
      return {};
    return l.generate({batch, 1, tokens, half}, Lowering::elementOf(cache),
                      [&](const Expr &e, ValueRange i) {
                        Value row = position(e, e.extract(places, {i[0], i[2]}),
                                             Lowering::shape(cache)[0]);
                        return e.extract(cache, {row, i[3]});
                      });
  };
  cosine = table(cosine);
  sine = table(sine);
  if (!cosine || !sine)
    return failure();
  Type element = Lowering::elementOf(x);
  cosine = l.widened(cosine);
  sine = l.widened(sine);
  bool interleaved = l.node.getInt("interleaved", 0);
  SmallVector<int64_t> origin(4, 0), sizes{batch, heads, tokens, half},
      steps{1, 1, 1, interleaved ? 2 : 1};
  Value first = l.slice(x, origin, sizes, steps);
  origin[3] = interleaved ? 1 : half;
  Value second = l.slice(x, origin, sizes, steps);
  auto rotate = [&](Value a, Value b, bool minus) {
    Value value = l.map(
        Lowering::elementOf(cosine), {l.widened(a), l.widened(b), cosine, sine},
        [&](const Expr &e, ValueRange v) {
          Value left = e.mul(v[0], v[2]), right = e.mul(v[1], v[3]);
          return minus ? e.sub(left, right) : e.add(left, right);
        });
    return l.cast(value, element);
  };
  Value real = rotate(first, second, true),
        imaginary = rotate(second, first, false);
  Value rotated;
  if (interleaved) {
    Value pairs =
        l.concat({l.reshape(real, {batch, heads, tokens, half, 1}),
                  l.reshape(imaginary, {batch, heads, tokens, half, 1})},
                 4);
    rotated = l.reshape(pairs, {batch, heads, tokens, rotary});
  } else {
    rotated = l.concat({real, imaginary}, 3);
  }
  if (rotary < size)
    rotated = l.concat({rotated, l.sliceAxis(x, 3, rotary, size - rotary)}, 3);
  if (flat)
    rotated = l.reshape(l.transpose(rotated, {0, 2, 1, 3}),
                        {batch, tokens, heads * size});
  return one(rotated);
}

void addAttention(Table &t) {
  t["Attention"] = attention;
  t["RotaryEmbedding"] = rotaryEmbedding;
}

} // namespace effc::lower
