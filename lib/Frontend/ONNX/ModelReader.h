//===- ModelReader.h - guarded parse of a model file ------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_FRONTEND_ONNX_MODELREADER_H
#define EFFC_LIB_FRONTEND_ONNX_MODELREADER_H

#include "MappedFile.h"
#include "onnx_ir.pb.h"

#include "llvm/Support/Error.h"

#include <optional>
#include <vector>

namespace effc::onnx {

/// A parsed model. Large raw data of the main graph's initializers is not in
/// the message but in the file: `rawData[i]` belongs to
/// `model.graph().initializer(i)`.
struct ParsedModel {
  onnx_ir::ModelProto model;
  std::vector<std::optional<llvm::ArrayRef<char>>> rawData;
};

/// Parses the whole of `bytes`, at most 100 messages deep, or says why not.
llvm::Expected<std::unique_ptr<ParsedModel>>
parseModel(llvm::ArrayRef<char> bytes, llvm::StringRef name);

} // namespace effc::onnx

#endif // EFFC_LIB_FRONTEND_ONNX_MODELREADER_H
