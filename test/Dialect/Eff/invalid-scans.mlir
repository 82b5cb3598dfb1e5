// RUN: effc-opt %s -verify-diagnostics -split-input-file

func.func @causal_conv1d_c1_weight(%x: tensor<1x4x8xf32>, %w: !eff.weight<7x4, f32>, %s: !eff.state<conv, 3x8, f32>) {
  // expected-error @+1 {{C1: the weight must be 8x4, got 7x4}}
  %y = eff.causal_conv1d %x, %w, %s : tensor<1x4x8xf32>, !eff.weight<7x4, f32>, !eff.state<conv, 3x8, f32>
  return
}

// -----

func.func @causal_conv1d_c1_bias(%x: tensor<1x4x8xf32>, %w: !eff.weight<8x4, f32>, %s: !eff.state<conv, 3x8, f32>,
                                 %b: !eff.weight<4, f32>) {
  // expected-error @+1 {{C1: the bias must be 8, got 4}}
  %y = eff.causal_conv1d %x, %w, %s bias %b
    : tensor<1x4x8xf32>, !eff.weight<8x4, f32>, !eff.state<conv, 3x8, f32>, !eff.weight<4, f32>
  return
}

// -----

func.func @causal_conv1d_c2(%x: tensor<1x4x8xf32>, %w: !eff.weight<8x4, f32>, %s: !eff.state<conv, 4x8, f32>) {
  // expected-error @+1 {{C2: the state must be 3x8, got 4x8}}
  %y = eff.causal_conv1d %x, %w, %s : tensor<1x4x8xf32>, !eff.weight<8x4, f32>, !eff.state<conv, 4x8, f32>
  return
}

// -----

func.func @causal_conv1d_state_kind(%x: tensor<1x4x8xf32>, %w: !eff.weight<8x4, f32>, %s: !eff.state<ssm, 3x8, f32>) {
  // expected-error @+1 {{operand #2 must be conv state}}
  %y = eff.causal_conv1d %x, %w, %s : tensor<1x4x8xf32>, !eff.weight<8x4, f32>, !eff.state<ssm, 3x8, f32>
  return
}

// -----

func.func @ssd_scan_c1_heads(%x: tensor<1x4x10xf32>, %dt: tensor<1x4x4xf32>, %a: !eff.weight<4, f32>,
                             %b: tensor<1x4x6xf32>, %s: !eff.state<ssd, 4x3x2, f32>) {
  // expected-error @+1 {{C1: heads (4) must divide the number of features (10)}}
  %y = eff.ssd_scan %x, %dt, %a, %b, %b, %s {heads = 4, groups = 2}
    : tensor<1x4x10xf32>, tensor<1x4x4xf32>, !eff.weight<4, f32>, tensor<1x4x6xf32>, !eff.state<ssd, 4x3x2, f32>
  return
}

// -----

func.func @ssd_scan_c1_dt(%x: tensor<1x4x8xf32>, %dt: tensor<1x4x8xf32>, %a: !eff.weight<4, f32>,
                          %b: tensor<1x4x6xf32>, %s: !eff.state<ssd, 4x3x2, f32>) {
  // expected-error @+1 {{C1: dt must be 1x4x4, got 1x4x8}}
  %y = eff.ssd_scan %x, %dt, %a, %b, %b, %s {heads = 4, groups = 2}
    : tensor<1x4x8xf32>, tensor<1x4x8xf32>, !eff.weight<4, f32>, tensor<1x4x6xf32>, !eff.state<ssd, 4x3x2, f32>
  return
}

// -----

func.func @ssd_scan_c1_a(%x: tensor<1x4x8xf32>, %dt: tensor<1x4x4xf32>, %a: !eff.weight<8, f32>,
                         %b: tensor<1x4x6xf32>, %s: !eff.state<ssd, 4x3x2, f32>) {
  // expected-error @+1 {{C1: A must be 4, got 8}}
  %y = eff.ssd_scan %x, %dt, %a, %b, %b, %s {heads = 4, groups = 2}
    : tensor<1x4x8xf32>, tensor<1x4x4xf32>, !eff.weight<8, f32>, tensor<1x4x6xf32>, !eff.state<ssd, 4x3x2, f32>
  return
}

// -----

func.func @ssd_scan_c1_skip(%x: tensor<1x4x8xf32>, %dt: tensor<1x4x4xf32>, %a: !eff.weight<4, f32>,
                            %b: tensor<1x4x6xf32>, %s: !eff.state<ssd, 4x3x2, f32>, %d: !eff.weight<8, f32>) {
  // expected-error @+1 {{C1: skip must be 4, got 8}}
  %y = eff.ssd_scan %x, %dt, %a, %b, %b, %s skip %d {heads = 4, groups = 2}
    : tensor<1x4x8xf32>, tensor<1x4x4xf32>, !eff.weight<4, f32>, tensor<1x4x6xf32>, !eff.state<ssd, 4x3x2, f32>,
      !eff.weight<8, f32>
  return
}

// -----

func.func @ssd_scan_c2_groups(%x: tensor<1x4x8xf32>, %dt: tensor<1x4x4xf32>, %a: !eff.weight<4, f32>,
                              %b: tensor<1x4x6xf32>, %s: !eff.state<ssd, 4x3x2, f32>) {
  // expected-error @+1 {{C2: groups (3) must divide heads (4)}}
  %y = eff.ssd_scan %x, %dt, %a, %b, %b, %s {heads = 4, groups = 3}
    : tensor<1x4x8xf32>, tensor<1x4x4xf32>, !eff.weight<4, f32>, tensor<1x4x6xf32>, !eff.state<ssd, 4x3x2, f32>
  return
}

// -----

func.func @ssd_scan_c2_b(%x: tensor<1x4x8xf32>, %dt: tensor<1x4x4xf32>, %a: !eff.weight<4, f32>,
                         %b: tensor<1x4x3xf32>, %s: !eff.state<ssd, 4x3x2, f32>) {
  // expected-error @+1 {{C2: B and C must be 1x4x6, got 1x4x3}}
  %y = eff.ssd_scan %x, %dt, %a, %b, %b, %s {heads = 4, groups = 2}
    : tensor<1x4x8xf32>, tensor<1x4x4xf32>, !eff.weight<4, f32>, tensor<1x4x3xf32>, !eff.state<ssd, 4x3x2, f32>
  return
}

// -----

func.func @ssd_scan_c3(%x: tensor<1x4x8xf32>, %dt: tensor<1x4x4xf32>, %a: !eff.weight<4, f32>,
                       %b: tensor<1x4x6xf32>, %s: !eff.state<ssd, 2x3x4, f32>) {
  // expected-error @+1 {{C3: the state must be 4x3x2, got 2x3x4}}
  %y = eff.ssd_scan %x, %dt, %a, %b, %b, %s {heads = 4, groups = 2}
    : tensor<1x4x8xf32>, tensor<1x4x4xf32>, !eff.weight<4, f32>, tensor<1x4x6xf32>, !eff.state<ssd, 2x3x4, f32>
  return
}

// -----

func.func @ssm_scan_c1_a(%x: tensor<1x4x8xf32>, %a: !eff.weight<3x8, f32>, %b: tensor<1x4x3xf32>,
                         %s: !eff.state<ssm, 3x8, f32>) {
  // expected-error @+1 {{C1: A must be 8x8, got 3x8}}
  %y = eff.ssm_scan %x, %x, %a, %b, %b, %s
    : tensor<1x4x8xf32>, !eff.weight<3x8, f32>, tensor<1x4x3xf32>, !eff.state<ssm, 3x8, f32>
  return
}

// -----

func.func @ssm_scan_c1_skip(%x: tensor<1x4x8xf32>, %a: !eff.weight<8x3, f32>, %b: tensor<1x4x3xf32>,
                            %s: !eff.state<ssm, 3x8, f32>, %d: !eff.weight<3, f32>) {
  // expected-error @+1 {{C1: skip must be 8, got 3}}
  %y = eff.ssm_scan %x, %x, %a, %b, %b, %s skip %d
    : tensor<1x4x8xf32>, !eff.weight<8x3, f32>, tensor<1x4x3xf32>, !eff.state<ssm, 3x8, f32> skip !eff.weight<3, f32>
  return
}

// -----

func.func @ssm_scan_c1_gate(%x: tensor<1x4x8xf32>, %a: !eff.weight<8x3, f32>, %b: tensor<1x4x3xf32>,
                            %s: !eff.state<ssm, 3x8, f32>, %z: tensor<1x4x4xf32>) {
  // expected-error @+1 {{C1: gate must be 1x4x8, got 1x4x4}}
  %y = eff.ssm_scan %x, %x, %a, %b, %b, %s gate %z
    : tensor<1x4x8xf32>, !eff.weight<8x3, f32>, tensor<1x4x3xf32>, !eff.state<ssm, 3x8, f32> gate tensor<1x4x4xf32>
  return
}

// -----

func.func @ssm_scan_c2_groups(%x: tensor<1x4x8xf32>, %a: !eff.weight<8x3, f32>, %b: tensor<1x4x9xf32>,
                              %s: !eff.state<ssm, 3x8, f32>) {
  // expected-error @+1 {{C2: groups (3) must divide the channels (8)}}
  %y = eff.ssm_scan %x, %x, %a, %b, %b, %s {groups = 3}
    : tensor<1x4x8xf32>, !eff.weight<8x3, f32>, tensor<1x4x9xf32>, !eff.state<ssm, 3x8, f32>
  return
}

// -----

func.func @ssm_scan_c2_b(%x: tensor<1x4x8xf32>, %a: !eff.weight<8x3, f32>, %b: tensor<1x4x3xf32>,
                         %s: !eff.state<ssm, 3x8, f32>) {
  // expected-error @+1 {{C2: B and C must be 1x4x6, got 1x4x3}}
  %y = eff.ssm_scan %x, %x, %a, %b, %b, %s {groups = 2}
    : tensor<1x4x8xf32>, !eff.weight<8x3, f32>, tensor<1x4x3xf32>, !eff.state<ssm, 3x8, f32>
  return
}

// -----

func.func @ssm_scan_c3(%x: tensor<1x4x8xf32>, %a: !eff.weight<8x3, f32>, %b: tensor<1x4x3xf32>,
                       %s: !eff.state<ssm, 8x3, f32>) {
  // expected-error @+1 {{C3: the state must be 3x8, got 8x3}}
  %y = eff.ssm_scan %x, %x, %a, %b, %b, %s
    : tensor<1x4x8xf32>, !eff.weight<8x3, f32>, tensor<1x4x3xf32>, !eff.state<ssm, 8x3, f32>
  return
}

// -----

func.func @conv_c3(%x: tensor<1x4x8xf32>, %w: !eff.weight<8x4, f32>, %s: !eff.state<conv, 3x8, i8>) {
  // expected-error @+1 {{C3: an i8 state comes with state_scale, another without}}
  %y = eff.causal_conv1d %x, %w, %s : tensor<1x4x8xf32>, !eff.weight<8x4, f32>, !eff.state<conv, 3x8, i8>
  return
}

// -----

func.func @ssm_scan_c4(%x: tensor<1x4x8xf32>, %a: !eff.weight<8x3, f32>, %b: tensor<1x4x3xf32>,
                       %s: !eff.state<ssm, 3x8, f32>, %bias: !eff.weight<3, f32>) {
  // expected-error @+1 {{C4: dt_bias must be 8, got 3}}
  %y = eff.ssm_scan %x, %x, %a, %b, %b, %s dt_bias %bias
    : tensor<1x4x8xf32>, !eff.weight<8x3, f32>, tensor<1x4x3xf32>, !eff.state<ssm, 3x8, f32> dt_bias !eff.weight<3, f32>
  return
}

// -----

func.func @ssm_scan_c5(%x: tensor<1x4x8xf32>, %a: !eff.weight<8x3, f32>, %b: tensor<1x4x3xf32>,
                       %s: !eff.state<ssm, 3x8, #eff.int8_state<static, nearest, residual = 0>>) {
  // expected-error @+1 {{C5: a static int8 state comes with state_scale, another without}}
  %y = eff.ssm_scan %x, %x, %a, %b, %b, %s
    : tensor<1x4x8xf32>, !eff.weight<8x3, f32>, tensor<1x4x3xf32>, !eff.state<ssm, 3x8, #eff.int8_state<static, nearest, residual = 0>>
  return
}

// -----

func.func @ssd_scan_c6_heads(%x: tensor<1x4x8xf32>, %dt: tensor<1x4x4xf32>, %a: !eff.weight<4, f32>,
                             %b: tensor<1x4x6xf32>, %s: !eff.state<ssd, 4x3x2, f32>) {
  // expected-error @+1 {{C6: the ends of clusters must ascend to the heads of a group and to the channels of a head}}
  %y = eff.ssd_scan %x, %dt, %a, %b, %b, %s
    {heads = 4, groups = 2, clusters = #eff.clusters<heads = [1, 2], channels = [2, 2]>}
    : tensor<1x4x8xf32>, tensor<1x4x4xf32>, !eff.weight<4, f32>, tensor<1x4x6xf32>, !eff.state<ssd, 4x3x2, f32>
  return
}

// -----

func.func @ssd_scan_c6_channels(%x: tensor<1x4x8xf32>, %dt: tensor<1x4x4xf32>, %a: !eff.weight<4, f32>,
                                %b: tensor<1x4x6xf32>, %s: !eff.state<ssd, 4x3x2, f32>) {
  // expected-error @+1 {{C6: the ends of clusters must ascend to the heads of a group and to the channels of a head}}
  %y = eff.ssd_scan %x, %dt, %a, %b, %b, %s
    {heads = 4, groups = 2, clusters = #eff.clusters<heads = [2, 2], channels = [2, 1]>}
    : tensor<1x4x8xf32>, tensor<1x4x4xf32>, !eff.weight<4, f32>, tensor<1x4x6xf32>, !eff.state<ssd, 4x3x2, f32>
  return
}
