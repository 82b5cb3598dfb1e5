//===- Passes.td - passes of the ONNX front end -------------*- tablegen -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_FRONTEND_ONNX_PASSES_TD
#define EFFC_FRONTEND_ONNX_PASSES_TD

include "mlir/Pass/PassBase.td"

def OnnxBindPass : Pass<"onnx-bind", "::mlir::ModuleOp"> {
  let summary = "Give every dimension of @main's arguments a number";
  let description = [{
    An entry point has fixed shapes. The dimensions that the file declares by symbols are found from the roles of the
    arguments (`input_ids` is batch x tokens, `past_key_values.0.key` is batch x heads x past x head size, ...), from
    `dims`, and from expressions over these (`past + seq`). Arguments that follow from the position become constants
    and disappear from the signature: `attention_mask` is all ones, `position_ids` and `cache_position` count from
    `past`, `use_cache_branch` is true. Caches and states stay arguments. With `keep-mask`, so does the
    `attention_mask` of a graph without caches and states: its sequences may be padded.

    Dimensions that the file fixes win over the options. The module gets `onnx.bound`, a dictionary of the numbers
    used (`batch`, `tokens`, `past`, and every symbol), and `onnx.folded_inputs`, the names of arguments that went.

    A symbol that nothing gives is the error EFF0212, which names it.

    Before
    ```mlir
    func.func @main(%ids: tensor<?x?xi64> {onnx.dims = ["batch", "seq"], onnx.name = "input_ids"}) -> ...
    ```
    after `onnx-bind{batch=2 tokens=4}`
    ```mlir
    func.func @main(%ids: tensor<2x4xi64> {onnx.dims = ["batch", "seq"], onnx.name = "input_ids"}) -> ...
    ```
  }];
  let dependentDialects = ["::effc::onnx::OnnxDialect"];
  let options = [
    Option<"batch", "batch", "int64_t", "1", "sequences in a call, at least 1">,
    Option<"tokens", "tokens", "int64_t", "1", "tokens of each sequence in a call, at least 1">,
    Option<"past", "past", "int64_t", "0", "tokens in the caches before the call, at least 0">,
    Option<"keepMask", "keep-mask", "bool", "false", "a mask of a graph without states stays an argument">,
    ListOption<"dims", "dims", "std::string", "values of symbols, as NAME=VALUE">,
  ];
}

def OnnxSimplifyPass : Pass<"onnx-simplify", "::mlir::ModuleOp"> {
  let summary = "Normalise nodes, fold constants and infer shapes until every type is static";
  let description = [{
    One forward walk. Each node is brought to one form whatever the opset, its result types are inferred, and it is
    evaluated when its operands are constants. Unused nodes go.

    What remains, for the passes behind this one (all `ai.onnx` nodes have the semantics of opset 18 or later and say
    so in `since`; every axis is explicit and not negative):

    - gone: `Constant`, `Identity`, `Dropout`, `Shape`, `Size`, `CastLike` (a `Cast`), a `Cast` to the same type,
      `Squeeze`, `Unsqueeze` and `Flatten` (a `Reshape`), `Sum` (a chain of `Add`), `Mean` (`Add` and `Div`), `Max` and
      `Min` with more than two operands (chains), `If` with a constant condition, `Loop` with a constant trip count and
      sequences inside it, `ConstantOfShape`, `Range` with constant operands; `Expand`, `Transpose`, `Slice`,
      `Reshape` and `Concat` that change nothing;
    - `Reshape`: operand 1 is a constant with every size given; no `allowzero`;
    - `Expand`: operand 1 is a constant, the whole result shape;
    - `Transpose`: `perm` given; `Concat`, `Gather`, `Softmax`, `LayerNormalization`, ...: `axis` given;
    - `Slice`: operands 1 to 4 are constants: starts, ends, axes, steps, clamped to the size (with a negative step,
      the end `-size - 1` stands for "to the front");
    - `Split`: operand 1 is a constant, the sizes; no `num_outputs`;
    - `Reduce*`: operand 1 is a constant, the sorted axes; `keepdims` given; no `noop_with_empty_axes`;
    - `ArgMax`, `ArgMin`: `axis` and `keepdims` given; `Clip`, `Pad`, `TopK`: bounds, pads (for all axes) and k as
      operands; `Softmax` before opset 13 on several axes: between two `Reshape`s;
    - `Einsum`: the equation without ellipsis and blanks, with its result;
    - `SimplifiedLayerNormalization` is in `com.microsoft` also where the file has it in `ai.onnx`;
    - `Gemm`, `MatMul`, `Conv`, `Where`, normalisations, quantised and contributed operators are as in the file.

    Not folded, so that weights stay in the file and keep their names: `Cast`, `Transpose` and `Reshape` of an
    initializer above 64 KiB, `DequantizeLinear` of a constant, `MatMul`, `Gemm` and `Conv` with such an initializer,
    elementwise mathematics of initializers that gives more than 4 MiB, anything that gives more than 64 MiB.

    Results of operators that effc does not know keep types without rank; raising reports them. Operands that do not
    fit together are the error EFF0213.

    Before
    ```mlir
    %s = onnx.node "Shape"(%x) since 17 : (tensor<2x4xf32>) -> tensor<*xi64>
    %y = onnx.node "Reshape"(%x, %s) since 17 : (tensor<2x4xf32>, tensor<*xi64>) -> tensor<*xf32>
    %z = onnx.node "Unsqueeze"(%y, %axes) since 17 : (tensor<*xf32>, tensor<1xi64>) -> tensor<*xf32>
    ```
    after
    ```mlir
    %shape = onnx.constant "" dense<[2, 1, 4]> : tensor<3xi64>
    %z = onnx.node "Reshape"(%x, %shape) since 18 : (tensor<2x4xf32>, tensor<3xi64>) -> tensor<2x1x4xf32>
    ```
  }];
  let dependentDialects = ["::effc::onnx::OnnxDialect"];
  let options = [
    Option<"maxUnroll", "max-unroll", "int64_t", "100000", "most nodes that unrolling loops may make">,
  ];
}

#endif
