// RUN: effc-opt %s -convert-onnx-to-linalg | FileCheck %s

// The steps of a Scan follow one another.
// CHECK-LABEL: func @main(
func.func @main(%init: tensor<2xf32>, %x: tensor<3x2xf32>) -> (tensor<2xf32>, tensor<3x2xf32>) {
  // CHECK-COUNT-3: arith.addf %{{.*}} : tensor<2xf32>
  // CHECK-NOT: arith.addf
  // CHECK: tensor.concat dim(0)
  %r:2 = onnx.node "Scan"(%init, %x) since 11 graphs ["body"] {num_scan_inputs = 1 : i64}
    : (tensor<2xf32>, tensor<3x2xf32>) -> (tensor<2xf32>, tensor<3x2xf32>) {
  ^bb0(%sum: tensor<2xf32>, %next: tensor<2xf32>):
    %y = onnx.node "Add"(%sum, %next) since 14 : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
    onnx.yield %y, %y : tensor<2xf32>, tensor<2xf32>
  }
  return %r#0, %r#1 : tensor<2xf32>, tensor<3x2xf32>
}
