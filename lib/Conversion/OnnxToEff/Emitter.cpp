//===- Emitter.cpp - builds the eff function ------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"

#include "effc/Frontend/ONNX/HostTensor.h"
#include "effc/Support/Error.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/ReshapeOpsUtils.h"
#include "llvm/ADT/SmallBitVector.h"

using namespace mlir;
using namespace effc;
using namespace effc::raise;

static ArrayRef<int64_t> shapeOf(Value v) {
  return cast<RankedTensorType>(v.getType()).getShape();
}

RankedTensorType Emitter::f32Type(MLIRContext *context,
                                  ArrayRef<int64_t> shape) {
  return RankedTensorType::get(shape, Float32Type::get(context));
}

Type Emitter::elementType(Type type) {
  if (isa<FloatType>(type))
    return type.isF64() ? type : Float32Type::get(type.getContext());
  if (auto i = dyn_cast<IntegerType>(type))
    return IntegerType::get(type.getContext(), i.getWidth());
  return type;
}

InFlightDiagnostic Emitter::error(const Twine &what) {
  return emitUserError(loc, ErrorCode::CannotRaise, what);
}

//===----------------------------------------------------------------------===//
// Operands and results
//===----------------------------------------------------------------------===//

Value Emitter::lowerConstant(Value base) {
  auto numbers = graph.numbers(base);
  if (!numbers) {
    error("a constant has no data, or too many elements of one value");
    return {};
  }
  Type element = elementType(Graph::elementType(base));
  auto type = RankedTensorType::get(Graph::shape(base), element);
  bool isFloat = isa<FloatType>(element);
  bool splat =
      llvm::all_of(*numbers, [&](double x) { return x == numbers->front(); });
  // Integers as they are: of 64 bits they may not be doubles.
  if (auto constant = base.getDefiningOp<onnx::ConstantOp>();
      constant && element.isInteger())
    if (auto exact = onnx::HostTensor::read(constant.getValue());
        succeeded(exact)) {
      SmallVector<APInt> values;
      for (int64_t x : exact->ints)
        values.push_back(APInt(element.getIntOrFloatBitWidth(), uint64_t(x),
                               /*isSigned=*/false, /*implicitTrunc=*/true));
      return arith::ConstantOp::create(builder, loc,
                                       DenseElementsAttr::get(type, values));
    }
  // Values differ from layer to layer: as weights they do not make the layers'
  // code differ.
  if (element.isF32() && !splat && type.getNumElements() > 0) {
    // Leading dimensions of 1 say nothing about a weight.
    ArrayRef<int64_t> shape = type.getShape();
    while (shape.size() > 1 && shape.front() == 1)
      shape = shape.drop_front();
    Value w = weight(base, shape);
    if (!w)
      return {};
    Value t = eff::ReadOp::create(builder, loc, f32(shape), w);
    return reshape(t, type.getShape());
  }
  SmallVector<Attribute> elements;
  for (double x : *numbers)
    elements.push_back(
        isFloat ? Attribute(FloatAttr::get(element, x))
                : Attribute(IntegerAttr::get(
                      element, APInt(element.getIntOrFloatBitWidth(),
                                     static_cast<int64_t>(x), true, true))));
  return arith::ConstantOp::create(builder, loc,
                                   DenseElementsAttr::get(type, elements));
}

Lowered Emitter::lower(const View &view) {
  auto it = values.find(view.base);
  if (it == values.end() && codesOf.contains(view.base)) {
    // The bits of unsigned numbers.
    Value codes = codesOf.lookup(view.base);
    define(view.base, arith::XOrIOp::create(
                          builder, loc, codes,
                          constant(builder, loc, codes.getType(), -128)));
    it = values.find(view.base);
  }
  if (it == values.end()) {
    if (!graph.isConstant(view.base)) {
      error("a value was not raised");
      return {};
    }
    Value t = lowerConstant(view.base);
    if (!t)
      return {};
    return {t, view.dims};
  }
  Lowered base = it->second;
  if (auto dims = view.dims.compose(base.dims))
    return {base.value, *dims};
  Value t = tensor(base);
  return {t, view.dims};
}

Value Emitter::tensor(const Lowered &lowered) {
  Value t = lowered.value;
  if (!t)
    return {};
  SmallVector<int64_t> shape = lowered.dims.shape();
  if (lowered.dims.isIdentity(numElements(shapeOf(t))))
    return reshape(t, shape);
  // Cut the tensor into the factors, outermost first; bring them into the
  // view's order; insert the repeats.
  SmallVector<Factor> wanted, factors;
  for (const auto &dim : lowered.dims.dims)
    wanted.append(dim.begin(), dim.end());
  for (Factor f : wanted)
    if (f.stride != 0)
      factors.push_back(f);
  llvm::sort(factors, [](Factor a, Factor b) { return a.stride > b.stride; });
  SmallVector<int64_t> cut, perm, repeats, expanded;
  for (Factor f : factors)
    cut.push_back(f.size);
  for (auto [i, f] : llvm::enumerate(wanted)) {
    expanded.push_back(f.size);
    if (f.stride == 0)
      repeats.push_back(i);
    else
      perm.push_back(llvm::find(factors, f) - factors.begin());
  }
  t = transpose(reshape(t, cut), perm);
  if (!repeats.empty()) {
    Value into =
        empty(expanded, cast<RankedTensorType>(t.getType()).getElementType());
    t = linalg::BroadcastOp::create(builder, loc, t, into, repeats)
            ->getResult(0);
  }
  return reshape(t, shape);
}

/// Strides say nothing about a tensor without elements.
static bool hasNoElements(Value v) { return numElements(Graph::shape(v)) == 0; }

Value Emitter::tensor(Value v) {
  if (hasNoElements(v))
    return empty(Graph::shape(v), elementType(Graph::elementType(v)));
  return tensor(lower(v));
}

Value Emitter::tensor(Value v, ArrayRef<int64_t> perm,
                      ArrayRef<int64_t> shape) {
  if (hasNoElements(v))
    return empty(shape, elementType(Graph::elementType(v)));
  return tensor(lower(v), perm, shape);
}

Value Emitter::tensor(Lowered lowered, ArrayRef<int64_t> perm,
                      ArrayRef<int64_t> shape) {
  lowered.dims.transpose(perm);
  if (!lowered.dims.reshape(shape))
    return reshape(tensor(lowered), shape);
  return tensor(lowered);
}

Lowered Emitter::rows(Value v) {
  Lowered l = lower(v);
  if (!l.value)
    return l;
  ArrayRef<int64_t> base = shapeOf(l.value);
  int64_t n = Graph::shape(v).back();
  if (l.dims.isIdentity(numElements(base)) && !base.empty() && base.back() == n)
    return l;
  Value t = tensor(l);
  return {t, Strided::identity(Graph::shape(v))};
}

void Emitter::define(Value v, Value tensor) {
  Strided dims = Strided::identity(shapeOf(tensor));
  dims.reshape(
      Graph::shape(v)); // merging and splitting a plain order always works
  values[v] = {tensor, dims};
}

void Emitter::define(Value v, Value tensor, ArrayRef<int64_t> shape,
                     ArrayRef<int64_t> perm) {
  Strided dims = Strided::identity(shapeOf(tensor));
  dims.reshape(shape);
  dims.transpose(perm);
  values[v] = {tensor, dims};
}

//===----------------------------------------------------------------------===//
// Tensor arithmetic
//===----------------------------------------------------------------------===//

Value Emitter::reshape(Value tensor, ArrayRef<int64_t> shape) {
  auto type = cast<RankedTensorType>(tensor.getType());
  if (type.getShape() == shape)
    return tensor;
  auto result = RankedTensorType::get(shape, type.getElementType());
  if (type.getNumElements() == 0)
    return empty(shape, type.getElementType());
  if (type.getRank() != static_cast<int64_t>(shape.size()))
    if (auto groups = getReassociationIndicesForReshape(type, result)) {
      if (type.getRank() > result.getRank())
        return tensor::CollapseShapeOp::create(builder, loc, result, tensor,
                                               *groups);
      return tensor::ExpandShapeOp::create(builder, loc, result, tensor,
                                           *groups);
    }
  // Neither finer nor coarser: through one dimension.
  auto line =
      RankedTensorType::get({type.getNumElements()}, type.getElementType());
  if (type.getRank() != 1) {
    SmallVector<ReassociationIndices> all(1);
    for (int64_t i = 0; i < type.getRank(); ++i)
      all[0].push_back(i);
    if (type.getRank() == 0)
      return tensor::ExpandShapeOp::create(builder, loc, result, tensor,
                                           ArrayRef<ReassociationIndices>{});
    tensor = tensor::CollapseShapeOp::create(builder, loc, line, tensor, all);
  }
  if (shape.size() == 1)
    return tensor;
  SmallVector<ReassociationIndices> all(1);
  for (unsigned i = 0; i < shape.size(); ++i)
    all[0].push_back(i);
  if (shape.empty())
    return tensor::CollapseShapeOp::create(builder, loc, result, tensor,
                                           ArrayRef<ReassociationIndices>{});
  return tensor::ExpandShapeOp::create(builder, loc, result, tensor, all);
}

Value Emitter::transpose(Value tensor, ArrayRef<int64_t> perm) {
  bool plain = true;
  SmallVector<int64_t> shape;
  for (auto [i, p] : llvm::enumerate(perm)) {
    plain &= static_cast<int64_t>(i) == p;
    shape.push_back(shapeOf(tensor)[p]);
  }
  if (plain)
    return tensor;
  Value into =
      empty(shape, cast<RankedTensorType>(tensor.getType()).getElementType());
  return linalg::TransposeOp::create(builder, loc, tensor, into, perm)
      ->getResult(0);
}

Value Emitter::empty(ArrayRef<int64_t> shape, Type element) {
  return tensor::EmptyOp::create(builder, loc, shape, element);
}

Value Emitter::constant(OpBuilder &b, Location loc, Type type, double value) {
  Type element = getElementTypeOrSelf(type);
  TypedAttr scalar;
  if (isa<FloatType>(element))
    scalar = FloatAttr::get(element, value);
  else
    scalar = IntegerAttr::get(element,
                              APInt(element.getIntOrFloatBitWidth(),
                                    static_cast<int64_t>(value), true, true));
  if (auto shaped = dyn_cast<ShapedType>(type))
    return arith::ConstantOp::create(
        b, loc, DenseElementsAttr::get(shaped, Attribute(scalar)));
  return arith::ConstantOp::create(b, loc, scalar);
}

Value Emitter::filled(ArrayRef<int64_t> shape, Type element, double value) {
  Value scalar = constant(builder, loc, element, value);
  return linalg::FillOp::create(builder, loc, scalar, empty(shape, element))
      ->getResult(0);
}

Value Emitter::broadcastVector(Value constant, ArrayRef<int64_t> shape) {
  Value w = weight(constant, {shape.back()});
  if (!w)
    return {};
  Value t = eff::ReadOp::create(builder, loc, f32({shape.back()}), w);
  SmallVector<int64_t> added;
  for (int64_t d = 0; d + 1 < static_cast<int64_t>(shape.size()); ++d)
    added.push_back(d);
  if (added.empty())
    return t;
  return linalg::BroadcastOp::create(builder, loc, t,
                                     empty(shape, builder.getF32Type()), added)
      ->getResult(0);
}

void Emitter::map(Value result, ArrayRef<Value> operands, ScalarFn fn) {
  ArrayRef<int64_t> shape = Graph::shape(result);
  // Scalars and vectors of weights adapt to the layout of the first of the
  // others.
  SmallVector<std::optional<double>> splats;
  llvm::SmallBitVector vectors(operands.size());
  SmallVector<Lowered> lowered(operands.size());
  std::optional<unsigned> first;
  for (auto [i, v] : llvm::enumerate(operands)) {
    splats.push_back(graph.scalar(v));
    vectors[i] = !splats.back() && !shape.empty() &&
                 graph.isFeatureVector(v, shape.back());
    if (splats.back() || vectors[i])
      continue;
    lowered[i] = lower(v);
    if (!lowered[i].value)
      return;
    if (!first)
      first = i;
  }
  auto type = [&](unsigned i, ArrayRef<int64_t> s) {
    return RankedTensorType::get(s,
                                 elementType(Graph::elementType(operands[i])));
  };
  // One layout for all, or the plain order for all: compute in it and keep it.
  ArrayRef<int64_t> base = first ? shapeOf(lowered[*first].value) : shape;
  bool oneLayout = !first ||
                   lowered[*first].dims.shape() == SmallVector<int64_t>(shape),
       plain = true;
  for (unsigned i = 0; i < operands.size(); ++i) {
    if (splats[i] || vectors[i])
      continue;
    const Lowered &l = lowered[i];
    int64_t count = numElements(shapeOf(l.value));
    oneLayout &= l.dims == lowered[*first].dims && shapeOf(l.value) == base;
    plain &= l.dims.isIdentity(count) && count == numElements(shape);
  }
  if (vectors.any() && first)
    oneLayout &= plain;
  bool vectorsFit =
      vectors.none() || (!base.empty() && base.back() == shape.back());
  if ((oneLayout || plain) && vectorsFit) {
    SmallVector<Value> args;
    for (unsigned i = 0; i < operands.size(); ++i) {
      args.push_back(splats[i]
                         ? constant(builder, loc, type(i, base), *splats[i])
                     : vectors[i] ? broadcastVector(operands[i], base)
                                  : reshape(lowered[i].value, base));
      if (!args.back())
        return;
    }
    Value t = fn(builder, loc, args);
    if (oneLayout && first)
      return define(result, Lowered{t, lowered[*first].dims});
    return define(result, t);
  }
  for (unsigned i = 0; i < operands.size(); ++i)
    if (vectors[i])
      lowered[i] = Lowered{broadcastVector(operands[i], shape),
                           Strided::identity(shape)};

  SmallVector<Value> tensors;
  bool equal = true;
  for (unsigned i = 0; i < operands.size(); ++i) {
    if (splats[i])
      continue;
    tensors.push_back(tensor(lowered[i]));
    if (!tensors.back())
      return;
    equal &= shapeOf(tensors.back()) == shape;
  }
  auto arguments = [&](OpBuilder &b, Location l, ValueRange given,
                       bool scalars) {
    SmallVector<Value> args;
    unsigned next = 0;
    for (unsigned i = 0; i < operands.size(); ++i)
      if (splats[i]) {
        Type t = type(i, shape);
        args.push_back(
            constant(b, l, scalars ? getElementTypeOrSelf(t) : t, *splats[i]));
      } else {
        args.push_back(given[next++]);
      }
    return args;
  };
  if (equal)
    return define(result,
                  fn(builder, loc, arguments(builder, loc, tensors, false)));

  MLIRContext *context = builder.getContext();
  SmallVector<AffineMap> maps;
  int64_t rank = shape.size();
  for (Value t : tensors) {
    ArrayRef<int64_t> s = shapeOf(t);
    SmallVector<AffineExpr> exprs;
    for (unsigned d = 0; d < s.size(); ++d) {
      unsigned at = rank - s.size() + d;
      exprs.push_back(s[d] == 1 && shape[at] != 1
                          ? getAffineConstantExpr(0, context)
                          : getAffineDimExpr(at, context));
    }
    maps.push_back(AffineMap::get(rank, 0, exprs, context));
  }
  maps.push_back(AffineMap::getMultiDimIdentityMap(rank, context));
  Type element = elementType(Graph::elementType(result));
  SmallVector<utils::IteratorType> iterators(rank,
                                             utils::IteratorType::parallel);
  auto generic = linalg::GenericOp::create(
      builder, loc, RankedTensorType::get(shape, element), tensors,
      empty(shape, element), maps, iterators,
      [&](OpBuilder &b, Location l, ValueRange args) {
        linalg::YieldOp::create(
            b, l, fn(b, l, arguments(b, l, args.drop_back(), true)));
      });
  define(result, generic.getResult(0));
}

Value Emitter::reduce(Value tensor, ArrayRef<int64_t> dims, double initial,
                      ScalarFn fn) {
  auto type = cast<RankedTensorType>(tensor.getType());
  SmallVector<int64_t> shape;
  for (int64_t i = 0; i < type.getRank(); ++i)
    if (!llvm::is_contained(dims, i))
      shape.push_back(type.getDimSize(i));
  Value init = filled(shape, type.getElementType(), initial);
  return linalg::ReduceOp::create(
             builder, loc, ValueRange{tensor}, ValueRange{init}, dims,
             [&](OpBuilder &b, Location l, ValueRange args) {
               linalg::YieldOp::create(b, l, fn(b, l, args));
             })
      ->getResult(0);
}
