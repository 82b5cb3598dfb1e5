//===- Passes.td - raising onnx to eff ----------------------*- tablegen -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_CONVERSION_ONNXTOEFF_PASSES_TD
#define EFFC_CONVERSION_ONNXTOEFF_PASSES_TD

include "mlir/Pass/PassBase.td"

def OnnxRaiseScansPass : Pass<"onnx-raise-scans", "::mlir::ModuleOp"> {
  let summary = "Replaces scans and convolutions that exporters spelled out by nodes of ai.effc";
  let description = [{
    Works on a graph with static shapes, as `onnx-simplify` leaves it. A scan is found from the product of a constant
    that is not positive (A) and step widths (dt) that an exponential reads; the nodes behind it up to the one value
    that leaves are computed on random numbers, and so is the scan with each assignment of the values around it. Only
    an assignment that gives every element (to 1e-5 of the mean) replaces the nodes. What is not found stays.

    Depthwise convolutions that are padded and cut to their input's length, and single steps of one, become
    `CausalConv1d`.

    Before
    ```mlir
    %decays = onnx.node "Exp"(%dtA) since 18 : (tensor<1x64x4x8xf32>) -> tensor<1x64x4x8xf32>
    %decay = onnx.node "Gather"(%decays, %zero) since 18 {axis = 2 : i64} : ...
    ...
    ```
    after
    ```mlir
    %y, %state = onnx.node "SelectiveScan"(%u, %dt, %a, %b, %c, %zeros) domain "ai.effc" since 1 : ...
    ```
  }];
  let dependentDialects = ["::effc::onnx::OnnxDialect"];
  let options = [
    Option<"cumulativeSums", "cumulative-sums", "bool", "false",
           "take scans as cumulative sums with a division too, which agree to 1e-3 (default false)">,
  ];
}

def OnnxRelaxPass : Pass<"onnx-relax", "::mlir::ModuleOp"> {
  let summary = "Frees batch and tokens of a graph that was bound to one length";
  let description = [{
    After `onnx-raise-scans` nothing of a Mamba model depends on the number of tokens but shapes. Each shape is
    computed from the first argument's again, so that `onnx-bind` can give it any number. With `states`, the states of
    scans and convolutions that start at zero become arguments and results.

    Before
    ```mlir
    func.func @main(%ids: tensor<1x16xi64> {onnx.name = "input_ids"}) -> ...
    ```
    after
    ```mlir
    func.func @main(%ids: tensor<?x?xi64> {onnx.dims = ["batch", "tokens"], onnx.name = "input_ids"}, ...) -> ...
    ```
  }];
  let dependentDialects = ["::effc::onnx::OnnxDialect"];
  let options = [
    Option<"states", "states", "bool", "true", "make states that start at zero arguments (default true)">,
  ];
}

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
