// RUN: effc-opt %s --raise-to-eff="kind=prefill tokens=2 past=1 max-length=16" | FileCheck %s

// One layer in operators of opset 23, as effc's exporter writes it. Rows of the rotary table are positions 1 and 2.

// CHECK: module attributes {{.*}}eff.model = #eff.model<causal_lm, arch = "llama", vocab = 3, max_length = 16>
// CHECK-DAG: eff.weight @embed : !eff.weight<3x8, f32>
// CHECK-DAG: eff.weight @rope.inv_freq : !eff.weight<2, f32> = dense<[1.000000e+00, 0.00999999977]>
// CHECK-DAG: eff.cache @l0.key : !eff.cache<1x4, capacity = 16, f32> {eff.onnx_shape = array<i64: 1, -1, 4>, eff.past = "past_key_values.0.key", eff.perm = array<i64: 0, 1, 2>, eff.present = "present.0.key"}
// CHECK-LABEL: func.func @prefill_b1_t2
// CHECK-SAME: (%[[IDS:.*]]: tensor<1x2xi32> {eff.name = "input_ids"}) -> (tensor<2x3xf32> {eff.name = "logits"})
// CHECK-SAME: eff.entry = #eff.entry<prefill, batch = 1, tokens = 2>
// CHECK-DAG: %[[TABLE:.*]] = eff.use @embed
// CHECK: %[[X:.*]] = eff.embed %[[IDS]], %[[TABLE]]
// CHECK: %[[H:.*]] = eff.rms_norm %[[X]]
// CHECK: eff.linear %[[H]]
// CHECK: eff.rope {{.*}} {heads = 2 : i64}
// CHECK: eff.rope {{.*}} {heads = 1 : i64}
// CHECK: eff.cache_append
// CHECK: eff.cache_append
// CHECK: eff.attention {{.*}} {causal, heads = 2 : i64, kv_heads = 1 : i64, scale = 5.000000e-01 : f32}
// CHECK: arith.addf
// CHECK: %[[ROWS:.*]] = eff.select_rows %{{.*}} : tensor<1x2x8xf32> -> tensor<2x8xf32>
// CHECK-NEXT: %[[N:.*]] = eff.rms_norm %[[ROWS]]
// CHECK-NEXT: %[[LOGITS:.*]] = eff.linear %[[N]], %[[TABLE]]
// CHECK-NEXT: return %[[LOGITS]]
func.func @main(%ids: tensor<1x2xi64> {onnx.name = "input_ids"},
                %pk: tensor<1x1x1x4xf32> {onnx.name = "past_key_values.0.key"},
                %pv: tensor<1x1x1x4xf32> {onnx.name = "past_key_values.0.value"})
    -> (tensor<1x2x3xf32> {onnx.name = "logits"}, tensor<1x1x3x4xf32> {onnx.name = "present.0.key"},
        tensor<1x1x3x4xf32> {onnx.name = "present.0.value"}) {
  %none = onnx.none
  %table = onnx.constant "embed" dense<0.5> : tensor<3x8xf32>
  %nw = onnx.constant "norm" dense<1.0> : tensor<8xf32>
  %wq = onnx.constant "wq" dense<0.1> : tensor<8x8xf32>
  %wk = onnx.constant "wk" dense<0.2> : tensor<8x4xf32>
  %wv = onnx.constant "wv" dense<0.3> : tensor<8x4xf32>
  %cos = onnx.constant "" dense<[[[0.540302306, 0.999950000], [-0.416146837, 0.999800007]]]> : tensor<1x2x2xf32>
  %sin = onnx.constant "" dense<[[[0.841470985, 0.009999833], [0.909297427, 0.019998667]]]> : tensor<1x2x2xf32>
  %x = onnx.node "Gather"(%table, %ids) since 23 {axis = 0 : i64} : (tensor<3x8xf32>, tensor<1x2xi64>) -> tensor<1x2x8xf32>
  %h = onnx.node "RMSNormalization"(%x, %nw) since 23 {axis = -1 : i64, epsilon = 1.0e-05 : f32} : (tensor<1x2x8xf32>, tensor<8xf32>) -> tensor<1x2x8xf32>
  %q = onnx.node "MatMul"(%h, %wq) since 23 : (tensor<1x2x8xf32>, tensor<8x8xf32>) -> tensor<1x2x8xf32>
  %k = onnx.node "MatMul"(%h, %wk) since 23 : (tensor<1x2x8xf32>, tensor<8x4xf32>) -> tensor<1x2x4xf32>
  %v = onnx.node "MatMul"(%h, %wv) since 23 : (tensor<1x2x8xf32>, tensor<8x4xf32>) -> tensor<1x2x4xf32>
  %qr = onnx.node "RotaryEmbedding"(%q, %cos, %sin) since 23 {num_heads = 2 : i64} : (tensor<1x2x8xf32>, tensor<1x2x2xf32>, tensor<1x2x2xf32>) -> tensor<1x2x8xf32>
  %kr = onnx.node "RotaryEmbedding"(%k, %cos, %sin) since 23 {num_heads = 1 : i64} : (tensor<1x2x4xf32>, tensor<1x2x2xf32>, tensor<1x2x2xf32>) -> tensor<1x2x4xf32>
  %y, %nk, %nv = onnx.node "Attention"(%qr, %kr, %v, %none, %pk, %pv) since 23
    {is_causal = 1 : i64, q_num_heads = 2 : i64, kv_num_heads = 1 : i64, scale = 0.5 : f32}
    : (tensor<1x2x8xf32>, tensor<1x2x4xf32>, tensor<1x2x4xf32>, none, tensor<1x1x1x4xf32>, tensor<1x1x1x4xf32>) -> (tensor<1x2x8xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>)
  %r = onnx.node "Add"(%x, %y) since 23 : (tensor<1x2x8xf32>, tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  %f = onnx.node "RMSNormalization"(%r, %nw) since 23 {axis = -1 : i64, epsilon = 1.0e-05 : f32} : (tensor<1x2x8xf32>, tensor<8xf32>) -> tensor<1x2x8xf32>
  %head = onnx.node "Transpose"(%table) since 23 {perm = array<i64: 1, 0>} : (tensor<3x8xf32>) -> tensor<8x3xf32>
  %logits = onnx.node "MatMul"(%f, %head) since 23 : (tensor<1x2x8xf32>, tensor<8x3xf32>) -> tensor<1x2x3xf32>
  return %logits, %nk, %nv : tensor<1x2x3xf32>, tensor<1x1x3x4xf32>, tensor<1x1x3x4xf32>
}
