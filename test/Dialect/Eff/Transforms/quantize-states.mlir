// RUN: effc-opt %s --eff-quantize-states=scan=dynamic | FileCheck %s --check-prefix=TOKEN
// RUN: effc-opt %s '--eff-quantize-states=scan=dynamic rounding=stochastic residual=4 every=call' | FileCheck %s --check-prefix=CALL
// RUN: effc-opt %s '--eff-quantize-states=scan=dynamic every=call' | effc-opt | FileCheck %s --check-prefix=AGAIN

// TOKEN: eff.state @s : !eff.state<ssm, 2x4, #eff.int8_state<dynamic, nearest, residual = 0>>
// CALL: eff.state @s : !eff.state<ssm, 2x4, #eff.int8_state<dynamic, stochastic, residual = 4, every = call>>
// AGAIN: eff.state @s : !eff.state<ssm, 2x4, #eff.int8_state<dynamic, nearest, residual = 0, every = call>>
eff.weight @a : !eff.weight<4x2, f32>
eff.state @s : !eff.state<ssm, 2x4, f32>

// TOKEN-LABEL: @scan
// CALL-LABEL: @scan
func.func @scan(%u: tensor<1x4x4xf32>, %b: tensor<1x4x2xf32>) -> tensor<1x4x4xf32> {
  %a = eff.use @a : !eff.weight<4x2, f32>
  %s = eff.use @s : !eff.state<ssm, 2x4, f32>
  // TOKEN: eff.ssm_scan {{.*}} !eff.state<ssm, 2x4, #eff.int8_state<dynamic, nearest, residual = 0>>
  // CALL: eff.ssm_scan {{.*}} !eff.state<ssm, 2x4, #eff.int8_state<dynamic, stochastic, residual = 4, every = call>>
  %y = eff.ssm_scan %u, %u, %a, %b, %b, %s
    : tensor<1x4x4xf32>, !eff.weight<4x2, f32>, tensor<1x4x2xf32>, !eff.state<ssm, 2x4, f32>
  return %y : tensor<1x4x4xf32>
}
