//===- KernelSpec.h - what a kernel is specialised for ----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
// clang-format off: the table below is one line per family.
///
/// \file
/// A kernel family is hand-written code under runtime/kernels/<target>; a KernelSpec
/// names a family and the constants that turn it into one kernel. The compiler defines
/// every constant `c` of the spec as `const int64_t eff_spec_<c>`, gives the epilogue a body,
/// and lets LLVM fold and inline everything. Equal specs give equal kernels, so the
/// spec's name is the key of every cache of compiled code.
///
/// # Families, their constants and operands
///
/// All activations are f32 and row-major: row `r` of `x` starts at `x + r * ldx` floats.
/// `rows` = 0 means "as many as call->logit_rows"; every other constant is exact.
/// Float constants are passed as the bits of the f32, zero-extended (suffix `_bits`).
/// Weight layouts are those of eff::Layout (include/effc/Dialect/Eff/EffAttrs.td). "?" marks operands that
/// may be null. T = tokens, B = batch, rows = B * T in batch-major order. Padded tokens (t >= valid[b]) may be
/// computed or skipped, but never change a state or cache.
///
/// | family         | operands                              | constants |
/// |----------------|---------------------------------------|-----------|
/// | linear_f32     | x, w, y, extras...                    | rows n k ldx ldy extras extra<i>_ld | (w panel16)
/// | linear_bf16    | x, w, y, extras...                    | same | (w panel32_pair bf16)
/// | linear_f16     | x, w, y, extras...                    | same | (w panel32_pair f16)
/// | linear_f8      | x, w, y, extras...                    | same, format | (w quad16 of 8-bit floats; format: 0 e4m3fn, 1 e5m2)
/// | linear_i8      | x, w, y, extras...                    | same, group zeros | (w quad16, f32 activations)
/// | linear_i8a8    | q, scale, w, y, oscale?, extras...    | rows n k ldq ldy static_scale asymmetric zeros quant oscale_each extras extra<i>_ld | (w quad16; "int8
///                                                                    operands" below)
/// | linear_i4      | x, w, y, extras...                    | rows n k ldx ldy group zeros extras extra<i>_ld | (w nibble16)
/// | linear_i4a8    | q, scale, w, y, oscale?, extras...    | as linear_i8a8 without asymmetric, and group | (w nibble16)
/// | quantize_rows  | x, q, scale                           | rows k ldx ldq | (as eff.quantize; codes between k and the next multiple of 4 are 0 where
///                                                                    ldq has room)
/// | quantize_static| x, scale, q                           | rows k ldx ldq scale_each asymmetric | (as eff.quantize_static, padded likewise)
/// | tensor_scale   | x, y                                  | rows k ldx | (as eff.tensor_scale; y is a scale and a zero point)
/// | dequantize_rows| q, scale, y                           | rows k ldq ldy static_scale scale_each | (as eff.dequantize; scale [rows] unless static_scale)
/// | embed          | ids?, w, y                            | rows d vocab ldy format group zeros tokens first | (tokens > 0: without ids, rows of the
///                                                                    positions past + first of sequences of `tokens`; format: 0 row-major f32, 1 row-major bf16, 2 row-major f16,
///                                                                    3 panel16, 4 panel32_pair bf16, 5 panel32_pair f16, 6 quad16, 7 nibble16)
/// | patchify       | x, y                                  | batch channels height width ph pw | (y [B * patches, channels*ph*pw], row as in eff.conv2d)
/// | rms_norm       | x, w, y, oscale?                      | rows d ldx ldy group eps_bits quant oscale_each | (group = d when not grouped)
/// | layer_norm     | x, w, bias?, y, oscale?               | rows d ldx ldy eps_bits quant oscale_each |
/// | gated_norm     | x, z, w, y, oscale?, zscale?          | rows d ldx ldz ldy group norm_before_gate eps_bits hadamard base log2 blocks quant oscale_each
///                                                                    z_i8 zscale_each | (hadamard = 1: the row is rotated behind the norm)
/// | hadamard       | x, y, oscale?                         | rows d ldx ldy base log2 blocks transposed quant oscale_each | (d = blocks * (base << log2),
///                                                                    as eff.hadamard; base 1, 12, 20, 28 or 40)
/// | rope           | x, inv_freq, y                        | batch tokens heads head_dim half ldx ldy interleaved scale_bits | (half = len(inv_freq))
/// | cache_append   | x, cache, scale?                      | batch tokens heads head_dim capacity ldx cache_i8 cache_bits |
/// | attention_cache| q, kcache, vcache, y, kscale?, vscale?| batch tokens heads kv_heads head_dim capacity ldq ldy causal window scale_bits softcap_bits cache_i8
///                                                                    cache_bits |
/// | attention      | q, k, v, y, bias?                     | batch tokens heads kv_heads head_dim ldq ldk ldv ldy causal window scale_bits softcap_bits
///                                                                    bias_batch bias_heads bias_tokens | (bias f32 [bias_batch][bias_heads][bias_tokens][tokens])
/// | depthwise_conv2d | x, w, bias?, y                      | batch channels height width kh kw ldx ldy silu | (w row-major [channels][kh * kw])
/// | cross_scan     | x0, x1?, x2?, x3?, y                  | batch directions height width d ldx ldy | (d features of one direction)
/// | cross_merge    | x, y                                  | batch directions height width d ldx ldy |
/// | collapse_channels | x, dt, a, b, c, decay, increment, output | rows channels n groups scans heads ldu lddt ldb ldc | (heads = 0: a [channels][n])
/// | collapsed_scan | decay, increment, output, state?, y   | batch tokens n scans | (state [n][scans]; without one every token is valid)
/// | expand_channels| x, u?, d?, gate?, y                   | rows channels scans ldu ldz ldy |
/// | causal_conv1d  | x, w, bias?, state, y, xscale?, oscale?| batch tokens channels kernel ldx ldy silu x_i8 xscale_each quant oscale_each
///                                                          | (w row-major [channels][kernel], state [kernel-1][channels], of codes where x_i8
///                                                            is 1; quant 1: y is int8, quantised by oscale)
/// | ssm_scan       | u, dt, a, b, c, skip?, gate?, state?, y, dt_bias?, uscale?, dtscale?, bscale?, cscale?, zscale?, sscale?
///                                                          | batch tokens channels n groups ldu lddt ldb ldc ldz ldy dt_softplus
///                                                            <v>_i8 <v>scale_each state_format state_rounding state_residual state_once | (a row-major [channels][n], state [n][channels]; without one every token is valid)
/// | ssd_scan       | x, dt, a, b, c, skip?, state, y, dt_bias?, xscale?, dtscale?, bscale?, cscale?, sscale?
///                                                          | batch tokens heads head_dim n groups chunk ldx lddt ldb ldc ldy dt_softplus
///                                                            <v>_i8 <v>scale_each state_format state_rounding state_residual state_once | (state [heads][n][head_dim])
/// | select_rows    | x, y                                  | batch tokens d ldx ldy |
/// | sample         | logits, ids                           | rows vocab ld |
/// | copy_rows      | x, y                                  | rows d ldx ldy |
///
/// int8 operands: their ld is in bytes. `static_scale` = 1: the scale of activations is scale[0] for all rows, or [k] with
/// `scale_each` = 1; otherwise there is one for each row. `asymmetric` = 1 (and static_scale): scale[1] is the zero point of all activations.
/// `zeros` = 1: the weight has zero points, integers for linear_i8a8 (k <= 33000 with either). `quant` says what y is: 0 f32; 1 int8 by the scale(s) that
/// oscale holds, one for each column with `oscale_each` = 1, else oscale[0]; 2 int8 by the largest magnitude of each
/// row, whose scale goes to oscale [rows]. Linears know 0 and 1 and round after the epilogue. What
/// stands behind k in a row of q does not count, whatever it is. Rounding is that of
/// compress::quantizeInt8 and quantizeToken, bit for bit. Constants from `static_scale` on are 0 when absent.
///
/// Bounds of the x86 code, beyond which compileKernel says what is wrong: head_dim <= 512 (attention), half <= 256
/// (rope), kernel <= 16 (causal_conv1d), kh kw <= 49 (depthwise_conv2d), n <= 256 (ssm_scan, collapsed ones); groups of int4 are multiples of 8 and k <= 65536 for linear_i4 and linear_i4a8. States and caches of
/// neighbouring slots follow each other without a gap. an f32 y may be x for norms, rope and causal_conv1d, and z for
/// gated_norm, with equal row distances; a linear may write over a tensor that its epilogue reads, likewise. Other
/// outputs overlap no input.
///
/// A tensor v of a scan is f32, or, where the constant `<v>_i8` is 1, int8 codes times `<v>scale`: one scale for each
/// column where `<v>scale_each` is 1, otherwise one for all. Distances of rows are elements. A scan's time step is
/// dt + dt_bias, and softplus of that where `dt_softplus` is 1. `state_format` is 0 for f32, 1 for int8 with static
/// scales (sscale, in the order of the state), 2 with dynamic ones; `state_rounding` 0 nearest, 1 stochastic;
/// `state_residual` 0, 4 or 8 bits. It is rounded after each token, or after the last valid one alone where `state_once` is
/// 1. runtime/kernels/x86/state8.h has the bytes of such a state; n is at most 256.
///
/// A cache is f32 [heads][capacity][head_dim], or with `cache_i8` [heads][capacity] rows of a f32 scale and head_dim
/// int8, padded to a multiple of 4 bytes. With `cache_bits` 8 or 4 its rows are integers of that many bits (4: plus 8, two
/// to a byte, even features in the low halves) by the scales `scale`, `kscale`, `vscale`, f32 [heads][head_dim].
///
/// The epilogue of a linear is an LLVM function
/// `<16 x float> eff_epilogue(<16 x float> acc, i64 row, i64 col, ptr extras)`, where extras points at the operand
/// array's first extra; extra i is a [rows][ld] tensor when `extra<i>_ld` > 0 and a vector [n] when it is 0.
/// `y` may be the memory of an extra of the same ld: each element of `y` is written once, after the extras at its place
/// have been read for it, and they are read for no other element.
///
//===----------------------------------------------------------------------===//

// clang-format on

#ifndef EFFC_TARGET_KERNELSPEC_H
#define EFFC_TARGET_KERNELSPEC_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <string>
#include <utility>

namespace effc {

/// A family, its constants, and the epilogue that is inlined into it.
struct KernelSpec {
  std::string family;
  /// Sorted by name.
  llvm::SmallVector<std::pair<std::string, int64_t>, 12> constants;
  /// The epilogue as the text of an MLIR function `func.func
  /// @eff_epilogue(%acc: f32, %e0: f32, ...) -> f32` over arith and math; empty
  /// for the identity.
  std::string epilogue;

  /// Value of a constant; 0 when the spec does not have it.
  int64_t get(llvm::StringRef name) const;
  void set(llvm::StringRef name, int64_t value);
  /// Family, constants and epilogue as one line of text.
  std::string str() const;
  /// A symbol name that is equal for equal specs: family, then 16 hex digits of
  /// a hash of str().
  std::string name() const;
  bool operator==(const KernelSpec &other) const;
};

} // namespace effc

#endif // EFFC_TARGET_KERNELSPEC_H
