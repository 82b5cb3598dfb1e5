//===- Passes.td - raising onnx to eff ----------------------*- tablegen -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_CONVERSION_ONNXTOEFF_PASSES_TD
#define EFFC_CONVERSION_ONNXTOEFF_PASSES_TD

include "mlir/Pass/PassBase.td"

def RaiseToEffPass : Pass<"raise-to-eff", "::mlir::ModuleOp"> {
  let summary = "Turns a bound onnx graph into an entry point of an eff module";
  let description = [{
    Replaces the contents of a module that holds an ONNX graph with static shapes by one eff entry function and the
    weights, states and caches that it uses.

    Before:
    ```mlir
    func.func @main(%x: tensor<1x4x8xf32> {onnx.name = "x"}) -> (tensor<1x4x2xf32> {onnx.name = "y"}) {
      %w = onnx.constant "w" dense<1.0> : tensor<8x2xf32>
      %y = onnx.node "MatMul"(%x, %w) since 18 : (tensor<1x4x8xf32>, tensor<8x2xf32>) -> tensor<1x4x2xf32>
      return %y : tensor<1x4x2xf32>
    }
    ```
    After `raise-to-eff{kind=forward tokens=4}`:
    ```mlir
    eff.weight @w transposed : !eff.weight<2x8, f32> = dense<1.0> : tensor<8x2xf32>
    func.func @forward_b1(%x: tensor<1x4x8xf32>) -> tensor<1x4x2xf32> attributes {eff.entry = ...} {
      %w = eff.use @w : !eff.weight<2x8, f32>
      %y = eff.linear %x, %w : tensor<1x4x8xf32>, !eff.weight<2x8, f32> -> tensor<1x4x2xf32>
      return %y : tensor<1x4x2xf32>
    }
    ```
  }];
  let dependentDialects = [
    "::effc::eff::EffDialect", "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect", "::mlir::tensor::TensorDialect"
  ];
  let options = [
    Option<"kind", "kind", "::effc::eff::EntryKind", "::effc::eff::EntryKind::Decode",
           "what the entry point does: decode, prefill or forward",
           [{::llvm::cl::values(
              clEnumValN(::effc::eff::EntryKind::Decode, "decode", "one token for each row"),
              clEnumValN(::effc::eff::EntryKind::Prefill, "prefill", "a chunk of tokens for each row"),
              clEnumValN(::effc::eff::EntryKind::Forward, "forward", "no states"))}]>,
    Option<"batch", "batch", "int64_t", "1", "rows that the graph is bound to (default 1)">,
    Option<"tokens", "tokens", "int64_t", "1", "tokens a row that the graph is bound to (default 1)">,
    Option<"past", "past", "int64_t", "1", "past length in tokens that the graph is bound to (default 1)">,
    Option<"maxLength", "max-length", "int64_t", "0", "capacity of caches in tokens (default: the model's)">,
    ListOption<"states", "state", "std::string", "a pair of state names, PAST=PRESENT">
  ];
}

#endif
