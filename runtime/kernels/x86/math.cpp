//===- math.cpp - functions that epilogues call -----------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// eff_math_<op> computes MLIR's math.<op> on 16 lanes; the compiler inlines it
/// into epilogues.
///
//===----------------------------------------------------------------------===//

#include "runtime/kernels/x86/math.h"

using kernels::f32x16;

extern "C" {
f32x16 eff_math_exp(f32x16 x) { return kernels::exp(x); }
f32x16 eff_math_exp2(f32x16 x) { return kernels::exp2(x); }
f32x16 eff_math_expm1(f32x16 x) { return kernels::expm1(x); }
f32x16 eff_math_log(f32x16 x) { return kernels::log(x); }
f32x16 eff_math_log2(f32x16 x) { return kernels::log2(x); }
f32x16 eff_math_log10(f32x16 x) { return kernels::log10(x); }
f32x16 eff_math_log1p(f32x16 x) { return kernels::log1p(x); }
f32x16 eff_math_tanh(f32x16 x) { return kernels::tanh(x); }
f32x16 eff_math_erf(f32x16 x) { return kernels::erf(x); }
f32x16 eff_math_powf(f32x16 x, f32x16 y) { return kernels::pow(x, y); }
f32x16 eff_math_sin(f32x16 x) {
  f32x16 s, c;
  kernels::sincos(x, s, c);
  return s;
}
f32x16 eff_math_cos(f32x16 x) {
  f32x16 s, c;
  kernels::sincos(x, s, c);
  return c;
}
}
