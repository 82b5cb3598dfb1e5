// RUN: effc-opt %s -verify-diagnostics -split-input-file

func.func @gated_norm_c1(%x: tensor<4x8xf32>, %w: !eff.weight<4, f32>) {
  // expected-error @+1 {{C1: the weight must be 8, got 4}}
  %y = eff.gated_norm %x, %x, %w {eps = 1.0e-5 : f32, group = 4} : tensor<4x8xf32>, !eff.weight<4, f32>
  return
}

// -----

func.func @gated_norm_c2_group(%x: tensor<4x8xf32>, %w: !eff.weight<8, f32>) {
  // expected-error @+1 {{C2: group (3) must divide the number of features (8)}}
  %y = eff.gated_norm %x, %x, %w {eps = 1.0e-5 : f32, group = 3} : tensor<4x8xf32>, !eff.weight<8, f32>
  return
}

// -----

func.func @gated_norm_c2_eps(%x: tensor<4x8xf32>, %w: !eff.weight<8, f32>) {
  // expected-error @+1 {{C2: eps must not be negative, got -1}}
  %y = eff.gated_norm %x, %x, %w {eps = -1.0 : f32} : tensor<4x8xf32>, !eff.weight<8, f32>
  return
}

// -----

func.func @layer_norm_c1_weight(%x: tensor<4x8xf32>, %w: !eff.weight<4, f32>) {
  // expected-error @+1 {{C1: the weight must be 8, got 4}}
  %y = eff.layer_norm %x, %w {eps = 1.0e-5 : f32} : tensor<4x8xf32>, !eff.weight<4, f32>
  return
}

// -----

func.func @layer_norm_c1_bias(%x: tensor<4x8xf32>, %w: !eff.weight<8, f32>, %b: !eff.weight<4, f32>) {
  // expected-error @+1 {{C1: the bias must be 8, got 4}}
  %y = eff.layer_norm %x, %w bias %b {eps = 1.0e-5 : f32} : tensor<4x8xf32>, !eff.weight<8, f32>, !eff.weight<4, f32>
  return
}

// -----

func.func @layer_norm_c1_scalar(%x: tensor<f32>, %w: !eff.weight<8, f32>) {
  // expected-error @+1 {{C1: the input must have features, got a scalar}}
  %y = eff.layer_norm %x, %w {eps = 1.0e-5 : f32} : tensor<f32>, !eff.weight<8, f32>
  return
}

// -----

func.func @layer_norm_c2(%x: tensor<4x8xf32>, %w: !eff.weight<8, f32>) {
  // expected-error @+1 {{C2: eps must not be negative}}
  %y = eff.layer_norm %x, %w {eps = 0x7FC00000 : f32} : tensor<4x8xf32>, !eff.weight<8, f32>
  return
}

// -----

func.func @rms_norm_c1_features(%x: tensor<4x8xf32>, %w: !eff.weight<4, f32>) {
  // expected-error @+1 {{C1: the weight must be 8, got 4}}
  %y = eff.rms_norm %x, %w {eps = 1.0e-5 : f32} : tensor<4x8xf32>, !eff.weight<4, f32>
  return
}

// -----

func.func @rms_norm_c1_group(%x: tensor<4x8xf32>, %w: !eff.weight<8, f32>) {
  // expected-error @+1 {{C1: the weight must be 4, got 8}}
  %y = eff.rms_norm %x, %w {eps = 1.0e-5 : f32, group = 4} : tensor<4x8xf32>, !eff.weight<8, f32>
  return
}

// -----

func.func @rms_norm_c2_group(%x: tensor<4x8xf32>, %w: !eff.weight<3, f32>) {
  // expected-error @+1 {{C2: group (3) must divide the number of features (8)}}
  %y = eff.rms_norm %x, %w {eps = 1.0e-5 : f32, group = 3} : tensor<4x8xf32>, !eff.weight<3, f32>
  return
}

// -----

func.func @rms_norm_c2_eps(%x: tensor<4x8xf32>, %w: !eff.weight<8, f32>) {
  // expected-error @+1 {{C2: eps must not be negative, got -5.000000e-01}}
  %y = eff.rms_norm %x, %w {eps = -0.5 : f32} : tensor<4x8xf32>, !eff.weight<8, f32>
  return
}
