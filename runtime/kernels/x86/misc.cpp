//===- misc.cpp - kernels that move rows or choose --------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// - patchify: x f32 [batch][channels][height][width], y f32 [batch *
///   patches][channels * ph * pw]
/// - select_rows: x f32 [batch * tokens][ldx], y f32 [logit rows][ldy]
/// - copy_rows: x f32 [rows][ldx], y f32 [rows][ldy]
/// - sample: logits f32 [rows][ld], ids s32 [rows]: the first of the largest;
///   NaN is never chosen
///
//===----------------------------------------------------------------------===//

#include "runtime/kernels/x86/spec.h"

namespace kernels {
namespace {

EFF_INLINE void copy(const float *from, float *to, int64_t count) {
#pragma clang loop unroll_count(4)
  for (int64_t i = 0; i < count; i += 16)
    storeFirst(to + i, load(from + i), count - i);
}

} // namespace
} // namespace kernels

using namespace kernels;

EFF_KERNEL(patchify) {
  (void)call;
  int64_t channels = EFF_SPEC(channels), height = EFF_SPEC(height),
          width = EFF_SPEC(width), ph = EFF_SPEC(ph), pw = EFF_SPEC(pw),
          across = width / pw, patches = height / ph * across;
  Range rows = split(EFF_SPEC(batch) * patches, thread, threads);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    float *y = static_cast<float *>(operands[1]) + row * channels * ph * pw;
    int64_t patch = row % patches;
    const float *x = static_cast<const float *>(operands[0]) +
                     row / patches * channels * height * width +
                     patch / across * ph * width + patch % across * pw;
#pragma clang loop unroll(disable)
    for (int64_t line = 0; line < channels * ph; ++line)
      copy(x + (line / ph * height + line % ph) * width, y + line * pw, pw);
  }
}

EFF_KERNEL(select_rows) {
  int64_t tokens = EFF_SPEC(tokens);
  Range rows =
      split(EFF_SPEC(batch) * (call->all_logits ? tokens : 1), thread, threads);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    int64_t from =
        call->all_logits ? row : row * tokens + most(call->valid[row] - 1, 0);
    copy(static_cast<const float *>(operands[0]) + from * EFF_SPEC(ldx),
         static_cast<float *>(operands[1]) + row * EFF_SPEC(ldy), EFF_SPEC(d));
  }
}

EFF_KERNEL(copy_rows) {
  Range rows = split(rowCount(call), thread, threads);
  for (int64_t row = rows.begin; row < rows.end; ++row)
    copy(static_cast<const float *>(operands[0]) + row * EFF_SPEC(ldx),
         static_cast<float *>(operands[1]) + row * EFF_SPEC(ldy), EFF_SPEC(d));
}

EFF_KERNEL(sample) {
  int64_t vocab = EFF_SPEC(vocab);
  f32x16 lowest = (f32x16)splat(0xff800000u);
  Range rows = split(rowCount(call), thread, threads);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const float *x =
        static_cast<const float *>(operands[0]) + row * EFF_SPEC(ld);
    f32x16 best = lowest;
    i32x16 where = splat(0x7fffffff);
    for (int64_t i = 0; i < vocab; i += 16) {
      f32x16 v = keepFirst(load(x + i), vocab - i, lowest);
      i32x16 better = v > best;
      best = better ? v : best;
      where = better ? iota() + static_cast<int32_t>(i) : where;
    }
    f32x16 largest = splat(maxLane(best));
    int32_t id = 0x7fffffff;
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; ++i) {
      int32_t candidate = best[i] == largest[i] ? where[i] : 0x7fffffff;
      id = candidate < id ? candidate : id;
    }
    static_cast<int32_t *>(operands[1])[row] = id == 0x7fffffff ? 0 : id;
  }
}
