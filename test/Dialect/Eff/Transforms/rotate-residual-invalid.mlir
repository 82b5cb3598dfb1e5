// RUN: effc-opt %s --eff-rotate=residual=true -verify-diagnostics -split-input-file

// A layer norm subtracts the mean.
eff.weight @t : !eff.weight<16x8, f32> = dense<0.5> : tensor<16x8xf32>
eff.weight @n : !eff.weight<8, f32> = dense<0.5> : tensor<8xf32>
func.func @layer_norm(%ids: tensor<1x2xi32>) -> tensor<1x2x8xf32> {
  %t = eff.use @t : !eff.weight<16x8, f32>
  %n = eff.use @n : !eff.weight<8, f32>
  %0 = eff.embed %ids, %t : tensor<1x2xi32>, !eff.weight<16x8, f32> -> tensor<1x2x8xf32>
  // expected-error @below {{EFF0420: the model cannot be rotated as asked}}
  // expected-note @below {{why: 'eff.layer_norm' subtracts the mean, which does not commute with a rotation}}
  // expected-note @below {{try: leave the rotation out}}
  %1 = eff.layer_norm %0, %n {eps = 1.0e-5 : f32} : tensor<1x2x8xf32>, !eff.weight<8, f32>
  return %1 : tensor<1x2x8xf32>
}

// -----

// The web is not closed: some other op reads the stream.
eff.weight @t : !eff.weight<16x8, f32> = dense<0.5> : tensor<16x8xf32>
func.func @reader(%ids: tensor<1x2xi32>) -> tensor<1x2x8xf32> {
  %t = eff.use @t : !eff.weight<16x8, f32>
  %0 = eff.embed %ids, %t : tensor<1x2xi32>, !eff.weight<16x8, f32> -> tensor<1x2x8xf32>
  // expected-error @below {{EFF0420}}
  // expected-note @below {{why: 'math.exp' reads the residual stream; it does not commute with a rotation}}
  // expected-note @below {{try}}
  %1 = math.exp %0 : tensor<1x2x8xf32>
  return %1 : tensor<1x2x8xf32>
}

// -----

// Some other op writes it.
eff.weight @t : !eff.weight<16x8, f32> = dense<0.5> : tensor<16x8xf32>
eff.weight @w : !eff.weight<4x8, f32> = dense<0.5> : tensor<4x8xf32>
func.func @writer(%ids: tensor<1x2xi32>, %x: tensor<1x2x8xf32>) -> tensor<1x2x4xf32> {
  %t = eff.use @t : !eff.weight<16x8, f32>
  %w = eff.use @w : !eff.weight<4x8, f32>
  // expected-error @below {{EFF0420}}
  // expected-note @below {{why: 'math.exp' defines a value of the residual stream}}
  // expected-note @below {{try}}
  %0 = math.exp %x : tensor<1x2x8xf32>
  %1 = eff.embed %ids, %t : tensor<1x2xi32>, !eff.weight<16x8, f32> -> tensor<1x2x8xf32>
  %2 = arith.addf %0, %1 : tensor<1x2x8xf32>
  %3 = eff.linear %2, %w : tensor<1x2x8xf32>, !eff.weight<4x8, f32> -> tensor<1x2x4xf32>
  return %3 : tensor<1x2x4xf32>
}

// -----

eff.weight @t : !eff.weight<16x8, f32> = dense<0.5> : tensor<16x8xf32>
func.func @result(%ids: tensor<1x2xi32>) -> tensor<1x2x8xf32> {
  %t = eff.use @t : !eff.weight<16x8, f32>
  %0 = eff.embed %ids, %t : tensor<1x2xi32>, !eff.weight<16x8, f32> -> tensor<1x2x8xf32>
  // expected-error @below {{EFF0420}}
  // expected-note @below {{why: the function returns a value of the residual stream}}
  // expected-note @below {{try: export the model without hidden states}}
  return %0 : tensor<1x2x8xf32>
}

// -----

// expected-error @below {{EFF0420}}
// expected-note @below {{why: the function has no 'eff.embed', where a residual stream begins}}
// expected-note @below {{try}}
func.func @nothing(%x: tensor<1x2x8xf32>) -> tensor<1x2x8xf32> {
  return %x : tensor<1x2x8xf32>
}

// -----

// expected-error @below {{EFF0420}}
// expected-note @below {{why: an input of the function is part of the residual stream}}
// expected-note @below {{try}}
func.func @input(%ids: tensor<1x2xi32>, %x: tensor<1x2x8xf32>) -> tensor<1x2x4xf32> {
  %t = eff.use @t : !eff.weight<16x8, f32>
  %w = eff.use @w : !eff.weight<4x8, f32>
  %0 = eff.embed %ids, %t : tensor<1x2xi32>, !eff.weight<16x8, f32> -> tensor<1x2x8xf32>
  %1 = arith.addf %0, %x : tensor<1x2x8xf32>
  %2 = eff.linear %1, %w : tensor<1x2x8xf32>, !eff.weight<4x8, f32> -> tensor<1x2x4xf32>
  return %2 : tensor<1x2x4xf32>
}
eff.weight @t : !eff.weight<16x8, f32> = dense<0.5> : tensor<16x8xf32>
eff.weight @w : !eff.weight<4x8, f32> = dense<0.5> : tensor<4x8xf32>

// -----

// A weight that reads the stream here and something else there.
eff.weight @t : !eff.weight<16x8, f32> = dense<0.5> : tensor<16x8xf32>
eff.weight @w : !eff.weight<8x8, f32> = dense<0.5> : tensor<8x8xf32>
func.func @shared(%ids: tensor<1x2xi32>) -> tensor<1x2x8xf32> {
  %t = eff.use @t : !eff.weight<16x8, f32>
  %w = eff.use @w : !eff.weight<8x8, f32>
  %0 = eff.embed %ids, %t : tensor<1x2xi32>, !eff.weight<16x8, f32> -> tensor<1x2x8xf32>
  // expected-error @below {{EFF0420}}
  // expected-note @below {{why: '@w' reads or writes the residual stream in one place and other values in another}}
  // expected-note @below {{try}}
  %1 = eff.linear %0, %w : tensor<1x2x8xf32>, !eff.weight<8x8, f32> -> tensor<1x2x8xf32>
  %2 = eff.linear %1, %w : tensor<1x2x8xf32>, !eff.weight<8x8, f32> -> tensor<1x2x8xf32>
  return %2 : tensor<1x2x8xf32>
}

// -----

// expected-error @below {{EFF0420}}
// expected-note @below {{why: no Hadamard matrix fits a size of 7: an odd size has no block larger than 1}}
// expected-note @below {{try}}
module {
  eff.weight @t : !eff.weight<16x7, f32> = dense<0.5> : tensor<16x7xf32>
  eff.weight @w : !eff.weight<4x7, f32> = dense<0.5> : tensor<4x7xf32>
  func.func @odd(%ids: tensor<1x2xi32>) -> tensor<1x2x4xf32> {
    %t = eff.use @t : !eff.weight<16x7, f32>
    %w = eff.use @w : !eff.weight<4x7, f32>
    %0 = eff.embed %ids, %t : tensor<1x2xi32>, !eff.weight<16x7, f32> -> tensor<1x2x7xf32>
    %1 = eff.linear %0, %w : tensor<1x2x7xf32>, !eff.weight<4x7, f32> -> tensor<1x2x4xf32>
    return %1 : tensor<1x2x4xf32>
  }
}

// -----

// A product with what is not constant.
eff.weight @t : !eff.weight<16x8, f32> = dense<0.5> : tensor<16x8xf32>
eff.weight @w : !eff.weight<8x4, f32> = dense<0.5> : tensor<8x4xf32>
func.func @epilogue(%ids: tensor<1x2xi32>, %x: tensor<1x2x4xf32>) -> tensor<2x8xf32> {
  %t = eff.use @t : !eff.weight<16x8, f32>
  %w = eff.use @w : !eff.weight<8x4, f32>
  %0 = eff.embed %ids, %t : tensor<1x2xi32>, !eff.weight<16x8, f32> -> tensor<1x2x8xf32>
  // expected-error @below {{EFF0420}}
  // expected-note @below {{why: the epilogue of a linear that writes the residual stream is more than sums}}
  // expected-note @below {{try}}
  %1 = eff.linear %x, %w extras(%0 : tensor<1x2x8xf32>) epilogue {
  ^bb0(%acc: f32, %r: f32):
    %2 = arith.mulf %acc, %r : f32
    eff.yield %2 : f32
  } : tensor<1x2x4xf32>, !eff.weight<8x4, f32> -> tensor<1x2x8xf32>
  %3 = eff.select_rows %1 : tensor<1x2x8xf32> -> tensor<2x8xf32>
  return %3 : tensor<2x8xf32>
}

// -----

eff.weight @t : !eff.weight<16x8, f32> = dense<0.5> : tensor<16x8xf32>
// expected-error @below {{EFF0420}}
// expected-note @below {{why: '@w' is quantised already}}
// expected-note @below {{try: rotate before weights are quantised}}
eff.weight @w : !eff.weight<4x8, #eff.int8> = dense<0.5> : tensor<4x8xf32>
func.func @quantized(%ids: tensor<1x2xi32>) -> tensor<1x2x4xf32> {
  %t = eff.use @t : !eff.weight<16x8, f32>
  %w = eff.use @w : !eff.weight<4x8, #eff.int8>
  %0 = eff.embed %ids, %t : tensor<1x2xi32>, !eff.weight<16x8, f32> -> tensor<1x2x8xf32>
  %1 = eff.linear %0, %w : tensor<1x2x8xf32>, !eff.weight<4x8, #eff.int8> -> tensor<1x2x4xf32>
  return %1 : tensor<1x2x4xf32>
}

// -----

// A bias that something else reads too.
eff.weight @t : !eff.weight<16x8, f32> = dense<0.5> : tensor<16x8xf32>
eff.weight @b : !eff.weight<8, f32> = dense<0.5> : tensor<8xf32>
eff.weight @w : !eff.weight<4x8, f32> = dense<0.5> : tensor<4x8xf32>
eff.weight @v : !eff.weight<8x4, f32> = dense<0.5> : tensor<8x4xf32>
func.func @bias(%ids: tensor<1x2xi32>) -> (tensor<1x2x4xf32>, tensor<8xf32>) {
  %t = eff.use @t : !eff.weight<16x8, f32>
  %b = eff.use @b : !eff.weight<8, f32>
  %w = eff.use @w : !eff.weight<4x8, f32>
  %v = eff.use @v : !eff.weight<8x4, f32>
  %0 = eff.embed %ids, %t : tensor<1x2xi32>, !eff.weight<16x8, f32> -> tensor<1x2x8xf32>
  %1 = eff.linear %0, %w : tensor<1x2x8xf32>, !eff.weight<4x8, f32> -> tensor<1x2x4xf32>
  %2 = eff.linear %1, %v extras(%0, %b : tensor<1x2x8xf32>, !eff.weight<8, f32>) epilogue {
  ^bb0(%acc: f32, %r: f32, %bias: f32):
    %3 = arith.addf %acc, %r : f32
    %4 = arith.addf %3, %bias : f32
    eff.yield %4 : f32
  } : tensor<1x2x4xf32>, !eff.weight<8x4, f32> -> tensor<1x2x8xf32>
  // expected-error @below {{EFF0420}}
  // expected-note @below {{why: '@b' is added to the residual stream and read elsewhere too}}
  // expected-note @below {{try}}
  %5 = eff.read %b : !eff.weight<8, f32> -> tensor<8xf32>
  return %1, %5 : tensor<1x2x4xf32>, tensor<8xf32>
}

// -----

// The stream cannot be rotated twice.
eff.weight @t : !eff.weight<16x8, f32 in <hadamard = 8>> = dense<0.5> : tensor<16x8xf32>
eff.weight @w : !eff.weight<4x8, f32 in <hadamard = 8>> = dense<0.5> : tensor<4x8xf32>
func.func @twice(%ids: tensor<1x2xi32>) -> tensor<1x2x4xf32> {
  %t = eff.use @t : !eff.weight<16x8, f32 in <hadamard = 8>>
  %w = eff.use @w : !eff.weight<4x8, f32 in <hadamard = 8>>
  // expected-error @below {{EFF0420}}
  // expected-note @below {{why: the residual stream is rotated already}}
  // expected-note @below {{try: rotate a model once}}
  %0 = eff.embed %ids, %t : tensor<1x2xi32>, !eff.weight<16x8, f32 in <hadamard = 8>> -> tensor<1x2x8xf32, #eff.basis<hadamard = 8>>
  %1 = eff.linear %0, %w : tensor<1x2x8xf32, #eff.basis<hadamard = 8>>, !eff.weight<4x8, f32 in <hadamard = 8>> -> tensor<1x2x4xf32>
  return %1 : tensor<1x2x4xf32>
}

// -----

// Nor when its table is shared and an op rotates it.
eff.weight @t : !eff.weight<16x8, f32> = dense<0.5> : tensor<16x8xf32>
eff.weight @w : !eff.weight<4x8, f32 in <hadamard = 8>> = dense<0.5> : tensor<4x8xf32>
func.func @behind(%ids: tensor<1x2xi32>) -> tensor<1x2x4xf32> {
  %t = eff.use @t : !eff.weight<16x8, f32>
  %w = eff.use @w : !eff.weight<4x8, f32 in <hadamard = 8>>
  %0 = eff.embed %ids, %t : tensor<1x2xi32>, !eff.weight<16x8, f32> -> tensor<1x2x8xf32>
  // expected-error @below {{EFF0420}}
  // expected-note @below {{why: the residual stream is rotated already}}
  // expected-note @below {{try: rotate a model once}}
  %1 = eff.hadamard %0 : tensor<1x2x8xf32> -> tensor<1x2x8xf32, #eff.basis<hadamard = 8>>
  %2 = eff.linear %1, %w : tensor<1x2x8xf32, #eff.basis<hadamard = 8>>, !eff.weight<4x8, f32 in <hadamard = 8>> -> tensor<1x2x4xf32>
  return %2 : tensor<1x2x4xf32>
}
