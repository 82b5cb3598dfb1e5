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
    - C3: integer formats need a 2-d shape; the group of `#eff.int4` is a positive multiple of 8, that of `#eff.int8`
      may also be 0.
    - C4: `panel16` needs f32, `panel32_pair` bf16 or f16, `quad16` `#eff.int8` or `#eff.float8`, `nibble16`
      `#eff.int4`; all four need a 2-d shape.
    - C5: bases need a 2-d shape; a basis with a rotation is that of `k` (`in`) or `n` (`out`) features.

    Example: `!eff.weight<1600x384, #eff.int4<group = 128>, nibble16>`, and with its inputs rotated
    `!eff.weight<1600x384, bf16 in #eff.basis<hadamard = 384>>`
  }]);
  let parameters = (ins ArrayRefParameter<"int64_t">:$shape, "::mlir::Attribute":$format,
                        DefaultValuedParameter<"::effc::eff::Layout", "::effc::eff::Layout::RowMajor">:$layout,
                        OptionalParameter<"::effc::eff::BasisAttr">:$inputs,
                        OptionalParameter<"::effc::eff::BasisAttr">:$outputs);
  let assemblyFormat = [{
    `<` custom<Shape>($shape) `,` custom<Format>($format) (`,` custom<LayoutName>($layout)^)? (`in` $inputs^)?
    (`out` $outputs^)? `>`
  }];
  let builders = [TypeBuilder<(ins "::llvm::ArrayRef<int64_t>":$shape, "::mlir::Attribute":$format,
                                   CArg<"::effc::eff::Layout", "::effc::eff::Layout::RowMajor">:$layout), [{
    return $_get($_ctxt, shape, format, layout, BasisAttr(), BasisAttr());
  }]>];
  let extraClassDeclaration = [{
    /// The float type of an unquantised weight, null for formats with scales.
    ::mlir::FloatType getFloatFormat() const;
    bool isInt8() const { return ::llvm::isa<Int8Attr>(getFormat()); }
    bool isInt4() const { return ::llvm::isa<Int4Attr>(getFormat()); }
    bool isInteger() const { return isInt8() || isInt4(); }
    /// Null for other formats.
    Float8Attr getFloat8() const { return ::llvm::dyn_cast<Float8Attr>(getFormat()); }
    /// Columns that share a scale in an integer format; 0: all of a row. 0 for
    /// floats.
    int64_t getGroup() const;
    /// Scales of a row of an integer format.
    int64_t getGroupCount() const;
    /// Whether an integer format has zero points.
    bool hasZeros() const;
    int64_t getNumElements() const;
    /// Bits of one stored element, without scales.
    int64_t getElementBits() const;
    /// Bytes in the model file: packed and padded values, then scales and sums.
    int64_t getPackedBytes() const;
    WeightType withFormat(::mlir::Attribute format) const;
    WeightType withLayout(Layout layout) const;
    WeightType withBases(BasisAttr inputs, BasisAttr outputs) const;
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
    - C2: the format is f32; or i8 for `conv`; or `#eff.int8_state` for `ssm` and `ssd`.

    In memory an int8 state is its codes in the order of the shape, then the residuals (of 4 bits: those of the states
    `2 i`, low, and `2 i + 1` of a channel share a byte), then the f32 scales of a `dynamic` one: `[channels]`,
    `[heads, head_dim]`. Each part starts at a multiple of 64 bytes.

    Example: `!eff.state<ssd, 12x64x64, f32>`
  }];
  let parameters = (ins EnumParameter<Eff_StateKind>:$kind, ArrayRefParameter<"int64_t">:$shape,
                        "::mlir::Attribute":$format);
  let assemblyFormat = "`<` $kind `,` custom<Shape>($shape) `,` custom<Format>($format) `>`";
  let builders = [TypeBuilder<(ins "::effc::eff::StateKind":$kind, "::llvm::ArrayRef<int64_t>":$shape,
                                   "::mlir::Type":$elementType), [{
    return $_get($_ctxt, kind, shape, ::mlir::TypeAttr::get(elementType));
  }]>];
  let extraClassDeclaration = [{
    /// Bytes of the state of one sequence.
    int64_t getBytes() const;
    int64_t getNumElements() const;
    /// Null unless the state is an int8 one of a scan.
    Int8StateAttr getInt8() const { return ::llvm::dyn_cast<Int8StateAttr>(getFormat()); }
    bool isF32() const { return getFormat() == ::mlir::TypeAttr::get(::mlir::Float32Type::get(getContext())); }
  }];
}

def Eff_CacheType : Eff_Type<"Cache", "cache"> {
  let summary = "Keys or values of one sequence, appended token by token";
  let description = [{
    `[heads, capacity, head_dim]` per sequence; grows by `eff.cache_append` up to `capacity` tokens.

    *Constraints*
    - C1: heads, head_dim and capacity are positive.
    - C2: the format is f32, `#eff.int8` or `#eff.int_cache`.
    - C3: with integers of 4 bits, head_dim is even.

    A row of `#eff.int8`, the `head_dim` features of a token and head, has a scale of its own,
    `max |x| / 127` (1 for zeros), and `q = clamp(round_half_even(x / scale), -127, 127)`. In memory it is the f32 scale,
    then the codes, padded to a multiple of four bytes. A row of `#eff.int_cache` is the codes alone: a byte for each of 8
    bits; those of 4 bits plus 8, two to a byte, even features in the low halves.

    Example: `!eff.cache<2x64, capacity = 2048, f32>`
  }];
  let parameters = (ins "int64_t":$heads, "int64_t":$headDim, "int64_t":$capacity, "::mlir::Attribute":$format);
  let assemblyFormat = "`<` custom<HeadShape>($heads, $headDim) `,` `capacity` `=` $capacity `,` custom<Format>($format) `>`";
  let builders = [TypeBuilder<(ins "int64_t":$heads, "int64_t":$headDim, "int64_t":$capacity,
                                   "::mlir::Type":$elementType), [{
    return $_get($_ctxt, heads, headDim, capacity, ::mlir::TypeAttr::get(elementType));
  }]>];
  let extraClassDeclaration = [{
    /// Bytes of the cache of one sequence.
    int64_t getBytes() const;
    /// Bytes of the row of one token and head.
    int64_t getRowBytes() const;
    bool isInt8() const { return ::llvm::isa<Int8Attr>(getFormat()); }
    /// Bits of integers by scales of the model; 0 for other formats.
    int64_t getIntBits() const {
      auto format = ::llvm::dyn_cast<IntCacheAttr>(getFormat());
      return format ? format.getBits() : 0;
    }
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
/// Values, or their int8 codes.
def Eff_ValueTensor : StaticShapeTensorOf<[F32, I8]>;
class Eff_StaticTensor<Type element, int rank>
    : RankedTensorOf<[element], [HasStaticShapePred, HasAnyRankOfPred<[rank]>], "static " # rank # "D tensor">;
/// [batch, tokens, features]
def Eff_Activations : Eff_StaticTensor<F32, 3>;

#endif
