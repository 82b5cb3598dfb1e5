//===- Frontend.h - from a file's graph to entry points ---------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_PIPELINES_FRONTEND_H
#define EFFC_LIB_PIPELINES_FRONTEND_H

#include "effc/Conversion/OnnxToEff/Raise.h"
#include "effc/Pipelines/Compile.h"
#include "effc/Support/Error.h"

#include "mlir/Pass/PassManager.h"

namespace effc {

/// What becomes of a graph before it is raised: numbers for its dimensions,
/// scans found, lengths freed, states added.
class Frontend {
public:
  Frontend(mlir::MLIRContext &context, const CompileOptions &options,
           const CompileObserver &observer, CompileResult &result)
      : context(context), options(options), observer(observer), result(result) {
  }

  /// Looks at the graph as a whole: scans that exporters spelled out, lengths
  /// that the file fixes though it calls them free. The graph that comes back
  /// is what entry points are bound from.
  llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>>
  prepare(mlir::OwningOpRef<mlir::ModuleOp> onnx);
  /// What the entry points of a model are, in the order of the file.
  llvm::Expected<std::vector<RaiseOptions>>
  chooseEntries(mlir::ModuleOp onnx) const;
  /// The graph with the numbers of an entry point, simplified.
  llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>>
  bind(mlir::ModuleOp onnx, const RaiseOptions &entry);
  /// The windows of a generating model's attention, which masks of short pasts
  /// do not show: by the names of the key caches.
  std::map<std::string, int64_t> findWindows(mlir::ModuleOp onnx,
                                             RaiseOptions entry);
  /// Replaces the scans of a bound graph; refuses those that are too large to
  /// compute as they are written.
  llvm::Error raiseScansOf(mlir::ModuleOp bound);

  /// The one number of tokens that the graph works with, 0 for any; `why` names
  /// the node that fixes it where the file calls it free.
  llvm::Expected<int64_t> lengthOf(mlir::ModuleOp onnx, std::string &why);

private:
  llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>>
  tryBind(mlir::ModuleOp onnx, int64_t batch, int64_t tokens, int64_t past,
          llvm::ArrayRef<std::string> dims, bool keepMask = false);
  llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>>
  tryBind(mlir::ModuleOp onnx, int64_t batch, int64_t tokens, int64_t past) {
    return tryBind(onnx, batch, tokens, past, options.dims);
  }
  llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>>
  bindAnyLength(mlir::ModuleOp onnx, int64_t &tokens);
  llvm::Error checkRelaxed(mlir::ModuleOp literal, mlir::ModuleOp relaxed,
                           int64_t tokens);

  mlir::MLIRContext &context;
  const CompileOptions &options;
  const CompileObserver &observer;
  CompileResult &result;
  /// The graph has exponentials outside Softmax: it may hold scans.
  bool mayHaveScans = false;
  /// Tokens that the graph works with, 0 for any number.
  int64_t fixedTokens = 0;
  bool decodeOnly = false;
  std::string fixedBy; ///< the node that fixes the length
};

} // namespace effc

#endif // EFFC_LIB_PIPELINES_FRONTEND_H
