//===- EffNormOps.td - normalisations -----------------------*- tablegen -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_EFF_EFFNORMOPS_TD
#define EFFC_DIALECT_EFF_EFFNORMOPS_TD

include "effc/Dialect/Eff/EffOpBase.td"

def Eff_GatedNormOp : Eff_Op<"gated_norm", [Pure, AllTypesMatch<["input", "gate", "result"]>]> {
  let summary = "Root-mean-square norm with a SiLU gate";
  let description = [{
    *Semantics*, over consecutive groups of `group` features (all of them when `group` is 0):
    gate first (Mamba-2): `h = x * silu(z); y = h / sqrt(mean_group(h^2) + eps) * w`;
    with `norm_before_gate`: `y = x / sqrt(mean_group(x^2) + eps) * w * silu(z)`.

    *Constraints*
    - C1: the weight has as many elements as there are features.
    - C2: `group` divides the number of features; `eps` is not negative.

    *Example*
    ```mlir
    %y = eff.gated_norm %x, %z, %w {eps = 1.0e-5 : f32} : tensor<1x4x768xf32>, !eff.weight<768, f32>
    ```
  }];
  let arguments = (ins Eff_F32Tensor:$input, Eff_F32Tensor:$gate, Eff_WeightVector:$weight, F32Attr:$eps,
                       DefaultValuedAttr<I64Attr, "0">:$group, UnitAttr:$norm_before_gate);
  let results = (outs Eff_F32Tensor:$result);
  let assemblyFormat = "$input `,` $gate `,` $weight attr-dict `:` type($input) `,` type($weight)";
}

def Eff_LayerNormOp : Eff_Op<"layer_norm", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "Layer normalisation over the features";
  let description = [{
    *Semantics*: `y = (x - mean(x)) / sqrt(var(x) + eps) * w + b`, mean and (biased) variance over the last dimension.

    *Constraints*
    - C1: weight and bias have as many elements as there are features.
    - C2: `eps` is not negative.

    *Example*
    ```mlir
    %y = eff.layer_norm %x, %w bias %b {eps = 1.0e-12 : f32}
      : tensor<1x65x192xf32>, !eff.weight<192, f32>, !eff.weight<192, f32>
    ```
  }];
  let arguments = (ins Eff_F32Tensor:$input, Eff_WeightVector:$weight, Optional<Eff_WeightVector>:$bias, F32Attr:$eps);
  let results = (outs Eff_F32Tensor:$result);
  let assemblyFormat = [{
    $input `,` $weight (`bias` $bias^)? attr-dict `:` type($input) `,` type($weight) (`,` type($bias)^)?
  }];
}

def Eff_RmsNormOp : Eff_Op<"rms_norm", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "Root-mean-square normalisation";
  let description = [{
    *Semantics*: over consecutive groups of `group` features (all of them when `group` is 0), with weight `w` of one
    group: `y = x / sqrt(mean_group(x^2) + eps) * w`. A group of `head_dim` is the per-head norm of queries and keys.

    *Constraints*
    - C1: the weight has `group` elements (as many as there are features when `group` is 0).
    - C2: `group` divides the number of features; `eps` is not negative.

    *Example*
    ```mlir
    %y = eff.rms_norm %x, %w {eps = 1.0e-5 : f32} : tensor<1x4x384xf32>, !eff.weight<384, f32>
    ```
  }];
  let arguments = (ins Eff_F32Tensor:$input, Eff_WeightVector:$weight, F32Attr:$eps,
                       DefaultValuedAttr<I64Attr, "0">:$group);
  let results = (outs Eff_F32Tensor:$result);
  let assemblyFormat = "$input `,` $weight attr-dict `:` type($input) `,` type($weight)";
}

#endif
