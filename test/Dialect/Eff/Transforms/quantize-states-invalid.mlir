// RUN: not effc-opt %s --eff-quantize-states=conv 2>&1 | FileCheck %s
// RUN: not effc-opt %s '--eff-quantize-states=scan=dynamic cache' 2>&1 | FileCheck %s

// A convolution of floats keeps a state of floats.
// CHECK: error: EFF0102: the model has no state or cache to quantise as asked
// CHECK: try: leave eff-quantize-states out for this model
eff.weight @w : !eff.weight<8x4, f32>
eff.state @s : !eff.state<conv, 3x8, f32>
func.func @conv(%x: tensor<1x4x8xf32>) -> tensor<1x4x8xf32> {
  %w = eff.use @w : !eff.weight<8x4, f32>
  %s = eff.use @s : !eff.state<conv, 3x8, f32>
  %y = eff.causal_conv1d %x, %w, %s : tensor<1x4x8xf32>, !eff.weight<8x4, f32>, !eff.state<conv, 3x8, f32>
  return %y : tensor<1x4x8xf32>
}
