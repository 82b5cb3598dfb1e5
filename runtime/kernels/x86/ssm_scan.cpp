//===- ssm_scan.cpp - the scan of Mamba-1 ---------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// ssm_scan: u, dt, b, c, gate?, y f32 [batch * tokens][ldu, lddt, ldb, ldc,
/// ldz, ldy], a f32 [channels][n], skip?, dt_bias? f32 [channels], state? f32
/// [slot][n][channels]: without one the scan starts at zero and every token is
/// valid.
///
/// u, dt, b, c and the gate may be s8 with scales. An int8 state (state8.h) is
/// rounded after each token or, with state_once, after the last one of a call;
/// its static scales are sscale f32 [n][channels].
///
/// All sums are f32 in one fixed order: a call of many tokens gives the same
/// bits as calls of one token each, but for state_once. Within 1e-5 of f64
/// recurrences, relative to the largest |y|, for decays at most 1. Threads
/// split channels. Padded tokens leave states alone and get 0.
///
//===----------------------------------------------------------------------===//

#include "runtime/kernels/x86/scan.h"
#include "runtime/kernels/x86/state8.h"

namespace kernels {
namespace {

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
  Activations u, dt, b, c, z;
  const float *a, *skip, *dtBias;
  void *state;
  float *y;
  const float *stateScale; ///< of a static int8 state
};

/// `count` channels from `channel` on, of group `group`, for one row of the
/// batch.
EFF_INLINE void scanChannels(const SsmOperands &o, int64_t row, int64_t channel,
                             int64_t group, int64_t count, int64_t slot,
                             int64_t valid, int64_t past) {
  int64_t n = EFF_SPEC(n), channels = EFF_SPEC(channels);
  alignas(64) float a[kMaxStates * 16], h[kMaxStates * 16], bRoom[kMaxStates],
      cRoom[kMaxStates];
  transposeRows(o.a + channel * n, count, a);
  float *state =
      o.state ? static_cast<float *>(o.state) + slot * n * channels + channel
              : nullptr;
  bool integers = EFF_SPEC(state_format) != 0, each = isRoundedEachToken();
  StateBlock block =
      StateBlock::at(o.state, o.stateScale, slot, 1, n, channels, 0, channel);
  if (integers && !each)
    loadStates<1>(block, h);
#pragma clang loop unroll(disable)
  for (int64_t i = 0; i < n; ++i)
    if (!integers)
      store(h + i * 16, state ? load(state + i * channels) : f32x16{});
  f32x16 skip = o.skip ? load(o.skip + channel) : f32x16{},
         bias = o.dtBias ? load(o.dtBias + channel) : f32x16{};
#pragma clang loop unroll(disable)
  for (int64_t t = 0; t < valid; ++t) {
    int64_t r = row + t, stride;
    f32x16 u = o.u.get(r, channel), dt = timeStep(o.dt.get(r, channel) + bias);
    const float *b = o.b.getRows(r, 1, group * n, n, bRoom, stride),
                *c = o.c.getRows(r, 1, group * n, n, cRoom, stride);
    f32x16 du = dt * u, y = skip * u, largest = {};
#pragma clang loop unroll_count(4)
    for (int64_t i = 0; i < n; ++i) {
      f32x16 before =
          each ? block.scale(i, 0) * block.get(i, 0) : load(h + i * 16);
      f32x16 next = exp(dt * load(a + i * 16)) * before + du * b[i];
      store(h + i * 16, next);
      y = y + next * c[i];
      if (each)
        largest = largerMagnitude(largest, next);
    }
    if (each)
      roundStates<1>(block, h, {largest}, {y}, nullptr, count, channel,
                     past + t, block.q);
    if (o.z.data)
      y = y * silu(o.z.get(r, channel));
    storeFirst(o.y + r * EFF_SPEC(ldy) + channel, y, count);
  }
  if (integers && !each && valid > 0)
    roundCall<1>(block, h, count, channel, past + valid - 1);
  if (state && !integers)
#pragma clang loop unroll(disable)
    for (int64_t i = 0; i < n; ++i)
      storeFirst(state + i * channels, load(h + i * 16), count);
  clearPadding(o.y + row * EFF_SPEC(ldy) + channel, valid, count);
}

} // namespace
} // namespace kernels

using namespace kernels;

EFF_KERNEL(ssm_scan) {
  SsmOperands o = {EFF_ACTIVATIONS(u, 0, 10),
                   EFF_ACTIVATIONS(dt, 1, 11),
                   EFF_ACTIVATIONS(b, 3, 12),
                   EFF_ACTIVATIONS(c, 4, 13),
                   EFF_ACTIVATIONS(z, 6, 14),
                   static_cast<const float *>(operands[2]),
                   static_cast<const float *>(operands[5]),
                   static_cast<const float *>(operands[9]),
                   operands[7],
                   static_cast<float *>(operands[8]),
                   static_cast<const float *>(operands[15])};
  int64_t groups = EFF_SPEC(groups), width = EFF_SPEC(channels) / groups,
          blocks = ceilDiv(width, 16);
  Range items = split(EFF_SPEC(batch) * groups * blocks, thread, threads);
  for (int64_t item = items.begin; item < items.end; ++item) {
    int64_t b = item / (groups * blocks), group = item / blocks % groups,
            start = item % blocks * 16;
    scanChannels(o, b * EFF_SPEC(tokens), group * width + start, group,
                 least(width - start, 16), call->slot[b],
                 o.state ? call->valid[b] : EFF_SPEC(tokens), call->past[b]);
  }
}
