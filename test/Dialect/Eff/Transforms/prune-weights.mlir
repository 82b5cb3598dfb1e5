// RUN: effc-opt %s -eff-prune-weights='ratio=0.5 skip=kept' | FileCheck %s
// RUN: not effc-opt %s -eff-prune-weights=ratio=1.0 2>&1 | FileCheck %s --check-prefix=BAD

// BAD: a share of {{.*}} of the weights
// CHECK: eff.weight @w : !eff.weight<1x4, f32> = dense<{{\[\[}}0.000000e+00, -4.000000e+00, 0.000000e+00, 3.000000e+00]]>
// CHECK: eff.weight @kept : !eff.weight<1x4, f32> = dense<{{\[\[}}1.000000e+00, -4.000000e+00
// CHECK: eff.weight @table : !eff.weight<1x4, f32> = dense<{{\[\[}}1.000000e+00, -4.000000e+00
eff.weight @w : !eff.weight<1x4, f32> = dense<[[1.0, -4.0, 2.0, 3.0]]> : tensor<1x4xf32>
eff.weight @kept : !eff.weight<1x4, f32> = dense<[[1.0, -4.0, 2.0, 3.0]]> : tensor<1x4xf32>
eff.weight @table : !eff.weight<1x4, f32> = dense<[[1.0, -4.0, 2.0, 3.0]]> : tensor<1x4xf32>
func.func @main(%x: tensor<1x2x4xf32>, %ids: tensor<1x2xi32>) -> (tensor<1x2x1xf32>, tensor<1x2x1xf32>, tensor<1x2x4xf32>) {
  %w = eff.use @w : !eff.weight<1x4, f32>
  %k = eff.use @kept : !eff.weight<1x4, f32>
  %t = eff.use @table : !eff.weight<1x4, f32>
  %y = eff.linear %x, %w : tensor<1x2x4xf32>, !eff.weight<1x4, f32> -> tensor<1x2x1xf32>
  %z = eff.linear %x, %k : tensor<1x2x4xf32>, !eff.weight<1x4, f32> -> tensor<1x2x1xf32>
  %e = eff.embed %ids, %t : tensor<1x2xi32>, !eff.weight<1x4, f32> -> tensor<1x2x4xf32>
  return %y, %z, %e : tensor<1x2x1xf32>, tensor<1x2x1xf32>, tensor<1x2x4xf32>
}
