//===- ssd_scan.cpp - the scan of Mamba-2 ---------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// ssd_scan: x, dt, b, c, y f32 [batch * tokens][ldx, lddt, ldb, ldc, ldy], a,
/// skip?, dt_bias? f32 [heads], state f32 [slot][heads][n][head_dim].
///
/// x, dt, b and c may be s8 with scales. An int8 state (state8.h) is rounded
/// after each token or, with state_once, after the last one of a call; its
/// static scales are sscale f32 [heads][n][head_dim].
///
/// All sums are f32 in one fixed order: a call of many tokens gives the same
/// bits as calls of one token each, but for state_once. Within 1e-5 of f64
/// recurrences, relative to the largest |y|, for decays at most 1. Threads
/// split heads. Padded tokens leave states alone and get 0.
///
/// The scan steps through the tokens with a tile of the state in registers.
/// Without a matrix unit the chunked form (arXiv 2405.21060, section 6) needs
/// as many multiply-adds for its chunk x chunk products as it saves, and its
/// sums have another order.
///
//===----------------------------------------------------------------------===//

#include "runtime/kernels/x86/ssd_int8.h"

namespace kernels {
namespace {

/// Some tokens of one head, as floats. Rows of x, b, c and the state start
/// their strides apart.
struct Span {
  int64_t count;
  const float *x, *b, *c;
  int64_t xStride, bStride, cStride, stateStride;
  const float *dt, *decay;
  float *state, *y;

  /// Moves the operands to state i.
  EFF_INLINE Span atState(int64_t i) const {
    Span span = *this;
    span.b += i;
    span.c += i;
    span.state += i * stateStride;
    return span;
  }
};

/// N states by V vectors of one head, through the tokens of a span: y += C h,
/// starting from what y holds.
template <int N, int V>
EFF_INLINE void scanTile(const Span &s, int64_t columns) {
  f32x16 h[N][V];
#pragma clang loop unroll(full)
  for (int i = 0; i < N; ++i)
#pragma clang loop unroll(full)
    for (int v = 0; v < V; ++v)
      h[i][v] = load(s.state + i * s.stateStride + 16 * v);
#pragma clang loop unroll(disable)
  for (int64_t t = 0; t < s.count; ++t) {
    const float *b = s.b + t * s.bStride, *c = s.c + t * s.cStride,
                *x = s.x + t * s.xStride;
    float *y = s.y + t * EFF_SPEC(ldy);
    float dt = s.dt[t], a = s.decay[t];
    f32x16 dx[V], sum[V];
#pragma clang loop unroll(full)
    for (int v = 0; v < V; ++v) {
      dx[v] = load(x + 16 * v) * dt;
      sum[v] = load(y + 16 * v);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < N; ++i)
#pragma clang loop unroll(full)
      for (int v = 0; v < V; ++v) {
        h[i][v] = h[i][v] * a + dx[v] * b[i];
        sum[v] = sum[v] + h[i][v] * c[i];
      }
#pragma clang loop unroll(full)
    for (int v = 0; v < V; ++v)
      storeFirst(y + 16 * v, sum[v], columns - 16 * v);
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < N; ++i)
#pragma clang loop unroll(full)
    for (int v = 0; v < V; ++v)
      storeFirst(s.state + i * s.stateStride + 16 * v, h[i][v],
                 columns - 16 * v);
}

template <int N, int V>
EFF_INLINE void scanColumns(const Span &s, int64_t columns) {
  int64_t i = 0;
#pragma clang loop unroll(disable)
  for (; i + N <= EFF_SPEC(n); i += N)
    scanTile<N, V>(s.atState(i), columns);
  if (EFF_SPEC(n) % N)
#pragma clang loop unroll(disable)
    for (; i < EFF_SPEC(n); ++i)
      scanTile<1, V>(s.atState(i), columns);
}

/// `columns` features of one head from `column` on, in the tokens from `row`
/// on.
template <int N, int V>
EFF_INLINE void scanHead(const SsdOperands &o, int64_t row, int64_t head,
                         int64_t column, int64_t columns, int64_t slot,
                         int64_t valid, int64_t past) {
  int64_t n = EFF_SPEC(n), p = EFF_SPEC(head_dim), feature = head * p + column,
          group = head * EFF_SPEC(groups) / EFF_SPEC(heads);
  float skip = o.skip ? o.skip[head] : 0.0f;
  alignas(64) float dt[kSpan], decay[kSpan], xRoom[kSpan * 16 * V],
      bRoom[kCodeSpan * kMaxStates8], cRoom[kCodeSpan * kMaxStates8],
      stateRoom[kMaxStates8 * 16 * V]; // of an int8 state
  bool integers = EFF_SPEC(state_format) != 0;
  StateBlock block = StateBlock::at(o.state, o.stateScale, slot,
                                    EFF_SPEC(heads), n, p, head, column);
  if (integers)
    loadStates<V>(block, stateRoom);
  int64_t most = o.b.i8 || o.c.i8 ? kCodeSpan : kSpan;
#pragma clang loop unroll(disable)
  for (int64_t done = 0; done < valid; done += most) {
    int64_t first = row + done;
    Span s;
    s.count = least(valid - done, most);
    s.x = o.x.getRows(first, s.count, feature, 16 * V, xRoom, s.xStride);
    s.b = o.b.getRows(first, s.count, group * n, n, bRoom, s.bStride);
    s.c = o.c.getRows(first, s.count, group * n, n, cRoom, s.cStride);
    s.dt = dt;
    s.decay = decay;
    s.state = integers ? stateRoom
                       : static_cast<float *>(o.state) +
                             (slot * EFF_SPEC(heads) + head) * n * p + column;
    s.stateStride = integers ? 16 * V : p;
    s.y = o.y + first * EFF_SPEC(ldy) + feature;
    timeSteps(o, first, head, s.count, dt, decay);
#pragma clang loop unroll(disable)
    for (int64_t t = 0; t < s.count; ++t)
#pragma clang loop unroll(full)
      for (int v = 0; v < V; ++v)
        storeFirst(s.y + t * EFF_SPEC(ldy) + 16 * v,
                   load(s.x + t * s.xStride + 16 * v) * skip, columns - 16 * v);
    scanColumns<N, V>(s, columns);
  }
  if (integers && valid > 0)
    roundCall<V>(block, stateRoom, columns, feature, past + valid - 1);
}

} // namespace
} // namespace kernels

using namespace kernels;

EFF_KERNEL(ssd_scan) {
  SsdOperands o = {EFF_ACTIVATIONS(x, 0, 9),
                   EFF_ACTIVATIONS(dt, 1, 10),
                   EFF_ACTIVATIONS(b, 3, 11),
                   EFF_ACTIVATIONS(c, 4, 12),
                   static_cast<const float *>(operands[2]),
                   static_cast<const float *>(operands[5]),
                   static_cast<const float *>(operands[8]),
                   operands[6],
                   static_cast<float *>(operands[7]),
                   static_cast<const float *>(operands[13])};
  if (isRoundedEachToken()) {
    scanAllInt8(o, call, thread, threads);
    return;
  }
  // Features of a head that share a tile of registers.
  int64_t wide = EFF_SPEC(isa) >= kIsaV4 && EFF_SPEC(head_dim) >= 32 ? 32 : 16;
  int64_t heads = EFF_SPEC(heads), p = EFF_SPEC(head_dim),
          blocks = ceilDiv(p, wide);
  Range items = split(EFF_SPEC(batch) * heads * blocks, thread, threads);
  for (int64_t item = items.begin; item < items.end; ++item) {
    int64_t b = item / (heads * blocks), head = item / blocks % heads,
            column = item % blocks * wide, row = b * EFF_SPEC(tokens);
    int64_t valid = call->valid[b], slot = call->slot[b], past = call->past[b],
            columns = least(p - column, wide);
    // A last block of one vector would read too far with two.
    if (wide == 32 && columns > 16)
      scanHead<8, 2>(o, row, head, column, columns, slot, valid, past);
    else if (EFF_SPEC(isa) >= kIsaV3)
      scanHead<4, 1>(o, row, head, column, columns, slot, valid, past);
    else
      scanHead<1, 1>(o, row, head, column, columns, slot, valid, past);
    float *y = o.y + row * EFF_SPEC(ldy) + head * p + column;
    for (int64_t c = 0; c < columns; c += 16)
      clearPadding(y + c, valid, columns - c);
  }
}
