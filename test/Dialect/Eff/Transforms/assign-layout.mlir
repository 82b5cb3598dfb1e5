// RUN: effc-opt %s --eff-assign-layout --remarks-filter='eff-.*' 2>&1 | FileCheck %s

// CHECK-DAG: [Passed] LayoutChosen {{.*}}tied{{.*}}Layout=panel16{{.*}}shared with an embedding
// CHECK-DAG: [Passed] LayoutChosen {{.*}}both.plain{{.*}}Layout=row_major{{.*}}a copy for uses that are no matrix

// CHECK: eff.weight @tied : !eff.weight<16x8, f32, panel16>
eff.weight @tied : !eff.weight<16x8, f32>
// CHECK: eff.weight @table : !eff.weight<16x8, bf16>
eff.weight @table : !eff.weight<16x8, bf16>
// CHECK: eff.weight @norm : !eff.weight<8, f32>
eff.weight @norm : !eff.weight<8, bf16>
// CHECK: eff.weight @i8 : !eff.weight<8x8, #eff.int8, quad16>
eff.weight @i8 : !eff.weight<8x8, #eff.int8>
// CHECK: eff.weight @i4 : !eff.weight<8x8, #eff.int4<group = 8>, nibble16>
eff.weight @i4 : !eff.weight<8x8, #eff.int4<group = 8>>
// CHECK: eff.weight @both : !eff.weight<8x8, f16, panel32_pair>
// CHECK: eff.weight @both.plain : !eff.weight<8x8, f32>
eff.weight @both : !eff.weight<8x8, f16>

// CHECK-LABEL: func.func @entry
func.func @entry(%ids: tensor<1x1xi32>) -> (tensor<1x1x16xf32>, tensor<8x8xf32>) {
  %tied = eff.use @tied : !eff.weight<16x8, f32>
  %table = eff.use @table : !eff.weight<16x8, bf16>
  // CHECK: eff.use @norm : !eff.weight<8, f32>
  %norm = eff.use @norm : !eff.weight<8, bf16>
  %i8 = eff.use @i8 : !eff.weight<8x8, #eff.int8>
  %i4 = eff.use @i4 : !eff.weight<8x8, #eff.int4<group = 8>>
  // CHECK-DAG: %[[MATRIX:.*]] = eff.use @both : !eff.weight<8x8, f16, panel32_pair>
  // CHECK-DAG: %[[PLAIN:.*]] = eff.use @both.plain : !eff.weight<8x8, f32>
  %both = eff.use @both : !eff.weight<8x8, f16>
  %0 = eff.embed %ids, %tied : tensor<1x1xi32>, !eff.weight<16x8, f32> -> tensor<1x1x8xf32>
  %1 = eff.embed %ids, %table : tensor<1x1xi32>, !eff.weight<16x8, bf16> -> tensor<1x1x8xf32>
  %2 = arith.addf %0, %1 : tensor<1x1x8xf32>
  %3 = eff.rms_norm %2, %norm {eps = 1.0e-5 : f32} : tensor<1x1x8xf32>, !eff.weight<8, bf16>
  %4 = eff.linear %3, %i8 : tensor<1x1x8xf32>, !eff.weight<8x8, #eff.int8> -> tensor<1x1x8xf32>
  %5 = eff.linear %4, %i4 : tensor<1x1x8xf32>, !eff.weight<8x8, #eff.int4<group = 8>> -> tensor<1x1x8xf32>
  // CHECK: eff.linear %{{.*}}, %[[MATRIX]]
  %6 = eff.linear %5, %both : tensor<1x1x8xf32>, !eff.weight<8x8, f16> -> tensor<1x1x8xf32>
  // CHECK: eff.read %[[PLAIN]]
  %7 = eff.read %both : !eff.weight<8x8, f16> -> tensor<8x8xf32>
  %8 = eff.linear %6, %tied : tensor<1x1x8xf32>, !eff.weight<16x8, f32> -> tensor<1x1x16xf32>
  return %8, %7 : tensor<1x1x16xf32>, tensor<8x8xf32>
}
