//===- Passes.td - from onnx to linalg ----------------------*- tablegen -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_CONVERSION_ONNXTOLINALG_PASSES_TD
#define EFFC_CONVERSION_ONNXTOLINALG_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertOnnxToLinalgPass : Pass<"convert-onnx-to-linalg", "::mlir::ModuleOp"> {
  let summary = "Lowers a bound onnx graph literally, node by node";
  let description = [{
    Replaces every node by arith, math, tensor and linalg on tensors. Types must be static. Nothing is recognised: this
    is what the graph says, not what the model means, and serves to check the one against the other.

    Nodes without a lowering are one error, EFF0210, that lists all of them.

    Before:
    ```mlir
    func.func @main(%x: tensor<2x3xf32>, %y: tensor<2x3xf32>) -> tensor<2x3xf32> {
      %z = onnx.node "Add"(%x, %y) since 14 : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
      return %z : tensor<2x3xf32>
    }
    ```
    After:
    ```mlir
    func.func @main(%x: tensor<2x3xf32>, %y: tensor<2x3xf32>) -> tensor<2x3xf32> {
      %z = arith.addf %x, %y : tensor<2x3xf32>
      return %z : tensor<2x3xf32>
    }
    ```
  }];
  let dependentDialects = [
    "::mlir::scf::SCFDialect",
    "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::math::MathDialect", "::mlir::tensor::TensorDialect"
  ];
}

#endif
