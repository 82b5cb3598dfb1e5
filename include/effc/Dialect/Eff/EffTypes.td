//===- EffTypes.td - types of the eff dialect ---------------*- tablegen -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_EFF_EFFTYPES_TD
#define EFFC_DIALECT_EFF_EFFTYPES_TD

include "effc/Dialect/Eff/EffAttrs.td"

class Eff_Type<string name, string typeMnemonic, list<Trait> traits = []>
    : TypeDef<Eff_Dialect, name, traits> {
  let mnemonic = typeMnemonic;
  let genVerifyDecl = 1;
}

def Eff_WeightType : Eff_Type<"Weight", "weight"> {
  let summary = "A weight: logical shape, numeric format, packed layout";
  let description = !strconcat([{
    The logical shape of a linear's weight is `[n, k]` = `[outputs, inputs]`; vectors are `[n]`.
    The format is a float type (`f32`, `bf16`, `f16`) or `#eff.int8`, `#eff.int4<...>`.
    The layout says how the values lie in the model file; without one the weight is `row_major`.
  }], Eff_Layout.description, [{
    *Constraints*
    - C1: every dimension is positive.
    - C2: the format is f32, bf16, f16, `#eff.int8` or `#eff.int4`.
    - C3: integer formats need a 2-d shape; the group of `#eff.int4` is a positive multiple of 8.
    - C4: `panel16` needs f32, `panel32_pair` bf16 or f16, `quad16` `#eff.int8`, `nibble16` `#eff.int4`; all four
      need a 2-d shape.

    Example: `!eff.weight<1600x384, #eff.int4<group = 128>, nibble16>`
  }]);
  let parameters = (ins ArrayRefParameter<"int64_t">:$shape, "::mlir::Attribute":$format,
                        DefaultValuedParameter<"::effc::eff::Layout", "::effc::eff::Layout::RowMajor">:$layout);
  let assemblyFormat = "`<` custom<Shape>($shape) `,` custom<Format>($format) (`,` custom<LayoutName>($layout)^)? `>`";
  let extraClassDeclaration = [{
    /// The float type of an unquantised weight, null for integer formats.
    ::mlir::FloatType getFloatFormat() const;
    /// Group length of an int4 weight, 0 for every other format.
    int64_t getGroup() const;
    int64_t getNumElements() const;
    /// Bits of one stored element, without scales.
    int64_t getElementBits() const;
    /// Bytes in the model file: packed and padded values, then scales and sums.
    int64_t getPackedBytes() const;
    WeightType withFormat(::mlir::Attribute format) const;
    WeightType withLayout(Layout layout) const;
  }];
}

def Eff_StateType : Eff_Type<"State", "state"> {
  let summary = "A recurrent state of one sequence";
  let description = [{
    Shape without the batch; the runtime keeps one per sequence, zero at first.
    - `conv`: `[k - 1, channels]`, oldest column first (causal_conv1d).
    - `ssm`: `[n, channels]` (ssm_scan).
    - `ssd`: `[heads, n, head_dim]` (ssd_scan).

    *Constraints*
    - C1: every dimension is positive; the rank is 2 for `conv` and `ssm`, 3 for `ssd`.
    - C2: the element type is f32.

    Example: `!eff.state<ssd, 12x64x64, f32>`
  }];
  let parameters = (ins EnumParameter<Eff_StateKind>:$kind, ArrayRefParameter<"int64_t">:$shape,
                        "::mlir::Type":$elementType);
  let assemblyFormat = "`<` $kind `,` custom<Shape>($shape) `,` $elementType `>`";
  let extraClassDeclaration = [{
    /// Bytes of the state of one sequence.
    int64_t getBytes() const;
  }];
}

def Eff_CacheType : Eff_Type<"Cache", "cache"> {
  let summary = "Keys or values of one sequence, appended token by token";
  let description = [{
    `[heads, capacity, head_dim]` per sequence; grows by `eff.cache_append` up to `capacity` tokens.

    *Constraints*
    - C1: heads, head_dim and capacity are positive.
    - C2: the element type is f32.

    Example: `!eff.cache<2x64, capacity = 2048, f32>`
  }];
  let parameters = (ins "int64_t":$heads, "int64_t":$headDim, "int64_t":$capacity, "::mlir::Type":$elementType);
  let assemblyFormat = "`<` custom<HeadShape>($heads, $headDim) `,` `capacity` `=` $capacity `,` $elementType `>`";
  let extraClassDeclaration = [{
    /// Bytes of the cache of one sequence.
    int64_t getBytes() const;
  }];
}

def Eff_WeightVector : Type<
    CPred<"::llvm::isa<::effc::eff::WeightType>($_self) && "
          "::llvm::cast<::effc::eff::WeightType>($_self).getShape().size() == 1">,
    "weight vector", "::effc::eff::WeightType">;
def Eff_WeightMatrix : Type<
    CPred<"::llvm::isa<::effc::eff::WeightType>($_self) && "
          "::llvm::cast<::effc::eff::WeightType>($_self).getShape().size() == 2">,
    "weight matrix", "::effc::eff::WeightType">;
def Eff_ConvState : Type<
    CPred<"::llvm::isa<::effc::eff::StateType>($_self) && "
          "::llvm::cast<::effc::eff::StateType>($_self).getKind() == ::effc::eff::StateKind::Conv">,
    "conv state", "::effc::eff::StateType">;
def Eff_SsmState : Type<
    CPred<"::llvm::isa<::effc::eff::StateType>($_self) && "
          "::llvm::cast<::effc::eff::StateType>($_self).getKind() == ::effc::eff::StateKind::Ssm">,
    "ssm state", "::effc::eff::StateType">;
def Eff_SsdState : Type<
    CPred<"::llvm::isa<::effc::eff::StateType>($_self) && "
          "::llvm::cast<::effc::eff::StateType>($_self).getKind() == ::effc::eff::StateKind::Ssd">,
    "ssd state", "::effc::eff::StateType">;

/// What lives outside the functions: weights, states, caches.
def Eff_Resource : AnyTypeOf<[Eff_WeightType, Eff_StateType, Eff_CacheType]>;
def Eff_F32Tensor : StaticShapeTensorOf<[F32]>;
class Eff_StaticTensor<Type element, int rank>
    : RankedTensorOf<[element], [HasStaticShapePred, HasAnyRankOfPred<[rank]>], "static " # rank # "D tensor">;
/// [batch, tokens, features]
def Eff_Activations : Eff_StaticTensor<F32, 3>;

#endif
