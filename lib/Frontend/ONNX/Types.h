//===- Types.h - ONNX types in MLIR -----------------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_FRONTEND_ONNX_TYPES_H
#define EFFC_LIB_FRONTEND_ONNX_TYPES_H

#include "onnx_ir.pb.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/Support/Error.h"

namespace effc::onnx {

/// The element type of a TensorProto.DataType; null when the number is not one.
mlir::Type elementType(mlir::MLIRContext *context, int64_t dataType);
/// The DataType of an element type; 0 when ONNX has none.
int64_t dataTypeOf(mlir::Type elementType);

/// `tensor<*x!onnx.unknown>`.
mlir::Type unknownType(mlir::MLIRContext *context);

/// The type that a TypeProto declares; symbols and absent dimensions are
/// dynamic.
llvm::Expected<mlir::Type> declaredType(mlir::MLIRContext *context,
                                        const onnx_ir::TypeProto &proto,
                                        llvm::StringRef name);

/// The dimensions as declared: integers, symbols as strings, "" where nothing
/// is known. Null without a shape.
mlir::ArrayAttr declaredDims(mlir::MLIRContext *context,
                             const onnx_ir::TypeProto &proto);

/// Product of `dims`, or nullopt when one is negative or it exceeds 2^62.
std::optional<int64_t> elementCount(llvm::ArrayRef<int64_t> dims);

constexpr int64_t maxRank = 64;

} // namespace effc::onnx

#endif // EFFC_LIB_FRONTEND_ONNX_TYPES_H
