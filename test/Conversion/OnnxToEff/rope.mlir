// RUN: effc-opt %s --raise-to-eff="kind=decode past=1" -split-input-file -verify-diagnostics | FileCheck %s

// x cos + rotate_half(x) sin with the table of position 1; the layout [batch, heads, tokens, width] disappears.

// CHECK: eff.weight @rope.inv_freq : !eff.weight<2, f32> = dense<[1.000000e+00, 0.00999999977]>
// CHECK-LABEL: func.func @decode_b1
// CHECK-SAME: (%[[X:.*]]: tensor<1x1x8xf32>
// CHECK: %[[Y:.*]] = eff.rope %[[X]], %{{.*}} {heads = 2 : i64}
// CHECK-NEXT: return %[[Y]]
func.func @main(%x: tensor<1x1x8xf32> {onnx.name = "x"}) -> (tensor<1x1x8xf32> {onnx.name = "y"}) {
  %cos = onnx.constant "" dense<[[[[0.540302306, 0.999950000, 0.540302306, 0.999950000]]]]> : tensor<1x1x1x4xf32>
  %sin = onnx.constant "" dense<[[[[0.841470985, 0.009999833, 0.841470985, 0.009999833]]]]> : tensor<1x1x1x4xf32>
  %s4 = onnx.constant "" dense<[1, 1, 2, 4]> : tensor<4xi64>
  %s3 = onnx.constant "" dense<[1, 1, 8]> : tensor<3xi64>
  %i0 = onnx.constant "" dense<0> : tensor<1xi64>
  %i2 = onnx.constant "" dense<2> : tensor<1xi64>
  %i3 = onnx.constant "" dense<3> : tensor<1xi64>
  %i4 = onnx.constant "" dense<4> : tensor<1xi64>
  %i1 = onnx.constant "" dense<1> : tensor<1xi64>
  %h = onnx.node "Reshape"(%x, %s4) since 18 : (tensor<1x1x8xf32>, tensor<4xi64>) -> tensor<1x1x2x4xf32>
  %t = onnx.node "Transpose"(%h) since 18 {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x1x2x4xf32>) -> tensor<1x2x1x4xf32>
  %a = onnx.node "Mul"(%t, %cos) since 18 : (tensor<1x2x1x4xf32>, tensor<1x1x1x4xf32>) -> tensor<1x2x1x4xf32>
  %lo = onnx.node "Slice"(%t, %i0, %i2, %i3, %i1) since 18 : (tensor<1x2x1x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x2x1x2xf32>
  %hi = onnx.node "Slice"(%t, %i2, %i4, %i3, %i1) since 18 : (tensor<1x2x1x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x2x1x2xf32>
  %neg = onnx.node "Neg"(%hi) since 18 : (tensor<1x2x1x2xf32>) -> tensor<1x2x1x2xf32>
  %rot = onnx.node "Concat"(%neg, %lo) since 18 {axis = 3 : i64} : (tensor<1x2x1x2xf32>, tensor<1x2x1x2xf32>) -> tensor<1x2x1x4xf32>
  %b = onnx.node "Mul"(%rot, %sin) since 18 : (tensor<1x2x1x4xf32>, tensor<1x1x1x4xf32>) -> tensor<1x2x1x4xf32>
  %r = onnx.node "Add"(%a, %b) since 18 : (tensor<1x2x1x4xf32>, tensor<1x2x1x4xf32>) -> tensor<1x2x1x4xf32>
  %u = onnx.node "Transpose"(%r) since 18 {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x2x1x4xf32>) -> tensor<1x1x2x4xf32>
  %y = onnx.node "Reshape"(%u, %s3) since 18 : (tensor<1x1x2x4xf32>, tensor<3xi64>) -> tensor<1x1x8xf32>
  return %y : tensor<1x1x8xf32>
}

// -----

// Cosines and sines that no frequency makes.

// expected-error@below {{EFF0210: no lowering for 1 operator}}
// expected-note@below {{com.microsoft::RotaryEmbedding (1), 1 node: /rope (the rotary table is not made of one frequency for each pair)}}
// expected-note@below {{try: export}}
func.func @main(%x: tensor<1x1x4xf32> {onnx.name = "x"}) -> (tensor<1x1x4xf32> {onnx.name = "y"}) {
  %ids = onnx.constant "" dense<1> : tensor<1x1xi64>
  %cos = onnx.constant "" dense<[[1.0, 1.0], [0.5, 0.5], [0.9, 0.9]]> : tensor<3x2xf32>
  %sin = onnx.constant "" dense<[[0.0, 0.0], [0.866025404, 0.866025404], [0.435889894, 0.435889894]]> : tensor<3x2xf32>
  %y = onnx.node "RotaryEmbedding"(%x, %ids, %cos, %sin) domain "com.microsoft" since 1 {num_heads = 1 : i64} : (tensor<1x1x4xf32>, tensor<1x1xi64>, tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<1x1x4xf32> loc("/rope")
  return %y : tensor<1x1x4xf32>
}
