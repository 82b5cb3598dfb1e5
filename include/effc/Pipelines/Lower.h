//===- Lower.h - from raised functions to plans -----------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The steps of a compilation that follow compression, for all who turn a
/// module of the eff dialect into a model file: the compilation itself, and
/// calibration.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_PIPELINES_LOWER_H
#define EFFC_PIPELINES_LOWER_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"

#include <functional>
#include <string>

namespace effc {

/// Takes warnings; may be empty.
using WarningHandler = std::function<void(const std::string &text)>;

/// Runs passes; the first error diagnostic becomes the error. `doing` says what
/// was going on when a pass fails without a word.
llvm::Error runPasses(mlir::PassManager &pm, mlir::ModuleOp module,
                      llvm::StringRef doing, const WarningHandler &warn = {});

/// Fuses, simplifies and lays out what compression has left, in eff.
llvm::Error prepareForPlan(mlir::ModuleOp model,
                           const WarningHandler &warn = {});

/// From eff to plans whose programs have their arenas: what writeModel takes.
llvm::Error lowerToPlan(mlir::ModuleOp model, const WarningHandler &warn = {});

/// The attribute of a model's module that holds the ONNX file's metadata.
inline constexpr llvm::StringLiteral kMetadataAttr = "eff.metadata";
/// A value of it; empty when it is not there.
llvm::StringRef getMetadata(mlir::ModuleOp model, llvm::StringRef name);
/// The JSON object in a text; empty when it holds none.
llvm::json::Object parseObject(llvm::StringRef text);
/// What a model file's manifest says of the configuration: config.json, and
/// what exporters keep beside it (how images are normalised, the length of
/// training).
llvm::json::Object describeConfig(mlir::ModuleOp model);

} // namespace effc

#endif // EFFC_PIPELINES_LOWER_H
