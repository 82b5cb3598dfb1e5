//===- EffScanOps.td - convolutions and state-space scans ---*- tablegen -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_EFF_EFFSCANOPS_TD
#define EFFC_DIALECT_EFF_EFFSCANOPS_TD

include "effc/Dialect/Eff/EffOpBase.td"

def Eff_CausalConv1DOp : Eff_StatefulOp<"causal_conv1d", [AttrSizedOperandSegments,
                                                          AllTypesMatch<["input", "result"]>]> {
  let summary = "Depthwise causal convolution over the tokens";
  let description = [{
    *Semantics*: with `xp` = the `k - 1` columns of the state followed by the input,
    `y[b, t, c] = act(bias[c] + sum_j w[c, j] * xp[b, t + j, c])`. Afterwards the state holds the `k - 1` columns of `xp`
    that end at token `valid[b]`; an i8 one holds their codes by `state_scale` (`eff.quantize_static`), which are exact
    when the input was dequantised by the same scales.

    *Constraints*
    - C1: the weight is `[channels, k]`, the bias `[channels]`, for an input `[batch, tokens, channels]`.
    - C2: the state is `conv, (k - 1) x channels`.
    - C3: an i8 state comes with `state_scale`, `[channels]` or `[1]`; another has none.

    *Example*
    ```mlir
    %y = eff.causal_conv1d %x, %w, %s bias %b {activation = #eff.activation<silu>}
      : tensor<1x4x896xf32>, !eff.weight<896x4, f32>, !eff.state<conv, 3x896, f32>, !eff.weight<896, f32>
    ```
  }];
  let arguments = (ins Eff_Activations:$input, Eff_WeightMatrix:$weight, Eff_ConvState:$state,
                       Optional<Eff_WeightVector>:$bias, Optional<Eff_WeightVector>:$state_scale,
                       DefaultValuedAttr<Eff_ActivationAttr, "::effc::eff::Activation::None">:$activation);
  let results = (outs Eff_Activations:$result);
  /// Of f32 states.
  let builders = [OpBuilder<(ins "::mlir::Type":$type, "::mlir::Value":$input, "::mlir::Value":$weight,
                                 "::mlir::Value":$state, "::mlir::Value":$bias, "Activation":$activation), [{
    build($_builder, $_state, type, input, weight, state, bias, ::mlir::Value(), activation);
  }]>];
  let assemblyFormat = [{
    $input `,` $weight `,` $state (`bias` $bias^)? (`state_scale` $state_scale^)? attr-dict `:` type($input) `,`
    type($weight) `,` type($state) (`,` type($bias)^)? (`state_scale` type($state_scale)^)?
  }];
}

def Eff_SsdScanOp : Eff_StatefulOp<"ssd_scan", [AttrSizedOperandSegments, AllTypesMatch<["input", "result"]>,
                                                AllTypesMatch<["b", "c"]>]> {
  let summary = "State-space scan of Mamba-2";
  let description = [{
    State-space duality (arXiv 2405.21060): scalar decay per head, `p` = head dimension, `g(h) = h * groups / heads`.

    *Semantics*: for `t < valid[b]`, with `h` the state, `a = exp(dt[t, i] * A[i])`:
    `h[i, n, p] = a * h[i, n, p] + dt[t, i] * x[t, i, p] * B[t, g(i), n]`;
    `y[t, i, p] = sum_n h[i, n, p] * C[t, g(i), n] + D[i] * x[t, i, p]` (no last term without `skip`).
    Prefill may use the chunked form, with chunks of `chunk` tokens. With `dt_softplus`, `dt` stands for
    `softplus(dt + dt_bias)`, `softplus(v) = log(1 + exp(-|v|)) + max(v, 0)`; with `dt_bias` alone for `dt + dt_bias`.
    An int8 state (`#eff.int8_state`) is rounded after each token or call; `y` comes from the state before it is rounded.

    *Constraints*
    - C1: the input is `[batch, tokens, heads * p]`, `dt` `[batch, tokens, heads]`, `A` and `skip` `[heads]`.
    - C2: `B` and `C` are `[batch, tokens, groups * n]`, and `groups` divides `heads`.
    - C3: the state is `ssd, heads x n x p`.
    - C4: `dt_bias` is `[heads]`.
    - C6: the ends of `clusters` ascend to the heads of a group, and to `p`.
    - C5: a static int8 state comes with `state_scale`, a vector of as many elements as the state; another has none.

    *Example*
    ```mlir
    %y = eff.ssd_scan %x, %dt, %a, %b, %c, %s skip %d {heads = 12, groups = 1}
      : tensor<1x4x768xf32>, tensor<1x4x12xf32>, !eff.weight<12, f32>, tensor<1x4x64xf32>, !eff.state<ssd, 12x64x64, f32>,
        !eff.weight<12, f32>
    ```
  }];
  let arguments = (ins Eff_Activations:$input, Eff_Activations:$dt, Eff_WeightVector:$a, Eff_Activations:$b,
                       Eff_Activations:$c, Eff_SsdState:$state, Optional<Eff_WeightVector>:$skip,
                       Optional<Eff_WeightVector>:$dt_bias, Optional<Eff_WeightVector>:$state_scale, I64Attr:$heads,
                       I64Attr:$groups, UnitAttr:$dt_softplus, OptionalAttr<Eff_ClustersAttr>:$clusters,
                       DefaultValuedAttr<I64Attr, "64">:$chunk);
  let results = (outs Eff_Activations:$result);
  /// Of f32 states, with `dt` as it is.
  let builders = [OpBuilder<(ins "::mlir::Type":$type, "::mlir::Value":$input, "::mlir::Value":$dt,
                                 "::mlir::Value":$a, "::mlir::Value":$b, "::mlir::Value":$c, "::mlir::Value":$state,
                                 "::mlir::Value":$skip, "int64_t":$heads, "int64_t":$groups, "int64_t":$chunk), [{
    build($_builder, $_state, type, input, dt, a, b, c, state, skip, ::mlir::Value(), ::mlir::Value(), heads, groups,
          /*dt_softplus=*/false, ClustersAttr(), chunk);
  }]>];
  let assemblyFormat = [{
    $input `,` $dt `,` $a `,` $b `,` $c `,` $state (`skip` $skip^)? (`dt_bias` $dt_bias^)? (`state_scale` $state_scale^)?
    attr-dict `:` type($input) `,` type($dt) `,` type($a) `,` type($b) `,` type($state) (`,` type($skip)^)?
    (`dt_bias` type($dt_bias)^)? (`state_scale` type($state_scale)^)?
  }];
}

def Eff_SsmScanOp : Eff_Op<"ssm_scan", [AttrSizedOperandSegments, AllTypesMatch<["input", "dt", "result"]>,
                                        AllTypesMatch<["b", "c"]>, DeclareOpInterfaceMethods<Stateful>,
                                        DeclareOpInterfaceMethods<Costed>,
                                        DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "Selective scan of Mamba-1";
  let description = [{
    Selective state-space model (arXiv 2312.00752, algorithm 2) with the skip and gate that surround it;
    `g(d) = d * groups / channels`.

    *Semantics*: for `t < valid[b]`, with `h` the state:
    `h[n, d] = exp(dt[t, d] * A[d, n]) * h[n, d] + dt[t, d] * u[t, d] * B[t, g(d), n]`;
    `y[t, d] = sum_n h[n, d] * C[t, g(d), n] + D[d] * u[t, d]`, then `y *= silu(z[t, d])`; without `skip` or `gate`
    those factors are left out. `dt_bias`, `dt_softplus` and int8 states are as in `eff.ssd_scan`.
    those factors are left out. Without a state (a model that goes forward: images) `h` starts at zero and every token
    is valid.

    *Constraints*
    - C1: `A` is `[channels, n]` for an input `[batch, tokens, channels]`; `skip` is `[channels]`, `gate` has the
      input's type.
    - C2: `B` and `C` are `[batch, tokens, groups * n]`, and `groups` divides the channels.
    - C3: the state is `ssm, n x channels`.
    - C4: `dt_bias` is `[channels]`.
    - C5: a static int8 state comes with `state_scale`, a vector of as many elements as the state; another has none.

    *Example*
    ```mlir
    %y = eff.ssm_scan %u, %dt, %a, %b, %c, %s skip %d gate %z {groups = 1}
      : tensor<1x4x768xf32>, !eff.weight<768x16, f32>, tensor<1x4x16xf32>, !eff.state<ssm, 16x768, f32>
        skip !eff.weight<768, f32> gate tensor<1x4x768xf32>
    ```
  }];
  let arguments = (ins Eff_Activations:$input, Eff_Activations:$dt, Eff_WeightMatrix:$a, Eff_Activations:$b,
                       Eff_Activations:$c, Optional<Eff_SsmState>:$state, Optional<Eff_WeightVector>:$skip,
                       Optional<Eff_Activations>:$gate, Optional<Eff_WeightVector>:$dt_bias,
                       Optional<Eff_WeightVector>:$state_scale, UnitAttr:$dt_softplus,
                       DefaultValuedAttr<I64Attr, "1">:$groups);
  let results = (outs Eff_Activations:$result);
  /// Of f32 states, with `dt` as it is.
  let builders = [OpBuilder<(ins "::mlir::Type":$type, "::mlir::Value":$input, "::mlir::Value":$dt,
                                 "::mlir::Value":$a, "::mlir::Value":$b, "::mlir::Value":$c, "::mlir::Value":$state,
                                 "::mlir::Value":$skip, "::mlir::Value":$gate, "int64_t":$groups), [{
    build($_builder, $_state, type, input, dt, a, b, c, state, skip, gate, ::mlir::Value(), ::mlir::Value(),
          /*dt_softplus=*/false, groups);
  }]>];
  let assemblyFormat = [{
    $input `,` $dt `,` $a `,` $b `,` $c (`,` $state^)? (`skip` $skip^)? (`gate` $gate^)? (`dt_bias` $dt_bias^)?
    (`state_scale` $state_scale^)? attr-dict `:` type($input) `,` type($a) `,` type($b) (`,` type($state)^)?
    (`skip` type($skip)^)? (`gate` type($gate)^)? (`dt_bias` type($dt_bias)^)? (`state_scale` type($state_scale)^)?
  }];
}

#endif
