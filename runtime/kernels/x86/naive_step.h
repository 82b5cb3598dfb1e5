//===- naive_step.h - what kernels in plain loops share ---------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFF_KERNELS_X86_NAIVE_STEP_H
#define EFF_KERNELS_X86_NAIVE_STEP_H

#include "runtime/kernels/x86/naive.h"

#include <cmath>
#include <cstring>

namespace kernels::naive {

/// One step: constants, operands and what the call brings.
class Step {
public:
  Step(const Constants &constants, void *const *operands, const eff_call &call)
      : constants(constants), operands(operands), call(call) {}

  int64_t c(const char *name) const {
    auto it = constants.find(name);
    return it == constants.end() ? 0 : it->second;
  }
  double bits(const char *name) const {
    uint32_t u = static_cast<uint32_t>(c(name));
    float f;
    std::memcpy(&f, &u, 4);
    return f;
  }
  template <class T> T *op(int i) const {
    return static_cast<T *>(operands[i]);
  }
  int64_t rows() const { return c("rows") ? c("rows") : call.logit_rows; }
  /// Element of a tensor of activations, f32 or codes times a scale. Constants
  /// are named after the tensor: ld<v>, <v>_i8, <v>scale_each.
  float activation(const std::string &v, int operand, int scales, int64_t row,
                   int64_t column) const {
    int64_t at = row * c(("ld" + v).c_str()) + column;
    if (!c((v + "_i8").c_str()))
      return op<float>(operand)[at];
    bool each = c((v + "scale_each").c_str());
    return op<float>(scales)[each ? column : 0] * op<int8_t>(operand)[at];
  }
  /// Time step from what the model computes.
  double timeStep(int operand, int bias, int scales, int64_t row,
                  int64_t column) const {
    double v = activation("dt", operand, scales, row, column);
    v += op<float>(bias) ? op<float>(bias)[column] : 0;
    return c("dt_softplus")
               ? std::log1p(std::exp(-std::fabs(v))) + std::fmax(v, 0)
               : v;
  }
  /// Start of a row's slot in a state or cache.
  float *slot(int i, int64_t b, int64_t elements) const {
    return op<float>(i) + call.slot[b] * elements;
  }

  const Constants &constants;
  void *const *operands;
  const eff_call &call;
};

inline double silu(double x) { return x / (1 + std::exp(-x)); }

/// round(x / scale), half to even, saturated; 0 for a scale of 0 and for NaN.
inline double quantized(float x, float scale) {
  float q = scale == 0 ? 0 : x / scale;
  return q == q ? std::fmin(std::fmax(std::nearbyint(q), -128), 127) : 0;
}

/// Runs a family that mixes tokens; false when there is none of this name.
bool runMixer(const std::string &family, const Step &s);
/// Runs a family of images or collapsed scans; false when there is none.
bool runImage(const std::string &family, const Step &s);

/// Stores a row of `count` results as the constant `quant` says, see
/// include/effc/Target/KernelSpec.h. y and oscale are operands.
void storeRow(const Step &s, const float *values, int64_t count, int64_t row,
              int y, int oscale);

// Families of naive_int8.cpp.
void quantizeRows(const Step &s);
void quantizeStatic(const Step &s);
void tensorScale(const Step &s);
void dequantizeRows(const Step &s);
void hadamard(const Step &s);

/// Rotates a row of floats as the constants base, log2, blocks and transposed
/// say.
void rotate(const Step &s, float *row);

} // namespace kernels::naive

#endif // EFF_KERNELS_X86_NAIVE_STEP_H
