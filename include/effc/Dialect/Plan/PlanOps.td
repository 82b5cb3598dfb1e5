//===- PlanOps.td - ops of the plan dialect -----------------*- tablegen -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_PLAN_PLANOPS_TD
#define EFFC_DIALECT_PLAN_PLANOPS_TD

include "effc/Dialect/Plan/PlanDialect.td"
include "effc/Dialect/Eff/EffAttrs.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Plan_Op<string mnemonic, list<Trait> traits = []> : Op<Plan_Dialect, mnemonic, traits> {
  let hasVerifier = 1;
}

/// An op of a program that makes a reference.
class Plan_RefOp<string mnemonic, list<Trait> traits = []>
    : Plan_Op<mnemonic, !listconcat(traits, [HasParent<"ProgramOp">])> {
  let results = (outs Plan_RefType:$result);
}

def Plan_BufferOp : Plan_Op<"buffer", [HasParent<"ProgramOp">]> {
  let summary = "A piece of the arena";
  let description = [{
    `plan-memory` gives it its offset. Two buffers that are in use at the same time never overlap (checked by
    `plan.program`).

    *Constraints*
    - C1: `bytes` is positive.
    - C2: the offset is a multiple of 64 and not negative.

    *Example*
    ```mlir
    %x = plan.buffer 1536
    %y = plan.buffer 6400 at 1600
    ```
  }];
  let arguments = (ins I64Attr:$bytes, OptionalAttr<I64Attr>:$offset);
  let results = (outs Res<Plan_RefType, "a new buffer", [MemAlloc]>:$result);
  let assemblyFormat = "$bytes (`at` $offset^)? attr-dict";
}

def Plan_GenericOp : Plan_Op<"generic", [Symbol, IsolatedFromAbove, SingleBlock]> {
  let summary = "Code that no kernel family covers, on tensors";
  let description = [{
    The body computes its results from its arguments with `arith`, `math`, `tensor` and `linalg`; it is compiled by
    tiling, vectorising and bufferising it. A step that runs it passes the addresses of the arguments, then those of the
    results, then one of `scratch` bytes when `scratch` is positive. All tensors are contiguous.

    *Constraints*
    - C1: arguments and results are tensors of static shape.
    - C2: the body ends with `plan.yield` of at least one tensor.
    - C3: `scratch` is not negative.

    *Example*
    ```mlir
    plan.generic @generic_0 {
    ^bb0(%a: tensor<1x4xf32>, %b: tensor<1x4xf32>):
      %0 = arith.mulf %a, %b : tensor<1x4xf32>
      plan.yield %0 : tensor<1x4xf32>
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, DefaultValuedAttr<I64Attr, "0">:$scratch);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name (`scratch` `(` $scratch^ `)`)? $body attr-dict";
  let extraClassDeclaration = [{
    /// Operands of a step that runs it.
    unsigned getOperandCount();
  }];
  let hasVerifier = 0;
  let hasRegionVerifier = 1;
}

def Plan_InputOp : Plan_RefOp<"input", [Pure]> {
  let summary = "An input of the program";
  let description = [{
    Row-major, without gaps.

    *Constraints*
    - C1: the index is not negative, the type a tensor of static shape.

    *Example*
    ```mlir
    %ids = plan.input 0 "ids" : tensor<1x1xi32>
    ```
  }];
  let arguments = (ins I64Attr:$index, StrAttr:$name, TypeAttrOf<AnyRankedTensor>:$type);
  let assemblyFormat = "$index $name `:` $type attr-dict";
}

def Plan_KernelOp : Plan_Op<"kernel", [Symbol, IsolatedFromAbove]> {
  let summary = "A kernel family and the constants that specialise it";
  let description = [{
    The KernelSpec of `effc/Target/KernelSpec.h` as a symbol. Equal specs are one symbol, so a layer's kernels are
    compiled once however many layers use them.

    *Constraints*
    - C1: the family is known, and each constant is one of its constants, of type i64; none is missing
      but optional ones, which are then 0.
    - C2: only linears have an epilogue; it has one f32 argument for the accumulator and one for each of `extras`, holds
      `arith` and `math` ops alone and yields one f32.
    - C3: a linear with extras has an epilogue.

    *Example*
    ```mlir
    plan.kernel @scale "linear_f32" {extra0_ld = 0, extras = 1, k = 4, ldx = 4, ldy = 4, n = 4, rows = 1} epilogue {
    ^bb0(%acc: f32, %s: f32):
      %0 = arith.mulf %acc, %s : f32
      plan.yield %0 : f32
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$family, DictionaryAttr:$constants);
  let regions = (region MaxSizedRegion<1>:$epilogue);
  let assemblyFormat = "$sym_name $family $constants (`epilogue` $epilogue^)? attr-dict";
  let extraClassDeclaration = [{
    /// The value of a constant; 0 when the kernel does not have it.
    int64_t getConstant(::llvm::StringRef name);
  }];
  let hasVerifier = 0;
  let hasRegionVerifier = 1;
}

def Plan_NullOp : Plan_RefOp<"null", [Pure]> {
  let summary = "An absent operand";
  let description = [{
    *Example*
    ```mlir
    %none = plan.null
    ```
  }];
  let assemblyFormat = "attr-dict";
  let hasVerifier = 0;
}

def Plan_OutputOp : Plan_RefOp<"output", [Pure]> {
  let summary = "An output of the program";
  let description = [{
    Row-major, without gaps. Steps write to it and may read it back.

    *Constraints*
    - C1: the index is not negative, the type a tensor of static shape.

    *Example*
    ```mlir
    %logits = plan.output 0 "logits" : tensor<1x8192xf32>
    ```
  }];
  let arguments = (ins I64Attr:$index, StrAttr:$name, TypeAttrOf<AnyRankedTensor>:$type);
  let assemblyFormat = "$index $name `:` $type attr-dict";
}

def Plan_ProgramOp : Plan_Op<"program", [Symbol, IsolatedFromAbove, SingleBlock, NoTerminator, NoRegionArguments]> {
  let summary = "The steps of one entry point";
  let description = [{
    *Constraints*
    - C1: inputs are numbered from 0 without gaps, and so are outputs.
    - C2: the first step that uses a buffer writes it; the first step that uses an output writes it.
    - C3: with an arena size every buffer has an offset, lies inside the arena, and buffers that live at the same time do
      not overlap, the 64 bytes behind each included.
    - C4: the body holds references and steps alone.

    *Example*
    ```mlir
    plan.program @decode_b1 entry(#eff.entry<decode, batch = 1, tokens = 1>) arena(1600) {
      %ids = plan.input 0 "ids" : tensor<1x1xi32>
      %table = plan.weight @embed
      %x = plan.buffer 1536 at 0
      plan.step @embed_1(%ids, %table, %x) writes [2] flops(0) bytes(768)
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, Eff_EntryAttr:$entry, OptionalAttr<I64Attr>:$arena);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name `entry` `(` $entry `)` (`arena` `(` $arena^ `)`)? $body attr-dict";
  let hasVerifier = 0;
  let hasRegionVerifier = 1;
}

def Plan_StateOp : Plan_RefOp<"state", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "A state or cache of the sequences";
  let description = [{
    *Constraints*
    - C1: the symbol names an `eff.state` or `eff.cache`.

    *Example*
    ```mlir
    %s = plan.state @l0.ssm
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$symbol);
  let assemblyFormat = "$symbol attr-dict";
  let hasVerifier = 0;
}

def Plan_StepOp : Plan_Op<"step", [HasParent<"ProgramOp">, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
                                   MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "Runs a kernel";
  let description = [{
    The operands are those that the kernel's family documents, in that order; `writes` numbers the ones that it writes.
    `flops` is the predicted arithmetic of one execution with every token valid, `bytes` the predicted traffic beyond
    the arena (weights, states, caches).

    *Constraints*
    - C1: the symbol names a `plan.kernel` or `plan.generic`.
    - C2: the number of operands is that of the family (with the kernel's extras) or of the generic code.
    - C3: `writes` are the operands that the family writes; for generic code, the results and the scratch space.
    - C4: only an operand that the family lets be absent is a `plan.null`; weights are not written.

    *Example*
    ```mlir
    plan.step @in_proj(%x, %w, %y) writes [2] flops(1228800) bytes(1228800)
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel, Variadic<Plan_RefType>:$operands, DenseI64ArrayAttr:$writes,
                       DefaultValuedAttr<I64Attr, "0">:$flops, DefaultValuedAttr<I64Attr, "0">:$bytes);
  let assemblyFormat = [{
    $kernel `(` $operands `)` `writes` $writes (`flops` `(` $flops^ `)`)? (`bytes` `(` $bytes^ `)`)? attr-dict
  }];
  let extraClassDeclaration = [{
    bool isWritten(unsigned operand);
  }];
}

def Plan_ViewOp : Plan_RefOp<"view", [Pure]> {
  let summary = "A place inside what another reference names";
  let description = [{
    *Constraints*
    - C1: the offset, in bytes, is not negative.
    - C2: with a base that is a buffer, input or output, the offset lies inside it.

    *Example*
    ```mlir
    %dt = plan.view %x[6656]
    ```
  }];
  let arguments = (ins Plan_RefType:$base, I64Attr:$offset);
  let assemblyFormat = "$base `[` $offset `]` attr-dict";
}

def Plan_WeightOp : Plan_RefOp<"weight", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "A weight of the model file";
  let description = [{
    *Constraints*
    - C1: the symbol names an `eff.weight`.

    *Example*
    ```mlir
    %w = plan.weight @l0.in_proj
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$symbol);
  let assemblyFormat = "$symbol attr-dict";
  let hasVerifier = 0;
}

def Plan_YieldOp : Plan_Op<"yield", [Pure, Terminator, ParentOneOf<["KernelOp", "GenericOp"]>]> {
  let summary = "Ends an epilogue or generic code";
  let description = [{
    *Example*
    ```mlir
    plan.yield %0 : tensor<1x4xf32>
    ```
  }];
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "attr-dict ($values^ `:` type($values))?";
  let hasVerifier = 0;
}

#endif
