// RUN: effc-opt %s --convert-eff-to-plan -split-input-file -verify-diagnostics

eff.weight @w : !eff.weight<16x8, f32>
func.func @no_layout(%x: tensor<1x1x8xf32>) -> tensor<1x1x16xf32>
    attributes {eff.entry = #eff.entry<forward, batch = 1, tokens = 1>} {
  %w = eff.use @w : !eff.weight<16x8, f32>
  // expected-error @below {{EFF0501: no kernel reads the layout of a weight}}
  // expected-note @below {{why: the weight is}}
  // expected-note @below {{try: run eff-assign-layout first}}
  %y = eff.linear %x, %w : tensor<1x1x8xf32>, !eff.weight<16x8, f32> -> tensor<1x1x16xf32>
  return %y : tensor<1x1x16xf32>
}

// -----

// expected-error @below {{EFF0210: a function is no entry point}}
func.func @helper(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}

// -----

// expected-error @below {{EFF0212: an argument or result of an entry point is no tensor of static shape}}
// expected-note @below {{why: it is}}
func.func @dynamic(%x: tensor<?xf32>) -> tensor<?xf32>
    attributes {eff.entry = #eff.entry<forward, batch = 1, tokens = 1>} {
  return %x : tensor<?xf32>
}

// -----

func.func @two_lengths(%x: tensor<1x4x8xf32>, %y: tensor<1x6x8xf32>) -> (tensor<1x4x8xf32>, tensor<1x6x8xf32>)
    attributes {eff.entry = #eff.entry<forward, batch = 1, tokens = 1>} {
  %a = eff.attention %x, %x, %x {heads = 2, kv_heads = 2, scale = 0.5 : f32}
    : tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>
  // expected-error @below {{EFF0210: an entry point mixes sequences of different lengths}}
  // expected-note @below {{why: one has 4 tokens, another 6}}
  %b = eff.attention %y, %y, %y {heads = 2, kv_heads = 2, scale = 0.5 : f32}
    : tensor<1x6x8xf32>, tensor<1x6x8xf32>, tensor<1x6x8xf32>
  return %a, %b : tensor<1x4x8xf32>, tensor<1x6x8xf32>
}
