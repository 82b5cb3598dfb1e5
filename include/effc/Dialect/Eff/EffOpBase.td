//===- EffOpBase.td - base of all eff ops -------------------*- tablegen -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_EFF_EFFOPBASE_TD
#define EFFC_DIALECT_EFF_EFFOPBASE_TD

include "effc/Dialect/Eff/EffDialect.td"
include "effc/Dialect/Eff/EffAttrs.td"
include "effc/Dialect/Eff/EffTypes.td"
include "effc/Dialect/Eff/EffInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"

class Eff_Op<string mnemonic, list<Trait> traits = []> : Op<Eff_Dialect, mnemonic, traits> {
  let hasVerifier = 1;
}

/// An op that reads or updates what lives outside the function.
class Eff_StatefulOp<string mnemonic, list<Trait> traits = []>
    : Eff_Op<mnemonic, !listconcat(traits, [DeclareOpInterfaceMethods<Stateful>, DeclareOpInterfaceMethods<Costed>,
                                            MemoryEffects<[MemRead, MemWrite]>])>;

#endif
