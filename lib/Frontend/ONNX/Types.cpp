//===- Types.cpp - ONNX types in MLIR -------------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Types.h"
#include "effc/Dialect/ONNX/Onnx.h"
#include "effc/Support/Error.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace effc;
using namespace effc::onnx;
using onnx_ir::TensorProto;
using onnx_ir::TypeProto;

Type onnx::elementType(MLIRContext *context, int64_t dataType) {
  Builder b(context);
  auto integer = [&](unsigned width) { return b.getIntegerType(width); };
  auto natural = [&](unsigned width) { return b.getIntegerType(width, false); };
  switch (dataType) {
  case TensorProto::FLOAT:
    return b.getF32Type();
  case TensorProto::UINT8:
    return natural(8);
  case TensorProto::INT8:
    return integer(8);
  case TensorProto::UINT16:
    return natural(16);
  case TensorProto::INT16:
    return integer(16);
  case TensorProto::INT32:
    return integer(32);
  case TensorProto::INT64:
    return integer(64);
  case TensorProto::STRING:
    return StringType::get(context);
  case TensorProto::BOOL:
    return integer(1);
  case TensorProto::FLOAT16:
    return b.getF16Type();
  case TensorProto::DOUBLE:
    return b.getF64Type();
  case TensorProto::UINT32:
    return natural(32);
  case TensorProto::UINT64:
    return natural(64);
  case TensorProto::COMPLEX64:
    return ComplexType::get(b.getF32Type());
  case TensorProto::COMPLEX128:
    return ComplexType::get(b.getF64Type());
  case TensorProto::BFLOAT16:
    return b.getBF16Type();
  case TensorProto::FLOAT8E4M3FN:
    return Float8E4M3FNType::get(context);
  case TensorProto::FLOAT8E4M3FNUZ:
    return Float8E4M3FNUZType::get(context);
  case TensorProto::FLOAT8E5M2:
    return Float8E5M2Type::get(context);
  case TensorProto::FLOAT8E5M2FNUZ:
    return Float8E5M2FNUZType::get(context);
  case TensorProto::UINT4:
    return natural(4);
  case TensorProto::INT4:
    return integer(4);
  case TensorProto::FLOAT4E2M1:
    return Float4E2M1FNType::get(context);
  case TensorProto::FLOAT8E8M0:
    return Float8E8M0FNUType::get(context);
  case TensorProto::UINT2:
    return natural(2);
  case TensorProto::INT2:
    return integer(2);
  default:
    return {};
  }
}

int64_t onnx::dataTypeOf(Type type) {
  for (int64_t code = TensorProto::FLOAT; code <= TensorProto::INT2; ++code)
    if (elementType(type.getContext(), code) == type)
      return code;
  return TensorProto::UNDEFINED;
}

Type onnx::unknownType(MLIRContext *context) {
  return UnrankedTensorType::get(UnknownType::get(context));
}

std::optional<int64_t> onnx::elementCount(ArrayRef<int64_t> dims) {
  int64_t count = 1;
  bool empty = false, overflow = false;
  for (int64_t dim : dims) {
    if (dim < 0)
      return std::nullopt;
    empty |= dim == 0;
    overflow |= dim > 0 && count > (int64_t(1) << 62) / dim;
    if (dim > 0 && !overflow)
      count *= dim;
  }
  if (empty)
    return 0;
  return overflow ? std::nullopt : std::optional<int64_t>(count);
}

static llvm::Expected<Type> tensorType(MLIRContext *context, int64_t dataType,
                                       const onnx_ir::TensorShapeProto *shape,
                                       StringRef name) {
  Type element = dataType == TensorProto::UNDEFINED
                     ? Type(UnknownType::get(context))
                     : elementType(context, dataType);
  if (!element)
    return makeError(ErrorCode::UnsupportedType,
                     "the element type " + Twine(dataType) + " does not exist",
                     name);
  if (!shape)
    return UnrankedTensorType::get(element);
  if (shape->dim_size() > maxRank)
    return makeError(ErrorCode::BadGraph, "a type has too many dimensions",
                     name, Twine(shape->dim_size()) + " dimensions");
  SmallVector<int64_t> dims, known;
  for (const auto &dim : shape->dim()) {
    if (!dim.has_dim_value()) {
      dims.push_back(ShapedType::kDynamic);
      continue;
    }
    if (dim.dim_value() < 0 && dim.dim_value() != -1)
      return makeError(ErrorCode::BadGraph, "a dimension is negative", name,
                       Twine(dim.dim_value()));
    // Old exporters write -1 for "any".
    dims.push_back(dim.dim_value() < 0 ? ShapedType::kDynamic
                                       : dim.dim_value());
    if (dim.dim_value() >= 0)
      known.push_back(dim.dim_value());
  }
  if (!elementCount(known))
    return makeError(ErrorCode::BadGraph, "a shape is too large", name);
  return RankedTensorType::get(dims, element);
}

llvm::Expected<Type> onnx::declaredType(MLIRContext *context,
                                        const TypeProto &proto,
                                        StringRef name) {
  auto nested = [&](const TypeProto &inner) {
    return declaredType(context, inner, name);
  };
  switch (proto.value_case()) {
  case TypeProto::kTensorType: {
    const auto &tensor = proto.tensor_type();
    return tensorType(context, tensor.elem_type(),
                      tensor.has_shape() ? &tensor.shape() : nullptr, name);
  }
  case TypeProto::kSparseTensorType: {
    const auto &tensor = proto.sparse_tensor_type();
    auto dense =
        tensorType(context, tensor.elem_type(),
                   tensor.has_shape() ? &tensor.shape() : nullptr, name);
    if (!dense)
      return dense;
    return SparseType::get(context, *dense);
  }
  case TypeProto::kSequenceType: {
    auto element = nested(proto.sequence_type().elem_type());
    if (!element)
      return element;
    return SeqType::get(context, *element);
  }
  case TypeProto::kOptionalType: {
    auto element = nested(proto.optional_type().elem_type());
    if (!element)
      return element;
    return OptionalType::get(context, *element);
  }
  case TypeProto::kMapType: {
    Type key = elementType(context, proto.map_type().key_type());
    auto value = nested(proto.map_type().value_type());
    if (!value)
      return value;
    if (!key)
      return makeError(ErrorCode::UnsupportedType,
                       "a map's key type does not exist", name);
    return MapType::get(context, key, *value);
  }
  case TypeProto::kOpaqueType:
    return makeError(ErrorCode::UnsupportedType, "an opaque type", name);
  case TypeProto::VALUE_NOT_SET:
    return unknownType(context);
  }
  return unknownType(context);
}

ArrayAttr onnx::declaredDims(MLIRContext *context, const TypeProto &proto) {
  if (!proto.has_tensor_type() || !proto.tensor_type().has_shape())
    return {};
  Builder b(context);
  SmallVector<Attribute> dims;
  SmallVector<int64_t> known;
  for (const auto &dim : proto.tensor_type().shape().dim()) {
    if (dim.has_dim_value() && dim.dim_value() >= 0) {
      dims.push_back(b.getI64IntegerAttr(dim.dim_value()));
      known.push_back(dim.dim_value());
    } else {
      dims.push_back(b.getStringAttr(dim.dim_param()));
    }
  }
  // What no tensor can have says nothing.
  if (!elementCount(known))
    return {};
  return b.getArrayAttr(dims);
}
