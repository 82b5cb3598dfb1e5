//===- PlanDialect.td - the plan dialect --------------------*- tablegen -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_PLAN_PLANDIALECT_TD
#define EFFC_DIALECT_PLAN_PLANDIALECT_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"

def Plan_Dialect : Dialect {
  let name = "plan";
  let cppNamespace = "::effc::plan";
  let summary = "What happens, in which order, where in memory";
  let description = [{
    A module of this level holds the weights, states and caches of `eff` as symbols, one `plan.kernel` for each
    specialised kernel, one `plan.generic` for each piece of code that no kernel family covers, and one `plan.program`
    for each entry point: a list of steps over references to memory. Nothing is left to decide but bytes and
    instructions: the x86 emitter compiles each kernel, and the artifact writer turns programs into the tables of
    `effrt.h`.

    **References** (`!plan.ref`) name memory, not values: a step reads and writes through them, so the order of steps
    is their order in the program.
  }];
  let dependentDialects = ["::effc::eff::EffDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
                           "::mlir::tensor::TensorDialect", "::mlir::linalg::LinalgDialect"];
  let useDefaultTypePrinterParser = 1;
}

class Plan_Type<string name, string typeMnemonic> : TypeDef<Plan_Dialect, name> {
  let mnemonic = typeMnemonic;
}

def Plan_RefType : Plan_Type<"Ref", "ref"> {
  let summary = "Where an operand of a step lies";
  let description = [{
    The address of a place in the arena, a weight, a state or cache, an input or an output of the program.

    Example: `!plan.ref`
  }];
}

#endif
