// RUN: effc-opt %s -onnx-bind="batch=2 tokens=4 past=3" | FileCheck %s
// RUN: effc-opt %s -onnx-bind="dims=batch=5,total=12" | FileCheck %s --check-prefix=DIMS

// Arguments that follow from the position become constants; caches stay.
// CHECK: module attributes {{.*}}onnx.bound = {batch = 2 : i64, past = 3 : i64, seq = 4 : i64, tokens = 4 : i64, total = 7 : i64}
// CHECK-SAME: onnx.folded_inputs = ["attention_mask", "position_ids"]
// CHECK-LABEL: func.func @main
// CHECK-SAME: (%[[IDS:.*]]: tensor<2x4xi64> {onnx.dims = ["batch", "seq"], onnx.name = "input_ids"},
// CHECK-SAME: %[[KEY:.*]]: tensor<2x2x3x16xf32>
// CHECK-DAG: %[[MASK:.*]] = onnx.constant "" dense<1> : tensor<2x7xi64>
// CHECK-DAG: %[[POSITIONS:.*]] = onnx.constant "" dense<{{\[\[}}3, 4, 5, 6], [3, 4, 5, 6]]> : tensor<2x4xi64>
// CHECK: onnx.node "Use"(%[[IDS]], %[[MASK]], %[[POSITIONS]], %[[KEY]])

// DIMS: func.func @main(%{{.*}}: tensor<5x1xi64>
// DIMS-SAME: tensor<5x2x0x16xf32>
// DIMS: onnx.constant "" dense<1> : tensor<5x12xi64>
module {
  func.func @main(%ids: tensor<?x?xi64> {onnx.dims = ["batch", "seq"], onnx.name = "input_ids"},
                  %mask: tensor<?x?xi64> {onnx.dims = ["batch", "total"], onnx.name = "attention_mask"},
                  %positions: tensor<?x?xi64> {onnx.dims = ["batch", "seq"], onnx.name = "position_ids"},
                  %key: tensor<?x2x?x16xf32> {onnx.dims = ["batch", 2, "past", 16], onnx.name = "past_key_values.0.key"})
      -> tensor<*xf32> {
    %y = onnx.node "Use"(%ids, %mask, %positions, %key) domain "test" since 1
      : (tensor<?x?xi64>, tensor<?x?xi64>, tensor<?x?xi64>, tensor<?x2x?x16xf32>) -> tensor<*xf32>
    return %y : tensor<*xf32>
  }
}
