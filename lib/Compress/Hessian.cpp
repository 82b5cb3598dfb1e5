//===- Hessian.cpp - second moments of a layer's inputs -------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Compress/Hessian.h"

#include "Gemm.h"

#include <algorithm>
#include <cmath>

namespace effc::compress {

Result<Hessian> Hessian::create(int64_t channels) {
  // 65536 channels are 16 GiB.
  if (channels < 1 || channels > 65536)
    return badShape("a Hessian of " + std::to_string(channels) + " channels",
                    "1 to 65536 are possible");
  Hessian result;
  result.channels = channels;
  result.sum.resize(channels * channels);
  result.pending.reserve(kChunk * channels);
  return result;
}

void Hessian::addChunk(std::vector<float> &sum, const float *chunk,
                       int64_t count, int64_t channels,
                       const ParallelFor &parallel) {
  gemm<float>(getIsa(), channels, channels, count, {chunk, 1, channels},
              {chunk, channels, 1}, sum.data(), channels, 1, parallel,
              Region::LowerTriangle);
}

Status Hessian::add(MatrixView<const float> x, const ParallelFor &parallel) {
  if (!x.isValid() || x.cols != channels)
    return badShape("inputs of " + std::to_string(x.cols) +
                    " channels do not fit a Hessian of " +
                    std::to_string(channels));
  for (int64_t i = 0; i < x.rows; ++i) {
    pending.insert(pending.end(), x.row(i), x.row(i) + channels);
    if (int64_t(pending.size()) == kChunk * channels) {
      addChunk(sum, pending.data(), kChunk, channels, parallel);
      pending.clear();
    }
  }
  rows += x.rows;
  return Status::success();
}

Result<std::vector<float>>
Hessian::getMatrix(const ParallelFor &parallel) const {
  if (rows == 0)
    return badValues("a Hessian has seen no inputs");
  std::vector<float> h = sum;
  if (!pending.empty())
    addChunk(h, pending.data(), pending.size() / channels, channels, parallel);
  float scale = float(2.0 / double(rows));
  for (int64_t i = 0; i < channels; ++i) {
    for (int64_t j = 0; j <= i; ++j)
      h[j * channels + i] = h[i * channels + j] *= scale;
    // |h_ij| is at most the larger of h_ii and h_jj, so the diagonal speaks for
    // all.
    if (!std::isfinite(h[i * channels + i]))
      return badValues("inputs are not finite or too large",
                       "channel " + std::to_string(i));
  }
  return h;
}

} // namespace effc::compress
