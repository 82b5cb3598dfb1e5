// RUN: effc-opt %s -split-input-file -verify-diagnostics

func.func @c2_features(%x: tensor<1x6x8xf32>, %a: !eff.weight<8x2, f32>, %b: tensor<1x6x6xf32>) {
  // expected-error @+1 {{C2: groups (4) must divide the features of B and C (6)}}
  %p, %q, %r = eff.collapse_channels %x, %x, %a, %b, %b {groups = 4, scans = 1}
    : tensor<1x6x8xf32>, tensor<1x6x8xf32>, !eff.weight<8x2, f32>, tensor<1x6x6xf32> -> tensor<1x6x2xf32>
  return
}

// -----

func.func @c1_heads(%x: tensor<1x6x8xf32>, %d: tensor<1x6x3xf32>, %a: !eff.weight<3, f32>, %b: tensor<1x6x4xf32>) {
  // expected-error @+1 {{C1: the heads (3) must divide the channels (8)}}
  %p, %q, %r = eff.collapse_channels %x, %d, %a, %b, %b {groups = 1, scans = 1}
    : tensor<1x6x8xf32>, tensor<1x6x3xf32>, !eff.weight<3, f32>, tensor<1x6x4xf32> -> tensor<1x6x4xf32>
  return
}

// -----

func.func @c2_heads(%x: tensor<1x6x8xf32>, %d: tensor<1x6x2xf32>, %a: !eff.weight<2, f32>, %b: tensor<1x6x4xf32>) {
  // expected-error @+1 {{C2: groups (4) must divide the heads (2)}}
  %p, %q, %r = eff.collapse_channels %x, %d, %a, %b, %b {groups = 4, scans = 1}
    : tensor<1x6x8xf32>, tensor<1x6x2xf32>, !eff.weight<2, f32>, tensor<1x6x4xf32> -> tensor<1x6x1xf32>
  return
}

// -----

func.func @expand_c2_skip(%x: tensor<1x6x1xf32>, %u: tensor<1x6x4xf32>, %d: !eff.weight<8, f32>) {
  // expected-error @+1 {{C2: skip must be 1x6x8, got 1x6x4}}
  %y = eff.expand_channels %x skip(%u, %d : tensor<1x6x4xf32>, !eff.weight<8, f32>) : tensor<1x6x1xf32> -> tensor<1x6x8xf32>
  return
}

// -----

func.func @expand_c2_gate(%x: tensor<1x6x1xf32>, %z: tensor<1x6x4xf32>) {
  // expected-error @+1 {{C2: gate must be 1x6x8, got 1x6x4}}
  %y = eff.expand_channels %x gate(%z : tensor<1x6x4xf32>) : tensor<1x6x1xf32> -> tensor<1x6x8xf32>
  return
}
