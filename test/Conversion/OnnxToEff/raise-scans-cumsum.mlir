// RUN: effc-opt %s --onnx-raise-scans | FileCheck %s --check-prefix=KEPT
// RUN: effc-opt %s --onnx-raise-scans=cumulative-sums | FileCheck %s

// A scan as a cumulative sum that is divided by the decay up to each token: it loses what has decayed, so it is taken for
// the scan only when asked.

// KEPT-LABEL: func.func @main
// KEPT: "CumSum"
// KEPT-NOT: ai.effc
// CHECK-LABEL: func.func @main
// CHECK-NOT: "CumSum"
// CHECK: onnx.node "SelectiveScan"({{.*}}) domain "ai.effc"
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
  %two = onnx.constant "" dense<2> : tensor<i64>
  %sum = onnx.node "CumSum"(%da, %two) since 18 {exclusive = 0 : i64, reverse = 0 : i64} : (tensor<1x2x3x4xf32>, tensor<i64>) -> tensor<1x2x3x4xf32>
  %e = onnx.node "Exp"(%sum) since 18 : (tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  %b4 = onnx.node "Reshape"(%b, %shb) since 18 : (tensor<1x3x4xf32>, tensor<4xi64>) -> tensor<1x1x3x4xf32>
  %db = onnx.node "Mul"(%dt4, %b4) since 18 : (tensor<1x2x3x1xf32>, tensor<1x1x3x4xf32>) -> tensor<1x2x3x4xf32>
  %u4 = onnx.node "Reshape"(%u, %sh4) since 18 : (tensor<1x2x3xf32>, tensor<4xi64>) -> tensor<1x2x3x1xf32>
  %dbu = onnx.node "Mul"(%db, %u4) since 18 : (tensor<1x2x3x4xf32>, tensor<1x2x3x1xf32>) -> tensor<1x2x3x4xf32>
  %tiny = onnx.constant "" dense<1.0e-12> : tensor<f32>
  %below = onnx.node "Add"(%e, %tiny) since 18 : (tensor<1x2x3x4xf32>, tensor<f32>) -> tensor<1x2x3x4xf32>
  %quotient = onnx.node "Div"(%dbu, %below) since 18 : (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  %sums = onnx.node "CumSum"(%quotient, %two) since 18 {exclusive = 0 : i64, reverse = 0 : i64} : (tensor<1x2x3x4xf32>, tensor<i64>) -> tensor<1x2x3x4xf32>
  %h = onnx.node "Mul"(%e, %sums) since 18 : (tensor<1x2x3x4xf32>, tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
  %c4 = onnx.node "Reshape"(%c, %shb) since 18 : (tensor<1x3x4xf32>, tensor<4xi64>) -> tensor<1x1x3x4xf32>
  %hc = onnx.node "Mul"(%h, %c4) since 18 : (tensor<1x2x3x4xf32>, tensor<1x1x3x4xf32>) -> tensor<1x2x3x4xf32>
  %ys = onnx.node "ReduceSum"(%hc, %s3) since 18 {keepdims = 0 : i64} : (tensor<1x2x3x4xf32>, tensor<1xi64>) -> tensor<1x2x3xf32>
  %du = onnx.node "Mul"(%u, %d) since 18 : (tensor<1x2x3xf32>, tensor<1x2x1xf32>) -> tensor<1x2x3xf32>
  %yd = onnx.node "Add"(%ys, %du) since 18 : (tensor<1x2x3xf32>, tensor<1x2x3xf32>) -> tensor<1x2x3xf32>
  %y = onnx.node "Transpose"(%yd) since 18 {perm = array<i64: 0, 2, 1>} : (tensor<1x2x3xf32>) -> tensor<1x3x2xf32>
  return %y : tensor<1x3x2xf32>
}
}
