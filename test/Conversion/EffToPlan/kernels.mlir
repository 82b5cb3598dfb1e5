// RUN: effc-opt %s --convert-eff-to-plan -split-input-file | FileCheck %s

// Two layers of the same kind share their kernels; rows behind select_rows are as many as the call asks for.
// CHECK: plan.kernel @[[EMBED:embed_.*]] "embed" {d = 8 : i64, format = 3 : i64, group = 0 : i64, ldy = 8 : i64, rows = 4 : i64, vocab = 16 : i64}
// CHECK: plan.kernel @[[LINEAR:linear_bf16_.*]] "linear_bf16" {extra0_ld = 8 : i64, extras = 1 : i64, k = 8 : i64, {{.*}}rows = 4 : i64} epilogue {
// CHECK-NOT: linear_bf16
// CHECK: plan.kernel @[[SELECT:select_rows_.*]] "select_rows"
// CHECK: plan.kernel @[[HEAD:linear_f32_.*]] "linear_f32" {{.*}}rows = 0 : i64}
// CHECK-LABEL: plan.program @prefill_b1_t4 entry(<prefill, batch = 1, tokens = 4>)
// CHECK: plan.step @[[EMBED]](
// CHECK: plan.step @[[LINEAR]](
// CHECK: plan.step @[[LINEAR]](
// CHECK: plan.step @[[SELECT]](
// CHECK: plan.step @[[HEAD]]({{.*}}) writes [2] flops({{[1-9].*}}) bytes(512)
eff.weight @embed : !eff.weight<16x8, f32, panel16>
eff.weight @a : !eff.weight<8x8, bf16, panel32_pair>
eff.weight @b : !eff.weight<8x8, bf16, panel32_pair>
func.func @prefill_b1_t4(%ids: tensor<1x4xi32>) -> tensor<4x16xf32>
    attributes {eff.entry = #eff.entry<prefill, batch = 1, tokens = 4>} {
  %e = eff.use @embed : !eff.weight<16x8, f32, panel16>
  %a = eff.use @a : !eff.weight<8x8, bf16, panel32_pair>
  %b = eff.use @b : !eff.weight<8x8, bf16, panel32_pair>
  %x = eff.embed %ids, %e : tensor<1x4xi32>, !eff.weight<16x8, f32, panel16> -> tensor<1x4x8xf32>
  %y = eff.linear %x, %a extras(%x : tensor<1x4x8xf32>) epilogue {
  ^bb0(%acc: f32, %r: f32):
    %0 = arith.addf %acc, %r : f32
    eff.yield %0 : f32
  } : tensor<1x4x8xf32>, !eff.weight<8x8, bf16, panel32_pair> -> tensor<1x4x8xf32>
  %z = eff.linear %y, %b extras(%y : tensor<1x4x8xf32>) epilogue {
  ^bb0(%acc: f32, %r: f32):
    %0 = arith.addf %acc, %r : f32
    eff.yield %0 : f32
  } : tensor<1x4x8xf32>, !eff.weight<8x8, bf16, panel32_pair> -> tensor<1x4x8xf32>
  %s = eff.select_rows %z : tensor<1x4x8xf32> -> tensor<4x8xf32>
  %l = eff.linear %s, %e : tensor<4x8xf32>, !eff.weight<16x8, f32, panel16> -> tensor<4x16xf32>
  return %l : tensor<4x16xf32>
}

// -----

// int8 activations and their scales.
// CHECK-DAG: plan.kernel @[[Q:quantize_rows_.*]] "quantize_rows" {k = 6 : i64, ldq = 6 : i64, ldx = 6 : i64, rows = 2 : i64}
// CHECK-DAG: plan.kernel @[[L:linear_i8a8_.*]] "linear_i8a8" {extras = 0 : i64, k = 6 : i64, ldq = 6 : i64, ldy = 8 : i64, n = 8 : i64, rows = 2 : i64}
// CHECK-LABEL: plan.program @int8
// CHECK: %[[QB:.*]] = plan.buffer 12
// CHECK: %[[SB:.*]] = plan.buffer 8
// CHECK: plan.step @[[Q]](%{{.*}}, %[[QB]], %[[SB]]) writes [1, 2]
// CHECK: plan.step @[[L]](%[[QB]], %[[SB]], %{{.*}}, %{{.*}}, %{{.*}}) writes [3]
eff.weight @w : !eff.weight<8x6, #eff.int8, quad16>
func.func @int8(%x: tensor<1x2x6xf32>) -> tensor<1x2x8xf32>
    attributes {eff.entry = #eff.entry<forward, batch = 1, tokens = 2>} {
  %w = eff.use @w : !eff.weight<8x6, #eff.int8, quad16>
  %q, %s = eff.quantize %x : tensor<1x2x6xf32> -> tensor<1x2x6xi8>, tensor<1x2xf32>
  %y = eff.linear %q, %w scale(%s : tensor<1x2xf32>) : tensor<1x2x6xi8>, !eff.weight<8x6, #eff.int8, quad16> -> tensor<1x2x8xf32>
  return %y : tensor<1x2x8xf32>
}

// -----

// int8 rows come back.
// CHECK-DAG: plan.kernel @[[Q:quantize_rows_.*]] "quantize_rows" {k = 6 : i64, ldq = 6 : i64, ldx = 6 : i64, rows = 2 : i64}
// CHECK-DAG: plan.kernel @[[D:dequantize_rows_.*]] "dequantize_rows" {k = 6 : i64, ldq = 6 : i64, ldy = 6 : i64, rows = 2 : i64}
// CHECK-LABEL: plan.program @back
// CHECK: %[[QB:.*]] = plan.buffer 12
// CHECK: plan.step @[[Q]](%{{.*}}, %[[QB]], %[[S:.*]]) writes [1, 2]
// CHECK: plan.step @[[D]](%[[QB]], %[[S]], %{{.*}}) writes [2]
func.func @back(%x: tensor<1x2x6xf32>) -> tensor<1x2x6xf32>
    attributes {eff.entry = #eff.entry<forward, batch = 1, tokens = 2>} {
  %q, %s = eff.quantize %x : tensor<1x2x6xf32> -> tensor<1x2x6xi8>, tensor<1x2xf32>
  %y = eff.dequantize %q, %s : tensor<1x2x6xi8>, tensor<1x2xf32> -> tensor<1x2x6xf32>
  return %y : tensor<1x2x6xf32>
}

// -----

// A convolution is patches and a linear with the bias as its epilogue; attention makes the entry's tokens.
// CHECK-DAG: plan.kernel @[[P:patchify_.*]] "patchify" {batch = 1 : i64, channels = 3 : i64, height = 4 : i64, ph = 2 : i64, pw = 2 : i64, width = 4 : i64}
// CHECK-DAG: plan.kernel @[[C:linear_f32_.*]] "linear_f32" {extra0_ld = 0 : i64, extras = 1 : i64, k = 12 : i64
// CHECK-LABEL: plan.program @image entry(<forward, batch = 1, tokens = 4>)
// CHECK: %[[PB:.*]] = plan.buffer 192
// CHECK: plan.step @[[P]](%{{.*}}, %[[PB]]) writes [1]
// CHECK: plan.step @[[C]](%[[PB]],
// CHECK: plan.step @{{attention_.*}}(
eff.weight @w : !eff.weight<8x12, f32, panel16>
eff.weight @b : !eff.weight<8, f32>
func.func @image(%x: tensor<1x3x4x4xf32>) -> tensor<1x4x8xf32>
    attributes {eff.entry = #eff.entry<forward, batch = 1, tokens = 1>} {
  %w = eff.use @w : !eff.weight<8x12, f32, panel16>
  %b = eff.use @b : !eff.weight<8, f32>
  %y = eff.conv2d %x, %w bias %b {patch = array<i64: 2, 2>}
    : tensor<1x3x4x4xf32>, !eff.weight<8x12, f32, panel16>, !eff.weight<8, f32> -> tensor<1x4x8xf32>
  %a = eff.attention %y, %y, %y {heads = 2, kv_heads = 2, scale = 0.5 : f32}
    : tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>
  return %a : tensor<1x4x8xf32>
}

// -----

// A norm writes codes, the linear behind it reads them: neither rounding nor its scale is a step.
// CHECK-DAG: plan.kernel @[[N:rms_norm_.*]] "rms_norm" {d = 8 : i64, {{.*}}quant = 1 : i64
// CHECK-DAG: plan.kernel @[[L:linear_i8a8_.*]] "linear_i8a8" {{{.*}}ldq = 8 : i64, {{.*}}static_scale = 1 : i64
// CHECK-LABEL: plan.program @static
// CHECK: %[[S:.*]] = plan.weight @s
// CHECK: plan.step @[[N]](%{{.*}}, %{{.*}}, %[[Q:.*]], %[[S]]) writes [2]
// CHECK-NEXT: plan.step @[[L]](%[[Q]], %[[S]], %{{.*}}, %{{.*}}, %{{.*}}) writes [3]
eff.weight @g : !eff.weight<8, f32>
eff.weight @w : !eff.weight<8x8, #eff.int8, quad16>
eff.weight @s : !eff.weight<1, f32>
func.func @static(%x: tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
    attributes {eff.entry = #eff.entry<forward, batch = 1, tokens = 2>} {
  %g = eff.use @g : !eff.weight<8, f32>
  %w = eff.use @w : !eff.weight<8x8, #eff.int8, quad16>
  %s = eff.use @s : !eff.weight<1, f32>
  %n = eff.rms_norm %x, %g {eps = 1.0e-5 : f32} : tensor<1x2x8xf32>, !eff.weight<8, f32>
  %q = eff.quantize_static %n, %s : tensor<1x2x8xf32>, !eff.weight<1, f32> -> tensor<1x2x8xi8>
  %y = eff.linear %q, %w scale(%s : !eff.weight<1, f32>)
    : tensor<1x2x8xi8>, !eff.weight<8x8, #eff.int8, quad16> -> tensor<1x2x8xf32>
  return %y : tensor<1x2x8xf32>
}

// -----

// A gate of codes goes into the norm, the rotation behind it too.
// CHECK: plan.kernel @[[G:gated_norm_.*]] "gated_norm" {base = 1 : i64, blocks = 1 : i64, d = 8 : i64, {{.*}}hadamard = 1 : i64, {{.*}}quant = 2 : i64, {{.*}}z_i8 = 1 : i64
// CHECK-LABEL: plan.program @gate
// CHECK: plan.step @[[G]]({{.*}}) writes [3, 4]
// CHECK-NEXT: plan.step @linear
eff.weight @g : !eff.weight<8, f32>
eff.weight @w : !eff.weight<8x8, #eff.int8, quad16>
eff.weight @s : !eff.weight<1, f32>
func.func @gate(%x: tensor<1x2x8xf32>, %z: tensor<1x2x8xi8>) -> tensor<1x2x8xf32>
    attributes {eff.entry = #eff.entry<forward, batch = 1, tokens = 2>} {
  %g = eff.use @g : !eff.weight<8, f32>
  %w = eff.use @w : !eff.weight<8x8, #eff.int8, quad16>
  %s = eff.use @s : !eff.weight<1, f32>
  %d = eff.dequantize %z, %s : tensor<1x2x8xi8>, !eff.weight<1, f32> -> tensor<1x2x8xf32>
  %n = eff.gated_norm %x, %d, %g {eps = 1.0e-5 : f32} : tensor<1x2x8xf32>, !eff.weight<8, f32>
  %h = eff.hadamard %n : tensor<1x2x8xf32> -> tensor<1x2x8xf32, #eff.basis<hadamard = 8>>
  %q, %t = eff.quantize %h : tensor<1x2x8xf32, #eff.basis<hadamard = 8>> -> tensor<1x2x8xi8>, tensor<1x2xf32>
  %y = eff.linear %q, %w scale(%t : tensor<1x2xf32>)
    : tensor<1x2x8xi8>, !eff.weight<8x8, #eff.int8, quad16> -> tensor<1x2x8xf32>
  return %y : tensor<1x2x8xf32>
}

// -----

// int8 activations with 4-bit weights.
// CHECK-DAG: plan.kernel @[[L:linear_i4a8_.*]] "linear_i4a8" {extras = 0 : i64, group = 8 : i64, k = 16 : i64, ldq = 16 : i64, ldy = 8 : i64, n = 8 : i64, rows = 2 : i64}
// CHECK-LABEL: plan.program @int4
// CHECK: plan.step @[[L]](%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) writes [3]
eff.weight @w : !eff.weight<8x16, #eff.int4<group = 8>, nibble16>
func.func @int4(%x: tensor<1x2x16xf32>) -> tensor<1x2x8xf32>
    attributes {eff.entry = #eff.entry<forward, batch = 1, tokens = 2>} {
  %q, %s = eff.quantize %x : tensor<1x2x16xf32> -> tensor<1x2x16xi8>, tensor<1x2xf32>
  %w = eff.use @w : !eff.weight<8x16, #eff.int4<group = 8>, nibble16>
  %y = eff.linear %q, %w scale(%s : tensor<1x2xf32>) : tensor<1x2x16xi8>, !eff.weight<8x16, #eff.int4<group = 8>, nibble16> -> tensor<1x2x8xf32>
  return %y : tensor<1x2x8xf32>
}

// -----

// A convolution of floats rounds its result by the scale of the next op.
// CHECK: plan.kernel @[[CONV:causal_conv1d_.*]] "causal_conv1d" {{{.*}}quant = 1 : i64
// CHECK: %[[NULL:.*]] = plan.null
// CHECK-DAG: %[[SCALE:.*]] = plan.weight @scale
// CHECK: plan.step @[[CONV]]({{.*}}, %[[NULL]], %[[SCALE]]) writes [3, 4]
eff.weight @ids : !eff.weight<16x16, f32>
eff.weight @conv : !eff.weight<16x4, f32>
eff.weight @scale : !eff.weight<1, f32>
eff.weight @out : !eff.weight<16x16, #eff.int8, quad16>
eff.state @s : !eff.state<conv, 3x16, f32>
func.func @decode_b1_t1(%ids: tensor<1x1xi32>) -> tensor<1x1x16xf32>
    attributes {eff.entry = #eff.entry<decode, batch = 1, tokens = 1>} {
  %e = eff.use @ids : !eff.weight<16x16, f32>
  %w = eff.use @conv : !eff.weight<16x4, f32>
  %scale = eff.use @scale : !eff.weight<1, f32>
  %out = eff.use @out : !eff.weight<16x16, #eff.int8, quad16>
  %s = eff.use @s : !eff.state<conv, 3x16, f32>
  %x = eff.embed %ids, %e : tensor<1x1xi32>, !eff.weight<16x16, f32> -> tensor<1x1x16xf32>
  %y = eff.causal_conv1d %x, %w, %s : tensor<1x1x16xf32>, !eff.weight<16x4, f32>, !eff.state<conv, 3x16, f32>
  %q = eff.quantize_static %y, %scale : tensor<1x1x16xf32>, !eff.weight<1, f32> -> tensor<1x1x16xi8>
  %l = eff.linear %q, %out scale(%scale : !eff.weight<1, f32>) : tensor<1x1x16xi8>, !eff.weight<16x16, #eff.int8, quad16> -> tensor<1x1x16xf32>
  return %l : tensor<1x1x16xf32>
}

// -----

// The scale and zero point of a tensor's range are a step; rounding by them is one of its own, before and behind linears.
// CHECK-DAG: plan.kernel @[[R:tensor_scale_.*]] "tensor_scale" {k = 8 : i64, ldx = 8 : i64, rows = 2 : i64}
// CHECK-DAG: plan.kernel @[[Q:quantize_static_.*]] "quantize_static" {asymmetric = 1 : i64
// CHECK-DAG: plan.kernel @[[L:linear_i8a8_.*]] "linear_i8a8" {asymmetric = 1 : i64, {{.*}}static_scale = 1 : i64, zeros = 1 : i64}
// CHECK-LABEL: plan.program @dynamic
// CHECK: plan.step @[[R]](%[[X:.*]], %[[S:.*]]) writes [1]
// CHECK: plan.step @[[Q]](%[[X]], %[[S]], %[[C:.*]]) writes [2]
// CHECK: plan.step @[[L]](%[[C]], %[[S]], %{{.*}}, %{{.*}}, %{{.*}}) writes [3]
eff.weight @w : !eff.weight<8x8, #eff.int8<zeros = true>, quad16>
func.func @dynamic(%x: tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
    attributes {eff.entry = #eff.entry<forward, batch = 1, tokens = 2>} {
  %w = eff.use @w : !eff.weight<8x8, #eff.int8<zeros = true>, quad16>
  %s = eff.tensor_scale %x : tensor<1x2x8xf32> -> tensor<2xf32>
  %q = eff.quantize_static %x, %s {asymmetric} : tensor<1x2x8xf32>, tensor<2xf32> -> tensor<1x2x8xi8>
  %y = eff.linear %q, %w scale(%s : tensor<2xf32>)
    : tensor<1x2x8xi8>, !eff.weight<8x8, #eff.int8<zeros = true>, quad16> -> tensor<1x2x8xf32>
  return %y : tensor<1x2x8xf32>
}
