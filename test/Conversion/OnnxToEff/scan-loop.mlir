// RUN: effc-opt %s --onnx-simplify --raise-to-eff="kind=prefill tokens=3 past=1" | FileCheck %s

// A Scan whose body is the recurrence of Mamba-1, its operands in no special order; a convolution over the columns
// before and the new ones, whose present is a slice.

// CHECK-DAG: eff.state @l0.ssm : !eff.state<ssm, 4x2, f32>
// CHECK-DAG: eff.state @l0.conv : !eff.state<conv, 3x2, f32>
// CHECK-LABEL: func.func @prefill_b1_t3
// CHECK-SAME: (%[[B:.*]]: tensor<1x3x4xf32> {eff.name = "b"}, %[[X:.*]]: tensor<1x2x3xf32> {eff.name = "x"}, %[[DT:.*]]: tensor<1x3x2xf32> {{.*}}, %[[C:.*]]: tensor<1x3x4xf32>
// CHECK-DAG: %[[D:.*]] = eff.use @d
// CHECK-DAG: %[[A:.*]] = eff.use @a
// CHECK: %[[U:.*]] = eff.causal_conv1d
// CHECK-NOT: activation
// CHECK: eff.ssm_scan %[[U]], %[[DT]], %[[A]], %[[B]], %[[C]], {{.*}} skip %[[D]]
func.func @main(%b: tensor<1x3x4xf32> {onnx.name = "b"}, %x: tensor<1x2x3xf32> {onnx.name = "x"},
                %dt: tensor<1x3x2xf32> {onnx.name = "dt"}, %c: tensor<1x3x4xf32> {onnx.name = "c"},
                %s: tensor<1x2x4xf32> {onnx.name = "past_ssm.0"}, %p: tensor<1x2x3xf32> {onnx.name = "past_conv.0"})
    -> (tensor<1x3x2xf32> {onnx.name = "y"}, tensor<1x2x4xf32> {onnx.name = "present_ssm.0"}, tensor<1x2x3xf32> {onnx.name = "present_conv.0"}) {
  %a = onnx.constant "a" dense<[[-1.0, -2.0, -3.0, -4.0], [-0.5, -0.25, -0.75, -1.5]]> : tensor<2x4xf32>
  %d = onnx.constant "d" dense<[1.0, 2.0]> : tensor<2xf32>
  %w = onnx.constant "w" dense<0.5> : tensor<2x1x4xf32>
  %one = onnx.constant "" dense<1> : tensor<1xi64>
  %two = onnx.constant "" dense<2> : tensor<1xi64>
  %start = onnx.constant "" dense<-3> : tensor<1xi64>
  %end = onnx.constant "" dense<9223372036854775807> : tensor<1xi64>
  %all = onnx.node "Concat"(%p, %x) since 13 {axis = 2 : i64} : (tensor<1x2x3xf32>, tensor<1x2x3xf32>) -> tensor<1x2x6xf32>
  %tail = onnx.node "Slice"(%all, %start, %end, %two) since 13 : (tensor<1x2x6xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1x2x3xf32>
  %conv = onnx.node "Conv"(%all, %w) since 11 {group = 2 : i64} : (tensor<1x2x6xf32>, tensor<2x1x4xf32>) -> tensor<1x2x3xf32>
  %u = onnx.node "Transpose"(%conv) since 13 {perm = array<i64: 0, 2, 1>} : (tensor<1x2x3xf32>) -> tensor<1x3x2xf32>
  %last, %y = onnx.node "Scan"(%s, %c, %dt, %b, %u) since 17 graphs ["body"] {num_scan_inputs = 4 : i64, scan_input_axes = array<i64: 1, 1, 1, 1>, scan_output_axes = array<i64: 1>}
    : (tensor<1x2x4xf32>, tensor<1x3x4xf32>, tensor<1x3x2xf32>, tensor<1x3x4xf32>, tensor<1x3x2xf32>) -> (tensor<1x2x4xf32>, tensor<1x3x2xf32>) {
  ^bb0(%st: tensor<1x2x4xf32>, %ct: tensor<1x4xf32>, %dtt: tensor<1x2xf32>, %bt: tensor<1x4xf32>, %ut: tensor<1x2xf32>):
    %dtu = onnx.node "Unsqueeze"(%dtt, %two) since 13 : (tensor<1x2xf32>, tensor<1xi64>) -> tensor<1x2x1xf32>
    %scaled = onnx.node "Mul"(%dtu, %a) since 14 : (tensor<1x2x1xf32>, tensor<2x4xf32>) -> tensor<1x2x4xf32>
    %decay = onnx.node "Exp"(%scaled) since 13 : (tensor<1x2x4xf32>) -> tensor<1x2x4xf32>
    %keep = onnx.node "Mul"(%decay, %st) since 14 : (tensor<1x2x4xf32>, tensor<1x2x4xf32>) -> tensor<1x2x4xf32>
    %bu = onnx.node "Unsqueeze"(%bt, %one) since 13 : (tensor<1x4xf32>, tensor<1xi64>) -> tensor<1x1x4xf32>
    %db = onnx.node "Mul"(%dtu, %bu) since 14 : (tensor<1x2x1xf32>, tensor<1x1x4xf32>) -> tensor<1x2x4xf32>
    %uu = onnx.node "Unsqueeze"(%ut, %two) since 13 : (tensor<1x2xf32>, tensor<1xi64>) -> tensor<1x2x1xf32>
    %in = onnx.node "Mul"(%uu, %db) since 14 : (tensor<1x2x1xf32>, tensor<1x2x4xf32>) -> tensor<1x2x4xf32>
    %next = onnx.node "Add"(%in, %keep) since 14 : (tensor<1x2x4xf32>, tensor<1x2x4xf32>) -> tensor<1x2x4xf32>
    %cu = onnx.node "Unsqueeze"(%ct, %one) since 13 : (tensor<1x4xf32>, tensor<1xi64>) -> tensor<1x1x4xf32>
    %yc = onnx.node "Mul"(%next, %cu) since 14 : (tensor<1x2x4xf32>, tensor<1x1x4xf32>) -> tensor<1x2x4xf32>
    %sum = onnx.node "ReduceSum"(%yc, %two) since 13 {keepdims = 0 : i64} : (tensor<1x2x4xf32>, tensor<1xi64>) -> tensor<1x2xf32>
    %du = onnx.node "Mul"(%d, %ut) since 14 : (tensor<2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
    %yt = onnx.node "Add"(%sum, %du) since 14 : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x2xf32>
    onnx.yield %next, %yt : tensor<1x2x4xf32>, tensor<1x2xf32>
  }
  return %y, %last, %tail : tensor<1x3x2xf32>, tensor<1x2x4xf32>, tensor<1x2x3xf32>
}
