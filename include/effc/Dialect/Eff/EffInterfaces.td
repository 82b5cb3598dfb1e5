//===- EffInterfaces.td - interfaces of the eff dialect -----*- tablegen -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_EFF_EFFINTERFACES_TD
#define EFFC_DIALECT_EFF_EFFINTERFACES_TD

include "mlir/IR/OpBase.td"

def LinearLike : OpInterface<"LinearLike"> {
  let cppNamespace = "::effc::eff";
  let description = "An op that multiplies activations by a weight matrix `[n, k]`.";
  let methods = [
    InterfaceMethod<"The activations `[.., k]`.", "::mlir::Value", "getActivations">,
    InterfaceMethod<"The weight `[n, k]`, of `!eff.weight` type.", "::mlir::Value", "getWeightMatrix">,
    InterfaceMethod<"The operand that holds the weight.", "::mlir::OpOperand &", "getWeightOperand">,
  ];
}

def Stateful : OpInterface<"Stateful"> {
  let cppNamespace = "::effc::eff";
  let description = "An op that reads or updates recurrent states or caches.";
  let methods = [
    InterfaceMethod<"The states and caches that this op touches.",
                    "::llvm::SmallVector<::mlir::Value>", "getStateOperands">,
  ];
}

def Costed : OpInterface<"Costed"> {
  let cppNamespace = "::effc::eff";
  let description = [{
    An op whose arithmetic and weight traffic are known from its types. What grows with the sequence is counted as in
    its first call: attention over caches that were empty before.
  }];
  let methods = [
    InterfaceMethod<"Floating point operations of one execution.", "int64_t", "getFlops">,
    InterfaceMethod<"Bytes of weights, states and caches read and written in one execution.", "int64_t", "getTraffic">,
  ];
}

#endif
