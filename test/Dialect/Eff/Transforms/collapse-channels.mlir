// RUN: effc-opt %s -eff-collapse-channels='layers=layer literal' | FileCheck %s --check-prefix=POST
// RUN: effc-opt %s -eff-collapse-channels='layers=0 variant=dir literal' | FileCheck %s --check-prefix=DIR
// RUN: effc-opt %s -eff-collapse-channels='layers=0 variant=pre literal' | FileCheck %s --check-prefix=PRE
// RUN: effc-opt %s -eff-collapse-channels=layers=0 | FileCheck %s --check-prefix=FREE
// RUN: effc-opt %s -eff-collapse-channels | FileCheck %s --check-prefix=NONE

eff.weight @layer.A : !eff.weight<8x2, f32> = dense<-1.0> : tensor<8x2xf32>
eff.weight @layer.D : !eff.weight<8, f32> = dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]> : tensor<8xf32>
eff.weight @norm : !eff.weight<2, f32> = dense<1.0> : tensor<2xf32>
eff.weight @dt : !eff.weight<8x2, f32> = dense<0.5> : tensor<8x2xf32>

// FREE-NOT: @layer.A
// FREE-NOT: @dt
// FREE: eff.weight @layer.D.sum : !eff.weight<2, f32> = dense<[1.600000e+01, 2.000000e+01]> : tensor<2xf32>

// NONE-LABEL: @forward
// NONE: eff.ssm_scan
// POST-LABEL: @forward
// DIR-LABEL: @forward
// PRE-LABEL: @forward
// FREE-LABEL: @forward
func.func @forward(%x: tensor<1x6x2xf32>, %b: tensor<1x6x8xf32>) -> tensor<1x6x2xf32> {
  %a = eff.use @layer.A : !eff.weight<8x2, f32>
  %d = eff.use @layer.D : !eff.weight<8, f32>
  %w = eff.use @norm : !eff.weight<2, f32>
  %p = eff.use @dt : !eff.weight<8x2, f32>
  %dt = eff.linear %x, %p : tensor<1x6x2xf32>, !eff.weight<8x2, f32> -> tensor<1x6x8xf32>
  // POST: %[[U:.*]] = eff.cross_scan
  // DIR: %[[U:.*]] = eff.cross_scan
  %u = eff.cross_scan %x {directions = 4, height = 2, width = 3} : tensor<1x6x2xf32> -> tensor<1x6x8xf32>
  // POST: %[[DECAY:.*]], %[[IN:.*]], %[[OUT:.*]] = eff.collapse_channels %[[U]], {{.*}} {groups = 4 : i64, scans = 1 : i64}
  // POST: %[[S:.*]] = eff.collapsed_scan %[[DECAY]], %[[IN]], %[[OUT]] : tensor<1x6x2xf32> -> tensor<1x6x1xf32>
  // POST: eff.expand_channels %[[S]] skip(%[[U]], %{{.*}}) : tensor<1x6x1xf32> -> tensor<1x6x8xf32>
  // DIR: eff.collapse_channels %[[U]], {{.*}} {groups = 4 : i64, scans = 4 : i64}
  // DIR: eff.collapsed_scan {{.*}} -> tensor<1x6x4xf32>
  // PRE: %[[Y:.*]] = eff.ssm_scan {{.*}} : tensor<1x6x1xf32>, <1x2, f32>
  // PRE: eff.expand_channels %[[Y]] : tensor<1x6x1xf32> -> tensor<1x6x8xf32>
  // FREE-NOT: scan
  // FREE: %[[P:.*]] = arith.mulf %arg0, %{{.*}} : tensor<1x6x2xf32>
  // FREE-NEXT: eff.layer_norm %[[P]]
  %s = eff.ssm_scan %u, %dt, %a, %b, %b skip %d {groups = 4}
    : tensor<1x6x8xf32>, !eff.weight<8x2, f32>, tensor<1x6x8xf32> skip !eff.weight<8, f32>
  %m = eff.cross_merge %s {directions = 4, height = 2, width = 3} : tensor<1x6x8xf32> -> tensor<1x6x2xf32>
  %y = eff.layer_norm %m, %w {eps = 1.0e-5 : f32} : tensor<1x6x2xf32>, !eff.weight<2, f32>
  return %y : tensor<1x6x2xf32>
}
