// RUN: not effc-opt %s -eff-collapse-channels=layers=other 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: not effc-opt %s -eff-collapse-channels=layers=1 2>&1 | FileCheck %s --check-prefix=NUMBER
// RUN: not effc-opt %s -eff-collapse-channels=layers=0 2>&1 | FileCheck %s --check-prefix=STATE
// RUN: not effc-opt %S/Inputs/empty.mlir -eff-collapse-channels=layers=0 2>&1 | FileCheck %s --check-prefix=NOSCAN

// NAME: no layer 'other' has a scan
// NAME: layers with a scan: layer
// NUMBER: there is no layer 1 with a scan
// STATE: layer 'layer' keeps a state
// NOSCAN: no layer has a scan to collapse
eff.weight @layer.A : !eff.weight<4x2, f32> = dense<-1.0> : tensor<4x2xf32>
eff.state @s : !eff.state<ssm, 2x4, f32>
func.func @mamba(%u: tensor<1x4x4xf32>, %b: tensor<1x4x2xf32>) -> tensor<1x4x4xf32> {
  %a = eff.use @layer.A : !eff.weight<4x2, f32>
  %s = eff.use @s : !eff.state<ssm, 2x4, f32>
  %y = eff.ssm_scan %u, %u, %a, %b, %b, %s
    : tensor<1x4x4xf32>, !eff.weight<4x2, f32>, tensor<1x4x2xf32>, !eff.state<ssm, 2x4, f32>
  return %y : tensor<1x4x4xf32>
}
