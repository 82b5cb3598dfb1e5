//===- OnnxOps.td - the onnx dialect ------------------------*- tablegen -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_ONNX_ONNXOPS_TD
#define EFFC_DIALECT_ONNX_ONNXOPS_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Onnx_Dialect : Dialect {
  let name = "onnx";
  let cppNamespace = "::effc::onnx";
  let summary = "An ONNX graph, one op per node";
  let description = [{
    The graph as the file has it: one `onnx.node` for each node, with its name as location, its attributes under
    their ONNX names, and the version of its operator set. Nothing is interpreted here; passes of this level bind
    dynamic dimensions, fold constants and infer shapes until every type is static, then `raise-to-eff` reads it.

    The graph is a `func.func @main`. Argument and result attributes `onnx.name` hold the value's name, `onnx.dims` an
    array of strings and integers: the dimensions as the file declares them.

    Element types: signed integers are signless (`i64`), unsigned ones `ui8`, bool `i1`, floats the builtin types of
    the same format (`f8E4M3FN`, `f4E2M1FN`, ...), strings `!onnx.string`. A value of unknown rank is `tensor<*x...>`,
    one of unknown element type has element type `!onnx.unknown`.
  }];
  let dependentDialects = ["::mlir::func::FuncDialect"];
  let useDefaultTypePrinterParser = 1;
  let hasConstantMaterializer = 1;
}

class Onnx_Type<string name, string typeMnemonic> : TypeDef<Onnx_Dialect, name> {
  let mnemonic = typeMnemonic;
}

def Onnx_StringType : Onnx_Type<"String", "string"> {
  let summary = "The element type of string tensors";
  let description = "*Example* `tensor<2x!onnx.string>`";
}

def Onnx_UnknownType : Onnx_Type<"Unknown", "unknown"> {
  let summary = "An element type that is not known before inference";
  let description = "*Example* `tensor<*x!onnx.unknown>`";
}

def Onnx_SeqType : Onnx_Type<"Seq", "seq"> {
  let summary = "A sequence of values of one type";
  let description = "*Example* `!onnx.seq<tensor<*xf32>>`";
  let parameters = (ins "::mlir::Type":$element);
  let assemblyFormat = "`<` $element `>`";
}

def Onnx_OptionalType : Onnx_Type<"Optional", "optional"> {
  let summary = "A value that may be absent";
  let description = "*Example* `!onnx.optional<tensor<4xf32>>`";
  let parameters = (ins "::mlir::Type":$element);
  let assemblyFormat = "`<` $element `>`";
}

def Onnx_MapType : Onnx_Type<"Map", "map"> {
  let summary = "A map from integers or strings to values";
  let description = "*Example* `!onnx.map<i64, tensor<4xf32>>`";
  let parameters = (ins "::mlir::Type":$key, "::mlir::Type":$value);
  let assemblyFormat = "`<` $key `,` $value `>`";
}

def Onnx_SparseType : Onnx_Type<"Sparse", "sparse"> {
  let summary = "A sparse tensor";
  let description = "*Example* `!onnx.sparse<tensor<4xf32>>`";
  let parameters = (ins "::mlir::Type":$dense);
  let assemblyFormat = "`<` $dense `>`";
}

class Onnx_Op<string mnemonic, list<Trait> traits = []> : Op<Onnx_Dialect, mnemonic, traits>;

def Onnx_ConstantOp : Onnx_Op<"constant", [Pure, ConstantLike, AllTypesMatch<["value", "result"]>]> {
  let summary = "An initializer or a folded value";
  let description = [{
    `name` is the initializer's name, empty for values that folding made. Large initializers are resources that point
    into the mapped file.

    *Example*
    ```mlir
    %w = onnx.constant "model.norm.weight" dense<1.0> : tensor<4xf32>
    ```
  }];
  let arguments = (ins StrAttr:$name, ElementsAttr:$value);
  let results = (outs AnyTensor:$result);
  let assemblyFormat = "$name $value attr-dict";
  let hasFolder = 1;
}

def Onnx_NodeOp : Onnx_Op<"node", [Pure]> {
  let summary = "One node of the graph";
  let description = [{
    `domain` is empty for `ai.onnx`; `since` is the opset version of that domain which the file (or the function the
    node came from) imports. An absent optional operand is an `onnx.none`; absent results have type `none`. Attributes
    hold: integers as `i64`, floats as `f32`, strings, `DenseI64ArrayAttr`, `DenseF32ArrayAttr`, arrays of strings,
    tensors as elements attributes. Graph attributes are the regions, named by `graphs` in their order.

    *Constraints*
    - C1: there are as many names in `graphs` as regions.
    - C2: each region is one block that ends in `onnx.yield`.

    *Example*
    ```mlir
    %y = onnx.node "MatMul"(%x, %w) since 18 : (tensor<1x4xf32>, tensor<4x8xf32>) -> tensor<1x8xf32>
    %q:2 = onnx.node "Split"(%y, %none) since 18 {axis = 1 : i64, num_outputs = 2 : i64}
      : (tensor<1x8xf32>, none) -> (tensor<1x4xf32>, tensor<1x4xf32>)
    ```
  }];
  let arguments = (ins Variadic<AnyType>:$inputs, StrAttr:$op_type, DefaultValuedStrAttr<StrAttr, "">:$domain,
                       I64Attr:$since, DefaultValuedAttr<StrArrayAttr, "{}">:$graphs);
  let results = (outs Variadic<AnyType>:$outputs);
  let regions = (region VariadicRegion<AnyRegion>:$subgraphs);
  let assemblyFormat = [{
    $op_type `(` $inputs `)` (`domain` $domain^)? `since` $since (`graphs` $graphs^)? attr-dict
    `:` functional-type($inputs, $outputs) $subgraphs
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Whether this is operator `type` of domain `dom` ("" = ai.onnx).
    bool is(::llvm::StringRef type, ::llvm::StringRef dom = "") {
      return getOpType() == type && getDomain() == dom;
    }
    /// ONNX attributes by name; the default when absent.
    int64_t getInt(::llvm::StringRef name, int64_t otherwise);
    float getFloat(::llvm::StringRef name, float otherwise);
    ::llvm::StringRef getString(::llvm::StringRef name, ::llvm::StringRef otherwise);
    /// An integer list attribute, nullopt when absent.
    std::optional<::llvm::SmallVector<int64_t>> getInts(::llvm::StringRef name);
    /// Operand `i`, null when it is absent (`onnx.none` or beyond the last operand).
    ::mlir::Value getInput(unsigned i);
    /// Result `i`, null when it is absent.
    ::mlir::Value getOutput(unsigned i);
    /// The node's name in the file, from its location; empty when it has none.
    ::llvm::StringRef getNodeName();
  }];
}

def Onnx_NoneOp : Onnx_Op<"none", [Pure, ConstantLike]> {
  let summary = "An absent optional operand";
  let description = [{
    *Example*
    ```mlir
    %none = onnx.none
    ```
  }];
  let results = (outs NoneType:$result);
  let assemblyFormat = "attr-dict";
  let hasFolder = 1;
}

def Onnx_YieldOp : Onnx_Op<"yield", [Pure, Terminator, HasParent<"NodeOp">]> {
  let summary = "Ends a subgraph of If, Loop or Scan";
  let description = [{
    *Example*
    ```mlir
    onnx.yield %a, %b : tensor<f32>, tensor<4xf32>
    ```
  }];
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

#endif
