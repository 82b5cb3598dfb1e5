//===- EffAttrs.td - attributes of the eff dialect ----------*- tablegen -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_EFF_EFFATTRS_TD
#define EFFC_DIALECT_EFF_EFFATTRS_TD

include "effc/Dialect/Eff/EffDialect.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"

class Eff_Attr<string name, string attrMnemonic, list<Trait> traits = []>
    : AttrDef<Eff_Dialect, name, traits> {
  let mnemonic = attrMnemonic;
}

//===----------------------------------------------------------------------===//
// Enumerations
//===----------------------------------------------------------------------===//

def Eff_Layout : I32EnumAttr<"Layout", "packed layout of a weight", [
    I32EnumAttrCase<"RowMajor", 0, "row_major">,
    I32EnumAttrCase<"Panel16", 1, "panel16">,
    I32EnumAttrCase<"Panel32Pair", 2, "panel32_pair">,
    I32EnumAttrCase<"Quad16", 3, "quad16">,
    I32EnumAttrCase<"Nibble16", 4, "nibble16">]> {
  let cppNamespace = "::effc::eff";
  let description = [{
    How a logical `[n, k]` weight lies in the file. N is padded with zero rows to the
    panel width, K with zeros to the depth of a step. Values, scales and sums each
    start at a multiple of 64 bytes.
    - `row_major`: `[n][k]`, as in the logical shape.
    - `panel16` (f32): `[n/16][k][16]`.
    - `panel32_pair` (bf16, f16): `[n/32][k][16]` dwords; the low half of dword `c`
      is column `c`, the high half column `c + 16` of the panel.
    - `quad16` (int8): `[n/16][k/4][16][4]`: four consecutive k of one column are a
      dword. Followed by f32 `scale[n/16][k/group][16]` (which is `scale[n]` without groups) and s32 `sum[n]` (the
      sum over k).
    - `nibble16` (int4): `[n/16][k/8][16]` dwords; the low half of byte `b` of a dword is
      `k = 8 * step + b`, its high half `k = 8 * step + 4 + b`, two's complement: each half
      of a dword is the weights of four consecutive k, as integer dot products take them.
      Followed by f32 `scale[n/16][k/group][16]`.

    Formats with zero points have them between scales and sums, as f32 in the order of the scales. 8-bit floats lie in
    `quad16` like integers of 8 bits; their sums mean nothing.
  }];
}

def Eff_StateKind : I32EnumAttr<"StateKind", "what a recurrent state is", [
    I32EnumAttrCase<"Conv", 0, "conv">,
    I32EnumAttrCase<"Ssm", 1, "ssm">,
    I32EnumAttrCase<"Ssd", 2, "ssd">]> {
  let cppNamespace = "::effc::eff";
}

def Eff_EntryKind : I32EnumAttr<"EntryKind", "what an entry point does", [
    I32EnumAttrCase<"Decode", 0, "decode">,
    I32EnumAttrCase<"Prefill", 1, "prefill">,
    I32EnumAttrCase<"Forward", 2, "forward">]> {
  let cppNamespace = "::effc::eff";
}

def Eff_ModelKind : I32EnumAttr<"ModelKind", "what a model is for", [
    I32EnumAttrCase<"CausalLM", 0, "causal_lm">,
    I32EnumAttrCase<"ImageClassifier", 1, "image_classifier">,
    I32EnumAttrCase<"Generic", 2, "generic">]> {
  let cppNamespace = "::effc::eff";
}

def Eff_Activation : I32EnumAttr<"Activation", "activation inside an op", [
    I32EnumAttrCase<"None", 0, "none">,
    I32EnumAttrCase<"SiLU", 1, "silu">]> {
  let cppNamespace = "::effc::eff";
  let genSpecializedAttr = 0;
}
def Eff_ActivationAttr : EnumAttr<Eff_Dialect, Eff_Activation, "activation"> {
  let assemblyFormat = "`<` $value `>`";
}

//===----------------------------------------------------------------------===//
// Numeric formats of weights (a plain float type is a format too)
//===----------------------------------------------------------------------===//

def Eff_Int8Attr : Eff_Attr<"Int8", "int8"> {
  let summary = "Signed 8-bit integers, one f32 scale per output row, or per row and group of columns";
  let description = [{
    `w[n, k] = scale[n] * q[n, k]`, `q` in `[-127, 127]`, `scale[n] = max_k |w[n, k]| / 127`.

    Weights that a file has quantised may have a scale for each `group` of columns, zero points, and `q = -128`:
    `w[n, k] = scale[n, k / group] * (q[n, k] - zero[n, k / group])`, with one group for the whole row where `group` is 0.

    Examples: `!eff.weight<1600x384, #eff.int8>`, `!eff.weight<1600x384, #eff.int8<group = 32, zeros = true>>`
  }];
  let parameters = (ins DefaultValuedParameter<"int64_t", "0">:$group, DefaultValuedParameter<"bool", "false">:$zeros);
  let assemblyFormat = "(`<` struct(params)^ `>`)?";
  let skipDefaultBuilders = 1;
  let builders = [AttrBuilder<(ins CArg<"int64_t", "0">:$group, CArg<"bool", "false">:$zeros), [{
    return $_get($_ctxt, group, zeros);
  }]>];
}

def Eff_Int4Attr : Eff_Attr<"Int4", "int4"> {
  let summary = "Signed 4-bit integers, one f32 scale per row and group of columns";
  let description = [{
    `w[n, k] = scale[n, k / group] * q[n, k]`, `q` in `[-8, 7]`; symmetric, no zero point. Rounding to nearest takes
    `scale = m / -8` with `m` the value of largest magnitude in the group (the first one on ties), so that `m` itself
    is exact; the scale may be negative.

    Weights that a file has quantised may have zero points: `w[n, k] = scale[n, k / group] * (q[n, k] - zero[n, k / group])`.

    Examples: `!eff.weight<1600x384, #eff.int4<group = 128>>`, `!eff.weight<1600x384, #eff.int4<group = 32, zeros = true>>`
  }];
  let parameters = (ins DefaultValuedParameter<"int64_t", "128">:$group, DefaultValuedParameter<"bool", "false">:$zeros);
  let assemblyFormat = "(`<` struct(params)^ `>`)?";
  let skipDefaultBuilders = 1;
  let builders = [AttrBuilder<(ins CArg<"int64_t", "128">:$group, CArg<"bool", "false">:$zeros), [{
    return $_get($_ctxt, group, zeros);
  }]>];
}

def Eff_Float8Kind : I32EnumAttr<"Float8Kind", "an 8-bit float of weights", [
    I32EnumAttrCase<"E4M3FN", 0, "e4m3fn">,
    I32EnumAttrCase<"E5M2", 1, "e5m2">]> {
  let cppNamespace = "::effc::eff";
  let genSpecializedAttr = 0;
}

def Eff_Float8Attr : Eff_Attr<"Float8", "float8"> {
  let summary = "8-bit floats of a file, one f32 scale per output row";
  let description = [{
    `w[n, k] = scale[n] * f[n, k]` with `f` in `e4m3fn` (4 bits of exponent, bias 7, no infinity) or `e5m2` (5 bits, bias
    15). Only what a file holds has this format: such a weight comes with its bytes (`quantized`) and is read by f32
    activations alone.

    Example: `!eff.weight<1600x384, #eff.float8<e4m3fn>>`
  }];
  let parameters = (ins EnumParameter<Eff_Float8Kind>:$kind);
  let assemblyFormat = "`<` $kind `>`";
}

//===----------------------------------------------------------------------===//
// Numeric formats of states
//===----------------------------------------------------------------------===//

def Eff_StateScaling : I32EnumAttr<"StateScaling", "where the scales of an int8 state come from", [
    I32EnumAttrCase<"Static", 0, "static">,
    I32EnumAttrCase<"Dynamic", 1, "dynamic">]> {
  let cppNamespace = "::effc::eff";
  let genSpecializedAttr = 0;
}

def Eff_StateRounding : I32EnumAttr<"StateRounding", "how an int8 state is rounded", [
    I32EnumAttrCase<"Nearest", 0, "nearest">,
    I32EnumAttrCase<"Stochastic", 1, "stochastic">]> {
  let cppNamespace = "::effc::eff";
  let genSpecializedAttr = 0;
}

def Eff_StateEvery : I32EnumAttr<"StateEvery", "when an int8 state is rounded", [
    I32EnumAttrCase<"Token", 0, "token">,
    I32EnumAttrCase<"Call", 1, "call">]> {
  let cppNamespace = "::effc::eff";
  let genSpecializedAttr = 0;
}

def Eff_StateEveryParameter : EnumParameter<Eff_StateEvery> {
  let defaultValue = "::effc::eff::StateEvery::Token";
}

def Eff_Int8StateAttr : Eff_Attr<"Int8State", "int8_state"> {
  let summary = "A recurrent state of signed 8-bit integers";
  let description = [{
    An element is `scale * (q + r / 2^residual)`, `q` of 8 bits and `r` of `residual` bits: what rounding loses is kept
    and fed back at the next token. `static` scales come from calibration, one for each element; `dynamic` ones are
    `max |h| / 127` over the `n` states of a channel, anew whenever the state is rounded. Rounding is half to even, or
    `stochastic` with the Philox numbers of position and element.

    The state is rounded after each token (`every = token`, the default, is not printed): tokens give the same bits one by
    one and together. With `every = call` it is rounded once, after the last valid token of a sequence in a call: prompts
    keep it in f32.

    *Constraints*
    - C1: `residual` is 0, 4 or 8.

    Examples: `!eff.state<ssd, 12x64x64, #eff.int8_state<dynamic, nearest, residual = 0>>`,
    `!eff.state<ssd, 12x64x64, #eff.int8_state<dynamic, nearest, residual = 0, every = call>>`
  }];
  let parameters = (ins EnumParameter<Eff_StateScaling>:$scaling, EnumParameter<Eff_StateRounding>:$rounding,
                        "int64_t":$residual, Eff_StateEveryParameter:$every);
  let assemblyFormat = "`<` $scaling `,` $rounding `,` `residual` `=` $residual (`,` `every` `=` $every^)? `>`";
  let genVerifyDecl = 1;
}

def Eff_IntCacheAttr : Eff_Attr<"IntCache", "int_cache"> {
  let summary = "A cache of signed integers by scales of the model";
  let description = [{
    A cache that a file has quantised: `x = scale[h, i] * q` for feature `i` of head `h`, with constant positive scales
    that come as operands of the ops, and
    `q = clamp(round_half_even(x * (1 / scale[h, i])), -2^(bits-1), 2^(bits-1) - 1)` in f32, 0 for NaN.

    *Constraints*
    - C1: `bits` is 8 or 4.

    Example: `!eff.cache<2x64, capacity = 2048, #eff.int_cache<8>>`
  }];
  let parameters = (ins "int64_t":$bits);
  let assemblyFormat = "`<` $bits `>`";
  let genVerifyDecl = 1;
}

//===----------------------------------------------------------------------===//
// Bases of activations
//===----------------------------------------------------------------------===//

def Eff_BasisAttr : Eff_Attr<"Basis", "basis"> {
  let summary = "The basis that the features of a value are in";
  let description = [{
    `y = H P x`: the features of `x` were first put in the order that `order` names, then rotated by the Hadamard matrix
    of `hadamard` rows (`eff.hadamard`). Either part may be absent; rotating first and reordering afterwards cannot be
    said, because channels do not exist any more behind a rotation.

    It is the encoding of a tensor type, and the basis of what a weight reads (`in`) or writes (`out`): MLIR refuses to
    add values of different bases, and `eff.linear` takes activations in its weight's basis alone.

    *Constraints*
    - C1: an order has a name or there is a rotation; `hadamard` is not negative.

    Example: `tensor<1x1x384xf32, #eff.basis<hadamard = 384>>`
  }];
  let parameters = (ins OptionalParameter<"::mlir::StringAttr">:$order, DefaultValuedParameter<"int64_t", "0">:$hadamard);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Eff_ClustersAttr : Eff_Attr<"Clusters", "clusters"> {
  let summary = "Which channels of a reordered scan share scales";
  let description = [{
    Heads are clustered inside each state-space group, the channels of a head inside each cluster of heads (Quamba2,
    arXiv 2503.22879, section 4); all clusters are runs, because heads and channels were put in order before. `heads` holds
    where each cluster of heads ends, counted inside its group, group after group; `channels` where each cluster of
    channels ends inside a head, for each cluster of heads.

    Example: `#eff.clusters<heads = [5, 12], channels = [16, 64, 40, 64]>`
  }];
  let parameters = (ins ArrayRefParameter<"int64_t">:$headEnds, ArrayRefParameter<"int64_t">:$channelEnds);
  let assemblyFormat = "`<` `heads` `=` `[` $headEnds `]` `,` `channels` `=` `[` $channelEnds `]` `>`";
}

//===----------------------------------------------------------------------===//
// Module and entry point attributes
//===----------------------------------------------------------------------===//

def Eff_ModelAttr : Eff_Attr<"Model", "model"> {
  let summary = "What the module's model is";
  let description = [{
    `arch` is the family as the source names it ("llama", "mamba2", "vit", ...), `vocab` the number of
    token ids (0 when there are none), `max_length` the capacity of caches in tokens (0: no limit).

    *Constraints*
    - C1: `eff.model` sits on a module.
    - C2: `vocab` and `max_length` are not negative.

    Example: `#eff.model<causal_lm, arch = "mamba2", vocab = 8192, max_length = 2048>`
  }];
  let parameters = (ins EnumParameter<Eff_ModelKind>:$kind, StringRefParameter<>:$arch,
                        "int64_t":$vocab, "int64_t":$max_length);
  let assemblyFormat = [{ `<` $kind `,` `arch` `=` $arch `,` `vocab` `=` $vocab `,` `max_length` `=` $max_length `>` }];
}

def Eff_EntryAttr : Eff_Attr<"Entry", "entry"> {
  let summary = "Marks a function as an entry point of the model";
  let description = [{
    `batch` rows, each of `tokens` tokens. `decode` has one token per row; `prefill` a chunk; `forward` is a model
    without states or caches.

    *Constraints*
    - C1: `eff.entry` sits on a function.
    - C2: `batch` and `tokens` are positive; `decode` has one token.

    Example: `#eff.entry<prefill, batch = 1, tokens = 128>`
  }];
  let parameters = (ins EnumParameter<Eff_EntryKind>:$kind, "int64_t":$batch, "int64_t":$tokens);
  let assemblyFormat = "`<` $kind `,` `batch` `=` $batch `,` `tokens` `=` $tokens `>`";
}

#endif
