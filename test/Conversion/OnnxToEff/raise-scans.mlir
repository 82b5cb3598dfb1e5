// RUN: effc-opt %s --onnx-raise-scans | FileCheck %s
// RUN: effc-opt %s --onnx-raise-scans --onnx-relax | FileCheck %s --check-prefix=RELAX

// A scan unrolled for three tokens, channels before tokens, with its skip, behind a convolution that is cut to its
// input's length.

// CHECK-LABEL: func.func @main
// CHECK: %[[U:.*]]:2 = onnx.node "CausalConv1d"({{.*}}) domain "ai.effc" since 1 {activation = "none"}
// CHECK: %[[Y:.*]]:2 = onnx.node "SelectiveScan"({{.*}}) domain "ai.effc"
// CHECK-SAME: (tensor<1x3x2xf32>, tensor<1x3x2xf32>, tensor<2x4xf32>, tensor<1x3x1x4xf32>, tensor<1x3x1x4xf32>, tensor<1x2x4xf32>) -> (tensor<1x3x2xf32>, tensor<1x2x4xf32>)
// CHECK-NOT: "Exp"

// Every length of tokens, and states as arguments and results.

// RELAX-LABEL: func.func @main
// RELAX-SAME: tensor<?x?x2xf32> {onnx.dims = ["batch", "tokens", 2], onnx.name = "x"}
// RELAX-SAME: tensor<?x2x3xf32> {onnx.dims = ["batch", 2, 3], onnx.name = "past_states.0.conv_state"}
// RELAX-SAME: tensor<?x2x4xf32> {onnx.dims = ["batch", 2, 4], onnx.name = "past_states.0.ssm_state"}
// RELAX-SAME: -> (tensor<?x?x2xf32> {onnx.name = "y"}
// RELAX-SAME: onnx.name = "present_states.0.conv_state"
// RELAX-SAME: onnx.name = "present_states.0.ssm_state"
module attributes {onnx.bound = {batch = 1 : i64, tokens = 3 : i64}} {
func.func @main(%x: tensor<1x3x2xf32> {onnx.name = "x"}) -> (tensor<1x3x2xf32> {onnx.name = "y"}) {
  %a = onnx.constant "a" dense<[[[[-1.0, -2.0, -3.0, -4.0]], [[-0.5, -0.25, -0.75, -1.5]]]]> : tensor<1x2x1x4xf32>
  %d = onnx.constant "d" dense<[[[0.5], [-2.0]]]> : tensor<1x2x1xf32>
  %w = onnx.constant "w" dense<[[[0.5, 1.0, -1.0, 0.25]], [[0.125, 0.5, 0.75, 1.0]]]> : tensor<2x1x4xf32>
  %wb = onnx.constant "wb" dense<[[0.5, 1.0, -1.0, 0.25], [0.125, 0.5, 0.75, 1.0]]> : tensor<2x4xf32>
  %wc = onnx.constant "wc" dense<[[1.0, -1.0, 0.5, 0.25], [0.5, 0.25, -0.75, 1.0]]> : tensor<2x4xf32>
  %zero = onnx.constant "" dense<0.0> : tensor<1x2x4xf32>
  %i0 = onnx.constant "" dense<0> : tensor<i64>
  %i1 = onnx.constant "" dense<1> : tensor<i64>
  %i2 = onnx.constant "" dense<2> : tensor<i64>
  %s0 = onnx.constant "" dense<0> : tensor<1xi64>
  %s1 = onnx.constant "" dense<1> : tensor<1xi64>
  %s2 = onnx.constant "" dense<2> : tensor<1xi64>
  %s3 = onnx.constant "" dense<3> : tensor<1xi64>
  %xt = onnx.node "Transpose"(%x) since 18 {perm = array<i64: 0, 2, 1>} : (tensor<1x3x2xf32>) -> tensor<1x2x3xf32>
  %wide = onnx.node "Conv"(%xt, %w) since 18 {group = 2 : i64, pads = array<i64: 3, 3>} : (tensor<1x2x3xf32>, tensor<2x1x4xf32>) -> tensor<1x2x6xf32>
  %u = onnx.node "Slice"(%wide, %s0, %s3, %s2, %s1) since 18 : (tensor<1x2x6xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x2x3xf32>
  %ut = onnx.node "Transpose"(%u) since 18 {perm = array<i64: 0, 2, 1>} : (tensor<1x2x3xf32>) -> tensor<1x3x2xf32>
  %b = onnx.node "MatMul"(%ut, %wb) since 18 : (tensor<1x3x2xf32>, tensor<2x4xf32>) -> tensor<1x3x4xf32>
  %c = onnx.node "MatMul"(%ut, %wc) since 18 : (tensor<1x3x2xf32>, tensor<2x4xf32>) -> tensor<1x3x4xf32>
  %dt = onnx.node "Softplus"(%xt) since 18 : (tensor<1x2x3xf32>) -> tensor<1x2x3xf32>
  %sh4 = onnx.constant "" dense<[1, 2, 3, 1]> : tensor<4xi64>
  %shb = onnx.constant "" dense<[1, 1, 3, 4]> : tensor<4xi64>
  %shc = onnx.constant "" dense<[1, 4, 1]> : tensor<3xi64>
  %shy = onnx.constant "" dense<[1, 2, 1]> : tensor<3xi64>
  %dt4 = onnx.node "Reshape"(%dt, %sh4) since 18 : (tensor<1x2x3xf32>, tensor<4xi64>) -> tensor<1x2x3x1xf32>
  %da = onnx.node "Mul"(%a, %dt4) since 18 : (tensor<1x2x1x4xf32>, tensor<1x2x3x1xf32>) -> tensor<1x2x3x4xf32>
  %e = onnx.node "Exp"(%da) since 18 : (tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  %b4 = onnx.node "Reshape"(%b, %shb) since 18 : (tensor<1x3x4xf32>, tensor<4xi64>) -> tensor<1x1x3x4xf32>
  %db = onnx.node "Mul"(%dt4, %b4) since 18 : (tensor<1x2x3x1xf32>, tensor<1x1x3x4xf32>) -> tensor<1x2x3x4xf32>
  %u4 = onnx.node "Reshape"(%u, %sh4) since 18 : (tensor<1x2x3xf32>, tensor<4xi64>) -> tensor<1x2x3x1xf32>
  %dbu = onnx.node "Mul"(%db, %u4) since 18 : (tensor<1x2x3x4xf32>, tensor<1x2x3x1xf32>) -> tensor<1x2x3x4xf32>
  %e0 = onnx.node "Gather"(%e, %i0) since 18 {axis = 2 : i64} : (tensor<1x2x3x4xf32>, tensor<i64>) -> tensor<1x2x4xf32>
  %k0 = onnx.node "Mul"(%e0, %zero) since 18 : (tensor<1x2x4xf32>, tensor<1x2x4xf32>) -> tensor<1x2x4xf32>
  %n0 = onnx.node "Gather"(%dbu, %i0) since 18 {axis = 2 : i64} : (tensor<1x2x3x4xf32>, tensor<i64>) -> tensor<1x2x4xf32>
  %h0 = onnx.node "Add"(%k0, %n0) since 18 : (tensor<1x2x4xf32>, tensor<1x2x4xf32>) -> tensor<1x2x4xf32>
  %c0 = onnx.node "Gather"(%c, %i0) since 18 {axis = 1 : i64} : (tensor<1x3x4xf32>, tensor<i64>) -> tensor<1x4xf32>
  %cc0 = onnx.node "Reshape"(%c0, %shc) since 18 : (tensor<1x4xf32>, tensor<3xi64>) -> tensor<1x4x1xf32>
  %y0 = onnx.node "MatMul"(%h0, %cc0) since 18 : (tensor<1x2x4xf32>, tensor<1x4x1xf32>) -> tensor<1x2x1xf32>
  %e1 = onnx.node "Gather"(%e, %i1) since 18 {axis = 2 : i64} : (tensor<1x2x3x4xf32>, tensor<i64>) -> tensor<1x2x4xf32>
  %k1 = onnx.node "Mul"(%e1, %h0) since 18 : (tensor<1x2x4xf32>, tensor<1x2x4xf32>) -> tensor<1x2x4xf32>
  %n1 = onnx.node "Gather"(%dbu, %i1) since 18 {axis = 2 : i64} : (tensor<1x2x3x4xf32>, tensor<i64>) -> tensor<1x2x4xf32>
  %h1 = onnx.node "Add"(%k1, %n1) since 18 : (tensor<1x2x4xf32>, tensor<1x2x4xf32>) -> tensor<1x2x4xf32>
  %c1 = onnx.node "Gather"(%c, %i1) since 18 {axis = 1 : i64} : (tensor<1x3x4xf32>, tensor<i64>) -> tensor<1x4xf32>
  %cc1 = onnx.node "Reshape"(%c1, %shc) since 18 : (tensor<1x4xf32>, tensor<3xi64>) -> tensor<1x4x1xf32>
  %y1 = onnx.node "MatMul"(%h1, %cc1) since 18 : (tensor<1x2x4xf32>, tensor<1x4x1xf32>) -> tensor<1x2x1xf32>
  %e2 = onnx.node "Gather"(%e, %i2) since 18 {axis = 2 : i64} : (tensor<1x2x3x4xf32>, tensor<i64>) -> tensor<1x2x4xf32>
  %k2 = onnx.node "Mul"(%e2, %h1) since 18 : (tensor<1x2x4xf32>, tensor<1x2x4xf32>) -> tensor<1x2x4xf32>
  %n2 = onnx.node "Gather"(%dbu, %i2) since 18 {axis = 2 : i64} : (tensor<1x2x3x4xf32>, tensor<i64>) -> tensor<1x2x4xf32>
  %h2 = onnx.node "Add"(%k2, %n2) since 18 : (tensor<1x2x4xf32>, tensor<1x2x4xf32>) -> tensor<1x2x4xf32>
  %c2 = onnx.node "Gather"(%c, %i2) since 18 {axis = 1 : i64} : (tensor<1x3x4xf32>, tensor<i64>) -> tensor<1x4xf32>
  %cc2 = onnx.node "Reshape"(%c2, %shc) since 18 : (tensor<1x4xf32>, tensor<3xi64>) -> tensor<1x4x1xf32>
  %y2 = onnx.node "MatMul"(%h2, %cc2) since 18 : (tensor<1x2x4xf32>, tensor<1x4x1xf32>) -> tensor<1x2x1xf32>
  %ys = onnx.node "Concat"(%y0, %y1, %y2) since 18 {axis = 2 : i64} : (tensor<1x2x1xf32>, tensor<1x2x1xf32>, tensor<1x2x1xf32>) -> tensor<1x2x3xf32>
  %du = onnx.node "Mul"(%u, %d) since 18 : (tensor<1x2x3xf32>, tensor<1x2x1xf32>) -> tensor<1x2x3xf32>
  %yd = onnx.node "Add"(%ys, %du) since 18 : (tensor<1x2x3xf32>, tensor<1x2x3xf32>) -> tensor<1x2x3xf32>
  %y = onnx.node "Transpose"(%yd) since 18 {perm = array<i64: 0, 2, 1>} : (tensor<1x2x3xf32>) -> tensor<1x3x2xf32>
  return %y : tensor<1x3x2xf32>
}
}
