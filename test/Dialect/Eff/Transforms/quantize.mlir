// RUN: effc-opt %s --eff-quantize=format=w4a16 | FileCheck %s --check-prefixes=CHECK,W4
// RUN: effc-opt %s --eff-quantize=format=w8a8-dynamic | FileCheck %s --check-prefixes=CHECK,W8
// RUN: effc-opt %s --eff-quantize=format=bf16 | FileCheck %s --check-prefixes=CHECK,BF
// RUN: effc-opt %s --eff-quantize | FileCheck %s --check-prefixes=CHECK,NONE
// RUN: effc-opt %s '--eff-quantize=format=w4a16 group=16' | FileCheck %s --check-prefix=GROUP

// GROUP: eff.weight @a : !eff.weight<32x64, #eff.int4<group = 16>>

// The table is shared with the output head: int8 at most. Vectors keep their format.
// W4: eff.weight @embed : !eff.weight<16x64, #eff.int8>
// W8: eff.weight @embed : !eff.weight<16x64, #eff.int8>
// BF: eff.weight @embed : !eff.weight<16x64, bf16>
// NONE: eff.weight @embed : !eff.weight<16x64, f32>
// CHECK: eff.weight @norm : !eff.weight<64, f32>
// W4: eff.weight @a : !eff.weight<32x64, #eff.int4>
// W8: eff.weight @a : !eff.weight<32x64, #eff.int8>
// BF: eff.weight @a : !eff.weight<32x64, bf16>
// NONE: eff.weight @a : !eff.weight<32x64, f16>
eff.weight @embed : !eff.weight<16x64, f32>
eff.weight @norm : !eff.weight<64, f32>
eff.weight @a : !eff.weight<32x64, f16>
eff.weight @b : !eff.weight<32x64, f32>

// CHECK-LABEL: func.func @entry
// W8: %[[N:.*]] = eff.rms_norm
// W8: %[[Q:.*]], %[[S:.*]] = eff.quantize %[[N]]
// W8: eff.linear %[[Q]], %{{.*}} scale(%[[S]] : tensor<1x2xf32>)
// W8: eff.linear %[[Q]], %{{.*}} scale(%[[S]] : tensor<1x2xf32>)
// W8-NOT: eff.quantize
// W8: %[[R:.*]] = eff.select_rows
// W8: eff.linear %[[R]], %{{.*}} : tensor<2x64xf32>, {{.*}}<16x64, #eff.int8>
func.func @entry(%ids: tensor<1x2xi32>) -> (tensor<1x2x32xf32>, tensor<1x2x32xf32>, tensor<2x16xf32>) {
  %e = eff.use @embed : !eff.weight<16x64, f32>
  %n = eff.use @norm : !eff.weight<64, f32>
  %wa = eff.use @a : !eff.weight<32x64, f16>
  %wb = eff.use @b : !eff.weight<32x64, f32>
  %0 = eff.embed %ids, %e : tensor<1x2xi32>, !eff.weight<16x64, f32> -> tensor<1x2x64xf32>
  %1 = eff.rms_norm %0, %n {eps = 1.0e-5 : f32} : tensor<1x2x64xf32>, !eff.weight<64, f32>
  %2 = eff.linear %1, %wa : tensor<1x2x64xf32>, !eff.weight<32x64, f16> -> tensor<1x2x32xf32>
  %3 = eff.linear %1, %wb : tensor<1x2x64xf32>, !eff.weight<32x64, f32> -> tensor<1x2x32xf32>
  %4 = eff.select_rows %1 : tensor<1x2x64xf32> -> tensor<2x64xf32>
  %5 = eff.linear %4, %e : tensor<2x64xf32>, !eff.weight<16x64, f32> -> tensor<2x16xf32>
  return %2, %3, %5 : tensor<1x2x32xf32>, tensor<1x2x32xf32>, tensor<2x16xf32>
}
