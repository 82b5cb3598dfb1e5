//===- FilterFit.h - a fixed filter in place of an image's scan -*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The filter of each channel, `kernel` x `kernel` with zeros around the image,
/// and the bias that come nearest to given outputs y of inputs x:
///
///   min sum_p s_p (b_c + sum_d f_c(d) x_c(p + d) - y_c(p))^2 + lambda |f_c|^2
///
/// with a weight s_p for each pixel and lambda the damping times the mean
/// square of the channel's inputs. Channels are independent of one another.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_COMPRESS_FILTERFIT_H
#define EFFC_COMPRESS_FILTERFIT_H

#include "effc/Compress/Support.h"

namespace effc::compress {

struct FittedFilter {
  std::vector<float> filters; ///< [channels][kernel * kernel]
  std::vector<float> bias;    ///< [channels]
  /// sum s (output - y)^2 / sum s y^2 over the samples.
  double error = 0;
};

class FilterFit {
public:
  /// `kernel` is odd.
  static Result<FilterFit> create(int64_t channels, int64_t height,
                                  int64_t width, int64_t kernel);

  /// Adds an image: x and y [height * width][channels], weights
  /// [height * width].
  Status add(MatrixView<const float> x, MatrixView<const float> y,
             Span<const float> weights, const ParallelFor &parallel = serial());

  /// An error without images, if something was not finite, or when damping is
  /// not positive.
  Result<FittedFilter> solve(double damping) const;

private:
  int64_t unknowns() const { return kernel * kernel + 1; }
  int64_t sums() const {
    return unknowns() * (unknowns() + 1) / 2 + unknowns() + 1;
  }
  void addBlock(MatrixView<const float> x, MatrixView<const float> y,
                Span<const float> weights, int64_t block);

  int64_t channels = 0, height = 0, width = 0, kernel = 0, images = 0;
  /// Of each block of 16 channels, [sums][16]: products of pairs of unknowns,
  /// of unknowns and outputs, of outputs.
  std::vector<double> totals;
};

} // namespace effc::compress

#endif // EFFC_COMPRESS_FILTERFIT_H
