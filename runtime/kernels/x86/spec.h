//===- spec.h - the constants of a kernel -----------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The compiler defines these constants for every kernel that it emits; they
/// fold before anything is inlined. Their meaning for each family is in
/// include/effc/Target/KernelSpec.h. A constant that a spec does not have is 0.
///
//===----------------------------------------------------------------------===//

#ifndef EFF_KERNELS_X86_SPEC_H
#define EFF_KERNELS_X86_SPEC_H

#include "runtime/kernels/x86/isa.h"
#include "runtime/kernels/x86/vec.h"

extern "C" {
#define EFF_DECLARE(name) extern const int64_t eff_spec_##name;
EFF_SPEC_CONSTANTS(EFF_DECLARE)
#undef EFF_DECLARE

/// What a linear does to 16 columns of a row before they are stored: defined by
/// the compiler.
kernels::f32x16 eff_epilogue(kernels::f32x16 acc, int64_t row, int64_t col,
                             void *const *extras);
}

#define EFF_SPEC(name) eff_spec_##name
/// Entry of a family.
#define EFF_KERNEL(family)                                                     \
  extern "C" void eff_kernel_##family(void *const *operands,                   \
                                      const eff_call *call, int32_t thread,    \
                                      int32_t threads)

namespace kernels {
/// Rows of a step: constant, or as many as have logits.
EFF_INLINE int64_t rowCount(const eff_call *call) {
  return EFF_SPEC(rows) ? EFF_SPEC(rows) : call->logit_rows;
}
} // namespace kernels

#endif // EFF_KERNELS_X86_SPEC_H
