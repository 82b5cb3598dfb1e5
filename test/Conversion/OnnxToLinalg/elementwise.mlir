// RUN: effc-opt %s -convert-onnx-to-linalg -split-input-file | FileCheck %s

// Operands of one shape stay ops on tensors.
// CHECK-LABEL: func @same(
// CHECK-SAME: %[[X:.*]]: tensor<2x3xf32>, %[[Y:.*]]: tensor<2x3xf32>
func.func @same(%x: tensor<2x3xf32>, %y: tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK-NEXT: %[[Z:.*]] = arith.addf %[[X]], %[[Y]] : tensor<2x3xf32>
  // CHECK-NEXT: return %[[Z]]
  %z = onnx.node "Add"(%x, %y) since 14 : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  return %z : tensor<2x3xf32>
}

// -----

// A number beside a tensor becomes a tensor full of it.
// CHECK-LABEL: func @splat(
func.func @splat(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: %[[HALF:.*]] = arith.constant dense<5.000000e-01> : tensor<2x3xf32>
  // CHECK: arith.mulf %{{.*}}, %[[HALF]] : tensor<2x3xf32>
  // CHECK-NOT: linalg
  %half = onnx.constant "" dense<0.5> : tensor<f32>
  %z = onnx.node "Mul"(%x, %half) since 14 : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
  return %z : tensor<2x3xf32>
}

// -----

// A repeated dimension disappears from the operand; every map is a projection.
// CHECK-DAG: #[[ROW:.*]] = affine_map<(d0, d1) -> (d1)>
// CHECK-DAG: #[[ALL:.*]] = affine_map<(d0, d1) -> (d0, d1)>
// CHECK-LABEL: func @broadcast(
func.func @broadcast(%x: tensor<2x3xf32>, %y: tensor<1x3xf32>) -> tensor<2x3xf32> {
  // CHECK: %[[Y:.*]] = tensor.collapse_shape %{{.*}} {{\[\[}}0, 1]] : tensor<1x3xf32> into tensor<3xf32>
  // CHECK: linalg.generic {indexing_maps = [#[[ALL]], #[[ROW]], #[[ALL]]]
  // CHECK-SAME: ins(%{{.*}}, %[[Y]] : tensor<2x3xf32>, tensor<3xf32>)
  %z = onnx.node "Sub"(%x, %y) since 14 : (tensor<2x3xf32>, tensor<1x3xf32>) -> tensor<2x3xf32>
  return %z : tensor<2x3xf32>
}

// -----

// What is unsigned follows from the node's types.
// CHECK-LABEL: func @unsigned(
// CHECK-SAME: tensor<4xi8>, %{{.*}}: tensor<4xi8>) -> tensor<4xi1>
func.func @unsigned(%x: tensor<4xui8>, %y: tensor<4xui8>) -> tensor<4xi1> {
  // CHECK: arith.cmpi ult
  %z = onnx.node "Less"(%x, %y) since 13 : (tensor<4xui8>, tensor<4xui8>) -> tensor<4xi1>
  return %z : tensor<4xi1>
}

// -----

// Small powers need no logarithm.
// CHECK-LABEL: func @square(
func.func @square(%x: tensor<4xf32>) -> tensor<4xf32> {
  // CHECK: arith.mulf %[[X:.*]], %[[X]] : tensor<4xf32>
  // CHECK-NOT: math.powf
  %two = onnx.constant "" dense<2.0> : tensor<f32>
  %z = onnx.node "Pow"(%x, %two) since 15 : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  return %z : tensor<4xf32>
}

// -----

// A division by a constant is safe as it is; a division by anything is made so.
// CHECK-LABEL: func @divide(
func.func @divide(%x: tensor<4xi32>, %y: tensor<4xi32>) -> (tensor<4xi32>, tensor<4xi32>) {
  // CHECK: arith.divsi %{{.*}}, %cst
  // CHECK: %[[SAFE:.*]] = arith.select
  // CHECK: arith.divsi %{{.*}}, %[[SAFE]]
  %two = onnx.constant "" dense<2> : tensor<4xi32>
  %a = onnx.node "Div"(%x, %two) since 14 : (tensor<4xi32>, tensor<4xi32>) -> tensor<4xi32>
  %b = onnx.node "Div"(%x, %y) since 14 : (tensor<4xi32>, tensor<4xi32>) -> tensor<4xi32>
  return %a, %b : tensor<4xi32>, tensor<4xi32>
}
