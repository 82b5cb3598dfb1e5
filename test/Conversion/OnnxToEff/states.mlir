// RUN: effc-opt %s --raise-to-eff="kind=decode past=1" -split-input-file | FileCheck %s

// Names as mobius writes them. The eff state is [k - 1, channels]; `eff.perm` says which onnx dimension each is.

// CHECK: eff.state @l0.conv : !eff.state<conv, 3x2, f32> {eff.onnx_shape = array<i64: 2, 3>, eff.past = "past_states.0.conv_state", eff.perm = array<i64: 1, 0>, eff.present = "present.0.conv_state"}
// CHECK-LABEL: func.func @decode_b1
// CHECK-SAME: (%[[X:.*]]: tensor<1x2x1xf32> {eff.name = "x"})
// CHECK: %[[T:.*]] = tensor.collapse_shape %[[X]]
// CHECK: eff.causal_conv1d {{.*}} {activation = #eff.activation<silu>}
func.func @main(%x: tensor<1x2x1xf32> {onnx.name = "x"}, %s: tensor<1x2x3xf32> {onnx.name = "past_states.0.conv_state"})
    -> (tensor<1x2x1xf32> {onnx.name = "y"}, tensor<1x2x3xf32> {onnx.name = "present.0.conv_state"}) {
  %w = onnx.constant "w" dense<0.5> : tensor<2x1x4xf32>
  %b = onnx.constant "b" dense<0.0> : tensor<2xf32>
  %y, %n = onnx.node "CausalConvWithState"(%x, %w, %b, %s) since 27 {activation = "silu"} : (tensor<1x2x1xf32>, tensor<2x1x4xf32>, tensor<2xf32>, tensor<1x2x3xf32>) -> (tensor<1x2x1xf32>, tensor<1x2x3xf32>)
  return %y, %n : tensor<1x2x1xf32>, tensor<1x2x3xf32>
}

// -----

// Names as transformers.js writes them.

// CHECK: eff.state @l12.conv : !eff.state<conv, 3x2, f32>
// CHECK-SAME: eff.past = "past_conv.12"
// CHECK-SAME: eff.present = "present_conv.12"
func.func @main(%x: tensor<1x2x1xf32> {onnx.name = "x"}, %s: tensor<1x2x3xf32> {onnx.name = "past_conv.12"})
    -> (tensor<1x2x1xf32> {onnx.name = "y"}, tensor<1x2x3xf32> {onnx.name = "present_conv.12"}) {
  %none = onnx.none
  %w = onnx.constant "w" dense<0.5> : tensor<2x1x4xf32>
  %y, %n = onnx.node "CausalConvWithState"(%x, %w, %none, %s) domain "com.microsoft" since 1 {activation = "swish"} : (tensor<1x2x1xf32>, tensor<2x1x4xf32>, none, tensor<1x2x3xf32>) -> (tensor<1x2x1xf32>, tensor<1x2x3xf32>)
  return %y, %n : tensor<1x2x1xf32>, tensor<1x2x3xf32>
}

// -----

// Names that say nothing: the flow of data pairs them.

// CHECK: eff.state @kv_0 : !eff.state<conv, 3x2, f32>
// CHECK-SAME: eff.past = "kv_0"
// CHECK-SAME: eff.present = "getitem_7"
func.func @main(%x: tensor<1x2x1xf32> {onnx.name = "x"}, %s: tensor<1x2x3xf32> {onnx.name = "kv_0"})
    -> (tensor<1x2x1xf32> {onnx.name = "y"}, tensor<1x2x3xf32> {onnx.name = "getitem_7"}) {
  %w = onnx.constant "w" dense<0.5> : tensor<2x1x4xf32>
  %b = onnx.constant "b" dense<0.0> : tensor<2xf32>
  %y, %n = onnx.node "CausalConv1d"(%x, %w, %b, %s) domain "ai.effc" since 1 {activation = "silu"} : (tensor<1x2x1xf32>, tensor<2x1x4xf32>, tensor<2xf32>, tensor<1x2x3xf32>) -> (tensor<1x2x1xf32>, tensor<1x2x3xf32>)
  return %y, %n : tensor<1x2x1xf32>, tensor<1x2x3xf32>
}
