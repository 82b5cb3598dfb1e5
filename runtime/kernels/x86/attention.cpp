//===- attention.cpp - attention over caches and tensors --------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// attention_cache: q f32 [batch * tokens][ldq], kcache and vcache f32
/// [slot][kv_heads][capacity][head_dim],
///                  y f32 [batch * tokens][ldy]; with cache_i8 a row of the
/// caches is a f32 scale and head_dim s8, padded to a multiple of 4 bytes; with
/// cache_bits 8 or 4 it is integers as cache_append writes them, by kscale and
/// vscale f32 [kv_heads][head_dim]
/// attention:       q, k, v f32 [batch * tokens][ldq, ldk, ldv], y f32 [batch *
/// tokens][ldy], bias f32 [bias_batch][bias_heads][bias_tokens][tokens]
///
/// A bias is added to the scores; where it is -infinity, a key is not seen.
///
/// Softmax is online (arXiv 2205.14135) over blocks of 32 keys that start at
/// multiples of 32, whatever the call: a query's result is the same bit for bit
/// whether it is decoded alone or as part of a chunk. Scores and values are f32
/// chains of multiply-adds over head_dim and keys. Within 1e-5 * max |v| of
/// softmax in f64 for scores up to about 30.
///
/// Keys and values of integers take part as their codes: scores are multiplied
/// by the scales of the keys, probabilities by those of the values. Scales of
/// the model multiply the queries and the results instead. Integers of 4 bits
/// are brought to bytes, a block at a time.
///
/// An item is up to 32 queries that share a head of keys: the query heads of a
/// group, for several tokens. Each block of keys is transposed once for all of
/// them. Threads take items in turn, so that causal chunks are balanced. Padded
/// tokens get 0.
///
//===----------------------------------------------------------------------===//

#include "runtime/kernels/x86/codes.h"
#include "runtime/kernels/x86/math.h"

namespace kernels {
namespace {

constexpr int64_t kKeys = 32;    ///< of a block
constexpr int64_t kQueries = 32; ///< of an item, at most
constexpr int64_t kMaxDim = 512;

/// Keys and values of one head: row j starts at j * stride, counted in bytes
/// when they are integers.
struct HeadRows {
  const void *k, *v;
  int64_t kStride, vStride;

  EFF_INLINE const float *keys(int64_t j) const {
    return static_cast<const float *>(k) + j * kStride;
  }
  EFF_INLINE const float *values(int64_t j) const {
    return static_cast<const float *>(v) + j * vStride;
  }
  EFF_INLINE const int8_t *keyCodes(int64_t j) const {
    return static_cast<const int8_t *>(k) + j * kStride;
  }
  EFF_INLINE const int8_t *valueCodes(int64_t j) const {
    return static_cast<const int8_t *>(v) + j * vStride;
  }
};

/// Registers for sums: queries by vectors, for scores and for values.
template <int Queries, int Vectors> struct Tile {
  static constexpr int kQueries = Queries, kVectors = Vectors;
};

EFF_INLINE int64_t headDim() { return EFF_SPEC(head_dim); }
EFF_INLINE int64_t paddedDim() { return ceilDiv(headDim(), 16) * 16; }
/// Whether keys and values are integers, and whether each row has a scale.
EFF_INLINE bool integers() {
  return EFF_SPEC(cache_i8) != 0 || EFF_SPEC(cache_bits) != 0;
}
EFF_INLINE bool rowScales() { return EFF_SPEC(cache_i8) != 0; }

/// State of an item's queries.
struct Item {
  int64_t count; ///< queries
  const float *q[kQueries];
  int64_t low[kQueries], high[kQueries]; ///< keys [low, high) are seen
  const float *bias[kQueries];           ///< one for each key, where there are
  float largest[kQueries], total[kQueries], correction[kQueries];
  alignas(64) float keys[kKeys * kMaxDim];    ///< a block, [head_dim][kKeys]
  alignas(64) float scores[kQueries * kKeys]; ///< then probabilities
  alignas(64) float keyScales[kKeys], valueScales[kKeys]; ///< of integers
  alignas(64) float values[kQueries * kMaxDim]; ///< sums, [query][paddedDim()]
  // With scales of the model alone:
  alignas(64) float scaled[kQueries * kMaxDim]; ///< queries, as `values`
  alignas(64) int8_t keyBytes[kKeys * kMaxDim]; ///< a block of 4 bits
  alignas(64) int8_t valueBytes[kKeys * kMaxDim];
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

/// A scale, where rows have one, and the codes behind it.
EFF_INLINE float scaleOf(const int8_t *row) { return fromBits(loadDword(row)); }
EFF_INLINE const int8_t *codesOf(const int8_t *row) {
  return rowScales() ? row + 4 : row;
}

/// Interleaves the bytes of a and b within each 16: the lower halves, or the
/// upper ones.
typedef int8_t i8x64 __attribute__((vector_size(64)));
#define EFF_PAIRS(at, other)                                                   \
  (at) + 0, (other) + 0, (at) + 1, (other) + 1, (at) + 2, (other) + 2,         \
      (at) + 3, (other) + 3, (at) + 4, (other) + 4, (at) + 5, (other) + 5,     \
      (at) + 6, (other) + 6, (at) + 7, (other) + 7
template <int Half> EFF_INLINE i8x16 interleave(i8x16 a, i8x16 b) {
  return __builtin_shufflevector(a, b, EFF_PAIRS(8 * Half, 16 + 8 * Half));
}
template <int Half> EFF_INLINE i8x64 interleave(i8x64 a, i8x64 b) {
  return __builtin_shufflevector(a, b, EFF_PAIRS(8 * Half, 64 + 8 * Half),
                                 EFF_PAIRS(16 + 8 * Half, 80 + 8 * Half),
                                 EFF_PAIRS(32 + 8 * Half, 96 + 8 * Half),
                                 EFF_PAIRS(48 + 8 * Half, 112 + 8 * Half));
}
#undef EFF_PAIRS

/// Distance of rows that unpackRows makes.
EFF_INLINE int64_t unpackedStride() { return ceilDiv(headDim(), 32) * 32; }
/// `count` rows of integers of 4 bits as bytes.
EFF_INLINE void unpackRows(const int8_t *rows, int64_t stride, int64_t count,
                           int8_t *bytes) {
  typedef uint8_t u8x16 __attribute__((vector_size(16)));
  typedef i8x16 unaligned __attribute__((aligned(1), may_alias));
#pragma clang loop unroll_count(2)
  for (int64_t j = 0; j < count; ++j) {
    int8_t *out = bytes + j * unpackedStride();
#pragma clang loop unroll(full)
    for (int64_t d = 0; d < headDim(); d += 32) {
      const int8_t *packed = rows + j * stride + d / 2;
      __builtin_prefetch(packed + kKeys * stride); // of the next block
      u8x16 pairs = (u8x16) * reinterpret_cast<const unaligned *>(packed);
      i8x16 even = (i8x16)(pairs & 15) - 8, odd = (i8x16)(pairs >> 4) - 8;
      *reinterpret_cast<unaligned *>(out + d) = interleave<0>(even, odd);
      *reinterpret_cast<unaligned *>(out + d + 16) = interleave<1>(even, odd);
    }
  }
}

/// 16 keys by as many features as a vector has bytes, transposed in blocks of
/// 16 by 16: item.keys[d][first + key]. Keys from `count` on become 0.
template <class Vector>
EFF_INLINE void transposeCodes(Item &item, const HeadRows &rows, int64_t begin,
                               int64_t first, int64_t d, int64_t count) {
  typedef Vector unaligned __attribute__((aligned(1), may_alias));
  constexpr int kWidth = sizeof(Vector);
  Vector v[16], t[16];
#pragma clang loop unroll(full)
  for (int j = 0; j < 16; ++j) {
    const int8_t *codes = codesOf(rows.keyCodes(begin + first + j)) + d;
    v[j] = first + j < count ? *reinterpret_cast<const unaligned *>(codes)
                             : Vector{};
    __builtin_prefetch(codes + kKeys * rows.kStride); // of the next block
  }
#pragma clang loop unroll(full)
  for (int round = 0; round < 4; ++round) {
#pragma clang loop unroll(full)
    for (int j = 0; j < 8; ++j) {
      t[2 * j] = interleave<0>(v[j], v[j + 8]);
      t[2 * j + 1] = interleave<1>(v[j], v[j + 8]);
    }
#pragma clang loop unroll(full)
    for (int j = 0; j < 16; ++j)
      v[j] = t[j];
  }
  alignas(64) int8_t room[16 * kWidth];
#pragma clang loop unroll(full)
  for (int j = 0; j < 16; ++j)
    *reinterpret_cast<unaligned *>(room + j * kWidth) = v[j];
#pragma clang loop unroll(disable)
  for (int lane = 0; lane < kWidth; lane += 16)
#pragma clang loop unroll(full)
    for (int j = 0; j < 16; ++j)
      if (kWidth > 16 || d + j < headDim())
        store(item.keys + (d + lane + j) * kKeys + first,
              loadCodes(room + j * kWidth + lane));
}

/// transposeKeys for integers, and the scales of keys and values.
EFF_INLINE void readCodes(Item &item, const HeadRows &rows, int64_t begin,
                          int64_t count) {
#pragma clang loop unroll(disable)
  for (int64_t first = 0; first < kKeys; first += 16) {
    if (EFF_SPEC(isa) >= kIsaV4 && headDim() % 64 == 0)
#pragma clang loop unroll(disable)
      for (int64_t d = 0; d < headDim(); d += 64)
        transposeCodes<i8x64>(item, rows, begin, first, d, count);
    else
#pragma clang loop unroll(disable)
      for (int64_t d = 0; d < headDim(); d += 16)
        transposeCodes<i8x16>(item, rows, begin, first, d, count);
  }
  if (!rowScales())
    return;
#pragma clang loop unroll(disable)
  for (int64_t j = 0; j < kKeys; ++j) {
    bool there = j < count;
    item.keyScales[j] = there ? scaleOf(rows.keyCodes(begin + j)) : 0.0f;
    item.valueScales[j] = there ? scaleOf(rows.valueCodes(begin + j)) : 0.0f;
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
    f32x16 s0 = load(s), s1 = load(s + 16);
    if (rowScales()) {
      s0 = s0 * load(item.keyScales);
      s1 = s1 * load(item.keyScales + 16);
    }
    s0 = finishScore(s0);
    s1 = finishScore(s1);
    i32x16 j0 = iota() + static_cast<int32_t>(begin), j1 = j0 + 16;
    int32_t low = static_cast<int32_t>(item.low[i]),
            high = static_cast<int32_t>(item.high[i]);
    i32x16 seen0 = (j0 >= low) & (j0 < high), seen1 = (j1 >= low) & (j1 < high);
    if (EFF_SPEC(bias_batch)) {
      int64_t left = EFF_SPEC(tokens) - begin;
      const float *bias = item.bias[i] + begin;
      f32x16 b0 = loadFirst(bias, left), b1 = {};
      if (left > 16)
        b1 = loadFirst(bias + 16, left - 16);
      s0 = s0 + b0;
      s1 = s1 + b1;
      seen0 = seen0 & (b0 > lowest);
      seen1 = seen1 & (b1 > lowest);
    }
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
    store(s, rowScales() ? s0 * load(item.valueScales) : s0);
    store(s + 16, rowScales() ? s1 * load(item.valueScales + 16) : s1);
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
EFF_INLINE void valueTile(Item &item, int64_t first, int64_t d,
                          const HeadRows &rows, int64_t begin, int64_t count) {
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
      const void *next;
      if (integers()) {
        const int8_t *codes = codesOf(rows.valueCodes(begin + j)) + d + 16 * c;
        row[c] = loadCodes(codes);
        next = codes + kKeys * rows.vStride;
      } else {
        const float *values = rows.values(begin + j) + d + 16 * c;
        row[c] = load(values);
        next = values + kKeys * rows.vStride;
      }
      // Of the next block; a chunk reads it many times from the caches.
      if (EFF_SPEC(tokens) == 1 && (!integers() || c % 4 == 0))
        __builtin_prefetch(next);
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
EFF_INLINE void valueRows(Item &item, int64_t first, const HeadRows &rows,
                          int64_t begin, int64_t count) {
  int64_t d = 0;
#pragma clang loop unroll(disable)
  for (; d + 16 * V <= paddedDim(); d += 16 * V)
    valueTile<Q, V>(item, first, d, rows, begin, count);
  if (V > 1 && paddedDim() % (16 * V))
#pragma clang loop unroll(disable)
    for (; d < paddedDim(); d += 16)
      valueTile<Q, 1>(item, first, d, rows, begin, count);
}

/// One block of keys for all queries of an item.
template <class S, class V>
EFF_INLINE void block(Item &item, const HeadRows &all, int64_t first,
                      int64_t end) {
  int64_t count = least(end - first, kKeys);
  HeadRows rows = all;
  int64_t begin = first; // in `rows`
  if (EFF_SPEC(cache_bits) == 4) {
    unpackRows(all.keyCodes(first), all.kStride, count, item.keyBytes);
    unpackRows(all.valueCodes(first), all.vStride, count, item.valueBytes);
    rows = {item.keyBytes, item.valueBytes, unpackedStride(), unpackedStride()};
    begin = 0;
  }
  if (integers())
    readCodes(item, rows, begin, count);
  else
    transposeKeys(item, rows.keys(begin), rows.kStride, count);
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
  softmaxBlock(item, first);
  i = 0;
#pragma clang loop unroll(disable)
  for (; i + V::kQueries <= item.count; i += V::kQueries)
    valueRows<V::kQueries, V::kVectors>(item, i, rows, begin, count);
  if (V::kQueries > 1)
#pragma clang loop unroll(disable)
    for (; i < item.count; ++i)
      valueRows<1, V::kVectors>(item, i, rows, begin, count);
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
  const float *bias;
  const float *keyScale, *valueScale; ///< of the model; null without
  bool cached;

  EFF_INLINE const float *biasOf(int64_t b, int64_t head, int64_t token) const {
    int64_t row = b % EFF_SPEC(bias_batch) * EFF_SPEC(bias_heads) +
                  (EFF_SPEC(bias_heads) > 1 ? head : 0);
    row = row * EFF_SPEC(bias_tokens) + (EFF_SPEC(bias_tokens) > 1 ? token : 0);
    return bias + row * EFF_SPEC(tokens);
  }
  EFF_INLINE HeadRows rowsOf(void *const *operands, const eff_call *call,
                             int64_t b, int64_t head) const {
    const char *k = static_cast<const char *>(operands[1]),
               *v = static_cast<const char *>(operands[2]);
    if (cached) {
      int64_t rowBytes = cacheRowBytes();
      int64_t offset = (call->slot[b] * EFF_SPEC(kv_heads) + head) *
                       EFF_SPEC(capacity) * rowBytes;
      int64_t stride = integers() ? rowBytes : headDim();
      return {k + offset, v + offset, stride, stride};
    }
    int64_t row = b * EFF_SPEC(tokens);
    return {k + 4 * (row * EFF_SPEC(ldk) + head * headDim()),
            v + 4 * (row * EFF_SPEC(ldv) + head * headDim()), EFF_SPEC(ldk),
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
  int64_t kvHead = h0 / (EFF_SPEC(heads) / EFF_SPEC(kv_heads));
  int64_t low = total, high = 0;
  for (int64_t i = 0; i < item.count; ++i) {
    int64_t t = t0 + i / heads, position = past + t;
    item.q[i] = problem.q + (b * tokens + t) * EFF_SPEC(ldq) +
                (h0 + i % heads) * headDim();
    if (EFF_SPEC(cache_bits)) {
      float *scaled = item.scaled + i * paddedDim();
      const float *scale = problem.keyScale + kvHead * headDim();
      for (int64_t d = 0; d < headDim(); d += 16)
        store(scaled + d, load(item.q[i] + d) * load(scale + d));
      item.q[i] = scaled;
    }
    item.low[i] =
        EFF_SPEC(window) ? most(position - EFF_SPEC(window) + 1, 0) : 0;
    item.high[i] = EFF_SPEC(causal) ? least(position + 1, total) : total;
    if (EFF_SPEC(bias_batch))
      item.bias[i] = problem.biasOf(b, h0 + i % heads, t);
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
    for (int64_t d = 0; d < headDim(); d += 16) {
      f32x16 v = load(item.values + i * paddedDim() + d) * factor;
      if (EFF_SPEC(cache_bits))
        v = v * load(problem.valueScale + kvHead * headDim() + d);
      storeFirst(y + d, v, headDim() - d);
    }
  }
  for (int64_t t = real; t < t1; ++t) {
    float *y = problem.y + (b * tokens + t) * EFF_SPEC(ldy) + h0 * headDim();
    for (int64_t d = 0; d < heads * headDim(); d += 16)
      storeFirst(y + d, f32x16{}, heads * headDim() - d);
  }
}

EFF_INLINE void run(bool cached, void *const *operands, const eff_call *call,
                    int32_t thread, int32_t threads) {
  const float *bias =
      EFF_SPEC(bias_batch) ? static_cast<const float *>(operands[4]) : nullptr;
  Problem problem = {static_cast<const float *>(operands[0]),
                     static_cast<float *>(operands[3]),
                     bias,
                     nullptr,
                     nullptr,
                     cached};
  if (EFF_SPEC(cache_bits)) {
    problem.keyScale = static_cast<const float *>(operands[4]);
    problem.valueScale = static_cast<const float *>(operands[5]);
  }
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
