//===- Mamba2Block.h - a Mamba-2 block in double ----------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_UNITTESTS_COMPRESS_MAMBA2BLOCK_H
#define EFFC_UNITTESTS_COMPRESS_MAMBA2BLOCK_H

#include "TestUtils.h"

namespace effc::compress::test {

/// in_proj [z | x | B | C | dt], convolution of width 4 and SiLU over [x | B |
/// C], the recurrence, gate, RMS norm over each group, out_proj.
struct Mamba2Block {
  int64_t width = 10, groups, heads, headDim, states;
  std::vector<double> inProj, conv, convBias, aLog, d, dtBias, norm, outProj;

  int64_t channels() const { return heads * headDim; }
  int64_t convChannels() const { return channels() + 2 * groups * states; }
  int64_t inRows() const { return channels() + convChannels() + heads; }

  Mamba2Block(Random &random, int64_t groups, int64_t heads, int64_t headDim,
              int64_t states)
      : groups(groups), heads(heads), headDim(headDim), states(states) {
    inProj = normal<double>(random, inRows() * width, 0.5);
    conv = normal<double>(random, convChannels() * 4, 0.5);
    convBias = normal<double>(random, convChannels());
    aLog = normal<double>(random, heads);
    d = normal<double>(random, heads);
    dtBias = normal<double>(random, heads);
    norm = normal<double>(random, channels());
    outProj = normal<double>(random, width * channels());
  }

  static double silu(double x) { return x / (1 + std::exp(-x)); }

  /// x is [tokens][width]; the last state is [heads * headDim][states].
  std::vector<double> run(const std::vector<double> &x,
                          std::vector<double> *lastState = nullptr) const {
    int64_t tokens = x.size() / width, e = channels(), cd = convChannels();
    auto projected = multiply(x, inProj, width, inRows());
    std::vector<double> state(e * states), gated(tokens * e);
    for (int64_t t = 0; t < tokens; ++t) {
      const double *row = &projected[t * inRows()];
      std::vector<double> xbc(cd);
      for (int64_t c = 0; c < cd; ++c) {
        double sum = convBias[c];
        for (int64_t k = 0; k < 4; ++k)
          if (t - 3 + k >= 0)
            sum += conv[c * 4 + k] * projected[(t - 3 + k) * inRows() + e + c];
        xbc[c] = silu(sum);
      }
      for (int64_t h = 0; h < heads; ++h) {
        double delta = std::log1p(std::exp(row[e + cd + h] + dtBias[h]));
        double decay = std::exp(-delta * std::exp(aLog[h]));
        int64_t g = h / (heads / groups);
        const double *b = &xbc[e + g * states],
                     *c = &xbc[e + (groups + g) * states];
        for (int64_t p = h * headDim; p < (h + 1) * headDim; ++p) {
          double y = d[h] * xbc[p];
          for (int64_t n = 0; n < states; ++n) {
            double &s = state[p * states + n];
            s = decay * s + delta * xbc[p] * b[n];
            y += s * c[n];
          }
          gated[t * e + p] = y * silu(row[p]);
        }
      }
      for (int64_t g = 0; g < groups; ++g) {
        int64_t size = e / groups;
        double *values = &gated[t * e + g * size], square = 0;
        for (int64_t i = 0; i < size; ++i)
          square += values[i] * values[i];
        for (int64_t i = 0; i < size; ++i)
          values[i] *=
              norm[g * size + i] / std::sqrt(square / double(size) + 1e-5);
      }
    }
    if (lastState)
      *lastState = state;
    return multiply(gated, outProj, e, width);
  }
};

} // namespace effc::compress::test

#endif // EFFC_UNITTESTS_COMPRESS_MAMBA2BLOCK_H
