// RUN: effc-opt %s --plan-size-generics | FileCheck %s
// RUN: effc-opt %s --plan-size-generics --remarks-filter='plan-.*' -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

// Elementwise code needs no temporaries.
// REMARK: [Passed] ScratchSized {{.*}} Function=plain | Bytes=0
// CHECK: plan.generic @plain {
plan.generic @plain {
^bb0(%x: tensor<4x16xf32>):
  %0 = math.exp %x : tensor<4x16xf32>
  %1 = arith.addf %0, %x : tensor<4x16xf32>
  plan.yield %1 : tensor<4x16xf32>
}

// The sums of the rows are kept while the rows are divided by them.
// REMARK: [Passed] ScratchSized {{.*}} Function=sums | Bytes=[[BYTES:[1-9][0-9]*]]
// CHECK: plan.generic @sums scratch(
plan.generic @sums {
^bb0(%x: tensor<4x16xf32>):
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4xf32>
  %e2 = tensor.empty() : tensor<4x16xf32>
  %i = linalg.fill ins(%zero : f32) outs(%e : tensor<4xf32>) -> tensor<4xf32>
  %s = linalg.reduce { arith.addf } ins(%x : tensor<4x16xf32>) outs(%i : tensor<4xf32>) dimensions = [1]
  %b = linalg.broadcast ins(%s : tensor<4xf32>) outs(%e2 : tensor<4x16xf32>) dimensions = [1]
  %y = arith.divf %x, %b : tensor<4x16xf32>
  plan.yield %y : tensor<4x16xf32>
}

// CHECK-LABEL: plan.program @p
// CHECK: plan.step @plain(%[[X:.*]], %[[T:.*]]) writes [1]
// CHECK: %[[S:.*]] = plan.buffer
// CHECK: plan.step @sums(%[[T]], %{{.*}}, %[[S]]) writes [1, 2]
plan.program @p entry(#eff.entry<forward, batch = 1, tokens = 1>) {
  %x = plan.input 0 "x" : tensor<4x16xf32>
  %y = plan.output 0 "y" : tensor<4x16xf32>
  %t = plan.buffer 256
  plan.step @plain(%x, %t) writes [1]
  plan.step @sums(%t, %y) writes [1]
}
