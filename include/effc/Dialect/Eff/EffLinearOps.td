//===- EffLinearOps.td - linears, embeddings, patches -------*- tablegen -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_EFF_EFFLINEAROPS_TD
#define EFFC_DIALECT_EFF_EFFLINEAROPS_TD

include "effc/Dialect/Eff/EffOpBase.td"

def Eff_Conv2DOp : Eff_Op<"conv2d", [Pure, DeclareOpInterfaceMethods<LinearLike>, DeclareOpInterfaceMethods<Costed>]> {
  let summary = "Convolution whose patches do not overlap";
  let description = [{
    The patch embedding of vision transformers: stride equals kernel, no padding. The result is patch-major, as the
    transformer reads it.

    *Semantics*: for patch `(i, j)` of a `ph x pw` grid, `p = i * gw + j`:
    `y[b, p, o] = bias[o] + sum_{c, u, v} w[o, (c * ph + u) * pw + v] * x[b, c, i * ph + u, j * pw + v]`.

    *Constraints*
    - C1: `x` is `[batch, channels, height, width]`, and `patch` divides height and width.
    - C2: the weight is `[outputs, channels * ph * pw]`, the bias `[outputs]`.
    - C3: the result is `[batch, (height / ph) * (width / pw), outputs]`.

    *Example*
    ```mlir
    %y = eff.conv2d %x, %w bias %b {patch = array<i64: 4, 4>}
      : tensor<1x3x32x32xf32>, !eff.weight<192x48, f32>, !eff.weight<192, f32> -> tensor<1x64x192xf32>
    ```
  }];
  let arguments = (ins Eff_StaticTensor<F32, 4>:$input, Eff_WeightMatrix:$weight, Optional<Eff_WeightVector>:$bias,
                       DenseI64ArrayAttr:$patch);
  let results = (outs Eff_Activations:$result);
  let assemblyFormat = [{
    $input `,` $weight (`bias` $bias^)? attr-dict `:` type($input) `,` type($weight) (`,` type($bias)^)?
    `->` type($result)
  }];
}

def Eff_DequantizeOp : Eff_Op<"dequantize", [Pure]> {
  let summary = "Turns quantised activations back into f32";
  let description = [{
    *Semantics*: `y[b, t, k] = scale[b, t] * q[b, t, k]` for the scales of `eff.quantize`, or `scale[k] * q[b, t, k]` for
    those of `eff.quantize_static` (one for all when `scale` has one element). One f32 product.

    *Constraints*
    - C1: `scale` is `[batch, tokens]` of the input, or a weight vector `[features]` or `[1]`; the result has the input's
      shape.

    *Example*
    ```mlir
    %y = eff.dequantize %q, %s : tensor<1x4x64xi8>, tensor<1x4xf32> -> tensor<1x4x64xf32>
    ```
  }];
  let arguments = (ins Eff_StaticTensor<I8, 3>:$input, AnyTypeOf<[Eff_StaticTensor<F32, 2>, Eff_WeightVector]>:$scale);
  let results = (outs Eff_Activations:$result);
  let assemblyFormat = "$input `,` $scale attr-dict `:` type($input) `,` type($scale) `->` type($result)";
}

def Eff_EmbedOp : Eff_Op<"embed", [Pure, DeclareOpInterfaceMethods<Costed>]> {
  let summary = "Looks token ids up in a table";
  let description = [{
    *Semantics*: `y[b, t, :] = table[ids[b, t], :]`, dequantised. The runtime has checked that ids lie in
    `[0, vocab)`. The table may be a linear's weight (a tied head) in any format and layout.

    *Constraints*
    - C1: the table is `[vocab, d]`, the result `[batch, tokens, d]` for ids `[batch, tokens]`.
    - C2: the result is in the basis of the table's rows (`in`).

    *Example*
    ```mlir
    %x = eff.embed %ids, %w : tensor<1x1xi32>, !eff.weight<8192x384, bf16> -> tensor<1x1x384xf32>
    ```
  }];
  let arguments = (ins Eff_StaticTensor<I32, 2>:$ids, Eff_WeightMatrix:$table);
  let results = (outs Eff_Activations:$result);
  let assemblyFormat = "$ids `,` $table attr-dict `:` type($ids) `,` type($table) `->` type($result)";
}

def Eff_HadamardOp : Eff_Op<"hadamard", [Pure]> {
  let summary = "Rotates the features by a Hadamard matrix";
  let description = [{
    `H = (H_K (x) H_2^m) / sqrt(n)` of `n = K 2^m` rows is orthonormal, with the least `K` of 1, 12, 20, 28, 40 that fits;
    other sizes take the block-diagonal matrix of the largest order that divides them. A rotation spreads what a few
    channels hold over all of them, which makes room for rounding (QuaRot, arXiv 2404.00456; Quamba, arXiv 2410.13229).

    *Semantics*: `y[..] = H x[..]`, or `H^T x[..]` when `transposed`. A rotation and its inverse cancel.

    *Constraints*
    - C1: the result has the input's shape.
    - C2: the result's basis is the input's with a rotation of all features, or without it when `transposed`; with
      `bases_erased` (eff-erase-bases) neither has a basis.
    - C3: an order above 1 divides the number of features.

    *Example*
    ```mlir
    %y = eff.hadamard %x : tensor<1x4x768xf32> -> tensor<1x4x768xf32, #eff.basis<hadamard = 768>>
    ```
  }];
  let arguments = (ins Eff_F32Tensor:$input, UnitAttr:$transposed, UnitAttr:$bases_erased);
  let results = (outs Eff_F32Tensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let builders = [OpBuilder<(ins "::mlir::Type":$type, "::mlir::Value":$input, "bool":$transposed), [{
    build($_builder, $_state, type, input, transposed, /*bases_erased=*/false);
  }]>];
  let hasFolder = 1;
}

def Eff_LinearOp : Eff_Op<"linear", [Pure, SingleBlock, IsolatedFromAbove, AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<LinearLike>, DeclareOpInterfaceMethods<Costed>]> {
  let summary = "Multiplies activations by a weight matrix";
  let description = [{
    *Semantics*: `acc[.., n] = sum_k x[.., k] * w[n, k]` accumulated in f32, then
    `y[.., n] = epilogue(acc[.., n], extras..)`. Without an epilogue region `y = acc`. The epilogue is scalar `arith`
    and `math` code; each extra operand gives it one scalar: a tensor of the result's shape its element at the same
    place, a weight vector `[n]` its element `n`.

    With int8 activations (from `eff.quantize`) the sum is exact in s32 and
    `acc[.., n] = scale_x[..] * scale_w[n] * sum`. Activations with a zero point (`eff.quantize_static` with `asymmetric`)
    and weights with zero points count as `(x - zero_x) (w - zero_w)` in it.

    *Constraints*
    - C1: the last dimension of the activations is the weight's `k`.
    - C2: the result has the activations' leading dimensions, then the weight's `n`.
    - C3: each extra is an f32 tensor of the result's shape or a weight vector `[n]` of float format.
    - C4: the epilogue has one f32 argument for the accumulator and one for each extra, and yields one f32; it holds
      only `arith` and `math` ops.
    - C5: int8 activations come with scales `[batch, tokens]`, or one scale for all (a weight vector `[1]`), and need an
      `#eff.int8` weight without groups or an `#eff.int4` one; f32 ones have no scales. A scale and zero point for all
      are a weight vector `[2]` or a tensor `[2]`, and need an `#eff.int8` weight.
    - C6: without an epilogue there are no extras.
    - C7: the activations are in the basis that the weight reads, the result in the one that it writes; an epilogue's
      tensors are in the result's.

    *Example*
    ```mlir
    %y = eff.linear %x, %w extras(%r, %b : tensor<1x1x384xf32>, !eff.weight<384, f32>) epilogue {
    ^bb0(%acc: f32, %res: f32, %bias: f32):
      %0 = arith.addf %acc, %bias : f32
      %1 = arith.addf %0, %res : f32
      eff.yield %1 : f32
    } : tensor<1x1x768xf32>, !eff.weight<384x768, bf16> -> tensor<1x1x384xf32>
    ```
  }];
  let arguments = (ins StaticShapeTensorOf<[F32, I8]>:$input, Eff_WeightMatrix:$weight,
                       Optional<AnyTypeOf<[Eff_StaticTensor<F32, 2>, Eff_StaticTensor<F32, 1>, Eff_WeightVector]>>:$scale,
                       Variadic<AnyTypeOf<[Eff_F32Tensor, Eff_WeightVector]>>:$extras);
  let results = (outs Eff_F32Tensor:$result);
  let regions = (region MaxSizedRegion<1>:$epilogue);
  let assemblyFormat = [{
    $input `,` $weight (`scale` `(` $scale^ `:` type($scale) `)`)? (`extras` `(` $extras^ `:` type($extras) `)`)?
    (`epilogue` $epilogue^)? attr-dict `:` type($input) `,` type($weight) `->` type($result)
  }];
  let builders = [OpBuilder<(ins "::mlir::Value":$input, "::mlir::Value":$weight)>];
  let extraClassDeclaration = [{
    bool hasEpilogue() { return !getEpilogue().empty(); }
    /// Whether the scale is one of all activations, with their zero point.
    bool isAsymmetric();
  }];
  let hasRegionVerifier = 1;
}

def Eff_QuantizeOp : Eff_Op<"quantize", [Pure]> {
  let summary = "Quantises activations to int8, one scale per token";
  let description = [{
    *Semantics*: `scale[b, t] = max_k |x[b, t, k]| / 127` (1 when the row is zero),
    `q[b, t, k] = clamp(round_half_even(x / scale), -127, 127)`.

    *Constraints*
    - C1: `q` has the input's shape, `scale` is `[batch, tokens]`.

    *Example*
    ```mlir
    %q, %s = eff.quantize %x : tensor<1x4x64xf32> -> tensor<1x4x64xi8>, tensor<1x4xf32>
    ```
  }];
  let arguments = (ins Eff_Activations:$input);
  let results = (outs Eff_StaticTensor<I8, 3>:$result, Eff_StaticTensor<F32, 2>:$scale);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result) `,` type($scale)";
}

def Eff_QuantizeStaticOp : Eff_Op<"quantize_static", [Pure]> {
  let summary = "Quantises activations to int8 with scales that are known";
  let description = [{
    *Semantics*: `q[b, t, k] = clamp(round_half_even(x[b, t, k] / scale[k]), -128, 127)`, one scale for all when `scale`
    has one element; the quotient is that of f32, a scale of 0 and a NaN give 0. With `asymmetric`, `scale`
    holds a scale and a zero point, an integer of -128 to 127, for all: `q = clamp(round_half_even(x / scale) + zero)`.

    *Constraints*
    - C1: the result has the input's shape, `scale` is a weight vector `[features]` or `[1]`; with `asymmetric`, a weight
      vector or tensor `[2]`.

    *Example*
    ```mlir
    %q = eff.quantize_static %x, %s : tensor<1x4x64xf32>, !eff.weight<1, f32> -> tensor<1x4x64xi8>
    ```
  }];
  let arguments = (ins Eff_Activations:$input, AnyTypeOf<[Eff_WeightVector, Eff_StaticTensor<F32, 1>]>:$scale,
                       UnitAttr:$asymmetric);
  let results = (outs Eff_StaticTensor<I8, 3>:$result);
  let assemblyFormat = "$input `,` $scale attr-dict `:` type($input) `,` type($scale) `->` type($result)";
  let builders = [OpBuilder<(ins "::mlir::Type":$type, "::mlir::Value":$input, "::mlir::Value":$scale), [{
    build($_builder, $_state, type, input, scale, /*asymmetric=*/false);
  }]>];
}

def Eff_SampleOp : Eff_Op<"sample", [Pure]> {
  let summary = "Takes the most likely token of each row";
  let description = [{
    *Semantics*: `id[r] = argmax_v logits[r, v]`, the lowest `v` on ties. Other ways of sampling need random numbers
    and live in the runtime.

    *Constraints*
    - C1: the result has one id for each row of the logits.

    *Example*
    ```mlir
    %id = eff.sample %logits : tensor<4x8192xf32> -> tensor<4xi32>
    ```
  }];
  let arguments = (ins Eff_StaticTensor<F32, 2>:$logits);
  let results = (outs Eff_StaticTensor<I32, 1>:$result);
  let assemblyFormat = "$logits attr-dict `:` type($logits) `->` type($result)";
}

def Eff_SelectRowsOp : Eff_Op<"select_rows", [Pure]> {
  let summary = "Keeps the positions whose logits are asked for";
  let description = [{
    Generation needs logits at the last valid position of each row alone, evaluation at all of them; the caller says
    which, so one entry point serves both and the head never computes more than was asked for.

    *Semantics*: by default `y[b, :] = x[b, valid[b] - 1, :]` and only the first `batch` rows of the result are
    defined; when the call asks for all logits, `y[b * tokens + t, :] = x[b, t, :]`. Ops that use the result compute
    only the defined rows.

    *Constraints*
    - C1: the result is `[batch * tokens, features]`.

    *Example*
    ```mlir
    %y = eff.select_rows %x : tensor<1x128x384xf32> -> tensor<128x384xf32>
    ```
  }];
  let arguments = (ins Eff_Activations:$input);
  let results = (outs Eff_StaticTensor<F32, 2>:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
}

def Eff_SplitOp : Eff_Op<"split", [Pure]> {
  let summary = "Cuts the features into parts";
  let description = [{
    *Semantics*: the results are consecutive slices of the last dimension.

    *Constraints*
    - C1: the sizes of the results' last dimensions add up to the input's; the leading dimensions and the element types
      agree.

    *Example*
    ```mlir
    %z, %xbc, %dt = eff.split %x : tensor<1x1x1676xf32> -> tensor<1x1x768xf32>, tensor<1x1x896xf32>, tensor<1x1x12xf32>
    ```
  }];
  let arguments = (ins Eff_ValueTensor:$input);
  let results = (outs Variadic<Eff_ValueTensor>:$results);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($results)";
}

def Eff_TensorScaleOp : Eff_Op<"tensor_scale", [Pure]> {
  let summary = "The scale and zero point that the range of a tensor asks for";
  let description = [{
    What ONNX calls dynamic quantisation (`DynamicQuantizeLinear`), with codes of -128 to 127 instead of 0 to 255: one
    scale for the tensor as a whole, so that what one row becomes depends on all others.

    *Semantics*: with `low = min(0, min x)` and `high = max(0, max x)`, `result[0] = (high - low) / 255` and
    `result[1] = clamp(round_half_even(-low / result[0]), 0, 255) - 128`; -128 when all is zero.

    *Constraints*
    - C1: the result is `[2]`.

    *Example*
    ```mlir
    %s = eff.tensor_scale %x : tensor<1x4x64xf32> -> tensor<2xf32>
    %q = eff.quantize_static %x, %s {asymmetric} : tensor<1x4x64xf32>, tensor<2xf32> -> tensor<1x4x64xi8>
    ```
  }];
  let arguments = (ins Eff_Activations:$input);
  let results = (outs Eff_StaticTensor<F32, 1>:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
}

def Eff_YieldOp : Op<Eff_Dialect, "yield", [Pure, Terminator, HasParent<"LinearOp">]> {
  let summary = "Ends an epilogue";
  let description = [{
    *Example*
    ```mlir
    eff.yield %s : f32
    ```
  }];
  let arguments = (ins F32:$value);
  let assemblyFormat = "$value attr-dict `:` type($value)";
}

#endif
