//===- Passes.td - passes over plans ------------------------*- tablegen -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_PLAN_TRANSFORMS_PASSES_TD
#define EFFC_DIALECT_PLAN_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def PlanMemoryPass : Pass<"plan-memory", "::effc::plan::ProgramOp"> {
  let summary = "Gives each buffer of a program its place in the arena";
  let description = [{
    A buffer lives from the first to the last step that uses it. First, results take over the buffer of an operand where
    the kernel allows it: the residual of a linear's epilogue is read at the very place where the result is written, so
    when nothing reads it afterwards both share one buffer. Then buffers get offsets, largest first, each at the lowest
    multiple of 64 where no buffer lies that lives at the same time; 64 bytes follow each buffer, since kernels may read
    that far beyond an operand's end.

    Before:
    ```mlir
    plan.program @p entry(#eff.entry<forward, batch = 1, tokens = 1>) {
      %x = plan.buffer 256
      %y = plan.buffer 256
      ...
    ```
    After:
    ```mlir
    plan.program @p entry(#eff.entry<forward, batch = 1, tokens = 1>) arena(640) {
      %x = plan.buffer 256 at 0
      %y = plan.buffer 256 at 320
      ...
    ```

    A remark gives the arena's size, what the buffers would take side by side, the bound by the fullest step, and one
    line for each place that several buffers take in turn ("what aliases what").
  }];
  let dependentDialects = ["::effc::plan::PlanDialect"];
  let options = [
    Option<"inPlace", "in-place", "bool", "true", "Let results take over the buffer of a residual (default true)">,
  ];
}

#endif
