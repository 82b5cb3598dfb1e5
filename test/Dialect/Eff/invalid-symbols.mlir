// RUN: effc-opt %s -verify-diagnostics -split-input-file

// expected-error @+1 {{C1: 'eff.model' must be an #eff.model attribute of a module}}
module attributes {eff.model = 1 : i32} {}

// -----

// expected-error @+1 {{C1: 'eff.model' must be an #eff.model attribute of a module}}
func.func private @model_c1() attributes {eff.model = #eff.model<generic, arch = "x", vocab = 0, max_length = 0>}

// -----

// expected-error @+1 {{C2: vocab and max_length of a model must not be negative, got -1 and 0}}
module @model_c2 attributes {eff.model = #eff.model<generic, arch = "x", vocab = -1, max_length = 0>} {}

// -----

// expected-error @+1 {{C1: 'eff.entry' must be an #eff.entry attribute of a function}}
module @entry_c1 attributes {eff.entry = #eff.entry<forward, batch = 1, tokens = 1>} {}

// -----

// expected-error @+1 {{C2: batch and tokens of an entry point must be positive, got 0 and 1}}
func.func private @entry_c2_batch() attributes {eff.entry = #eff.entry<forward, batch = 0, tokens = 1>}

// -----

// expected-error @+1 {{C2: a decode entry point has one token, got 2}}
func.func private @entry_c2_decode() attributes {eff.entry = #eff.entry<decode, batch = 1, tokens = 2>}

// -----

// expected-error @+1 {{'eff.weight' op C1: the source must be 2x3, got 3x2}}
eff.weight @weight_c1 : !eff.weight<2x3, f32> = dense<0.0> : tensor<3x2xf32>

// -----

// expected-error @+1 {{'eff.weight' op C1: the source must be 3x2, got 2x3}}
eff.weight @weight_c1_transposed transposed : !eff.weight<2x3, f32> = dense<0.0> : tensor<2x3xf32>

// -----

// expected-error @+1 {{'eff.weight' op C2: 'transposed' needs a 2-d weight, got 1-d}}
eff.weight @weight_c2 transposed : !eff.weight<6, f32> = dense<0.0> : tensor<6xf32>

// -----

// expected-error @+1 {{'eff.weight' op C3: the source's elements must be f32, f16, bf16 or f64, got 'i8'}}
eff.weight @weight_c3 : !eff.weight<2x3, f32> = dense<0> : tensor<2x3xi8>

// -----

func.func @use_c1_absent() {
  // expected-error @+1 {{'eff.use' op C1: '@nothing' names no eff.weight, eff.state or eff.cache}}
  %w = eff.use @nothing : !eff.weight<4, f32>
  return
}

// -----

func.func @use_c1_function() {
  // expected-error @+1 {{'eff.use' op C1: '@use_c1_function' names no eff.weight, eff.state or eff.cache}}
  %w = eff.use @use_c1_function : !eff.weight<4, f32>
  return
}

// -----

// expected-note @+1 {{declared here}}
eff.state @s : !eff.state<conv, 3x4, f32>
func.func @use_c2() {
  // expected-error @+1 {{'eff.use' op C2: the result has type '!eff.state<conv, 3x8, f32>', but '@s' has type '!eff.state<conv, 3x4, f32>'}}
  %s = eff.use @s : !eff.state<conv, 3x8, f32>
  return
}

// -----

func.func @read_c1(%w: !eff.weight<4x2, f32>) {
  // expected-error @+1 {{'eff.read' op C1: the result must be 4x2, got 2x4}}
  %t = eff.read %w : !eff.weight<4x2, f32> -> tensor<2x4xf32>
  return
}

// -----

// expected-error @+1 {{C4: an integer format, 'quantized' and 'scales' go together}}
eff.weight @w : !eff.weight<2x2, #eff.int8> {quantized = dense<1> : tensor<2x2xi8>}

// -----

// expected-error @+1 {{C4: 'scales' must be 2x1 of f32, got 'tensor<2xf32>'}}
eff.weight @w : !eff.weight<2x8, #eff.int4<group = 8>> {quantized = dense<1> : tensor<2x8xi8>, scales = dense<1.0> : tensor<2xf32>}

// -----

// expected-error @+1 {{C4: 'zeros' must be there if the format has zero points, and only then}}
eff.weight @w : !eff.weight<1x8, #eff.int4<group = 8, zeros = true>> {quantized = dense<1> : tensor<1x8xi8>, scales = dense<1.0> : tensor<1x1xf32>}

// -----

// expected-error @+1 {{C4: 'zeros' must be 2x1 of f32, got 'tensor<2xf32>'}}
eff.weight @w : !eff.weight<2x8, #eff.int8<group = 8, zeros = true>> {quantized = dense<1> : tensor<2x8xi8>, scales = dense<1.0> : tensor<2x1xf32>, zeros = dense<1.0> : tensor<2xf32>}

// -----

// expected-error @+1 {{C5: a pinned weight must have 'quantized'}}
eff.weight @w : !eff.weight<2x8, #eff.int8> {pinned}

// -----

// expected-error @+1 {{C6: a weight of #eff.float8 must have 'quantized'}}
eff.weight @w : !eff.weight<2x8, #eff.float8<e4m3fn>> = dense<1.0> : tensor<2x8xf32>
