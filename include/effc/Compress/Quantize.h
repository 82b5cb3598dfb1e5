//===- Quantize.h - integer formats and rounding to them --------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Symmetric 8-bit and 4-bit formats. Quotients are IEEE divisions in f32,
/// rounding is half to even, every writer of an integer saturates.
///
///   8 bit: scale = max / 127,       q in [-128, 127]
///   4 bit: scale = 2 max / 15,      q in [-8, 7] (ScaleRule::Symmetric)
///          scale = m / -8, m the value of largest magnitude, first on ties
///          (ScaleRule::Exact)
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_COMPRESS_QUANTIZE_H
#define EFFC_COMPRESS_QUANTIZE_H

#include "effc/Compress/Support.h"

namespace effc::compress {

/// Half to even is what effc does; the other is for comparison with what other
/// tools wrote.
enum class Rounding { HalfToEven, HalfAway };
/// Elements that share a scale. Group: runs of `group` columns of one row; the
/// last run may be shorter.
enum class Granularity { Tensor, Row, Column, Group };
/// How scales are stored. F16 scales are rounded before anything is divided by
/// them.
enum class ScaleType { F32, F16 };
enum class ScaleRule { Symmetric, Exact };

/// Round half to even to an integer in [low, high], |low| and |high| at most
/// 2^22; NaN becomes 0.
inline float roundInto(float x, float low, float high) {
  // Adding 1.5 * 2^23 leaves no bits for the fraction.
  constexpr float kMagic = 12582912.0f;
  x = x < high ? x : (x == x ? high : 0.0f);
  x = x > low ? x : low;
  return (x + kMagic) - kMagic;
}
/// As roundInto, by the given rule.
float roundInto(float x, float low, float high, Rounding rounding);
/// saturate(round(x / scale)); 0 for a scale of 0.
inline int8_t quantizeInt8(float x, float scale) {
  return scale == 0 ? 0 : int8_t(roundInto(x / scale, -128, 127));
}
/// A linear's epilogue: saturate(round(sum * multiplier)), multiplier = s_in
/// s_weight / s_out.
inline int8_t requantizeInt8(int32_t sum, float multiplier) {
  return int8_t(roundInto(float(sum) * multiplier, -128, 127));
}

/// Searches the scale by shrinking the largest magnitude by ratios from 1 down
/// to `least`, for the least squared error.
struct ClipSearch {
  int steps = 1; ///< Ratios that are tried; 1: no search.
  double least = 0.5;
};

struct WeightFormat {
  int bits = 8; ///< 4 or 8.
  Granularity granularity = Granularity::Row;
  int64_t group = 128;
  ScaleType scaleType = ScaleType::F32;
  ScaleRule rule = ScaleRule::Symmetric; ///< Exact: 4 bit only.
  ClipSearch clip;
  Rounding rounding = Rounding::HalfToEven;
  float scaleFloor = 0; ///< The least scale; elements below it that are all 0
                        ///< have scale 0 when this is 0.

  float low() const { return bits == 4 ? -8 : -128; }
  float high() const { return bits == 4 ? 7 : 127; }
  /// The format's own settings, and whether they fit a matrix.
  Status check(int64_t rows, int64_t cols) const;
};

/// A quantised matrix: w(i, j) = q(i, j) * scales[scaleIndex(i, j)].
struct QuantizedMatrix {
  WeightFormat format;
  int64_t rows = 0, cols = 0;
  std::vector<int8_t> q; ///< Row-major, one element per byte also for 4 bit.
  std::vector<float> scales; ///< F16 scales hold values that f16 has.

  int64_t groupsPerRow() const;
  int64_t numScales() const;
  int64_t scaleIndex(int64_t i, int64_t j) const;
  float at(int64_t i, int64_t j) const {
    return float(q[i * cols + j]) * scales[scaleIndex(i, j)];
  }
  std::vector<float> dequantize() const;
  /// Bytes that q and the scales need when packed.
  int64_t getBytes() const;
};

/// Rounds each element to the nearest level.
Result<QuantizedMatrix> roundToNearest(MatrixView<const float> w,
                                       const WeightFormat &format,
                                       const ParallelFor &parallel = serial());

/// The scale of elements that share one, by the format's rule, clipping search
/// and scale type.
float chooseScale(Span<const float> values, const WeightFormat &format);

/// Quantises activations with a scale that is given, e.g. from calibration.
void quantizeWith(Span<const float> x, float scale, int8_t *q);
/// Dynamic scale of one token: max / 127, 1 for zeros. Depends on no other
/// token.
float quantizeToken(Span<const float> x, int8_t *q);

//===----------------------------------------------------------------------===//
// Two-level weights for 4-bit weights with 8-bit activations
//===----------------------------------------------------------------------===//

/// int4 -> int8 -> float: t = round(q * r[group]) with r in f16, w = t *
/// c[row]; c = max_k |q g| / 127, r = g / c. With one scale per row there is
/// one level: t = 16 q, c = g / 16.
struct TwoLevelMatrix {
  int64_t rows = 0, cols = 0, group = 0;
  bool singleLevel = false;
  std::vector<int8_t> q; ///< [-8, 7], row-major.
  std::vector<uint16_t>
      r; ///< f16 bits, [rows][groups]; empty for a single level.
  std::vector<float> channel; ///< c, [rows].

  int64_t groupsPerRow() const {
    return singleLevel ? 1 : (cols + group - 1) / group;
  }
  /// What the integer product multiplies: in [-127, 127], and -128 only with a
  /// single level.
  int8_t expanded(int64_t i, int64_t j) const;
  float at(int64_t i, int64_t j) const {
    return float(expanded(i, j)) * channel[i];
  }
  std::vector<float> dequantize() const;
  /// Output scales folded in: c'[n] = c[n] / s_out[n].
  Result<std::vector<float>> multipliers(float inputScale,
                                         Span<const float> outputScales) const;
};

/// From a 4-bit matrix with scales per group or per row.
Result<TwoLevelMatrix> toTwoLevel(const QuantizedMatrix &matrix);

//===----------------------------------------------------------------------===//
// Percentiles
//===----------------------------------------------------------------------===//

/// The alpha-quantile of |x|, interpolated linearly between the two nearest.
Result<float> absQuantile(Span<const float> x, double alpha);

/// The running percentile of calibration samples: m_1 = p_1, m_i = m_(i-1) +
/// sigma (p_i - m_(i-1)). The order of the samples matters.
struct RunningPercentile {
  double alpha = 0.99999, sigma = 0.01;
  int64_t samples = 0;
  double value = 0;

  Status add(Span<const float> sample);
  /// value / 127, at least 1e-6.
  float scale() const;
};

//===----------------------------------------------------------------------===//
// Errors
//===----------------------------------------------------------------------===//

/// Signal to quantisation noise in dB; infinite when equal, -infinite for no
/// signal.
Result<double> sqnr(Span<const float> signal, Span<const float> approximation);
/// |W - V|_F / |W|_F; 0 when both are zero.
Result<double> relativeError(MatrixView<const float> w,
                             MatrixView<const float> v);
/// tr(E H E^T) / tr(W H W^T), E = W - V: the relative squared error of the
/// outputs for inputs with Hessian H.
Result<double> outputError(MatrixView<const float> w, MatrixView<const float> v,
                           MatrixView<const float> hessian,
                           const ParallelFor &parallel = serial());

/// Rounding of f32 to f16 and back, half to even.
uint16_t toF16(float x);
float fromF16(uint16_t bits);

} // namespace effc::compress

#endif // EFFC_COMPRESS_QUANTIZE_H
