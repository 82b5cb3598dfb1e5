// RUN: not effc-opt %s -eff-collapse-channels='layers=one language' 2>&1 | FileCheck %s --check-prefix=QUANTISED
// RUN: not effc-opt %s -eff-collapse-channels='layers=two language variant=pre' 2>&1 | FileCheck %s --check-prefix=PRE
// RUN: not effc-opt %s -eff-collapse-channels='layers=two language' 2>&1 | FileCheck %s --check-prefix=QUANTISED

// QUANTISED: error: EFF0102: a quantised state cannot be collapsed
// QUANTISED: try: collapse channels before quantize-states
// PRE: error: EFF0102: variant pre is not defined for the scan of Mamba-2
// PRE: try: use post or dir
eff.weight @one.A : !eff.weight<4x2, f32> = dense<-1.0> : tensor<4x2xf32>
eff.weight @two.A : !eff.weight<4, f32> = dense<-1.0> : tensor<4xf32>
eff.state @s : !eff.state<ssm, 2x4, #eff.int8_state<dynamic, nearest, residual = 0>>
eff.state @t : !eff.state<ssd, 4x3x2, #eff.int8_state<dynamic, nearest, residual = 0>>

func.func @mamba(%u: tensor<1x4x4xf32>, %b: tensor<1x4x2xf32>) -> tensor<1x4x4xf32> {
  %a = eff.use @one.A : !eff.weight<4x2, f32>
  %s = eff.use @s : !eff.state<ssm, 2x4, #eff.int8_state<dynamic, nearest, residual = 0>>
  %y = eff.ssm_scan %u, %u, %a, %b, %b, %s
    : tensor<1x4x4xf32>, !eff.weight<4x2, f32>, tensor<1x4x2xf32>,
      !eff.state<ssm, 2x4, #eff.int8_state<dynamic, nearest, residual = 0>>
  return %y : tensor<1x4x4xf32>
}

func.func @mamba2(%x: tensor<1x4x8xf32>, %dt: tensor<1x4x4xf32>, %b: tensor<1x4x6xf32>) -> tensor<1x4x8xf32> {
  %a = eff.use @two.A : !eff.weight<4, f32>
  %t = eff.use @t : !eff.state<ssd, 4x3x2, #eff.int8_state<dynamic, nearest, residual = 0>>
  %y = eff.ssd_scan %x, %dt, %a, %b, %b, %t {heads = 4, groups = 2}
    : tensor<1x4x8xf32>, tensor<1x4x4xf32>, !eff.weight<4, f32>, tensor<1x4x6xf32>,
      !eff.state<ssd, 4x3x2, #eff.int8_state<dynamic, nearest, residual = 0>>
  return %y : tensor<1x4x8xf32>
}
