// RUN: effc-opt %s --onnx-relax -split-input-file -verify-diagnostics

// What a graph computes along the tokens keeps their number.

module attributes {onnx.bound = {batch = 1 : i64, tokens = 3 : i64}} {
func.func @main(%x: tensor<1x3x2xf32> {onnx.name = "x"}) -> (tensor<1x2xf32> {onnx.name = "y"}) {
  %axes = onnx.constant "" dense<1> : tensor<1xi64>
  // expected-error@below {{EFF0303: the number of tokens cannot be freed at ReduceMean}}
  // expected-note@below {{why: it works along the tokens}}
  // expected-note@below {{try: export with a dynamic sequence axis}}
  %y = onnx.node "ReduceMean"(%x, %axes) since 18 {keepdims = 0 : i64} : (tensor<1x3x2xf32>, tensor<1xi64>) -> tensor<1x2xf32>
  return %y : tensor<1x2xf32>
}
}

// -----

// A table of learned positions has one row for each token.

module attributes {onnx.bound = {batch = 1 : i64, tokens = 3 : i64}} {
func.func @main(%x: tensor<1x3x2xf32> {onnx.name = "x"}) -> (tensor<1x3x2xf32> {onnx.name = "y"}) {
  %p = onnx.constant "positions" dense<1.0> : tensor<3x2xf32>
  // expected-error@below {{EFF0303: the number of tokens cannot be freed at Add}}
  // expected-note@below {{why: an operand has 3 elements where another has the tokens}}
  // expected-note@below {{try: export with a dynamic sequence axis}}
  %y = onnx.node "Add"(%x, %p) since 18 : (tensor<1x3x2xf32>, tensor<3x2xf32>) -> tensor<1x3x2xf32>
  return %y : tensor<1x3x2xf32>
}
}
