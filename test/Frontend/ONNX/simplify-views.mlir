// RUN: effc-opt %s -onnx-simplify -split-input-file | FileCheck %s

// Shape arithmetic goes; Unsqueeze, Squeeze and Flatten are Reshapes.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<2x3x4xf32>)
// CHECK: %[[A:.*]] = onnx.constant "" dense<[2, 12]> : tensor<2xi64>
// CHECK: %[[FLAT:.*]] = onnx.node "Reshape"(%[[X]], %[[A]]) since 18 : (tensor<2x3x4xf32>, tensor<2xi64>) -> tensor<2x12xf32>
// CHECK: %[[B:.*]] = onnx.constant "" dense<[2, 1, 12]> : tensor<3xi64>
// CHECK: %[[UP:.*]] = onnx.node "Reshape"(%[[FLAT]], %[[B]]) since 18 : {{.*}} -> tensor<2x1x12xf32>
// CHECK: return %[[UP]] : tensor<2x1x12xf32>
module {
  func.func @main(%x: tensor<2x3x4xf32>) -> tensor<*xf32> {
    %s = onnx.node "Shape"(%x) since 17 : (tensor<2x3x4xf32>) -> tensor<*xi64>
    %zero = onnx.constant "" dense<0> : tensor<i64>
    %n = onnx.node "Gather"(%s, %zero) since 17 : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
    %axes0 = onnx.constant "" dense<0> : tensor<1xi64>
    %n1 = onnx.node "Unsqueeze"(%n, %axes0) since 17 : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
    %rest = onnx.constant "" dense<-1> : tensor<1xi64>
    %shape = onnx.node "Concat"(%n1, %rest) since 17 {axis = 0 : i64} : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
    %flat = onnx.node "Reshape"(%x, %shape) since 17 : (tensor<2x3x4xf32>, tensor<*xi64>) -> tensor<*xf32>
    %axes1 = onnx.constant "" dense<-2> : tensor<1xi64>
    %up = onnx.node "Unsqueeze"(%flat, %axes1) since 17 : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
    return %up : tensor<*xf32>
  }
}

// -----

// What changes nothing goes.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<2x3xf32>)
// CHECK-NEXT: return %[[X]]
module {
  func.func @main(%x: tensor<2x3xf32>) -> tensor<*xf32> {
    %a = onnx.node "Identity"(%x) since 18 : (tensor<2x3xf32>) -> tensor<*xf32>
    %b = onnx.node "Transpose"(%a) since 18 {perm = array<i64: 0, 1>} : (tensor<*xf32>) -> tensor<*xf32>
    %c = onnx.node "Cast"(%b) since 18 {to = 1 : i64} : (tensor<*xf32>) -> tensor<*xf32>
    %one = onnx.constant "" dense<1> : tensor<2xi64>
    %d = onnx.node "Expand"(%c, %one) since 18 : (tensor<*xf32>, tensor<2xi64>) -> tensor<*xf32>
    %start = onnx.constant "" dense<0> : tensor<1xi64>
    %end = onnx.constant "" dense<9223372036854775807> : tensor<1xi64>
    %e = onnx.node "Slice"(%d, %start, %end) since 18 : (tensor<*xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
    %f = onnx.node "Concat"(%e) since 18 {axis = 0 : i64} : (tensor<*xf32>) -> tensor<*xf32>
    %g:2 = onnx.node "Dropout"(%f) since 18 : (tensor<*xf32>) -> (tensor<*xf32>, none)
    return %g#0 : tensor<*xf32>
  }
}

// -----

// Slices have all five operands, clamped; Split has sizes.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<7x6xf32>)
// CHECK: onnx.node "Slice"(%[[X]], %{{.*}}) since 18 : (tensor<7x6xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<4x6xf32>
// CHECK: %[[SIZES:.*]] = onnx.constant "" dense<3> : tensor<2xi64>
// CHECK: onnx.node "Split"({{.*}}, %[[SIZES]]) since 18 {axis = 1 : i64}
module {
  func.func @main(%x: tensor<7x6xf32>) -> (tensor<*xf32>, tensor<*xf32>) {
    %r = onnx.node "Slice"(%x) since 9 {starts = array<i64: -4>, ends = array<i64: 100>} : (tensor<7x6xf32>) -> tensor<*xf32>
    %s:2 = onnx.node "Split"(%r) since 11 {axis = -1 : i64} : (tensor<*xf32>) -> (tensor<*xf32>, tensor<*xf32>)
    return %s#0, %s#1 : tensor<*xf32>, tensor<*xf32>
  }
}
