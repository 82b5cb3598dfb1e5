//===- LayerTargets.h - what layers should give out -------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CALIBRATE_LAYERTARGETS_H
#define EFFC_LIB_CALIBRATE_LAYERTARGETS_H

#include "ImageRuns.h"
#include "effc/Dialect/Eff/Eff.h"

namespace effc {

/// What the scans of images give, merged, and the outputs of the linears behind
/// them with the residual streams they are added to, for each image of a run of
/// the model with all scans. Memory: so many values for each layer and image.
class LayerTargets {
public:
  /// Runs a copy of a module with one entry point.
  static llvm::Expected<LayerTargets>
  create(mlir::ModuleOp model, ImageRuns &runs,
         const ChooseLayersOptions &options);

  /// Fits what makes up for a module's layers that have no scans any more, and
  /// applies it. `changed` is a clone of the model whose scans were collapsed.
  llvm::Expected<std::vector<LayerCorrection>> correct(mlir::ModuleOp changed,
                                                       ImageRuns &runs) const;

private:
  struct Layer {
    std::string name, weight, factor;
    int64_t height = 0, width = 0;
    std::vector<std::vector<float>> outputs, merged; ///< of each image
  };
  llvm::Error fitFilter(const Layer &layer, mlir::ModuleOp changed,
                        ImageRuns &runs, LayerCorrection &correction) const;
  llvm::Error fitLinear(const Layer &layer, mlir::ModuleOp changed,
                        ImageRuns &runs, LayerCorrection &correction) const;

  std::vector<Layer> layers; ///< in the order of the model
  bool linear = false;
  int64_t kernel = 0, threads = 0;
};

/// The products of activations and a weight vector that each token's features
/// are multiplied by, in all functions.
std::vector<mlir::Operation *> findProducts(mlir::ModuleOp module,
                                            llvm::StringRef weight);

} // namespace effc

#endif // EFFC_LIB_CALIBRATE_LAYERTARGETS_H
