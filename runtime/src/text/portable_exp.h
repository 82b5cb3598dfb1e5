//===- portable_exp.h - an exponential without a math library ---*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFRT_SRC_TEXT_PORTABLE_EXP_H
#define EFFRT_SRC_TEXT_PORTABLE_EXP_H

#include <cstdint>
#include <cstring>

namespace effrt {

/// exp(x) for x <= 0, to within 2 ulp; exactly 1 at 0, and 0 below -700. Only
/// additions and multiplications that IEEE 754 rounds in one way (the file that
/// uses it is compiled without contraction): every machine gives the same bits.
inline double portableExp(double x) {
  // x = n ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts, the first with
  // enough zero bits at its end that n times it is exact.
  constexpr double kLog2e = 1.4426950408889634;
  constexpr double kLn2High = 0x1.62e42feep-1, kLn2Low = 0x1.a39ef35793c76p-33;
  // Adding it rounds to a whole number, which then is in the low bits.
  constexpr double kRound = 0x1.8p52;
  double y = x >= -700.0 ? x : -700.0;
  double shifted = y * kLog2e + kRound;
  double n = shifted - kRound;
  double r = (y - n * kLn2High) - n * kLn2Low;
  // Taylor to degree 13: the rest is below 2^-57.
  double p = 1.0 / 6227020800.0;
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  // 2^n; n >= -1010, so it is a normal number.
  uint64_t bits;
  std::memcpy(&bits, &shifted, sizeof(bits));
  bits = (bits + 1023) << 52;
  double scale;
  std::memcpy(&scale, &bits, sizeof(scale));
  return x >= -700.0 ? p * scale : 0.0;
}

} // namespace effrt

#endif // EFFRT_SRC_TEXT_PORTABLE_EXP_H
