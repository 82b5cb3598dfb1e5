//===- conv.cpp - causal convolutions -------------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// causal_conv1d: x f32 [batch * tokens][ldx], w f32 [channels][kernel], bias?
/// f32 [channels], state f32 [slot][kernel - 1][channels], y f32 [batch *
/// tokens][ldy]; y may be x.
///
/// With x_i8, x and the state are s8 and stand for xscale times their codes;
/// with quant, y is s8, quantize(y, oscale).
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

/// What a convolution reads and writes, at the first of its 16 channels.
struct ConvOperands {
  const char *x;
  char *y, *state;
  const float *oscale;
};

/// Bytes of an element of x and of y.
EFF_INLINE int64_t inBytes() { return EFF_SPEC(x_i8) ? 1 : 4; }
EFF_INLINE int64_t outBytes() { return EFF_SPEC(quant) ? 1 : 4; }

EFF_INLINE f32x16 loadInput(const char *x) {
  return EFF_SPEC(x_i8) ? loadCodes(reinterpret_cast<const int8_t *>(x))
                        : load(reinterpret_cast<const float *>(x));
}
EFF_INLINE void storeInput(char *x, f32x16 v, int64_t count) {
  if (EFF_SPEC(x_i8))
    storeCodes(reinterpret_cast<int8_t *>(x), roundToInt(v), count);
  else
    storeFirst(reinterpret_cast<float *>(x), v, count);
}
EFF_INLINE void storeOutput(char *y, f32x16 v, f32x16 scale, int64_t count) {
  if (EFF_SPEC(quant))
    storeCodes(reinterpret_cast<int8_t *>(y), quantize(v, scale), count);
  else
    storeFirst(reinterpret_cast<float *>(y), v, count);
}

/// 16 channels of one row of the batch; the last `kernel - 1` inputs move
/// through registers.
EFF_INLINE void convolve(const ConvOperands &o,
                         const f32x16 (&taps)[kMaxKernel], f32x16 bias,
                         int64_t valid, int64_t count) {
  int64_t history = EFF_SPEC(kernel) - 1;
  int64_t row = EFF_SPEC(channels) * inBytes();
  f32x16 past[kMaxKernel];
  f32x16 scale = splat(1.0f);
  if (EFF_SPEC(quant))
    scale = EFF_SPEC(oscale_each) ? load(o.oscale) : splat(o.oscale[0]);
#pragma clang loop unroll(full)
  for (int64_t j = 0; j < kMaxKernel - 1; ++j)
    past[j] = j < history ? loadInput(o.state + j * row) : f32x16{};
#pragma clang loop unroll(disable)
  for (int64_t t = 0; t < valid; ++t) {
    f32x16 now = loadInput(o.x + t * EFF_SPEC(ldx) * inBytes()), acc = bias;
#pragma clang loop unroll(full)
    for (int64_t j = 0; j < kMaxKernel - 1; ++j)
      if (j < history)
        acc = acc + taps[j] * past[j];
    acc = acc + taps[history] * now;
    storeOutput(o.y + t * EFF_SPEC(ldy) * outBytes(),
                EFF_SPEC(silu) ? silu(acc) : acc, scale, count);
#pragma clang loop unroll(full)
    for (int64_t j = 0; j < kMaxKernel - 1; ++j)
      if (j < history)
        past[j] = j + 1 < history ? past[j + 1] : now;
  }
#pragma clang loop unroll(full)
  for (int64_t j = 0; j < kMaxKernel - 1; ++j)
    if (j < history)
      storeInput(o.state + j * row, past[j], count);
#pragma clang loop unroll(disable)
  for (int64_t t = valid; t < EFF_SPEC(tokens); ++t)
    storeOutput(o.y + t * EFF_SPEC(ldy) * outBytes(), f32x16{}, scale, count);
}

} // namespace
} // namespace kernels

using namespace kernels;

EFF_KERNEL(causal_conv1d) {
  int64_t channels = EFF_SPEC(channels), tokens = EFF_SPEC(tokens),
          blocks = ceilDiv(channels, 16);
  const float *bias = static_cast<const float *>(operands[2]),
              *xscale = static_cast<const float *>(operands[5]),
              *oscale = static_cast<const float *>(operands[6]);
  Range items = split(EFF_SPEC(batch) * blocks, thread, threads);
  for (int64_t item = items.begin; item < items.end; ++item) {
    int64_t b = item / blocks, channel = item % blocks * 16,
            count = channels - channel;
    f32x16 taps[kMaxKernel];
    loadTaps(static_cast<const float *>(operands[1]) +
                 channel * EFF_SPEC(kernel),
             count, taps);
    if (EFF_SPEC(x_i8)) {
      f32x16 scale =
          EFF_SPEC(xscale_each) ? load(xscale + channel) : splat(xscale[0]);
#pragma clang loop unroll(full)
      for (int64_t j = 0; j < kMaxKernel; ++j)
        if (j < EFF_SPEC(kernel))
          taps[j] = taps[j] * scale;
    }
    ConvOperands o = {
        static_cast<const char *>(operands[0]) +
            (b * tokens * EFF_SPEC(ldx) + channel) * inBytes(),
        static_cast<char *>(operands[4]) +
            (b * tokens * EFF_SPEC(ldy) + channel) * outBytes(),
        static_cast<char *>(operands[3]) +
            (call->slot[b] * (EFF_SPEC(kernel) - 1) * channels + channel) *
                inBytes(),
        EFF_SPEC(oscale_each) ? oscale + channel : oscale};
    convolve(o, taps, bias ? load(bias + channel) : f32x16{}, call->valid[b],
             count);
  }
}
