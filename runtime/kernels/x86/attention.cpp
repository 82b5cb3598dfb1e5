//===- attention.cpp - attention over caches and tensors --------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// attention_cache: q f32 [batch * tokens][ldq], kcache and vcache f32
/// [slot][kv_heads][capacity][head_dim],
///                  y f32 [batch * tokens][ldy]
/// attention:       q, k, v f32 [batch * tokens][ldq, ldk, ldv], y f32 [batch *
/// tokens][ldy]
///
/// Softmax is online (arXiv 2205.14135) over blocks of 32 keys that start at
/// multiples of 32, whatever the call: a query's result is the same bit for bit
/// whether it is decoded alone or as part of a chunk. Scores and values are f32
/// chains of multiply-adds over head_dim and keys. Within 1e-5 * max |v| of
/// softmax in f64 for scores up to about 30.
///
/// An item is up to 32 queries that share a head of keys: the query heads of a
/// group, for several tokens. Each block of keys is transposed once for all of
/// them. Threads take items in turn, so that causal chunks are balanced. Padded
/// tokens get 0.
///
//===----------------------------------------------------------------------===//

#include "runtime/kernels/x86/math.h"
#include "runtime/kernels/x86/spec.h"

namespace kernels {
namespace {

constexpr int64_t kKeys = 32;    ///< of a block
constexpr int64_t kQueries = 32; ///< of an item, at most
constexpr int64_t kMaxDim = 512;

/// Keys and values of one head: row j starts at j * stride.
struct HeadRows {
  const float *k, *v;
  int64_t kStride, vStride;
};

/// Registers for sums: queries by vectors, for scores and for values.
template <int Queries, int Vectors> struct Tile {
  static constexpr int kQueries = Queries, kVectors = Vectors;
};

EFF_INLINE int64_t headDim() { return EFF_SPEC(head_dim); }
EFF_INLINE int64_t paddedDim() { return ceilDiv(headDim(), 16) * 16; }

/// State of an item's queries.
struct Item {
  int64_t count; ///< queries
  const float *q[kQueries];
  int64_t low[kQueries], high[kQueries]; ///< keys [low, high) are seen
  float largest[kQueries], total[kQueries], correction[kQueries];
  alignas(64) float keys[kKeys * kMaxDim];      ///< a block, [head_dim][kKeys]
  alignas(64) float scores[kQueries * kKeys];   ///< then probabilities
  alignas(64) float values[kQueries * kMaxDim]; ///< sums, [query][paddedDim()]
};

/// Block of `count` keys to [head_dim][kKeys]; keys that do not exist become 0.
EFF_INLINE void transposeKeys(Item &item, const float *k, int64_t stride,
                              int64_t count) {
#pragma clang loop unroll(disable)
  for (int64_t half = 0; half < kKeys; half += 16)
#pragma clang loop unroll(disable)
    for (int64_t d = 0; d < headDim(); d += 16) {
      f32x16 t[16];
#pragma clang loop unroll(full)
      for (int64_t j = 0; j < 16; ++j)
        t[j] = half + j < count ? load(k + (half + j) * stride + d) : f32x16{};
#pragma clang loop unroll(full)
      for (int64_t j = 0; j < 16; ++j)
        __builtin_prefetch(k + (kKeys + half + j) * stride +
                           d); // of the next block
      transpose(t);
      if (d + 16 <= headDim()) {
#pragma clang loop unroll(full)
        for (int64_t j = 0; j < 16; ++j)
          store(item.keys + (d + j) * kKeys + half, t[j]);
      } else {
      // Rows beyond head_dim have room, since the array is made for more.
#pragma clang loop unroll(full)
        for (int64_t j = 0; j < 16; ++j)
          if (d + j < headDim())
            store(item.keys + (d + j) * kKeys + half, t[j]);
      }
    }
}

/// Scores of Q queries against the block.
template <int Q> EFF_INLINE void scoreTile(Item &item, int64_t first) {
  f32x16 acc[Q][2] = {};
#pragma clang loop unroll_count(2)
  for (int64_t d = 0; d < headDim(); ++d) {
    f32x16 k0 = load(item.keys + d * kKeys),
           k1 = load(item.keys + d * kKeys + 16);
#pragma clang loop unroll(full)
    for (int i = 0; i < Q; ++i) {
      f32x16 x = splat(item.q[first + i][d]);
      acc[i][0] = acc[i][0] + k0 * x;
      acc[i][1] = acc[i][1] + k1 * x;
    }
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < Q; ++i) {
    store(item.scores + (first + i) * kKeys, acc[i][0]);
    store(item.scores + (first + i) * kKeys + 16, acc[i][1]);
  }
}

EFF_INLINE f32x16 finishScore(f32x16 s) {
  s = s * fromBits(EFF_SPEC(scale_bits));
  if (EFF_SPEC(softcap_bits)) {
    float cap = fromBits(EFF_SPEC(softcap_bits));
    s = cap * tanh(s / cap);
  }
  return s;
}

/// Scores to probabilities relative to the largest score so far.
EFF_INLINE void softmaxBlock(Item &item, int64_t begin) {
  f32x16 lowest = (f32x16)splat(0xff800000u);
  alignas(64) float before[kQueries], after[kQueries];
#pragma clang loop unroll(disable)
  for (int64_t i = 0; i < item.count; ++i) {
    float *s = item.scores + i * kKeys;
    f32x16 s0 = finishScore(load(s)), s1 = finishScore(load(s + 16));
    i32x16 j0 = iota() + static_cast<int32_t>(begin), j1 = j0 + 16;
    int32_t low = static_cast<int32_t>(item.low[i]),
            high = static_cast<int32_t>(item.high[i]);
    i32x16 seen0 = (j0 >= low) & (j0 < high), seen1 = (j1 >= low) & (j1 < high);
    s0 = seen0 ? s0 : lowest;
    s1 = seen1 ? s1 : lowest;
    float m = maxLane(max(s0, s1));
    m = m > item.largest[i] ? m : item.largest[i];
    before[i] = item.largest[i];
    after[i] = item.largest[i] = m;
    // Without any key yet both are -infinity, and their difference would be
    // NaN.
    f32x16 base = splat(m == lowest[0] ? 0.0f : m);
    s0 = exp(s0 - base);
    s1 = exp(s1 - base);
    // exp keeps -infinity above 0: keys that are not seen count for nothing at
    // all.
    s0 = seen0 ? s0 : f32x16{};
    s1 = seen1 ? s1 : f32x16{};
    store(s, s0);
    store(s + 16, s1);
    item.correction[i] = sum(s0 + s1);
  }
#pragma clang loop unroll(disable)
  for (int64_t i = 0; i < item.count; i += 16) {
    f32x16 b = load(before + i), a = load(after + i);
    f32x16 factor = a == b ? splat(1.0f) : exp(b - a);
    f32x16 total = load(item.total + i) * factor + load(item.correction + i);
    store(item.total + i, total);
    store(item.correction + i, factor);
  }
}

/// values[q] = values[q] * correction[q] + sum_j p[q][j] v[j] for Q queries and
/// V vectors of columns.
template <int Q, int V>
EFF_INLINE void valueTile(Item &item, int64_t first, int64_t d, const float *v,
                          int64_t stride, int64_t count) {
  f32x16 acc[Q][V];
#pragma clang loop unroll(full)
  for (int i = 0; i < Q; ++i)
#pragma clang loop unroll(full)
    for (int c = 0; c < V; ++c)
      acc[i][c] = load(item.values + (first + i) * paddedDim() + d + 16 * c) *
                  item.correction[first + i];
#pragma clang loop unroll_count(2)
  for (int64_t j = 0; j < count; ++j) {
    f32x16 row[V];
#pragma clang loop unroll(full)
    for (int c = 0; c < V; ++c) {
      row[c] = load(v + j * stride + d + 16 * c);
      if (EFF_SPEC(tokens) ==
          1) // of the next block; a chunk reads it many times from the caches
        __builtin_prefetch(v + (kKeys + j) * stride + d + 16 * c);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < Q; ++i) {
      f32x16 p = splat(item.scores[(first + i) * kKeys + j]);
#pragma clang loop unroll(full)
      for (int c = 0; c < V; ++c)
        acc[i][c] = acc[i][c] + row[c] * p;
    }
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < Q; ++i)
#pragma clang loop unroll(full)
    for (int c = 0; c < V; ++c)
      store(item.values + (first + i) * paddedDim() + d + 16 * c, acc[i][c]);
}

/// All columns for Q queries.
template <int Q, int V>
EFF_INLINE void valueRows(Item &item, int64_t first, const float *v,
                          int64_t stride, int64_t count) {
  int64_t d = 0;
#pragma clang loop unroll(disable)
  for (; d + 16 * V <= paddedDim(); d += 16 * V)
    valueTile<Q, V>(item, first, d, v, stride, count);
  if (V > 1 && paddedDim() % (16 * V))
#pragma clang loop unroll(disable)
    for (; d < paddedDim(); d += 16)
      valueTile<Q, 1>(item, first, d, v, stride, count);
}

/// One block of keys for all queries of an item.
template <class S, class V>
EFF_INLINE void block(Item &item, const HeadRows &rows, int64_t begin,
                      int64_t end) {
  int64_t count = least(end - begin, kKeys);
  transposeKeys(item, rows.k + begin * rows.kStride, rows.kStride, count);
  // Few queries, as in decoding, share a lower tile.
  constexpr int kLower = S::kQueries >= 8 ? 4 : 1;
  int64_t i = 0;
  if (EFF_SPEC(tokens) > 1 || S::kQueries == kLower)
#pragma clang loop unroll(disable)
    for (; i + S::kQueries <= item.count; i += S::kQueries)
      scoreTile<S::kQueries>(item, i);
#pragma clang loop unroll(disable)
  for (; i + kLower <= item.count; i += kLower)
    scoreTile<kLower>(item, i);
  if (kLower > 1)
#pragma clang loop unroll(disable)
    for (; i < item.count; ++i)
      scoreTile<1>(item, i);
  softmaxBlock(item, begin);
  const float *v = rows.v + begin * rows.vStride;
  i = 0;
#pragma clang loop unroll(disable)
  for (; i + V::kQueries <= item.count; i += V::kQueries)
    valueRows<V::kQueries, V::kVectors>(item, i, v, rows.vStride, count);
  if (V::kQueries > 1)
#pragma clang loop unroll(disable)
    for (; i < item.count; ++i)
      valueRows<1, V::kVectors>(item, i, v, rows.vStride, count);
}

template <class S, class V>
EFF_INLINE void blocks(Item &item, const HeadRows &rows, int64_t low,
                       int64_t high) {
#pragma clang loop unroll(disable)
  for (int64_t begin = low / kKeys * kKeys; begin < high; begin += kKeys)
    block<S, V>(item, rows, begin, high);
}

/// Where the work of an operation lies.
struct Problem {
  const float *q;
  float *y;
  bool cached;

  EFF_INLINE HeadRows rowsOf(void *const *operands, const eff_call *call,
                             int64_t b, int64_t head) const {
    const float *k = static_cast<const float *>(operands[1]),
                *v = static_cast<const float *>(operands[2]);
    if (cached) {
      int64_t offset = (call->slot[b] * EFF_SPEC(kv_heads) + head) *
                       EFF_SPEC(capacity) * headDim();
      return {k + offset, v + offset, headDim(), headDim()};
    }
    int64_t row = b * EFF_SPEC(tokens);
    return {k + row * EFF_SPEC(ldk) + head * headDim(),
            v + row * EFF_SPEC(ldv) + head * headDim(), EFF_SPEC(ldk),
            EFF_SPEC(ldv)};
  }
};

/// Tokens [t0, t1) of row b, query heads [h0, h1), which share a head of keys.
EFF_INLINE void attend(const Problem &problem, const HeadRows &rows,
                       const eff_call *call, int64_t b, int64_t t0, int64_t t1,
                       int64_t h0, int64_t h1) {
  Item item;
  int64_t past = problem.cached ? call->past[b] : 0,
          total = past + call->valid[b];
  int64_t real = most(least(t1, call->valid[b]), t0), heads = h1 - h0,
          tokens = EFF_SPEC(tokens);
  item.count = (real - t0) * heads;
  int64_t low = total, high = 0;
  for (int64_t i = 0; i < item.count; ++i) {
    int64_t t = t0 + i / heads, position = past + t;
    item.q[i] = problem.q + (b * tokens + t) * EFF_SPEC(ldq) +
                (h0 + i % heads) * headDim();
    item.low[i] =
        EFF_SPEC(window) ? most(position - EFF_SPEC(window) + 1, 0) : 0;
    item.high[i] = EFF_SPEC(causal) ? least(position + 1, total) : total;
    low = least(low, item.low[i]);
    high = most(high, item.high[i]);
  }
  for (int64_t i = 0; i < kQueries; i += 16) {
    store(item.largest + i, (f32x16)splat(0xff800000u));
    store(item.total + i, f32x16{});
  }
  for (int64_t i = 0; i < item.count * paddedDim(); i += 16)
    store(item.values + i, f32x16{});

  if (EFF_SPEC(isa) >= kIsaV4)
    blocks<Tile<8, 2>, Tile<4, 4>>(item, rows, low, high);
  else if (EFF_SPEC(isa) >= kIsaV3)
    blocks<Tile<2, 2>, Tile<2, 2>>(item, rows, low, high);
  else
    blocks<Tile<1, 2>, Tile<1, 2>>(item, rows, low, high);

  for (int64_t i = 0; i < item.count; ++i) {
    float *y = problem.y + (b * tokens + t0 + i / heads) * EFF_SPEC(ldy) +
               (h0 + i % heads) * headDim();
    f32x16 factor = splat(item.total[i] > 0.0f ? 1.0f / item.total[i] : 0.0f);
    for (int64_t d = 0; d < headDim(); d += 16)
      storeFirst(y + d, load(item.values + i * paddedDim() + d) * factor,
                 headDim() - d);
  }
  for (int64_t t = real; t < t1; ++t) {
    float *y = problem.y + (b * tokens + t) * EFF_SPEC(ldy) + h0 * headDim();
    for (int64_t d = 0; d < heads * headDim(); d += 16)
      storeFirst(y + d, f32x16{}, heads * headDim() - d);
  }
}

EFF_INLINE void run(bool cached, void *const *operands, const eff_call *call,
                    int32_t thread, int32_t threads) {
  Problem problem = {static_cast<const float *>(operands[0]),
                     static_cast<float *>(operands[3]), cached};
  int64_t tokens = EFF_SPEC(tokens), kvHeads = EFF_SPEC(kv_heads),
          group = EFF_SPEC(heads) / kvHeads;
  int64_t batch = EFF_SPEC(batch), share = least(group, kQueries);
  // When there are fewer heads of keys than threads, several threads read the
  // same keys for different queries.
  if (tokens == 1)
    while (share > 1 && batch * kvHeads * ceilDiv(group, share) < threads)
      share = ceilDiv(share, 2);
  int64_t height = most(kQueries / share, 1);
  int64_t shares = ceilDiv(group, share), spans = ceilDiv(tokens, height);
#pragma clang loop unroll(disable)
  for (int64_t item = thread; item < batch * kvHeads * shares * spans;
       item += threads) {
    int64_t span = item % spans, rest = item / spans;
    int64_t part = rest % shares, head = rest / shares % kvHeads,
            b = rest / shares / kvHeads;
    int64_t h0 = head * group + part * share;
    attend(problem, problem.rowsOf(operands, call, b, head), call, b,
           span * height, least((span + 1) * height, tokens), h0,
           least(h0 + share, (head + 1) * group));
  }
}

} // namespace
} // namespace kernels

EFF_KERNEL(attention_cache) {
  kernels::run(true, operands, call, thread, threads);
}
EFF_KERNEL(attention) { kernels::run(false, operands, call, thread, threads); }
