// RUN: effc-opt %s -convert-onnx-to-linalg -split-input-file | FileCheck %s

// CHECK-LABEL: func @slice(
func.func @slice(%x: tensor<2x8xf32>) -> tensor<2x3xf32> {
  // CHECK: tensor.extract_slice %{{.*}}[0, 1] [2, 3] [1, 2] : tensor<2x8xf32> to tensor<2x3xf32>
  %starts = onnx.constant "" dense<1> : tensor<1xi64>
  %axes = onnx.constant "" dense<-1> : tensor<1xi64>
  %two = onnx.constant "" dense<2> : tensor<1xi64>
  %six = onnx.constant "" dense<6> : tensor<1xi64>
  %y = onnx.node "Slice"(%x, %starts, %six, %axes, %two) since 13
    : (tensor<2x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}

// -----

// Backwards there is no slice; the elements are read one by one.
// CHECK-LABEL: func @backwards(
func.func @backwards(%x: tensor<4xf32>) -> tensor<4xf32> {
  // CHECK: linalg.generic
  // CHECK: linalg.index 0
  // CHECK: tensor.extract
  %start = onnx.constant "" dense<-1> : tensor<1xi64>
  %end = onnx.constant "" dense<-9223372036854775808> : tensor<1xi64>
  %axis = onnx.constant "" dense<0> : tensor<1xi64>
  %step = onnx.constant "" dense<-1> : tensor<1xi64>
  %y = onnx.node "Slice"(%x, %start, %end, %axis, %step) since 13
    : (tensor<4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

// Known neighbours are a slice as well.
// CHECK-LABEL: func @gather(
func.func @gather(%x: tensor<2x8xf32>) -> tensor<2xf32> {
  // CHECK: tensor.extract_slice %{{.*}}[0, 7] [2, 1] [1, 1]
  // CHECK: tensor.collapse_shape
  // CHECK-NOT: linalg
  %last = onnx.constant "" dense<-1> : tensor<i64>
  %y = onnx.node "Gather"(%x, %last) since 13 {axis = 1 : i64} : (tensor<2x8xf32>, tensor<i64>) -> tensor<2xf32>
  return %y : tensor<2xf32>
}

// -----

// CHECK-LABEL: func @moves(
func.func @moves(%x: tensor<2x6xf32>) -> (tensor<3x2x2xf32>, tensor<2x2xf32>, tensor<2x4xf32>) {
  // CHECK: tensor.expand_shape
  // CHECK: linalg.transpose
  // CHECK: tensor.extract_slice %{{.*}}[0, 0] [2, 2] [1, 1]
  // CHECK: tensor.extract_slice %{{.*}}[0, 2] [2, 4] [1, 1]
  %shape = onnx.constant "" dense<[2, 2, 3]> : tensor<3xi64>
  %none = onnx.none
  %a = onnx.node "Reshape"(%x, %shape) since 14 : (tensor<2x6xf32>, tensor<3xi64>) -> tensor<2x2x3xf32>
  %b = onnx.node "Transpose"(%a) since 13 {perm = array<i64: 2, 0, 1>} : (tensor<2x2x3xf32>) -> tensor<3x2x2xf32>
  %sizes = onnx.constant "" dense<[2, 4]> : tensor<2xi64>
  %c:2 = onnx.node "Split"(%x, %sizes) since 13 {axis = 1 : i64}
    : (tensor<2x6xf32>, tensor<2xi64>) -> (tensor<2x2xf32>, tensor<2x4xf32>)
  return %b, %c#0, %c#1 : tensor<3x2x2xf32>, tensor<2x2xf32>, tensor<2x4xf32>
}
