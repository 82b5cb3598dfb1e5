//===- conv.cpp - causal convolutions -------------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// causal_conv1d: x f32 [batch * tokens][ldx], w f32 [channels][kernel], bias?
/// f32 [channels], state f32 [slot][kernel - 1][channels], y f32 [batch *
/// tokens][ldy]; y may be x
///
/// All sums are f32 in one fixed order: a call of many tokens gives the same
/// bits as calls of one token each. Threads split channels. Padded tokens leave
/// states alone and get 0.
///
//===----------------------------------------------------------------------===//

#include "runtime/kernels/x86/scan.h"

namespace kernels {
namespace {

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
