//===- Rounding.h - how weights are rounded to a format ---------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Rounding to nearest as the format attributes define it (EffAttrs.td). The
/// packer and the reference interpreter both call this, so they agree to the
/// last bit. All arithmetic is f32, ties go to even.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_EFF_ROUNDING_H
#define EFFC_DIALECT_EFF_ROUNDING_H

#include "llvm/ADT/ArrayRef.h"

#include <cstdint>

namespace effc::eff {

enum class Float8Kind : uint32_t;

uint16_t toBF16(float value);
float fromBF16(uint16_t bits);
uint16_t toF16(float value);
float fromF16(uint16_t bits);

/// The value of an 8-bit float.
float fromFloat8(Float8Kind kind, uint8_t bits);

/// `#eff.int8`: rounds one row to `q` and returns its scale; 0 for a row of
/// zeros.
float roundInt8(llvm::ArrayRef<float> row, int8_t *q);

/// `#eff.int4`: rounds one group to `q` in [-8, 7] and returns its scale; 0 for
/// a group of zeros.
float roundInt4(llvm::ArrayRef<float> group, int8_t *q);

/// `eff.quantize`: rounds the activations of one token to `q` and returns their
/// scale; 1 for zeros.
float roundActivations(llvm::ArrayRef<float> row, int8_t *q);

/// `#eff.int_cache`: the integer of one feature by its scale, which is not 0.
int8_t roundCache(float value, float scale, int64_t bits);

} // namespace effc::eff

#endif // EFFC_DIALECT_EFF_ROUNDING_H
