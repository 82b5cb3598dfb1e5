//===- naive_int8.cpp - roundings to int8 in plain loops
//-------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "runtime/kernels/x86/naive_step.h"

#include "effc/Compress/Hadamard.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace kernels::naive {

int8_t toInt8(float x, float scale) {
  float v = x / scale;
  if (scale == 0 || std::isnan(v))
    return 0;
  return static_cast<int8_t>(std::nearbyint(std::clamp(v, -128.0f, 127.0f)));
}

/// The scale of a row: its largest magnitude / 127, or 1.
static float scaleOf(const float *values, int64_t count) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i)
    largest = std::max(largest, std::fabs(values[i]));
  return largest / 127 > 0 ? largest / 127 : 1;
}

void storeRow(const Step &s, const float *values, int64_t count, int64_t row,
              int y, int oscale) {
  int64_t quant = s.c("quant"), start = row * s.c("ldy");
  float ofRow = quant == 2 ? scaleOf(values, count) : 0;
  if (quant == 2)
    s.op<float>(oscale)[row] = ofRow;
  for (int64_t i = 0; i < count; ++i) {
    if (quant == 0)
      s.op<float>(y)[start + i] = values[i];
    else if (quant == 1)
      s.op<int8_t>(y)[start + i] =
          toInt8(values[i], s.op<float>(oscale)[s.c("oscale_each") ? i : 0]);
    else
      s.op<int8_t>(y)[start + i] = toInt8(values[i], ofRow);
  }
}

/// Zeros between k and the next multiple of 4, where there is room.
static void pad(const Step &s, int8_t *q) {
  int64_t k = s.c("k"), end = std::min((k + 3) / 4 * 4, s.c("ldq"));
  std::fill(q + k, q + end, int8_t(0));
}

void quantizeRows(const Step &s) {
  int64_t k = s.c("k");
  for (int64_t r = 0; r < s.rows(); ++r) {
    const float *x = s.op<float>(0) + r * s.c("ldx");
    int8_t *q = s.op<int8_t>(1) + r * s.c("ldq");
    float scale = scaleOf(x, k);
    s.op<float>(2)[r] = scale;
    for (int64_t i = 0; i < k; ++i)
      q[i] = toInt8(x[i], scale);
    pad(s, q);
  }
}

void quantizeStatic(const Step &s) {
  int64_t k = s.c("k");
  float zero = s.c("asymmetric") ? s.op<float>(1)[1] : 0;
  for (int64_t r = 0; r < s.rows(); ++r) {
    int8_t *q = s.op<int8_t>(2) + r * s.c("ldq");
    for (int64_t i = 0; i < k; ++i) {
      float x = s.op<float>(0)[r * s.c("ldx") + i],
            scale = s.op<float>(1)[s.c("scale_each") ? i : 0];
      float v = scale == 0 || std::isnan(x / scale) ? 0 : x / scale;
      q[i] = static_cast<int8_t>(
          std::clamp(std::nearbyint(v) + zero, -128.0f, 127.0f));
    }
    pad(s, q);
  }
}

void tensorScale(const Step &s) {
  float low = 0, high = 0;
  for (int64_t r = 0; r < s.rows(); ++r)
    for (int64_t i = 0; i < s.c("k"); ++i) {
      low = std::min(low, s.op<float>(0)[r * s.c("ldx") + i]);
      high = std::max(high, s.op<float>(0)[r * s.c("ldx") + i]);
    }
  float scale = (high - low) / 255, *y = s.op<float>(1);
  y[0] = scale;
  y[1] = scale > 0
             ? std::nearbyint(std::clamp(-low / scale, 0.0f, 255.0f)) - 128
             : -128;
}

void dequantizeRows(const Step &s) {
  for (int64_t r = 0; r < s.rows(); ++r)
    for (int64_t i = 0; i < s.c("k"); ++i) {
      int64_t scale = !s.c("static_scale") ? r : s.c("scale_each") ? i : 0;
      s.op<float>(2)[r * s.c("ldy") + i] =
          s.op<int8_t>(0)[r * s.c("ldq") + i] * s.op<float>(1)[scale];
    }
}

void rotate(const Step &s, float *row) {
  namespace compress = effc::compress;
  int64_t order = s.c("base") << s.c("log2");
  auto plan = compress::HadamardPlan::create(order, s.c("base"));
  compress::transform(*plan, row, s.c("blocks"),
                      s.c("transposed") ? compress::Direction::Transposed
                                        : compress::Direction::Forward);
}

void hadamard(const Step &s) {
  for (int64_t r = 0; r < s.rows(); ++r) {
    const float *x = s.op<float>(0) + r * s.c("ldx");
    std::vector<float> row(x, x + s.c("d"));
    rotate(s, row.data());
    storeRow(s, row.data(), s.c("d"), r, 1, 2);
  }
}

} // namespace kernels::naive
