//===- hadamard.cpp - rotations of activations ------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// hadamard: x f32 [rows][ldx], y f32 or s8 [rows][ldy], oscale? f32 [1], [d]
/// or [rows] as `quant` says. Equal to compress::transform<float> bit for bit,
/// codes to quantizeInt8 or quantizeToken of that. Threads split rows.
///
//===----------------------------------------------------------------------===//

#include "runtime/kernels/x86/hadamard.h"
#include "runtime/kernels/x86/quantize.h"

using namespace kernels;

EFF_KERNEL(hadamard) {
  int64_t d = EFF_SPEC(d);
  auto *row = static_cast<float *>(
      __builtin_alloca_with_align((d + 16) * sizeof(float), 64 * 8));
  f32x16 scale = splat(rotationScale());
  Range rows = split(rowCount(call), thread, threads);
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    const float *x =
        static_cast<const float *>(operands[0]) + r * EFF_SPEC(ldx);
#pragma clang loop unroll_count(4)
    for (int64_t i = 0; i < d; i += 16)
      store(row + i, load(x + i));
    rotate(row);
    storeRow(d, rowOf(operands[1], r), scaleOfRow(operands[2], r),
             [&](int64_t i) { return load(row + i) * scale; });
  }
}
