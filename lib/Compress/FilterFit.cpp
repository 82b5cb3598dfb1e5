//===- FilterFit.cpp - a fixed filter in place of an image's scan ---------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Compress/FilterFit.h"

#include <Eigen/Cholesky>
#include <Eigen/Core>

#include <algorithm>
#include <cmath>

namespace effc::compress {

static constexpr int64_t kLanes = 16;

Result<FilterFit> FilterFit::create(int64_t channels, int64_t height,
                                    int64_t width, int64_t kernel) {
  if (channels < 1 || height < 1 || width < 1 || kernel < 1 ||
      kernel % 2 == 0 || kernel > 15)
    return badShape("filters of " + std::to_string(kernel) + " x " +
                        std::to_string(kernel) + " for " +
                        std::to_string(channels) + " channels of " +
                        std::to_string(height) + " x " + std::to_string(width) +
                        " pixels cannot be fitted",
                    "the kernel is odd and at most 15");
  FilterFit fit;
  fit.channels = channels;
  fit.height = height;
  fit.width = width;
  fit.kernel = kernel;
  fit.totals.resize((channels + kLanes - 1) / kLanes * fit.sums() * kLanes);
  return fit;
}

/// Adds the products of two rows of pixels, [count][16].
static void addProducts(const float *a, const float *b, int64_t count,
                        double *total) {
  float sum[kLanes] = {};
  for (int64_t p = 0; p < count; ++p)
    for (int64_t c = 0; c < kLanes; ++c)
      sum[c] += a[p * kLanes + c] * b[p * kLanes + c];
  for (int64_t c = 0; c < kLanes; ++c)
    total[c] += double(sum[c]);
}

void FilterFit::addBlock(MatrixView<const float> x, MatrixView<const float> y,
                         Span<const float> weights, int64_t block) {
  int64_t pixels = height * width, reach = kernel / 2, first = block * kLanes,
          count = std::min(kLanes, channels - first), size = unknowns();
  // What each unknown is multiplied by, and the output, times the root of the
  // weight.
  std::vector<float> rows((size + 1) * pixels * kLanes);
  auto row = [&](int64_t i) { return rows.data() + i * pixels * kLanes; };
  for (int64_t p = 0; p < pixels; ++p) {
    float root = std::sqrt(weights[p]);
    int64_t i = p / width, j = p % width;
    for (int64_t d = 0; d < kernel * kernel; ++d) {
      int64_t u = i + d / kernel - reach, v = j + d % kernel - reach;
      if (u < 0 || u >= height || v < 0 || v >= width)
        continue;
      for (int64_t c = 0; c < count; ++c)
        row(d)[p * kLanes + c] = root * x(u * width + v, first + c);
    }
    for (int64_t c = 0; c < count; ++c) {
      row(size - 1)[p * kLanes + c] = root;
      row(size)[p * kLanes + c] = root * y(p, first + c);
    }
  }
  double *total = totals.data() + block * sums() * kLanes;
  for (int64_t i = 0; i <= size; ++i)
    for (int64_t j = i; j <= size; ++j, total += kLanes)
      addProducts(row(i), row(j), pixels, total);
}

Status FilterFit::add(MatrixView<const float> x, MatrixView<const float> y,
                      Span<const float> weights, const ParallelFor &parallel) {
  int64_t pixels = height * width;
  if (!x.isValid() || !y.isValid() || x.rows != pixels || y.rows != pixels ||
      x.cols != channels || y.cols != channels ||
      int64_t(weights.size()) != pixels)
    return badShape("an image of " + std::to_string(x.rows) + " pixels and " +
                    std::to_string(x.cols) +
                    " channels does not fit the filters");
  bool isWeighted =
      std::all_of(weights.begin(), weights.end(), [](float weight) {
        return std::isfinite(weight) && weight >= 0;
      });
  if (!isWeighted)
    return badValues("weights of pixels are negative or not finite");
  parallel((channels + kLanes - 1) / kLanes,
           [&](int64_t block) { addBlock(x, y, weights, block); });
  ++images;
  return Status::success();
}

Result<FittedFilter> FilterFit::solve(double damping) const {
  if (!(damping > 0) || !std::isfinite(damping))
    return badSetting("the damping of a fit must be positive");
  if (images == 0)
    return badValues("filters have seen no images");
  int64_t size = unknowns(), taps = size - 1;
  FittedFilter result;
  result.filters.resize(channels * taps);
  result.bias.resize(channels);
  double squares = 0, energy = 0;
  for (int64_t channel = 0; channel < channels; ++channel) {
    const double *total =
        totals.data() + channel / kLanes * sums() * kLanes + channel % kLanes;
    Eigen::MatrixXd h(size, size);
    Eigen::VectorXd g(size);
    double outputs = 0;
    for (int64_t i = 0; i <= size; ++i)
      for (int64_t j = i; j <= size; ++j, total += kLanes) {
        if (i == size)
          outputs = *total;
        else if (j == size)
          g(i) = *total;
        else
          h(i, j) = h(j, i) = *total;
      }
    Eigen::MatrixXd damped = h;
    double lambda = damping * std::max(h.diagonal().head(taps).mean(), 1e-30);
    damped.diagonal().array() += lambda;
    Eigen::LLT<Eigen::MatrixXd> factor(damped);
    Eigen::VectorXd f = factor.solve(g);
    if (factor.info() != Eigen::Success || !f.allFinite())
      return badValues("a filter cannot be fitted",
                       "channel " + std::to_string(channel) +
                           "; its inputs or outputs are not finite");
    squares += std::max(f.dot(h * f) - 2 * f.dot(g) + outputs, 0.0);
    energy += outputs;
    for (int64_t d = 0; d < taps; ++d)
      result.filters[channel * taps + d] = float(f(d));
    result.bias[channel] = float(f(taps));
  }
  result.error = energy > 0 ? squares / energy : 0;
  return result;
}

} // namespace effc::compress
