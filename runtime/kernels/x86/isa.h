//===- isa.h - instruction sets and constants of kernels --------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFF_KERNELS_X86_ISA_H
#define EFF_KERNELS_X86_ISA_H

#include <stdint.h>

namespace kernels {

/// What the code may use; the value of the constant `isa`, set by
/// lib/Target/X86 from the target.
enum Isa : int64_t {
  kIsaV2 = 0,     ///< SSE4.2
  kIsaV3 = 1,     ///< AVX2, FMA, F16C
  kIsaV3Vnni = 2, ///< and AVX-VNNI
  kIsaV4 = 3,     ///< AVX-512 F BW CD DQ VL
  kIsaV4Vnni = 4, ///< and AVX512-VNNI
};

} // namespace kernels

// A macro of many items has no layout that the formatter leaves alone.
// clang-format off

/// Every constant that a kernel may have; a spec gives those of its family and
/// the rest are 0.
#define EFF_SPEC_CONSTANTS(X)                                                  \
  X(isa) X(batch) X(tokens) X(rows) X(n) X(k) X(d)                             \
  X(ldx) X(ldy) X(ldz) X(ldq) X(ldk) X(ldv) X(ldu) X(lddt) X(ldb) X(ldc) X(ld) \
  X(extras) X(group) X(groups) X(vocab) X(format) X(channels) X(height)        \
  X(width) X(ph) X(pw) X(eps_bits) X(norm_before_gate) X(heads) X(kv_heads)    \
  X(head_dim) X(half) X(interleaved) X(scale_bits) X(capacity) X(causal)       \
  X(window) X(softcap_bits) X(kernel) X(silu) X(chunk) X(directions) X(scans)  \
  X(kh) X(kw) X(bias_batch) X(bias_heads) X(bias_tokens) X(first)              \
  EFF_INT8_CONSTANTS(X) EFF_SCAN_CONSTANTS(X)

/// Of kernels that read or write integers, and of rotations.
#define EFF_INT8_CONSTANTS(X)                                                  \
  X(static_scale) X(asymmetric) X(zeros) X(scale_each) X(quant) X(oscale_each) \
  X(hadamard) X(base) X(log2) X(blocks) X(transposed)

/// Of scans and convolutions on integers, and of caches of integers.
#define EFF_SCAN_CONSTANTS(X)                                                  \
  X(dt_softplus) X(x_i8) X(u_i8) X(dt_i8) X(b_i8) X(c_i8) X(z_i8)              \
  X(xscale_each) X(uscale_each) X(dtscale_each) X(bscale_each) X(cscale_each)  \
  X(zscale_each) X(state_format) X(state_rounding) X(state_residual)           \
  X(state_once) X(cache_i8) X(cache_bits)

// clang-format on

#endif // EFF_KERNELS_X86_ISA_H
