//===- Passes.td - passes over generic code -----------------*- tablegen -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_TARGET_GENERIC_PASSES_TD
#define EFFC_TARGET_GENERIC_PASSES_TD

include "mlir/Pass/PassBase.td"

def PlanSizeGenericsPass : Pass<"plan-size-generics", "::mlir::ModuleOp"> {
  let summary = "Finds the scratch space that generic code needs";
  let description = [{
    Lowers each `plan.generic` as far as its buffers are known, notes how many bytes its temporaries take, and gives
    every step that runs it a buffer of that size. Run it before `plan-memory`.

    Before:
    ```mlir
    plan.generic @g { ... }
    plan.program @p ... {
      plan.step @g(%x, %y) writes [1]
    ```
    After:
    ```mlir
    plan.generic @g scratch(4096) { ... }
    plan.program @p ... {
      %s = plan.buffer 4096
      plan.step @g(%x, %y, %s) writes [1, 2]
    ```

    A remark gives the bytes for each piece of generic code.
  }];
  let dependentDialects = ["::effc::plan::PlanDialect"];
}

#endif
