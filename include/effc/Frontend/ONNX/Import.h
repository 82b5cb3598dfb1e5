//===- Import.h - ONNX files to the onnx dialect ----------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Reads a model file as a stranger's: every size, offset, path and count is
/// checked before use, and every refusal is a UserError that names the part.
/// Weights stay in the mapped files; the module's resources keep them mapped.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_FRONTEND_ONNX_IMPORT_H
#define EFFC_FRONTEND_ONNX_IMPORT_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>

namespace effc {

struct ImportOptions {
  /// Largest model file; protobuf's own ceiling.
  int64_t maxModelBytes = (int64_t(1) << 31) - 1;
  /// Largest sum of all weights.
  int64_t maxWeightBytes = int64_t(1) << 42;
  /// Most nodes in the file.
  int64_t maxNodes = 5'000'000;
  /// Most nodes after functions are inlined.
  int64_t maxExpandedNodes = 1'000'000;
  /// Refuse symbolic and hard links among the data files.
  bool strictPaths = false;
};

/// The model of a file as a module of the onnx dialect with one function @main.
/// Loads the dialects it needs.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>>
importOnnx(mlir::MLIRContext &context, llvm::StringRef path,
           const ImportOptions &options = {});

/// The same from memory, which is copied; external data is refused.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>>
importOnnxBuffer(mlir::MLIRContext &context, llvm::ArrayRef<char> bytes,
                 const ImportOptions &options = {});

} // namespace effc

#endif // EFFC_FRONTEND_ONNX_IMPORT_H
