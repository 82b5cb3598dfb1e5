// RUN: effc-opt %s --eff-fuse-epilogue -split-input-file | FileCheck %s

// A bias, an activation and a residual all move inside.
// CHECK-LABEL: func.func @mlp
// CHECK-SAME: %[[X:.*]]: tensor<1x2x4xf32>, %[[R:.*]]: tensor<1x2x8xf32>
// CHECK: %[[Y:.*]] = eff.linear %[[X]], %{{.*}} extras(%{{.*}}, %[[R]] : !eff.weight<8, f32>, tensor<1x2x8xf32>)
// CHECK-SAME: epilogue
// CHECK: ^bb0(%[[ACC:.*]]: f32, %[[BIAS:.*]]: f32, %[[RES:.*]]: f32):
// CHECK: %[[A:.*]] = arith.addf %[[ACC]], %[[BIAS]] : f32
// CHECK: %[[T:.*]] = math.tanh %[[A]] : f32
// CHECK: %[[S:.*]] = arith.addf %[[T]], %[[RES]] : f32
// CHECK: eff.yield %[[S]] : f32
// CHECK: return %[[Y]]
eff.weight @w : !eff.weight<8x4, f32>
eff.weight @b : !eff.weight<8, f32>
func.func @mlp(%x: tensor<1x2x4xf32>, %r: tensor<1x2x8xf32>) -> tensor<1x2x8xf32> {
  %w = eff.use @w : !eff.weight<8x4, f32>
  %b = eff.use @b : !eff.weight<8, f32>
  %0 = eff.linear %x, %w extras(%b : !eff.weight<8, f32>) epilogue {
  ^bb0(%acc: f32, %bias: f32):
    %s = arith.addf %acc, %bias : f32
    eff.yield %s : f32
  } : tensor<1x2x4xf32>, !eff.weight<8x4, f32> -> tensor<1x2x8xf32>
  %1 = math.tanh %0 : tensor<1x2x8xf32>
  %2 = arith.addf %1, %r : tensor<1x2x8xf32>
  return %2 : tensor<1x2x8xf32>
}

// -----

// SiLU reads the result twice; the gate's product ends the epilogue. The splat is cloned inside.
// CHECK-LABEL: func.func @gate
// CHECK: %[[UP:.*]] = eff.linear
// CHECK: %[[Y:.*]] = eff.linear {{.*}} extras(%[[UP]] : tensor<1x2x8xf32>) epilogue
// CHECK: ^bb0(%[[ACC:.*]]: f32, %[[U:.*]]: f32):
// CHECK: arith.negf %[[ACC]] : f32
// CHECK: math.exp
// CHECK: arith.constant 1.000000e+00 : f32
// CHECK: %[[SILU:.*]] = arith.divf %[[ACC]], %{{.*}} : f32
// CHECK: %[[P:.*]] = arith.mulf %[[SILU]], %[[U]] : f32
// CHECK: eff.yield %[[P]]
// CHECK-NOT: arith.mulf
// CHECK: return %[[Y]]
eff.weight @g : !eff.weight<8x4, f32>
eff.weight @u : !eff.weight<8x4, f32>
func.func @gate(%x: tensor<1x2x4xf32>) -> tensor<1x2x8xf32> {
  %one = arith.constant dense<1.0> : tensor<1x2x8xf32>
  %g = eff.use @g : !eff.weight<8x4, f32>
  %u = eff.use @u : !eff.weight<8x4, f32>
  %0 = eff.linear %x, %g : tensor<1x2x4xf32>, !eff.weight<8x4, f32> -> tensor<1x2x8xf32>
  %1 = eff.linear %x, %u : tensor<1x2x4xf32>, !eff.weight<8x4, f32> -> tensor<1x2x8xf32>
  %2 = arith.negf %0 : tensor<1x2x8xf32>
  %3 = math.exp %2 : tensor<1x2x8xf32>
  %4 = arith.addf %3, %one : tensor<1x2x8xf32>
  %5 = arith.divf %0, %4 : tensor<1x2x8xf32>
  %6 = arith.mulf %5, %1 : tensor<1x2x8xf32>
  return %6 : tensor<1x2x8xf32>
}

// -----

// A weight vector that is broadcast over the rows becomes a vector extra.
// CHECK-LABEL: func.func @broadcast
// CHECK: %[[B:.*]] = eff.use @b
// CHECK: eff.linear {{.*}} extras(%[[B]] : !eff.weight<8, f32>) epilogue
eff.weight @w : !eff.weight<8x4, f32>
eff.weight @b : !eff.weight<8, f32>
func.func @broadcast(%x: tensor<1x2x4xf32>) -> tensor<1x2x8xf32> {
  %w = eff.use @w : !eff.weight<8x4, f32>
  %b = eff.use @b : !eff.weight<8, f32>
  %v = eff.read %b : !eff.weight<8, f32> -> tensor<8xf32>
  %e = tensor.empty() : tensor<1x2x8xf32>
  %0 = eff.linear %x, %w : tensor<1x2x4xf32>, !eff.weight<8x4, f32> -> tensor<1x2x8xf32>
  %1 = linalg.broadcast ins(%v : tensor<8xf32>) outs(%e : tensor<1x2x8xf32>) dimensions = [0, 1]
  %2 = arith.addf %0, %1 : tensor<1x2x8xf32>
  return %2 : tensor<1x2x8xf32>
}
