//===- Compress.h - the recipe of a compilation -----------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_PIPELINES_COMPRESS_H
#define EFFC_PIPELINES_COMPRESS_H

#include "effc/Pipelines/Compile.h"

namespace effc {

/// Whether there is such a recipe, and samples if it needs them: what can be
/// said before a model is read.
llvm::Error checkRecipe(const CompileOptions &options);

/// Applies what `options` ask for (a recipe, or a format of weights) to a
/// raised model. `tokenizer` is its text, for samples of text. `decisions` is
/// where remarks are collected: those about the models that calibrations run
/// do not stay there.
llvm::Error compressModel(mlir::ModuleOp model, const CompileOptions &options,
                          llvm::StringRef tokenizer,
                          const CompileObserver &observer,
                          std::vector<Decision> &decisions);

} // namespace effc

#endif // EFFC_PIPELINES_COMPRESS_H
