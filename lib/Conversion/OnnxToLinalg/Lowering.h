//===- Lowering.h - what lowerings of onnx nodes share ----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_ONNXTOLINALG_LOWERING_H
#define EFFC_LIB_CONVERSION_ONNXTOLINALG_LOWERING_H

#include "effc/Conversion/OnnxToLinalg/Lower.h"
#include "effc/Frontend/ONNX/HostTensor.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/StringMap.h"

namespace effc::lower {

using mlir::ArrayRef;
using mlir::FailureOr;
using mlir::RankedTensorType;
using mlir::Type;
using mlir::Value;
using mlir::ValueRange;

enum class Compare { EQ, NE, LT, LE, GT, GE };

/// Builds scalar code. Everything but extract works on tensors too, element by
/// element.
class Expr {
public:
  Expr(mlir::OpBuilder &builder, mlir::Location loc) : b(builder), loc(loc) {}

  template <typename Op, typename... Args> Value op(Args &&...args) const {
    return Op::create(b, loc, std::forward<Args>(args)...);
  }

  /// A number of this type, or a tensor full of it.
  Value constant(Type type, double value) const;
  Value integer(Type type, int64_t value) const;
  Value index(int64_t value) const;

  // Floats and signless integers.
  Value add(Value x, Value y) const;
  Value sub(Value x, Value y) const;
  Value mul(Value x, Value y) const;
  /// Integers: toward zero; a division by zero gives some number.
  Value div(Value x, Value y, bool isUnsigned = false) const;
  /// Has the sign of `x`. A remainder by zero is some number.
  Value rem(Value x, Value y, bool isUnsigned = false) const;
  /// A NaN wins.
  Value max(Value x, Value y, bool isUnsigned = false) const;
  Value min(Value x, Value y, bool isUnsigned = false) const;
  Value neg(Value x) const;
  Value select(Value condition, Value x, Value y) const;
  /// False when an operand is NaN, but for NE.
  Value compare(Compare how, Value x, Value y, bool isUnsigned = false) const;
  Value both(Value x, Value y) const { return op<mlir::arith::AndIOp>(x, y); }

  // Functions of floats.
  Value exp(Value x) const { return op<mlir::math::ExpOp>(x); }
  Value abs(Value x) const;
  Value sqrt(Value x) const { return op<mlir::math::SqrtOp>(x); }
  Value sigmoid(Value x) const;
  Value softplus(Value x) const;
  /// `x` over `y`, a constant.
  Value scale(Value x, double factor) const;
  Value plus(Value x, double number) const;

  /// To another element type, as ONNX's Cast does it: floats to integers toward
  /// zero, values beyond the range give the range's end (below a byte, their
  /// low bits), NaN gives 0; to bool is `x != 0`; between integers modulo their
  /// width.
  Value cast(Value x, Type element, bool fromUnsigned = false,
             bool toUnsigned = false) const;
  /// To the index type.
  Value toIndex(Value x, bool isUnsigned = false) const;

  /// `tensor[indices..]`; the caller keeps indices inside.
  Value extract(Value tensor, ValueRange indices) const;

  mlir::OpBuilder &b;
  mlir::Location loc;
};

using ScalarFn = llvm::function_ref<Value(const Expr &, ValueRange)>;

/// One factor of a contraction: a tensor and how the loops index it.
struct Factor {
  Value tensor;
  llvm::SmallVector<mlir::AffineExpr> indices;
};

/// A node on its way.
class Lowering {
public:
  Lowering(mlir::OpBuilder &builder, onnx::NodeOp node,
           ArrayRef<Value> operands, Type floats = {});

  //===--------------------------------------------------------------------===//
  // The node
  //===--------------------------------------------------------------------===//

  unsigned numInputs() const { return operands.size(); }
  /// Operand `i`, null when absent.
  Value in(unsigned i) const {
    return i < operands.size() ? operands[i] : Value();
  }
  bool isUnsigned(unsigned i) const;
  /// Whether result `i` has an unsigned type.
  bool isResultUnsigned(unsigned i) const;
  /// The type of result `i` after lowering; null when the result is absent.
  RankedTensorType out(unsigned i = 0) const;
  /// The element type that an onnx element type has after lowering.
  Type lowered(Type element) const;
  int64_t since() { return node.getSince(); }
  /// The value of operand `i` when it is known.
  std::optional<onnx::HostTensor> constant(unsigned i) const;
  /// The same for integers in a list.
  std::optional<llvm::SmallVector<int64_t>> ints(unsigned i) const;
  /// An integer list that is an attribute in old versions and operand `i` in
  /// new ones; nullopt when absent or unknown.
  std::optional<llvm::SmallVector<int64_t>> intsFrom(llvm::StringRef attribute,
                                                     unsigned i);
  /// Whether operand `i` is there but not a constant.
  bool isUnknown(unsigned i) const { return in(i) && !constant(i); }

  //===--------------------------------------------------------------------===//
  // Tensors
  //===--------------------------------------------------------------------===//

  Value empty(ArrayRef<int64_t> shape, Type element) const;
  Value filled(ArrayRef<int64_t> shape, Type element, double value) const;
  /// A constant tensor of floats or integers.
  Value tensor(ArrayRef<int64_t> shape, Type element,
               ArrayRef<double> values) const;
  /// The constant of an onnx value after lowering; null when it cannot be one.
  Value tensor(const onnx::HostTensor &value) const;
  Value reshape(Value x, ArrayRef<int64_t> shape) const;
  Value transpose(Value x, ArrayRef<int64_t> perm) const;
  /// numpy's broadcasting to a shape of no lower rank; null when `x` does not
  /// fit.
  Value broadcast(Value x, ArrayRef<int64_t> shape) const;
  Value slice(Value x, ArrayRef<int64_t> offsets, ArrayRef<int64_t> sizes,
              ArrayRef<int64_t> strides = {}) const;
  /// The part `[offset, offset + size)` of one axis.
  Value sliceAxis(Value x, int64_t axis, int64_t offset, int64_t size) const;
  Value insert(Value x, Value into, ArrayRef<int64_t> offsets,
               ArrayRef<int64_t> strides = {}) const;
  Value concat(ArrayRef<Value> parts, int64_t axis) const;
  Value pad(Value x, ArrayRef<int64_t> low, ArrayRef<int64_t> high,
            Value scalar) const;
  Value pad(Value x, ArrayRef<int64_t> low, ArrayRef<int64_t> high,
            double value) const;
  Value cast(Value x, Type element, bool fromUnsigned = false,
             bool toUnsigned = false) const;
  /// Small floats as f32, others as they are.
  Value widened(Value x) const;

  /// `result[i..] = fn(operands[i..])` with numpy's broadcasting; `fn` sees
  /// tensors when all shapes agree, else scalars. Null when the shapes do not
  /// fit.
  Value map(ArrayRef<int64_t> shape, Type element, ArrayRef<Value> operands,
            ScalarFn fn) const;
  /// The same with the shape that broadcasting gives.
  Value map(Type element, ArrayRef<Value> operands, ScalarFn fn) const;
  Value map(Value x, ScalarFn fn) const { return map(elementOf(x), {x}, fn); }
  Value map(Value x, Value y, ScalarFn fn) const {
    return map(elementOf(x), {x, y}, fn);
  }
  /// `result[i..] = fn(i..)`.
  Value generate(ArrayRef<int64_t> shape, Type element, ScalarFn fn) const;
  /// `acc = fn(x[..], acc)` over `axes`, which disappear or stay as 1.
  Value reduce(Value x, ArrayRef<int64_t> axes, double initial, bool keep,
               ScalarFn fn) const;
  Value sum(Value x, ArrayRef<int64_t> axes, bool keep) const;
  /// `result[i..] = fold over r.. of fn(i.., r.., accs..)` from `initial`; r
  /// runs through `extents`. All results have one shape.
  llvm::SmallVector<Value>
  fold(ArrayRef<int64_t> shape, ArrayRef<int64_t> extents,
       ArrayRef<Value> initial,
       llvm::function_ref<llvm::SmallVector<Value>(
           const Expr &, ValueRange indices, ValueRange accs)>
           fn) const;
  /// `result[out..] = sum of products of factors`; the first `shape.size()`
  /// loops are the result's. Small floats are summed in f32. The result has
  /// `element`.
  Value contract(ArrayRef<int64_t> shape, ArrayRef<int64_t> reduced,
                 ArrayRef<Factor> factors, Type element) const;

  // Of an operand that is absent, or a value that could not be made: no shape,
  // no type. What is made of null is null.
  static RankedTensorType typeOf(Value x) {
    return x ? llvm::dyn_cast<RankedTensorType>(x.getType())
             : RankedTensorType();
  }
  static ArrayRef<int64_t> shape(Value x) {
    return typeOf(x) ? typeOf(x).getShape() : ArrayRef<int64_t>();
  }
  static int64_t rank(Value x) { return int64_t(shape(x).size()); }
  static Type elementOf(Value x) {
    return typeOf(x) ? typeOf(x).getElementType() : Type();
  }
  static bool isFloat(Value x) {
    return llvm::isa_and_nonnull<mlir::FloatType>(elementOf(x));
  }
  mlir::AffineExpr dim(unsigned i) const { return b.getAffineDimExpr(i); }
  mlir::AffineExpr number(int64_t value) const {
    return b.getAffineConstantExpr(value);
  }

  mlir::OpBuilder &b;
  mlir::Location loc;
  onnx::NodeOp node;
  llvm::SmallVector<Value> operands;
  /// The type of all floats, null when each has its own.
  Type wide;
  Expr e;
};

using Results = FailureOr<llvm::SmallVector<Value>>;
using LowerFn = Results (*)(Lowering &);

/// By domain and operator: "Add", "com.microsoft.Gelu".
using Table = llvm::StringMap<LowerFn>;

// Each file adds its operators.
void addElementwise(Table &table);
void addActivations(Table &table);
void addShapes(Table &table);
void addIndexing(Table &table);
void addScatters(Table &table);
void addReductions(Table &table);
void addNorms(Table &table);
void addLosses(Table &table);
void addProducts(Table &table);
void addConvolutions(Table &table);
void addPooling(Table &table);
void addAttention(Table &table);
void addLinearAttention(Table &table);
void addSelectiveScans(Table &table);
void addQuantization(Table &table);
void addResize(Table &table);
void addGridSample(Table &table);
void addRecurrent(Table &table);
void addContrib(Table &table);

/// One result, a failure when it is null.
inline Results one(Value value) {
  if (!value)
    return mlir::failure();
  return llvm::SmallVector<Value>{value};
}

/// The shape that numpy's broadcasting gives; nullopt when the shapes do not
/// fit.
std::optional<llvm::SmallVector<int64_t>>
broadcastShapes(ArrayRef<ArrayRef<int64_t>> shapes);

/// `axis` of a tensor of this rank, counted from the front; nullopt when there
/// is none.
std::optional<int64_t> normalAxis(int64_t axis, int64_t rank);
std::optional<llvm::SmallVector<int64_t>> normalAxes(ArrayRef<int64_t> axes,
                                                     int64_t rank);

int64_t product(ArrayRef<int64_t> numbers);

/// Rounds toward minus infinity.
int64_t floorDiv(int64_t a, int64_t b);

/// `pads` of a window operator and the size it gives: attributes auto_pad,
/// pads, strides, dilations, ceil_mode.
struct Windows {
  llvm::SmallVector<int64_t> kernel, strides, dilations, low, high, out;
  /// Fails when the attributes do not fit the sizes.
  static std::optional<Windows> of(Lowering &l, ArrayRef<int64_t> sizes,
                                   ArrayRef<int64_t> kernel);
};

} // namespace effc::lower

#endif // EFFC_LIB_CONVERSION_ONNXTOLINALG_LOWERING_H
