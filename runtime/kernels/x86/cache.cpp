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
/// The integers are those of compress::quantizeToken. With cache_bits 8 or 4 a
/// row is head_dim integers of that many bits by scales f32 [heads][head_dim],
/// round(x * (1 / scale)) as eff::roundCache; those of 4 bits plus 8, two to a
/// byte, even ones in the low halves.
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

/// round(x * (1 / scale)) within `bits` bits; 0 where x is NaN.
EFF_INLINE i32x16 roundByScale(const float *x, const float *scale) {
  float half = EFF_SPEC(cache_bits) == 4 ? 8.0f : 128.0f;
  f32x16 q = load(x) * (splat(1.0f) / load(scale));
  q = q == q ? q : f32x16{};
  return roundToInt(max(min(q, splat(half - 1.0f)), splat(-half)));
}

EFF_INLINE void roundRow(const float *x, const float *scale, char *row) {
  int64_t d = EFF_SPEC(head_dim);
  int8_t *codes = reinterpret_cast<int8_t *>(row);
  if (EFF_SPEC(cache_bits) == 8) {
#pragma clang loop unroll_count(2)
    for (int64_t i = 0; i < d; i += 16)
      storeCodes(codes + i, roundByScale(x + i, scale + i), d - i);
    return;
  }
#pragma clang loop unroll(disable)
  for (int64_t i = 0; i < d; i += 32) {
    i32x16 a = roundByScale(x + i, scale + i), b = a;
    if (i + 16 < d)
      b = roundByScale(x + i + 16, scale + i + 16);
    i32x16 even = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16,
                                          18, 20, 22, 24, 26, 28, 30);
    i32x16 odd = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17,
                                         19, 21, 23, 25, 27, 29, 31);
    storeCodes(codes + i / 2, (even + 8) | ((odd + 8) << 4), (d - i) / 2);
  }
}

} // namespace
} // namespace kernels

using namespace kernels;

EFF_KERNEL(cache_append) {
  int64_t heads = EFF_SPEC(heads), d = EFF_SPEC(head_dim),
          capacity = EFF_SPEC(capacity), tokens = EFF_SPEC(tokens);
  int64_t rowBytes = cacheRowBytes();
  Range items = split(EFF_SPEC(batch) * heads, thread, threads);
  for (int64_t item = items.begin; item < items.end; ++item) {
    int64_t b = item / heads, head = item % heads;
    const float *x = static_cast<const float *>(operands[0]) +
                     b * tokens * EFF_SPEC(ldx) + head * d;
    char *row =
        static_cast<char *>(operands[1]) +
        ((call->slot[b] * heads + head) * capacity + call->past[b]) * rowBytes;
    for (int64_t t = 0; t < call->valid[b]; ++t) {
      if (EFF_SPEC(cache_bits))
        roundRow(x + t * EFF_SPEC(ldx),
                 static_cast<const float *>(operands[2]) + head * d,
                 row + t * rowBytes);
      else if (EFF_SPEC(cache_i8))
        quantizeRow(x + t * EFF_SPEC(ldx), row + t * rowBytes);
      else
        copyRow(x + t * EFF_SPEC(ldx),
                reinterpret_cast<float *>(row + t * rowBytes));
    }
  }
}
