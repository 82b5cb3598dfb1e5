//===- naive.h - kernel families in plain loops -----------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Every kernel family in scalar loops with sums in f64: what the fast kernels
/// are tested against. Operands and constants are those of
/// include/effc/Target/KernelSpec.h.
///
//===----------------------------------------------------------------------===//

#ifndef EFF_KERNELS_X86_NAIVE_H
#define EFF_KERNELS_X86_NAIVE_H

#include "effrt/effrt.h"

#include <functional>
#include <map>
#include <string>

namespace kernels::naive {

using Constants = std::map<std::string, int64_t>;
/// What a linear does to one sum.
using Epilogue = std::function<double(double acc, int64_t row, int64_t col)>;

/// Runs a family; false when there is none of this name.
bool run(const std::string &family, const Constants &constants,
         void *const *operands, const eff_call &call,
         const Epilogue &epilogue = nullptr);

/// Largest sum of |x w| that run("linear_*") met: the scale of rounding errors.
double largestMagnitude(const std::string &family, const Constants &constants,
                        void *const *operands, const eff_call &call);

/// saturate(round half to even(x / scale)) to int8; 0 for NaN and for a scale
/// of 0.
int8_t toInt8(float x, float scale);

} // namespace kernels::naive

#endif // EFF_KERNELS_X86_NAIVE_H
