// RUN: effc-opt %s -verify-diagnostics -split-input-file
// Errors of a type's verifier are followed by the parser's own.

// weight C1
// expected-error @+1 {{C1: every dimension must be positive, got 0}}
func.func private @weight_c1_zero(!eff.weight<0x4, f32>)

// -----

// expected-error @+1 {{C1: more than 2^48 elements}}
func.func private @weight_c1_huge(!eff.weight<4294967296x4294967296, f32>)

// -----

// expected-error @+1 {{C2: the format must be f32, bf16, f16, #eff.int8, #eff.int4 or #eff.float8, got f64}}
func.func private @weight_c2_f64(!eff.weight<4x4, f64>)

// -----

// expected-error @+1 {{C2: the format must be f32, bf16, f16, #eff.int8, #eff.int4 or #eff.float8, got 3 : i64}}
func.func private @weight_c2_number(!eff.weight<4x4, 3>)

// -----

// expected-error @+1 {{C3: a format with scales needs a 2-d shape, got 1-d}}
func.func private @weight_c3_rank(!eff.weight<4, #eff.int8>)

// -----

// expected-error @+1 {{C3: the group of #eff.int4 must be a positive multiple of 8, got 12}}
func.func private @weight_c3_group(!eff.weight<4x4, #eff.int4<group = 12>>)

// -----

// expected-error @+1 {{C3: the group of #eff.int4 must be a positive multiple of 8, got 0}}
func.func private @weight_c3_group_zero(!eff.weight<4x4, #eff.int4<group = 0>>)

// -----

// expected-error @+1 {{C3: the group of #eff.int8 must be 0 or a positive multiple of 8, got 4}}
func.func private @weight_c3_group_int8(!eff.weight<4x4, #eff.int8<group = 4>>)

// -----

// expected-error @+1 {{C4: layout panel16 does not hold format bf16}}
func.func private @weight_c4_panel16(!eff.weight<4x4, bf16, panel16>)

// -----

// expected-error @+1 {{C4: layout panel32_pair does not hold format f32}}
func.func private @weight_c4_panel32_pair(!eff.weight<4x4, f32, panel32_pair>)

// -----

// expected-error @+1 {{C4: layout quad16 does not hold format #eff.int4}}
func.func private @weight_c4_quad16(!eff.weight<4x4, #eff.int4, quad16>)

// -----

// expected-error @+1 {{C4: layout nibble16 does not hold format #eff.int8}}
func.func private @weight_c4_nibble16(!eff.weight<4x4, #eff.int8, nibble16>)

// -----

// expected-error @+1 {{C4: layout panel16 needs a 2-d shape, got 1-d}}
func.func private @weight_c4_rank(!eff.weight<4, f32, panel16>)

// -----

// expected-error @+1 {{unknown layout 'diagonal', expected one of: row_major, panel16, panel32_pair, quad16, nibble16}}
func.func private @weight_layout_name(!eff.weight<4x4, f32, diagonal>)

// -----

// expected-error @+1 {{C1: a state of kind ssd has rank 3, got 2}}
func.func private @state_c1_ssd_rank(!eff.state<ssd, 4x4, f32>)

// -----

// expected-error @+1 {{C1: a state of kind conv has rank 2, got 3}}
func.func private @state_c1_conv_rank(!eff.state<conv, 4x4x4, f32>)

// -----

// expected-error @+1 {{C1: every dimension must be positive, got 0}}
func.func private @state_c1_zero(!eff.state<ssm, 0x4, f32>)

// -----

// expected-error @+1 {{C2: a state of kind ssm holds f32 or #eff.int8_state, got f16}}
func.func private @state_c2(!eff.state<ssm, 4x4, f16>)

// -----

// expected-error @+1 {{C1: every dimension must be positive, got -1}}
func.func private @cache_c1_capacity(!eff.cache<2x4, capacity = -1, f32>)

// -----

// expected-error @+1 {{C1: every dimension must be positive, got 0}}
func.func private @cache_c1_heads(!eff.cache<0x4, capacity = 8, f32>)

// -----

// expected-error @+1 {{C2: the format must be f32, #eff.int8 or #eff.int_cache, got bf16}}
func.func private @cache_c2(!eff.cache<2x4, capacity = 8, bf16>)

// -----

// expected-error @+1 {{C3: with integers of 4 bits, head_dim must be even, got 5}}
func.func private @cache_c3(!eff.cache<2x5, capacity = 8, #eff.int_cache<4>>)

// -----

// expected-error @+1 {{C1: a cache has integers of 8 or 4 bits, got 5}}
func.func private @int_cache_c1(!eff.cache<2x4, capacity = 8, #eff.int_cache<5>>)

// -----

// expected-error @+1 {{expected heads x head_dim, got 1 dimension(s)}}
func.func private @cache_shape(!eff.cache<2, capacity = 8, f32>)

// -----

// expected-error @+1 {{C2: a state of kind ssd holds f32 or #eff.int8_state, got i8}}
func.func private @state_c2_ssd(!eff.state<ssd, 2x4x4, i8>)

// -----

// expected-error @+1 {{C2: a state of kind conv holds f32 or i8}}
func.func private @state_c2_conv(!eff.state<conv, 3x4, #eff.int8_state<dynamic, nearest, residual = 0>>)

// -----

// expected-error @+1 {{C1: a residual has 0, 4 or 8 bits, got 3}}
func.func private @int8_state_c1(!eff.state<ssm, 4x4, #eff.int8_state<static, stochastic, residual = 3>>)

// -----

// expected-error @+1 {{C1: a basis has an order with a name or a rotation}}
func.func private @basis_c1(tensor<4xf32, #eff.basis<hadamard = 0>>)

// -----

// expected-error @+1 {{C5: a rotation of 8 features cannot be the basis of 4}}
func.func private @weight_c5(!eff.weight<4x4, f32 in #eff.basis<hadamard = 8>>)

// -----

// expected-error @+1 {{C5: bases need a 2-d shape, got 1-d}}
func.func private @weight_c5_vector(!eff.weight<4, f32 out #eff.basis<hadamard = 4>>)

// -----

// expected-error @+1 {{C1: a shape must have a dimension}}
func.func @weight_c1_empty(%w: !eff.weight<, f32>) {
  return
}

// -----

// expected-error @+1 {{C3: a format with scales needs a 2-d shape, got 1-d}}
func.func private @weight_c3_float8(!eff.weight<8, #eff.float8<e4m3fn>>)

// -----

// expected-error @+1 {{C4: layout panel16 does not hold format #eff.float8<e5m2>}}
func.func private @weight_c4_float8(!eff.weight<16x8, #eff.float8<e5m2>, panel16>)
