//===- EffSymbolOps.td - weights, states and caches as symbols -*- tablegen -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_EFF_EFFSYMBOLOPS_TD
#define EFFC_DIALECT_EFF_EFFSYMBOLOPS_TD

include "effc/Dialect/Eff/EffOpBase.td"

def Eff_CacheOp : Eff_Op<"cache", [Symbol]> {
  let summary = "Declares a key or value cache";
  let description = [{
    *Semantics*: a `[heads, capacity, head_dim]` buffer for each sequence, empty at first.

    *Example*
    ```mlir
    eff.cache @l0.key : !eff.cache<2x64, capacity = 2048, f32>
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<Eff_CacheType>:$type);
  let assemblyFormat = "$sym_name `:` $type attr-dict";
  let hasVerifier = 0;
}

def Eff_ReadOp : Eff_Op<"read", [Pure]> {
  let summary = "Reads a weight as a tensor";
  let description = [{
    For weights that take part in plain tensor arithmetic (a position table, say).

    *Semantics*: `result = f32(weight)`, dequantised.

    *Constraints*
    - C1: the result is an f32 tensor of the weight's shape.

    *Example*
    ```mlir
    %w = eff.use @position : !eff.weight<65x192, f32>
    %t = eff.read %w : !eff.weight<65x192, f32> -> tensor<65x192xf32>
    ```
  }];
  let arguments = (ins Eff_WeightType:$weight);
  let results = (outs Eff_F32Tensor:$result);
  let assemblyFormat = "$weight attr-dict `:` type($weight) `->` type($result)";
}

def Eff_StateOp : Eff_Op<"state", [Symbol]> {
  let summary = "Declares a recurrent state";
  let description = [{
    *Semantics*: a buffer for each sequence, zero at first.

    *Example*
    ```mlir
    eff.state @l0.ssm : !eff.state<ssd, 12x64x64, f32>
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<Eff_StateType>:$type);
  let assemblyFormat = "$sym_name `:` $type attr-dict";
  let hasVerifier = 0;
}

def Eff_UseOp : Eff_Op<"use", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Brings a weight, state or cache into a function";
  let description = [{
    *Constraints*
    - C1: the symbol names an `eff.weight`, `eff.state` or `eff.cache`.
    - C2: the result type is the symbol's type.

    *Example*
    ```mlir
    %w = eff.use @l0.in_proj : !eff.weight<1600x384, bf16>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$symbol);
  let results = (outs Eff_Resource:$result);
  let assemblyFormat = "$symbol attr-dict `:` type($result)";
  let hasVerifier = 0;
}

def Eff_WeightOp : Eff_Op<"weight", [Symbol]> {
  let summary = "Declares a weight and where its values come from";
  let description = [{
    The values stay where the model file has them (a mapped resource); a pass that changes the type's format or layout
    does not touch them: they are converted and packed, one weight at a time, when the model file is written.

    *Semantics*: `weight[i..] = source[i..]`, or `weight[n, k] = source[k, n]` when `transposed`, rounded to the
    type's format. A pass that has rounded the values itself (GPTQ), or a file that holds integers, gives the integers and
    scales: then `weight[n, k] = scales[n, k / group] * (quantized[n, k] - zeros[n, k / group])`, and the source is not
    read. `pinned` marks integers of the file, which passes keep as they are.

    *Constraints*
    - C1: the source has the weight's shape (`[k, n]` when `transposed`).
    - C2: `transposed` needs a 2-d weight.
    - C3: the source's element type is f32, f16, bf16 or f64.
    - C4: `quantized` is i8 of the weight's shape and comes with f32 `scales`, `[n, ceil(k / group)]`, or `[n]` where the
      format has no group, and, where the format has zero points, f32 `zeros` of the shape of `scales`; other formats
      have none of them.
    - C5: a `pinned` weight has `quantized`.
    - C6: a weight of `#eff.float8` has `quantized`, which are the bytes of its floats.

    *Example*
    ```mlir
    eff.weight @norm : !eff.weight<4, f32> = dense<1.0> : tensor<4xf32>
    eff.weight @proj transposed : !eff.weight<2x3, bf16> = dense<0.5> : tensor<3x2xbf16>
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<Eff_WeightType>:$type, OptionalAttr<ElementsAttr>:$source,
                       UnitAttr:$transposed, OptionalAttr<ElementsAttr>:$quantized, OptionalAttr<ElementsAttr>:$scales,
                       OptionalAttr<ElementsAttr>:$zeros, UnitAttr:$pinned);
  let assemblyFormat = "$sym_name (`transposed` $transposed^)? `:` $type (`=` $source^)? attr-dict";
  /// Of a source that is rounded to the type's format.
  let builders = [OpBuilder<(ins "::llvm::StringRef":$name, "WeightType":$type,
                                 CArg<"::mlir::ElementsAttr", "{}">:$source, CArg<"bool", "false">:$transposed), [{
    build($_builder, $_state, name, type, source, transposed, ::mlir::ElementsAttr(), ::mlir::ElementsAttr(),
          ::mlir::ElementsAttr(), /*pinned=*/false);
  }]>];
}

#endif
