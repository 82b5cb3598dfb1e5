// RUN: effc-opt %s | effc-opt | FileCheck %s

// CHECK-LABEL: func.func @main
// CHECK: onnx.constant "model.norm.weight" dense<1.000000e+00> : tensor<4xf32>
// CHECK: onnx.none
// CHECK: onnx.constant "names" dense<["a", "b"]> : tensor<2x!onnx.string>
// CHECK: onnx.node "MatMul"(%{{.*}}, %{{.*}}) since 18 : (tensor<1x4xf32>, tensor<4x8xf32>) -> tensor<1x8xf32>
// CHECK: onnx.node "Split"(%{{.*}}, %{{.*}}) since 18 {axis = 1 : i64, num_outputs = 2 : i64} : (tensor<1x8xf32>, none) -> (tensor<1x4xf32>, tensor<1x4xf32>)
// CHECK: onnx.node "GatedRMSNorm"(%{{.*}}) domain "ai.effc" since 1
// CHECK: onnx.node "SequenceEmpty"() since 18 : () -> !onnx.seq<tensor<*xf32>>
func.func @main(%x: tensor<1x4xf32>, %w: tensor<4x8xf32>, %m: !onnx.map<i64, tensor<4xf32>>,
                %o: !onnx.optional<tensor<4xf32>>, %s: !onnx.sparse<tensor<4xf32>>) {
  %n = onnx.constant "model.norm.weight" dense<1.0> : tensor<4xf32>
  %none = onnx.none
  %names = onnx.constant "names" dense<["a", "b"]> : tensor<2x!onnx.string>
  %y = onnx.node "MatMul"(%x, %w) since 18 : (tensor<1x4xf32>, tensor<4x8xf32>) -> tensor<1x8xf32>
  %q:2 = onnx.node "Split"(%y, %none) since 18 {axis = 1 : i64, num_outputs = 2 : i64}
    : (tensor<1x8xf32>, none) -> (tensor<1x4xf32>, tensor<1x4xf32>)
  %g = onnx.node "GatedRMSNorm"(%q#0, %q#1, %n) domain "ai.effc" since 1 {epsilon = 1.0e-05 : f32}
    : (tensor<1x4xf32>, tensor<1x4xf32>, tensor<4xf32>) -> tensor<*x!onnx.unknown>
  %e = onnx.node "SequenceEmpty"() since 18 : () -> !onnx.seq<tensor<*xf32>>
  return
}
