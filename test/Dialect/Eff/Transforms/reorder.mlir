// RUN: effc-opt %s '--eff-reorder=calibration=%S/Inputs/reorder.json head-clusters=2 channel-clusters=2' | FileCheck %s
// RUN: effc-opt %s '--eff-reorder=calibration=%S/Inputs/reorder.json head-clusters=2 channel-clusters=2' \
// RUN:   --remarks-filter=eff-reorder 2>&1 | FileCheck %s --check-prefix=REMARK

// The magnitudes of the channels are 4 1 3 2 | 40 30 10 20: those of a head become ascending, the heads stay.
// CHECK: eff.state @state : !eff.state<ssd, 2x4x4, f32> {eff.order = array<i64: 1, 3, 2, 0, 6, 7, 5, 4>}
// CHECK: eff.state @conv : !eff.state<conv, 1x16, f32>
// CHECK-SAME: eff.order = array<i64: 1, 3, 2, 0, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15>
// CHECK: eff.weight @in : !eff.weight<26x2, f32 out <order = "state">>
// CHECK: eff.weight @out : !eff.weight<2x8, bf16 in <order = "state">>
// CHECK-SAME{LITERAL}: dense<[[1.000000e+00, 3.000000e+00, 2.000000e+00, 0.000000e+00, 6.000000e+00, 7.000000e+00, 5.000000e+00, 4.000000e+00], [9.000000e+00, 1.100000e+01,
// CHECK: clusters = #eff.clusters<heads = [1, 2], channels = [2, 4, 2, 4]>

// 8 channels of scale 40 make 12800, two each of scale 2, 4, 20 and 40 make 4040.
// REMARK-DAG: [Passed] HeadsReordered | {{.*}}Function=state | Channels=8, Heads=2, NoiseGain=3.168317e+00, Remark=state, Scales=4, Weights=7
// REMARK-DAG: [Passed] WeightReordered | {{.*}}Function=in | {{.*}}Rows=26
// REMARK-DAG: [Passed] WeightReordered | {{.*}}Function=out | {{.*}}Columns=8
eff.state @state : !eff.state<ssd, 2x4x4, f32>
eff.state @conv : !eff.state<conv, 1x16, f32>
eff.weight @in : !eff.weight<26x2, f32> = dense<0.5> : tensor<26x2xf32>
eff.weight @cw : !eff.weight<16x2, f32> = dense<0.5> : tensor<16x2xf32>
eff.weight @a : !eff.weight<2, f32> = dense<-1.0> : tensor<2xf32>
eff.weight @bias : !eff.weight<2, f32> = dense<0.5> : tensor<2xf32>
eff.weight @skip : !eff.weight<2, f32> = dense<0.5> : tensor<2xf32>
eff.weight @norm : !eff.weight<8, f32> = dense<1.0> : tensor<8xf32>
eff.weight @out : !eff.weight<2x8, bf16> =
  dense<[[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], [8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0]]> : tensor<2x8xbf16>
func.func @entry(%x: tensor<1x1x2xf32>) -> tensor<1x1x2xf32> {
  %in = eff.use @in : !eff.weight<26x2, f32>
  %cw = eff.use @cw : !eff.weight<16x2, f32>
  %conv = eff.use @conv : !eff.state<conv, 1x16, f32>
  %state = eff.use @state : !eff.state<ssd, 2x4x4, f32>
  %a = eff.use @a : !eff.weight<2, f32>
  %bias = eff.use @bias : !eff.weight<2, f32>
  %skip = eff.use @skip : !eff.weight<2, f32>
  %norm = eff.use @norm : !eff.weight<8, f32>
  %out = eff.use @out : !eff.weight<2x8, bf16>
  %0 = eff.linear %x, %in : tensor<1x1x2xf32>, !eff.weight<26x2, f32> -> tensor<1x1x26xf32>
  %z, %xbc, %dt = eff.split %0 : tensor<1x1x26xf32> -> tensor<1x1x8xf32>, tensor<1x1x16xf32>, tensor<1x1x2xf32>
  %1 = eff.causal_conv1d %xbc, %cw, %conv {activation = #eff.activation<silu>}
    : tensor<1x1x16xf32>, !eff.weight<16x2, f32>, !eff.state<conv, 1x16, f32>
  %u, %b, %c = eff.split %1 : tensor<1x1x16xf32> -> tensor<1x1x8xf32>, tensor<1x1x4xf32>, tensor<1x1x4xf32>
  %y = eff.ssd_scan %u, %dt, %a, %b, %c, %state skip %skip dt_bias %bias {heads = 2, groups = 1, dt_softplus}
    : tensor<1x1x8xf32>, tensor<1x1x2xf32>, !eff.weight<2, f32>, tensor<1x1x4xf32>, !eff.state<ssd, 2x4x4, f32>,
      !eff.weight<2, f32> dt_bias !eff.weight<2, f32>
  %n = eff.gated_norm %y, %z, %norm {eps = 1.0e-5 : f32} : tensor<1x1x8xf32>, !eff.weight<8, f32>
  %r = eff.linear %n, %out : tensor<1x1x8xf32>, !eff.weight<2x8, bf16> -> tensor<1x1x2xf32>
  return %r : tensor<1x1x2xf32>
}
