// RUN: not effc-opt %s '--eff-quantize-activations=calibration=%S/Inputs/reorder.json' 2>&1 | FileCheck %s
// RUN: not effc-opt %s --eff-quantize-activations 2>&1 | FileCheck %s --check-prefix=NONE

// CHECK: error: EFF0102: there is nothing to quantise to int8 activations in this model
// CHECK: why: no linear has an integer weight
// CHECK: try: run eff-quantize with format=w8a8 or w4a8 before
// NONE: error: EFF0102: static scales need calibration
eff.weight @w : !eff.weight<4x8, f32>
func.func @linear(%x: tensor<1x2x8xf32>) -> tensor<1x2x4xf32> {
  %w = eff.use @w : !eff.weight<4x8, f32>
  %y = eff.linear %x, %w : tensor<1x2x8xf32>, !eff.weight<4x8, f32> -> tensor<1x2x4xf32>
  return %y : tensor<1x2x4xf32>
}
