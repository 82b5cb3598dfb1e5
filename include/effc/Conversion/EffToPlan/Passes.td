//===- Passes.td - from the eff dialect to the plan dialect -*- tablegen -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_CONVERSION_EFFTOPLAN_PASSES_TD
#define EFFC_CONVERSION_EFFTOPLAN_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertEffToPlanPass : Pass<"convert-eff-to-plan", "::mlir::ModuleOp"> {
  let summary = "Turns each entry point into a program of steps";
  let description = [{
    Each op of `eff` becomes one step (`eff.conv2d` two) of a kernel whose constants are read off its types; equal
    kernels are declared once. `eff.split` and the slices and reshapes of `tensor` become views: a base, an offset and
    a distance between rows, never a copy, unless no such view exists. What is left of `arith`, `math`, `tensor` and
    `linalg` is gathered into `plan.generic` code: as much in one as can run without a step in between. A value that
    the function returns is computed straight into the output. Ops on the rows of `eff.select_rows` get `rows = 0`:
    as many as the call asks for. A `forward` entry point takes its number of tokens from the ops that mix them.

    Weights must have the layouts of `eff-assign-layout`.

    Before:
    ```mlir
    func.func @forward_b1(%x: tensor<1x1x8xf32>) -> tensor<1x1x16xf32> attributes {eff.entry = ...} {
      %w = eff.use @w : !eff.weight<16x8, f32, panel16>
      %y = eff.linear %x, %w : tensor<1x1x8xf32>, !eff.weight<16x8, f32, panel16> -> tensor<1x1x16xf32>
      return %y : tensor<1x1x16xf32>
    }
    ```
    After:
    ```mlir
    plan.kernel @linear_f32_... "linear_f32" {extras = 0, k = 8, ldx = 8, ldy = 16, n = 16, rows = 1}
    plan.program @forward_b1 entry(...) {
      %x = plan.input 0 "x" : tensor<1x1x8xf32>
      %y = plan.output 0 "y" : tensor<1x1x16xf32>
      %w = plan.weight @w
      plan.step @linear_f32_...(%x, %w, %y) writes [2] flops(256) bytes(512)
    }
    ```

    A remark says for each entry point how many steps and kernels there are and which ops took the generic way.
  }];
  let dependentDialects = ["::effc::plan::PlanDialect"];
}

#endif
