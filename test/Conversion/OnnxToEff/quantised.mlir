// RUN: effc-opt %s --raise-to-eff="kind=forward tokens=2" -split-input-file | FileCheck %s

// Integers of 4 bits in blocks, with zero points that leave the range of 4 bits: kept beside them.

// CHECK: eff.weight @w : !eff.weight<2x16, #eff.int4<group = 16, zeros = true>> {pinned, quantized = dense<{{.*}}-8, -7{{.*}}> : tensor<2x16xi8>,
// CHECK-SAME: scales = dense<{{\[}}[5.000000e-01], [2.500000e-01]]> : tensor<2x1xf32>, zeros = dense<{{\[}}[-8.000000e+00], [7.000000e+00]]> : tensor<2x1xf32>}
// CHECK-LABEL: func.func @forward_b1
// CHECK: eff.linear %{{.*}} : tensor<1x2x16xf32>, <2x16, #eff.int4<group = 16, zeros = true>> -> tensor<1x2x2xf32>
func.func @main(%x: tensor<1x2x16xf32> {onnx.name = "x"}) -> (tensor<1x2x2xf32> {onnx.name = "y"}) {
  %w = onnx.constant "w" dense<[[[16, 50, 84, 118, 152, 186, 220, 254]], [[1, 2, 3, 4, 5, 6, 7, 8]]]> : tensor<2x1x8xui8>
  %s = onnx.constant "s" dense<[[0.5], [0.25]]> : tensor<2x1xf32>
  %z = onnx.constant "z" dense<[[0], [15]]> : tensor<2x1xui8>
  %y = onnx.node "MatMulNBits"(%x, %w, %s, %z) domain "com.microsoft" since 1 {K = 16 : i64, N = 2 : i64, bits = 4 : i64, block_size = 16 : i64}
    : (tensor<1x2x16xf32>, tensor<2x1x8xui8>, tensor<2x1xf32>, tensor<2x1xui8>) -> tensor<1x2x2xf32>
  return %y : tensor<1x2x2xf32>
}

// -----

// Activations and weights in 8 bits meet as integers: unsigned codes less 128, and so their zero point.

// CHECK-DAG: eff.weight @w : !eff.weight<2x4, #eff.int8> {pinned, quantized = dense<{{\[}}[1, 3, 5, 7], [2, 4, 6, 8]]>
// CHECK-DAG: eff.weight @scale : !eff.weight<2, f32> = dense<[5.000000e-01, -2.800000e+01]>
// CHECK-LABEL: func.func @forward_b1
// CHECK: %[[S:.*]] = eff.use @scale
// CHECK: %[[Q:.*]] = eff.quantize_static %{{.*}}, %[[S]] {asymmetric} : tensor<1x2x4xf32>
// CHECK: eff.linear %[[Q]], %{{.*}} scale(%[[S]] : !eff.weight<2, f32>) : tensor<1x2x4xi8>
func.func @main(%x: tensor<1x2x4xf32> {onnx.name = "x"}) -> (tensor<1x2x2xf32> {onnx.name = "y"}) {
  %w = onnx.constant "w" dense<[[1, 2], [3, 4], [5, 6], [7, 8]]> : tensor<4x2xsi8>
  %ws = onnx.constant "ws" dense<[0.5, 0.25]> : tensor<2xf32>
  %s = onnx.constant "s" dense<0.5> : tensor<f32>
  %z = onnx.constant "z" dense<100> : tensor<ui8>
  %q = onnx.node "QuantizeLinear"(%x, %s, %z) since 18 {axis = 1 : i64} : (tensor<1x2x4xf32>, tensor<f32>, tensor<ui8>) -> tensor<1x2x4xui8>
  %d = onnx.node "DequantizeLinear"(%q, %s, %z) since 18 {axis = 1 : i64} : (tensor<1x2x4xui8>, tensor<f32>, tensor<ui8>) -> tensor<1x2x4xf32>
  %wd = onnx.node "DequantizeLinear"(%w, %ws) since 18 {axis = 1 : i64} : (tensor<4x2xsi8>, tensor<2xf32>) -> tensor<4x2xf32>
  %y = onnx.node "MatMul"(%d, %wd) since 18 : (tensor<1x2x4xf32>, tensor<4x2xf32>) -> tensor<1x2x2xf32>
  return %y : tensor<1x2x2xf32>
}

// -----

// The scale of a whole tensor is found when the model runs.

// CHECK-LABEL: func.func @forward_b1
// CHECK: %[[S:.*]] = eff.tensor_scale %[[X:.*]] : tensor<1x2x4xf32> -> tensor<2xf32>
// CHECK: %[[Q:.*]] = eff.quantize_static %[[X]], %[[S]] {asymmetric}
// CHECK: eff.linear %[[Q]], %{{.*}} scale(%[[S]] : tensor<2xf32>)
func.func @main(%x: tensor<1x2x4xf32> {onnx.name = "x"}) -> (tensor<1x2x2xf32> {onnx.name = "y"}) {
  %w = onnx.constant "w" dense<[[1, 2], [3, 4], [5, 6], [7, 8]]> : tensor<4x2xsi8>
  %wz = onnx.constant "wz" dense<0> : tensor<si8>
  %ws = onnx.constant "ws" dense<0.5> : tensor<f32>
  %q:3 = onnx.node "DynamicQuantizeLinear"(%x) since 11 : (tensor<1x2x4xf32>) -> (tensor<1x2x4xui8>, tensor<f32>, tensor<ui8>)
  %m = onnx.node "MatMulInteger"(%q#0, %w, %q#2, %wz) since 10 : (tensor<1x2x4xui8>, tensor<4x2xsi8>, tensor<ui8>, tensor<si8>) -> tensor<1x2x2xi32>
  %c = onnx.node "Cast"(%m) since 18 {to = 1 : i64} : (tensor<1x2x2xi32>) -> tensor<1x2x2xf32>
  %s = onnx.node "Mul"(%q#1, %ws) since 18 : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %y = onnx.node "Mul"(%c, %s) since 18 : (tensor<1x2x2xf32>, tensor<f32>) -> tensor<1x2x2xf32>
  return %y : tensor<1x2x2xf32>
}
