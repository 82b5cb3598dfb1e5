//===- ssd_int8.h - the scan of Mamba-2 on an int8 state --------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Each token makes two passes over up to 64 channels of a head: the first
/// computes the new state as f32 into the first-level cache, y and the largest
/// magnitudes, the second rounds it. Only codes move through memory.
///
//===----------------------------------------------------------------------===//

#ifndef EFF_KERNELS_X86_SSD_INT8_H
#define EFF_KERNELS_X86_SSD_INT8_H

#include "runtime/kernels/x86/scan.h"
#include "runtime/kernels/x86/state8.h"

namespace kernels {

constexpr int64_t kSpan = 64;     ///< tokens that go through a tile together
constexpr int64_t kCodeSpan = 16; ///< the same where B and C become floats

struct SsdOperands {
  Activations x, dt, b, c;
  const float *a, *skip, *dtBias;
  void *state;
  float *y;
  const float *stateScale; ///< of a static int8 state
};

/// Time steps and decays of `count` tokens of a head.
EFF_INLINE void timeSteps(const SsdOperands &o, int64_t row, int64_t head,
                          int64_t count, float *dt, float *decay) {
  float bias = o.dtBias ? o.dtBias[head] : 0.0f;
#pragma clang loop unroll(disable)
  for (int64_t t = 0; t < count; ++t)
    dt[t] = o.dt.getOne(row + t, head) + bias;
#pragma clang loop unroll(disable)
  for (int64_t t = 0; t < count; t += 16) {
    f32x16 step = timeStep(loadFirst(dt + t, count - t));
    store(dt + t, step);
    store(decay + t, exp(step * o.a[head]));
  }
}

/// Scales of a static state under 1, [n][V][16], for the blocks of channels
/// that several sequences or tokens share.
struct Reciprocals {
  int64_t head = -1, column = -1;
  bool ordinary = false;
  alignas(64) float values[kMaxStates8 * 64];

  template <int V>
  EFF_INLINE const float *get(const StateBlock &block, int64_t head,
                              int64_t column, int64_t columns) {
    if (this->head == head && this->column == column)
      return ordinary ? values : nullptr;
    this->head = head;
    this->column = column;
    ordinary = true;
#pragma clang loop unroll(disable)
    for (int64_t i = 0; i < EFF_SPEC(n); ++i)
#pragma clang loop unroll(full)
      for (int v = 0; v < V; ++v) {
        f32x16 scale = block.scale(i, 16 * v);
        ordinary &= areOrdinary(scale, columns - 16 * v);
        store(values + (i * V + v) * 16, 1.0f / scale);
      }
    return ordinary ? values : nullptr;
  }
};

/// A number as a type.
template <int N> struct Number {
  static constexpr int value = N;
};

/// One token of 16 V channels of a head: y = C h + skip x. `next` is what the
/// thread works on afterwards.
template <int V>
EFF_INLINE void stepInt8(const StateBlock &block, const float *x,
                         const float *b, const float *c, float *y, float dt,
                         float decay, float skip, const float *reciprocals,
                         int64_t columns, int64_t row, int64_t position,
                         const int8_t *next) {
  int64_t n = EFF_SPEC(n);
  alignas(64) float h[kMaxStates8 * 16 * V];
  f32x16 dx[V], sum[V], largest[V] = {}, scale[V];
#pragma clang loop unroll(full)
  for (int v = 0; v < V; ++v) {
    f32x16 xv = load(x + 16 * v);
    dx[v] = xv * dt;
    sum[v] = xv * skip;
    scale[v] = isDynamic() ? block.scale(0, 16 * v) : f32x16{};
  }
#pragma clang loop unroll_count(2)
  for (int64_t i = 0; i < n; ++i)
#pragma clang loop unroll(full)
    for (int v = 0; v < V; ++v) {
      f32x16 s = isDynamic() ? scale[v] : block.scale(i, 16 * v);
      f32x16 next = s * block.get(i, 16 * v) * decay + dx[v] * b[i];
      store(h + (i * V + v) * 16, next);
      sum[v] = sum[v] + next * c[i];
      largest[v] = largerMagnitude(largest[v], next);
    }
#pragma clang loop unroll(full)
  for (int v = 0; v < V; ++v)
    storeFirst(y + 16 * v, sum[v], columns - 16 * v);
  roundStates<V>(block, h, largest, sum, reciprocals, columns, row, position,
                 next);
}

/// `columns` channels of one head from `column` on, in the tokens from `row`
/// on.
template <int V>
EFF_INLINE void scanInt8(const SsdOperands &o, Reciprocals &reciprocals,
                         int64_t row, int64_t head, int64_t column,
                         int64_t columns, int64_t slot, int64_t valid,
                         int64_t past, int64_t nextSlot, int64_t nextHead) {
  int64_t n = EFF_SPEC(n), p = EFF_SPEC(head_dim), heads = EFF_SPEC(heads),
          feature = head * p + column, group = head * EFF_SPEC(groups) / heads;
  StateBlock block =
      StateBlock::at(o.state, o.stateScale, slot, heads, n, p, head, column);
  const int8_t *next =
      StateBlock::at(o.state, nullptr, nextSlot, heads, n, p, nextHead, column)
          .q;
  const float *inverse = nullptr;
  if (!isDynamic() && EFF_SPEC(batch) * EFF_SPEC(tokens) > 1)
    inverse = reciprocals.get<V>(block, head, column, columns);
  alignas(64) float dt[kCodeSpan], decay[kCodeSpan], xRoom[kCodeSpan * 16 * V],
      bRoom[kCodeSpan * kMaxStates8], cRoom[kCodeSpan * kMaxStates8];
#pragma clang loop unroll(disable)
  for (int64_t done = 0; done < valid; done += kCodeSpan) {
    int64_t first = row + done, count = least(valid - done, kCodeSpan);
    int64_t xStride, bStride, cStride;
    const float *x = o.x.getRows(first, count, feature, 16 * V, xRoom, xStride),
                *b = o.b.getRows(first, count, group * n, n, bRoom, bStride),
                *c = o.c.getRows(first, count, group * n, n, cRoom, cStride);
    timeSteps(o, first, head, count, dt, decay);
#pragma clang loop unroll(disable)
    for (int64_t t = 0; t < count; ++t)
      stepInt8<V>(block, x + t * xStride, b + t * bStride, c + t * cStride,
                  o.y + (first + t) * EFF_SPEC(ldy) + feature, dt[t], decay[t],
                  o.skip ? o.skip[head] : 0.0f, inverse, columns, feature,
                  past + done + t, next);
  }
}

/// All channels of a part. Sequences of a static state follow each other, so
/// that they share its scales; those of a dynamic one lie in order of memory.
EFF_INLINE void scanAllInt8(const SsdOperands &o, const eff_call *call,
                            int32_t thread, int32_t threads) {
  int64_t heads = EFF_SPEC(heads), p = EFF_SPEC(head_dim),
          batch = EFF_SPEC(batch);
  int64_t wide = EFF_SPEC(isa) >= kIsaV4 ? 64 : 16, blocks = ceilDiv(p, wide);
  bool together = !isDynamic();
  Reciprocals reciprocals;
  Range items = split(batch * heads * blocks, thread, threads);
#pragma clang loop unroll(disable)
  for (int64_t item = items.begin; item < items.end; ++item) {
    int64_t part = together ? item / batch : item % (heads * blocks),
            b = together ? item % batch : item / (heads * blocks);
    // A constant 0 leaves one of the choices below.
    int64_t head = part / blocks,
            column = blocks == 1 ? 0 : part % blocks * wide,
            columns = least(p - column, wide), row = b * EFF_SPEC(tokens);
    int64_t slot = call->slot[b], valid = call->valid[b], past = call->past[b];
    int64_t nextSlot = slot, nextHead = head + 1;
    if (together && b + 1 < batch) {
      nextSlot = call->slot[b + 1];
      nextHead = head;
    }
    if (nextHead == heads)
      nextHead = head;
    auto scan = [&](auto vectors) __attribute__((always_inline)) {
      scanInt8<decltype(vectors)::value>(o, reciprocals, row, head, column,
                                         columns, slot, valid, past, nextSlot,
                                         nextHead);
    };
    if (wide == 64 && (p % 64 == 0 || columns > 48))
      scan(Number<4>());
    else if (wide == 64 && columns > 32)
      scan(Number<3>());
    else if (wide == 64 && columns > 16)
      scan(Number<2>());
    else
      scan(Number<1>());
    float *y = o.y + row * EFF_SPEC(ldy) + head * p + column;
    for (int64_t c = 0; c < columns; c += 16)
      clearPadding(y + c, valid, columns - c);
  }
}

} // namespace kernels

#endif // EFF_KERNELS_X86_SSD_INT8_H
