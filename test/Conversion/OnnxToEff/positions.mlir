// RUN: effc-opt %s --raise-to-eff="kind=decode past=3" -split-input-file | FileCheck %s

// Learned positions: the row behind those of the tokens in the caches, two rows further on.

// CHECK: eff.weight @wpe : !eff.weight<16x4, f32>
// CHECK-LABEL: func.func @decode_b1
// CHECK-SAME: (%[[X:.*]]: tensor<1x1x4xf32>
// CHECK: %[[P:.*]] = eff.position_embed %{{.*}} {offset = 2 : i64} : <16x4, f32> -> tensor<1x1x4xf32>
// CHECK: %[[Y:.*]] = arith.addf %[[X]], %[[P]]
// CHECK: return %[[Y]]
func.func @main(%x: tensor<1x1x4xf32> {onnx.name = "x"}) -> (tensor<1x1x4xf32> {onnx.name = "y"}) {
  %wpe = onnx.constant "wpe" dense<0.5> : tensor<16x4xf32>
  %id = onnx.constant "" dense<5> : tensor<1x1xi64>
  %p = onnx.node "Gather"(%wpe, %id) since 18 {axis = 0 : i64} : (tensor<16x4xf32>, tensor<1x1xi64>) -> tensor<1x1x4xf32>
  %y = onnx.node "Add"(%x, %p) since 18 : (tensor<1x1x4xf32>, tensor<1x1x4xf32>) -> tensor<1x1x4xf32>
  return %y : tensor<1x1x4xf32>
}

// -----

// Half of the head is turned: the transpose stands in front of the parts, or behind them.

// CHECK-LABEL: func.func @decode_b1
// CHECK-SAME: (%[[X:.*]]: tensor<1x1x16xf32>
// CHECK: %[[Y:.*]] = eff.rope %[[X]], %{{.*}} {heads = 2 : i64} : tensor<1x1x16xf32>, <2, f32>
// CHECK-NEXT: %[[Z:.*]] = eff.rope %[[X]], %{{.*}} {heads = 2 : i64} : tensor<1x1x16xf32>, <2, f32>
// CHECK-NEXT: return %[[Y]], %[[Z]]
func.func @main(%x: tensor<1x1x16xf32> {onnx.name = "x"})
    -> (tensor<1x1x16xf32> {onnx.name = "y"}, tensor<1x1x16xf32> {onnx.name = "z"}) {
  %cos = onnx.constant "" dense<[[[[-0.9899924966, 0.9995500337, -0.9899924966, 0.9995500337]]]]> : tensor<1x1x1x4xf32>
  %sin = onnx.constant "" dense<[[[[0.1411200081, 0.0299955002, 0.1411200081, 0.0299955002]]]]> : tensor<1x1x1x4xf32>
  %s4 = onnx.constant "" dense<[1, 1, 2, 8]> : tensor<4xi64>
  %s3 = onnx.constant "" dense<[1, 1, 16]> : tensor<3xi64>
  %i0 = onnx.constant "" dense<0> : tensor<1xi64>
  %i1 = onnx.constant "" dense<1> : tensor<1xi64>
  %i2 = onnx.constant "" dense<2> : tensor<1xi64>
  %i3 = onnx.constant "" dense<3> : tensor<1xi64>
  %i4 = onnx.constant "" dense<4> : tensor<1xi64>
  %i8 = onnx.constant "" dense<8> : tensor<1xi64>
  %h = onnx.node "Reshape"(%x, %s4) since 18 : (tensor<1x1x16xf32>, tensor<4xi64>) -> tensor<1x1x2x8xf32>
  %t = onnx.node "Transpose"(%h) since 18 {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x1x2x8xf32>) -> tensor<1x2x1x8xf32>
  %turned = onnx.node "Slice"(%t, %i0, %i4, %i3, %i1) since 18 : (tensor<1x2x1x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x2x1x4xf32>
  %rest = onnx.node "Slice"(%t, %i4, %i8, %i3, %i1) since 18 : (tensor<1x2x1x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x2x1x4xf32>
  %a = onnx.node "Mul"(%turned, %cos) since 18 : (tensor<1x2x1x4xf32>, tensor<1x1x1x4xf32>) -> tensor<1x2x1x4xf32>
  %lo = onnx.node "Slice"(%turned, %i0, %i2, %i3, %i1) since 18 : (tensor<1x2x1x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x2x1x2xf32>
  %hi = onnx.node "Slice"(%turned, %i2, %i4, %i3, %i1) since 18 : (tensor<1x2x1x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x2x1x2xf32>
  %neg = onnx.node "Neg"(%hi) since 18 : (tensor<1x2x1x2xf32>) -> tensor<1x2x1x2xf32>
  %rot = onnx.node "Concat"(%neg, %lo) since 18 {axis = 3 : i64} : (tensor<1x2x1x2xf32>, tensor<1x2x1x2xf32>) -> tensor<1x2x1x4xf32>
  %b = onnx.node "Mul"(%rot, %sin) since 18 : (tensor<1x2x1x4xf32>, tensor<1x1x1x4xf32>) -> tensor<1x2x1x4xf32>
  %r = onnx.node "Add"(%a, %b) since 18 : (tensor<1x2x1x4xf32>, tensor<1x2x1x4xf32>) -> tensor<1x2x1x4xf32>
  %whole = onnx.node "Concat"(%r, %rest) since 18 {axis = 3 : i64} : (tensor<1x2x1x4xf32>, tensor<1x2x1x4xf32>) -> tensor<1x2x1x8xf32>
  %u = onnx.node "Transpose"(%whole) since 18 {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x2x1x8xf32>) -> tensor<1x1x2x8xf32>
  %y = onnx.node "Reshape"(%u, %s3) since 18 : (tensor<1x1x2x8xf32>, tensor<3xi64>) -> tensor<1x1x16xf32>

  %part = onnx.node "Slice"(%h, %i0, %i4, %i3, %i1) since 18 : (tensor<1x1x2x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x1x2x4xf32>
  %other = onnx.node "Slice"(%h, %i4, %i8, %i3, %i1) since 18 : (tensor<1x1x2x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x1x2x4xf32>
  %first = onnx.node "Slice"(%part, %i0, %i2, %i3, %i1) since 18 : (tensor<1x1x2x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x1x2x2xf32>
  %second = onnx.node "Slice"(%part, %i2, %i4, %i3, %i1) since 18 : (tensor<1x1x2x4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x1x2x2xf32>
  %tpart = onnx.node "Transpose"(%part) since 18 {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x1x2x4xf32>) -> tensor<1x2x1x4xf32>
  %tother = onnx.node "Transpose"(%other) since 18 {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x1x2x4xf32>) -> tensor<1x2x1x4xf32>
  %tfirst = onnx.node "Transpose"(%first) since 18 {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x1x2x2xf32>) -> tensor<1x2x1x2xf32>
  %minus = onnx.node "Neg"(%second) since 18 : (tensor<1x1x2x2xf32>) -> tensor<1x1x2x2xf32>
  %tminus = onnx.node "Transpose"(%minus) since 18 {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x1x2x2xf32>) -> tensor<1x2x1x2xf32>
  %c = onnx.node "Mul"(%tpart, %cos) since 18 : (tensor<1x2x1x4xf32>, tensor<1x1x1x4xf32>) -> tensor<1x2x1x4xf32>
  %rotated = onnx.node "Concat"(%tminus, %tfirst) since 18 {axis = 3 : i64} : (tensor<1x2x1x2xf32>, tensor<1x2x1x2xf32>) -> tensor<1x2x1x4xf32>
  %d = onnx.node "Mul"(%rotated, %sin) since 18 : (tensor<1x2x1x4xf32>, tensor<1x1x1x4xf32>) -> tensor<1x2x1x4xf32>
  %e = onnx.node "Add"(%c, %d) since 18 : (tensor<1x2x1x4xf32>, tensor<1x2x1x4xf32>) -> tensor<1x2x1x4xf32>
  %joined = onnx.node "Concat"(%e, %tother) since 18 {axis = 3 : i64} : (tensor<1x2x1x4xf32>, tensor<1x2x1x4xf32>) -> tensor<1x2x1x8xf32>
  %v = onnx.node "Transpose"(%joined) since 18 {perm = array<i64: 0, 2, 1, 3>} : (tensor<1x2x1x8xf32>) -> tensor<1x1x2x8xf32>
  %z = onnx.node "Reshape"(%v, %s3) since 18 : (tensor<1x1x2x8xf32>, tensor<3xi64>) -> tensor<1x1x16xf32>
  return %y, %z : tensor<1x1x16xf32>, tensor<1x1x16xf32>
}
