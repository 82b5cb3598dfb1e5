//===- quantize.h - results as floats or codes ------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Rows of results that are stored as floats or as int8 codes; scales are those
/// of compress::quantizeToken, bit for bit.
///
//===----------------------------------------------------------------------===//

#ifndef EFF_KERNELS_X86_QUANTIZE_H
#define EFF_KERNELS_X86_QUANTIZE_H

#include "runtime/kernels/x86/codes.h"

namespace kernels {

/// Scale of a row whose largest magnitude is known.
EFF_INLINE float scaleOf(float largest) {
  float scale = largest / 127.0f;
  return scale > 0.0f ? scale : 1.0f;
}

/// Scales of results, one for each column or one for all.
EFF_INLINE f32x16 resultScale(const float *scale, int64_t col) {
  return EFF_SPEC(oscale_each) ? load(scale + col) : splat(scale[0]);
}

/// Row `row` of results: f32 or int8 as `quant` says, ldy elements apart.
EFF_INLINE void *rowOf(void *y, int64_t row) {
  int64_t bytes = EFF_SPEC(quant) ? 1 : 4;
  return static_cast<char *>(y) + row * EFF_SPEC(ldy) * bytes;
}
/// Where the scales for the codes of a row are, or go to.
EFF_INLINE float *scaleOfRow(void *oscale, int64_t row) {
  return static_cast<float *>(oscale) + (EFF_SPEC(quant) == 2 ? row : 0);
}

/// value(i) for i = 0, 16, ... are 16 elements each of a row of `count`: stores
/// them as the constant `quant` says: 0 f32 to y, 1 int8 by the scale(s) at
/// `scale`, 2 int8 by the scale of the row, which goes to `scale`. With 2,
/// `value` is asked twice for each element.
template <class Value>
EFF_INLINE void storeRow(int64_t count, void *y, float *scale, Value value) {
  if (EFF_SPEC(quant) == 0) {
#pragma clang loop unroll_count(2)
    for (int64_t i = 0; i < count; i += 16)
      storeFirst(static_cast<float *>(y) + i, value(i), count - i);
    return;
  }
  float ofRow = 0;
  if (EFF_SPEC(quant) == 2) {
    f32x16 largest = {};
#pragma clang loop unroll_count(2)
    for (int64_t i = 0; i < count; i += 16)
      largest = max(keepFirst(abs(value(i)), count - i, f32x16{}), largest);
    ofRow = scaleOf(maxLane(largest));
    *scale = ofRow;
  }
#pragma clang loop unroll_count(2)
  for (int64_t i = 0; i < count; i += 16) {
    f32x16 s = EFF_SPEC(quant) == 2 ? splat(ofRow) : resultScale(scale, i);
    storeCodes(static_cast<int8_t *>(y) + i, quantize(value(i), s), count - i);
  }
}

} // namespace kernels

#endif // EFF_KERNELS_X86_QUANTIZE_H
