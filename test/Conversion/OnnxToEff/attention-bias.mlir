// RUN: effc-opt %s --raise-to-eff="kind=forward" -split-input-file -verify-diagnostics | FileCheck %s

// Shifted windows: a bias for each head and a mask for each window become one table, whose batch is that of the windows.

// CHECK: eff.weight @attention.bias : !eff.weight<2x1x2x2, f32> = dense<
// CHECK-SAME{LITERAL}: [[[[1.000000e+00, -9.800000e+01], [-9.700000e+01, 4.000000e+00]]], [[[1.000000e+00, 2.000000e+00], [3.000000e+00, 4.000000e+00]]]]
// CHECK-LABEL: func.func @forward_b1
// CHECK-SAME: (%[[X:.*]]: tensor<4x2x4xf32>
// CHECK: %[[BIAS:.*]] = eff.read %{{.*}} : <2x1x2x2, f32> -> tensor<2x1x2x2xf32>
// CHECK: eff.attention %[[X]], %[[X]], %[[X]] bias %[[BIAS]] {heads = 1 : i64, kv_heads = 1 : i64, scale = 5.000000e-01 : f32}
func.func @main(%x: tensor<4x2x4xf32> {onnx.name = "x"}) -> (tensor<4x1x2x4xf32> {onnx.name = "y"}) {
  %heads = onnx.constant "" dense<[4, 1, 2, 4]> : tensor<4xi64>
  %windows = onnx.constant "" dense<[2, 2, 1, 2, 2]> : tensor<5xi64>
  %flat = onnx.constant "" dense<[4, 1, 2, 2]> : tensor<4xi64>
  %half = onnx.constant "" dense<0.5> : tensor<f32>
  %relative = onnx.constant "" dense<[[[[1.0, 2.0], [3.0, 4.0]]]]> : tensor<1x1x2x2xf32>
  %shifted = onnx.constant "" dense<[[[[[0.0, -100.0], [-100.0, 0.0]]], [[[0.0, 0.0], [0.0, 0.0]]]]]> : tensor<1x2x1x2x2xf32>
  %q = onnx.node "Reshape"(%x, %heads) since 18 : (tensor<4x2x4xf32>, tensor<4xi64>) -> tensor<4x1x2x4xf32>
  %k = onnx.node "Transpose"(%q) since 18 {perm = array<i64: 0, 1, 3, 2>} : (tensor<4x1x2x4xf32>) -> tensor<4x1x4x2xf32>
  %s = onnx.node "MatMul"(%q, %k) since 18 : (tensor<4x1x2x4xf32>, tensor<4x1x4x2xf32>) -> tensor<4x1x2x2xf32>
  %t = onnx.node "Mul"(%s, %half) since 18 : (tensor<4x1x2x2xf32>, tensor<f32>) -> tensor<4x1x2x2xf32>
  %u = onnx.node "Add"(%t, %relative) since 18 : (tensor<4x1x2x2xf32>, tensor<1x1x2x2xf32>) -> tensor<4x1x2x2xf32>
  %v = onnx.node "Reshape"(%u, %windows) since 18 : (tensor<4x1x2x2xf32>, tensor<5xi64>) -> tensor<2x2x1x2x2xf32>
  %w = onnx.node "Add"(%v, %shifted) since 18 : (tensor<2x2x1x2x2xf32>, tensor<1x2x1x2x2xf32>) -> tensor<2x2x1x2x2xf32>
  %z = onnx.node "Reshape"(%w, %flat) since 18 : (tensor<2x2x1x2x2xf32>, tensor<4xi64>) -> tensor<4x1x2x2xf32>
  %p = onnx.node "Softmax"(%z) since 18 {axis = -1 : i64} : (tensor<4x1x2x2xf32>) -> tensor<4x1x2x2xf32>
  %y = onnx.node "MatMul"(%p, %q) since 18 : (tensor<4x1x2x2xf32>, tensor<4x1x2x4xf32>) -> tensor<4x1x2x4xf32>
  return %y : tensor<4x1x2x4xf32>
}

// -----

// A mask of the tokens, which each call brings: as small as it is.

// CHECK-LABEL: func.func @forward_b1
// CHECK-SAME: tensor<2x3xi1>
// CHECK: %[[BIAS:.*]] = tensor.collapse_shape %{{.*}} : tensor<1x2x1x1x3xf32> into tensor<2x1x1x3xf32>
// CHECK: eff.attention %{{.*}}, %{{.*}}, %{{.*}} bias %[[BIAS]] {heads = 1 : i64, kv_heads = 1 : i64, scale = 1.000000e+00 : f32}
func.func @main(%x: tensor<2x3x4xf32> {onnx.name = "x"}, %m: tensor<2x3xi1> {onnx.name = "mask"})
    -> (tensor<2x1x3x4xf32> {onnx.name = "y"}) {
  %heads = onnx.constant "" dense<[2, 1, 3, 4]> : tensor<4xi64>
  %rows = onnx.constant "" dense<[2, 1, 1, 3]> : tensor<4xi64>
  %all = onnx.constant "" dense<[2, 1, 3, 3]> : tensor<4xi64>
  %zero = onnx.constant "" dense<0.0> : tensor<f32>
  %low = onnx.constant "" dense<-3.4e38> : tensor<f32>
  %q = onnx.node "Reshape"(%x, %heads) since 18 : (tensor<2x3x4xf32>, tensor<4xi64>) -> tensor<2x1x3x4xf32>
  %k = onnx.node "Transpose"(%q) since 18 {perm = array<i64: 0, 1, 3, 2>} : (tensor<2x1x3x4xf32>) -> tensor<2x1x4x3xf32>
  %s = onnx.node "MatMul"(%q, %k) since 18 : (tensor<2x1x3x4xf32>, tensor<2x1x4x3xf32>) -> tensor<2x1x3x3xf32>
  %c = onnx.node "Reshape"(%m, %rows) since 18 : (tensor<2x3xi1>, tensor<4xi64>) -> tensor<2x1x1x3xi1>
  %d = onnx.node "Expand"(%c, %all) since 18 : (tensor<2x1x1x3xi1>, tensor<4xi64>) -> tensor<2x1x3x3xi1>
  %b = onnx.node "Where"(%d, %zero, %low) since 18 : (tensor<2x1x3x3xi1>, tensor<f32>, tensor<f32>) -> tensor<2x1x3x3xf32>
  %t = onnx.node "Add"(%s, %b) since 18 : (tensor<2x1x3x3xf32>, tensor<2x1x3x3xf32>) -> tensor<2x1x3x3xf32>
  %p = onnx.node "Softmax"(%t) since 18 {axis = -1 : i64} : (tensor<2x1x3x3xf32>) -> tensor<2x1x3x3xf32>
  %y = onnx.node "MatMul"(%p, %q) since 18 : (tensor<2x1x3x3xf32>, tensor<2x1x3x4xf32>) -> tensor<2x1x3x4xf32>
  return %y : tensor<2x1x3x4xf32>
}
