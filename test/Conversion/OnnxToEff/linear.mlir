// RUN: effc-opt %s --raise-to-eff="kind=forward tokens=2" -split-input-file | FileCheck %s

// A bias goes into the epilogue; one weight that two nodes read is one symbol.

// CHECK-DAG: eff.weight @w transposed : !eff.weight<3x4, bf16>
// CHECK-DAG: eff.weight @b : !eff.weight<3, f32>
// CHECK-LABEL: func.func @forward_b1
// CHECK: %[[W:.*]] = eff.use @w
// CHECK: %[[B:.*]] = eff.use @b
// CHECK: eff.linear %{{.*}}, %[[W]] extras(%[[B]] : !eff.weight<3, f32>) epilogue {
// CHECK-NEXT: ^bb0(%[[ACC:.*]]: f32, %[[BIAS:.*]]: f32):
// CHECK-NEXT: %[[S:.*]] = arith.addf %[[ACC]], %[[BIAS]] : f32
// CHECK-NEXT: eff.yield %[[S]] : f32
// CHECK: eff.linear %{{.*}}, %[[W]] : tensor<1x2x4xf32>
func.func @main(%x: tensor<1x2x4xf32> {onnx.name = "x"})
    -> (tensor<1x2x3xf32> {onnx.name = "y"}, tensor<1x2x3xf32> {onnx.name = "z"}) {
  %w = onnx.constant "w" dense<0.5> : tensor<4x3xbf16>
  %b = onnx.constant "b" dense<[1.0, 2.0, 3.0]> : tensor<3xf32>
  %wf = onnx.node "Cast"(%w) since 18 {to = 1 : i64} : (tensor<4x3xbf16>) -> tensor<4x3xf32>
  %m = onnx.node "MatMul"(%x, %wf) since 18 : (tensor<1x2x4xf32>, tensor<4x3xf32>) -> tensor<1x2x3xf32>
  %y = onnx.node "Add"(%m, %b) since 18 : (tensor<1x2x3xf32>, tensor<3xf32>) -> tensor<1x2x3xf32>
  %n = onnx.node "Neg"(%x) since 18 : (tensor<1x2x4xf32>) -> tensor<1x2x4xf32>
  %z = onnx.node "MatMul"(%n, %wf) since 18 : (tensor<1x2x4xf32>, tensor<4x3xf32>) -> tensor<1x2x3xf32>
  return %y, %z : tensor<1x2x3xf32>, tensor<1x2x3xf32>
}

// -----

// Gemm as [n, k], with factors, on rows that were flattened for it.

// CHECK-LABEL: func.func @forward_b1
// CHECK: eff.linear %{{.*}} epilogue {
// CHECK: arith.mulf %{{.*}} : f32
// CHECK: } : tensor<1x2x4xf32>, <3x4, f32> -> tensor<1x2x3xf32>
func.func @main(%x: tensor<1x2x4xf32> {onnx.name = "x"}) -> (tensor<2x3xf32> {onnx.name = "y"}) {
  %w = onnx.constant "w" dense<0.5> : tensor<3x4xf32>
  %s = onnx.constant "" dense<[2, 4]> : tensor<2xi64>
  %f = onnx.node "Reshape"(%x, %s) since 18 : (tensor<1x2x4xf32>, tensor<2xi64>) -> tensor<2x4xf32>
  %y = onnx.node "Gemm"(%f, %w) since 18 {transB = 1 : i64, alpha = 0.5 : f32} : (tensor<2x4xf32>, tensor<3x4xf32>) -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}
