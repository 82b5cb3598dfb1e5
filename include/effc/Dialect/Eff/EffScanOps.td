//===- EffScanOps.td - convolutions and state-space scans ---*- tablegen -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_EFF_EFFSCANOPS_TD
#define EFFC_DIALECT_EFF_EFFSCANOPS_TD

include "effc/Dialect/Eff/EffOpBase.td"

def Eff_CausalConv1DOp : Eff_StatefulOp<"causal_conv1d", [AllTypesMatch<["input", "result"]>]> {
  let summary = "Depthwise causal convolution over the tokens";
  let description = [{
    *Semantics*: with `xp` = the `k - 1` columns of the state followed by the input,
    `y[b, t, c] = act(bias[c] + sum_j w[c, j] * xp[b, t + j, c])`. Afterwards the state holds the `k - 1` columns of `xp`
    that end at token `valid[b]`.

    *Constraints*
    - C1: the weight is `[channels, k]`, the bias `[channels]`, for an input `[batch, tokens, channels]`.
    - C2: the state is `conv, (k - 1) x channels`.

    *Example*
    ```mlir
    %y = eff.causal_conv1d %x, %w, %s bias %b {activation = #eff.activation<silu>}
      : tensor<1x4x896xf32>, !eff.weight<896x4, f32>, !eff.state<conv, 3x896, f32>, !eff.weight<896, f32>
    ```
  }];
  let arguments = (ins Eff_Activations:$input, Eff_WeightMatrix:$weight, Eff_ConvState:$state,
                       Optional<Eff_WeightVector>:$bias,
                       DefaultValuedAttr<Eff_ActivationAttr, "::effc::eff::Activation::None">:$activation);
  let results = (outs Eff_Activations:$result);
  let assemblyFormat = [{
    $input `,` $weight `,` $state (`bias` $bias^)? attr-dict `:` type($input) `,` type($weight) `,` type($state)
    (`,` type($bias)^)?
  }];
}

def Eff_SsdScanOp : Eff_StatefulOp<"ssd_scan", [AllTypesMatch<["input", "result"]>, AllTypesMatch<["b", "c"]>]> {
  let summary = "State-space scan of Mamba-2";
  let description = [{
    State-space duality (arXiv 2405.21060): scalar decay per head, `p` = head dimension, `g(h) = h * groups / heads`.

    *Semantics*: for `t < valid[b]`, with `h` the state, `a = exp(dt[t, i] * A[i])`:
    `h[i, n, p] = a * h[i, n, p] + dt[t, i] * x[t, i, p] * B[t, g(i), n]`;
    `y[t, i, p] = sum_n h[i, n, p] * C[t, g(i), n] + D[i] * x[t, i, p]` (no last term without `skip`).
    Prefill may use the chunked form, with chunks of `chunk` tokens.

    *Constraints*
    - C1: the input is `[batch, tokens, heads * p]`, `dt` `[batch, tokens, heads]`, `A` and `skip` `[heads]`.
    - C2: `B` and `C` are `[batch, tokens, groups * n]`, and `groups` divides `heads`.
    - C3: the state is `ssd, heads x n x p`.

    *Example*
    ```mlir
    %y = eff.ssd_scan %x, %dt, %a, %b, %c, %s skip %d {heads = 12, groups = 1}
      : tensor<1x4x768xf32>, tensor<1x4x12xf32>, !eff.weight<12, f32>, tensor<1x4x64xf32>, !eff.state<ssd, 12x64x64, f32>,
        !eff.weight<12, f32>
    ```
  }];
  let arguments = (ins Eff_Activations:$input, Eff_Activations:$dt, Eff_WeightVector:$a, Eff_Activations:$b,
                       Eff_Activations:$c, Eff_SsdState:$state, Optional<Eff_WeightVector>:$skip, I64Attr:$heads,
                       I64Attr:$groups, DefaultValuedAttr<I64Attr, "64">:$chunk);
  let results = (outs Eff_Activations:$result);
  let assemblyFormat = [{
    $input `,` $dt `,` $a `,` $b `,` $c `,` $state (`skip` $skip^)? attr-dict `:` type($input) `,` type($dt) `,` type($a)
    `,` type($b) `,` type($state) (`,` type($skip)^)?
  }];
}

def Eff_SsmScanOp : Eff_StatefulOp<"ssm_scan", [AttrSizedOperandSegments, AllTypesMatch<["input", "dt", "result"]>,
                                                AllTypesMatch<["b", "c"]>]> {
  let summary = "Selective scan of Mamba-1";
  let description = [{
    Selective state-space model (arXiv 2312.00752, algorithm 2) with the skip and gate that surround it;
    `g(d) = d * groups / channels`.

    *Semantics*: for `t < valid[b]`, with `h` the state:
    `h[n, d] = exp(dt[t, d] * A[d, n]) * h[n, d] + dt[t, d] * u[t, d] * B[t, g(d), n]`;
    `y[t, d] = sum_n h[n, d] * C[t, g(d), n] + D[d] * u[t, d]`, then `y *= silu(z[t, d])`; without `skip` or `gate`
    those factors are left out.

    *Constraints*
    - C1: `A` is `[channels, n]` for an input `[batch, tokens, channels]`; `skip` is `[channels]`, `gate` has the
      input's type.
    - C2: `B` and `C` are `[batch, tokens, groups * n]`, and `groups` divides the channels.
    - C3: the state is `ssm, n x channels`.

    *Example*
    ```mlir
    %y = eff.ssm_scan %u, %dt, %a, %b, %c, %s skip %d gate %z {groups = 1}
      : tensor<1x4x768xf32>, !eff.weight<768x16, f32>, tensor<1x4x16xf32>, !eff.state<ssm, 16x768, f32>
        skip !eff.weight<768, f32> gate tensor<1x4x768xf32>
    ```
  }];
  let arguments = (ins Eff_Activations:$input, Eff_Activations:$dt, Eff_WeightMatrix:$a, Eff_Activations:$b,
                       Eff_Activations:$c, Eff_SsmState:$state, Optional<Eff_WeightVector>:$skip,
                       Optional<Eff_Activations>:$gate, DefaultValuedAttr<I64Attr, "1">:$groups);
  let results = (outs Eff_Activations:$result);
  let assemblyFormat = [{
    $input `,` $dt `,` $a `,` $b `,` $c `,` $state (`skip` $skip^)? (`gate` $gate^)? attr-dict `:` type($input) `,` type($a)
    `,` type($b) `,` type($state) (`skip` type($skip)^)? (`gate` type($gate)^)?
  }];
}

#endif
