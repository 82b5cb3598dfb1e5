//===- half.h - 16-bit floats to f32 ----------------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFF_KERNELS_X86_HALF_H
#define EFF_KERNELS_X86_HALF_H

#include "runtime/kernels/x86/spec.h"

namespace kernels {

/// f16 in the low half of each lane, zero above, to f32 with integer operations
/// alone: exact, subnormals too.
EFF_INLINE f32x16 halfByInteger(u32x16 h) {
  u32x16 magnitude = (h & 0x7fffu) << 13;
  u32x16 normal = magnitude + ((127u - 15u) << 23);
  normal = magnitude >= (31u << 23) ? magnitude + ((255u - 31u) << 23)
                                    : normal; // infinity and NaN
  f32x16 small = (f32x16)(magnitude + (113u << 23)) - 6.10351562e-05f;
  u32x16 bits = magnitude < (1u << 23) ? (u32x16)small : normal;
  return (f32x16)(bits | (h & 0x8000u) << 16);
}

/// f16 in the low half of each lane to f32.
EFF_INLINE f32x16 half(u32x16 h) {
  if (EFF_SPEC(isa) < kIsaV3)
    return halfByInteger(h & 0xffffu);
  typedef _Float16 f16x16 __attribute__((vector_size(32)));
  return __builtin_convertvector((f16x16) __builtin_convertvector(h, u16x16),
                                 f32x16);
}

/// bf16 in the low half of each lane to f32.
EFF_INLINE f32x16 bf16(u32x16 h) { return (f32x16)(h << 16); }

} // namespace kernels

#endif // EFF_KERNELS_X86_HALF_H
