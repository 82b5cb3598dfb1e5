//===- ErrorCatcher.h - diagnostics become errors ---------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_PIPELINES_ERRORCATCHER_H
#define EFFC_LIB_PIPELINES_ERRORCATCHER_H

#include "effc/Pipelines/Lower.h"
#include "effc/Support/Error.h"

#include "mlir/IR/Diagnostics.h"

#include <optional>

namespace effc {

/// Turns the first error diagnostic of a stretch of work into an llvm::Error
/// and hands on the warnings.
class ErrorCatcher {
public:
  ErrorCatcher(mlir::MLIRContext &context, WarningHandler warn);

  /// The error that was seen; a fault of effc's own when a pass failed
  /// silently.
  llvm::Error take(llvm::StringRef doing);

private:
  WarningHandler warn;
  std::optional<UserError> error;
  mlir::ScopedDiagnosticHandler handler;
};

} // namespace effc

#endif // EFFC_LIB_PIPELINES_ERRORCATCHER_H
