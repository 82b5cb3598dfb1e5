//===- EffDialect.td - the eff dialect ----------------------*- tablegen -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_EFF_EFFDIALECT_TD
#define EFFC_DIALECT_EFF_EFFDIALECT_TD

include "mlir/IR/OpBase.td"

def Eff_Dialect : Dialect {
  let name = "eff";
  let cppNamespace = "::effc::eff";
  let summary = "Models for efficient inference: linears, attention, scans, caches";
  let description = [{
    The `eff` dialect says what a model means. Activations are tensors of static
    shape `[batch, tokens, features]`; weights, states and caches are module-level
    symbols of types that hold what must not be mixed up (logical shape, numeric
    format, packed layout), brought into a function by `eff.use`.

    **What a call brings.** An entry point is a `func.func` with an `eff.entry`
    attribute. Besides its tensor arguments each call carries, for every batch row
    `b`, the number `past[b]` of tokens that the row has already consumed and the
    number `valid[b] <= tokens` of tokens of this call that are real. Tokens
    `t >= valid[b]` are right padding. Padding is exact: it never changes a state
    or a cache, nor the result of a valid token. Results at padded positions are
    finite but unspecified.

    **Order.** Ops that read or update a state or cache have memory effects on it,
    so two of them are never reordered. Everything else is pure.

    **Arithmetic** is f32 unless an op says otherwise; `lib/Reference` holds the
    interpreter that defines every op, in f32 and f64.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect"];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let hasOperationAttrVerify = 1;
  let extraClassDeclaration = [{
    /// Hears how far passes are that take long: what they do, items done, items in all. May be empty.
    std::function<void(::llvm::StringRef, uint64_t, uint64_t)> progress;
    void registerTypes();
    void registerAttributes();
    /// Attribute of an entry point function: `#eff.entry<...>`.
    static constexpr ::llvm::StringLiteral kEntryAttr = "eff.entry";
    /// Attribute of the module: `#eff.model<...>`.
    static constexpr ::llvm::StringLiteral kModelAttr = "eff.model";
  }];
}

#endif
