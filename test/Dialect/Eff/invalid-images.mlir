// RUN: effc-opt %s -verify-diagnostics -split-input-file

func.func @cross_merge_c1_directions(%x: tensor<1x6x9xf32>) {
  // expected-error @+1 {{C1: directions must be 1, 2 or 4, got 3}}
  %y = eff.cross_merge %x {directions = 3, height = 2, width = 3} : tensor<1x6x9xf32> -> tensor<1x6x3xf32>
  return
}

// -----

func.func @cross_merge_c1_pixels(%x: tensor<1x6x8xf32>) {
  // expected-error @+1 {{C1: 6 tokens are no image of 4 x 2}}
  %y = eff.cross_merge %x {directions = 4, height = 4, width = 2} : tensor<1x6x8xf32> -> tensor<1x6x2xf32>
  return
}

// -----

func.func @cross_merge_c2_divides(%x: tensor<1x6x9xf32>) {
  // expected-error @+1 {{C2: directions (4) must divide the number of features (9)}}
  %y = eff.cross_merge %x {directions = 4, height = 2, width = 3} : tensor<1x6x9xf32> -> tensor<1x6x2xf32>
  return
}

// -----

func.func @cross_merge_c2_result(%x: tensor<1x6x8xf32>) {
  // expected-error @+1 {{C2: the result must be 1x6x2, got 1x6x8}}
  %y = eff.cross_merge %x {directions = 4, height = 2, width = 3} : tensor<1x6x8xf32> -> tensor<1x6x8xf32>
  return
}

// -----

func.func @cross_scan_c2_count(%x: tensor<1x6x8xf32>) {
  // expected-error @+1 {{C2: there must be one input or 4, got 2}}
  %y = eff.cross_scan %x, %x {directions = 4, height = 2, width = 3}
    : tensor<1x6x8xf32>, tensor<1x6x8xf32> -> tensor<1x6x32xf32>
  return
}

// -----

func.func @cross_scan_c2_shape(%x: tensor<1x6x8xf32>, %z: tensor<1x6x7xf32>) {
  // expected-error @+1 {{C2: an input must be 1x6x8, got 1x6x7}}
  %y = eff.cross_scan %x, %z {directions = 2, height = 2, width = 3}
    : tensor<1x6x8xf32>, tensor<1x6x7xf32> -> tensor<1x6x16xf32>
  return
}

// -----

func.func @cross_scan_c3(%x: tensor<1x6x8xf32>) {
  // expected-error @+1 {{C3: the result must be 1x6x16, got 1x6x8}}
  %y = eff.cross_scan %x {directions = 2, height = 2, width = 3} : tensor<1x6x8xf32> -> tensor<1x6x8xf32>
  return
}

// -----

func.func @depthwise_c2_kernel(%x: tensor<1x6x8xf32>, %w: !eff.weight<8x4, f32>) {
  // expected-error @+1 {{C2: the kernel must be two odd numbers}}
  %y = eff.depthwise_conv2d %x, %w {height = 2, width = 3, kernel = array<i64: 2, 2>}
    : tensor<1x6x8xf32>, !eff.weight<8x4, f32>
  return
}

// -----

func.func @depthwise_c2_weight(%x: tensor<1x6x8xf32>, %w: !eff.weight<8x4, f32>) {
  // expected-error @+1 {{C2: the weight must be 8x9, got 8x4}}
  %y = eff.depthwise_conv2d %x, %w {height = 2, width = 3, kernel = array<i64: 3, 3>}
    : tensor<1x6x8xf32>, !eff.weight<8x4, f32>
  return
}

// -----

func.func @collapse_c1_dt(%x: tensor<1x6x8xf32>, %d: tensor<1x6x4xf32>, %a: !eff.weight<8x2, f32>, %b: tensor<1x6x4xf32>) {
  // expected-error @+1 {{C1: dt must be 1x6x8, got 1x6x4}}
  %p, %q, %r = eff.collapse_channels %x, %d, %a, %b, %b {groups = 2, scans = 1}
    : tensor<1x6x8xf32>, tensor<1x6x4xf32>, !eff.weight<8x2, f32>, tensor<1x6x4xf32> -> tensor<1x6x2xf32>
  return
}

// -----

func.func @collapse_c2_groups(%x: tensor<1x6x8xf32>, %a: !eff.weight<8x2, f32>, %b: tensor<1x6x6xf32>) {
  // expected-error @+1 {{C2: groups (3) must divide the channels (8)}}
  %p, %q, %r = eff.collapse_channels %x, %x, %a, %b, %b {groups = 3, scans = 1}
    : tensor<1x6x8xf32>, tensor<1x6x8xf32>, !eff.weight<8x2, f32>, tensor<1x6x6xf32> -> tensor<1x6x2xf32>
  return
}

// -----

func.func @collapse_c3(%x: tensor<1x6x8xf32>, %a: !eff.weight<8x2, f32>, %b: tensor<1x6x8xf32>) {
  // expected-error @+1 {{C3: scans must be 1 or 4, got 2}}
  %p, %q, %r = eff.collapse_channels %x, %x, %a, %b, %b {groups = 4, scans = 2}
    : tensor<1x6x8xf32>, tensor<1x6x8xf32>, !eff.weight<8x2, f32>, tensor<1x6x8xf32> -> tensor<1x6x4xf32>
  return
}

// -----

func.func @collapse_c4(%x: tensor<1x6x8xf32>, %a: !eff.weight<8x2, f32>, %b: tensor<1x6x8xf32>) {
  // expected-error @+1 {{C4: a result must be 1x6x2, got 1x6x8}}
  %p, %q, %r = eff.collapse_channels %x, %x, %a, %b, %b {groups = 4, scans = 1}
    : tensor<1x6x8xf32>, tensor<1x6x8xf32>, !eff.weight<8x2, f32>, tensor<1x6x8xf32> -> tensor<1x6x8xf32>
  return
}

// -----

func.func @scan_c1(%x: tensor<1x6x8xf32>) {
  // expected-error @+1 {{C1: scans (3) must divide the features (8)}}
  %y = eff.collapsed_scan %x, %x, %x : tensor<1x6x8xf32> -> tensor<1x6x3xf32>
  return
}

// -----

func.func @scan_c2(%x: tensor<1x6x8xf32>, %s: !eff.state<ssm, 2x4, f32>) {
  // expected-error @+1 {{C2: the state must be 4x2, got 2x4}}
  %y = eff.collapsed_scan %x, %x, %x state %s : tensor<1x6x8xf32>, !eff.state<ssm, 2x4, f32> -> tensor<1x6x2xf32>
  return
}

// -----

func.func @expand_c1(%x: tensor<1x6x3xf32>) {
  // expected-error @+1 {{C1: scans (3) must divide the channels (8)}}
  %y = eff.expand_channels %x : tensor<1x6x3xf32> -> tensor<1x6x8xf32>
  return
}

// -----

func.func @expand_c2(%x: tensor<1x6x1xf32>, %u: tensor<1x6x8xf32>, %d: !eff.weight<4, f32>) {
  // expected-error @+1 {{C2: the skip's weight must be 8, got 4}}
  %y = eff.expand_channels %x skip(%u, %d : tensor<1x6x8xf32>, !eff.weight<4, f32>)
    : tensor<1x6x1xf32> -> tensor<1x6x8xf32>
  return
}

// -----

func.func @expand_c2_skip_alone(%x: tensor<1x6x2xf32>, %u: tensor<1x6x8xf32>) {
  // expected-error @+1 {{C2: a skip needs its tensor and its weight}}
  %y = "eff.expand_channels"(%x, %u) <{operandSegmentSizes = array<i32: 1, 1, 0, 0>}>
    : (tensor<1x6x2xf32>, tensor<1x6x8xf32>) -> tensor<1x6x8xf32>
  return
}
