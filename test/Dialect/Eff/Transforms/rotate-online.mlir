// RUN: effc-opt %s --eff-rotate=online=true | FileCheck %s
// RUN: effc-opt %s '--eff-rotate=online=true attention=true' | FileCheck %s --check-prefix=ATTENTION
// RUN: effc-opt %s --eff-rotate=online=true --eff-erase-bases | FileCheck %s --check-prefix=ERASED
// RUN: effc-opt %s --eff-rotate=online=true --remarks-filter=eff-rotate 2>&1 | FileCheck %s --check-prefix=REMARK

// CHECK: eff.weight @out : !eff.weight<4x8, f32 in <hadamard = 8>>
// CHECK: eff.weight @down : !eff.weight<4x12, f32 in <hadamard = 12>>
// CHECK: eff.weight @o : !eff.weight<4x8, bf16>
// ATTENTION: eff.weight @o : !eff.weight<4x8, f32 in <hadamard = 8>>
// ERASED: eff.weight @out : !eff.weight<4x8, f32>
// REMARK-DAG: WeightRotated{{.*}}out{{.*}}Inputs=8{{.*}}InputsBase=1{{.*}}InputsBlocks=1{{.*}}reads a scan's result
// REMARK-DAG: WeightRotated{{.*}}down{{.*}}Inputs=12{{.*}}InputsBase=12{{.*}}reads a gated product
eff.weight @a : !eff.weight<2, f32> = dense<-1.0> : tensor<2xf32>
eff.weight @norm : !eff.weight<8, f32> = dense<1.0> : tensor<8xf32>
eff.weight @out : !eff.weight<4x8, bf16> = dense<0.5> : tensor<4x8xbf16>
eff.weight @down : !eff.weight<4x12, bf16> = dense<0.5> : tensor<4x12xbf16>
eff.weight @o : !eff.weight<4x8, bf16> = dense<0.5> : tensor<4x8xbf16>
eff.state @state : !eff.state<ssd, 2x4x4, f32>

// Between the gated norm and out_proj.
// CHECK-LABEL: func.func @scan
// CHECK: %[[G:.*]] = eff.gated_norm
// CHECK: %[[H:.*]] = eff.hadamard %[[G]] : tensor<1x2x8xf32> -> tensor<1x2x8xf32, #eff.basis<hadamard = 8>>
// CHECK: eff.linear %[[H]]
// ERASED-LABEL: func.func @scan
// ERASED: eff.hadamard %{{.*}} {bases_erased} : tensor<1x2x8xf32> -> tensor<1x2x8xf32>
// ERASED-NOT: basis
func.func @scan(%x: tensor<1x2x8xf32>, %dt: tensor<1x2x2xf32>, %b: tensor<1x2x4xf32>) -> tensor<1x2x4xf32> {
  %a = eff.use @a : !eff.weight<2, f32>
  %n = eff.use @norm : !eff.weight<8, f32>
  %w = eff.use @out : !eff.weight<4x8, bf16>
  %s = eff.use @state : !eff.state<ssd, 2x4x4, f32>
  %0 = eff.ssd_scan %x, %dt, %a, %b, %b, %s {heads = 2, groups = 1}
    : tensor<1x2x8xf32>, tensor<1x2x2xf32>, !eff.weight<2, f32>, tensor<1x2x4xf32>, !eff.state<ssd, 2x4x4, f32>
  %1 = eff.gated_norm %0, %x, %n {eps = 1.0e-5 : f32} : tensor<1x2x8xf32>, !eff.weight<8, f32>
  %2 = eff.linear %1, %w : tensor<1x2x8xf32>, !eff.weight<4x8, bf16> -> tensor<1x2x4xf32>
  return %2 : tensor<1x2x4xf32>
}

// CHECK-LABEL: func.func @gated
// CHECK: %[[P:.*]] = arith.mulf
// CHECK: %[[H:.*]] = eff.hadamard %[[P]]
// CHECK: eff.linear %[[H]]
func.func @gated(%x: tensor<1x2x12xf32>, %y: tensor<1x2x12xf32>) -> tensor<1x2x4xf32> {
  %w = eff.use @down : !eff.weight<4x12, bf16>
  %0 = arith.mulf %x, %y : tensor<1x2x12xf32>
  %1 = eff.linear %0, %w : tensor<1x2x12xf32>, !eff.weight<4x12, bf16> -> tensor<1x2x4xf32>
  return %1 : tensor<1x2x4xf32>
}

// Only when it is asked for.
// CHECK-LABEL: func.func @attention
// CHECK-NOT: eff.hadamard
// ATTENTION-LABEL: func.func @attention
// ATTENTION: %[[A:.*]] = eff.attention
// ATTENTION: %[[H:.*]] = eff.hadamard %[[A]]
// ATTENTION: eff.linear %[[H]]
func.func @attention(%q: tensor<1x2x8xf32>) -> tensor<1x2x4xf32> {
  %w = eff.use @o : !eff.weight<4x8, bf16>
  %0 = eff.attention %q, %q, %q {heads = 2, kv_heads = 2, scale = 0.5 : f32}
    : tensor<1x2x8xf32>, tensor<1x2x8xf32>, tensor<1x2x8xf32>
  %1 = eff.linear %0, %w : tensor<1x2x8xf32>, !eff.weight<4x8, bf16> -> tensor<1x2x4xf32>
  return %1 : tensor<1x2x4xf32>
}
