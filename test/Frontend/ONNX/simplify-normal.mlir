// RUN: effc-opt %s -onnx-simplify -split-input-file | FileCheck %s

// Reductions have their axes as a constant operand and say keepdims.
// CHECK-LABEL: func.func @main
// CHECK: %[[AXES:.*]] = onnx.constant "" dense<[0, 2]> : tensor<2xi64>
// CHECK: onnx.node "ReduceMean"(%{{.*}}, %[[AXES]]) since 18 {keepdims = 0 : i64} : {{.*}} -> tensor<3xf32>
module {
  func.func @main(%x: tensor<2x3x4xf32>) -> tensor<*xf32> {
    %y = onnx.node "ReduceMean"(%x) since 13 {axes = array<i64: -1, 0>, keepdims = 0 : i64} : (tensor<2x3x4xf32>) -> tensor<*xf32>
    return %y : tensor<*xf32>
  }
}

// -----

// Before opset 13 Softmax flattens to a matrix at its axis.
// CHECK-LABEL: func.func @main
// CHECK: %[[FLAT:.*]] = onnx.node "Reshape"{{.*}} -> tensor<2x12xf32>
// CHECK: %[[SOFT:.*]] = onnx.node "Softmax"(%[[FLAT]]) since 18 {axis = 1 : i64}
// CHECK: onnx.node "Reshape"(%[[SOFT]]{{.*}} -> tensor<2x3x4xf32>
module {
  func.func @main(%x: tensor<2x3x4xf32>) -> tensor<*xf32> {
    %y = onnx.node "Softmax"(%x) since 11 : (tensor<2x3x4xf32>) -> tensor<*xf32>
    return %y : tensor<*xf32>
  }
}

// -----

// Opset 6 aligns the second operand at an axis of the first.
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[X:.*]]: tensor<2x3x4xf32>, %[[B:.*]]: tensor<3xf32>)
// CHECK: %[[VIEW:.*]] = onnx.node "Reshape"(%[[B]], %{{.*}}) since 18 : (tensor<3xf32>, tensor<2xi64>) -> tensor<3x1xf32>
// CHECK: onnx.node "Add"(%[[X]], %[[VIEW]]) since 18 : (tensor<2x3x4xf32>, tensor<3x1xf32>) -> tensor<2x3x4xf32>
module {
  func.func @main(%x: tensor<2x3x4xf32>, %b: tensor<3xf32>) -> tensor<*xf32> {
    %y = onnx.node "Add"(%x, %b) since 6 {axis = 1 : i64, broadcast = 1 : i64} : (tensor<2x3x4xf32>, tensor<3xf32>) -> tensor<*xf32>
    return %y : tensor<*xf32>
  }
}

// -----

// The ellipsis of an Einsum is written out.
// CHECK-LABEL: func.func @main
// CHECK: onnx.node "Einsum"(%{{.*}}, %{{.*}}) since 18 {equation = "Aij,Ajk->Aik"} : {{.*}} -> tensor<5x2x4xf32>
module {
  func.func @main(%x: tensor<5x2x3xf32>, %y: tensor<5x3x4xf32>) -> tensor<*xf32> {
    %z = onnx.node "Einsum"(%x, %y) since 12 {equation = "...ij, ...jk -> ...ik"} : (tensor<5x2x3xf32>, tensor<5x3x4xf32>) -> tensor<*xf32>
    return %z : tensor<*xf32>
  }
}

// -----

// A Scan stays; types are found inside and behind it.
// CHECK-LABEL: func.func @main
// CHECK: onnx.node "Scan"
// CHECK-SAME: -> (tensor<8xf32>, tensor<5x8xf32>)
// CHECK: ^bb0(%{{.*}}: tensor<8xf32>, %{{.*}}: tensor<8xf32>):
// CHECK: onnx.yield %{{.*}}, %{{.*}} : tensor<8xf32>, tensor<8xf32>
module {
  func.func @main(%s: tensor<8xf32>, %x: tensor<5x8xf32>) -> (tensor<*xf32>, tensor<*xf32>) {
    %r:2 = onnx.node "Scan"(%s, %x) since 18 graphs ["body"] {num_scan_inputs = 1 : i64}
        : (tensor<8xf32>, tensor<5x8xf32>) -> (tensor<*xf32>, tensor<*xf32>) {
    ^bb0(%a: tensor<*xf32>, %b: tensor<*xf32>):
      %c = onnx.node "Add"(%a, %b) since 18 : (tensor<*xf32>, tensor<*xf32>) -> tensor<*xf32>
      onnx.yield %c, %c : tensor<*xf32>, tensor<*xf32>
    }
    return %r#0, %r#1 : tensor<*xf32>, tensor<*xf32>
  }
}

// -----

// The mask of the tokens, read at computed places and joined with what is always true: a view.

// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[M:.*]]: tensor<2x3xi1>)
// CHECK: %[[R:.*]] = onnx.node "Reshape"(%[[M]], %{{.*}}) {{.*}} -> tensor<2x1x3xi1>
// CHECK: %[[E:.*]] = onnx.node "Expand"(%[[R]], %{{.*}}) {{.*}} -> tensor<2x2x3xi1>
// CHECK-NOT: onnx.node
// CHECK: return %[[E]]
func.func @main(%m: tensor<2x3xi1>) -> tensor<2x2x3xi1> {
  %places = onnx.constant "" dense<[[[[0, 0], [0, 1], [0, 2]]], [[[1, 0], [1, 1], [1, -1]]]]> : tensor<2x1x3x2xi64>
  %true = onnx.constant "" dense<true> : tensor<1x2x1xi1>
  %g = onnx.node "GatherND"(%m, %places) since 13 : (tensor<2x3xi1>, tensor<2x1x3x2xi64>) -> tensor<2x1x3xi1>
  %a = onnx.node "And"(%true, %g) since 7 : (tensor<1x2x1xi1>, tensor<2x1x3xi1>) -> tensor<2x2x3xi1>
  return %a : tensor<2x2x3xi1>
}
