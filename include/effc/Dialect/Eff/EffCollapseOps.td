//===- EffCollapseOps.td - one scan in place of many --------*- tablegen -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_EFF_EFFCOLLAPSEOPS_TD
#define EFFC_DIALECT_EFF_EFFCOLLAPSEOPS_TD

include "effc/Dialect/Eff/EffOpBase.td"

def Eff_CollapseChannelsOp : Eff_Op<"collapse_channels", [Pure, AllTypesMatch<["b", "c"]>,
                                                          AllTypesMatch<["decay", "increment", "output"]>,
                                                          DeclareOpInterfaceMethods<Costed>]> {
  let summary = "The means over channels of a discretised scan";
  let description = [{
    What the scan of VMeanba (arXiv 2412.16602) reads: the recurrence is discretised for each channel, then averaged.

    *Semantics*: channel `d` belongs to group `g(d) = d * groups / channels` and to scan `s(d) = d * scans / channels`;
    a mean runs over the channels of scan `s`:
    `decay[b, t, s, n] = mean exp(dt[b, t, d] * A[d, n])`,
    `increment[b, t, s, n] = mean dt[b, t, d] * x[b, t, d] * B[b, t, g(d), n]`,
    `output[b, t, s, n] = mean C[b, t, g(d), n]`.
    Where `A` is a vector (Mamba-2), `dt` and `A` hold one number for each head: `A[h(d)]` stands for `A[d, n]`.

    *Constraints*
    - C1: for an input `[batch, tokens, channels]`, `A` is `[channels, n]` and `dt` like the input; or `A` is `[heads]`,
      `dt` `[batch, tokens, heads]`, and `heads` divides the channels.
    - C2: `B` and `C` are `[batch, tokens, groups * n]`; `groups` divides the channels, and the heads.
    - C3: `scans` is 1 or `groups`.
    - C4: the results are `[batch, tokens, scans * n]`.

    *Example*
    ```mlir
    %decay, %in, %out = eff.collapse_channels %x, %dt, %a, %b, %c {groups = 4, scans = 1}
      : tensor<1x64x1536xf32>, tensor<1x64x1536xf32>, !eff.weight<1536x16, f32>, tensor<1x64x64xf32>
        -> tensor<1x64x16xf32>
    ```
  }];
  let arguments = (ins Eff_Activations:$input, Eff_Activations:$dt, AnyTypeOf<[Eff_WeightMatrix, Eff_WeightVector]>:$a,
                       Eff_Activations:$b, Eff_Activations:$c, I64Attr:$groups, I64Attr:$scans);
  let results = (outs Eff_Activations:$decay, Eff_Activations:$increment, Eff_Activations:$output);
  let assemblyFormat = [{
    $input `,` $dt `,` $a `,` $b `,` $c attr-dict `:` type($input) `,` type($dt) `,` type($a) `,` type($b)
    `->` type($decay)
  }];
}

def Eff_CollapsedScanOp : Eff_Op<"collapsed_scan", [AllTypesMatch<["decay", "increment", "output"]>,
                                                    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
                                                    DeclareOpInterfaceMethods<Stateful>,
                                                    DeclareOpInterfaceMethods<Costed>]> {
  let summary = "The scan of collapsed channels";
  let description = [{
    *Semantics*: for `t < valid[b]`, `h[s, n] = decay[t, s, n] * h[s, n] + increment[t, s, n]`;
    `y[t, s] = sum_n output[t, s, n] * h[s, n]`. With a state, `h` starts from it and ends in it; without one it starts
    at zero, and every token is valid.

    *Constraints*
    - C1: the result is `[batch, tokens, scans]`, and `scans` divides the features of the operands.
    - C2: the state is `ssm, n x scans`.

    *Example*
    ```mlir
    %s = eff.collapsed_scan %decay, %in, %out : tensor<1x64x16xf32> -> tensor<1x64x1xf32>
    ```
  }];
  let arguments = (ins Eff_Activations:$decay, Eff_Activations:$increment, Eff_Activations:$output,
                       Optional<Eff_SsmState>:$state);
  let results = (outs Eff_Activations:$result);
  let assemblyFormat = [{
    $decay `,` $increment `,` $output (`state` $state^)? attr-dict `:` type($decay) (`,` type($state)^)?
    `->` type($result)
  }];
}

def Eff_ExpandChannelsOp : Eff_Op<"expand_channels", [Pure, AttrSizedOperandSegments]> {
  let summary = "Gives the output of a collapsed scan to its channels";
  let description = [{
    *Semantics*: with `s(d) = d * scans / channels`: `y[b, t, d] = x[b, t, s(d)] + D[d] * u[b, t, d]`, then
    `y *= silu(z[b, t, d])`; without `skip` or `gate` those factors are left out.

    *Constraints*
    - C1: the input is `[batch, tokens, scans]`, the result `[batch, tokens, channels]`; `scans` divides the channels.
    - C2: `skip` is a tensor of the result's shape and a weight `[channels]`; `gate` has the result's shape.

    *Example*
    ```mlir
    %y = eff.expand_channels %s skip(%u, %d : tensor<1x64x1536xf32>, !eff.weight<1536, f32>)
      : tensor<1x64x1xf32> -> tensor<1x64x1536xf32>
    ```
  }];
  let arguments = (ins Eff_Activations:$input, Optional<Eff_Activations>:$skip, Optional<Eff_WeightVector>:$factor,
                       Optional<Eff_Activations>:$gate);
  let results = (outs Eff_Activations:$result);
  let assemblyFormat = [{
    $input (`skip` `(` $skip^ `,` $factor `:` type($skip) `,` type($factor) `)`)?
    (`gate` `(` $gate^ `:` type($gate) `)`)? attr-dict `:` type($input) `->` type($result)
  }];
}

#endif
