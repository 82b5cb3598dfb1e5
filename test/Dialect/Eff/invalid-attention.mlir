// RUN: effc-opt %s -verify-diagnostics -split-input-file

func.func @attention_c1(%q: tensor<1x4x23xf32>, %k: tensor<1x4x8xf32>) {
  // expected-error @+1 {{C1: heads (6) must divide the query's features (23)}}
  %y = eff.attention %q, %k, %k {heads = 6, kv_heads = 2, scale = 1.0 : f32}
    : tensor<1x4x23xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>
  return
}

// -----

func.func @attention_c1_no_heads(%q: tensor<1x4x24xf32>, %k: tensor<1x4x8xf32>) {
  // expected-error @+1 {{C1: heads (0) must divide the query's features (24)}}
  %y = eff.attention %q, %k, %k {heads = 0, kv_heads = 2, scale = 1.0 : f32}
    : tensor<1x4x24xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>
  return
}

// -----

func.func @attention_c2(%q: tensor<1x4x24xf32>, %k: tensor<1x4x16xf32>) {
  // expected-error @+1 {{C2: kv_heads (4) must divide heads (6)}}
  %y = eff.attention %q, %k, %k {heads = 6, kv_heads = 4, scale = 1.0 : f32}
    : tensor<1x4x24xf32>, tensor<1x4x16xf32>, tensor<1x4x16xf32>
  return
}

// -----

func.func @attention_c3_mixed(%q: tensor<1x4x24xf32>, %k: tensor<1x4x8xf32>, %v: !eff.cache<2x4, capacity = 8, f32>) {
  // expected-error @+1 {{C3: keys and values must be both caches or both tensors}}
  %y = eff.attention %q, %k, %v {heads = 6, kv_heads = 2, scale = 1.0 : f32}
    : tensor<1x4x24xf32>, tensor<1x4x8xf32>, !eff.cache<2x4, capacity = 8, f32>
  return
}

// -----

func.func @attention_c3_tensor(%q: tensor<1x4x24xf32>, %k: tensor<1x4x8xf32>, %v: tensor<1x4x12xf32>) {
  // expected-error @+1 {{C3: the values must be 1x4x8, got 1x4x12}}
  %y = eff.attention %q, %k, %v {heads = 6, kv_heads = 2, scale = 1.0 : f32}
    : tensor<1x4x24xf32>, tensor<1x4x8xf32>, tensor<1x4x12xf32>
  return
}

// -----

func.func @attention_c3_cache(%q: tensor<1x4x24xf32>, %k: !eff.cache<3x4, capacity = 8, f32>) {
  // expected-error @+1 {{C3: the keys must be a cache of 2x4, got 3x4}}
  %y = eff.attention %q, %k, %k {heads = 6, kv_heads = 2, scale = 1.0 : f32}
    : tensor<1x4x24xf32>, !eff.cache<3x4, capacity = 8, f32>, !eff.cache<3x4, capacity = 8, f32>
  return
}

// -----

func.func @attention_c3_capacity(%q: tensor<1x4x24xf32>, %k: !eff.cache<2x4, capacity = 8, f32>,
                                 %v: !eff.cache<2x4, capacity = 9, f32>) {
  // expected-error @+1 {{C3: keys and values must have equal capacities, got 8 and 9}}
  %y = eff.attention %q, %k, %v {heads = 6, kv_heads = 2, scale = 1.0 : f32}
    : tensor<1x4x24xf32>, !eff.cache<2x4, capacity = 8, f32>, !eff.cache<2x4, capacity = 9, f32>
  return
}

// -----

func.func @attention_c4_window(%q: tensor<1x4x8xf32>) {
  // expected-error @+1 {{C4: window must not be negative, got -1}}
  %y = eff.attention %q, %q, %q {heads = 2, kv_heads = 2, scale = 1.0 : f32, causal, window = -1}
    : tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>
  return
}

// -----

func.func @attention_c4_not_causal(%q: tensor<1x4x8xf32>) {
  // expected-error @+1 {{C4: a window needs 'causal'}}
  %y = eff.attention %q, %q, %q {heads = 2, kv_heads = 2, scale = 1.0 : f32, window = 2}
    : tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>
  return
}

// -----

func.func @attention_c4_softcap(%q: tensor<1x4x8xf32>) {
  // expected-error @+1 {{C4: softcap must not be negative, got -2}}
  %y = eff.attention %q, %q, %q {heads = 2, kv_heads = 2, scale = 1.0 : f32, softcap = -2.0 : f32}
    : tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>
  return
}

// -----

func.func @cache_append_c1(%k: tensor<1x4x12xf32>, %c: !eff.cache<2x4, capacity = 8, f32>) {
  // expected-error @+1 {{C1: the input must be 1x4x8, got 1x4x12}}
  eff.cache_append %k, %c : tensor<1x4x12xf32>, !eff.cache<2x4, capacity = 8, f32>
  return
}

// -----

func.func @rope_c1(%x: tensor<1x4x23xf32>, %f: !eff.weight<2, f32>) {
  // expected-error @+1 {{C1: heads (6) must divide the number of features (23)}}
  %y = eff.rope %x, %f {heads = 6} : tensor<1x4x23xf32>, !eff.weight<2, f32>
  return
}

// -----

func.func @rope_c2_length(%x: tensor<1x4x24xf32>, %f: !eff.weight<3, f32>) {
  // expected-error @+1 {{C2: twice the length of inv_freq (3) must be at most the head dimension (4)}}
  %y = eff.rope %x, %f {heads = 6} : tensor<1x4x24xf32>, !eff.weight<3, f32>
  return
}

// -----

func.func @rope_c2_format(%x: tensor<1x4x24xf32>, %f: !eff.weight<2, bf16>) {
  // expected-error @+1 {{C2: inv_freq must be f32, got 'bf16'}}
  %y = eff.rope %x, %f {heads = 6} : tensor<1x4x24xf32>, !eff.weight<2, bf16>
  return
}

// -----

func.func @attention_c5_cache(%q: tensor<1x1x8xf32>, %c: !eff.cache<2x4, capacity = 8, f32>, %b: tensor<1x1x1x1xf32>) {
  // expected-error @+1 {{C5: a bias goes with keys and values that are tensors}}
  %y = eff.attention %q, %c, %c bias %b {heads = 2, kv_heads = 2, scale = 0.5 : f32, causal}
    : tensor<1x1x8xf32>, !eff.cache<2x4, capacity = 8, f32>, !eff.cache<2x4, capacity = 8, f32>, tensor<1x1x1x1xf32>
  return
}

// -----

func.func @attention_c5_shape(%q: tensor<4x3x8xf32>, %b: tensor<3x1x1x3xf32>) {
  // expected-error @+1 {{C5: the bias must be [P, 2 or 1, 3 or 1, 3] with a P that divides 4, got}}
  %y = eff.attention %q, %q, %q bias %b {heads = 2, kv_heads = 2, scale = 0.5 : f32}
    : tensor<4x3x8xf32>, tensor<4x3x8xf32>, tensor<4x3x8xf32>, tensor<3x1x1x3xf32>
  return
}

// -----

func.func @position_embed_c1(%w: !eff.weight<9x8, f32>) {
  // expected-error @+1 {{C1: the result must be 1x2x8, got 1x2x9}}
  %y = eff.position_embed %w : !eff.weight<9x8, f32> -> tensor<1x2x9xf32>
  return
}

// -----

func.func @position_embed_c2(%w: !eff.weight<9x8, f32>) {
  // expected-error @+1 {{C2: offset must not be negative, got -1}}
  %y = eff.position_embed %w {offset = -1} : !eff.weight<9x8, f32> -> tensor<1x2x8xf32>
  return
}

// -----

func.func @attention_c6_absent(%q: tensor<1x1x8xf32>, %c: !eff.cache<2x4, capacity = 8, #eff.int_cache<8>>) {
  // expected-error @+1 {{C6: a cache of #eff.int_cache comes with key_scale, another without}}
  %y = eff.attention %q, %c, %c {heads = 2, kv_heads = 2, scale = 0.5 : f32, causal}
    : tensor<1x1x8xf32>, !eff.cache<2x4, capacity = 8, #eff.int_cache<8>>, !eff.cache<2x4, capacity = 8, #eff.int_cache<8>>
  return
}

// -----

func.func @attention_c6_other(%q: tensor<1x1x8xf32>, %c: !eff.cache<2x4, capacity = 8, f32>, %s: !eff.weight<8, f32>) {
  // expected-error @+1 {{C6: a cache of #eff.int_cache comes with value_scale, another without}}
  %y = eff.attention %q, %c, %c value_scale %s {heads = 2, kv_heads = 2, scale = 0.5 : f32, causal}
    : tensor<1x1x8xf32>, !eff.cache<2x4, capacity = 8, f32>, !eff.cache<2x4, capacity = 8, f32> value_scale !eff.weight<8, f32>
  return
}

// -----

func.func @attention_c6_shape(%q: tensor<1x1x8xf32>, %c: !eff.cache<2x4, capacity = 8, #eff.int_cache<4>>,
                              %s: !eff.weight<8, f32>, %t: !eff.weight<4, f32>) {
  // expected-error @+1 {{C6: value_scale must be 8, got 4}}
  %y = eff.attention %q, %c, %c key_scale %s value_scale %t {heads = 2, kv_heads = 2, scale = 0.5 : f32, causal}
    : tensor<1x1x8xf32>, !eff.cache<2x4, capacity = 8, #eff.int_cache<4>>, !eff.cache<2x4, capacity = 8, #eff.int_cache<4>>
      key_scale !eff.weight<8, f32> value_scale !eff.weight<4, f32>
  return
}

// -----

func.func @attention_c6_key_shape(%q: tensor<1x1x8xf32>, %c: !eff.cache<2x4, capacity = 8, #eff.int_cache<4>>,
                              %s: !eff.weight<8, f32>, %t: !eff.weight<4, f32>) {
  // expected-error @+1 {{C6: key_scale must be 8, got 4}}
  %y = eff.attention %q, %c, %c key_scale %t value_scale %s {heads = 2, kv_heads = 2, scale = 0.5 : f32, causal}
    : tensor<1x1x8xf32>, !eff.cache<2x4, capacity = 8, #eff.int_cache<4>>, !eff.cache<2x4, capacity = 8, #eff.int_cache<4>>
      key_scale !eff.weight<4, f32> value_scale !eff.weight<8, f32>
  return
}

// -----

func.func @cache_append_c2_absent(%k: tensor<1x4x8xf32>, %c: !eff.cache<2x4, capacity = 8, #eff.int_cache<8>>) {
  // expected-error @+1 {{C2: a cache of #eff.int_cache comes with scales, another without}}
  eff.cache_append %k, %c : tensor<1x4x8xf32>, !eff.cache<2x4, capacity = 8, #eff.int_cache<8>>
  return
}

// -----

func.func @cache_append_c2_format(%k: tensor<1x4x8xf32>, %c: !eff.cache<2x4, capacity = 8, #eff.int_cache<8>>,
                                  %s: !eff.weight<8, bf16>) {
  // expected-error @+1 {{C2: scales must be f32, got bf16}}
  eff.cache_append %k, %c scale %s
    : tensor<1x4x8xf32>, !eff.cache<2x4, capacity = 8, #eff.int_cache<8>>, !eff.weight<8, bf16>
  return
}
