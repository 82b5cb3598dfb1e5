// RUN: effc-opt %s --eff-rotate=online=true -verify-diagnostics -split-input-file

// expected-error @below {{EFF0420}}
// expected-note @below {{why: no linear reads a scan's result or a gated product}}
// expected-note @below {{try: leave 'online' out for this model}}
module {
  func.func @nothing(%x: tensor<1x2x8xf32>) -> tensor<1x2x8xf32> {
    return %x : tensor<1x2x8xf32>
  }
}

// -----

eff.weight @w : !eff.weight<4x8, f32> = dense<0.5> : tensor<4x8xf32>
func.func @shared(%x: tensor<1x2x8xf32>, %y: tensor<1x2x8xf32>) -> (tensor<1x2x4xf32>, tensor<1x2x4xf32>) {
  %w = eff.use @w : !eff.weight<4x8, f32>
  %0 = arith.mulf %x, %y : tensor<1x2x8xf32>
  // expected-error @below {{EFF0420}}
  // expected-note @below {{why: '@w' also reads values that are not rotated}}
  // expected-note @below {{try}}
  %1 = eff.linear %0, %w : tensor<1x2x8xf32>, !eff.weight<4x8, f32> -> tensor<1x2x4xf32>
  %2 = eff.linear %x, %w : tensor<1x2x8xf32>, !eff.weight<4x8, f32> -> tensor<1x2x4xf32>
  return %1, %2 : tensor<1x2x4xf32>, tensor<1x2x4xf32>
}

// -----

eff.weight @w : !eff.weight<4x8, #eff.int8> = dense<0.5> : tensor<4x8xf32>
func.func @quantized(%x: tensor<1x2x8xf32>) -> tensor<1x2x4xf32> {
  %w = eff.use @w : !eff.weight<4x8, #eff.int8>
  %0 = arith.mulf %x, %x : tensor<1x2x8xf32>
  // expected-error @below {{EFF0420}}
  // expected-note @below {{why: '@w' is quantised already}}
  // expected-note @below {{try: rotate before weights and activations are quantised}}
  %1 = eff.linear %0, %w : tensor<1x2x8xf32>, !eff.weight<4x8, #eff.int8> -> tensor<1x2x4xf32>
  return %1 : tensor<1x2x4xf32>
}

// -----

eff.weight @w : !eff.weight<4x9, f32> = dense<0.5> : tensor<4x9xf32>
func.func @odd(%x: tensor<1x2x9xf32>) -> tensor<1x2x4xf32> {
  %w = eff.use @w : !eff.weight<4x9, f32>
  %0 = arith.mulf %x, %x : tensor<1x2x9xf32>
  // expected-error @below {{EFF0420}}
  // expected-note @below {{why: no Hadamard matrix fits a size of 9}}
  // expected-note @below {{try}}
  %1 = eff.linear %0, %w : tensor<1x2x9xf32>, !eff.weight<4x9, f32> -> tensor<1x2x4xf32>
  return %1 : tensor<1x2x4xf32>
}

// -----

// expected-error @below {{EFF0412: weight 'w' is not finite}}
// expected-note @below {{try}}
eff.weight @w : !eff.weight<4x8, f32> = dense<0x7FC00000> : tensor<4x8xf32>
func.func @nan(%x: tensor<1x2x8xf32>) -> tensor<1x2x4xf32> {
  %w = eff.use @w : !eff.weight<4x8, f32>
  %0 = arith.mulf %x, %x : tensor<1x2x8xf32>
  %1 = eff.linear %0, %w : tensor<1x2x8xf32>, !eff.weight<4x8, f32> -> tensor<1x2x4xf32>
  return %1 : tensor<1x2x4xf32>
}
