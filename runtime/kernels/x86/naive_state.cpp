//===- naive_state.cpp - int8 states in plain loops -----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "runtime/kernels/x86/naive_state.h"

#include <algorithm>
#include <array>

namespace kernels::naive {

static std::array<uint32_t, 4> philox(std::array<uint32_t, 4> c) {
  uint32_t k0 = 0, k1 = 0;
  for (int round = 0; round < 10; ++round) {
    uint64_t a = uint64_t(0xD2511F53) * c[0], b = uint64_t(0xCD9E8D57) * c[2];
    c = {uint32_t(b >> 32) ^ c[1] ^ k0, uint32_t(b),
         uint32_t(a >> 32) ^ c[3] ^ k1, uint32_t(a)};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return c;
}

State::State(const Step &s, int operand, int scales, int64_t b, int64_t blocks,
             int64_t n, int64_t width)
    : format(s.c("state_format")), rounding(s.c("state_rounding")),
      bits(s.c("state_residual")), n(n), width(width) {
  int64_t elements = blocks * n * width, slot = s.call.slot[b];
  if (!format) {
    floats = s.op<float>(operand) + slot * elements;
    return;
  }
  auto align = [](int64_t bytes) { return (bytes + 63) / 64 * 64; };
  int64_t rest = bits == 8   ? elements
                 : bits == 4 ? blocks * ((n + 1) / 2) * width
                             : 0;
  int64_t scaleBytes = format == 2 ? align(blocks * width * 4) : 0;
  codes = s.op<int8_t>(operand) +
          slot * (align(elements) + align(rest) + scaleBytes);
  residuals = reinterpret_cast<uint8_t *>(codes + align(elements));
  if (format == 2)
    dynamicScales =
        reinterpret_cast<float *>(codes + align(elements) + align(rest));
  else
    staticScales = s.op<float>(scales);
}

float State::getScale(int64_t block, int64_t i, int64_t channel) const {
  return dynamicScales ? dynamicScales[block * width + channel]
                       : staticScales[at(block, i, channel)];
}

int State::getResidual(int64_t block, int64_t i, int64_t channel) const {
  if (bits == 8)
    return static_cast<int8_t>(residuals[at(block, i, channel)]);
  int byte = residuals[(block * ((n + 1) / 2) + i / 2) * width + channel];
  int half = i % 2 ? byte >> 4 : byte & 15;
  return half >= 8 ? half - 16 : half;
}

std::vector<float> State::load(int64_t block, int64_t channel) const {
  std::vector<float> values(n);
  for (int64_t i = 0; i < n; ++i) {
    if (floats) {
      values[i] = floats[at(block, i, channel)];
      continue;
    }
    float t = codes[at(block, i, channel)];
    if (bits)
      t += static_cast<float>(getResidual(block, i, channel)) /
           static_cast<float>(1 << bits);
    values[i] = getScale(block, i, channel) * t;
  }
  return values;
}

void State::store(int64_t block, int64_t channel, std::vector<float> &values,
                  int64_t position) {
  if (floats) {
    for (int64_t i = 0; i < n; ++i)
      floats[at(block, i, channel)] = values[i];
    return;
  }
  if (dynamicScales) {
    float largest = 0;
    for (float v : values)
      largest = std::max(largest, std::fabs(v));
    dynamicScales[block * width + channel] = largest / 127;
  }
  int units = 1 << bits;
  std::array<uint32_t, 4> random = {};
  for (int64_t i = 0; i < n; ++i) {
    float scale = getScale(block, i, channel);
    float t = scale == 0 ? 0 : values[i] / scale * static_cast<float>(units);
    if (rounding) {
      if (i % 4 == 0)
        random = philox({static_cast<uint32_t>(i / 4),
                         static_cast<uint32_t>(block * width + channel),
                         static_cast<uint32_t>(position),
                         static_cast<uint32_t>(position >> 32)});
      t = std::floor(t +
                     std::ldexp(static_cast<float>(random[i % 4] >> 8), -24));
    }
    float high = static_cast<float>(127 * units + (units - 1) / 2);
    t = t == t ? std::min(std::max(t, -128.0f * units), high) : 0;
    int integer = static_cast<int>(std::nearbyint(t));
    int whole = (integer + units / 2) >> bits, rest = integer - whole * units;
    codes[at(block, i, channel)] = static_cast<int8_t>(whole);
    if (bits == 8)
      residuals[at(block, i, channel)] = static_cast<uint8_t>(rest);
    if (bits == 4) {
      uint8_t &byte =
          residuals[(block * ((n + 1) / 2) + i / 2) * width + channel];
      byte = static_cast<uint8_t>(i % 2 ? (byte & 15) | (rest & 15) << 4
                                        : rest & 15);
    }
  }
  values = load(block, channel);
}

} // namespace kernels::naive
