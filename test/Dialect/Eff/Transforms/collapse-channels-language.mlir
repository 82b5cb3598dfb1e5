// RUN: effc-opt %s -eff-collapse-channels='layers=0,1 language' | FileCheck %s

// CHECK: eff.state @s : !eff.state<ssm, 2x1, f32>
// CHECK: eff.state @t : !eff.state<ssm, 3x2, f32>
eff.weight @first.A : !eff.weight<4x2, f32> = dense<-1.0> : tensor<4x2xf32>
eff.weight @second.A : !eff.weight<4, f32> = dense<-1.0> : tensor<4xf32>
eff.weight @second.D : !eff.weight<4, f32> = dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
eff.state @s : !eff.state<ssm, 2x4, f32>
eff.state @t : !eff.state<ssd, 4x3x2, f32>

// CHECK-LABEL: @mamba
func.func @mamba(%u: tensor<1x4x4xf32>, %b: tensor<1x4x2xf32>) -> tensor<1x4x4xf32> {
  %a = eff.use @first.A : !eff.weight<4x2, f32>
  %s = eff.use @s : !eff.state<ssm, 2x4, f32>
  // The time steps are computed as the scan computed them.
  // CHECK: math.log1p
  // CHECK: eff.collapse_channels
  // CHECK: eff.collapsed_scan {{.*}} state %{{.*}} !eff.state<ssm, 2x1, f32>
  // CHECK: eff.expand_channels {{.*}} gate(%{{.*}})
  %y = eff.ssm_scan %u, %u, %a, %b, %b, %s gate %u {dt_softplus}
    : tensor<1x4x4xf32>, !eff.weight<4x2, f32>, tensor<1x4x2xf32>, !eff.state<ssm, 2x4, f32> gate tensor<1x4x4xf32>
  return %y : tensor<1x4x4xf32>
}

// CHECK-LABEL: @mamba2
func.func @mamba2(%x: tensor<1x4x8xf32>, %dt: tensor<1x4x4xf32>, %b: tensor<1x4x6xf32>) -> tensor<1x4x8xf32> {
  %a = eff.use @second.A : !eff.weight<4, f32>
  %d = eff.use @second.D : !eff.weight<4, f32>
  %t = eff.use @t : !eff.state<ssd, 4x3x2, f32>
  // CHECK: eff.collapse_channels {{.*}} {groups = 2 : i64, scans = 2 : i64}
  // CHECK: eff.expand_channels
  %y = eff.ssd_scan %x, %dt, %a, %b, %b, %t skip %d {heads = 4, groups = 2}
    : tensor<1x4x8xf32>, tensor<1x4x4xf32>, !eff.weight<4, f32>, tensor<1x4x6xf32>, !eff.state<ssd, 4x3x2, f32>,
      !eff.weight<4, f32>
  return %y : tensor<1x4x8xf32>
}
