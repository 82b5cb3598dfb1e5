// RUN: effc-opt %s --eff-fuse-dt -split-input-file | FileCheck %s
// RUN: effc-opt %s --eff-fuse-dt --remarks-filter-missed='eff-.*' -split-input-file 2>&1 >/dev/null | FileCheck %s --check-prefix=REMARK

// A residual is added by the same linear for another reader: the bias stays,
// the softplus moves.
// CHECK-LABEL: func.func @bias_is_read
// CHECK: %[[V:.*]] = eff.linear
// CHECK-SAME: epilogue
// CHECK: eff.ssm_scan %{{.*}}, %[[V]]
// CHECK-NOT: dt_bias
// CHECK-SAME: dt_softplus
// CHECK: return %{{.*}}, %[[V]]
eff.weight @w : !eff.weight<8x4, f32>
eff.weight @bias : !eff.weight<8, f32>
eff.state @s : !eff.state<ssm, 4x8, f32>
func.func @bias_is_read(%u: tensor<1x2x8xf32>, %low: tensor<1x2x4xf32>) -> (tensor<1x2x8xf32>, tensor<1x2x8xf32>) {
  %w = eff.use @w : !eff.weight<8x4, f32>
  %bias = eff.use @bias : !eff.weight<8, f32>
  %s = eff.use @s : !eff.state<ssm, 4x8, f32>
  %v = eff.linear %low, %w extras(%bias : !eff.weight<8, f32>) epilogue {
  ^bb0(%acc: f32, %e: f32):
    %sum = arith.addf %acc, %e : f32
    eff.yield %sum : f32
  } : tensor<1x2x4xf32>, !eff.weight<8x4, f32> -> tensor<1x2x8xf32>
  %zero = arith.constant dense<0.0> : tensor<1x2x8xf32>
  %3 = math.absf %v : tensor<1x2x8xf32>
  %4 = arith.negf %3 : tensor<1x2x8xf32>
  %5 = math.exp %4 : tensor<1x2x8xf32>
  %6 = arith.maximumf %v, %zero : tensor<1x2x8xf32>
  %7 = math.log1p %5 : tensor<1x2x8xf32>
  %dt = arith.addf %6, %7 : tensor<1x2x8xf32>
  %y = eff.ssm_scan %u, %dt, %w, %low, %low, %s
    : tensor<1x2x8xf32>, !eff.weight<8x4, f32>, tensor<1x2x4xf32>, !eff.state<ssm, 4x8, f32>
  return %y, %v : tensor<1x2x8xf32>, tensor<1x2x8xf32>
}

// -----

// log(1 + exp(-|v|)) with another v is no softplus.
// REMARK: remark: [Missed] DtKept
// REMARK-SAME: dt is no softplus
// CHECK-LABEL: func.func @other
// CHECK: math.log1p
// CHECK-NOT: dt_softplus
eff.weight @w : !eff.weight<8x4, f32>
eff.state @s : !eff.state<ssm, 4x8, f32>
func.func @other(%u: tensor<1x2x8xf32>, %low: tensor<1x2x4xf32>) -> tensor<1x2x8xf32> {
  %w = eff.use @w : !eff.weight<8x4, f32>
  %s = eff.use @s : !eff.state<ssm, 4x8, f32>
  %zero = arith.constant dense<0.0> : tensor<1x2x8xf32>
  %3 = math.absf %u : tensor<1x2x8xf32>
  %4 = arith.negf %3 : tensor<1x2x8xf32>
  %5 = math.exp %4 : tensor<1x2x8xf32>
  %6 = arith.maximumf %5, %zero : tensor<1x2x8xf32>
  %7 = math.log1p %5 : tensor<1x2x8xf32>
  %dt = arith.addf %6, %7 : tensor<1x2x8xf32>
  %y = eff.ssm_scan %u, %dt, %w, %low, %low, %s
    : tensor<1x2x8xf32>, !eff.weight<8x4, f32>, tensor<1x2x4xf32>, !eff.state<ssm, 4x8, f32>
  return %y : tensor<1x2x8xf32>
}

// -----

// What comes out of the softplus is returned too: it would be computed twice.
// REMARK: remark: [Missed] DtKept
// REMARK-SAME: other ops read dt after its softplus
// CHECK-LABEL: func.func @dt_is_read
// CHECK: %[[DT:.*]] = arith.addf
// CHECK: eff.ssm_scan %{{.*}}, %[[DT]]
eff.weight @w : !eff.weight<8x4, f32>
eff.state @s : !eff.state<ssm, 4x8, f32>
func.func @dt_is_read(%u: tensor<1x2x8xf32>, %low: tensor<1x2x4xf32>) -> (tensor<1x2x8xf32>, tensor<1x2x8xf32>) {
  %w = eff.use @w : !eff.weight<8x4, f32>
  %s = eff.use @s : !eff.state<ssm, 4x8, f32>
  %zero = arith.constant dense<0.0> : tensor<1x2x8xf32>
  %3 = math.absf %u : tensor<1x2x8xf32>
  %4 = arith.negf %3 : tensor<1x2x8xf32>
  %5 = math.exp %4 : tensor<1x2x8xf32>
  %6 = arith.maximumf %u, %zero : tensor<1x2x8xf32>
  %7 = math.log1p %5 : tensor<1x2x8xf32>
  %dt = arith.addf %6, %7 : tensor<1x2x8xf32>
  %y = eff.ssm_scan %u, %dt, %w, %low, %low, %s
    : tensor<1x2x8xf32>, !eff.weight<8x4, f32>, tensor<1x2x4xf32>, !eff.state<ssm, 4x8, f32>
  return %y, %dt : tensor<1x2x8xf32>, tensor<1x2x8xf32>
}
