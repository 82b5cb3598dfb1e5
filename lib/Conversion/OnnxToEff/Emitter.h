//===- Emitter.h - builds the eff function ----------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_ONNXTOEFF_EMITTER_H
#define EFFC_LIB_CONVERSION_ONNXTOEFF_EMITTER_H

#include "Graph.h"
#include "IntegerMatrix.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/SymbolTable.h"

#include <functional>

namespace effc::raise {

/// An onnx value in the new function: a tensor and how the value's elements lie
/// in it.
struct Lowered {
  Value value;
  Strided dims;
};

/// Computes one element; works on scalars and, elementwise, on tensors.
using ScalarFn = llvm::function_ref<Value(mlir::OpBuilder &, mlir::Location,
                                          mlir::ValueRange)>;

class Emitter {
public:
  Emitter(Graph &graph, mlir::ModuleOp module, mlir::func::FuncOp function)
      : graph(graph), builder(function.getBody()), loc(function.getLoc()),
        module(module), function(function), symbols(module) {}

  //===--------------------------------------------------------------------===//
  // Operands
  //===--------------------------------------------------------------------===//

  /// The value in the new function; null (and an error emitted) for a constant
  /// that cannot be one.
  Lowered lower(Value v) { return lower(graph.view(v)); }
  Lowered lower(const View &view);
  /// As a tensor of the view's shape.
  Value tensor(const Lowered &lowered);
  Value tensor(Value v);
  /// With the dimensions permuted, then as a tensor of this shape.
  Value tensor(Lowered lowered, llvm::ArrayRef<int64_t> perm,
               llvm::ArrayRef<int64_t> shape);
  Value tensor(Value v, llvm::ArrayRef<int64_t> perm,
               llvm::ArrayRef<int64_t> shape);
  /// As a tensor whose last dimension is that of `v`; the leading ones may be
  /// split otherwise than v's.
  Lowered rows(Value v);

  //===--------------------------------------------------------------------===//
  // Results
  //===--------------------------------------------------------------------===//

  /// `v` is `tensor` in row-major order.
  void define(Value v, Value tensor);
  /// `v` is `tensor` seen as `shape`, then permuted.
  void define(Value v, Value tensor, llvm::ArrayRef<int64_t> shape,
              llvm::ArrayRef<int64_t> perm);
  void define(Value v, Lowered lowered) { values[v] = std::move(lowered); }

  //===--------------------------------------------------------------------===//
  // Weights and states
  //===--------------------------------------------------------------------===//

  /// A constant as a weight of `shape` (its own when empty). Vectors are f32,
  /// others keep the stored float type unless `f32`. Null, with an error
  /// emitted, when it cannot be one.
  Value weight(Value constant, llvm::ArrayRef<int64_t> shape = {},
               bool f32 = false) {
    return weight(graph.view(constant), shape, f32);
  }
  Value weight(const View &constant, llvm::ArrayRef<int64_t> shape = {},
               bool f32 = false);
  /// Computed f32 values as a weight, a vector unless `type` says otherwise;
  /// reuses an existing one of this name when `accept` says that it serves.
  Value table(llvm::StringRef name, llvm::ArrayRef<double> values,
              llvm::function_ref<bool(llvm::ArrayRef<double>)> accept,
              eff::WeightType type = {});
  /// Computed numbers as an f32 vector; equal ones of this name are one weight.
  Value vector(llvm::StringRef name, llvm::ArrayRef<double> values);
  /// A matrix of the file's integers as a weight of these, which passes keep.
  /// With `bits` 8, those of 4 bits take a byte each.
  Value integers(const IntegerMatrix &matrix, llvm::StringRef name,
                 unsigned bits = 4);
  /// A matrix `[n, k]` of a linear or table: of the file's integers where the
  /// constant is a DequantizeLinear of them, else as `weight`.
  Value matrix(const View &constant, llvm::ArrayRef<int64_t> shape,
               unsigned bits = 4);
  /// A matrix of floats of up to 8 bits with a scale for each row. Those of
  /// #eff.float8 are a weight of the file's bytes; of others the numbers in
  /// bf16, which holds them, and the scales. Null for other constants.
  Value smallFloats(const View &constant, llvm::ArrayRef<int64_t> shape,
                    std::vector<double> &scales);
  /// A state or cache. `perm` says which onnx dimension (batch left out) each
  /// eff dimension is.
  Value state(State &state, mlir::Type type, llvm::ArrayRef<int64_t> perm);
  int64_t cacheCapacity() const { return capacity; }

  //===--------------------------------------------------------------------===//
  // Activations in 8 bits (Codes.cpp)
  //===--------------------------------------------------------------------===//

  /// int8 codes `[batch, tokens, features]` of an onnx value of 8-bit integers;
  /// those of an unsigned one are less by 128.
  Value codes(Value v);
  /// `v` is these codes, in row-major order.
  void defineCodes(Value v, Value codes);
  /// A scale, and a zero point for these codes unless it is 0, as what linears
  /// and eff.quantize_static take.
  Value codeScale(double scale, int64_t zero);
  /// Rounds an f32 tensor to codes of such a scale.
  Value quantize(Value tensor, Value scale);
  /// The columns of a tensor in another order: column i is its column
  /// order[i].
  Value reorder(Value tensor, llvm::ArrayRef<int64_t> order);
  /// f32 as `[batch, tokens, features]`, of the shape of `v`.
  Value activations(Value tensor, Value v);
  /// Codes of a DynamicQuantizeLinear, and their scale and zero point.
  std::pair<Value, Value> dynamicCodes(onnx::NodeOp node);

  //===--------------------------------------------------------------------===//
  // Tensor arithmetic
  //===--------------------------------------------------------------------===//

  Value reshape(Value tensor, llvm::ArrayRef<int64_t> shape);
  Value transpose(Value tensor, llvm::ArrayRef<int64_t> perm);
  Value empty(llvm::ArrayRef<int64_t> shape, mlir::Type element);
  Value filled(llvm::ArrayRef<int64_t> shape, mlir::Type element, double value);
  /// A splat of a tensor type or a scalar.
  static Value constant(mlir::OpBuilder &b, mlir::Location loc, mlir::Type type,
                        double value);
  /// `result = fn(operands..)` elementwise with numpy broadcasting. Uses ops on
  /// whole tensors where shapes agree and linalg.generic where they do not.
  void map(Value result, llvm::ArrayRef<Value> operands, ScalarFn fn);
  /// The same for tensors of the new function that have one shape.
  Value map(llvm::ArrayRef<Value> tensors, ScalarFn fn) {
    return fn(builder, loc, tensors);
  }
  /// Reduces tensor dimensions: `acc = fn(element, acc)` from `initial`. The
  /// dimensions disappear.
  Value reduce(Value tensor, llvm::ArrayRef<int64_t> dims, double initial,
               ScalarFn fn);

  mlir::InFlightDiagnostic error(const llvm::Twine &what);
  static mlir::RankedTensorType f32Type(mlir::MLIRContext *context,
                                        llvm::ArrayRef<int64_t> shape);
  mlir::RankedTensorType f32(llvm::ArrayRef<int64_t> shape) {
    return f32Type(builder.getContext(), shape);
  }

  /// The element type after raising: floats but f64 are f32, integers signless.
  static mlir::Type elementType(mlir::Type type);

  Graph &graph;
  mlir::OpBuilder builder;
  mlir::Location loc;
  mlir::ModuleOp module;
  mlir::func::FuncOp function;
  int64_t capacity = 0;
  /// Biases of attention that each call computes, by their value in the graph,
  /// their batch and what they hide, and how.
  std::map<std::tuple<const void *, int64_t, bool, double>, Value> biases;
  /// The weights of rotary tables.
  llvm::DenseMap<const Rope *, Value> ropeTables;

private:
  Value use(llvm::StringRef symbol, mlir::Type type);
  Value symbol(llvm::StringRef name, bool named, eff::WeightType type,
               mlir::ElementsAttr source, bool transposed);
  void declare(mlir::Operation *op);
  Value lowerConstant(Value base);
  Value insert(eff::WeightOp op);
  /// A weight of the file's integers or bytes of floats, which passes keep; an
  /// equal one of this name serves too.
  Value pinned(llvm::StringRef name, eff::WeightType type,
               llvm::ArrayRef<int8_t> q, llvm::ArrayRef<float> scales,
               llvm::ArrayRef<float> zeros);
  /// A constant vector as a weight, repeated along all dimensions of `shape`
  /// but the last.
  Value broadcastVector(Value constant, llvm::ArrayRef<int64_t> shape);

  mlir::SymbolTable symbols;
  llvm::DenseMap<Value, Lowered> values;
  llvm::DenseMap<Value, Value> codesOf;
  llvm::DenseMap<mlir::Operation *, std::pair<Value, Value>> dynamic;
  llvm::DenseMap<mlir::Attribute, Value> uses; // by symbol
  llvm::DenseMap<mlir::Operation *, bool>
      ours; // symbols used by this entry point
  mlir::Operation *lastUse = nullptr;
  std::vector<std::string> usedStates;
};

/// What a pattern found: the values it reads, the nodes it replaces, the states
/// it keeps, and how to build it.
struct Match {
  llvm::SmallVector<Value> needs;
  llvm::SmallVector<mlir::Operation *> covers;
  llvm::SmallVector<State *> states; ///< what it owns
  std::function<mlir::LogicalResult(Emitter &)> emit;
};

using RaisePattern = std::optional<Match> (*)(Graph &, onnx::NodeOp);

/// Each file of patterns appends its own; earlier ones win.
void addAttentionPatterns(std::vector<RaisePattern> &patterns);
void addScanPatterns(std::vector<RaisePattern> &patterns);
void addScanBodyPatterns(std::vector<RaisePattern> &patterns);
void addScanLoopPatterns(std::vector<RaisePattern> &patterns);
void addLinearAttentionPatterns(std::vector<RaisePattern> &patterns);
void addNormPatterns(std::vector<RaisePattern> &patterns);
void addRopePatterns(std::vector<RaisePattern> &patterns);
void addActivationPatterns(std::vector<RaisePattern> &patterns);
void addImagePatterns(std::vector<RaisePattern> &patterns);
void addLinearPatterns(std::vector<RaisePattern> &patterns);
void addQuantizedPatterns(std::vector<RaisePattern> &patterns);
void addElementwisePatterns(std::vector<RaisePattern> &patterns);
void addShapePatterns(std::vector<RaisePattern> &patterns);
void addLiteralPatterns(std::vector<RaisePattern> &patterns);

/// Elementwise building blocks shared by patterns.
Value emitSilu(mlir::OpBuilder &b, mlir::Location loc, Value x,
               double alpha = 1);
Value emitSoftplus(mlir::OpBuilder &b, mlir::Location loc, Value x);
/// The operand of a SiLU that `v` is, null when it is none; adds its nodes to
/// `covers`.
Value matchSilu(Graph &graph, Value v,
                llvm::SmallVectorImpl<mlir::Operation *> &covers);

} // namespace effc::raise

#endif // EFFC_LIB_CONVERSION_ONNXTOEFF_EMITTER_H
