//===- image.cpp - convolutions and scan orders of images -------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Images are rows of pixels, f32 [batch * height * width][ld].
/// depthwise_conv2d: x [..][ldx], w [channels][kh * kw], bias? [channels], y
///                   [..][ldy]. Sums are f32 in the order of the kernel's
///                   elements; within 1e-6 of the sum of |w x| of f64 sums,
///                   silu within 1e-6 relative.
/// cross_scan:       x0 .. x3 [..][ldx], of which the first `directions` are
///                   read, y [..][ldy]; exactly eff.cross_scan
/// cross_merge:      x [..][ldx], y [..][ldy]: f32 sums in the order of the
///                   directions, exactly eff.cross_merge in f32
/// Threads split rows; those of the convolution split rows of channels.
///
//===----------------------------------------------------------------------===//

#include "runtime/kernels/x86/math.h"
#include "runtime/kernels/x86/spec.h"

namespace kernels {
namespace {

/// The pixel that position l of a direction reads.
EFF_INLINE int64_t pixelOf(int64_t direction, int64_t l) {
  int64_t height = EFF_SPEC(height), width = EFF_SPEC(width),
          at = direction < 2 ? l : height * width - 1 - l;
  return direction % 2 == 0 ? at : at % height * width + at / height;
}

/// The position of a direction that reads pixel p.
EFF_INLINE int64_t positionOf(int64_t direction, int64_t p) {
  int64_t height = EFF_SPEC(height), width = EFF_SPEC(width),
          at = direction % 2 == 0 ? p : p % width * height + p / width;
  return direction < 2 ? at : height * width - 1 - at;
}

constexpr int64_t kMaxTaps = 49;

/// 16 channels of one row of pixels. Columns in [from, to) reach no border.
EFF_INLINE void convolveRow(const float *x, float *y, const float *taps,
                            f32x16 bias, int64_t row, int64_t count) {
  int64_t height = EFF_SPEC(height), width = EFF_SPEC(width), kh = EFF_SPEC(kh),
          kw = EFF_SPEC(kw);
  int64_t top = row - kh / 2, u0 = top < 0 ? -top : 0,
          u1 = least(kh, height - top);
#pragma clang loop unroll(disable)
  for (int64_t j = 0; j < width; ++j) {
    int64_t left = j - kw / 2, v0 = left < 0 ? -left : 0,
            v1 = least(kw, width - left);
    f32x16 acc = bias;
    const float *from = x + (top * width + left) * EFF_SPEC(ldx);
    if (u0 == 0 && u1 == kh && v0 == 0 && v1 == kw) {
      // Nothing is left out: the loops unroll.
#pragma clang loop unroll(full)
      for (int64_t u = 0; u < kh; ++u)
#pragma clang loop unroll(full)
        for (int64_t v = 0; v < kw; ++v)
          acc = acc + load(taps + (u * kw + v) * 16) *
                          load(from + (u * width + v) * EFF_SPEC(ldx));
    } else {
#pragma clang loop unroll(disable)
      for (int64_t u = u0; u < u1; ++u)
#pragma clang loop unroll(disable)
        for (int64_t v = v0; v < v1; ++v)
          acc = acc + load(taps + (u * kw + v) * 16) *
                          load(from + (u * width + v) * EFF_SPEC(ldx));
    }
    storeFirst(y + j * EFF_SPEC(ldy), EFF_SPEC(silu) ? silu(acc) : acc, count);
  }
}

} // namespace
} // namespace kernels

using namespace kernels;

EFF_KERNEL(depthwise_conv2d) {
  (void)call;
  int64_t channels = EFF_SPEC(channels), height = EFF_SPEC(height),
          width = EFF_SPEC(width), blocks = ceilDiv(channels, 16),
          count = EFF_SPEC(kh) * EFF_SPEC(kw);
  const float *w = static_cast<const float *>(operands[1]),
              *bias = static_cast<const float *>(operands[2]);
  // Rows of one block of channels are neighbours: its taps are read once.
  Range items = split(EFF_SPEC(batch) * blocks * height, thread, threads);
  alignas(64) float taps[kMaxTaps * 16];
  int64_t held = -1;
  for (int64_t item = items.begin; item < items.end; ++item) {
    int64_t row = item % height, block = item / height % blocks,
            b = item / (height * blocks), channel = block * 16,
            left = channels - channel;
    if (block != held) {
      held = block;
#pragma clang loop unroll(disable)
      for (int64_t i = 0; i < count; ++i)
#pragma clang loop unroll(disable)
        for (int64_t c = 0; c < 16; ++c)
          taps[i * 16 + c] = c < left ? w[(channel + c) * count + i] : 0.0f;
    }
    int64_t pixel = b * height * width;
    convolveRow(static_cast<const float *>(operands[0]) +
                    pixel * EFF_SPEC(ldx) + channel,
                static_cast<float *>(operands[3]) +
                    (pixel + row * width) * EFF_SPEC(ldy) + channel,
                taps, bias ? load(bias + channel) : f32x16{}, row, left);
  }
}

EFF_KERNEL(cross_scan) {
  (void)call;
  int64_t pixels = EFF_SPEC(height) * EFF_SPEC(width), d = EFF_SPEC(d);
  Range rows = split(EFF_SPEC(batch) * pixels, thread, threads);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    int64_t first = row / pixels * pixels;
    float *y = static_cast<float *>(operands[4]) + row * EFF_SPEC(ldy);
#pragma clang loop unroll(disable)
    for (int64_t k = 0; k < EFF_SPEC(directions); ++k) {
      const float *x = static_cast<const float *>(operands[k]) +
                       (first + pixelOf(k, row - first)) * EFF_SPEC(ldx);
#pragma clang loop unroll_count(4)
      for (int64_t i = 0; i < d; i += 16)
        storeFirst(y + k * d + i, load(x + i), d - i);
    }
  }
}

EFF_KERNEL(cross_merge) {
  (void)call;
  int64_t pixels = EFF_SPEC(height) * EFF_SPEC(width), d = EFF_SPEC(d);
  Range rows = split(EFF_SPEC(batch) * pixels, thread, threads);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    int64_t first = row / pixels * pixels;
    const float *x[4];
#pragma clang loop unroll(full)
    for (int64_t k = 0; k < 4; ++k)
      x[k] = static_cast<const float *>(operands[0]) +
             (first + positionOf(k, row - first)) * EFF_SPEC(ldx) + k * d;
    float *y = static_cast<float *>(operands[1]) + row * EFF_SPEC(ldy);
#pragma clang loop unroll_count(2)
    for (int64_t i = 0; i < d; i += 16) {
      f32x16 sum = load(x[0] + i);
#pragma clang loop unroll(full)
      for (int64_t k = 1; k < 4; ++k)
        if (k < EFF_SPEC(directions))
          sum = sum + load(x[k] + i);
      storeFirst(y + i, sum, d - i);
    }
  }
}
