//===- Codes.cpp - activations in 8 bits
//-----------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Kernels take int8 codes; files have unsigned numbers as often. An unsigned
/// number u with zero point z is the code u - 128 with zero point z - 128.
///
//===----------------------------------------------------------------------===//

#include "Emitter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace effc;
using namespace effc::raise;

/// Batch, tokens and features of a value of any shape.
static SmallVector<int64_t> rowShape(ArrayRef<int64_t> shape) {
  if (shape.size() == 3)
    return SmallVector<int64_t>(shape);
  int64_t features = shape.empty() ? 1 : shape.back();
  return {1, numElements(shape) / features, features};
}

Value Emitter::activations(Value tensor, Value v) {
  return reshape(tensor, rowShape(Graph::shape(v)));
}

Value Emitter::codes(Value v) {
  View w = graph.view(v);
  Value known = codesOf.lookup(w.base);
  if (known && w.dims.isIdentity(numElements(Graph::shape(w.base))))
    return reshape(known, rowShape(Graph::shape(v)));
  Value t = tensor(v);
  if (!t)
    return {};
  if (Graph::elementType(v).isUnsignedInteger())
    t = arith::XOrIOp::create(builder, loc, t,
                              constant(builder, loc, t.getType(), -128));
  return reshape(t, rowShape(Graph::shape(v)));
}

void Emitter::defineCodes(Value v, Value codes) {
  codesOf[v] = codes;
  if (!Graph::elementType(v).isUnsignedInteger())
    define(v, codes);
}

Value Emitter::codeScale(double scale, int64_t zero) {
  SmallVector<double> values{scale};
  if (zero != 0)
    values.push_back(double(zero));
  return vector("scale", values);
}

Value Emitter::quantize(Value tensor, Value scale) {
  auto type = cast<RankedTensorType>(tensor.getType());
  auto vector = dyn_cast<eff::WeightType>(scale.getType());
  bool isAsymmetric = !vector || vector.getShape()[0] == 2;
  return eff::QuantizeStaticOp::create(builder, loc,
                                       type.clone(builder.getI8Type()), tensor,
                                       scale, isAsymmetric);
}

Value Emitter::reorder(Value x, ArrayRef<int64_t> order) {
  auto type = cast<RankedTensorType>(x.getType());
  Value columns = arith::ConstantOp::create(
      builder, loc,
      DenseElementsAttr::get(
          RankedTensorType::get({int64_t(order.size())}, builder.getI64Type()),
          order));
  MLIRContext *context = builder.getContext();
  int64_t rank = type.getRank();
  SmallVector<AffineMap> maps{
      AffineMap::get(rank, 0, getAffineDimExpr(rank - 1, context)),
      AffineMap::getMultiDimIdentityMap(rank, context)};
  SmallVector<utils::IteratorType> iterators(rank,
                                             utils::IteratorType::parallel);
  return linalg::GenericOp::create(
             builder, loc, type, ValueRange{columns},
             ValueRange{empty(type.getShape(), type.getElementType())}, maps,
             iterators,
             [&](OpBuilder &b, Location l, ValueRange args) {
               SmallVector<Value> at;
               for (int64_t d = 0; d + 1 < rank; ++d)
                 at.push_back(linalg::IndexOp::create(b, l, d));
               at.push_back(
                   arith::IndexCastOp::create(b, l, b.getIndexType(), args[0]));
               linalg::YieldOp::create(
                   b, l, tensor::ExtractOp::create(b, l, x, at).getResult());
             })
      .getResult(0);
}

std::pair<Value, Value> Emitter::dynamicCodes(onnx::NodeOp node) {
  auto &[codes, scale] = dynamic[node];
  if (codes)
    return {codes, scale};
  Value x = tensor(node.getInput(0));
  if (!x)
    return {};
  x = activations(x, node.getInput(0));
  scale = eff::TensorScaleOp::create(
      builder, loc, RankedTensorType::get(2, builder.getF32Type()), x);
  codes = quantize(x, scale);
  return {codes, scale};
}
