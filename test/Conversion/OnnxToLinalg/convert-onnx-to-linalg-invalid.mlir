// RUN: effc-opt %s -convert-onnx-to-linalg -split-input-file -verify-diagnostics

// All that has no lowering is one error.
func.func @unsupported(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @below {{EFF0210: the model has 3 nodes without a lowering}}
  // expected-note @below {{why: Wobble (2), org.example.Add (1)}}
  %a = onnx.node "Wobble"(%x) since 13 : (tensor<4xf32>) -> tensor<4xf32>
  %b = onnx.node "Add"(%x, %x) domain "org.example" since 1 : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %c = onnx.node "Wobble"(%a) since 13 : (tensor<4xf32>) -> tensor<4xf32>
  %d = onnx.node "Add"(%b, %c) since 13 : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %d : tensor<4xf32>
}

// -----

// A known operator outside of what is covered: the axes are not known at compile time.
func.func @unknown_axes(%x: tensor<2x4xf32>, %axes: tensor<1xi64>) -> tensor<2x1xf32> {
  // expected-error @below {{EFF0210: the model has 1 node without a lowering}}
  // expected-note @below {{why: ReduceSum (1)}}
  %y = onnx.node "ReduceSum"(%x, %axes) since 13 : (tensor<2x4xf32>, tensor<1xi64>) -> tensor<2x1xf32>
  return %y : tensor<2x1xf32>
}

// -----

// Inference and the lowering must agree on shapes.
func.func @wrong_shape(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  // expected-error @below {{EFF0210: the model has 1 node without a lowering}}
  // expected-note @below {{why: Transpose (1)}}
  %y = onnx.node "Transpose"(%x) since 13 : (tensor<2x4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

// expected-error @below {{EFF0212: input 0 of 'dynamic' has no static shape}}
// expected-note @below {{why: its type is tensor<?xf32>}}
func.func @dynamic(%x: tensor<?xf32>) -> tensor<?xf32> {
  %y = onnx.node "Exp"(%x) since 13 : (tensor<?xf32>) -> tensor<?xf32>
  return %y : tensor<?xf32>
}

// -----

// expected-error @below {{EFF0211: input 0 of 'strings' is not a tensor of numbers}}
// expected-note @below {{why: its type is tensor<2x!onnx.string>}}
func.func @strings(%x: tensor<2x!onnx.string>) -> tensor<2x!onnx.string> {
  return %x : tensor<2x!onnx.string>
}

// -----

func.func @inside(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @below {{EFF0212: a result of Exp has no static shape}}
  // expected-note @below {{why: its type is tensor<*xf32>}}
  %a = onnx.node "Exp"(%x) since 13 : (tensor<4xf32>) -> tensor<*xf32>
  %b = onnx.node "Add"(%a, %x) since 13 : (tensor<*xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %b : tensor<4xf32>
}
