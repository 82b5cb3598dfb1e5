// RUN: effc-opt %s --raise-to-eff="kind=prefill tokens=4 past=1" -split-input-file -verify-diagnostics

// Every operator without a lowering is named, with how often and where it occurs first.

// expected-error@below {{EFF0210: no lowering for 2 operators}}
// expected-note@below {{com.example::FancyNorm (1), 2 nodes, first: /layers.0/FancyNorm}}
// expected-note@below {{ai.onnx::STFT (17), 1 node: /frontend/stft}}
// expected-note@below {{try: export}}
func.func @main(%x: tensor<1x4x8xf32> {onnx.name = "x"}) -> (tensor<*xf32> {onnx.name = "y"}) {
  %0 = onnx.node "FancyNorm"(%x) domain "com.example" since 1 : (tensor<1x4x8xf32>) -> tensor<*xf32> loc("/layers.0/FancyNorm")
  %1 = onnx.node "Relu"(%0) since 14 : (tensor<*xf32>) -> tensor<*xf32>
  %2 = onnx.node "FancyNorm"(%1) domain "com.example" since 1 : (tensor<*xf32>) -> tensor<*xf32> loc("/layers.1/FancyNorm")
  %3 = onnx.node "STFT"(%2) since 17 : (tensor<*xf32>) -> tensor<*xf32> loc("/frontend/stft")
  return %3 : tensor<*xf32>
}

// -----

// The reason for which an operator that is known was not raised stands beside it.

// expected-error@below {{EFF0302: the state 'past_ssm.0' is read as if it were an input}}
// expected-note@below {{why: SelectiveScan /scan: the decay is not constant, or the groups do not divide the channels}}
// expected-note@below {{try: name the pair with --state PAST=PRESENT; --states-as-tensors leaves states to the caller}}
func.func @main(%u: tensor<1x4x2xf32> {onnx.name = "u"}, %a: tensor<2x3xf32> {onnx.name = "a"},
                %b: tensor<1x4x1x3xf32> {onnx.name = "b"}, %s: tensor<1x2x3xf32> {onnx.name = "past_ssm.0"})
    -> (tensor<1x4x2xf32> {onnx.name = "y"}, tensor<1x2x3xf32> {onnx.name = "present_ssm.0"}) {
  %y, %n = onnx.node "SelectiveScan"(%u, %u, %a, %b, %b, %s) domain "ai.effc" since 1 : (tensor<1x4x2xf32>, tensor<1x4x2xf32>, tensor<2x3xf32>, tensor<1x4x1x3xf32>, tensor<1x4x1x3xf32>, tensor<1x2x3xf32>) -> (tensor<1x4x2xf32>, tensor<1x2x3xf32>) loc("/scan")
  return %y, %n : tensor<1x4x2xf32>, tensor<1x2x3xf32>
}

// -----

// expected-error@below {{EFF0302: the past input 'past_key_values.0.key' has several presents}}
// expected-note@below {{candidates: present.0.key, present_key_values.0.key}}
// expected-note@below {{try: name the pair}}
func.func @main(%p: tensor<1x2x1x8xf32> {onnx.name = "past_key_values.0.key"}, %x: tensor<1x2x4x8xf32> {onnx.name = "x"})
    -> (tensor<1x2x5x8xf32> {onnx.name = "present.0.key"}, tensor<1x2x5x8xf32> {onnx.name = "present_key_values.0.key"}) {
  %y = onnx.node "Concat"(%p, %x) since 13 {axis = 2 : i64} : (tensor<1x2x1x8xf32>, tensor<1x2x4x8xf32>) -> tensor<1x2x5x8xf32>
  return %y, %y : tensor<1x2x5x8xf32>, tensor<1x2x5x8xf32>
}

// -----

// expected-error@below {{EFF0302: the input 'memory' seems to be the past of two outputs}}
// expected-note@below {{candidates: a, b}}
// expected-note@below {{try: name the pair}}
func.func @main(%p: tensor<1x2x1x8xf32> {onnx.name = "memory"}, %x: tensor<1x2x4x8xf32> {onnx.name = "x"})
    -> (tensor<1x2x5x8xf32> {onnx.name = "a"}, tensor<1x2x5x8xf32> {onnx.name = "b"}) {
  %y = onnx.node "Concat"(%p, %x) since 13 {axis = 2 : i64} : (tensor<1x2x1x8xf32>, tensor<1x2x4x8xf32>) -> tensor<1x2x5x8xf32>
  return %y, %y : tensor<1x2x5x8xf32>, tensor<1x2x5x8xf32>
}

// -----

// expected-error@below {{EFF0302: the past input 'past_conv.3' has no present output}}
// expected-note@below {{outputs without a past: y}}
// expected-note@below {{try: name the pair}}
func.func @main(%p: tensor<1x8x3xf32> {onnx.name = "past_conv.3"}) -> (tensor<1x8x3xf32> {onnx.name = "y"}) {
  %y = onnx.node "Relu"(%p) since 14 : (tensor<1x8x3xf32>) -> tensor<1x8x3xf32>
  return %y : tensor<1x8x3xf32>
}

// -----

// A state that something else than its own op reads would lose its meaning.

// expected-error@below {{EFF0302: the state 'past_key_values.0.key' is read as if it were an input}}
// expected-note@below {{try: name the pair}}
func.func @main(%p: tensor<1x2x1x8xf32> {onnx.name = "past_key_values.0.key"}, %x: tensor<1x2x4x8xf32> {onnx.name = "x"})
    -> (tensor<1x2x1x8xf32> {onnx.name = "y"}, tensor<1x2x5x8xf32> {onnx.name = "present.0.key"}) {
  %c = onnx.node "Concat"(%p, %x) since 13 {axis = 2 : i64} : (tensor<1x2x1x8xf32>, tensor<1x2x4x8xf32>) -> tensor<1x2x5x8xf32>
  %y = onnx.node "Relu"(%p) since 14 : (tensor<1x2x1x8xf32>) -> tensor<1x2x1x8xf32>
  return %y, %c : tensor<1x2x1x8xf32>, tensor<1x2x5x8xf32>
}

// -----

// expected-error@below {{EFF0212: an input has no static shape}}
// expected-note@below {{try: give it with --dim}}
func.func @main(%x: tensor<1x?xf32> {onnx.name = "x"}) -> (tensor<1x?xf32> {onnx.name = "y"}) {
  return %x : tensor<1x?xf32>
}

// -----

// expected-error@below {{EFF0206: the module has no graph}}
// expected-note@below {{why: raising reads}}
module {}
