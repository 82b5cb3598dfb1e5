// RUN: effc-opt %s --eff-fuse-epilogue --remarks-filter-missed='eff-.*' -split-input-file 2>&1 | FileCheck %s

// The value in between is returned too: nothing can move.
// CHECK: remark: [Missed] EpilogueKept
// CHECK-SAME: other ops read a value in between
// CHECK-LABEL: func.func @two_users
// CHECK: %[[Y:.*]] = eff.linear
// CHECK-NOT: epilogue
// CHECK: %[[E:.*]] = math.exp %[[Y]]
// CHECK: return %[[Y]], %[[E]]
eff.weight @w : !eff.weight<8x4, f32>
func.func @two_users(%x: tensor<1x2x4xf32>) -> (tensor<1x2x8xf32>, tensor<1x2x8xf32>) {
  %w = eff.use @w : !eff.weight<8x4, f32>
  %0 = eff.linear %x, %w : tensor<1x2x4xf32>, !eff.weight<8x4, f32> -> tensor<1x2x8xf32>
  %1 = math.exp %0 : tensor<1x2x8xf32>
  return %0, %1 : tensor<1x2x8xf32>, tensor<1x2x8xf32>
}

// -----

// A reduction is no elementwise op; what comes before it moves.
// CHECK-LABEL: func.func @up_to_reduction
// CHECK: eff.linear
// CHECK-SAME: epilogue
// CHECK: math.exp
// CHECK: linalg.reduce
eff.weight @w : !eff.weight<8x4, f32>
func.func @up_to_reduction(%x: tensor<1x2x4xf32>, %init: tensor<1x2xf32>) -> tensor<1x2xf32> {
  %w = eff.use @w : !eff.weight<8x4, f32>
  %0 = eff.linear %x, %w : tensor<1x2x4xf32>, !eff.weight<8x4, f32> -> tensor<1x2x8xf32>
  %1 = math.exp %0 : tensor<1x2x8xf32>
  %2 = linalg.reduce { arith.addf } ins(%1 : tensor<1x2x8xf32>) outs(%init : tensor<1x2xf32>) dimensions = [2]
  return %2 : tensor<1x2xf32>
}
