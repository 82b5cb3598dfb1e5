// RUN: effc-opt %s -split-input-file -verify-diagnostics

func.func @conv_c3(%x: tensor<1x4x8xf32>, %w: !eff.weight<8x4, f32>, %s: !eff.state<conv, 3x8, i8>, %q: !eff.weight<4, f32>) {
  // expected-error @+1 {{C3: state_scale must be 8, got 4}}
  %y = eff.causal_conv1d %x, %w, %s state_scale %q
    : tensor<1x4x8xf32>, !eff.weight<8x4, f32>, !eff.state<conv, 3x8, i8> state_scale !eff.weight<4, f32>
  return
}

// -----

// One scale for each element, not for each channel.
func.func @ssm_scan_c5(%x: tensor<1x4x8xf32>, %a: !eff.weight<8x3, f32>, %b: tensor<1x4x3xf32>, %q: !eff.weight<8, f32>,
                       %s: !eff.state<ssm, 3x8, #eff.int8_state<static, nearest, residual = 0>>) {
  // expected-error @+1 {{C5: state_scale must be 24, got 8}}
  %y = eff.ssm_scan %x, %x, %a, %b, %b, %s state_scale %q
    : tensor<1x4x8xf32>, !eff.weight<8x3, f32>, tensor<1x4x3xf32>,
      !eff.state<ssm, 3x8, #eff.int8_state<static, nearest, residual = 0>> state_scale !eff.weight<8, f32>
  return
}

// -----

func.func @ssd_scan_c5(%x: tensor<1x4x8xf32>, %dt: tensor<1x4x4xf32>, %a: !eff.weight<4, f32>, %b: tensor<1x4x6xf32>,
                       %s: !eff.state<ssd, 4x3x2, #eff.int8_state<static, nearest, residual = 0>>) {
  // expected-error @+1 {{C5: a static int8 state comes with state_scale, another without}}
  %y = eff.ssd_scan %x, %dt, %a, %b, %b, %s {heads = 4, groups = 2}
    : tensor<1x4x8xf32>, tensor<1x4x4xf32>, !eff.weight<4, f32>, tensor<1x4x6xf32>,
      !eff.state<ssd, 4x3x2, #eff.int8_state<static, nearest, residual = 0>>
  return
}
