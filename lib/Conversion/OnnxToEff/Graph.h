//===- Graph.h - an onnx graph as patterns read it --------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_ONNXTOEFF_GRAPH_H
#define EFFC_LIB_CONVERSION_ONNXTOEFF_GRAPH_H

#include "Strided.h"

#include "effc/Conversion/OnnxToEff/Raise.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/MapVector.h"

#include <map>
#include <memory>

namespace effc::raise {

using mlir::Value;
struct Rope;

/// A value as strides over another that no layout op made.
struct View {
  Value base;
  Strided dims;
};

/// Every way to see a value as [batch, tokens, count].
std::vector<View> placeTokens(Value v, int64_t batch, int64_t tokens);

/// What a value is called in a report: the name of an input, of a constant, of
/// the node that gives it.
std::string reportName(Value v);

/// A past / present pair of the model.
struct State {
  mlir::BlockArgument past; ///< null for a state that the graph starts at zero
  Value present;            ///< null when the graph does not give it out
  std::string pastName, presentName;
  std::string part; ///< "key", "value", "conv", "ssm", or empty when the names
                    ///< do not tell
  int64_t layer = -1; ///< -1 when the names do not tell
};

/// Reads elements as numbers; nullopt for types without numbers and for missing
/// resources.
std::optional<std::vector<double>> readElements(mlir::ElementsAttr values);

class Graph {
public:
  Graph(mlir::func::FuncOp main, const RaiseOptions &options)
      : main(main), options(options) {}

  /// Finds the past / present pairs; emits BadState.
  mlir::LogicalResult pairStates();

  //===--------------------------------------------------------------------===//
  // Looking through ops that compute nothing
  //===--------------------------------------------------------------------===//

  /// Past Identity, Dropout and casts between float types up to f32: their
  /// arithmetic is f32 after raising.
  Value strip(Value v) const;
  /// Past layout ops too. With `scale`, also past products with a constant
  /// scalar, which multiply into it.
  View view(Value v, double *scale = nullptr);
  /// The node that makes `v` (stripped) when it is of this type, else null.
  onnx::NodeOp node(Value v, llvm::StringRef type,
                    llvm::StringRef domain = "") const;
  onnx::NodeOp anyNode(Value v) const {
    return strip(v).getDefiningOp<onnx::NodeOp>();
  }
  /// A node of two operands, in either order: the operand that `match` accepts
  /// comes first.
  template <typename Match>
  std::optional<std::pair<Value, Value>> either(onnx::NodeOp node,
                                                Match match) {
    if (!node || !node.getInput(0) || !node.getInput(1))
      return std::nullopt;
    if (match(node.getInput(0)))
      return std::make_pair(node.getInput(0), node.getInput(1));
    if (match(node.getInput(1)))
      return std::make_pair(node.getInput(1), node.getInput(0));
    return std::nullopt;
  }
  bool same(Value a, Value b);
  /// Whether nothing but the layout and cast ops on the way reads `v`.
  bool usedOnce(Value v) const;

  //===--------------------------------------------------------------------===//
  // Constants
  //===--------------------------------------------------------------------===//

  bool isConstant(Value v);
  /// The initializer under layout ops and casts, or null.
  onnx::ConstantOp constant(Value v);
  /// The DequantizeLinear of constants under layout ops and casts, or null.
  onnx::NodeOp dequantized(Value v);
  /// Whether `v` is one of these two: a weight of the file.
  bool isWeight(Value v) { return constant(v) || dequantized(v); }
  /// All elements of a constant in the order of `v`'s shape.
  std::optional<std::vector<double>> numbers(Value v) {
    return numbers(view(v));
  }
  std::optional<std::vector<double>> numbers(const View &view);
  std::optional<llvm::SmallVector<int64_t>> ints(Value v);
  /// The one number that a constant consists of.
  std::optional<double> scalar(Value v);
  bool isScalar(Value v, double value, double tolerance = 1e-6);
  /// A constant that is one vector along the last dimension of a value of shape
  /// `shape`, with `size` elements.
  bool isFeatureVector(Value v, int64_t size);

  static llvm::ArrayRef<int64_t> shape(Value v) {
    return llvm::cast<mlir::ShapedType>(v.getType()).getShape();
  }
  static int64_t rank(Value v) { return shape(v).size(); }
  static mlir::Type elementType(Value v) {
    return llvm::cast<mlir::ShapedType>(v.getType()).getElementType();
  }
  static bool isFloat(Value v) {
    return llvm::isa<mlir::FloatType>(elementType(v));
  }
  /// Whether a node reads or makes f64, which no op of eff computes with.
  static bool isDouble(onnx::NodeOp node);
  /// `axis` counted from the front.
  static int64_t axis(onnx::NodeOp node, int64_t otherwise, int64_t rank) {
    int64_t a = node.getInt("axis", otherwise);
    return a < 0 ? a + rank : a;
  }
  /// Axes of a node, from the attribute or operand `input`, counted from the
  /// front; nullopt when not constant. All axes when the node names none.
  std::optional<llvm::SmallVector<int64_t>> axes(onnx::NodeOp node,
                                                 unsigned input, int64_t rank);

  //===--------------------------------------------------------------------===//
  // States
  //===--------------------------------------------------------------------===//

  /// The state that `past` reads and `present` (may be null) replaces; null,
  /// with a reason noted, when they do not belong together. A constant zero
  /// `past` starts a state that the file does not have.
  State *state(Value past, Value present, llvm::StringRef part);
  bool isState(Value v);

  /// Remembers why an anchor was not raised, for the error that follows if
  /// nothing else takes it.
  void note(mlir::Operation *op, const llvm::Twine &reason);
  std::string reason(mlir::Operation *op) const { return reasons.lookup(op); }

  mlir::func::FuncOp main;
  const RaiseOptions &options;
  std::vector<std::unique_ptr<State>> states;
  llvm::MapVector<mlir::Operation *, std::string> reasons;
  /// The base of the rotary frequencies in the model's configuration, 0 when it
  /// names none.
  double ropeTheta = 0;
  /// Rotary tables that were looked at, by their constants and the dimension of
  /// their rows.
  std::map<std::tuple<const void *, const void *, unsigned>,
           std::shared_ptr<const Rope>>
      ropes;
  /// An attention with a window was recognised.
  bool windowed = false;
  /// Tokens of a sequence that tables of learned positions have rows for, 0
  /// without such a table.
  int64_t mostTokens = 0;

private:
  bool isLayout(onnx::NodeOp node) const;
  llvm::DenseMap<Value, View> views;
};

} // namespace effc::raise

#endif // EFFC_LIB_CONVERSION_ONNXTOEFF_GRAPH_H
