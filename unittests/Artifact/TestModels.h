//===- TestModels.h - small models, from eff to a model file ----*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_UNITTESTS_ARTIFACT_TESTMODELS_H
#define EFFC_UNITTESTS_ARTIFACT_TESTMODELS_H

#include "effc/Artifact/ModelWriter.h"
#include "effc/Dialect/Eff/Transforms/Passes.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"

#include <string>

namespace effc::test {

/// A directory that goes away with it.
class TempDir {
public:
  TempDir();
  ~TempDir();
  std::string file(const std::string &name) const { return path + "/" + name; }
  /// Names in it, sorted.
  std::vector<std::string> list() const;

private:
  std::string path;
};

std::string readFile(const std::string &path);

/// `eff.weight @NAME : !eff.weight<SHAPE, FORMAT>` with pseudo-random values in
/// [-scale, scale).
std::string weight(const std::string &name, std::vector<int64_t> shape,
                   double scale, const std::string &format = "f32",
                   double offset = 0);

/// Language models of one layer with the entry points decode_b1, decode_b2,
/// prefill_b1_t4 and prefill_b1_t16.
std::string mamba1Model();
std::string mamba2Model();
std::string attentionModel();
inline constexpr int kVocab = 40;

/// An image classifier: patches, a class token, position table, one layer of
/// attention over all patches.
std::string imageModel();

/// A context with the dialects, and a module in it.
class TestModule {
public:
  explicit TestModule(const std::string &text);
  mlir::ModuleOp get() { return *module; }
  mlir::MLIRContext &getContext() { return context; }
  /// The passes from eff to plan.
  bool plan(eff::QuantFormat format = eff::QuantFormat::None,
            bool inPlace = true);
  /// plan, then writeModel to `path` for this machine.
  std::string write(const std::string &path,
                    eff::QuantFormat format = eff::QuantFormat::None);
  llvm::Expected<ModelReport> write(const WriteOptions &options);

private:
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

} // namespace effc::test

#endif // EFFC_UNITTESTS_ARTIFACT_TESTMODELS_H
