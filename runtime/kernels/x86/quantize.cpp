//===- quantize.cpp - rows to int8 and back ---------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// - quantize_rows: x f32 [rows][ldx], q s8 [rows][ldq], scale f32 [rows]: the
///   scale of each row is its largest magnitude / 127; exactly eff.quantize
/// - quantize_static: x f32 [rows][ldx], scale f32 [1] or [k], or with
///   `asymmetric` the scale and the zero point of all, q s8 [rows][ldq];
///   exactly eff.quantize_static
/// - tensor_scale: x f32 [rows][ldx], y f32 [2]: exactly eff.tensor_scale, by
/// one
///   thread
/// - dequantize_rows: q s8 [rows][ldq], scale f32 [rows], [1] or [k], y f32
///   [rows][ldy]; exactly eff.dequantize
/// Between k and the next multiple of 4 codes are zero where ldq has room for
/// them. Threads split rows; a single row of quantize_static, columns.
///
//===----------------------------------------------------------------------===//

#include "runtime/kernels/x86/quantize.h"

namespace kernels {
namespace {

/// Codes of a row that are written: k, and zeros to a whole dword.
EFF_INLINE int64_t writtenCodes() {
  return least(ceilDiv(EFF_SPEC(k), 4) * 4, EFF_SPEC(ldq));
}

/// Codes of columns [begin, end) of a row; `scale` gives those of 16 columns.
template <class Scale>
EFF_INLINE void quantizeColumns(const float *x, int8_t *q, int64_t begin,
                                int64_t end, Scale scale, float zero = 0) {
  int64_t k = EFF_SPEC(k), last = end < k ? end : writtenCodes();
#pragma clang loop unroll_count(2)
  for (int64_t i = begin; i < last; i += 16) {
    f32x16 v = keepFirst(load(x + i), k - i, f32x16{});
    i32x16 codes = quantize(v, scale(i), zero);
    // Zeros to a whole dword, whatever the zero point.
    if (EFF_SPEC(asymmetric))
      codes = codes & (iota() < static_cast<int32_t>(k - i));
    storeCodes(q + i, codes, last - i);
  }
}

} // namespace
} // namespace kernels

using namespace kernels;

EFF_KERNEL(quantize_rows) {
  int64_t k = EFF_SPEC(k);
  Range rows = split(rowCount(call), thread, threads);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const float *x =
        static_cast<const float *>(operands[0]) + row * EFF_SPEC(ldx);
    int8_t *q = static_cast<int8_t *>(operands[1]) + row * EFF_SPEC(ldq);
    f32x16 largest = {};
#pragma clang loop unroll_count(2)
    for (int64_t i = 0; i < k; i += 16)
      largest = max(keepFirst(abs(load(x + i)), k - i, f32x16{}), largest);
    float scale = scaleOf(maxLane(largest));
    static_cast<float *>(operands[2])[row] = scale;
    quantizeColumns(x, q, 0, k, [&](int64_t) { return splat(scale); });
  }
}

EFF_KERNEL(quantize_static) {
  const float *scale = static_cast<const float *>(operands[1]);
  int64_t rows = rowCount(call), blocks = ceilDiv(EFF_SPEC(k), 64);
  Range items = split(rows * blocks, thread, threads);
  while (items.begin < items.end) {
    int64_t row = items.begin / blocks, first = items.begin % blocks,
            last = least(blocks, first + items.end - items.begin);
    quantizeColumns(
        static_cast<const float *>(operands[0]) + row * EFF_SPEC(ldx),
        static_cast<int8_t *>(operands[2]) + row * EFF_SPEC(ldq), first * 64,
        last < blocks ? last * 64 : EFF_SPEC(k),
        [&](int64_t i) {
          return EFF_SPEC(scale_each) ? load(scale + i) : splat(scale[0]);
        },
        EFF_SPEC(asymmetric) ? scale[1] : 0.0f);
    items.begin += last - first;
  }
}

EFF_KERNEL(tensor_scale) {
  (void)threads;
  if (thread != 0)
    return;
  int64_t k = EFF_SPEC(k), rows = rowCount(call);
  f32x16 low = {}, high = {};
  for (int64_t row = 0; row < rows; ++row) {
    const float *x =
        static_cast<const float *>(operands[0]) + row * EFF_SPEC(ldx);
#pragma clang loop unroll_count(2)
    for (int64_t i = 0; i < k; i += 16) {
      f32x16 v = keepFirst(load(x + i), k - i, f32x16{});
      low = min(v, low);
      high = max(v, high);
    }
  }
  float smallest = -maxLane(-low), scale = (maxLane(high) - smallest) / 255.0f;
  float *y = static_cast<float *>(operands[1]);
  y[0] = scale;
  f32x16 zero = splat(scale > 0.0f ? -smallest / scale : 0.0f);
  zero = max(min(zero, splat(255.0f)), f32x16{});
  y[1] = static_cast<float>(roundToInt(zero)[0] - 128);
}

EFF_KERNEL(dequantize_rows) {
  int64_t k = EFF_SPEC(k);
  const float *scale = static_cast<const float *>(operands[1]);
  Range rows = split(rowCount(call), thread, threads);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const int8_t *q =
        static_cast<const int8_t *>(operands[0]) + row * EFF_SPEC(ldq);
    float *y = static_cast<float *>(operands[2]) + row * EFF_SPEC(ldy);
    float all = scale[EFF_SPEC(static_scale) ? 0 : row];
#pragma clang loop unroll_count(2)
    for (int64_t i = 0; i < k; i += 16) {
      f32x16 codes = loadCodes(q + i);
      bool each = EFF_SPEC(static_scale) && EFF_SPEC(scale_each);
      storeFirst(y + i, codes * (each ? load(scale + i) : splat(all)), k - i);
    }
  }
}
