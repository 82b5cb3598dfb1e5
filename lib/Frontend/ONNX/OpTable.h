//===- OpTable.h - operators that effc knows --------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_FRONTEND_ONNX_OPTABLE_H
#define EFFC_LIB_FRONTEND_ONNX_OPTABLE_H

#include "llvm/ADT/StringRef.h"

namespace effc::onnx {

/// What every use of an operator must satisfy.
struct OpSchema {
  llvm::StringLiteral domain, name;
  int minInputs, maxInputs, minOutputs, maxOutputs;
  llvm::StringLiteral attributes;

  /// The kind of an attribute as a letter of OpTable.def; 0 when it is not
  /// listed.
  char attributeKind(llvm::StringRef attribute) const;
};

/// The schema of an operator; null when effc does not know it. "ai.onnx" is the
/// same domain as "". In `ai.effc` a known name followed by a suffix is known
/// too.
const OpSchema *findOp(llvm::StringRef domain, llvm::StringRef name);

} // namespace effc::onnx

#endif // EFFC_LIB_FRONTEND_ONNX_OPTABLE_H
