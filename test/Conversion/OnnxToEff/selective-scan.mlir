// RUN: effc-opt %s --raise-to-eff="kind=prefill tokens=3 past=1" | FileCheck %s

// The skip and the gate around a scan become its operands; softplus with PyTorch's threshold is one form; A is
// computed from A_log.

// CHECK-DAG: eff.weight @[[A:.*]] : !eff.weight<2x4, f32> = dense<[{{.*}}-1.0{{.*}}]
// CHECK-DAG: eff.weight @d : !eff.weight<2, f32>
// CHECK-LABEL: func.func @prefill_b1_t3
// CHECK-SAME: (%[[U:.*]]: tensor<1x3x2xf32> {{.*}}, %[[DT:.*]]: tensor<1x3x2xf32> {{.*}}, %[[Z:.*]]: tensor<1x3x2xf32>
// CHECK: math.log1p
// CHECK: %[[STEP:.*]] = arith.addf
// CHECK: eff.ssm_scan %[[U]], %[[STEP]], {{.*}} skip {{.*}} gate %[[Z]]
// CHECK-NOT: arith.mulf
// CHECK: return
func.func @main(%u: tensor<1x3x2xf32> {onnx.name = "u"}, %dt: tensor<1x3x2xf32> {onnx.name = "dt"},
                %z: tensor<1x3x2xf32> {onnx.name = "z"}, %b: tensor<1x3x1x4xf32> {onnx.name = "b"},
                %c: tensor<1x3x1x4xf32> {onnx.name = "c"}, %s: tensor<1x2x4xf32> {onnx.name = "past_ssm.0"})
    -> (tensor<1x3x2xf32> {onnx.name = "y"}, tensor<1x2x4xf32> {onnx.name = "present_ssm.0"}) {
  %alog = onnx.constant "a_log" dense<[[0.0, 1.0, 2.0, 3.0], [0.0, 0.0, 0.0, 0.0]]> : tensor<2x4xf32>
  %d = onnx.constant "d" dense<[1.0, 2.0]> : tensor<2xf32>
  %limit = onnx.constant "" dense<20.0> : tensor<f32>
  %ae = onnx.node "Exp"(%alog) since 18 : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %a = onnx.node "Neg"(%ae) since 18 : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %sp = onnx.node "Softplus"(%dt) since 18 : (tensor<1x3x2xf32>) -> tensor<1x3x2xf32>
  %big = onnx.node "Greater"(%dt, %limit) since 18 : (tensor<1x3x2xf32>, tensor<f32>) -> tensor<1x3x2xi1>
  %step = onnx.node "Where"(%big, %dt, %sp) since 18 : (tensor<1x3x2xi1>, tensor<1x3x2xf32>, tensor<1x3x2xf32>) -> tensor<1x3x2xf32>
  %y0, %n = onnx.node "SelectiveScan"(%u, %step, %a, %b, %c, %s) domain "ai.effc" since 1
    : (tensor<1x3x2xf32>, tensor<1x3x2xf32>, tensor<2x4xf32>, tensor<1x3x1x4xf32>, tensor<1x3x1x4xf32>, tensor<1x2x4xf32>) -> (tensor<1x3x2xf32>, tensor<1x2x4xf32>)
  %skip = onnx.node "Mul"(%d, %u) since 18 : (tensor<2xf32>, tensor<1x3x2xf32>) -> tensor<1x3x2xf32>
  %y1 = onnx.node "Add"(%y0, %skip) since 18 : (tensor<1x3x2xf32>, tensor<1x3x2xf32>) -> tensor<1x3x2xf32>
  %zs = onnx.node "Sigmoid"(%z) since 18 : (tensor<1x3x2xf32>) -> tensor<1x3x2xf32>
  %zz = onnx.node "Mul"(%z, %zs) since 18 : (tensor<1x3x2xf32>, tensor<1x3x2xf32>) -> tensor<1x3x2xf32>
  %y = onnx.node "Mul"(%y1, %zz) since 18 : (tensor<1x3x2xf32>, tensor<1x3x2xf32>) -> tensor<1x3x2xf32>
  return %y, %n : tensor<1x3x2xf32>, tensor<1x2x4xf32>
}
