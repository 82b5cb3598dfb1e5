// RUN: effc-opt %s -convert-onnx-to-linalg -split-input-file | FileCheck %s

// Products of 16-bit floats are summed in f32.
// CHECK-LABEL: func @matmul(
func.func @matmul(%a: tensor<2x3x4xbf16>, %b: tensor<4x5xbf16>) -> tensor<2x3x5xbf16> {
  // CHECK: linalg.generic {{.*}}iterator_types = ["parallel", "parallel", "parallel", "reduction"]
  // CHECK-SAME: outs(%{{.*}} : tensor<2x3x5xf32>)
  // CHECK: arith.extf
  // CHECK: arith.mulf
  // CHECK: arith.addf
  // CHECK: arith.truncf %{{.*}} : tensor<2x3x5xf32> to tensor<2x3x5xbf16>
  %y = onnx.node "MatMul"(%a, %b) since 13 : (tensor<2x3x4xbf16>, tensor<4x5xbf16>) -> tensor<2x3x5xbf16>
  return %y : tensor<2x3x5xbf16>
}

// -----

// A window that slides is a sum of two loops in one index.
// CHECK: affine_map<(d0, d1, d2, d3, d4) -> (d0, d3, d2 * 2 + d4)>
// CHECK-LABEL: func @conv(
func.func @conv(%x: tensor<1x2x7xf32>, %w: tensor<3x2x3xf32>) -> tensor<1x3x4xf32> {
  // CHECK: tensor.pad %{{.*}} low[0, 0, 1] high[0, 0, 1]
  // CHECK: linalg.generic
  %y = onnx.node "Conv"(%x, %w) since 11 {pads = array<i64: 1, 1>, strides = array<i64: 2>}
    : (tensor<1x2x7xf32>, tensor<3x2x3xf32>) -> tensor<1x3x4xf32>
  return %y : tensor<1x3x4xf32>
}

// -----

// Before version 13 Softmax makes one dimension of all from the axis on.
// CHECK-LABEL: func @softmax11(
// CHECK: tensor.collapse_shape %{{.*}} : tensor<2x3x4xf32> into tensor<2x12xf32>
// CHECK: linalg.reduce
func.func @softmax11(%x: tensor<2x3x4xf32>) -> tensor<2x3x4xf32> {
  %y = onnx.node "Softmax"(%x) since 11 {axis = 1 : i64} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  return %y : tensor<2x3x4xf32>
}

// -----

// CHECK-LABEL: func @softmax13(
// CHECK-NOT: tensor<2x12xf32>
// CHECK: linalg.reduce {{.*}} dimensions = [1]
func.func @softmax13(%x: tensor<2x3x4xf32>) -> tensor<2x3x4xf32> {
  %y = onnx.node "Softmax"(%x) since 13 {axis = 1 : i64} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  return %y : tensor<2x3x4xf32>
}
