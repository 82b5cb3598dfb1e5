//===- EffAttentionOps.td - attention and its caches --------*- tablegen -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_EFF_EFFATTENTIONOPS_TD
#define EFFC_DIALECT_EFF_EFFATTENTIONOPS_TD

include "effc/Dialect/Eff/EffOpBase.td"

def Eff_AttentionOp : Eff_StatefulOp<"attention", [AllTypesMatch<["query", "result"]>, AttrSizedOperandSegments]> {
  let summary = "Scaled dot-product attention, over a cache or over the tokens of the call";
  let description = [{
    Head `h` of `heads` queries reads key and value head `h * kv_heads / heads` (grouped queries). Keys and values are
    either caches, to which the call's own tokens have been appended, or tensors.

    *Semantics*: query `t` of row `b` is at position `i = past[b] + t` (caches) or `i = t` (tensors); key `j` is seen iff
    `j < past[b] + valid[b]` (caches) or `j < valid[b]` (tensors), `j <= i` when `causal`, and `j > i - window` when
    `window > 0`. `s = scale * q . k_j`, with `softcap > 0`: `s = softcap * tanh(s / softcap)`, with a
    bias `s = s + bias[b mod P, h, t, j]` (index 0 where its dimension is 1), where minus infinity hides the key;
    `y = sum_j softmax_j(s) v_j`; a query that sees no key gives 0.

    *Constraints*
    - C1: the query is `[batch, tokens, heads * head_dim]` and the result has its type.
    - C2: `kv_heads` divides `heads`.
    - C3: keys and values are both caches of `kv_heads x head_dim`, or both tensors
      `[batch, tokens, kv_heads * head_dim]`.
    - C4: `window` and `softcap` are not negative; a window needs `causal`.
    - C5: a bias is `[P, heads or 1, tokens or 1, tokens]`, where `P` divides the batch; it goes with tensors.
    - C6: caches of `#eff.int_cache`, and no others, come with f32 scales `[kv_heads * head_dim]`, of the keys and of the
      values.

    *Example*
    ```mlir
    %y = eff.attention %q, %k, %v {heads = 6, kv_heads = 2, scale = 0.125 : f32, causal}
      : tensor<1x1x384xf32>, !eff.cache<2x64, capacity = 2048, f32>, !eff.cache<2x64, capacity = 2048, f32>
    ```
  }];
  let arguments = (ins Eff_Activations:$query, AnyTypeOf<[Eff_CacheType, Eff_Activations]>:$key,
                       AnyTypeOf<[Eff_CacheType, Eff_Activations]>:$value,
                       Optional<Eff_StaticTensor<F32, 4>>:$bias, Optional<Eff_WeightVector>:$key_scale,
                       Optional<Eff_WeightVector>:$value_scale, I64Attr:$heads, I64Attr:$kv_heads, F32Attr:$scale,
                       UnitAttr:$causal, DefaultValuedAttr<I64Attr, "0">:$window, OptionalAttr<F32Attr>:$softcap);
  let results = (outs Eff_Activations:$result);
  let assemblyFormat = [{
    $query `,` $key `,` $value (`bias` $bias^)? (`key_scale` $key_scale^)? (`value_scale` $value_scale^)? attr-dict
    `:` type($query) `,` type($key) `,` type($value) (`,` type($bias)^)? (`key_scale` type($key_scale)^)?
    (`value_scale` type($value_scale)^)?
  }];
}

def Eff_CacheAppendOp : Eff_StatefulOp<"cache_append"> {
  let summary = "Appends the call's keys or values to a cache";
  let description = [{
    *Semantics*: `cache[h, past[b] + t, :] = x[b, t, h * head_dim ..]` for `t < valid[b]`. The runtime advances
    `past` after the call; it has checked that `past[b] + valid[b] <= capacity`.

    *Constraints*
    - C1: the input is `[batch, tokens, heads * head_dim]` of the cache.
    - C2: a cache of `#eff.int_cache`, and no other, comes with f32 scales `[heads * head_dim]`.

    *Example*
    ```mlir
    eff.cache_append %k, %cache : tensor<1x4x128xf32>, !eff.cache<2x64, capacity = 2048, f32>
    eff.cache_append %k, %codes scale %s
      : tensor<1x4x128xf32>, !eff.cache<2x64, capacity = 2048, #eff.int_cache<8>>, !eff.weight<128, f32>
    ```
  }];
  let arguments = (ins Eff_Activations:$input, Eff_CacheType:$cache, Optional<Eff_WeightVector>:$scale);
  let assemblyFormat = "$input `,` $cache (`scale` $scale^)? attr-dict `:` type($input) `,` type($cache) (`,` type($scale)^)?";
}

def Eff_PositionEmbedOp : Eff_Op<"position_embed", [Pure]> {
  let summary = "Looks the positions of the call's tokens up in a table";
  let description = [{
    Learned positions of a model that generates (GPT-2, OPT).

    *Semantics*: `y[b, t, :] = table[min(past[b] + t + offset, rows - 1), :]`.

    *Constraints*
    - C1: the result is `[batch, tokens, d]` for a table of `[rows, d]`.
    - C2: `offset` is not negative.

    *Example*
    ```mlir
    %y = eff.position_embed %w {offset = 2} : !eff.weight<2050x64, f32> -> tensor<1x1x64xf32>
    ```
  }];
  let arguments = (ins Eff_WeightMatrix:$table, DefaultValuedAttr<I64Attr, "0">:$offset);
  let results = (outs Eff_Activations:$result);
  let assemblyFormat = "$table attr-dict `:` type($table) `->` type($result)";
}

def Eff_RopeOp : Eff_Op<"rope", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "Rotary position embedding";
  let description = [{
    Rotates the first `2 * len(inv_freq)` features of each head (RoFormer, arXiv 2104.09864, equation 34), at position
    `past[b] + t`.

    *Semantics*: `a = f32(position) * inv_freq[i]` in f32, `c = scale * cos(a)`, `s = scale * sin(a)`; the pair is features `(i, i + r)` with
    `r = len(inv_freq)`, or `(2i, 2i + 1)` when `interleaved`: `(x1, x2) -> (x1 c - x2 s, x2 c + x1 s)`. Features from
    `2r` on pass through.

    *Constraints*
    - C1: `heads` divides the number of features.
    - C2: `2 * len(inv_freq)` is at most the head dimension; `inv_freq` is f32.

    *Example*
    ```mlir
    %y = eff.rope %x, %f {heads = 6} : tensor<1x4x384xf32>, !eff.weight<32, f32>
    ```
  }];
  let arguments = (ins Eff_Activations:$input, Eff_WeightVector:$inv_freq, I64Attr:$heads, UnitAttr:$interleaved,
                       DefaultValuedAttr<F32Attr, "1.0f">:$scale);
  let results = (outs Eff_Activations:$result);
  let assemblyFormat = "$input `,` $inv_freq attr-dict `:` type($input) `,` type($inv_freq)";
}

#endif
