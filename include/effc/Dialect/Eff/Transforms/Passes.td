//===- Passes.td - passes over the eff dialect --------------*- tablegen -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_EFF_TRANSFORMS_PASSES_TD
#define EFFC_DIALECT_EFF_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def EffAssignLayoutPass : Pass<"eff-assign-layout", "::mlir::ModuleOp"> {
  let summary = "Gives each weight the packed layout that its kernels read";
  let description = [{
    A matrix of an `eff.linear` or `eff.conv2d` takes the layout of its format's kernels (`panel16`, `panel32_pair`,
    `quad16`, `nibble16`); a table that an embedding shares with a linear keeps the linear's layout. Tables that only
    embeddings read stay `row_major` in float formats. Everything else (norm weights, biases, decays, convolutions,
    weights read as tensors) becomes `row_major` f32. A weight that is used in both ways is declared twice.

    Before:
    ```mlir
    eff.weight @proj : !eff.weight<64x32, bf16> = ...
    ```
    After:
    ```mlir
    eff.weight @proj : !eff.weight<64x32, bf16, panel32_pair> = ...
    ```

    A remark for each weight gives its layout and bytes.
  }];
  let dependentDialects = ["::effc::eff::EffDialect"];
}

def EffFuseDtPass : Pass<"eff-fuse-dt", "::mlir::func::FuncOp"> {
  let summary = "Moves the bias and the softplus of time steps into scans";
  let description = [{
    Recognises `dt = max(v, 0) + log1p(exp(-|v|))` before an `eff.ssd_scan` or `eff.ssm_scan`, and the bias in
    `v = raw + bias`: a weight vector that is repeated for each token (Mamba-2), or the last term of a linear's epilogue
    (Mamba-1). The scan then takes `raw`, which int8 formats can quantise before the bias is added, and Mamba-2 has one
    step less for each layer.

    Before:
    ```mlir
    %v = arith.addf %raw, %bias : tensor<1x1x4xf32>
    ...
    %dt = arith.addf %max, %log1p : tensor<1x1x4xf32>
    %y = eff.ssd_scan %x, %dt, %a, %b, %c, %s {heads = 4, groups = 1} : ...
    ```
    After:
    ```mlir
    %y = eff.ssd_scan %x, %raw, %a, %b, %c, %s dt_bias %w {heads = 4, groups = 1, dt_softplus} : ...
    ```

    A remark says for each scan what moved, or why nothing did.
  }];
  let dependentDialects = ["::effc::eff::EffDialect"];
}

def EffFuseEpiloguePass : Pass<"eff-fuse-epilogue", "::mlir::func::FuncOp"> {
  let summary = "Moves elementwise arithmetic on a linear's result into its epilogue";
  let description = [{
    Takes the largest set of `arith` and `math` ops of the result's shape that starts at a linear's result and ends in
    one value, such that nothing outside the set reads a value inside but the last: bias, scale, residual, activations
    (also those that read the result twice, as GELU does) and the product with a gate. Other operands become extras;
    splat constants are cloned inside, broadcast weight vectors become vector extras.

    Before:
    ```mlir
    %0 = eff.linear %x, %w : tensor<1x1x8xf32>, !eff.weight<8x8, f32> -> tensor<1x1x8xf32>
    %1 = arith.addf %0, %residual : tensor<1x1x8xf32>
    ```
    After:
    ```mlir
    %1 = eff.linear %x, %w extras(%residual : tensor<1x1x8xf32>) epilogue {
    ^bb0(%acc: f32, %r: f32):
      %2 = arith.addf %acc, %r : f32
      eff.yield %2 : f32
    } : tensor<1x1x8xf32>, !eff.weight<8x8, f32> -> tensor<1x1x8xf32>
    ```

    A remark says for each linear what moved, or why what follows it could not.
  }];
  let dependentDialects = ["::effc::eff::EffDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
}

def EffQuantizePass : Pass<"eff-quantize", "::mlir::ModuleOp"> {
  let summary = "Chooses the numeric format of each weight";
  let description = [{
    Changes the types of weight matrices that linears and embeddings read; the values are rounded to nearest when the
    model file is written. Vectors, convolutions and decays keep their format.

    | format         | linears                | tables (embeddings, output heads) | activations            |
    |----------------|------------------------|-----------------------------------|------------------------|
    | `none`         | as stored              | as stored                         | f32                    |
    | `f32`          | f32                    | f32                               | f32                    |
    | `bf16`         | bf16                   | bf16                              | f32                    |
    | `w8a16`        | int8 per row           | int8 per row                      | f32                    |
    | `w8a8-dynamic` | int8 per row           | int8 per row                      | int8 per token, except heads |
    | `w4a16`        | int4, groups of `group`| int8 per row                      | f32                    |
    | `w8a8`, `w4a8` | int8 per row, int4     | int8 per row                      | f32: run eff-quantize-activations afterwards |
    | `w4a8-dynamic` | int4, groups of `group`| int8 per row                      | int8 per token, except heads |

    With dynamic activations, linears of the same input share one `eff.quantize`. `tables` gives tables and heads
    another integer format, `precision` names a JSON file that gives layers and tables formats of their own. With `gptq` and a
    `calibration` that holds Hessians of the linears' inputs (`linear:@W:in`), each rounding error is made up for in the
    columns that are still to come (GPTQ, arXiv 2210.17323); the integers are kept in the weight.

    Before:
    ```mlir
    %y = eff.linear %x, %w : tensor<1x4x64xf32>, !eff.weight<32x64, bf16> -> tensor<1x4x32xf32>
    ```
    After `format=w8a8-dynamic`:
    ```mlir
    %q, %s = eff.quantize %x : tensor<1x4x64xf32> -> tensor<1x4x64xi8>, tensor<1x4xf32>
    %y = eff.linear %q, %w scale(%s : tensor<1x4xf32>) : tensor<1x4x64xi8>, !eff.weight<32x64, #eff.int8> -> tensor<1x4x32xf32>
    ```

    A remark for each matrix gives its format before and after, the bytes of both, and the reason.
  }];
  let dependentDialects = ["::effc::eff::EffDialect"];
  let options = [
    Option<"format", "format", "::effc::eff::QuantFormat", "::effc::eff::QuantFormat::None",
           "Format of the weights (default none)", [{::llvm::cl::values(
             clEnumValN(::effc::eff::QuantFormat::None, "none", "as stored"),
             clEnumValN(::effc::eff::QuantFormat::F32, "f32", "float"),
             clEnumValN(::effc::eff::QuantFormat::BF16, "bf16", "bfloat16"),
             clEnumValN(::effc::eff::QuantFormat::W8A16, "w8a16", "int8 weights, float activations"),
             clEnumValN(::effc::eff::QuantFormat::W8A8Dynamic, "w8a8-dynamic", "int8 weights and activations"),
             clEnumValN(::effc::eff::QuantFormat::W8A8, "w8a8", "int8 weights, for eff-quantize-activations"),
             clEnumValN(::effc::eff::QuantFormat::W4A16, "w4a16", "int4 weights, float activations"),
             clEnumValN(::effc::eff::QuantFormat::W4A8, "w4a8", "int4 weights, for eff-quantize-activations"),
             clEnumValN(::effc::eff::QuantFormat::W4A8Dynamic, "w4a8-dynamic", "int4 weights, int8 activations"))}]>,
    Option<"group", "group", "int64_t", "128", "Columns that share a scale with int4: a multiple of 8 (default 128)">,
    Option<"tables", "tables", "::effc::eff::TableFormat", "::effc::eff::TableFormat::Int8",
           "Integer format of tables and output heads (default int8)", [{::llvm::cl::values(
             clEnumValN(::effc::eff::TableFormat::Keep, "keep", "as stored"),
             clEnumValN(::effc::eff::TableFormat::Int8, "int8", "one scale for each row"),
             clEnumValN(::effc::eff::TableFormat::Int4, "int4", "groups as those of linears"))}]>,
    Option<"precision", "precision", "std::string", "", "JSON file with formats of layers">,
    Option<"gptq", "gptq", "bool", "false", "Make up for rounding errors (default false: to nearest)">,
    Option<"calibration", "calibration", "std::string", "", "File that effc calibrate wrote, for gptq">,
  ];
}

def EffQuantizeActivationsPass : Pass<"eff-quantize-activations", "::mlir::ModuleOp"> {
  let summary = "Gives activations int8 codes with scales from calibration";
  let description = [{
    Each linear of integer weights reads int8 activations with one scale that covers what calibration has seen
    (`linear:@W:in`). With `mixers`, what a linear or convolution computes is quantised too if convolutions, scans and
    gates read it: x, z, B, C and dt each have scales of their own, B and C one for each state-space group, x one for
    each cluster of a reordered scan (`#eff.clusters`), otherwise the running percentile (Quamba, arXiv 2410.13229;
    Quamba2, arXiv 2503.22879). Steps fold `eff.quantize_static` and `eff.dequantize` into the kernels beside them.

    `precision` names a JSON file that gives layers formats of their own; layers of `a16` keep float activations.

    Before:
    ```mlir
    %y = eff.linear %x, %w : tensor<1x4x64xf32>, !eff.weight<32x64, #eff.int8> -> tensor<1x4x32xf32>
    ```
    After:
    ```mlir
    %s = eff.use @w.in_scale : !eff.weight<1, f32>
    %q = eff.quantize_static %x, %s : tensor<1x4x64xf32>, !eff.weight<1, f32> -> tensor<1x4x64xi8>
    %y = eff.linear %q, %w scale(%s : !eff.weight<1, f32>)
      : tensor<1x4x64xi8>, !eff.weight<32x64, #eff.int8> -> tensor<1x4x32xf32>
    ```

    A model without linears of integer weights is refused.
  }];
  let dependentDialects = ["::effc::eff::EffDialect"];
  let options = [
    Option<"calibration", "calibration", "std::string", "", "File that effc calibrate wrote">,
    Option<"precision", "precision", "std::string", "", "JSON file with formats of layers">,
    Option<"mixers", "mixers", "bool", "true", "Also what convolutions and scans read (default true)">,
    Option<"perChannel", "channels", "bool", "false",
           "One scale for each channel of the input of a Mamba-1 scan; x_proj takes them into its weight (default false)">,
  ];
}

def EffQuantizeStatesPass : Pass<"eff-quantize-states", "::mlir::ModuleOp"> {
  let summary = "Keeps recurrent states and caches as int8";
  let description = [{
    - `scan`: states of `eff.ssm_scan` and `eff.ssd_scan`, with `dynamic` scales for each channel, anew for each token, or
      `static` ones from calibration; `rounding`, `residual` and `every` as in `#eff.int8_state`.
    - `conv`: states of convolutions whose input is int8 (run eff-quantize-activations before).
    - `cache`: keys and values, one scale for each token and head.

    Before:
    ```mlir
    eff.state @l0.ssm : !eff.state<ssm, 16x768, f32>
    ```
    After `scan=dynamic`:
    ```mlir
    eff.state @l0.ssm : !eff.state<ssm, 16x768, #eff.int8_state<dynamic, nearest, residual = 0>>
    ```

    A remark for each state gives its bytes before and after. A model without such states is refused.
  }];
  let dependentDialects = ["::effc::eff::EffDialect"];
  let options = [
    Option<"scan", "scan", "::effc::eff::StateQuantization", "::effc::eff::StateQuantization::None",
           "Scales of the states of scans (default none: they stay f32)", [{::llvm::cl::values(
             clEnumValN(::effc::eff::StateQuantization::None, "none", "f32"),
             clEnumValN(::effc::eff::StateQuantization::Static, "static", "from calibration"),
             clEnumValN(::effc::eff::StateQuantization::Dynamic, "dynamic", "from the values"))}]>,
    Option<"rounding", "rounding", "::effc::eff::StateRounding", "::effc::eff::StateRounding::Nearest",
           "Rounding of the states of scans (default nearest)", [{::llvm::cl::values(
             clEnumValN(::effc::eff::StateRounding::Nearest, "nearest", "half to even"),
             clEnumValN(::effc::eff::StateRounding::Stochastic, "stochastic", "up as often as the fraction says"))}]>,
    Option<"residual", "residual", "int64_t", "0", "Bits of the rounding error that are kept: 0, 4 or 8 (default 0)">,
    Option<"every", "every", "::effc::eff::StateEvery", "::effc::eff::StateEvery::Token",
           "When states of scans are rounded (default token)", [{::llvm::cl::values(
             clEnumValN(::effc::eff::StateEvery::Token, "token", "after each token: tokens give the same bits together and "
                        "one by one"),
             clEnumValN(::effc::eff::StateEvery::Call, "call", "after the last token of a call: faster prompts"))}]>,
    Option<"conv", "conv", "bool", "false", "States of convolutions that read int8 (default false)">,
    Option<"cache", "cache", "bool", "false", "Keys and values (default false)">,
    Option<"calibration", "calibration", "std::string", "", "File that effc calibrate wrote, for static scales">,
  ];
}

def EffEraseBasesPass : Pass<"eff-erase-bases", "::mlir::ModuleOp"> {
  let summary = "Drops the bases of values and weights";
  let description = [{
    Bases say what may be added to what; once all passes that change bases have run, nothing reads them. The encodings
    of all tensors and the `in` and `out` of all weights go; an `eff.hadamard` keeps its meaning and is marked
    `bases_erased`.

    Before:
    ```mlir
    func.func @entry(%x: tensor<1x4x8xf32>) -> tensor<1x4x8xf32, #eff.basis<hadamard = 8>> {
      %y = eff.hadamard %x : tensor<1x4x8xf32> -> tensor<1x4x8xf32, #eff.basis<hadamard = 8>>
      return %y : tensor<1x4x8xf32, #eff.basis<hadamard = 8>>
    }
    ```
    After:
    ```mlir
    func.func @entry(%x: tensor<1x4x8xf32>) -> tensor<1x4x8xf32> {
      %y = eff.hadamard %x {bases_erased} : tensor<1x4x8xf32> -> tensor<1x4x8xf32>
      return %y : tensor<1x4x8xf32>
    }
    ```
  }];
  let dependentDialects = ["::effc::eff::EffDialect"];
}

def EffReorderPass : Pass<"eff-reorder", "::mlir::ModuleOp"> {
  let summary = "Sorts and clusters the heads and channels of Mamba-2 scans";
  let description = [{
    The input of a scan has channels of very different magnitude, and which ones are large hardly depends on the text
    (Quamba2, arXiv 2503.22879). The channels of each head are sorted by the largest magnitude that calibration saw,
    heads are clustered inside their state-space group and channels inside each cluster of heads, so that each cluster
    can have a scale of its own. The order is a permutation of heads inside their group and of channels inside their
    head, which commutes with the block; weights take it in, so it costs nothing at run time: rows of `in_proj` (z, x and
    dt), of the convolution and of its bias, the vectors of the scan, the weight of the gated norm, columns of
    `out_proj`.

    The pass follows the order from each `eff.ssd_scan` through splits, convolutions, norms and elementwise ops; an op
    that does not commute is an error. Refused are models without such a scan, fewer heads in a group or channels in a
    head than clusters, and what is quantised, rotated or reordered already: behind a rotation there are no channels any
    more, so reorder before eff-rotate.

    The scan gets `clusters`, matrices an `order` basis named after the state. States of a reordered model are in its
    own order: `eff.order` on a state says which channel of the source stands at each place (heads and head_dim of a
    scan's state, channels of a convolution's); who exchanges states with the source permutes them by it, after
    `eff.perm`.

    Before:
    ```mlir
    eff.state @state : !eff.state<ssd, 2x4x4, f32>
    eff.weight @a : !eff.weight<2, f32> = dense<-1.0> : tensor<2xf32>
    eff.weight @wx : !eff.weight<8x1, f32> = dense<[[0.0], [1.0], [2.0], [3.0], [4.0], [5.0], [6.0], [7.0]]> : tensor<8x1xf32>
    eff.weight @wd : !eff.weight<2x1, f32> = dense<[[0.0], [1.0]]> : tensor<2x1xf32>
    eff.weight @wo : !eff.weight<1x8, f32> = dense<0.5> : tensor<1x8xf32>
    func.func @entry(%x: tensor<1x1x1xf32>, %b: tensor<1x1x4xf32>) -> tensor<1x1x1xf32> {
      %s = eff.use @state : !eff.state<ssd, 2x4x4, f32>
      %a = eff.use @a : !eff.weight<2, f32>
      %wx = eff.use @wx : !eff.weight<8x1, f32>
      %wd = eff.use @wd : !eff.weight<2x1, f32>
      %wo = eff.use @wo : !eff.weight<1x8, f32>
      %u = eff.linear %x, %wx : tensor<1x1x1xf32>, !eff.weight<8x1, f32> -> tensor<1x1x8xf32>
      %dt = eff.linear %x, %wd : tensor<1x1x1xf32>, !eff.weight<2x1, f32> -> tensor<1x1x2xf32>
      %y = eff.ssd_scan %u, %dt, %a, %b, %b, %s {heads = 2, groups = 1}
        : tensor<1x1x8xf32>, tensor<1x1x2xf32>, !eff.weight<2, f32>, tensor<1x1x4xf32>, !eff.state<ssd, 2x4x4, f32>
      %o = eff.linear %y, %wo : tensor<1x1x8xf32>, !eff.weight<1x8, f32> -> tensor<1x1x1xf32>
      return %o : tensor<1x1x1xf32>
    }
    ```
    After `calibration=reorder.json head-clusters=2 channel-clusters=2`, with magnitudes 4 1 3 2 and 40 30 10 20:
    ```mlir
    eff.state @state : !eff.state<ssd, 2x4x4, f32> {eff.order = array<i64: 1, 3, 2, 0, 6, 7, 5, 4>}
    eff.weight @a : !eff.weight<2, f32> = dense<-1.0> : tensor<2xf32>
    eff.weight @wx : !eff.weight<8x1, f32 out #eff.basis<order = "state">> = dense<[[1.0], [3.0], [2.0], [0.0], [6.0], [7.0], [5.0], [4.0]]> : tensor<8x1xf32>
    eff.weight @wd : !eff.weight<2x1, f32 out #eff.basis<order = "state">> = dense<[[0.0], [1.0]]> : tensor<2x1xf32>
    eff.weight @wo : !eff.weight<1x8, f32 in #eff.basis<order = "state">> = dense<0.5> : tensor<1x8xf32>
    func.func @entry(%x: tensor<1x1x1xf32>, %b: tensor<1x1x4xf32>) -> tensor<1x1x1xf32> {
      %s = eff.use @state : !eff.state<ssd, 2x4x4, f32>
      %a = eff.use @a : !eff.weight<2, f32>
      %wx = eff.use @wx : !eff.weight<8x1, f32 out #eff.basis<order = "state">>
      %wd = eff.use @wd : !eff.weight<2x1, f32 out #eff.basis<order = "state">>
      %wo = eff.use @wo : !eff.weight<1x8, f32 in #eff.basis<order = "state">>
      %u = eff.linear %x, %wx : tensor<1x1x1xf32>, !eff.weight<8x1, f32 out #eff.basis<order = "state">> -> tensor<1x1x8xf32>
      %dt = eff.linear %x, %wd : tensor<1x1x1xf32>, !eff.weight<2x1, f32 out #eff.basis<order = "state">> -> tensor<1x1x2xf32>
      %y = eff.ssd_scan %u, %dt, %a, %b, %b, %s {heads = 2, groups = 1, clusters = #eff.clusters<heads = [1, 2], channels = [2, 4, 2, 4]>}
        : tensor<1x1x8xf32>, tensor<1x1x2xf32>, !eff.weight<2, f32>, tensor<1x1x4xf32>, !eff.state<ssd, 2x4x4, f32>
      %o = eff.linear %y, %wo : tensor<1x1x8xf32>, !eff.weight<1x8, f32 in #eff.basis<order = "state">> -> tensor<1x1x1xf32>
      return %o : tensor<1x1x1xf32>
    }
    ```

    A remark for each scan gives its scales and how much less noise rounding makes than with one scale for all; one for
    each weight says which sides moved.
  }];
  let dependentDialects = ["::effc::eff::EffDialect"];
  let options = [
    Option<"calibration", "calibration", "std::string", "", "File that effc calibrate wrote">,
    Option<"headClusters", "head-clusters", "int64_t", "4", "Clusters of heads in each state-space group (default 4)">,
    Option<"channelClusters", "channel-clusters", "int64_t", "4", "Clusters of channels in each cluster of heads (default 4)">,
  ];
}

def EffRotatePass : Pass<"eff-rotate", "::mlir::ModuleOp"> {
  let summary = "Rotates activations and weights by Hadamard matrices";
  let description = [{
    A rotation spreads the large values of a few channels over all of them, which leaves less to lose when activations
    and weights are rounded; in exact arithmetic the model computes what it did.

    `residual` rotates the residual stream offline, which costs nothing at run time: the stream is the web of values
    between embeddings and heads that additions tie together. Matrices that write it become `H W`, those that read it
    `W H^T`, biases and the rows of embeddings `H b`. A root-mean-square norm commutes with `H`, its weight does not: it
    moves into all linears behind the norm and becomes ones. Where it cannot (an op that is no linear reads the norm; an
    output head shares its matrix with the embedding), an `eff.hadamard {transposed}` stands in front of the norm; a
    shared table is not rotated, an `eff.hadamard` stands behind the embedding. Layer norms subtract a mean, so models
    with them are refused, as is any op in the web that does not commute.

    `online` puts an `eff.hadamard` in front of each linear that reads a scan's result (through gates and norms: the
    `out_proj` of Mamba) or a gated product (the `down_proj` of Llama), and with `attention` what attention gives
    (`o_proj`); their matrices become `W H^T`.

    Types keep the bases (`#eff.basis`), so that a value can only be added to, or multiplied by, what is in its own.
    Rotated weights are f32 until a later pass chooses their format. Rotate before activations and weights are
    quantised, and reorder (eff-reorder) before rotating.

    Before:
    ```mlir
    eff.weight @down : !eff.weight<2x4, bf16> = dense<0.5> : tensor<2x4xbf16>
    func.func @gated(%gate: tensor<1x1x4xf32>, %up: tensor<1x1x4xf32>) -> tensor<1x1x2xf32> {
      %w = eff.use @down : !eff.weight<2x4, bf16>
      %h = arith.mulf %gate, %up : tensor<1x1x4xf32>
      %y = eff.linear %h, %w : tensor<1x1x4xf32>, !eff.weight<2x4, bf16> -> tensor<1x1x2xf32>
      return %y : tensor<1x1x2xf32>
    }
    ```
    After `online=true`:
    ```mlir
    eff.weight @down : !eff.weight<2x4, f32 in #eff.basis<hadamard = 4>> =
      dense<[[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]> : tensor<2x4xf32>
    func.func @gated(%gate: tensor<1x1x4xf32>, %up: tensor<1x1x4xf32>) -> tensor<1x1x2xf32> {
      %w = eff.use @down : !eff.weight<2x4, f32 in #eff.basis<hadamard = 4>>
      %h = arith.mulf %gate, %up : tensor<1x1x4xf32>
      %r = eff.hadamard %h : tensor<1x1x4xf32> -> tensor<1x1x4xf32, #eff.basis<hadamard = 4>>
      %y = eff.linear %r, %w : tensor<1x1x4xf32, #eff.basis<hadamard = 4>>,
        !eff.weight<2x4, f32 in #eff.basis<hadamard = 4>> -> tensor<1x1x2xf32>
      return %y : tensor<1x1x2xf32>
    }
    ```

    Before:
    ```mlir
    eff.weight @table : !eff.weight<2x4, f32> = dense<0.5> : tensor<2x4xf32>
    eff.weight @norm : !eff.weight<4, f32> = dense<2.0> : tensor<4xf32>
    eff.weight @head : !eff.weight<1x4, f32> = dense<0.5> : tensor<1x4xf32>
    func.func @stream(%ids: tensor<1x1xi32>) -> tensor<1x1x1xf32> {
      %t = eff.use @table : !eff.weight<2x4, f32>
      %g = eff.use @norm : !eff.weight<4, f32>
      %w = eff.use @head : !eff.weight<1x4, f32>
      %x = eff.embed %ids, %t : tensor<1x1xi32>, !eff.weight<2x4, f32> -> tensor<1x1x4xf32>
      %n = eff.rms_norm %x, %g {eps = 1.0e-5 : f32} : tensor<1x1x4xf32>, !eff.weight<4, f32>
      %y = eff.linear %n, %w : tensor<1x1x4xf32>, !eff.weight<1x4, f32> -> tensor<1x1x1xf32>
      return %y : tensor<1x1x1xf32>
    }
    ```
    After `residual=true`:
    ```mlir
    eff.weight @table : !eff.weight<2x4, f32 in #eff.basis<hadamard = 4>> =
      dense<[[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]> : tensor<2x4xf32>
    eff.weight @norm : !eff.weight<4, f32> = dense<1.0> : tensor<4xf32>
    eff.weight @head : !eff.weight<1x4, f32 in #eff.basis<hadamard = 4>> = dense<[[2.0, 0.0, 0.0, 0.0]]> : tensor<1x4xf32>
    func.func @stream(%ids: tensor<1x1xi32>) -> tensor<1x1x1xf32> {
      %t = eff.use @table : !eff.weight<2x4, f32 in #eff.basis<hadamard = 4>>
      %g = eff.use @norm : !eff.weight<4, f32>
      %w = eff.use @head : !eff.weight<1x4, f32 in #eff.basis<hadamard = 4>>
      %x = eff.embed %ids, %t : tensor<1x1xi32>, !eff.weight<2x4, f32 in #eff.basis<hadamard = 4>>
        -> tensor<1x1x4xf32, #eff.basis<hadamard = 4>>
      %n = eff.rms_norm %x, %g {eps = 1.0e-5 : f32} : tensor<1x1x4xf32, #eff.basis<hadamard = 4>>, !eff.weight<4, f32>
      %y = eff.linear %n, %w : tensor<1x1x4xf32, #eff.basis<hadamard = 4>>,
        !eff.weight<1x4, f32 in #eff.basis<hadamard = 4>> -> tensor<1x1x1xf32>
      return %y : tensor<1x1x1xf32>
    }
    ```

    A remark for each weight gives the sides, sizes, orders and blocks of its rotations, and the norm that moved into
    it; others say which norms and tables stayed, and why.
  }];
  let dependentDialects = ["::effc::eff::EffDialect", "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect"];
  let options = [
    Option<"residual", "residual", "bool", "false", "Rotate the residual stream offline (default false)">,
    Option<"online", "online", "bool", "false", "Rotate the inputs of out_proj and down_proj at run time (default false)">,
    Option<"attention", "attention", "bool", "false", "With online, those of o_proj too (default false)">,
    Option<"threads", "threads", "int64_t", "0", "Threads that rotate weights; 0: one for each core (default 0)">,
  ];
}

def EffCancelUniformPass : Pass<"eff-cancel-uniform", "::mlir::ModuleOp"> {
  let summary = "Layer norms drop addends that are the same in all features";
  let description = [{
    `layer_norm(v + g) = layer_norm(v)` when `g` is the same in all features: the norm subtracts the mean. The analysis
    of effc/Dialect/Eff/Uniformity.h finds such addends through views, sums, scan orders and their merge. What only they
    read is erased, weights included. A collapsed scan in front of a layer norm is then gone: with `D` the skips,
    `layer_norm(cross_merge(s + D * cross_scan(x))) = layer_norm(x * sum_k D_k)`. A norm by root mean square, a gate
    before the norm, or no norm keep it.

    Before:
    ```mlir
    %y = eff.expand_channels %s skip(%u, %d : tensor<1x4x8xf32>, !eff.weight<8, f32>)
      : tensor<1x4x1xf32> -> tensor<1x4x8xf32>
    %n = eff.layer_norm %y, %w {eps = 1.0e-5 : f32} : tensor<1x4x8xf32>, !eff.weight<8, f32>
    ```
    After:
    ```mlir
    %y = arith.mulf %u, %d_for_each_token : tensor<1x4x8xf32>
    %n = eff.layer_norm %y, %w {eps = 1.0e-5 : f32} : tensor<1x4x8xf32>, !eff.weight<8, f32>
    ```

    A remark names each norm.
  }];
  let dependentDialects = ["::effc::eff::EffDialect", "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect"];
}

def EffCollapseChannelsPass : Pass<"eff-collapse-channels", "::mlir::ModuleOp"> {
  let summary = "Runs the scans of chosen layers on the mean of their channels";
  let description = [{
    VMeanba (arXiv 2412.16602). `post` averages the discretised recurrence over all channels, `dir` over those of each
    group (an image's scan direction), `pre` averages `u`, `dt`, `A`, `B`, `C` and `D` first. Each channel gets the
    output of its scan and, but for `pre`, its own skip. Scans of Mamba-2 take the form of `dir`.

    Before:
    ```mlir
    %y = eff.ssm_scan %u, %dt, %a, %b, %c skip %d {groups = 4} : ...
    ```
    After:
    ```mlir
    %decay, %in, %out = eff.collapse_channels %u, %dt, %a, %b, %c {groups = 4, scans = 1} : ...
    %s = eff.collapsed_scan %decay, %in, %out : tensor<1x64x16xf32> -> tensor<1x64x1xf32>
    %y = eff.expand_channels %s skip(%u, %d : ...) : tensor<1x64x1xf32> -> tensor<1x64x1536xf32>
    ```

    Then, unless `literal`, the rewriting of `eff-cancel-uniform`, which takes the scan away where a layer norm follows.
    A remark for each layer gives the variant, operations and bytes.
  }];
  let dependentDialects = ["::effc::eff::EffDialect", "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
                           "::mlir::math::MathDialect", "::mlir::tensor::TensorDialect"];
  let options = [
    Option<"variant", "variant", "::effc::eff::CollapseMode", "::effc::eff::CollapseMode::Post",
           "What is averaged (default post)", [{::llvm::cl::values(
             clEnumValN(::effc::eff::CollapseMode::Post, "post", "the recurrence, over all channels"),
             clEnumValN(::effc::eff::CollapseMode::Dir, "dir", "the recurrence, over the channels of each group"),
             clEnumValN(::effc::eff::CollapseMode::Pre, "pre", "the inputs, over all channels"))}]>,
    ListOption<"layers", "layers", "std::string", "Layers to collapse, by name or number from 0">,
    Option<"literal", "literal", "bool", "false", "Keep scans that a layer norm cancels (default false)">,
    Option<"language", "language", "bool", "false", "Also scans with a state (default false)">,
  ];
}

def EffPruneWeightsPass : Pass<"eff-prune-weights", "::mlir::ModuleOp"> {
  let summary = "Zeros the smallest weights of each linear";
  let description = [{
    Unstructured pruning by magnitude: of each matrix that linears alone read, the `ratio` of least `|w|` becomes zero.
    Formats and sizes stay.

    Before: `eff.weight @w : !eff.weight<1x4, f32> = dense<[[1.0, -4.0, 2.0, 3.0]]>`; after `ratio=0.5`:
    `dense<[[0.0, -4.0, 0.0, 3.0]]>`.

    A remark for each weight says how many values were zeroed and their share of the sum of squares.
  }];
  let dependentDialects = ["::effc::eff::EffDialect"];
  let options = [
    Option<"ratio", "ratio", "double", "0.4", "Share of the values, 0 to below 1 (default 0.4)">,
    ListOption<"skip", "skip", "std::string", "Weights whose names contain one of these stay as they are">,
  ];
}

#endif
