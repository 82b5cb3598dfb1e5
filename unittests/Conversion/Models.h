//===- Models.h - models that the raising tests read ------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_UNITTESTS_CONVERSION_MODELS_H
#define EFFC_UNITTESTS_CONVERSION_MODELS_H

#include "effc/Conversion/OnnxToEff/Verify.h"
#include "effc/Frontend/ONNX/Import.h"
#include "effc/Frontend/ONNX/Passes.h"

#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"

#include "gtest/gtest.h"

#include <cstdlib>

namespace effc::test {

/// The folder where an archive of the test data is unpacked, once; empty when
/// the data is not there.
inline std::string unpack(llvm::StringRef name) {
  const char *data = std::getenv("EFFC_TEST_DATA");
  std::string root = data && *data ? data : EFFC_SOURCE_DIR "/../shared";
  std::string archive = root + "/onnx/" + name.str() + ".tar.xz";
  llvm::SmallString<128> to;
  if (!llvm::sys::fs::exists(archive) ||
      llvm::sys::fs::createUniqueDirectory("effc-raise", to))
    return "";
  auto tar = llvm::sys::findProgramByName("tar");
  if (!tar || llvm::sys::ExecuteAndWait(
                  *tar, {*tar, "-xf", archive, "-C", to.str()}) != 0)
    return "";
  return std::string(to);
}

/// Unpacked archives; their folders go when the process ends.
class Unpacked {
public:
  explicit Unpacked(llvm::StringRef name) : folder(unpack(name)) {}
  ~Unpacked() {
    if (!folder.empty())
      llvm::sys::fs::remove_directories(folder);
  }
  const std::string folder;
};

inline const std::string &exporterFiles() {
  static const Unpacked files("exporter-files");
  return files.folder;
}

inline const std::string &bugCases() {
  static const Unpacked files("bug-cases");
  return files.folder;
}

/// The model bound to numbers and simplified; null, with the error reported,
/// when that fails.
inline mlir::OwningOpRef<mlir::ModuleOp>
bind(mlir::ModuleOp imported, int64_t batch, int64_t tokens, int64_t past) {
  mlir::OwningOpRef<mlir::ModuleOp> module =
      mlir::cast<mlir::ModuleOp>(imported->clone());
  OnnxBindPassOptions options;
  options.batch = batch;
  options.tokens = tokens;
  options.past = past;
  mlir::PassManager passes(imported.getContext());
  passes.addPass(createOnnxBindPass(options));
  passes.addPass(createOnnxSimplifyPass());
  if (failed(passes.run(*module)))
    return nullptr;
  return module;
}

inline mlir::OwningOpRef<mlir::ModuleOp> import(mlir::MLIRContext &context,
                                                const std::string &path) {
  auto module = importOnnx(context, path);
  if (!module) {
    ADD_FAILURE() << llvm::toString(module.takeError());
    return nullptr;
  }
  return std::move(*module);
}

inline RaiseOptions entryOptions(eff::EntryKind kind, int64_t batch,
                                 int64_t tokens, int64_t past) {
  RaiseOptions options;
  options.kind = kind;
  options.batch = batch;
  options.tokens = tokens;
  options.past = past;
  options.maxLength = 64;
  return options;
}

} // namespace effc::test

#endif // EFFC_UNITTESTS_CONVERSION_MODELS_H
