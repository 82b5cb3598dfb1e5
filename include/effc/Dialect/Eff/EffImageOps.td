//===- EffImageOps.td - convolutions and scans of images ----*- tablegen -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_EFF_EFFIMAGEOPS_TD
#define EFFC_DIALECT_EFF_EFFIMAGEOPS_TD

include "effc/Dialect/Eff/EffOpBase.td"

// Images are activations [batch, height * width, features]: pixel (i, j) is token i * width + j. In the scan orders,
// position l of direction k reads pixel order_k(l):
//   order_0(l) = l, order_1(l) = l mod height * width + l / height (column after column),
//   order_2(l) = order_0(L - 1 - l), order_3(l) = order_1(L - 1 - l), L = height * width.

def Eff_CrossMergeOp : Eff_Op<"cross_merge", [Pure]> {
  let summary = "Sums the directions of an image's scan";
  let description = [{
    The transpose of `eff.cross_scan`: each direction's result goes back to the pixel that its position read.

    *Semantics*: for features `e` of one direction,
    `y[b, p, e] = sum_k x[b, l_k(p), k * features + e]` with `order_k(l_k(p)) = p`, summed in the order of `k`.

    *Constraints*
    - C1: `directions` is 1, 2 or 4, and the tokens are `height * width`.
    - C2: the result is `[batch, tokens, features / directions]`.

    *Example*
    ```mlir
    %y = eff.cross_merge %x {directions = 4, height = 8, width = 8} : tensor<1x64x1536xf32> -> tensor<1x64x384xf32>
    ```
  }];
  let arguments = (ins Eff_Activations:$input, I64Attr:$directions, I64Attr:$height, I64Attr:$width);
  let results = (outs Eff_Activations:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
}

def Eff_CrossScanOp : Eff_Op<"cross_scan", [Pure]> {
  let summary = "Reads an image in the orders of its scan directions";
  let description = [{
    Directions are rows, columns, rows backwards and columns backwards (VMamba, arXiv 2401.10166).

    *Semantics*: `y[b, l, k * features + e] = x_k[b, order_k(l), e]`, where `x_k` is operand `k`, or the one operand
    for all directions.

    *Constraints*
    - C1: `directions` is 1, 2 or 4, and the tokens are `height * width`.
    - C2: there is one input, or one for each direction; all have one shape.
    - C3: the result is `[batch, tokens, directions * features]`.

    *Example*
    ```mlir
    %y = eff.cross_scan %x {directions = 4, height = 8, width = 8} : tensor<1x64x384xf32> -> tensor<1x64x1536xf32>
    ```
  }];
  let arguments = (ins Variadic<Eff_Activations>:$inputs, I64Attr:$directions, I64Attr:$height, I64Attr:$width);
  let results = (outs Eff_Activations:$result);
  let assemblyFormat = "$inputs attr-dict `:` type($inputs) `->` type($result)";
}

def Eff_DepthwiseConv2DOp : Eff_Op<"depthwise_conv2d", [Pure, AllTypesMatch<["input", "result"]>,
                                                        DeclareOpInterfaceMethods<Costed>]> {
  let summary = "Convolution of each feature of an image by itself";
  let description = [{
    Stride 1; zeros surround the image, so that it keeps its size.

    *Semantics*: with the kernel `kh x kw`, `w[c, u * kw + v]`:
    `y[b, (i, j), c] = act(bias[c] + sum_{u, v} w[c, u, v] * x[b, (i + u - kh / 2, j + v - kw / 2), c])`.

    *Constraints*
    - C1: the tokens are `height * width`.
    - C2: `kernel` has two odd numbers; the weight is `[features, kh * kw]`, the bias `[features]`.

    *Example*
    ```mlir
    %y = eff.depthwise_conv2d %x, %w bias %b
        {height = 16, width = 16, kernel = array<i64: 3, 3>, activation = #eff.activation<silu>}
      : tensor<1x256x192xf32>, !eff.weight<192x9, f32>, !eff.weight<192, f32>
    ```
  }];
  let arguments = (ins Eff_Activations:$input, Eff_WeightMatrix:$weight, Optional<Eff_WeightVector>:$bias,
                       I64Attr:$height, I64Attr:$width, DenseI64ArrayAttr:$kernel,
                       DefaultValuedAttr<Eff_ActivationAttr, "::effc::eff::Activation::None">:$activation);
  let results = (outs Eff_Activations:$result);
  let assemblyFormat = [{
    $input `,` $weight (`bias` $bias^)? attr-dict `:` type($input) `,` type($weight) (`,` type($bias)^)?
  }];
}

#endif
