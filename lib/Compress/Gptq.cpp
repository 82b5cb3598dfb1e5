//===- Gptq.cpp - rounding with error feedback ----------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Compress/Gptq.h"

#include "Cholesky.h"
#include "Codes.h"

#include <algorithm>
#include <cmath>

namespace effc::compress {

/// Rows that are worked on together.
static constexpr int64_t kRows = 64;

//===----------------------------------------------------------------------===//
// The factor
//===----------------------------------------------------------------------===//

/// H in T, reordered, with dead columns decoupled and the damping added.
template <typename T>
static std::vector<T>
prepare(MatrixView<const float> hessian, const Permutation &order,
        const std::vector<bool> &dead, double mean, double damping) {
  int64_t n = hessian.rows;
  std::vector<T> h(n * n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j <= i; ++j)
      h[i * n + j] = hessian(order[i], order[j]);
    if (dead[i])
      h[i * n + i] = T(mean);
    h[i * n + i] += T(damping * mean);
  }
  return h;
}

Result<GptqFactor> GptqFactor::create(MatrixView<const float> hessian,
                                      const GptqOptions &options,
                                      const ParallelFor &parallel) {
  int64_t n = hessian.rows;
  if (!hessian.isValid() || hessian.cols != n || n < 1)
    return badShape("a Hessian of " + std::to_string(hessian.rows) + " x " +
                    std::to_string(hessian.cols) + " is not square");
  if (!(options.damping >= 0 && options.damping <= 1))
    return badSetting("a damping outside [0, 1]");
  if (options.block < 1 || options.block > 4096)
    return badSetting("a block of " + std::to_string(options.block) +
                          " columns",
                      "1 to 4096 are possible");
  if (!allFinite(hessian))
    return badValues("a Hessian is not finite");
  GptqFactor factor;
  factor.options = options;
  factor.size = n;
  std::vector<float> diagonal(n);
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    diagonal[i] = hessian(i, i);
    if (diagonal[i] < 0)
      return badValues("a Hessian has a negative diagonal");
    sum += diagonal[i];
    factor.deadColumns += diagonal[i] == 0;
  }
  if (factor.deadColumns == n)
    return badValues("a Hessian is zero",
                     "the layer never saw an input during calibration");
  double mean = sum / double(n - factor.deadColumns);
  factor.order = options.activationOrder
                     ? Permutation::sorting(diagonal, /*descending=*/true)
                     : Permutation::identity(n);
  factor.dead.resize(n);
  for (int64_t i = 0; i < n; ++i)
    factor.dead[i] = diagonal[factor.order[i]] == 0;

  Isa isa = getIsa();
  if (!options.forceDouble) {
    factor.u = prepare<float>(hessian, factor.order, factor.dead, mean,
                              options.damping);
    if (invertToUpperFactor(isa, factor.u, n, parallel))
      return factor;
  }
  factor.usedDouble = true;
  factor.u.clear();
  factor.u.shrink_to_fit();
  std::vector<double> u = prepare<double>(hessian, factor.order, factor.dead,
                                          mean, options.damping);
  if (!invertToUpperFactor(isa, u, n, parallel))
    return makeError(Code::SingularHessian,
                     "a Hessian is not positive definite, even in double "
                     "precision");
  factor.u.assign(u.begin(), u.end());
  if (!allFinite({factor.u.data(), n, n}))
    return makeError(Code::SingularHessian,
                     "a Hessian is too badly conditioned");
  return factor;
}

//===----------------------------------------------------------------------===//
// Rounding
//===----------------------------------------------------------------------===//

namespace {

/// One tile of rows, from its first column to its last.
class Tile {
public:
  Tile(Isa isa, int64_t cols, int64_t block, const std::vector<float> &u,
       QuantizedMatrix &out, int64_t first, int64_t rows)
      : isa(isa), cols(cols), u(u), out(out), format(out.format), first(first),
        rows(rows), groups(out.groupsPerRow()), w(rows * cols),
        current(block * kRows), errors(block * kRows) {}

  float *getRow(int64_t r) { return &w[r * cols]; }

  /// Returns the sum of squared errors.
  double run(int64_t block) {
    bool grouped = format.granularity == Granularity::Group;
    int64_t group = grouped ? format.group : cols;
    // A block never crosses a group's end unless it holds whole groups.
    int64_t step = group <= block ? block / group * group : block;
    if (!grouped)
      chooseScales(0, cols, 0, 0, 0);
    for (int64_t start = 0; start < cols;) {
      int64_t end = std::min(cols, start + step);
      if (group > block)
        end = std::min(end, start - start % group + group);
      load(start, end);
      for (int64_t i = start; i < end; ++i) {
        if (grouped && i % group == 0)
          chooseScales(i, std::min(cols, i + group), i / group, start, end);
        roundColumn(i, start, end, grouped ? i / group : 0);
      }
      // What is to the right of the block catches up.
      gemmSerial<float>(
          isa, rows, cols - end, end - start, {errors.data(), 1, kRows},
          {u.data() + start * cols + end, cols, 1}, w.data() + end, cols, -1);
      start = end;
    }
    return loss;
  }

private:
  /// The block's columns as rows, so that vectors run along the rows of W.
  void load(int64_t start, int64_t end) {
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t j = start; j < end; ++j)
        current[(j - start) * kRows + r] = w[r * cols + j];
  }

  /// Scales for columns [from, to) as they stand; those of [start, end) stand
  /// in `current`.
  void chooseScales(int64_t from, int64_t to, int64_t index, int64_t start,
                    int64_t end) {
    std::vector<float> values(to - from);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t j = from; j < to; ++j)
        values[j - from] = j >= start && j < end
                               ? current[(j - start) * kRows + r]
                               : w[r * cols + j];
      out.scales[(first + r) * groups + index] = chooseScale(values, format);
    }
  }

  void roundColumn(int64_t i, int64_t start, int64_t end, int64_t index) {
    const float *__restrict values = &current[(i - start) * kRows];
    float *__restrict error = &errors[(i - start) * kRows];
    const float *factor = &u[i * cols];
    float pivot = factor[i], low = format.low(), high = format.high();
    bool toEven = format.rounding == Rounding::HalfToEven;
    for (int64_t r = 0; r < rows; ++r) {
      float scale = out.scales[(first + r) * groups + index], q = 0;
      if (scale != 0)
        q = toEven ? roundInto(values[r] / scale, low, high)
                   : roundInto(values[r] / scale, low, high, format.rounding);
      out.q[(first + r) * cols + i] = int8_t(q);
      error[r] = (values[r] - q * scale) / pivot;
      loss += double(error[r]) * error[r];
    }
    for (int64_t j = i + 1; j < end; ++j) {
      float *__restrict target = &current[(j - start) * kRows];
      float weight = factor[j];
      for (int64_t r = 0; r < kRows; ++r)
        target[r] -= error[r] * weight;
    }
  }

  Isa isa;
  int64_t cols;
  const std::vector<float> &u;
  QuantizedMatrix &out;
  const WeightFormat &format;
  int64_t first, rows, groups;
  std::vector<float> w, current, errors;
  double loss = 0;
};

} // namespace

Result<GptqResult> GptqFactor::quantize(MatrixView<const float> w,
                                        const WeightFormat &format,
                                        const ParallelFor &parallel) const {
  if (!w.isValid() || w.cols != size)
    return badShape("a matrix of " + std::to_string(w.cols) +
                    " columns does not fit a Hessian of " +
                    std::to_string(size));
  if (Status status = format.check(w.rows, w.cols); !status)
    return status;
  if (format.granularity != Granularity::Row &&
      format.granularity != Granularity::Group)
    return badSetting("error feedback needs scales per row or per group");
  if (!allFinite(w))
    return badValues("a weight is not finite");

  GptqResult result;
  result.deadColumns = deadColumns;
  result.usedDouble = usedDouble;
  QuantizedMatrix &out = result.weights;
  out.format = format;
  out.rows = w.rows;
  out.cols = w.cols;
  out.q.resize(w.rows * w.cols);
  out.scales.resize(out.numScales());

  int64_t tiles = (w.rows + kRows - 1) / kRows;
  std::vector<double> losses(tiles);
  Isa isa = getIsa();
  parallel(tiles, [&](int64_t tile) {
    int64_t first = tile * kRows, rows = std::min(kRows, w.rows - first);
    Tile work(isa, size, options.block, u, out, first, rows);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t j = 0; j < size; ++j)
        work.getRow(r)[j] = dead[j] ? 0 : w(first + r, order[j]);
    losses[tile] = work.run(options.block);
  });
  for (double loss : losses)
    result.loss += loss;
  for (float scale : out.scales)
    if (!std::isfinite(scale))
      return badValues("a scale is too large for its type",
                       "store scales as f32");

  result.order = Permutation::identity(size);
  if (format.granularity == Granularity::Group)
    result.order = order;
  else if (!order.isIdentity())
    // Scales per row do not care for the order of columns.
    if (Status status = order.inverse().applyToColumns(
            MatrixView<int8_t>(out.q.data(), out.rows, out.cols));
        !status)
      return status;
  return result;
}

Result<GptqResult> gptq(MatrixView<const float> w,
                        MatrixView<const float> hessian,
                        const GptqOptions &options,
                        const ParallelFor &parallel) {
  if (!w.isValid() || w.cols != hessian.rows)
    return badShape("a matrix of " + std::to_string(w.cols) +
                    " columns does not fit a Hessian of " +
                    std::to_string(hessian.rows));
  if (Status status = options.format.check(w.rows, w.cols); !status)
    return status;
  Result<GptqFactor> factor = GptqFactor::create(hessian, options, parallel);
  if (!factor)
    return factor.takeError();
  return factor->quantize(w, options.format, parallel);
}

} // namespace effc::compress
