// RUN: effc-opt %s '--eff-reorder=calibration=%S/Inputs/reorder.json head-clusters=1 channel-clusters=2' \
// RUN:   -verify-diagnostics -split-input-file

// expected-error @below {{EFF0421: the heads and channels of the model cannot be reordered}}
// expected-note @below {{why: the model has no 'eff.ssd_scan'}}
// expected-note @below {{try: leave the reordering out}}
module {
  func.func @nothing(%x: tensor<1x2x8xf32>) -> tensor<1x2x8xf32> {
    return %x : tensor<1x2x8xf32>
  }
}

// -----

// Fewer channels in a head than clusters.
eff.state @state : !eff.state<ssd, 8x4x1, f32>
eff.weight @a : !eff.weight<8, f32> = dense<-1.0> : tensor<8xf32>
func.func @clusters(%x: tensor<1x1x8xf32>, %b: tensor<1x1x4xf32>) -> tensor<1x1x8xf32> {
  %a = eff.use @a : !eff.weight<8, f32>
  %s = eff.use @state : !eff.state<ssd, 8x4x1, f32>
  // expected-error @below {{EFF0421}}
  // expected-note @below {{why: 8 heads in a group of 1 channels each cannot be put into 1 clusters of heads and 2 of channels}}
  // expected-note @below {{try: choose fewer clusters}}
  %y = eff.ssd_scan %x, %x, %a, %b, %b, %s {heads = 8, groups = 1}
    : tensor<1x1x8xf32>, tensor<1x1x8xf32>, !eff.weight<8, f32>, tensor<1x1x4xf32>, !eff.state<ssd, 8x4x1, f32>
  return %y : tensor<1x1x8xf32>
}

// -----

// The channels come from outside.
eff.state @state : !eff.state<ssd, 2x4x4, f32>
eff.weight @a : !eff.weight<2, f32> = dense<-1.0> : tensor<2xf32>
// expected-error @below {{EFF0421}}
// expected-note @below {{why: an input of the function has channels that are reordered}}
// expected-note @below {{try}}
func.func @input(%x: tensor<1x1x8xf32>, %dt: tensor<1x1x2xf32>, %b: tensor<1x1x4xf32>) -> tensor<1x1x8xf32> {
  %a = eff.use @a : !eff.weight<2, f32>
  %s = eff.use @state : !eff.state<ssd, 2x4x4, f32>
  %y = eff.ssd_scan %x, %dt, %a, %b, %b, %s {heads = 2, groups = 1}
    : tensor<1x1x8xf32>, tensor<1x1x2xf32>, !eff.weight<2, f32>, tensor<1x1x4xf32>, !eff.state<ssd, 2x4x4, f32>
  return %y : tensor<1x1x8xf32>
}

// -----

// An op that mixes the channels is named.
eff.state @state : !eff.state<ssd, 2x4x4, f32>
eff.weight @a : !eff.weight<2, f32> = dense<-1.0> : tensor<2xf32>
eff.weight @wx : !eff.weight<8x2, f32> = dense<1.0> : tensor<8x2xf32>
eff.weight @wd : !eff.weight<2x2, f32> = dense<1.0> : tensor<2x2xf32>
eff.weight @n : !eff.weight<8, f32> = dense<1.0> : tensor<8xf32>
func.func @unknown(%x: tensor<1x1x2xf32>, %b: tensor<1x1x4xf32>) -> tensor<1x1x8xf32> {
  %a = eff.use @a : !eff.weight<2, f32>
  %wx = eff.use @wx : !eff.weight<8x2, f32>
  %wd = eff.use @wd : !eff.weight<2x2, f32>
  %n = eff.use @n : !eff.weight<8, f32>
  %s = eff.use @state : !eff.state<ssd, 2x4x4, f32>
  %u = eff.linear %x, %wx : tensor<1x1x2xf32>, !eff.weight<8x2, f32> -> tensor<1x1x8xf32>
  %dt = eff.linear %x, %wd : tensor<1x1x2xf32>, !eff.weight<2x2, f32> -> tensor<1x1x2xf32>
  %y = eff.ssd_scan %u, %dt, %a, %b, %b, %s {heads = 2, groups = 1}
    : tensor<1x1x8xf32>, tensor<1x1x2xf32>, !eff.weight<2, f32>, tensor<1x1x4xf32>, !eff.state<ssd, 2x4x4, f32>
  // expected-error @below {{EFF0421}}
  // expected-note @below {{why: 'eff.layer_norm' reads or writes channels that are reordered, and does not commute with that}}
  // expected-note @below {{try}}
  %z = eff.layer_norm %y, %n {eps = 1.0e-5 : f32} : tensor<1x1x8xf32>, !eff.weight<8, f32>
  return %z : tensor<1x1x8xf32>
}

// -----

// Behind a rotation there are no channels.
eff.state @state : !eff.state<ssd, 2x4x4, f32>
eff.weight @a : !eff.weight<2, f32> = dense<-1.0> : tensor<2xf32>
eff.weight @wx : !eff.weight<8x2, f32> = dense<1.0> : tensor<8x2xf32>
eff.weight @wd : !eff.weight<2x2, f32> = dense<1.0> : tensor<2x2xf32>
func.func @rotated(%x: tensor<1x1x2xf32>, %b: tensor<1x1x4xf32>) -> tensor<1x1x8xf32, #eff.basis<hadamard = 8>> {
  %a = eff.use @a : !eff.weight<2, f32>
  %wx = eff.use @wx : !eff.weight<8x2, f32>
  %wd = eff.use @wd : !eff.weight<2x2, f32>
  %s = eff.use @state : !eff.state<ssd, 2x4x4, f32>
  %u = eff.linear %x, %wx : tensor<1x1x2xf32>, !eff.weight<8x2, f32> -> tensor<1x1x8xf32>
  %dt = eff.linear %x, %wd : tensor<1x1x2xf32>, !eff.weight<2x2, f32> -> tensor<1x1x2xf32>
  %y = eff.ssd_scan %u, %dt, %a, %b, %b, %s {heads = 2, groups = 1}
    : tensor<1x1x8xf32>, tensor<1x1x2xf32>, !eff.weight<2, f32>, tensor<1x1x4xf32>, !eff.state<ssd, 2x4x4, f32>
  // expected-error @below {{EFF0421}}
  // expected-note @below {{why: behind a rotation there are no channels any more}}
  // expected-note @below {{try: reorder before rotating}}
  %h = eff.hadamard %y : tensor<1x1x8xf32> -> tensor<1x1x8xf32, #eff.basis<hadamard = 8>>
  return %h : tensor<1x1x8xf32, #eff.basis<hadamard = 8>>
}

// -----

// Reordered already.
eff.state @state : !eff.state<ssd, 2x4x4, f32>
eff.weight @a : !eff.weight<2, f32> = dense<-1.0> : tensor<2xf32>
func.func @twice(%x: tensor<1x1x8xf32>, %dt: tensor<1x1x2xf32>, %b: tensor<1x1x4xf32>) -> tensor<1x1x8xf32> {
  %a = eff.use @a : !eff.weight<2, f32>
  %s = eff.use @state : !eff.state<ssd, 2x4x4, f32>
  // expected-error @below {{EFF0421}}
  // expected-note @below {{why: its heads and channels have an order already}}
  // expected-note @below {{try: reorder a model once}}
  %y = eff.ssd_scan %x, %dt, %a, %b, %b, %s {heads = 2, groups = 1, clusters = #eff.clusters<heads = [2], channels = [2, 4]>}
    : tensor<1x1x8xf32>, tensor<1x1x2xf32>, !eff.weight<2, f32>, tensor<1x1x4xf32>, !eff.state<ssd, 2x4x4, f32>
  return %y : tensor<1x1x8xf32>
}

// -----

// Quantised already.
eff.state @state : !eff.state<ssd, 2x4x4, #eff.int8_state<dynamic, nearest, residual = 0>>
eff.weight @a : !eff.weight<2, f32> = dense<-1.0> : tensor<2xf32>
func.func @quantized(%x: tensor<1x1x8xf32>, %dt: tensor<1x1x2xf32>, %b: tensor<1x1x4xf32>) -> tensor<1x1x8xf32> {
  %a = eff.use @a : !eff.weight<2, f32>
  %s = eff.use @state : !eff.state<ssd, 2x4x4, #eff.int8_state<dynamic, nearest, residual = 0>>
  // expected-error @below {{EFF0421}}
  // expected-note @below {{why: its state is quantised already}}
  // expected-note @below {{try: reorder before quantising}}
  %y = eff.ssd_scan %x, %dt, %a, %b, %b, %s {heads = 2, groups = 1}
    : tensor<1x1x8xf32>, tensor<1x1x2xf32>, !eff.weight<2, f32>, tensor<1x1x4xf32>,
      !eff.state<ssd, 2x4x4, #eff.int8_state<dynamic, nearest, residual = 0>>
  return %y : tensor<1x1x8xf32>
}

// -----

// A weight that two places read in different ways.
eff.state @state : !eff.state<ssd, 2x4x4, f32>
eff.weight @a : !eff.weight<2, f32> = dense<-1.0> : tensor<2xf32>
eff.weight @wx : !eff.weight<8x2, f32> = dense<1.0> : tensor<8x2xf32>
eff.weight @wd : !eff.weight<2x2, f32> = dense<1.0> : tensor<2x2xf32>
eff.weight @wo : !eff.weight<2x8, f32> = dense<1.0> : tensor<2x8xf32>
func.func @shared(%x: tensor<1x1x2xf32>, %b: tensor<1x1x4xf32>) -> (tensor<1x1x2xf32>, tensor<2xf32>) {
  %a = eff.use @a : !eff.weight<2, f32>
  %wx = eff.use @wx : !eff.weight<8x2, f32>
  %wd = eff.use @wd : !eff.weight<2x2, f32>
  %wo = eff.use @wo : !eff.weight<2x8, f32>
  %s = eff.use @state : !eff.state<ssd, 2x4x4, f32>
  %u = eff.linear %x, %wx : tensor<1x1x2xf32>, !eff.weight<8x2, f32> -> tensor<1x1x8xf32>
  %dt = eff.linear %x, %wd : tensor<1x1x2xf32>, !eff.weight<2x2, f32> -> tensor<1x1x2xf32>
  %y = eff.ssd_scan %u, %dt, %a, %b, %b, %s {heads = 2, groups = 1}
    : tensor<1x1x8xf32>, tensor<1x1x2xf32>, !eff.weight<2, f32>, tensor<1x1x4xf32>, !eff.state<ssd, 2x4x4, f32>
  %o = eff.linear %y, %wo : tensor<1x1x8xf32>, !eff.weight<2x8, f32> -> tensor<1x1x2xf32>
  // expected-error @below {{EFF0421}}
  // expected-note @below {{why: it reads '@a', which is reordered, in a way that is not understood}}
  // expected-note @below {{try}}
  %r = eff.read %a : !eff.weight<2, f32> -> tensor<2xf32>
  return %o, %r : tensor<1x1x2xf32>, tensor<2xf32>
}
