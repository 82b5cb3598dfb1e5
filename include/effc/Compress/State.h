//===- State.h - recurrent states as 8-bit integers -------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A state is a matrix of rows, one for each channel (Mamba-1) or head and
/// channel (Mamba-2), with N elements each. Stored is an integer t of 8 + b
/// bits, split into an 8-bit q and a b-bit residual: S = scale * t / 2^b, t = q
/// 2^b + residual.
///
/// Rounding to nearest has levels that never decay: t stays where it is when
/// |t| (1 - a) is below 1/2. Stochastic rounding has none, and a residual
/// lowers them by 2^b.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_COMPRESS_STATE_H
#define EFFC_COMPRESS_STATE_H

#include "effc/Compress/Support.h"

#include <array>

namespace effc::compress {

enum class StateScaling {
  Static,  ///< From calibration.
  Dynamic, ///< max |row| / 127, anew at each step.
};
enum class StateRounding {
  Nearest,    ///< Half to even.
  Stochastic, ///< Up with a probability equal to the fraction.
};

struct StateFormat {
  StateScaling scaling = StateScaling::Static;
  StateRounding rounding = StateRounding::Nearest;
  /// Bits of the error that is kept and fed back at the next step; 0: none. At
  /// most 8.
  int residualBits = 0;
  /// Of stochastic rounding. The numbers depend on seed, step, row and element
  /// alone.
  uint64_t seed = 0;
};

/// Philox 4x32 with 10 rounds: four random words from a counter and a key.
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter,
                               std::array<uint32_t, 2> key);

/// A state and its scales.
class Int8State {
public:
  /// Static scales: one, one for each row, or one for each element; all
  /// positive. None when dynamic.
  static Result<Int8State> create(const StateFormat &format, int64_t rows,
                                  int64_t n, Span<const float> scales = {});

  const StateFormat &getFormat() const { return format; }
  int64_t getRows() const { return rows; }
  int64_t getSize() const { return n; }
  Span<const int8_t> getQ() const { return q; }
  Span<const int8_t> getResiduals() const { return residuals; }
  float getScale(int64_t row, int64_t element) const {
    return scales[row * rowStride + element * elementStride];
  }
  /// Bytes of what is stored, residuals packed and dynamic scales included.
  int64_t getBytes() const;

  // The row is below getRows() and the spans have getSize() elements; these
  // functions are called for each row of each token and check neither.

  /// Rounds values into a row. Nothing is written but the row.
  void store(int64_t row, Span<const float> values, uint64_t step);
  void load(int64_t row, Span<float> values) const;
  /// One step of the recurrence on one row: S' = a S + input, stores S' and
  /// returns sum S' c, which sees S' before it is rounded. `decay` has one
  /// element or N.
  float update(int64_t row, Span<const float> decay, Span<const float> input,
               Span<const float> c, uint64_t step);

private:
  StateFormat format;
  int64_t rows = 0, n = 0, rowStride = 0, elementStride = 0;
  std::vector<int8_t> q, residuals;
  std::vector<float> scales;
};

/// The largest t that rounding to nearest leaves in place when it is multiplied
/// by `decay` in (0, 1), at most `limit`. In units of q this is divided by
/// 2^residualBits.
int64_t stuckLevel(double decay, int64_t limit = 32767);

/// The last `width` rows of x, oldest first, after rows of zeros if x is
/// shorter: [width][channels].
Result<std::vector<int8_t>> convState(MatrixView<const int8_t> x,
                                      int64_t width);
/// Drops the oldest row of a convolution's state and appends one.
Status pushConvState(MatrixView<int8_t> state, Span<const int8_t> row);

} // namespace effc::compress

#endif // EFFC_COMPRESS_STATE_H
