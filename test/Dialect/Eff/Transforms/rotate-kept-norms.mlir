// RUN: effc-opt %s --eff-rotate=residual=true --remarks-filter=eff-rotate 2>&1 | FileCheck %s

// Norms whose weight cannot move: an op that is no linear reads one, another norms groups, a matrix reads the third and
// something else besides. All get the model's own basis, and share the rotation that goes back to it.
// CHECK-DAG: [Missed] NormKept | {{.*}}Function=exp | {{.*}}Reason="'math.exp' reads it"
// CHECK-DAG: [Missed] NormKept | {{.*}}Function=groups | {{.*}}Reason="it norms groups of features"
// CHECK-DAG: [Missed] NormKept | {{.*}}Function=mixed | {{.*}}Reason="'@both' is read elsewhere too"
// CHECK-DAG: [Passed] NormFolded | {{.*}}Function=moves
eff.weight @table : !eff.weight<16x8, f32> = dense<0.5> : tensor<16x8xf32>
eff.weight @exp : !eff.weight<8, f32> = dense<2.0> : tensor<8xf32>
eff.weight @groups : !eff.weight<4, f32> = dense<3.0> : tensor<4xf32>
eff.weight @mixed : !eff.weight<8, f32> = dense<4.0> : tensor<8xf32>
eff.weight @moves : !eff.weight<8, f32> = dense<5.0> : tensor<8xf32>
eff.weight @both : !eff.weight<4x8, f32> = dense<0.5> : tensor<4x8xf32>
eff.weight @only : !eff.weight<4x8, f32> = dense<0.5> : tensor<4x8xf32>

// CHECK: eff.weight @table : !eff.weight<16x8, f32 in <hadamard = 8>>
// CHECK: eff.weight @mixed : !eff.weight<8, f32> = dense<4.000000e+00>
// CHECK: eff.weight @moves : !eff.weight<8, f32> = dense<1.000000e+00>
// CHECK: eff.weight @both : !eff.weight<4x8, f32>
// CHECK: eff.weight @only : !eff.weight<4x8, f32 in <hadamard = 8>>
// CHECK-LABEL: func.func @entry
// CHECK: %[[X:.*]] = eff.embed
// CHECK: %[[P:.*]] = eff.hadamard %[[X]] {transposed}
// CHECK-NOT: eff.hadamard
// CHECK: eff.rms_norm %[[P]], %{{.*}} tensor<1x2x8xf32>, <8, f32>
// CHECK: eff.rms_norm %[[P]], %{{.*}} group = 4
// CHECK: eff.rms_norm %[[P]], %{{.*}} tensor<1x2x8xf32>, <8, f32>
// CHECK: eff.rms_norm %[[X]], %{{.*}} tensor<1x2x8xf32, #eff.basis<hadamard = 8>>
func.func @entry(%ids: tensor<1x2xi32>, %y: tensor<1x2x8xf32>)
    -> (tensor<1x2x8xf32>, tensor<1x2x8xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>) {
  %t = eff.use @table : !eff.weight<16x8, f32>
  %g0 = eff.use @exp : !eff.weight<8, f32>
  %g1 = eff.use @groups : !eff.weight<4, f32>
  %g2 = eff.use @mixed : !eff.weight<8, f32>
  %g3 = eff.use @moves : !eff.weight<8, f32>
  %wb = eff.use @both : !eff.weight<4x8, f32>
  %wo = eff.use @only : !eff.weight<4x8, f32>
  %x = eff.embed %ids, %t : tensor<1x2xi32>, !eff.weight<16x8, f32> -> tensor<1x2x8xf32>
  %0 = eff.rms_norm %x, %g0 {eps = 1.0e-5 : f32} : tensor<1x2x8xf32>, !eff.weight<8, f32>
  %1 = math.exp %0 : tensor<1x2x8xf32>
  %2 = eff.rms_norm %x, %g1 {eps = 1.0e-5 : f32, group = 4} : tensor<1x2x8xf32>, !eff.weight<4, f32>
  %3 = eff.rms_norm %x, %g2 {eps = 1.0e-5 : f32} : tensor<1x2x8xf32>, !eff.weight<8, f32>
  %4 = eff.linear %3, %wb : tensor<1x2x8xf32>, !eff.weight<4x8, f32> -> tensor<1x2x4xf32>
  %5 = eff.linear %y, %wb : tensor<1x2x8xf32>, !eff.weight<4x8, f32> -> tensor<1x2x4xf32>
  %6 = eff.rms_norm %x, %g3 {eps = 1.0e-5 : f32} : tensor<1x2x8xf32>, !eff.weight<8, f32>
  %7 = eff.linear %6, %wo : tensor<1x2x8xf32>, !eff.weight<4x8, f32> -> tensor<1x2x4xf32>
  return %1, %2, %4, %5, %7 : tensor<1x2x8xf32>, tensor<1x2x8xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>
}
