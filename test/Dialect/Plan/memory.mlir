// RUN: effc-opt %s '--pass-pipeline=builtin.module(plan.program(plan-memory))' | FileCheck %s
// RUN: effc-opt %s '--pass-pipeline=builtin.module(plan.program(plan-memory))' --remarks-filter='plan-.*' -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK
// RUN: effc-opt %s '--pass-pipeline=builtin.module(plan.program(plan-memory{in-place=false}))' | FileCheck %s --check-prefix=APART

plan.kernel @copy "copy_rows" {d = 64, ldx = 64, ldy = 64, rows = 1}
plan.kernel @add "linear_f32" {extra0_ld = 64, extras = 1, k = 64, ldx = 64, ldy = 64, n = 64, rows = 1} epilogue {
^bb0(%acc: f32, %r: f32):
  %0 = arith.addf %acc, %r : f32
  plan.yield %0 : f32
}
eff.weight @w : !eff.weight<64x64, f32, panel16>

// Two buffers of 320 bytes take turns: the third lives when the first is gone.
// CHECK-LABEL: plan.program @turns
// CHECK-SAME: arena(640)
// CHECK: plan.buffer 256 at 0
// CHECK: plan.buffer 256 at 320
// CHECK: plan.buffer 256 at 0
plan.program @turns entry(#eff.entry<forward, batch = 1, tokens = 1>) {
  %in = plan.input 0 "x" : tensor<64xf32>
  %out = plan.output 0 "y" : tensor<64xf32>
  %a = plan.buffer 256
  plan.step @copy(%in, %a) writes [1]
  %b = plan.buffer 256
  plan.step @copy(%a, %b) writes [1]
  %c = plan.buffer 256
  plan.step @copy(%b, %c) writes [1]
  plan.step @copy(%c, %out) writes [1]
}

// The residual dies where the sum is written: one buffer holds both.
// CHECK-LABEL: plan.program @residual
// CHECK: %[[R:.*]] = plan.buffer 256
// CHECK: plan.step @add(%{{.*}}, %{{.*}}, %[[R]], %[[R]]) writes [2]
// APART-LABEL: plan.program @residual
// APART: %[[R:.*]] = plan.buffer 256
// APART: %[[Y:.*]] = plan.buffer 256
// APART: plan.step @add(%{{.*}}, %{{.*}}, %[[Y]], %[[R]]) writes [2]
plan.program @residual entry(#eff.entry<forward, batch = 1, tokens = 1>) {
  %in = plan.input 0 "x" : tensor<64xf32>
  %out = plan.output 0 "y" : tensor<64xf32>
  %w = plan.weight @w
  %r = plan.buffer 256
  plan.step @copy(%in, %r) writes [1]
  %y = plan.buffer 256
  plan.step @add(%in, %w, %y, %r) writes [2]
  plan.step @copy(%y, %out) writes [1]
}

// Read again afterwards, or read as activations as well: two buffers.
// CHECK-LABEL: plan.program @still_needed
// CHECK: %[[R:.*]] = plan.buffer 256
// CHECK: %[[Y:.*]] = plan.buffer 256
// CHECK: plan.step @add(%{{.*}}, %{{.*}}, %[[Y]], %[[R]]) writes [2]
// CHECK: %[[Z:.*]] = plan.buffer 256
// CHECK: plan.step @add(%[[R]], %{{.*}}, %[[Z]], %[[R]]) writes [2]
plan.program @still_needed entry(#eff.entry<forward, batch = 1, tokens = 1>) {
  %in = plan.input 0 "x" : tensor<64xf32>
  %out = plan.output 0 "y" : tensor<64xf32>
  %w = plan.weight @w
  %r = plan.buffer 256
  plan.step @copy(%in, %r) writes [1]
  %y = plan.buffer 256
  plan.step @add(%in, %w, %y, %r) writes [2]
  %z = plan.buffer 256
  plan.step @add(%r, %w, %z, %r) writes [2]
  plan.step @add(%y, %w, %out, %z) writes [2]
}

// REMARK-DAG: [Passed] ArenaPlanned | Category:plan-memory | Function=turns | ArenaBytes=640, BufferBytes=960, Buffers=3, InPlace=0, LowerBound=640, Reuse=1.50
// REMARK-DAG: [Analysis] Aliases | Category:plan-memory | Function=turns | Remark="offset 0 holds 256 bytes in steps 0-1, then 256 bytes in steps 2-3"
// REMARK-DAG: [Passed] ArenaPlanned | Category:plan-memory | Function=residual | {{.*}}InPlace=1
