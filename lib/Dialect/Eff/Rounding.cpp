//===- Rounding.cpp - how weights are rounded to a format -----------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Dialect/Eff/Rounding.h"
#include "effc/Dialect/Eff/Eff.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace effc::eff {

static uint32_t toBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

static float fromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

uint16_t toBF16(float value) {
  uint32_t bits = toBits(value);
  if (std::isnan(value))
    return bits >> 16 | 0x40;
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

float fromBF16(uint16_t bits) { return fromBits(uint32_t(bits) << 16); }

uint16_t toF16(float value) {
  uint32_t bits = toBits(value);
  uint16_t sign = bits >> 16 & 0x8000;
  uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000)
    return sign | 0x7e00;
  // 65520 and more round to infinity.
  if (magnitude >= 0x477ff000)
    return sign | 0x7c00;
  // Below 2^-14 the result is a multiple of 2^-24; the addition rounds.
  if (magnitude < 0x38800000) {
    float shifted = fromBits(magnitude) + fromBits(0x3f000000);
    return sign | (toBits(shifted) - 0x3f000000);
  }
  uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return sign | ((rounded - 0x38000000) >> 13);
}

float fromF16(uint16_t bits) {
  uint32_t sign = uint32_t(bits & 0x8000) << 16;
  uint32_t exponent = bits >> 10 & 31, mantissa = bits & 0x3ff;
  if (exponent == 31)
    return fromBits(sign | 0x7f800000 | mantissa << 13);
  if (exponent == 0)
    return fromBits(sign | toBits(std::ldexp(float(mantissa), -24)));
  return fromBits(sign | (exponent + 112) << 23 | mantissa << 13);
}

/// round-half-even(value / scale) within [low, high]; std::nearbyint in the
/// default rounding mode.
static int8_t quantize(float value, float scale, float low, float high) {
  float rounded = std::nearbyint(value / scale);
  // A NaN compares false and becomes 0.
  if (!(rounded >= low))
    return rounded < low ? int8_t(low) : int8_t(0);
  return int8_t(std::min(rounded, high));
}

static float getMaxMagnitude(llvm::ArrayRef<float> values) {
  float maximum = 0;
  for (float value : values)
    maximum = std::max(maximum, std::fabs(value));
  return maximum;
}

float roundInt8(llvm::ArrayRef<float> row, int8_t *q) {
  float scale = getMaxMagnitude(row) / 127;
  for (size_t i = 0; i < row.size(); ++i)
    q[i] = scale > 0 ? quantize(row[i], scale, -127, 127) : 0;
  return scale;
}

float roundInt4(llvm::ArrayRef<float> group, int8_t *q) {
  float extreme = 0;
  for (float value : group)
    if (std::fabs(value) > std::fabs(extreme))
      extreme = value;
  float scale = extreme / -8;
  for (size_t i = 0; i < group.size(); ++i)
    q[i] = scale != 0 ? quantize(group[i], scale, -8, 7) : 0;
  return scale;
}

float roundActivations(llvm::ArrayRef<float> row, int8_t *q) {
  float scale = roundInt8(row, q);
  return scale > 0 ? scale : 1;
}

float fromFloat8(Float8Kind kind, uint8_t bits) {
  // e5m2 is the upper half of an f16.
  if (kind == Float8Kind::E5M2)
    return fromF16(uint16_t(bits << 8));
  if ((bits & 0x7f) == 0x7f)
    return std::numeric_limits<float>::quiet_NaN();
  // The exponent of e4m3 is 8 less than that of f16.
  return 256 * fromF16(uint16_t((bits & 0x80) << 8 | (bits & 0x7f) << 7));
}

int8_t roundCache(float value, float scale, int64_t bits) {
  float q = value * (1 / scale), half = bits == 4 ? 8 : 128;
  if (std::isnan(q))
    return 0;
  return int8_t(std::nearbyint(std::clamp(q, -half, half - 1)));
}

} // namespace effc::eff
