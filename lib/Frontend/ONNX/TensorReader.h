//===- TensorReader.h - TensorProto to elements attributes ------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_FRONTEND_ONNX_TENSORREADER_H
#define EFFC_LIB_FRONTEND_ONNX_TENSORREADER_H

#include "MappedFile.h"
#include "onnx_ir.pb.h"

#include "mlir/IR/BuiltinAttributes.h"

#include <optional>

namespace effc::onnx {

/// Turns tensors of a model into attributes. Large data stays in the mapped
/// file where its alignment allows; a stored size that differs from the
/// declared one is an error before anything is allocated.
class TensorReader {
public:
  TensorReader(mlir::MLIRContext *context,
               std::shared_ptr<MappedFile> modelFile, ModelDirectory *directory,
               int64_t maxBytes, ModelDirectory::Warning warn)
      : context(context), modelFile(std::move(modelFile)), directory(directory),
        budget(maxBytes), warn(std::move(warn)) {}

  /// `mapped` is raw data that was left in the model file. `where` names the
  /// tensor in messages. Raw data is moved out of `tensor`.
  llvm::Expected<mlir::ElementsAttr>
  read(onnx_ir::TensorProto &tensor, std::optional<llvm::ArrayRef<char>> mapped,
       llvm::StringRef where);

private:
  llvm::Expected<mlir::ElementsAttr> strings(const onnx_ir::TensorProto &tensor,
                                             mlir::RankedTensorType type,
                                             llvm::StringRef where);
  /// The bytes of an external tensor, `need` of them.
  llvm::Expected<llvm::ArrayRef<char>>
  external(const onnx_ir::TensorProto &tensor, int64_t need,
           llvm::StringRef where, std::shared_ptr<MappedFile> &owner);
  /// An attribute over packed little-endian bytes; `owner` keeps them alive,
  /// null where they must be copied.
  mlir::ElementsAttr raw(mlir::RankedTensorType type,
                         llvm::ArrayRef<char> bytes,
                         const std::shared_ptr<void> &owner,
                         llvm::StringRef name);

  mlir::MLIRContext *context;
  std::shared_ptr<MappedFile> modelFile;
  ModelDirectory *directory;
  int64_t budget;
  ModelDirectory::Warning warn;
};

} // namespace effc::onnx

#endif // EFFC_LIB_FRONTEND_ONNX_TENSORREADER_H
