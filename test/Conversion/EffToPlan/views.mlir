// RUN: effc-opt %s --convert-eff-to-plan -split-input-file | FileCheck %s

// Parts of a split are offsets into its rows; nothing is copied.
// CHECK: plan.kernel @[[NORM:gated_norm_.*]] "gated_norm" {d = 16 : i64, {{.*}}ldx = 40 : i64, ldy = 16 : i64, ldz = 40 : i64
// CHECK-LABEL: plan.program @split
// CHECK: %[[X:.*]] = plan.input 0 "input0"
// CHECK: %[[Y:.*]] = plan.output 0 "output0"
// CHECK: %[[Z:.*]] = plan.view %[[X]][64]
// CHECK: plan.step @[[NORM]](%[[X]], %[[Z]], %{{.*}}, %[[Y]], %{{.*}}, %{{.*}}) writes [3]
// CHECK-NOT: plan.step
eff.weight @w : !eff.weight<16, f32>
func.func @split(%x: tensor<1x4x40xf32>) -> tensor<1x4x16xf32>
    attributes {eff.entry = #eff.entry<forward, batch = 1, tokens = 4>} {
  %w = eff.use @w : !eff.weight<16, f32>
  %a, %z, %rest = eff.split %x : tensor<1x4x40xf32> -> tensor<1x4x16xf32>, tensor<1x4x16xf32>, tensor<1x4x8xf32>
  %y = eff.gated_norm %a, %z, %w {eps = 1.0e-5 : f32} : tensor<1x4x16xf32>, !eff.weight<16, f32>
  return %y : tensor<1x4x16xf32>
}

// -----

// One token of each of two rows: rows that are 5 tokens apart.
// CHECK: plan.kernel @[[NORM:rms_norm_.*]] "rms_norm" {{.*}}ldx = 40 : i64, ldy = 8 : i64, rows = 2 : i64
// CHECK-LABEL: plan.program @slice
// CHECK: %[[V:.*]] = plan.view %{{.*}}[32]
// CHECK: plan.step @[[NORM]](%[[V]],
eff.weight @w : !eff.weight<8, f32>
func.func @slice(%x: tensor<2x5x8xf32>) -> tensor<2x8xf32>
    attributes {eff.entry = #eff.entry<forward, batch = 2, tokens = 5>} {
  %w = eff.use @w : !eff.weight<8, f32>
  %s = tensor.extract_slice %x[0, 1, 0] [2, 1, 8] [1, 1, 1] : tensor<2x5x8xf32> to tensor<2x8xf32>
  %y = eff.rms_norm %s, %w {eps = 1.0e-5 : f32} : tensor<2x8xf32>, !eff.weight<8, f32>
  return %y : tensor<2x8xf32>
}

// -----

// The result is written where its reshaped form leaves the program.
// CHECK-LABEL: plan.program @reshaped
// CHECK: %[[Y:.*]] = plan.output 0 "logits" : tensor<2x8xf32>
// CHECK: plan.step @{{.*}}(%{{.*}}, %{{.*}}, %[[Y]], %{{.*}}) writes [2]
// CHECK-NOT: copy_rows
eff.weight @w : !eff.weight<8, f32>
func.func @reshaped(%x: tensor<1x2x8xf32> {eff.name = "x"}) -> (tensor<2x8xf32> {eff.name = "logits"})
    attributes {eff.entry = #eff.entry<forward, batch = 1, tokens = 2>} {
  %w = eff.use @w : !eff.weight<8, f32>
  %n = eff.rms_norm %x, %w {eps = 1.0e-5 : f32} : tensor<1x2x8xf32>, !eff.weight<8, f32>
  %y = tensor.collapse_shape %n [[0, 1], [2]] : tensor<1x2x8xf32> into tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

// Halves of each row of two heads: no common distance when they are folded into one row, so one copy.
// CHECK: plan.kernel @[[COPY:copy_rows_.*]] "copy_rows" {d = 4 : i64, ldx = 8 : i64, ldy = 4 : i64, rows = 4 : i64}
// CHECK-LABEL: plan.program @copied
// CHECK: %[[T:.*]] = plan.buffer 64
// CHECK: plan.step @[[COPY]](%{{.*}}, %[[T]]) writes [1]
// CHECK: plan.step @{{rms_norm.*}}(%[[T]],
eff.weight @w : !eff.weight<8, f32>
func.func @copied(%x: tensor<1x2x2x8xf32>) -> tensor<1x2x8xf32>
    attributes {eff.entry = #eff.entry<forward, batch = 1, tokens = 2>} {
  %w = eff.use @w : !eff.weight<8, f32>
  %s = tensor.extract_slice %x[0, 0, 0, 0] [1, 2, 2, 4] [1, 1, 1, 1] : tensor<1x2x2x8xf32> to tensor<1x2x2x4xf32>
  %f = tensor.collapse_shape %s [[0], [1], [2, 3]] : tensor<1x2x2x4xf32> into tensor<1x2x8xf32>
  %y = eff.rms_norm %f, %w {eps = 1.0e-5 : f32} : tensor<1x2x8xf32>, !eff.weight<8, f32>
  return %y : tensor<1x2x8xf32>
}

// -----

// An input that is returned as it is, twice: two copies.
// CHECK-LABEL: plan.program @through
// CHECK: %[[X:.*]] = plan.input 0
// CHECK: %[[A:.*]] = plan.output 0
// CHECK: %[[B:.*]] = plan.output 1
// CHECK: plan.step @{{copy_rows.*}}(%[[X]], %[[A]]) writes [1]
// CHECK: plan.step @{{copy_rows.*}}(%[[X]], %[[B]]) writes [1]
func.func @through(%x: tensor<2x3xf32>) -> (tensor<2x3xf32>, tensor<2x3xf32>)
    attributes {eff.entry = #eff.entry<forward, batch = 1, tokens = 1>} {
  return %x, %x : tensor<2x3xf32>, tensor<2x3xf32>
}
