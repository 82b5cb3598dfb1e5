// RUN: effc-opt %s --eff-rotate=residual=true | FileCheck %s
// RUN: effc-opt %s --eff-rotate=residual=true --remarks-filter=eff-rotate 2>&1 | FileCheck %s --check-prefix=REMARK

// The table is the head's too: it stays, the stream is rotated behind the embedding, and the last norm keeps its weight.
// CHECK: eff.weight @table : !eff.weight<16x8, bf16>
// CHECK: eff.weight @norm : !eff.weight<8, f32> = dense<1.000000e+00>
// CHECK: eff.weight @up : !eff.weight<4x8, f32 in <hadamard = 8>>
// CHECK: eff.weight @down : !eff.weight<8x4, f32 out <hadamard = 8>>
// CHECK: eff.weight @last : !eff.weight<8, f32> = dense<3.000000e+00>

// REMARK-DAG: [Passed] NormFolded | {{.*}}Function=norm
// REMARK-DAG: [Missed] NormKept | {{.*}}Function=last | OnlineSize=8, Reason="an embedding shares the matrix that reads it"
// REMARK-DAG: [Missed] TableKept | {{.*}}Function=table
// REMARK-DAG: WeightRotated{{.*}}up{{.*}}Inputs=8{{.*}}InputsBase=1{{.*}}NormFolded=norm
// REMARK-DAG: WeightRotated{{.*}}down{{.*}}Outputs=8
eff.weight @table : !eff.weight<16x8, bf16> = dense<0.5> : tensor<16x8xbf16>
eff.weight @norm : !eff.weight<8, f32> = dense<2.0> : tensor<8xf32>
eff.weight @up : !eff.weight<4x8, bf16> = dense<0.5> : tensor<4x8xbf16>
eff.weight @down transposed : !eff.weight<8x4, bf16> = dense<0.5> : tensor<4x8xbf16>
eff.weight @last : !eff.weight<8, f32> = dense<3.0> : tensor<8xf32>

// CHECK-LABEL: func.func @entry
// CHECK: %[[E:.*]] = eff.embed
// CHECK: %[[X:.*]] = eff.hadamard %[[E]] : tensor<1x2x8xf32> -> tensor<1x2x8xf32, #eff.basis<hadamard = 8>>
// CHECK: %[[N:.*]] = eff.rms_norm %[[X]], {{.*}} : tensor<1x2x8xf32, #eff.basis<hadamard = 8>>
// CHECK: %[[U:.*]] = eff.linear %[[N]], {{.*}} -> tensor<1x2x4xf32>
// CHECK: %[[D:.*]] = eff.linear %[[U]], {{.*}} -> tensor<1x2x8xf32, #eff.basis<hadamard = 8>>
// CHECK: %[[S:.*]] = arith.addf %[[X]], %[[D]]
// CHECK: %[[R:.*]] = eff.select_rows %[[S]]
// CHECK: %[[P:.*]] = eff.hadamard %[[R]] {transposed} : {{.*}} -> tensor<2x8xf32>
// CHECK: %[[L:.*]] = eff.rms_norm %[[P]]
// CHECK: eff.linear %[[L]]
func.func @entry(%ids: tensor<1x2xi32>) -> tensor<2x16xf32> {
  %t = eff.use @table : !eff.weight<16x8, bf16>
  %n = eff.use @norm : !eff.weight<8, f32>
  %u = eff.use @up : !eff.weight<4x8, bf16>
  %d = eff.use @down : !eff.weight<8x4, bf16>
  %l = eff.use @last : !eff.weight<8, f32>
  %0 = eff.embed %ids, %t : tensor<1x2xi32>, !eff.weight<16x8, bf16> -> tensor<1x2x8xf32>
  %1 = eff.rms_norm %0, %n {eps = 1.0e-5 : f32} : tensor<1x2x8xf32>, !eff.weight<8, f32>
  %2 = eff.linear %1, %u : tensor<1x2x8xf32>, !eff.weight<4x8, bf16> -> tensor<1x2x4xf32>
  %3 = eff.linear %2, %d : tensor<1x2x4xf32>, !eff.weight<8x4, bf16> -> tensor<1x2x8xf32>
  %4 = arith.addf %0, %3 : tensor<1x2x8xf32>
  %5 = eff.select_rows %4 : tensor<1x2x8xf32> -> tensor<2x8xf32>
  %6 = eff.rms_norm %5, %l {eps = 1.0e-5 : f32} : tensor<2x8xf32>, !eff.weight<8, f32>
  %7 = eff.linear %6, %t : tensor<2x8xf32>, !eff.weight<16x8, bf16> -> tensor<2x16xf32>
  return %7 : tensor<2x16xf32>
}
