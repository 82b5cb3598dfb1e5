//===- Config.h - what a model's files say about it -------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_ONNXTOEFF_CONFIG_H
#define EFFC_LIB_CONVERSION_ONNXTOEFF_CONFIG_H

#include "mlir/IR/BuiltinOps.h"

#include <string>

namespace effc::raise {

/// From the metadata `effc.config` (Hugging Face's config.json) or a
/// genai_config.json; zeros and empty texts where neither says anything.
/// Damaged JSON says nothing.
struct Config {
  std::string text; ///< JSON that a manifest keeps
  std::string modelType;
  int64_t maxLength = 0;
  /// Sliding window of attention, 0 for none.
  int64_t window = 0;
  double ropeTheta = 0;
};

Config readConfig(mlir::ModuleOp onnxModule, llvm::StringRef genaiConfig);

} // namespace effc::raise

#endif // EFFC_LIB_CONVERSION_ONNXTOEFF_CONFIG_H
