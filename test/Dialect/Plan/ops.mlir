// RUN: effc-opt %s | effc-opt | FileCheck %s
// RUN: effc-opt %s --mlir-print-op-generic | effc-opt | FileCheck %s

eff.weight @w : !eff.weight<16x8, f32, panel16>
eff.weight @b : !eff.weight<16, f32>
eff.state @conv : !eff.state<conv, 3x16, f32>

// CHECK: plan.kernel @lin "linear_f32" {extra0_ld = 0 : i64, extras = 1 : i64, k = 8 : i64,
// CHECK-SAME: epilogue {
// CHECK: plan.yield %{{.*}} : f32
plan.kernel @lin "linear_f32" {extra0_ld = 0, extras = 1, k = 8, ldx = 8, ldy = 16, n = 16, rows = 1} epilogue {
^bb0(%acc: f32, %bias: f32):
  %0 = arith.addf %acc, %bias : f32
  plan.yield %0 : f32
}
// CHECK: plan.kernel @conv1d "causal_conv1d" {batch = 1 : i64
plan.kernel @conv1d "causal_conv1d" {batch = 1, channels = 16, kernel = 4, ldx = 16, ldy = 16, silu = 1, tokens = 1}
// CHECK: plan.generic @double scratch(64) {
// CHECK: plan.yield %{{.*}} : tensor<16xf32>
plan.generic @double scratch(64) {
^bb0(%x: tensor<16xf32>):
  %0 = arith.addf %x, %x : tensor<16xf32>
  plan.yield %0 : tensor<16xf32>
}

// CHECK-LABEL: plan.program @forward_b1 entry(<forward, batch = 1, tokens = 1>) arena(448) {
plan.program @forward_b1 entry(#eff.entry<forward, batch = 1, tokens = 1>) arena(448) {
  // CHECK: %[[X:.*]] = plan.input 0 "x" : tensor<1x1x8xf32>
  %x = plan.input 0 "x" : tensor<1x1x8xf32>
  // CHECK: %[[Y:.*]] = plan.output 0 "y" : tensor<1x1x16xf32>
  %y = plan.output 0 "y" : tensor<1x1x16xf32>
  // CHECK: %[[W:.*]] = plan.weight @w
  %w = plan.weight @w
  %b = plan.weight @b
  // CHECK: %[[S:.*]] = plan.state @conv
  %s = plan.state @conv
  // CHECK: %[[NULL:.*]] = plan.null
  %null = plan.null
  // CHECK: %[[T:.*]] = plan.buffer 64 at 0
  %t = plan.buffer 64 at 0
  // CHECK: %[[U:.*]] = plan.buffer 96 at 128
  %u = plan.buffer 96 at 128
  // CHECK: %[[V:.*]] = plan.view %[[U]][32]
  %v = plan.view %u[32]
  %scratch = plan.buffer 64 at 320
  // CHECK: plan.step @lin(%[[X]], %[[W]], %[[T]], %{{.*}}) writes [2] flops(256) bytes(576)
  plan.step @lin(%x, %w, %t, %b) writes [2] flops(256) bytes(576)
  // CHECK: plan.step @conv1d(%[[T]], %[[W]], %[[NULL]], %[[S]], %[[V]], %[[NULL]], %[[NULL]]) writes [3, 4]
  plan.step @conv1d(%t, %w, %null, %s, %v, %null, %null) writes [3, 4]
  plan.step @double(%v, %y, %scratch) writes [1, 2]
}
