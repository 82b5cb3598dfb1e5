//===- ObservedModel.h - a model that shows its values ----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CALIBRATE_OBSERVEDMODEL_H
#define EFFC_LIB_CALIBRATE_OBSERVEDMODEL_H

#include "effc/Calibrate/Calibrate.h"
#include "effrt/engine.h"

#include "mlir/IR/OwningOpRef.h"

namespace effc {

/// One observer of one value.
struct Watch {
  compress::ObserverSettings settings;
  /// The value's names, the first op's first.
  std::vector<std::string> names;
};

/// A value that an entry point gives out.
struct ObservedValue {
  unsigned output; ///< Among the entry's outputs.
  std::vector<Watch> watches;
};

struct ObservedState {
  std::string symbol;
  std::vector<Watch> watches;
};

/// Compiles a module of raised functions for this machine; it is used up.
llvm::Expected<std::unique_ptr<effrt::Engine>>
compileEngine(mlir::ModuleOp module, const CalibrateOptions &options);

/// A copy of the model with one entry point, in the form whose values have
/// names: bias and softplus of time steps are part of the scans. Null when a
/// pass fails.
mlir::OwningOpRef<mlir::ModuleOp> cloneEntry(mlir::ModuleOp model,
                                             mlir::func::FuncOp entry);

/// The model compiled as it is, with one entry point that gives out values.
class ObservedModel {
public:
  /// Finds the values; quick.
  static llvm::Expected<ObservedModel> create(mlir::ModuleOp model,
                                              const CalibrateOptions &options);
  /// Then there is an engine.
  llvm::Error compile(const CalibrateOptions &options);

  effrt::Engine &getEngine() const { return *engine; }
  /// What samples have to fit.
  const effrt::Manifest &getManifest() const { return *manifest; }
  const std::vector<ObservedValue> &getValues() const { return values; }
  const std::vector<ObservedState> &getStates() const { return states; }

private:
  llvm::Error observe(mlir::func::FuncOp func, const CalibrateOptions &options);

  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::unique_ptr<effrt::Manifest> manifest;
  std::vector<ObservedValue> values;
  std::vector<ObservedState> states;
  std::unique_ptr<effrt::Engine> engine;
};

} // namespace effc

#endif // EFFC_LIB_CALIBRATE_OBSERVEDMODEL_H
