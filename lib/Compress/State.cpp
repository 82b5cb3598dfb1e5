//===- State.cpp - recurrent states as 8-bit integers ---------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Compress/State.h"

#include "effc/Compress/Quantize.h"

#include <algorithm>
#include <cmath>

namespace effc::compress {

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter,
                               std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    uint64_t a = uint64_t(0xD2511F53) * counter[0];
    uint64_t b = uint64_t(0xCD9E8D57) * counter[2];
    counter = {uint32_t(b >> 32) ^ counter[1] ^ key[0], uint32_t(b),
               uint32_t(a >> 32) ^ counter[3] ^ key[1], uint32_t(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

Result<Int8State> Int8State::create(const StateFormat &format, int64_t rows,
                                    int64_t n, Span<const float> scales) {
  if (rows < 1 || n < 1)
    return badShape("a state of " + std::to_string(rows) + " x " +
                    std::to_string(n) + " elements");
  if (format.residualBits < 0 || format.residualBits > 8)
    return badSetting("a residual of " + std::to_string(format.residualBits) +
                          " bits",
                      "0 to 8 are possible");
  Int8State state;
  state.format = format;
  state.rows = rows;
  state.n = n;
  state.q.resize(rows * n);
  if (format.residualBits)
    state.residuals.resize(rows * n);
  int64_t count = scales.size();
  if (format.scaling == StateScaling::Dynamic) {
    if (count)
      return badSetting("a state with dynamic scales takes none");
    state.scales.resize(rows);
    state.rowStride = 1;
    return state;
  }
  if (count != 1 && count != rows && count != rows * n)
    return badShape(std::to_string(count) + " scales do not fit a state of " +
                    std::to_string(rows) + " x " + std::to_string(n));
  for (float scale : scales)
    if (!(scale > 0) || !std::isfinite(scale))
      return badValues("a state's scale is not positive");
  state.scales.assign(scales.begin(), scales.end());
  if (count == rows * n && count > 1) {
    state.rowStride = n;
    state.elementStride = 1;
  } else if (count == rows && count > 1) {
    state.rowStride = 1;
  }
  return state;
}

int64_t Int8State::getBytes() const {
  int64_t bytes = rows * n + (rows * n * format.residualBits + 7) / 8;
  return format.scaling == StateScaling::Dynamic ? bytes + 4 * rows : bytes;
}

void Int8State::store(int64_t row, Span<const float> values, uint64_t step) {
  if (format.scaling == StateScaling::Dynamic) {
    float max = 0;
    for (float value : values)
      max = std::max(max, std::fabs(value));
    scales[row] = max / 127;
  }
  int units = 1 << format.residualBits;
  float low = float(-128 * units),
        high = float(127 * units + ((units - 1) >> 1));
  std::array<uint32_t, 4> random = {};
  for (int64_t j = 0; j < n; ++j) {
    float scale = getScale(row, j);
    float t = scale == 0 ? 0 : values[j] / scale * float(units);
    if (format.rounding == StateRounding::Stochastic) {
      if (j % 4 == 0)
        random = philox({uint32_t(j / 4), uint32_t(row), uint32_t(step),
                         uint32_t(step >> 32)},
                        {uint32_t(format.seed), uint32_t(format.seed >> 32)});
      t = std::floor(t + float(random[j % 4] >> 8) * 0x1p-24f);
    }
    int32_t integer = int32_t(roundInto(t, low, high));
    // The nearest multiple of 2^b, ties upwards: the residual is in [-2^(b-1),
    // 2^(b-1)).
    int32_t whole = (integer + units / 2) >> format.residualBits;
    q[row * n + j] = int8_t(whole);
    if (format.residualBits)
      residuals[row * n + j] = int8_t(integer - whole * units);
  }
}

void Int8State::load(int64_t row, Span<float> values) const {
  float unit = 1.0f / float(1 << format.residualBits);
  for (int64_t j = 0; j < n; ++j) {
    float t = q[row * n + j];
    if (format.residualBits)
      t += float(residuals[row * n + j]) * unit;
    values[j] = getScale(row, j) * t;
  }
}

float Int8State::update(int64_t row, Span<const float> decay,
                        Span<const float> input, Span<const float> c,
                        uint64_t step) {
  std::vector<float> values(n);
  load(row, values);
  float y = 0;
  for (int64_t j = 0; j < n; ++j) {
    values[j] = decay[decay.size() == 1 ? 0 : j] * values[j] + input[j];
    y += values[j] * c[j];
  }
  store(row, values, step);
  return y;
}

int64_t stuckLevel(double decay, int64_t limit) {
  int64_t t = limit;
  if (decay < 1)
    t = std::min<int64_t>(limit, int64_t(std::ceil(0.5 / (1 - decay))) + 1);
  while (t > 0 && std::nearbyint(decay * double(t)) != double(t))
    --t;
  return t;
}

Result<std::vector<int8_t>> convState(MatrixView<const int8_t> x,
                                      int64_t width) {
  if (!x.isValid() || x.cols < 1 || width < 1)
    return badShape("a convolution's state of " + std::to_string(width) +
                    " rows of " + std::to_string(x.cols) + " channels");
  std::vector<int8_t> state(width * x.cols);
  int64_t kept = std::min(width, x.rows);
  for (int64_t i = 0; i < kept; ++i)
    std::copy_n(x.row(x.rows - kept + i), x.cols,
                state.data() + (width - kept + i) * x.cols);
  return state;
}

Status pushConvState(MatrixView<int8_t> state, Span<const int8_t> row) {
  if (!state.isValid() || state.rows < 1 || int64_t(row.size()) != state.cols)
    return badShape("a row of " + std::to_string(row.size()) +
                    " channels does not fit a convolution's state of " +
                    std::to_string(state.rows) + " x " +
                    std::to_string(state.cols));
  for (int64_t i = 0; i + 1 < state.rows; ++i)
    std::copy_n(state.row(i + 1), state.cols, state.row(i));
  std::copy_n(row.data(), state.cols, state.row(state.rows - 1));
  return Status::success();
}

} // namespace effc::compress
