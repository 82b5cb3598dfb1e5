// RUN: effc-opt %s --convert-eff-to-plan -split-input-file | FileCheck %s
// RUN: effc-opt %s --convert-eff-to-plan -split-input-file --remarks-filter-missed='convert-.*' -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

// Ops between two steps become one piece of code; a part of a split is sliced inside.
// REMARK: [Missed] NoKernel {{.*}} Function=between {{.*}}1 math.exp, 1 arith.addf
// CHECK: plan.generic @[[G:generic_.*]] {
// CHECK: ^bb0(%[[X:.*]]: tensor<1x2x24xf32>):
// CHECK: %[[S:.*]] = tensor.extract_slice %[[X]][0, 0, 8] [1, 2, 16] [1, 1, 1]
// CHECK: %[[E:.*]] = math.exp %[[S]]
// CHECK: %[[C:.*]] = arith.constant dense<1.000000e+00>
// CHECK: %[[A:.*]] = arith.addf %[[E]], %[[C]]
// CHECK: plan.yield %[[A]] : tensor<1x2x16xf32>
// CHECK-LABEL: plan.program @between
// CHECK: plan.step @[[G]](%{{.*}}, %[[T:.*]]) writes [1]
// CHECK: plan.step @{{rms_norm.*}}(%[[T]],
eff.weight @w : !eff.weight<16, f32>
func.func @between(%x: tensor<1x2x24xf32>) -> tensor<1x2x16xf32>
    attributes {eff.entry = #eff.entry<forward, batch = 1, tokens = 2>} {
  %w = eff.use @w : !eff.weight<16, f32>
  %one = arith.constant dense<1.0> : tensor<1x2x16xf32>
  %a, %b = eff.split %x : tensor<1x2x24xf32> -> tensor<1x2x8xf32>, tensor<1x2x16xf32>
  %0 = math.exp %b : tensor<1x2x16xf32>
  %1 = arith.addf %0, %one : tensor<1x2x16xf32>
  %y = eff.rms_norm %1, %w {eps = 1.0e-5 : f32} : tensor<1x2x16xf32>, !eff.weight<16, f32>
  return %y : tensor<1x2x16xf32>
}

// -----

// A kernel in between cuts the code in two; the second half reads a value of the first.
// CHECK-LABEL: plan.program @cut
// CHECK: plan.step @{{generic_.*}}(%{{.*}}, %[[A:.*]]) writes [1]
// CHECK: plan.step @{{rms_norm.*}}(%[[A]], %{{.*}}, %[[N:[^,]+]], %{{.*}}) writes [2]
// CHECK: plan.step @{{generic_.*}}(%[[N]], %[[A]], %{{.*}}) writes [2]
eff.weight @w : !eff.weight<16, f32>
func.func @cut(%x: tensor<1x1x16xf32>) -> tensor<1x1x16xf32>
    attributes {eff.entry = #eff.entry<forward, batch = 1, tokens = 1>} {
  %w = eff.use @w : !eff.weight<16, f32>
  %0 = math.exp %x : tensor<1x1x16xf32>
  %1 = eff.rms_norm %0, %w {eps = 1.0e-5 : f32} : tensor<1x1x16xf32>, !eff.weight<16, f32>
  %2 = math.tanh %1 : tensor<1x1x16xf32>
  %3 = arith.addf %2, %0 : tensor<1x1x16xf32>
  return %3 : tensor<1x1x16xf32>
}

// -----

// Constants of a kernel's operand become weights.
// CHECK: eff.weight @constant : !eff.weight<1x1x4, f32> = dense<{{.*}}1.000000e+00, 2.000000e+00, 3.000000e+00, 4.000000e+00
// CHECK-LABEL: plan.program @constant_operand
// CHECK: %[[C:.*]] = plan.weight @constant
// CHECK: plan.step @{{rms_norm.*}}(%[[C]],
eff.weight @w : !eff.weight<4, f32>
func.func @constant_operand() -> tensor<1x1x4xf32>
    attributes {eff.entry = #eff.entry<forward, batch = 1, tokens = 1>} {
  %w = eff.use @w : !eff.weight<4, f32>
  %c = arith.constant dense<[[[1.0, 2.0, 3.0, 4.0]]]> : tensor<1x1x4xf32>
  %y = eff.rms_norm %c, %w {eps = 1.0e-5 : f32} : tensor<1x1x4xf32>, !eff.weight<4, f32>
  return %y : tensor<1x1x4xf32>
}
