// RUN: effc-opt %s -eff-cancel-uniform -split-input-file | FileCheck %s

eff.weight @w : !eff.weight<4, f32> = dense<1.0> : tensor<4xf32>

// CHECK-LABEL: @sum
// CHECK-SAME: %{{.*}}: tensor<1x2x1xf32>, %[[V:.*]]: tensor<1x2x4xf32>
func.func @sum(%g: tensor<1x2x1xf32>, %v: tensor<1x2x4xf32>) -> tensor<1x2x4xf32> {
  %w = eff.use @w : !eff.weight<4, f32>
  %e = eff.expand_channels %g : tensor<1x2x1xf32> -> tensor<1x2x4xf32>
  %s = arith.addf %e, %v : tensor<1x2x4xf32>
  // CHECK: eff.layer_norm %[[V]]
  %y = eff.layer_norm %s, %w {eps = 1.0e-5 : f32} : tensor<1x2x4xf32>, !eff.weight<4, f32>
  return %y : tensor<1x2x4xf32>
}

// -----

eff.weight @w : !eff.weight<4, f32> = dense<1.0> : tensor<4xf32>
eff.weight @b : !eff.weight<4, f32> = dense<2.0> : tensor<4xf32>

// All features are one number: what is left is the bias.
// CHECK-LABEL: @uniform
func.func @uniform(%g: tensor<1x2x1xf32>) -> tensor<1x2x4xf32> {
  %w = eff.use @w : !eff.weight<4, f32>
  %b = eff.use @b : !eff.weight<4, f32>
  %e = eff.expand_channels %g : tensor<1x2x1xf32> -> tensor<1x2x4xf32>
  // CHECK-NOT: eff.layer_norm
  // CHECK: %[[R:.*]] = eff.read
  // CHECK: linalg.broadcast ins(%[[R]]
  %y = eff.layer_norm %e, %w bias %b {eps = 1.0e-5 : f32} : tensor<1x2x4xf32>, !eff.weight<4, f32>, !eff.weight<4, f32>
  return %y : tensor<1x2x4xf32>
}

// -----

eff.weight @w : !eff.weight<4, f32> = dense<1.0> : tensor<4xf32>

// CHECK-LABEL: @kept
func.func @kept(%g: tensor<1x2x1xf32>, %v: tensor<1x2x4xf32>) -> (tensor<1x2x4xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>) {
  %w = eff.use @w : !eff.weight<4, f32>
  %e = eff.expand_channels %g : tensor<1x2x1xf32> -> tensor<1x2x4xf32>
  // CHECK: %[[S:.*]] = arith.addf
  %s = arith.addf %e, %v : tensor<1x2x4xf32>
  // No mean is subtracted.
  // CHECK: eff.rms_norm %[[S]]
  %r = eff.rms_norm %s, %w {eps = 1.0e-5 : f32} : tensor<1x2x4xf32>, !eff.weight<4, f32>
  // The gate makes it differ.
  // CHECK: %[[P:.*]] = arith.mulf %[[S]]
  // CHECK: eff.layer_norm %[[P]]
  %p = arith.mulf %s, %v : tensor<1x2x4xf32>
  %y = eff.layer_norm %p, %w {eps = 1.0e-5 : f32} : tensor<1x2x4xf32>, !eff.weight<4, f32>
  // Two scans of two features each: not the same in all four.
  // CHECK: %[[H:.*]] = eff.expand_channels
  // CHECK: eff.layer_norm %[[H]]
  %two = tensor.concat dim(2) %g, %g : (tensor<1x2x1xf32>, tensor<1x2x1xf32>) -> tensor<1x2x2xf32>
  %h = eff.expand_channels %two : tensor<1x2x2xf32> -> tensor<1x2x4xf32>
  %z = eff.layer_norm %h, %w {eps = 1.0e-5 : f32} : tensor<1x2x4xf32>, !eff.weight<4, f32>
  return %r, %y, %z : tensor<1x2x4xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>
}
