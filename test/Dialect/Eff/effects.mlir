// Ops on states and caches keep their number and order; everything else is pure.
// RUN: effc-opt %s -canonicalize -cse | FileCheck %s

// CHECK-LABEL: func.func @stateful
func.func @stateful(%k: tensor<1x1x8xf32>, %c: !eff.cache<2x4, capacity = 8, f32>) -> tensor<1x1x8xf32> {
  // CHECK: eff.cache_append
  // CHECK: eff.attention
  // CHECK: eff.cache_append
  // CHECK: eff.attention
  eff.cache_append %k, %c : tensor<1x1x8xf32>, !eff.cache<2x4, capacity = 8, f32>
  %unused = eff.attention %k, %c, %c {heads = 2, kv_heads = 2, scale = 1.0 : f32}
    : tensor<1x1x8xf32>, !eff.cache<2x4, capacity = 8, f32>, !eff.cache<2x4, capacity = 8, f32>
  eff.cache_append %k, %c : tensor<1x1x8xf32>, !eff.cache<2x4, capacity = 8, f32>
  %y = eff.attention %k, %c, %c {heads = 2, kv_heads = 2, scale = 1.0 : f32}
    : tensor<1x1x8xf32>, !eff.cache<2x4, capacity = 8, f32>, !eff.cache<2x4, capacity = 8, f32>
  return %y : tensor<1x1x8xf32>
}

eff.weight @w : !eff.weight<8x8, f32>

// CHECK-LABEL: func.func @pure
func.func @pure(%x: tensor<1x1x8xf32>) -> (tensor<1x1x8xf32>, tensor<1x1x8xf32>) {
  // CHECK-COUNT-1: eff.use
  // CHECK-COUNT-1: eff.linear
  // CHECK-NOT: eff
  // CHECK: return %[[Y:.*]], %[[Y]]
  %w = eff.use @w : !eff.weight<8x8, f32>
  %v = eff.use @w : !eff.weight<8x8, f32>
  %y = eff.linear %x, %w : tensor<1x1x8xf32>, !eff.weight<8x8, f32> -> tensor<1x1x8xf32>
  %z = eff.linear %x, %v : tensor<1x1x8xf32>, !eff.weight<8x8, f32> -> tensor<1x1x8xf32>
  %unused = eff.linear %z, %v : tensor<1x1x8xf32>, !eff.weight<8x8, f32> -> tensor<1x1x8xf32>
  return %y, %z : tensor<1x1x8xf32>, tensor<1x1x8xf32>
}
