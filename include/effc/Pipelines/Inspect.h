//===- Inspect.h - what an ONNX file says about itself ----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_PIPELINES_INSPECT_H
#define EFFC_PIPELINES_INSPECT_H

#include "effc/Frontend/ONNX/Import.h"

#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace effc {

/// One past / present pair of a model file.
struct FileState {
  std::string past, present;
  /// "append", "write", "shift" or "recurrent": how the present follows from
  /// the past.
  std::string kind;
  std::string type; ///< "batch x 2 x past x 16, f32"
  int64_t layer = -1;
};

/// A dimension that the file leaves open.
struct FileSymbol {
  std::string name;
  std::string role; ///< "batch", "tokens", ...; empty when it is not known
  std::vector<std::string> uses; ///< "input_ids[0]"
  /// Why the graph does not work with every number; empty when it does.
  std::string fixed;
};

struct FileInfo {
  std::vector<FileState> states;
  std::vector<FileSymbol> symbols;
};

/// States and symbols of an ONNX file. Each symbol of batch and tokens is tried
/// with two numbers.
llvm::Expected<FileInfo> inspectFile(const std::string &path,
                                     const ImportOptions &options = {});

} // namespace effc

#endif // EFFC_PIPELINES_INSPECT_H
