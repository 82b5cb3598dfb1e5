//===- Quantize.cpp - integer formats and rounding to them ----------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Compress/Quantize.h"

#include "Gemm.h"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <limits>

namespace effc::compress {

uint16_t toF16(float x) { return Eigen::half_impl::float_to_half_rtne(x).x; }
float fromF16(uint16_t bits) {
  return Eigen::half_impl::half_to_float(
      Eigen::half_impl::raw_uint16_to_half(bits));
}

float roundInto(float x, float low, float high, Rounding rounding) {
  if (rounding == Rounding::HalfToEven)
    return roundInto(x, low, high);
  if (x != x)
    return 0;
  return std::clamp(std::round(x), low, high);
}

//===----------------------------------------------------------------------===//
// Scales
//===----------------------------------------------------------------------===//

Status WeightFormat::check(int64_t rows, int64_t cols) const {
  if (bits != 4 && bits != 8)
    return badSetting(std::to_string(bits) + " bits are not supported",
                      "weights have 4 or 8");
  if (granularity == Granularity::Group && group < 1)
    return badSetting("a group of " + std::to_string(group) + " columns");
  if (rule == ScaleRule::Exact && bits != 4)
    return badSetting("the rule 'exact' is for 4 bits");
  if (clip.steps < 1 || !(clip.least > 0 && clip.least <= 1))
    return badSetting("a clipping search needs at least one step and a least "
                      "ratio in (0, 1]");
  if (!(scaleFloor >= 0) || !std::isfinite(scaleFloor))
    return badSetting("a least scale that is negative or not finite");
  if (rows < 1 || cols < 1)
    return badShape("a matrix of " + std::to_string(rows) + " x " +
                    std::to_string(cols) + " has nothing to quantise");
  return Status::success();
}

/// The stored form of a scale.
static float storeScale(float scale, const WeightFormat &format) {
  if (format.scaleType == ScaleType::F16)
    scale = fromF16(toF16(scale));
  return scale;
}

static float quantize(float x, float scale, const WeightFormat &format) {
  return scale == 0 ? 0
                    : roundInto(x / scale, format.low(), format.high(),
                                format.rounding);
}

/// One scale among elements that need not lie one after the other.
template <typename ForEach>
static float chooseScaleOf(const ForEach &forEach, const WeightFormat &format) {
  float extreme = 0;
  forEach([&](float value) {
    if (std::fabs(value) > std::fabs(extreme))
      extreme = value;
  });
  float magnitude = std::fabs(extreme);
  auto scaleFor = [&](double ratio) {
    float scale;
    if (format.rule == ScaleRule::Exact)
      scale = float(ratio * extreme) / -8;
    else if (format.bits == 4)
      scale = float(ratio * magnitude) * 2 / 15;
    else
      scale = float(ratio * magnitude) / 127;
    if (std::fabs(scale) < format.scaleFloor)
      scale = format.scaleFloor;
    return storeScale(scale, format);
  };
  float best = scaleFor(1);
  if (format.clip.steps <= 1 || magnitude == 0)
    return best;
  double least = std::numeric_limits<double>::infinity();
  for (int step = 0; step < format.clip.steps; ++step) {
    double ratio = 1 - (1 - format.clip.least) * step / (format.clip.steps - 1);
    float scale = scaleFor(ratio);
    double error = 0;
    forEach([&](float value) {
      double d = value - quantize(value, scale, format) * scale;
      error += d * d;
    });
    // On ties the larger ratio stays.
    if (error < least) {
      least = error;
      best = scale;
    }
  }
  return best;
}

float chooseScale(Span<const float> values, const WeightFormat &format) {
  return chooseScaleOf(
      [&](auto &&visit) {
        for (float value : values)
          visit(value);
      },
      format);
}

//===----------------------------------------------------------------------===//
// Matrices
//===----------------------------------------------------------------------===//

int64_t QuantizedMatrix::groupsPerRow() const {
  return format.granularity == Granularity::Group
             ? (cols + format.group - 1) / format.group
             : 1;
}

int64_t QuantizedMatrix::numScales() const {
  switch (format.granularity) {
  case Granularity::Tensor:
    return 1;
  case Granularity::Column:
    return cols;
  case Granularity::Row:
  case Granularity::Group:
    return rows * groupsPerRow();
  }
  return 0;
}

int64_t QuantizedMatrix::scaleIndex(int64_t i, int64_t j) const {
  switch (format.granularity) {
  case Granularity::Tensor:
    return 0;
  case Granularity::Row:
    return i;
  case Granularity::Column:
    return j;
  case Granularity::Group:
    return i * groupsPerRow() + j / format.group;
  }
  return 0;
}

std::vector<float> QuantizedMatrix::dequantize() const {
  std::vector<float> w(rows * cols);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < cols; ++j)
      w[i * cols + j] = at(i, j);
  return w;
}

int64_t QuantizedMatrix::getBytes() const {
  return rows * ((cols * format.bits + 7) / 8) +
         numScales() * (format.scaleType == ScaleType::F16 ? 2 : 4);
}

Result<QuantizedMatrix> roundToNearest(MatrixView<const float> w,
                                       const WeightFormat &format,
                                       const ParallelFor &parallel) {
  if (!w.isValid())
    return badShape("a matrix view has no valid extents");
  if (Status status = format.check(w.rows, w.cols); !status)
    return status;
  if (!allFinite(w))
    return badValues("a weight is not finite");
  QuantizedMatrix result;
  result.format = format;
  result.rows = w.rows;
  result.cols = w.cols;
  result.q.resize(w.rows * w.cols);
  result.scales.resize(result.numScales());
  if (format.granularity == Granularity::Tensor)
    result.scales[0] = chooseScaleOf(
        [&](auto &&visit) {
          for (int64_t i = 0; i < w.rows; ++i)
            for (int64_t j = 0; j < w.cols; ++j)
              visit(w(i, j));
        },
        format);
  if (format.granularity == Granularity::Column)
    parallel(w.cols, [&](int64_t j) {
      result.scales[j] = chooseScaleOf(
          [&](auto &&visit) {
            for (int64_t i = 0; i < w.rows; ++i)
              visit(w(i, j));
          },
          format);
    });
  int64_t groups = result.groupsPerRow();
  parallel(w.rows, [&](int64_t i) {
    for (int64_t g = 0; g < groups; ++g) {
      int64_t first = g * format.group, end = w.cols;
      if (format.granularity == Granularity::Group)
        end = std::min(w.cols, first + format.group);
      else
        first = 0;
      if (format.granularity == Granularity::Row ||
          format.granularity == Granularity::Group)
        result.scales[i * groups + g] =
            chooseScale({w.row(i) + first, size_t(end - first)}, format);
      for (int64_t j = first; j < end; ++j)
        result.q[i * w.cols + j] = int8_t(
            quantize(w(i, j), result.scales[result.scaleIndex(i, j)], format));
    }
  });
  for (float scale : result.scales)
    if (!std::isfinite(scale))
      return badValues("a scale is too large for its type",
                       "store scales as f32");
  return result;
}

void quantizeWith(Span<const float> x, float scale, int8_t *q) {
  for (size_t i = 0; i < x.size(); ++i)
    q[i] = quantizeInt8(x[i], scale);
}

float quantizeToken(Span<const float> x, int8_t *q) {
  float max = 0;
  for (float value : x)
    max = std::max(max, std::fabs(value));
  float scale = max / 127;
  if (scale == 0)
    scale = 1;
  quantizeWith(x, scale, q);
  return scale;
}

//===----------------------------------------------------------------------===//
// Two levels
//===----------------------------------------------------------------------===//

Result<TwoLevelMatrix> toTwoLevel(const QuantizedMatrix &matrix) {
  const WeightFormat &format = matrix.format;
  bool perRow = format.granularity == Granularity::Row;
  if (format.bits != 4 || (!perRow && format.granularity != Granularity::Group))
    return badSetting("two-level weights are made of 4-bit weights with one "
                      "scale per row or per group");
  TwoLevelMatrix result;
  result.rows = matrix.rows;
  result.cols = matrix.cols;
  result.group = format.group;
  result.singleLevel = perRow || matrix.cols <= format.group;
  result.q = matrix.q;
  result.channel.resize(matrix.rows);
  if (result.singleLevel) {
    for (int64_t i = 0; i < matrix.rows; ++i)
      result.channel[i] = matrix.scales[i] / 16;
    return result;
  }
  int64_t groups = matrix.groupsPerRow();
  result.r.resize(matrix.rows * groups);
  for (int64_t i = 0; i < matrix.rows; ++i) {
    float max = 0;
    for (int64_t j = 0; j < matrix.cols; ++j)
      max = std::max(max, std::fabs(matrix.at(i, j)));
    float channel = max / 127;
    result.channel[i] = channel;
    for (int64_t g = 0; g < groups; ++g) {
      // A group whose q are all 0 may have any scale; its r stays 0.
      int64_t first = g * format.group;
      int64_t end = std::min(matrix.cols, first + format.group);
      const int8_t *q = &matrix.q[i * matrix.cols];
      bool used = std::any_of(q + first, q + end, [](int8_t v) { return v; });
      float scale = matrix.scales[i * groups + g];
      result.r[i * groups + g] =
          used && channel > 0 ? toF16(scale / channel) : 0;
    }
  }
  return result;
}

int8_t TwoLevelMatrix::expanded(int64_t i, int64_t j) const {
  int8_t value = q[i * cols + j];
  if (singleLevel)
    return int8_t(value * 16);
  // The product of a 4-bit integer and an f16 is exact in f32.
  float ratio = fromF16(r[i * groupsPerRow() + j / group]);
  return int8_t(roundInto(float(value) * ratio, -127, 127));
}

std::vector<float> TwoLevelMatrix::dequantize() const {
  std::vector<float> w(rows * cols);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < cols; ++j)
      w[i * cols + j] = at(i, j);
  return w;
}

Result<std::vector<float>>
TwoLevelMatrix::multipliers(float inputScale,
                            Span<const float> outputScales) const {
  if (!outputScales.empty() && int64_t(outputScales.size()) != rows)
    return badShape(std::to_string(outputScales.size()) +
                    " output scales do not fit " + std::to_string(rows) +
                    " rows");
  std::vector<float> result(rows);
  for (int64_t i = 0; i < rows; ++i) {
    float out = outputScales.empty() ? 1 : outputScales[i];
    if (!(out > 0))
      return badValues("an output scale is not positive");
    result[i] = inputScale * (channel[i] / out);
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Percentiles
//===----------------------------------------------------------------------===//

Result<float> absQuantile(Span<const float> x, double alpha) {
  if (!(alpha >= 0 && alpha <= 1))
    return badSetting("a percentile outside [0, 1]");
  if (x.empty())
    return badValues("no values to take a percentile of");
  std::vector<float> magnitudes(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    if (!std::isfinite(x[i]))
      return badValues("a value to take a percentile of is not finite");
    magnitudes[i] = std::fabs(x[i]);
  }
  double position = alpha * double(x.size() - 1);
  size_t index = std::min(size_t(position), x.size() - 1);
  auto at = magnitudes.begin() + index;
  std::nth_element(magnitudes.begin(), at, magnitudes.end());
  double low = *at, high = low;
  if (index + 1 < magnitudes.size())
    high = *std::min_element(at + 1, magnitudes.end());
  return float(low + (high - low) * (position - double(index)));
}

Status RunningPercentile::add(Span<const float> sample) {
  if (!(sigma > 0 && sigma <= 1))
    return badSetting("a running mean needs a weight in (0, 1]");
  Result<float> percentile = absQuantile(sample, alpha);
  if (!percentile)
    return percentile.takeError();
  value = samples == 0 ? *percentile : value + sigma * (*percentile - value);
  ++samples;
  return Status::success();
}

float RunningPercentile::scale() const {
  return std::max(float(value / 127), 1e-6f);
}

//===----------------------------------------------------------------------===//
// Errors
//===----------------------------------------------------------------------===//

Result<double> sqnr(Span<const float> signal, Span<const float> approximation) {
  if (signal.size() != approximation.size() || signal.empty())
    return badShape("a signal and its approximation differ in size or are "
                    "empty");
  double power = 0, noise = 0;
  for (size_t i = 0; i < signal.size(); ++i) {
    double d = double(signal[i]) - approximation[i];
    power += double(signal[i]) * signal[i];
    noise += d * d;
  }
  if (noise == 0)
    return std::numeric_limits<double>::infinity();
  return 10 * std::log10(power / noise);
}

static Status checkPair(const MatrixView<const float> &w,
                        const MatrixView<const float> &v) {
  if (!w.isValid() || !v.isValid() || w.rows != v.rows || w.cols != v.cols ||
      w.rows == 0 || w.cols == 0)
    return badShape("two matrices to compare differ in shape or are empty");
  return Status::success();
}

Result<double> relativeError(MatrixView<const float> w,
                             MatrixView<const float> v) {
  if (Status status = checkPair(w, v); !status)
    return status;
  double power = 0, noise = 0;
  for (int64_t i = 0; i < w.rows; ++i)
    for (int64_t j = 0; j < w.cols; ++j) {
      double d = double(w(i, j)) - v(i, j);
      power += double(w(i, j)) * w(i, j);
      noise += d * d;
    }
  return noise == 0 ? 0 : std::sqrt(noise / power);
}

/// tr(A H A^T).
static double quadraticForm(MatrixView<const float> a,
                            MatrixView<const float> hessian,
                            const ParallelFor &parallel) {
  std::vector<float> product(a.rows * a.cols);
  gemm<float>(getIsa(), a.rows, a.cols, a.cols, {a.data, a.stride, 1},
              {hessian.data, hessian.stride, 1}, product.data(), a.cols, 1,
              parallel);
  double trace = 0;
  for (int64_t i = 0; i < a.rows; ++i)
    for (int64_t j = 0; j < a.cols; ++j)
      trace += double(product[i * a.cols + j]) * a(i, j);
  return trace;
}

Result<double> outputError(MatrixView<const float> w, MatrixView<const float> v,
                           MatrixView<const float> hessian,
                           const ParallelFor &parallel) {
  if (Status status = checkPair(w, v); !status)
    return status;
  if (!hessian.isValid() || hessian.rows != w.cols || hessian.cols != w.cols)
    return badShape("a Hessian of " + std::to_string(hessian.rows) + " x " +
                    std::to_string(hessian.cols) + " does not fit " +
                    std::to_string(w.cols) + " inputs");
  std::vector<float> difference(w.rows * w.cols);
  for (int64_t i = 0; i < w.rows; ++i)
    for (int64_t j = 0; j < w.cols; ++j)
      difference[i * w.cols + j] = w(i, j) - v(i, j);
  double noise =
      quadraticForm({difference.data(), w.rows, w.cols}, hessian, parallel);
  if (noise == 0)
    return 0.0;
  return noise / quadraticForm(w, hessian, parallel);
}

} // namespace effc::compress
