//===- cache.cpp - appends to caches --------------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// cache_append: x f32 [batch * tokens][ldx], cache f32
/// [slot][heads][capacity][head_dim]; with cache_i8 a row is a f32 scale, max
/// |x| / 127 or 1 for zeros, and head_dim s8, padded to a multiple of 4 bytes.
/// The integers are those of compress::quantizeToken.
///
//===----------------------------------------------------------------------===//

#include "runtime/kernels/x86/codes.h"

namespace kernels {
namespace {

EFF_INLINE void copyRow(const float *x, float *row) {
  int64_t d = EFF_SPEC(head_dim);
#pragma clang loop unroll_count(4)
  for (int64_t i = 0; i < d; i += 16)
    storeFirst(row + i, load(x + i), d - i);
}

EFF_INLINE void quantizeRow(const float *x, char *row) {
  int64_t d = EFF_SPEC(head_dim);
  f32x16 largest = {};
#pragma clang loop unroll_count(4)
  for (int64_t i = 0; i < d; i += 16) {
    // NaN counts for nothing.
    f32x16 v = keepFirst(abs(load(x + i)), d - i, f32x16{});
    largest = v > largest ? v : largest;
  }
  float scale = maxLane(largest) / 127.0f;
  scale = scale > 0.0f ? scale : 1.0f;
  typedef float unaligned __attribute__((aligned(4), may_alias));
  *reinterpret_cast<unaligned *>(row) = scale;
#pragma clang loop unroll_count(2)
  for (int64_t i = 0; i < d; i += 16)
    storeCodes(reinterpret_cast<int8_t *>(row) + 4 + i,
               quantize(load(x + i), splat(scale)), d - i);
}

} // namespace
} // namespace kernels

using namespace kernels;

EFF_KERNEL(cache_append) {
  int64_t heads = EFF_SPEC(heads), d = EFF_SPEC(head_dim),
          capacity = EFF_SPEC(capacity), tokens = EFF_SPEC(tokens);
  int64_t rowBytes = EFF_SPEC(cache_i8) ? 4 + ceilDiv(d, 4) * 4 : 4 * d;
  Range items = split(EFF_SPEC(batch) * heads, thread, threads);
  for (int64_t item = items.begin; item < items.end; ++item) {
    int64_t b = item / heads, head = item % heads;
    const float *x = static_cast<const float *>(operands[0]) +
                     b * tokens * EFF_SPEC(ldx) + head * d;
    char *row =
        static_cast<char *>(operands[1]) +
        ((call->slot[b] * heads + head) * capacity + call->past[b]) * rowBytes;
    for (int64_t t = 0; t < call->valid[b]; ++t) {
      if (EFF_SPEC(cache_i8))
        quantizeRow(x + t * EFF_SPEC(ldx), row + t * rowBytes);
      else
        copyRow(x + t * EFF_SPEC(ldx),
                reinterpret_cast<float *>(row + t * rowBytes));
    }
  }
}
