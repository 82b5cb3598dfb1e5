//===- ChooseFormats.h - the step choose-precision --------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_PIPELINES_CHOOSEFORMATS_H
#define EFFC_LIB_PIPELINES_CHOOSEFORMATS_H

#include "effc/Calibrate/Calibrate.h"
#include "effc/Pipelines/Compile.h"
#include "effc/Pipelines/Recipe.h"

namespace effc {

/// Chooses formats for `choose-precision bits=N|bytes=N|time=N [formats=A,B]
/// [samples=N] [prompt=N]` on samples, writes them to `file` (eff::Precision)
/// and emits a remark for each linear and trial. `decisions` is where remarks
/// are collected: those of trials do not stay there.
llvm::Error chooseFormats(mlir::ModuleOp model, const RecipeStep &step,
                          const QuantiseSteps &rest, CalibrateOptions samples,
                          const std::string &file,
                          std::vector<Decision> &decisions);

/// Keeps what a precision file says of each linear as an attribute of the
/// module (kPrecisionAttr), for the model file.
llvm::Error recordPrecision(mlir::ModuleOp model, llvm::StringRef file);
inline constexpr llvm::StringLiteral kPrecisionAttr = "eff.precision";

} // namespace effc

#endif // EFFC_LIB_PIPELINES_CHOOSEFORMATS_H
