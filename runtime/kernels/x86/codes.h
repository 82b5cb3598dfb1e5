//===- codes.h - 8-bit integers and their scales ----------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Symmetric 8-bit quantisation on vectors: the same integers as
/// compress::quantizeInt8 (include/effc/Compress/Quantize.h), bit for bit.
///
//===----------------------------------------------------------------------===//

#ifndef EFF_KERNELS_X86_CODES_H
#define EFF_KERNELS_X86_CODES_H

#include "runtime/kernels/x86/spec.h"

namespace kernels {

/// 16 integers as floats.
EFF_INLINE f32x16 loadCodes(const int8_t *q) {
  i8x16 bytes = *reinterpret_cast<const detail::i8x16u *>(q);
  return __builtin_convertvector(__builtin_convertvector(bytes, i32x16),
                                 f32x16);
}

/// The low bytes of the first `count` lanes.
EFF_INLINE void storeCodes(int8_t *q, i32x16 v, int64_t count) {
  i8x16 bytes = __builtin_convertvector(v, i8x16);
  if (count >= 16) {
    *reinterpret_cast<detail::i8x16u *>(q) = bytes;
    return;
  }
  // LLVM 22 stores a whole lane where the mask of a truncating store is known
  // to have its first bit alone (AVX-512).
  if (count == 1) {
    *q = bytes[0];
    return;
  }
  typedef int8_t i8x16e __attribute__((ext_vector_type(16)));
  i32x16 in = iota() < static_cast<int32_t>(count);
  __builtin_masked_store(__builtin_convertvector(in, mask16), (i8x16e)bytes, q);
}

/// The nearest integers, half to even; |x| < 2^22.
EFF_INLINE i32x16 roundToInt(f32x16 x) {
  // Adding 1.5 * 2^23 leaves no bits behind the point.
  return (i32x16)(x + 12582912.0f) - 0x4b400000;
}

/// round(x / scale) + zero within [-128, 127], zero an integer in there; the
/// quotient counts as 0 where the scale is 0 or it is NaN.
EFF_INLINE i32x16 quantize(f32x16 x, f32x16 scale, float zero = 0) {
  f32x16 q = x / scale;
  q = ((q == q) & (scale != 0.0f)) ? q : f32x16{};
  i32x16 rounded =
      roundToInt(max(min(q, splat(127.0f - zero)), splat(-128.0f - zero)));
  return rounded + static_cast<int32_t>(zero);
}

/// Bytes of the row of one token and head in a cache (KernelSpec.h).
EFF_INLINE int64_t cacheRowBytes() {
  int64_t d = EFF_SPEC(head_dim);
  if (EFF_SPEC(cache_bits))
    return d * EFF_SPEC(cache_bits) / 8;
  return EFF_SPEC(cache_i8) ? 4 + ceilDiv(d, 4) * 4 : 4 * d;
}

/// Rows of activations: f32, or 8-bit integers with one scale for all columns
/// or one for each. Rows start ld elements apart.
struct Activations {
  const void *data;
  const float *scale;
  int64_t ld;
  bool i8, each;

  /// 16 columns.
  EFF_INLINE f32x16 get(int64_t row, int64_t column) const {
    if (!i8)
      return load(static_cast<const float *>(data) + row * ld + column);
    f32x16 codes =
        loadCodes(static_cast<const int8_t *>(data) + row * ld + column);
    return codes * (each ? load(scale + column) : splat(scale[0]));
  }
  EFF_INLINE float getOne(int64_t row, int64_t column) const {
    if (!i8)
      return static_cast<const float *>(data)[row * ld + column];
    return static_cast<const int8_t *>(data)[row * ld + column] *
           scale[each ? column : 0];
  }
  /// `count` columns of `rows` rows as floats: where they lie, or in `room`,
  /// `stride` apart. Room has a multiple of 16 columns.
  EFF_INLINE const float *getRows(int64_t row, int64_t rows, int64_t column,
                                  int64_t count, float *room,
                                  int64_t &stride) const {
    if (!i8) {
      stride = ld;
      return static_cast<const float *>(data) + row * ld + column;
    }
    stride = ceilDiv(count, 16) * 16;
#pragma clang loop unroll(disable)
    for (int64_t r = 0; r < rows; ++r)
#pragma clang loop unroll(disable)
      for (int64_t i = 0; i < count; i += 16)
        store(room + r * stride + i, get(row + r, column + i));
    return room;
  }
};

/// The tensor `v` of a family: operand number, that of its scales.
#define EFF_ACTIVATIONS(v, operand, scales)                                    \
  Activations{operands[operand], static_cast<const float *>(operands[scales]), \
              EFF_SPEC(ld##v), EFF_SPEC(v##_i8) != 0,                          \
              EFF_SPEC(v##scale_each) != 0}

} // namespace kernels

#endif // EFF_KERNELS_X86_CODES_H
