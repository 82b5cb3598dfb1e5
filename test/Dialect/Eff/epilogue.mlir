// Constants of an epilogue stay in it, so that it can be compiled by itself.
// RUN: effc-opt %s -canonicalize -cse | FileCheck %s

// CHECK-LABEL: func.func @constants
func.func @constants(%x: tensor<1x2x8xf32>, %w: !eff.weight<4x8, f32>) -> (tensor<1x2x4xf32>, f32) {
  // CHECK: %[[OUTER:.*]] = arith.constant 3.000000e+00 : f32
  %outer = arith.constant 3.0 : f32
  // CHECK: eff.linear
  // CHECK-NEXT: ^bb0(%[[ACC:.*]]: f32):
  // CHECK-NEXT: %[[THREE:.*]] = arith.constant 3.000000e+00 : f32
  // CHECK-NEXT: %[[Y:.*]] = arith.mulf %[[ACC]], %[[THREE]] : f32
  // CHECK-NEXT: eff.yield %[[Y]]
  %y = eff.linear %x, %w epilogue {
  ^bb0(%acc: f32):
    %one = arith.constant 1.0 : f32
    %two = arith.constant 2.0 : f32
    %three = arith.addf %one, %two : f32
    %0 = arith.mulf %acc, %three : f32
    eff.yield %0 : f32
  } : tensor<1x2x8xf32>, !eff.weight<4x8, f32> -> tensor<1x2x4xf32>
  return %y, %outer : tensor<1x2x4xf32>, f32
}
