//===- Lowering.cpp - what lowerings of onnx nodes share ------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Lowering.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Utils/ReshapeOpsUtils.h"
#include "mlir/IR/Matchers.h"

#include <numeric>

using namespace mlir;

namespace effc::lower {

//===----------------------------------------------------------------------===//
// The node
//===----------------------------------------------------------------------===//

static Type elementTypeOf(Value value) {
  return getElementTypeOrSelf(value.getType());
}

static Type signless(Type element) {
  if (auto integer = dyn_cast<IntegerType>(element))
    return IntegerType::get(element.getContext(), integer.getWidth());
  return element;
}

Lowering::Lowering(OpBuilder &builder, onnx::NodeOp node,
                   ArrayRef<Value> operands, Type floats)
    : b(builder), loc(node.getLoc()), node(node), operands(operands),
      wide(floats), e(builder, node.getLoc()) {
  auto declared = [&](unsigned i) {
    return elementTypeOf(node.getInputs()[i]);
  };
  for (auto [i, operand] : llvm::enumerate(operands)) {
    if (wide || !operand || !isFloat(operand))
      continue;
    if (isa<FloatType>(declared(i)) && declared(i) != elementOf(operand))
      wide = elementOf(operand);
  }
  // Operands of another type may stand beside those that are widened already.
  if (wide)
    for (auto [i, operand] : llvm::enumerate(this->operands))
      if (operand && isFloat(operand))
        operand = e.cast(
            operand, isa<FloatType>(declared(i)) ? lowered(declared(i)) : wide);
}

bool Lowering::isUnsigned(unsigned i) const {
  if (i >= operands.size())
    return false;
  Type element = elementTypeOf(node->getOperand(i));
  return element.isUnsignedInteger() || element.isInteger(1);
}

bool Lowering::isResultUnsigned(unsigned i) const {
  Type element = elementTypeOf(node->getResult(i));
  return element.isUnsignedInteger() || element.isInteger(1);
}

Type Lowering::lowered(Type element) const {
  // A wider type than that of all floats keeps its precision.
  bool isNarrow =
      wide && isa<FloatType>(element) &&
      element.getIntOrFloatBitWidth() <= wide.getIntOrFloatBitWidth();
  return isNarrow ? wide : signless(element);
}

RankedTensorType Lowering::out(unsigned i) const {
  if (i >= node->getNumResults())
    return {};
  auto type = dyn_cast<RankedTensorType>(node->getResult(i).getType());
  if (!type)
    return {};
  return RankedTensorType::get(type.getShape(), lowered(type.getElementType()));
}

std::optional<onnx::HostTensor> Lowering::constant(unsigned i) const {
  if (!in(i))
    return std::nullopt;
  ElementsAttr value;
  if (auto op = node->getOperand(i).getDefiningOp<onnx::ConstantOp>())
    value = op.getValue();
  else if (auto op = in(i).getDefiningOp<arith::ConstantOp>())
    value = dyn_cast<ElementsAttr>(op.getValue());
  if (!value)
    return std::nullopt;
  return onnx::HostTensor::read(value);
}

std::optional<SmallVector<int64_t>> Lowering::ints(unsigned i) const {
  std::optional<onnx::HostTensor> value = constant(i);
  if (!value || value->isFloat() || value->rank() > 1)
    return std::nullopt;
  return SmallVector<int64_t>(value->ints.begin(), value->ints.end());
}

std::optional<SmallVector<int64_t>> Lowering::intsFrom(StringRef attribute,
                                                       unsigned i) {
  if (auto list = node.getInts(attribute))
    return list;
  return ints(i);
}

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

std::optional<SmallVector<int64_t>>
broadcastShapes(ArrayRef<ArrayRef<int64_t>> shapes) {
  SmallVector<int64_t> result;
  for (ArrayRef<int64_t> shape : shapes) {
    if (shape.size() > result.size())
      result.insert(result.begin(), shape.size() - result.size(), 1);
    size_t lead = result.size() - shape.size();
    for (size_t i = 0; i < shape.size(); ++i) {
      int64_t &size = result[lead + i];
      if (size == 1)
        size = shape[i];
      else if (shape[i] != 1 && shape[i] != size)
        return std::nullopt;
    }
  }
  return result;
}

std::optional<int64_t> normalAxis(int64_t axis, int64_t rank) {
  if (axis < 0)
    axis += rank;
  if (axis < 0 || axis >= rank)
    return std::nullopt;
  return axis;
}

std::optional<SmallVector<int64_t>> normalAxes(ArrayRef<int64_t> axes,
                                               int64_t rank) {
  SmallVector<int64_t> result;
  for (int64_t axis : axes) {
    std::optional<int64_t> normal = normalAxis(axis, rank);
    if (!normal || llvm::is_contained(result, *normal))
      return std::nullopt;
    result.push_back(*normal);
  }
  return result;
}

int64_t product(ArrayRef<int64_t> numbers) {
  return std::accumulate(numbers.begin(), numbers.end(), int64_t(1),
                         std::multiplies<int64_t>());
}

int64_t floorDiv(int64_t a, int64_t b) {
  int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

Value Lowering::empty(ArrayRef<int64_t> shape, Type element) const {
  return tensor::EmptyOp::create(b, loc, shape, element);
}

Value Lowering::filled(ArrayRef<int64_t> shape, Type element,
                       double value) const {
  return linalg::FillOp::create(b, loc, ValueRange(e.constant(element, value)),
                                ValueRange(empty(shape, element)))
      .getResult(0);
}

Value Lowering::tensor(ArrayRef<int64_t> shape, Type element,
                       ArrayRef<double> values) const {
  onnx::HostTensor tensor(element, shape);
  for (auto [i, value] : llvm::enumerate(values))
    if (tensor.isFloat())
      tensor.floats[i] = value;
    else
      tensor.ints[i] = int64_t(value);
  return this->tensor(tensor);
}

Value Lowering::tensor(const onnx::HostTensor &value) const {
  onnx::HostTensor copy = value;
  copy.elementType = lowered(value.elementType);
  return e.op<arith::ConstantOp>(
      llvm::cast<TypedAttr>(Attribute(copy.write())));
}

Value Lowering::reshape(Value x, ArrayRef<int64_t> shape) const {
  if (!x)
    return {};
  auto from = llvm::cast<RankedTensorType>(x.getType());
  if (from.getShape() == shape)
    return x;
  if (from.getNumElements() != product(shape))
    return {};
  if (from.getNumElements() == 0)
    return empty(shape, from.getElementType());
  auto to = RankedTensorType::get(shape, from.getElementType());
  auto change = [&](Value source, RankedTensorType target,
                    ArrayRef<ReassociationIndices> groups) -> Value {
    if (llvm::cast<RankedTensorType>(source.getType()).getRank() >
        target.getRank())
      return tensor::CollapseShapeOp::create(b, loc, target, source, groups);
    return tensor::ExpandShapeOp::create(b, loc, target, source, groups);
  };
  if (from.getRank() != to.getRank())
    if (auto groups = getReassociationIndicesForReshape(from, to))
      return change(x, to, *groups);
  // By way of one dimension.
  auto flat =
      RankedTensorType::get({from.getNumElements()}, from.getElementType());
  auto all = [](int64_t rank) {
    SmallVector<ReassociationIndices> groups(rank ? 1 : 0);
    for (int64_t i = 0; i < rank; ++i)
      groups[0].push_back(i);
    return groups;
  };
  if (from.getRank() != 1)
    x = change(x, flat, all(from.getRank()));
  if (to.getRank() != 1)
    x = change(x, to, all(to.getRank()));
  return x;
}

Value Lowering::transpose(Value x, ArrayRef<int64_t> perm) const {
  if (!x)
    return {};
  SmallVector<int64_t> target;
  bool moves = false;
  for (auto [i, from] : llvm::enumerate(perm)) {
    target.push_back(shape(x)[from]);
    moves |= int64_t(i) != from;
  }
  if (!moves)
    return x;
  return linalg::TransposeOp::create(b, loc, x, empty(target, elementOf(x)),
                                     perm)
      ->getResult(0);
}

Value Lowering::broadcast(Value x, ArrayRef<int64_t> shape) const {
  if (!x)
    return {};
  if (this->shape(x) == shape)
    return x;
  return map(shape, elementOf(x), {x},
             [](const Expr &, ValueRange v) { return v[0]; });
}

static SmallVector<OpFoldResult> attributes(OpBuilder &b,
                                            ArrayRef<int64_t> values) {
  return getAsIndexOpFoldResult(b.getContext(), values);
}

Value Lowering::slice(Value x, ArrayRef<int64_t> offsets,
                      ArrayRef<int64_t> sizes,
                      ArrayRef<int64_t> strides) const {
  if (!x)
    return {};
  SmallVector<int64_t> ones(sizes.size(), 1);
  if (strides.empty())
    strides = ones;
  if (sizes == shape(x))
    return x;
  if (product(sizes) == 0)
    return empty(sizes, elementOf(x));
  return tensor::ExtractSliceOp::create(b, loc, x, attributes(b, offsets),
                                        attributes(b, sizes),
                                        attributes(b, strides));
}

Value Lowering::sliceAxis(Value x, int64_t axis, int64_t offset,
                          int64_t size) const {
  if (!x)
    return {};
  SmallVector<int64_t> offsets(rank(x), 0), sizes(shape(x));
  offsets[axis] = offset;
  sizes[axis] = size;
  return slice(x, offsets, sizes);
}

Value Lowering::insert(Value x, Value into, ArrayRef<int64_t> offsets,
                       ArrayRef<int64_t> strides) const {
  if (!x || !into)
    return {};
  SmallVector<int64_t> ones(offsets.size(), 1);
  if (strides.empty())
    strides = ones;
  return tensor::InsertSliceOp::create(b, loc, x, into, attributes(b, offsets),
                                       attributes(b, shape(x)),
                                       attributes(b, strides));
}

Value Lowering::concat(ArrayRef<Value> parts, int64_t axis) const {
  if (llvm::is_contained(parts, Value()))
    return {};
  if (parts.size() == 1)
    return parts[0];
  return tensor::ConcatOp::create(b, loc, axis, parts);
}

Value Lowering::pad(Value x, ArrayRef<int64_t> low, ArrayRef<int64_t> high,
                    Value scalar) const {
  if (!x)
    return {};
  SmallVector<int64_t> target(shape(x));
  for (size_t i = 0; i < target.size(); ++i)
    target[i] += low[i] + high[i];
  if (ArrayRef<int64_t>(target) == shape(x))
    return x;
  auto type = RankedTensorType::get(target, elementOf(x));
  return tensor::PadOp::create(b, loc, type, x, attributes(b, low),
                               attributes(b, high), scalar);
}

Value Lowering::pad(Value x, ArrayRef<int64_t> low, ArrayRef<int64_t> high,
                    double value) const {
  if (!x)
    return {};
  return pad(x, low, high, e.constant(elementOf(x), value));
}

Value Lowering::cast(Value x, Type element, bool fromUnsigned,
                     bool toUnsigned) const {
  if (!x || !element)
    return {};
  return e.cast(x, element, fromUnsigned, toUnsigned);
}

Value Lowering::widened(Value x) const {
  auto type = dyn_cast_or_null<FloatType>(elementOf(x));
  return type && type.getWidth() < 32 ? cast(x, b.getF32Type()) : x;
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

static SmallVector<utils::IteratorType> iterators(int64_t parallel,
                                                  int64_t reduced = 0) {
  SmallVector<utils::IteratorType> types(parallel,
                                         utils::IteratorType::parallel);
  types.append(reduced, utils::IteratorType::reduction);
  return types;
}

/// The scalar that a constant tensor is full of; null when it is no such thing.
static TypedAttr getSplat(Value x) {
  auto constant = x.getDefiningOp<arith::ConstantOp>();
  if (!constant)
    return {};
  auto value = dyn_cast<DenseElementsAttr>(constant.getValue());
  if (!value || !value.isSplat())
    return {};
  return cast<TypedAttr>(value.getSplatValue<Attribute>());
}

Value Lowering::map(ArrayRef<int64_t> shape, Type element,
                    ArrayRef<Value> operands, ScalarFn fn) const {
  int64_t loops = int64_t(shape.size());
  bool same = true;
  if (llvm::is_contained(operands, Value()))
    return {};
  for (Value operand : operands) {
    ArrayRef<int64_t> own = this->shape(operand);
    if (int64_t(own.size()) > loops)
      return {};
    for (size_t i = 0; i < own.size(); ++i)
      if (own[i] != 1 && own[i] != shape[loops - own.size() + i])
        return {};
    same &= own == shape || getSplat(operand);
  }
  auto result = RankedTensorType::get(shape, element);
  if (same) {
    SmallVector<Value> full;
    for (Value operand : operands) {
      if (this->shape(operand) != shape)
        operand = e.op<arith::ConstantOp>(DenseElementsAttr::get(
            RankedTensorType::get(shape, elementOf(operand)),
            Attribute(getSplat(operand))));
      full.push_back(operand);
    }
    return fn(e, full);
  }
  // Dimensions of 1 that are repeated disappear from the operand, so that every
  // map is a projection.
  SmallVector<Value> inputs;
  SmallVector<AffineMap> maps;
  SmallVector<TypedAttr> splats;
  for (Value operand : operands) {
    splats.push_back(getSplat(operand));
    if (splats.back())
      continue;
    SmallVector<int64_t> kept;
    SmallVector<AffineExpr> indices;
    ArrayRef<int64_t> own = this->shape(operand);
    for (size_t i = 0; i < own.size(); ++i) {
      size_t loop = loops - own.size() + i;
      if (own[i] == 1 && shape[loop] != 1)
        continue;
      kept.push_back(own[i]);
      indices.push_back(dim(loop));
    }
    inputs.push_back(reshape(operand, kept));
    maps.push_back(AffineMap::get(loops, 0, indices, b.getContext()));
  }
  maps.push_back(b.getMultiDimIdentityMap(loops));
  return linalg::GenericOp::create(
             b, loc, TypeRange(result), inputs,
             ValueRange(empty(shape, element)), maps, iterators(loops),
             [&](OpBuilder &inner, Location where, ValueRange args) {
               Expr scalar(inner, where);
               SmallVector<Value> values;
               unsigned next = 0;
               for (TypedAttr splat : splats)
                 values.push_back(splat ? scalar.op<arith::ConstantOp>(splat)
                                        : args[next++]);
               linalg::YieldOp::create(inner, where, fn(scalar, values));
             })
      .getResult(0);
}

Value Lowering::map(Type element, ArrayRef<Value> operands, ScalarFn fn) const {
  if (llvm::is_contained(operands, Value()))
    return {};
  SmallVector<ArrayRef<int64_t>> shapes;
  for (Value operand : operands)
    shapes.push_back(shape(operand));
  auto shape = broadcastShapes(shapes);
  if (!shape)
    return {};
  return map(*shape, element, operands, fn);
}

Value Lowering::generate(ArrayRef<int64_t> shape, Type element,
                         ScalarFn fn) const {
  int64_t loops = int64_t(shape.size());
  auto result = RankedTensorType::get(shape, element);
  if (result.getNumElements() == 0)
    return empty(shape, element);
  return linalg::GenericOp::create(
             b, loc, TypeRange(result), ValueRange(),
             ValueRange(empty(shape, element)),
             ArrayRef<AffineMap>(b.getMultiDimIdentityMap(loops)),
             iterators(loops),
             [&](OpBuilder &inner, Location where, ValueRange) {
               Expr scalar(inner, where);
               SmallVector<Value> indices;
               for (int64_t i = 0; i < loops; ++i)
                 indices.push_back(scalar.op<linalg::IndexOp>(i));
               linalg::YieldOp::create(inner, where, fn(scalar, indices));
             })
      .getResult(0);
}

Value Lowering::reduce(Value x, ArrayRef<int64_t> axes, double initial,
                       bool keep, ScalarFn fn) const {
  if (!x)
    return {};
  SmallVector<int64_t> sorted(axes), kept, full;
  llvm::sort(sorted);
  for (int64_t i = 0; i < rank(x); ++i) {
    bool reduced = llvm::is_contained(sorted, i);
    if (!reduced)
      kept.push_back(shape(x)[i]);
    full.push_back(reduced ? 1 : shape(x)[i]);
  }
  Value result = x;
  if (!sorted.empty())
    result = linalg::ReduceOp::create(
                 b, loc, ValueRange(x),
                 ValueRange(filled(kept, elementOf(x), initial)), sorted,
                 [&](OpBuilder &inner, Location where, ValueRange args) {
                   linalg::YieldOp::create(inner, where,
                                           fn(Expr(inner, where), args));
                 })
                 ->getResult(0);
  return keep ? reshape(result, full) : result;
}

Value Lowering::sum(Value x, ArrayRef<int64_t> axes, bool keep) const {
  return reduce(x, axes, 0, keep,
                [](const Expr &e, ValueRange v) { return e.add(v[1], v[0]); });
}

SmallVector<Value> Lowering::fold(
    ArrayRef<int64_t> shape, ArrayRef<int64_t> extents, ArrayRef<Value> initial,
    llvm::function_ref<SmallVector<Value>(const Expr &, ValueRange, ValueRange)>
        fn) const {
  int64_t outer = int64_t(shape.size()), inner = int64_t(extents.size());
  if (product(shape) == 0 || product(extents) == 0)
    return SmallVector<Value>(initial);
  SmallVector<AffineExpr> results, window;
  for (int64_t i = 0; i < outer; ++i)
    results.push_back(dim(i));
  for (int64_t i = 0; i < inner; ++i)
    window.push_back(dim(outer + i));
  // An operand without meaning gives the inner loops their extents.
  SmallVector<AffineMap> maps{
      AffineMap::get(outer + inner, 0, window, b.getContext())};
  for (size_t i = 0; i < initial.size(); ++i)
    maps.push_back(AffineMap::get(outer + inner, 0, results, b.getContext()));
  auto op = linalg::GenericOp::create(
      b, loc, ValueRange(initial).getTypes(),
      ValueRange(empty(extents, b.getI1Type())), initial, maps,
      iterators(outer, inner),
      [&](OpBuilder &body, Location where, ValueRange args) {
        Expr scalar(body, where);
        SmallVector<Value> indices;
        for (int64_t i = 0; i < outer + inner; ++i)
          indices.push_back(scalar.op<linalg::IndexOp>(i));
        linalg::YieldOp::create(body, where,
                                fn(scalar, indices, args.drop_front()));
      });
  return SmallVector<Value>(op.getResults());
}

Value Lowering::contract(ArrayRef<int64_t> shape, ArrayRef<int64_t> reduced,
                         ArrayRef<Factor> factors, Type element) const {
  int64_t loops = int64_t(shape.size() + reduced.size());
  auto small = dyn_cast<FloatType>(element);
  Type sumType = small && small.getWidth() < 32 ? b.getF32Type() : element;
  SmallVector<AffineMap> maps;
  SmallVector<Value> inputs;
  for (const Factor &factor : factors) {
    if (!factor.tensor)
      return {};
    inputs.push_back(factor.tensor);
    maps.push_back(AffineMap::get(loops, 0, factor.indices, b.getContext()));
  }
  SmallVector<AffineExpr> results;
  for (unsigned i = 0; i < shape.size(); ++i)
    results.push_back(dim(i));
  maps.push_back(AffineMap::get(loops, 0, results, b.getContext()));
  auto op = linalg::GenericOp::create(
      b, loc, TypeRange(RankedTensorType::get(shape, sumType)), inputs,
      ValueRange(filled(shape, sumType, 0)), maps,
      iterators(int64_t(shape.size()), int64_t(reduced.size())),
      [&](OpBuilder &inner, Location where, ValueRange args) {
        Expr scalar(inner, where);
        Value value;
        for (Value factor : args.drop_back()) {
          factor = scalar.cast(factor, sumType);
          value = value ? scalar.mul(value, factor) : factor;
        }
        linalg::YieldOp::create(inner, where, scalar.add(args.back(), value));
      });
  return cast(op.getResult(0), element);
}

} // namespace effc::lower
