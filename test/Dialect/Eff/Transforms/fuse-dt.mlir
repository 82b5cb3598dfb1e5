// RUN: effc-opt %s --eff-fuse-dt -split-input-file | FileCheck %s

// Mamba-2: a bias that is repeated for each token.
// CHECK-LABEL: func.func @vector
// CHECK-SAME: %[[X:.*]]: tensor<1x2x8xf32>, %[[RAW:.*]]: tensor<1x2x2xf32>
// CHECK-DAG: %[[BIAS:.*]] = eff.use @bias
// CHECK-NOT: math
// CHECK-NOT: linalg
// CHECK: eff.ssd_scan %[[X]], %[[RAW]]
// CHECK-SAME: dt_bias %[[BIAS]]
// CHECK-SAME: dt_softplus
eff.weight @a : !eff.weight<2, f32>
eff.weight @bias : !eff.weight<2, f32>
eff.state @s : !eff.state<ssd, 2x4x4, f32>
func.func @vector(%x: tensor<1x2x8xf32>, %raw: tensor<1x2x2xf32>, %b: tensor<1x2x4xf32>) -> tensor<1x2x8xf32> {
  %a = eff.use @a : !eff.weight<2, f32>
  %bias = eff.use @bias : !eff.weight<2, f32>
  %s = eff.use @s : !eff.state<ssd, 2x4x4, f32>
  %0 = eff.read %bias : !eff.weight<2, f32> -> tensor<2xf32>
  %1 = tensor.empty() : tensor<1x2x2xf32>
  %2 = linalg.broadcast ins(%0 : tensor<2xf32>) outs(%1 : tensor<1x2x2xf32>) dimensions = [0, 1]
  %v = arith.addf %raw, %2 : tensor<1x2x2xf32>
  %zero = arith.constant dense<0.0> : tensor<1x2x2xf32>
  %3 = math.absf %v : tensor<1x2x2xf32>
  %4 = arith.negf %3 : tensor<1x2x2xf32>
  %5 = math.exp %4 : tensor<1x2x2xf32>
  %6 = arith.maximumf %v, %zero : tensor<1x2x2xf32>
  %7 = math.log1p %5 : tensor<1x2x2xf32>
  %dt = arith.addf %6, %7 : tensor<1x2x2xf32>
  %y = eff.ssd_scan %x, %dt, %a, %b, %b, %s {heads = 2, groups = 1}
    : tensor<1x2x8xf32>, tensor<1x2x2xf32>, !eff.weight<2, f32>, tensor<1x2x4xf32>, !eff.state<ssd, 2x4x4, f32>
  return %y : tensor<1x2x8xf32>
}

// -----

// Mamba-1: the bias is the last term of dt_proj, whose epilogue goes with it.
// CHECK-LABEL: func.func @linear
// CHECK-SAME: %[[U:.*]]: tensor<1x2x8xf32>
// CHECK-DAG: %[[BIAS:.*]] = eff.use @bias
// CHECK: %[[RAW:.*]] = eff.linear
// CHECK-NOT: epilogue
// CHECK-NOT: math
// CHECK: eff.ssm_scan %[[U]], %[[RAW]]
// CHECK-SAME: dt_bias %[[BIAS]]
// CHECK-SAME: dt_softplus
eff.weight @w : !eff.weight<8x4, f32>
eff.weight @a : !eff.weight<8x4, f32>
eff.weight @bias : !eff.weight<8, f32>
eff.state @s : !eff.state<ssm, 4x8, f32>
func.func @linear(%u: tensor<1x2x8xf32>, %low: tensor<1x2x4xf32>) -> tensor<1x2x8xf32> {
  %w = eff.use @w : !eff.weight<8x4, f32>
  %a = eff.use @a : !eff.weight<8x4, f32>
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
  %dt = arith.addf %7, %6 : tensor<1x2x8xf32>
  %y = eff.ssm_scan %u, %dt, %a, %low, %low, %s
    : tensor<1x2x8xf32>, !eff.weight<8x4, f32>, tensor<1x2x4xf32>, !eff.state<ssm, 4x8, f32>
  return %y : tensor<1x2x8xf32>
}
