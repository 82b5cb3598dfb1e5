//===- naive_state.h - int8 states in plain loops ---------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFF_KERNELS_X86_NAIVE_STATE_H
#define EFF_KERNELS_X86_NAIVE_STATE_H

#include "runtime/kernels/x86/naive_step.h"

#include <vector>

namespace kernels::naive {

/// The state of one sequence, f32 or of 8-bit integers: `blocks` times n times
/// `width` elements, laid out as runtime/kernels/x86/state8.h says.
class State {
public:
  State(const Step &s, int operand, int scales, int64_t b, int64_t blocks,
        int64_t n, int64_t width);

  /// The n values of a channel of a block.
  std::vector<float> load(int64_t block, int64_t channel) const;
  /// Rounds and stores them; `values` become what load() will give.
  void store(int64_t block, int64_t channel, std::vector<float> &values,
             int64_t position);

private:
  float getScale(int64_t block, int64_t i, int64_t channel) const;
  int64_t at(int64_t block, int64_t i, int64_t channel) const {
    return (block * n + i) * width + channel;
  }
  int getResidual(int64_t block, int64_t i, int64_t channel) const;

  int64_t format, rounding, bits, n, width;
  float *floats = nullptr;
  int8_t *codes = nullptr;
  uint8_t *residuals = nullptr;
  float *dynamicScales = nullptr;
  const float *staticScales = nullptr;
};

} // namespace kernels::naive

#endif // EFF_KERNELS_X86_NAIVE_STATE_H
