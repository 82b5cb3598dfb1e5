//===- collapse.cpp - one scan in place of many -----------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// collapse_channels: x [rows][ldu], dt [rows][lddt], a [channels][n], or
///                    [heads] where `heads` is not 0, b, c [rows][ldb, ldc],
///                    decay, increment, output [rows][scans * n]
/// collapsed_scan:    decay, increment, output [batch * tokens][scans * n],
///                    state? f32 [slot][n][scans], y [batch * tokens][scans]
/// expand_channels:   x [rows][scans], u? [rows][ldu], d? [channels], gate?
///                    [rows][ldz], y [rows][ldy]
///
/// rows = batch * tokens; all f32, sums in f32 in one fixed order. Means lie
/// within 1e-5 relative of f64 ones for terms of one sign. Threads split rows,
/// and of the scan its batch and scans.
///
//===----------------------------------------------------------------------===//

#include "runtime/kernels/x86/math.h"
#include "runtime/kernels/x86/spec.h"

namespace kernels {
namespace {

constexpr int64_t kMaxStates = 256;

/// Sum over `count` channels of dt[c] x[c]; each dt serves `share` channels.
EFF_INLINE float weightedSum(const float *x, const float *dt, int64_t count,
                             int64_t share) {
  f32x16 acc = {};
  if (share == 1) {
#pragma clang loop unroll(disable)
    for (int64_t i = 0; i < count; i += 16)
      acc = acc + keepFirst(load(x + i) * load(dt + i), count - i, f32x16{});
    return sum(acc);
  }
  float total = 0;
#pragma clang loop unroll(disable)
  for (int64_t h = 0; h < count / share; ++h) {
    acc = f32x16{};
#pragma clang loop unroll(disable)
    for (int64_t i = 0; i < share; i += 16)
      acc = acc + keepFirst(load(x + h * share + i), share - i, f32x16{});
    total += dt[h] * sum(acc);
  }
  return total;
}

/// Means of exp(dt A) of `count` channels (or heads, whose A is one number).
EFF_INLINE void meanDecay(const float *a, const float *dt, float *decay,
                          int64_t count) {
  int64_t n = EFF_SPEC(n);
  float scale = 1.0f / static_cast<float>(count);
  if (EFF_SPEC(heads)) {
    f32x16 acc = {};
#pragma clang loop unroll(disable)
    for (int64_t i = 0; i < count; i += 16)
      acc =
          acc + keepFirst(exp(load(dt + i) * load(a + i)), count - i, f32x16{});
    f32x16 mean = splat(sum(acc) * scale);
#pragma clang loop unroll(disable)
    for (int64_t i = 0; i < n; i += 16)
      storeFirst(decay + i, mean, n - i);
    return;
  }
#pragma clang loop unroll(disable)
  for (int64_t i = 0; i < n; i += 16) {
    f32x16 acc[4] = {};
    int64_t c = 0;
#pragma clang loop unroll(disable)
    for (; c + 4 <= count; c += 4)
#pragma clang loop unroll(full)
      for (int64_t j = 0; j < 4; ++j)
        acc[j] = acc[j] + exp(load(a + (c + j) * n + i) * dt[c + j]);
#pragma clang loop unroll(disable)
    for (; c < count; ++c)
      acc[0] = acc[0] + exp(load(a + c * n + i) * dt[c]);
    storeFirst(decay + i, ((acc[0] + acc[1]) + (acc[2] + acc[3])) * scale,
               n - i);
  }
}

} // namespace
} // namespace kernels

using namespace kernels;

EFF_KERNEL(collapse_channels) {
  (void)call;
  int64_t n = EFF_SPEC(n), scans = EFF_SPEC(scans), groups = EFF_SPEC(groups),
          channels = EFF_SPEC(channels), heads = EFF_SPEC(heads),
          units = heads ? heads : channels, share = channels / units;
  Range rows = split(EFF_SPEC(rows), thread, threads);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const float *x =
        static_cast<const float *>(operands[0]) + row * EFF_SPEC(ldu);
    const float *dt =
        static_cast<const float *>(operands[1]) + row * EFF_SPEC(lddt);
    const float *a = static_cast<const float *>(operands[2]);
    const float *b =
        static_cast<const float *>(operands[3]) + row * EFF_SPEC(ldb);
    const float *c =
        static_cast<const float *>(operands[4]) + row * EFF_SPEC(ldc);
#pragma clang loop unroll(disable)
    for (int64_t s = 0; s < scans; ++s) {
      int64_t at = (row * scans + s) * n, of = groups / scans;
      meanDecay(a + s * (units / scans) * (heads ? 1 : n),
                dt + s * (units / scans),
                static_cast<float *>(operands[5]) + at, units / scans);
      alignas(64) float in[kMaxStates], out[kMaxStates];
#pragma clang loop unroll(disable)
      for (int64_t k = 0; k < of; ++k) {
        // mean over the group of dt x, as a share of the mean over the scan
        int64_t g = s * of + k, width = channels / groups;
        f32x16 m = splat(weightedSum(x + g * width, dt + g * (units / groups),
                                     width, share) /
                         static_cast<float>(width * of));
        f32x16 part = splat(1.0f / static_cast<float>(of));
#pragma clang loop unroll(disable)
        for (int64_t i = 0; i < n; i += 16) {
          f32x16 p = load(b + g * n + i) * m, q = load(c + g * n + i) * part;
          store(in + i, k ? load(in + i) + p : p);
          store(out + i, k ? load(out + i) + q : q);
        }
      }
#pragma clang loop unroll(disable)
      for (int64_t i = 0; i < n; i += 16) {
        storeFirst(static_cast<float *>(operands[6]) + at + i, load(in + i),
                   n - i);
        storeFirst(static_cast<float *>(operands[7]) + at + i, load(out + i),
                   n - i);
      }
    }
  }
}

EFF_KERNEL(collapsed_scan) {
  int64_t n = EFF_SPEC(n), scans = EFF_SPEC(scans), tokens = EFF_SPEC(tokens),
          width = scans * n;
  Range items = split(EFF_SPEC(batch) * scans, thread, threads);
  for (int64_t item = items.begin; item < items.end; ++item) {
    int64_t b = item / scans, s = item % scans;
    float *state = static_cast<float *>(operands[3]);
    int64_t valid = state ? call->valid[b] : tokens;
    if (state)
      state += call->slot[b] * width + s;
    alignas(64) float h[kMaxStates];
#pragma clang loop unroll(disable)
    for (int64_t i = 0; i < ceilDiv(n, 16) * 16; ++i)
      h[i] = state && i < n ? state[i * scans] : 0.0f;
    int64_t at = b * tokens * width + s * n;
    const float *decay = static_cast<const float *>(operands[0]) + at;
    const float *in = static_cast<const float *>(operands[1]) + at;
    const float *out = static_cast<const float *>(operands[2]) + at;
    float *y = static_cast<float *>(operands[4]) + b * tokens * scans + s;
#pragma clang loop unroll(disable)
    for (int64_t t = 0; t < valid; ++t) {
      f32x16 acc = {};
#pragma clang loop unroll(disable)
      for (int64_t i = 0; i < n; i += 16) {
        int64_t left = n - i;
        f32x16 next = load(decay + t * width + i) * load(h + i) +
                      load(in + t * width + i);
        store(h + i, next);
        acc = acc + keepFirst(load(out + t * width + i) * next, left, f32x16{});
      }
      y[t * scans] = sum(acc);
    }
#pragma clang loop unroll(disable)
    for (int64_t t = valid; t < tokens; ++t)
      y[t * scans] = 0.0f;
    if (state)
#pragma clang loop unroll(disable)
      for (int64_t i = 0; i < n; ++i)
        state[i * scans] = h[i];
  }
}

EFF_KERNEL(expand_channels) {
  (void)call;
  int64_t scans = EFF_SPEC(scans), width = EFF_SPEC(channels) / scans;
  const float *d = static_cast<const float *>(operands[2]);
  Range items = split(EFF_SPEC(rows) * scans, thread, threads);
  for (int64_t item = items.begin; item < items.end; ++item) {
    int64_t row = item / scans, first = item % scans * width;
    f32x16 s = splat(static_cast<const float *>(operands[0])[item]);
    const float *u =
        static_cast<const float *>(operands[1]) + row * EFF_SPEC(ldu) + first;
    const float *z =
        static_cast<const float *>(operands[3]) + row * EFF_SPEC(ldz) + first;
    float *y = static_cast<float *>(operands[4]) + row * EFF_SPEC(ldy) + first;
#pragma clang loop unroll_count(2)
    for (int64_t i = 0; i < width; i += 16) {
      f32x16 v = s;
      if (operands[1])
        v = v + load(d + first + i) * load(u + i);
      if (operands[3])
        v = v * silu(load(z + i));
      storeFirst(y + i, v, width - i);
    }
  }
}
