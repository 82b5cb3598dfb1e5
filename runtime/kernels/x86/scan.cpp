//===- scan.cpp - convolutions and state-space scans ------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// causal_conv1d: x f32 [batch * tokens][ldx], w f32 [channels][kernel], bias?
/// f32 [channels],
///                state f32 [slot][kernel - 1][channels], y f32 [batch *
///                tokens][ldy]; y may be x
/// ssm_scan:      u, dt, b, c, gate?, y f32 [batch * tokens][ldu, lddt, ldb,
/// ldc, ldz, ldy], a f32 [channels][n],
///                skip? f32 [channels], state f32 [slot][n][channels]
/// ssd_scan:      x, dt, b, c, y f32 [batch * tokens][ldx, lddt, ldb, ldc,
/// ldy], a, skip? f32 [heads],
///                state f32 [slot][heads][n][head_dim]
///
/// All sums are f32 in one fixed order: a call of many tokens gives the same
/// bits as calls of one token each. Within 1e-5 of f64 recurrences, relative to
/// the largest |y|, for decays at most 1. Threads split channels and heads.
/// Padded tokens leave states alone and get 0.
///
/// ssd_scan steps through the tokens with a tile of the state in registers.
/// Without a matrix unit the chunked form (arXiv 2405.21060, section 6) needs
/// as many multiply-adds for its chunk x chunk products as it saves, and its
/// sums have another order.
///
//===----------------------------------------------------------------------===//

#include "runtime/kernels/x86/math.h"
#include "runtime/kernels/x86/spec.h"

namespace kernels {
namespace {

EFF_INLINE void clearPadding(float *y, int64_t from, int64_t count) {
#pragma clang loop unroll(disable)
  for (int64_t t = from; t < EFF_SPEC(tokens); ++t)
    storeFirst(y + t * EFF_SPEC(ldy), f32x16{}, count);
}

//===----------------------------------------------------------------------===//
// causal_conv1d
//===----------------------------------------------------------------------===//

constexpr int64_t kMaxKernel = 16;

/// Weights of 16 channels, one vector for each tap.
EFF_INLINE void loadTaps(const float *w, int64_t count,
                         f32x16 (&taps)[kMaxKernel]) {
  int64_t kernel = EFF_SPEC(kernel);
  if (kernel == 4 && count >= 16) {
    f32x16 v0 = load(w), v1 = load(w + 16), v2 = load(w + 32),
           v3 = load(w + 48);
#define EFF_TAP(j)                                                             \
  __builtin_shufflevector(                                                     \
      __builtin_shufflevector(v0, v1, j, 4 + j, 8 + j, 12 + j, 16 + j, 20 + j, \
                              24 + j, 28 + j, -1, -1, -1, -1, -1, -1, -1, -1), \
      __builtin_shufflevector(v2, v3, j, 4 + j, 8 + j, 12 + j, 16 + j, 20 + j, \
                              24 + j, 28 + j, -1, -1, -1, -1, -1, -1, -1, -1), \
      0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23)
    taps[0] = EFF_TAP(0);
    taps[1] = EFF_TAP(1);
    taps[2] = EFF_TAP(2);
    taps[3] = EFF_TAP(3);
#undef EFF_TAP
    return;
  }
  for (int64_t j = 0; j < kernel; ++j) {
    alignas(64) float lanes[16] = {};
#pragma clang loop unroll(disable)
    for (int64_t c = 0; c < 16 && c < count; ++c)
      lanes[c] = w[c * kernel + j];
    taps[j] = load(lanes);
  }
}

/// 16 channels of one row of the batch; the last `kernel - 1` inputs move
/// through registers.
EFF_INLINE void convolve(const float *x, float *y, float *state,
                         const f32x16 (&taps)[kMaxKernel], f32x16 bias,
                         int64_t valid, int64_t count) {
  int64_t history = EFF_SPEC(kernel) - 1;
  f32x16 past[kMaxKernel];
#pragma clang loop unroll(full)
  for (int64_t j = 0; j < kMaxKernel - 1; ++j)
    past[j] = j < history ? load(state + j * EFF_SPEC(channels)) : f32x16{};
#pragma clang loop unroll(disable)
  for (int64_t t = 0; t < valid; ++t) {
    f32x16 now = load(x + t * EFF_SPEC(ldx)), acc = bias;
#pragma clang loop unroll(full)
    for (int64_t j = 0; j < kMaxKernel - 1; ++j)
      if (j < history)
        acc = acc + taps[j] * past[j];
    acc = acc + taps[history] * now;
    storeFirst(y + t * EFF_SPEC(ldy), EFF_SPEC(silu) ? silu(acc) : acc, count);
#pragma clang loop unroll(full)
    for (int64_t j = 0; j < kMaxKernel - 1; ++j)
      if (j < history)
        past[j] = j + 1 < history ? past[j + 1] : now;
  }
#pragma clang loop unroll(full)
  for (int64_t j = 0; j < kMaxKernel - 1; ++j)
    if (j < history)
      storeFirst(state + j * EFF_SPEC(channels), past[j], count);
  clearPadding(y, valid, count);
}

//===----------------------------------------------------------------------===//
// ssm_scan
//===----------------------------------------------------------------------===//

constexpr int64_t kMaxStates = 256;

/// Rows [n] of 16 channels to [n][16].
EFF_INLINE void transposeRows(const float *a, int64_t count, float *out) {
  int64_t n = EFF_SPEC(n);
  if (n % 16 == 0 && count >= 16) {
#pragma clang loop unroll(disable)
    for (int64_t i = 0; i < n; i += 16) {
      f32x16 t[16];
#pragma clang loop unroll(full)
      for (int64_t c = 0; c < 16; ++c)
        t[c] = load(a + c * n + i);
      transpose(t);
#pragma clang loop unroll(full)
      for (int64_t c = 0; c < 16; ++c)
        store(out + (i + c) * 16, t[c]);
    }
    return;
  }
#pragma clang loop unroll(disable)
  for (int64_t i = 0; i < n; ++i)
#pragma clang loop unroll(disable)
    for (int64_t c = 0; c < 16; ++c)
      out[i * 16 + c] = c < count ? a[c * n + i] : 0.0f;
}

struct SsmOperands {
  const float *u, *dt, *a, *b, *c, *skip, *gate;
  float *state, *y;
};

/// `count` channels from `channel` on, of group `group`, for one row of the
/// batch.
EFF_INLINE void scanChannels(const SsmOperands &o, int64_t row, int64_t channel,
                             int64_t group, int64_t count, int64_t slot,
                             int64_t valid) {
  int64_t n = EFF_SPEC(n), channels = EFF_SPEC(channels);
  alignas(64) float a[kMaxStates * 16], h[kMaxStates * 16];
  transposeRows(o.a + channel * n, count, a);
  float *state = o.state + slot * n * channels + channel;
#pragma clang loop unroll(disable)
  for (int64_t i = 0; i < n; ++i)
    store(h + i * 16, load(state + i * channels));
  f32x16 skip = o.skip ? load(o.skip + channel) : f32x16{};
#pragma clang loop unroll(disable)
  for (int64_t t = 0; t < valid; ++t) {
    int64_t r = row + t;
    f32x16 u = load(o.u + r * EFF_SPEC(ldu) + channel),
           dt = load(o.dt + r * EFF_SPEC(lddt) + channel);
    const float *b = o.b + r * EFF_SPEC(ldb) + group * n,
                *c = o.c + r * EFF_SPEC(ldc) + group * n;
    f32x16 du = dt * u, y = skip * u;
#pragma clang loop unroll_count(4)
    for (int64_t i = 0; i < n; ++i) {
      f32x16 next = exp(dt * load(a + i * 16)) * load(h + i * 16) + du * b[i];
      store(h + i * 16, next);
      y = y + next * c[i];
    }
    if (o.gate)
      y = y * silu(load(o.gate + r * EFF_SPEC(ldz) + channel));
    storeFirst(o.y + r * EFF_SPEC(ldy) + channel, y, count);
  }
#pragma clang loop unroll(disable)
  for (int64_t i = 0; i < n; ++i)
    storeFirst(state + i * channels, load(h + i * 16), count);
  clearPadding(o.y + row * EFF_SPEC(ldy) + channel, valid, count);
}

//===----------------------------------------------------------------------===//
// ssd_scan
//===----------------------------------------------------------------------===//

constexpr int64_t kSpan = 64; ///< tokens whose decays are computed together

struct SsdOperands {
  const float *x, *dt, *b, *c;
  float *state, *y;
};

/// N states by V vectors of one head, through `count` tokens: y += C h,
/// starting from what y holds.
template <int N, int V>
EFF_INLINE void scanTile(const SsdOperands &o, const float *decay,
                         int64_t count, int64_t columns) {
  int64_t p = EFF_SPEC(head_dim);
  f32x16 h[N][V];
#pragma clang loop unroll(full)
  for (int i = 0; i < N; ++i)
#pragma clang loop unroll(full)
    for (int v = 0; v < V; ++v)
      h[i][v] = load(o.state + i * p + 16 * v);
#pragma clang loop unroll(disable)
  for (int64_t t = 0; t < count; ++t) {
    const float *b = o.b + t * EFF_SPEC(ldb), *c = o.c + t * EFF_SPEC(ldc),
                *x = o.x + t * EFF_SPEC(ldx);
    float *y = o.y + t * EFF_SPEC(ldy);
    float dt = o.dt[t * EFF_SPEC(lddt)], a = decay[t];
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
      storeFirst(o.state + i * p + 16 * v, h[i][v], columns - 16 * v);
}

/// Moves the operands to state i.
EFF_INLINE SsdOperands atState(const SsdOperands &o, int64_t i) {
  return {o.x, o.dt, o.b + i, o.c + i, o.state + i * EFF_SPEC(head_dim), o.y};
}

template <int N, int V>
EFF_INLINE void scanColumns(const SsdOperands &o, const float *decay,
                            int64_t count, int64_t columns) {
  int64_t i = 0;
#pragma clang loop unroll(disable)
  for (; i + N <= EFF_SPEC(n); i += N)
    scanTile<N, V>(atState(o, i), decay, count, columns);
  if (EFF_SPEC(n) % N)
#pragma clang loop unroll(disable)
    for (; i < EFF_SPEC(n); ++i)
      scanTile<1, V>(atState(o, i), decay, count, columns);
}

/// `columns` features of one head.
template <int N, int V>
EFF_INLINE void scanHead(SsdOperands o, float a, float skip, int64_t valid,
                         int64_t columns) {
  alignas(64) float decay[kSpan];
#pragma clang loop unroll(disable)
  for (int64_t done = 0; done < valid; done += kSpan) {
    int64_t count = least(valid - done, kSpan);
#pragma clang loop unroll(disable)
    for (int64_t t = 0; t < count; ++t)
      decay[t] = o.dt[t * EFF_SPEC(lddt)] * a;
#pragma clang loop unroll(disable)
    for (int64_t t = 0; t < count; t += 16)
      store(decay + t, exp(loadFirst(decay + t, count - t)));
#pragma clang loop unroll(disable)
    for (int64_t t = 0; t < count; ++t)
#pragma clang loop unroll(full)
      for (int v = 0; v < V; ++v)
        storeFirst(o.y + t * EFF_SPEC(ldy) + 16 * v,
                   load(o.x + t * EFF_SPEC(ldx) + 16 * v) * skip,
                   columns - 16 * v);
    scanColumns<N, V>(o, decay, count, columns);
    o.x += count * EFF_SPEC(ldx);
    o.dt += count * EFF_SPEC(lddt);
    o.b += count * EFF_SPEC(ldb);
    o.c += count * EFF_SPEC(ldc);
    o.y += count * EFF_SPEC(ldy);
  }
}

} // namespace
} // namespace kernels

using namespace kernels;

EFF_KERNEL(causal_conv1d) {
  int64_t channels = EFF_SPEC(channels), tokens = EFF_SPEC(tokens),
          blocks = ceilDiv(channels, 16);
  const float *bias = static_cast<const float *>(operands[2]);
  Range items = split(EFF_SPEC(batch) * blocks, thread, threads);
  for (int64_t item = items.begin; item < items.end; ++item) {
    int64_t b = item / blocks, channel = item % blocks * 16,
            count = channels - channel;
    f32x16 taps[kMaxKernel];
    loadTaps(static_cast<const float *>(operands[1]) +
                 channel * EFF_SPEC(kernel),
             count, taps);
    convolve(static_cast<const float *>(operands[0]) +
                 b * tokens * EFF_SPEC(ldx) + channel,
             static_cast<float *>(operands[4]) + b * tokens * EFF_SPEC(ldy) +
                 channel,
             static_cast<float *>(operands[3]) +
                 call->slot[b] * (EFF_SPEC(kernel) - 1) * channels + channel,
             taps, bias ? load(bias + channel) : f32x16{}, call->valid[b],
             count);
  }
}

EFF_KERNEL(ssm_scan) {
  SsmOperands o = {static_cast<const float *>(operands[0]),
                   static_cast<const float *>(operands[1]),
                   static_cast<const float *>(operands[2]),
                   static_cast<const float *>(operands[3]),
                   static_cast<const float *>(operands[4]),
                   static_cast<const float *>(operands[5]),
                   static_cast<const float *>(operands[6]),
                   static_cast<float *>(operands[7]),
                   static_cast<float *>(operands[8])};
  int64_t groups = EFF_SPEC(groups), width = EFF_SPEC(channels) / groups,
          blocks = ceilDiv(width, 16);
  Range items = split(EFF_SPEC(batch) * groups * blocks, thread, threads);
  for (int64_t item = items.begin; item < items.end; ++item) {
    int64_t b = item / (groups * blocks), group = item / blocks % groups,
            start = item % blocks * 16;
    scanChannels(o, b * EFF_SPEC(tokens), group * width + start, group,
                 least(width - start, 16), call->slot[b], call->valid[b]);
  }
}

EFF_KERNEL(ssd_scan) {
  // Features of a head that share a tile of registers.
  int64_t wide = EFF_SPEC(isa) >= kIsaV4 && EFF_SPEC(head_dim) >= 32 ? 32 : 16;
  int64_t heads = EFF_SPEC(heads), p = EFF_SPEC(head_dim), n = EFF_SPEC(n),
          tokens = EFF_SPEC(tokens), blocks = ceilDiv(p, wide);
  const float *skip = static_cast<const float *>(operands[5]);
  Range items = split(EFF_SPEC(batch) * heads * blocks, thread, threads);
  for (int64_t item = items.begin; item < items.end; ++item) {
    int64_t b = item / (heads * blocks), head = item / blocks % heads,
            column = item % blocks * wide;
    int64_t row = b * tokens, group = head * EFF_SPEC(groups) / heads;
    SsdOperands o = {static_cast<const float *>(operands[0]) +
                         row * EFF_SPEC(ldx) + head * p + column,
                     static_cast<const float *>(operands[1]) +
                         row * EFF_SPEC(lddt) + head,
                     static_cast<const float *>(operands[3]) +
                         row * EFF_SPEC(ldb) + group * n,
                     static_cast<const float *>(operands[4]) +
                         row * EFF_SPEC(ldc) + group * n,
                     static_cast<float *>(operands[6]) +
                         (call->slot[b] * heads + head) * n * p + column,
                     static_cast<float *>(operands[7]) + row * EFF_SPEC(ldy) +
                         head * p + column};
    float a = static_cast<const float *>(operands[2])[head],
          d = skip ? skip[head] : 0.0f;
    int64_t valid = call->valid[b], columns = least(p - column, wide);
    // A last block of one vector would read too far with two.
    if (wide == 32 && columns > 16)
      scanHead<8, 2>(o, a, d, valid, columns);
    else if (EFF_SPEC(isa) >= kIsaV3)
      scanHead<4, 1>(o, a, d, valid, columns);
    else
      scanHead<1, 1>(o, a, d, valid, columns);
    for (int64_t c = 0; c < columns; c += 16)
      clearPadding(o.y + c, valid, columns - c);
  }
}
