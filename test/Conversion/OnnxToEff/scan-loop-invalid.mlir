// RUN: effc-opt %s --raise-to-eff="kind=prefill tokens=3 past=1" -verify-diagnostics

// A sum over the tokens is no recurrence with a decay: no op keeps its state.

// expected-error@below {{EFF0302: the state 'past_ssm.0' is read as if it were an input}}
// expected-note@below {{why: Scan /sum: its body does not compute exp(dt A) state + dt u B and state C + D u}}
// expected-note@below {{try: name the pair with --state PAST=PRESENT}}
func.func @main(%x: tensor<1x3x2x4xf32> {onnx.name = "x"}, %s: tensor<1x2x4xf32> {onnx.name = "past_ssm.0"})
    -> (tensor<3x1x2x4xf32> {onnx.name = "y"}, tensor<1x2x4xf32> {onnx.name = "present_ssm.0"}) {
  %last, %y = onnx.node "Scan"(%s, %x) since 17 graphs ["body"] {num_scan_inputs = 1 : i64, scan_input_axes = array<i64: 1>}
    : (tensor<1x2x4xf32>, tensor<1x3x2x4xf32>) -> (tensor<1x2x4xf32>, tensor<3x1x2x4xf32>) {
  ^bb0(%st: tensor<1x2x4xf32>, %xt: tensor<1x2x4xf32>):
    %next = onnx.node "Add"(%st, %xt) since 14 : (tensor<1x2x4xf32>, tensor<1x2x4xf32>) -> tensor<1x2x4xf32>
    onnx.yield %next, %next : tensor<1x2x4xf32>, tensor<1x2x4xf32>
  } loc("/sum")
  return %y, %last : tensor<3x1x2x4xf32>, tensor<1x2x4xf32>
}
