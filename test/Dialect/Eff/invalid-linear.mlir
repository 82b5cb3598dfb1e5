// RUN: effc-opt %s -verify-diagnostics -split-input-file

func.func @conv2d_c1(%x: tensor<1x3x32x30xf32>, %w: !eff.weight<8x48, f32>) {
  // expected-error @+1 {{C1: patch must be two numbers that divide height (32) and width (30)}}
  %y = eff.conv2d %x, %w {patch = array<i64: 4, 4>} : tensor<1x3x32x30xf32>, !eff.weight<8x48, f32> -> tensor<1x64x8xf32>
  return
}

// -----

func.func @conv2d_c1_one_number(%x: tensor<1x3x32x32xf32>, %w: !eff.weight<8x48, f32>) {
  // expected-error @+1 {{C1: patch must be two numbers}}
  %y = eff.conv2d %x, %w {patch = array<i64: 4>} : tensor<1x3x32x32xf32>, !eff.weight<8x48, f32> -> tensor<1x64x8xf32>
  return
}

// -----

func.func @conv2d_c1_zero(%x: tensor<1x3x32x32xf32>, %w: !eff.weight<8x48, f32>) {
  // expected-error @+1 {{C1: patch must be two numbers}}
  %y = eff.conv2d %x, %w {patch = array<i64: 0, 4>} : tensor<1x3x32x32xf32>, !eff.weight<8x48, f32> -> tensor<1x64x8xf32>
  return
}

// -----

func.func @conv2d_c2_weight(%x: tensor<1x3x32x32xf32>, %w: !eff.weight<8x47, f32>) {
  // expected-error @+1 {{C2: the weight must be 8x48, got 8x47}}
  %y = eff.conv2d %x, %w {patch = array<i64: 4, 4>} : tensor<1x3x32x32xf32>, !eff.weight<8x47, f32> -> tensor<1x64x8xf32>
  return
}

// -----

func.func @conv2d_c2_bias(%x: tensor<1x3x32x32xf32>, %w: !eff.weight<8x48, f32>, %b: !eff.weight<9, f32>) {
  // expected-error @+1 {{C2: the bias must be 8, got 9}}
  %y = eff.conv2d %x, %w bias %b {patch = array<i64: 4, 4>}
    : tensor<1x3x32x32xf32>, !eff.weight<8x48, f32>, !eff.weight<9, f32> -> tensor<1x64x8xf32>
  return
}

// -----

func.func @conv2d_c3(%x: tensor<1x3x32x32xf32>, %w: !eff.weight<8x48, f32>) {
  // expected-error @+1 {{C3: the result must be 1x64x8, got 1x63x8}}
  %y = eff.conv2d %x, %w {patch = array<i64: 4, 4>} : tensor<1x3x32x32xf32>, !eff.weight<8x48, f32> -> tensor<1x63x8xf32>
  return
}

// -----

func.func @dequantize_c1_scale(%q: tensor<1x4x8xi8>, %s: tensor<1x8xf32>) {
  // expected-error @+1 {{C1: the scale must be 1x4, got 1x8}}
  %y = eff.dequantize %q, %s : tensor<1x4x8xi8>, tensor<1x8xf32> -> tensor<1x4x8xf32>
  return
}

// -----

func.func @dequantize_c1_result(%q: tensor<1x4x8xi8>, %s: tensor<1x4xf32>) {
  // expected-error @+1 {{C1: the result must be 1x4x8, got 1x4x9}}
  %y = eff.dequantize %q, %s : tensor<1x4x8xi8>, tensor<1x4xf32> -> tensor<1x4x9xf32>
  return
}

// -----

func.func @embed_c1(%ids: tensor<2x3xi32>, %w: !eff.weight<10x4, bf16>) {
  // expected-error @+1 {{C1: the result must be 2x3x4, got 2x3x10}}
  %y = eff.embed %ids, %w : tensor<2x3xi32>, !eff.weight<10x4, bf16> -> tensor<2x3x10xf32>
  return
}

// -----

func.func @linear_c1(%x: tensor<1x1x8xf32>, %w: !eff.weight<4x7, f32>) {
  // expected-error @+1 {{C1: the activations' last dimension must be the weight's k (7), got 8}}
  %y = eff.linear %x, %w : tensor<1x1x8xf32>, !eff.weight<4x7, f32> -> tensor<1x1x4xf32>
  return
}

// -----

func.func @linear_c2(%x: tensor<1x2x8xf32>, %w: !eff.weight<4x8, f32>) {
  // expected-error @+1 {{C2: the result must be 1x2x4, got 2x4}}
  %y = eff.linear %x, %w : tensor<1x2x8xf32>, !eff.weight<4x8, f32> -> tensor<2x4xf32>
  return
}

// -----

func.func @linear_c3_tensor(%x: tensor<1x2x8xf32>, %w: !eff.weight<4x8, f32>, %r: tensor<1x2x8xf32>) {
  // expected-error @+1 {{C3: an extra must be 1x2x4, got 1x2x8}}
  %y = eff.linear %x, %w extras(%r : tensor<1x2x8xf32>) epilogue {
  ^bb0(%acc: f32, %res: f32):
    eff.yield %res : f32
  } : tensor<1x2x8xf32>, !eff.weight<4x8, f32> -> tensor<1x2x4xf32>
  return
}

// -----

func.func @linear_c3_vector(%x: tensor<1x2x8xf32>, %w: !eff.weight<4x8, f32>, %b: !eff.weight<8, f32>) {
  // expected-error @+1 {{C3: an extra must be 4, got 8}}
  %y = eff.linear %x, %w extras(%b : !eff.weight<8, f32>) epilogue {
  ^bb0(%acc: f32, %bias: f32):
    eff.yield %bias : f32
  } : tensor<1x2x8xf32>, !eff.weight<4x8, f32> -> tensor<1x2x4xf32>
  return
}

// -----

func.func @linear_c4_arguments(%x: tensor<1x2x8xf32>, %w: !eff.weight<4x8, f32>) {
  // expected-error @+1 {{C4: the epilogue must have 1 argument(s), got 2}}
  %y = eff.linear %x, %w epilogue {
  ^bb0(%acc: f32, %res: f32):
    eff.yield %res : f32
  } : tensor<1x2x8xf32>, !eff.weight<4x8, f32> -> tensor<1x2x4xf32>
  return
}

// -----

func.func @linear_c4_types(%x: tensor<1x2x8xf32>, %w: !eff.weight<4x8, f32>) {
  // expected-error @+1 {{C4: the epilogue's arguments must be f32, got 'f64'}}
  %y = eff.linear %x, %w epilogue {
  ^bb0(%acc: f64):
    %0 = arith.truncf %acc : f64 to f32
    eff.yield %0 : f32
  } : tensor<1x2x8xf32>, !eff.weight<4x8, f32> -> tensor<1x2x4xf32>
  return
}

// -----

func.func @linear_c4_ops(%x: tensor<1x2x8xf32>, %w: !eff.weight<4x8, f32>) {
  %y = eff.linear %x, %w epilogue {
  ^bb0(%acc: f32):
    // expected-error @+1 {{C4: an epilogue holds only arith and math ops}}
    %t = tensor.from_elements %acc : tensor<1xf32>
    eff.yield %acc : f32
  } : tensor<1x2x8xf32>, !eff.weight<4x8, f32> -> tensor<1x2x4xf32>
  return
}

// -----

func.func @linear_c4_terminator(%x: tensor<1x2x8xf32>, %w: !eff.weight<4x8, f32>) {
  %y = eff.linear %x, %w epilogue {
  ^bb0(%acc: f32):
    // expected-error @+1 {{block with no terminator}}
    %0 = math.exp %acc : f32
  } : tensor<1x2x8xf32>, !eff.weight<4x8, f32> -> tensor<1x2x4xf32>
  return
}

// -----

func.func @linear_c4_isolated(%x: tensor<1x2x8xf32>, %w: !eff.weight<4x8, f32>, %outside: f32) {
  // expected-note @+1 {{required by region isolation constraints}}
  %y = eff.linear %x, %w epilogue {
  ^bb0(%acc: f32):
    // expected-error @+1 {{using value defined outside the region}}
    %0 = arith.addf %acc, %outside : f32
    eff.yield %0 : f32
  } : tensor<1x2x8xf32>, !eff.weight<4x8, f32> -> tensor<1x2x4xf32>
  return
}

// -----

func.func @linear_c5_no_scale(%x: tensor<1x2x8xi8>, %w: !eff.weight<4x8, #eff.int8>) {
  // expected-error @+1 {{C5: int8 activations need scales}}
  %y = eff.linear %x, %w : tensor<1x2x8xi8>, !eff.weight<4x8, #eff.int8> -> tensor<1x2x4xf32>
  return
}

// -----

func.func @linear_c5_scale_shape(%x: tensor<1x2x8xi8>, %w: !eff.weight<4x8, #eff.int8>, %s: tensor<2x1xf32>) {
  // expected-error @+1 {{C5: the scale must be 1x2, got 2x1}}
  %y = eff.linear %x, %w scale(%s : tensor<2x1xf32>) : tensor<1x2x8xi8>, !eff.weight<4x8, #eff.int8> -> tensor<1x2x4xf32>
  return
}

// -----

func.func @linear_c5_format(%x: tensor<1x2x8xi8>, %w: !eff.weight<4x8, bf16>, %s: tensor<1x2xf32>) {
  // expected-error @+1 {{C5: int8 activations need an #eff.int8 or #eff.int4 weight, got bf16}}
  %y = eff.linear %x, %w scale(%s : tensor<1x2xf32>) : tensor<1x2x8xi8>, !eff.weight<4x8, bf16> -> tensor<1x2x4xf32>
  return
}

// -----

func.func @linear_c5_float8(%x: tensor<1x2x8xi8>, %w: !eff.weight<4x8, #eff.float8<e5m2>>, %s: tensor<1x2xf32>) {
  // expected-error @+1 {{C5: int8 activations need an #eff.int8 or #eff.int4 weight, got #eff.float8<e5m2>}}
  %y = eff.linear %x, %w scale(%s : tensor<1x2xf32>)
    : tensor<1x2x8xi8>, !eff.weight<4x8, #eff.float8<e5m2>> -> tensor<1x2x4xf32>
  return
}

// -----

func.func @linear_c5_scale_of_floats(%x: tensor<1x2x8xf32>, %w: !eff.weight<4x8, f32>, %s: tensor<1x2xf32>) {
  // expected-error @+1 {{C5: f32 activations have no scales}}
  %y = eff.linear %x, %w scale(%s : tensor<1x2xf32>) : tensor<1x2x8xf32>, !eff.weight<4x8, f32> -> tensor<1x2x4xf32>
  return
}

// -----

func.func @linear_c6(%x: tensor<1x2x8xf32>, %w: !eff.weight<4x8, f32>, %b: !eff.weight<4, f32>) {
  // expected-error @+1 {{C6: extras need an epilogue}}
  %y = eff.linear %x, %w extras(%b : !eff.weight<4, f32>) : tensor<1x2x8xf32>, !eff.weight<4x8, f32> -> tensor<1x2x4xf32>
  return
}

// -----

func.func @quantize_c1_result(%x: tensor<1x4x8xf32>) {
  // expected-error @+1 {{C1: the result must be 1x4x8, got 1x4x4}}
  %q, %s = eff.quantize %x : tensor<1x4x8xf32> -> tensor<1x4x4xi8>, tensor<1x4xf32>
  return
}

// -----

func.func @quantize_c1_scale(%x: tensor<1x4x8xf32>) {
  // expected-error @+1 {{C1: the scale must be 1x4, got 1x1}}
  %q, %s = eff.quantize %x : tensor<1x4x8xf32> -> tensor<1x4x8xi8>, tensor<1x1xf32>
  return
}

// -----

func.func @sample_c1(%x: tensor<4x8xf32>) {
  // expected-error @+1 {{C1: the result must be 4, got 8}}
  %id = eff.sample %x : tensor<4x8xf32> -> tensor<8xi32>
  return
}

// -----

func.func @select_rows_c1(%x: tensor<2x4x8xf32>) {
  // expected-error @+1 {{C1: the result must be 8x8, got 2x8}}
  %y = eff.select_rows %x : tensor<2x4x8xf32> -> tensor<2x8xf32>
  return
}

// -----

func.func @split_c1_sum(%x: tensor<1x1x8xf32>) {
  // expected-error @+1 {{C1: the results' last dimensions must add up to 8, got 7}}
  %a, %b = eff.split %x : tensor<1x1x8xf32> -> tensor<1x1x4xf32>, tensor<1x1x3xf32>
  return
}

// -----

func.func @split_c1_leading(%x: tensor<1x2x8xf32>) {
  // expected-error @+1 {{C1: the leading dimensions of results and input must agree}}
  %a, %b = eff.split %x : tensor<1x2x8xf32> -> tensor<1x2x4xf32>, tensor<2x1x4xf32>
  return
}

// -----

func.func @linear_c5_static_scale(%x: tensor<1x2x8xi8>, %w: !eff.weight<4x8, #eff.int8>, %s: !eff.weight<8, f32>) {
  // expected-error @+1 {{C5: the scale must be 1, got 8}}
  %y = eff.linear %x, %w scale(%s : !eff.weight<8, f32>) : tensor<1x2x8xi8>, !eff.weight<4x8, #eff.int8> -> tensor<1x2x4xf32>
  return
}

// -----

func.func @linear_c7_input(%x: tensor<1x2x8xf32>, %w: !eff.weight<4x8, f32 in #eff.basis<hadamard = 8>>) {
  // expected-error @+1 {{C7: the activations are not in the basis that the weight reads}}
  %y = eff.linear %x, %w : tensor<1x2x8xf32>, !eff.weight<4x8, f32 in #eff.basis<hadamard = 8>> -> tensor<1x2x4xf32>
  return
}

// -----

func.func @linear_c7_result(%x: tensor<1x2x8xf32>, %w: !eff.weight<4x8, f32 out #eff.basis<hadamard = 4>>) {
  // expected-error @+1 {{C7: the result is not in the basis that the weight writes}}
  %y = eff.linear %x, %w : tensor<1x2x8xf32>, !eff.weight<4x8, f32 out #eff.basis<hadamard = 4>> -> tensor<1x2x4xf32>
  return
}

// -----

func.func @bases_are_not_added(%x: tensor<1x2x8xf32>, %y: tensor<1x2x8xf32, #eff.basis<hadamard = 8>>) {
  // expected-note @-1 {{prior use here}}
  // expected-error @+1 {{expects different type than prior uses}}
  %z = arith.addf %x, %y : tensor<1x2x8xf32>
  return
}

// -----

func.func @quantize_static_c1(%x: tensor<1x4x8xf32>, %s: !eff.weight<4, f32>) {
  // expected-error @+1 {{C1: the scale must be 8, got 4}}
  %q = eff.quantize_static %x, %s : tensor<1x4x8xf32>, !eff.weight<4, f32> -> tensor<1x4x8xi8>
  return
}

// -----

func.func @dequantize_c1_static(%q: tensor<1x4x8xi8>, %s: !eff.weight<4, f32>) {
  // expected-error @+1 {{C1: the scale must be 8, got 4}}
  %x = eff.dequantize %q, %s : tensor<1x4x8xi8>, !eff.weight<4, f32> -> tensor<1x4x8xf32>
  return
}

// -----

func.func @hadamard_c2(%x: tensor<1x4x8xf32>) {
  // expected-error @+1 {{C2: the rotation of 8 features must be what the bases of input and result differ in}}
  %y = eff.hadamard %x : tensor<1x4x8xf32> -> tensor<1x4x8xf32>
  return
}

// -----

func.func @hadamard_c2_twice(%x: tensor<1x4x8xf32, #eff.basis<hadamard = 8>>) {
  // expected-error @+1 {{C2: the rotation of 8 features}}
  %y = eff.hadamard %x : tensor<1x4x8xf32, #eff.basis<hadamard = 8>> -> tensor<1x4x8xf32, #eff.basis<hadamard = 8>>
  return
}

// -----

func.func @hadamard_c3(%x: tensor<1x4x7xf32>) {
  // expected-error @+1 {{C3: no order above 1 divides 7 features}}
  %y = eff.hadamard %x : tensor<1x4x7xf32> -> tensor<1x4x7xf32, #eff.basis<hadamard = 7>>
  return
}

// -----

func.func @split_c1_types(%x: tensor<1x4x8xi8>) {
  // expected-error @+1 {{C1: the element types of results and input must agree}}
  %a, %b = eff.split %x : tensor<1x4x8xi8> -> tensor<1x4x4xf32>, tensor<1x4x4xi8>
  return
}

// -----

func.func @hadamard_C2_erased(%x: tensor<1x2x8xf32>) {
  // expected-error @below {{C2: neither input nor result may have a basis once bases are erased}}
  %0 = eff.hadamard %x {bases_erased} : tensor<1x2x8xf32> -> tensor<1x2x8xf32, #eff.basis<hadamard = 8>>
  return
}

// -----

eff.weight @t : !eff.weight<16x8, f32 in #eff.basis<hadamard = 8>>
func.func @embed_C2(%ids: tensor<1x2xi32>) {
  %t = eff.use @t : !eff.weight<16x8, f32 in #eff.basis<hadamard = 8>>
  // expected-error @below {{C2: the result is not in the basis of the table's rows}}
  %0 = eff.embed %ids, %t : tensor<1x2xi32>, !eff.weight<16x8, f32 in #eff.basis<hadamard = 8>> -> tensor<1x2x8xf32>
  return
}

// -----

func.func @linear_c5_group(%x: tensor<1x2x16xi8>, %w: !eff.weight<4x16, #eff.int8<group = 8>>, %s: !eff.weight<1, f32>) {
  // expected-error @+1 {{C5: int8 activations need a weight without groups, got #eff.int8<group = 8>}}
  %y = eff.linear %x, %w scale(%s : !eff.weight<1, f32>)
    : tensor<1x2x16xi8>, !eff.weight<4x16, #eff.int8<group = 8>> -> tensor<1x2x4xf32>
  return
}

// -----

func.func @linear_c5_zero_point(%x: tensor<1x2x8xi8>, %w: !eff.weight<4x8, #eff.int4<group = 8>>, %s: tensor<2xf32>) {
  // expected-error @+1 {{C5: activations with a zero point need an #eff.int8 weight, got #eff.int4<group = 8>}}
  %y = eff.linear %x, %w scale(%s : tensor<2xf32>)
    : tensor<1x2x8xi8>, !eff.weight<4x8, #eff.int4<group = 8>> -> tensor<1x2x4xf32>
  return
}

// -----

func.func @linear_c5_scale_and_zero_point(%x: tensor<1x2x8xi8>, %w: !eff.weight<4x8, #eff.int8>, %s: tensor<3xf32>) {
  // expected-error @+1 {{C5: scale and zero point must be 2, got 3}}
  %y = eff.linear %x, %w scale(%s : tensor<3xf32>) : tensor<1x2x8xi8>, !eff.weight<4x8, #eff.int8> -> tensor<1x2x4xf32>
  return
}

// -----

func.func @quantize_static_c1_asymmetric(%x: tensor<1x4x8xf32>, %s: !eff.weight<1, f32>) {
  // expected-error @+1 {{C1: scale and zero point must be 2, got 1}}
  %q = eff.quantize_static %x, %s {asymmetric} : tensor<1x4x8xf32>, !eff.weight<1, f32> -> tensor<1x4x8xi8>
  return
}

// -----

func.func @quantize_static_c1_tensor(%x: tensor<1x4x8xf32>, %s: tensor<1xf32>) {
  // expected-error @+1 {{C1: a scale without a zero point must be a weight}}
  %q = eff.quantize_static %x, %s : tensor<1x4x8xf32>, tensor<1xf32> -> tensor<1x4x8xi8>
  return
}

// -----

func.func @tensor_scale_c1(%x: tensor<1x4x8xf32>) {
  // expected-error @+1 {{C1: the result must be 2, got 1}}
  %s = eff.tensor_scale %x : tensor<1x4x8xf32> -> tensor<1xf32>
  return
}

// -----

func.func @linear_c7_extra(%x: tensor<1x2x8xf32>, %w: !eff.weight<4x8, f32 out #eff.basis<hadamard = 4>>, %r: tensor<1x2x4xf32>) {
  // expected-error @+1 {{C7: an extra is not in the result's basis}}
  %y = eff.linear %x, %w extras(%r : tensor<1x2x4xf32>) epilogue {
  ^bb0(%acc: f32, %res: f32):
    %0 = arith.addf %acc, %res : f32
    eff.yield %0 : f32
  } : tensor<1x2x8xf32>, !eff.weight<4x8, f32 out #eff.basis<hadamard = 4>> -> tensor<1x2x4xf32, #eff.basis<hadamard = 4>>
  return
}
