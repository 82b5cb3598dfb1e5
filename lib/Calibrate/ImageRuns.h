//===- ImageRuns.h - compiled modules on a file of images -------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CALIBRATE_IMAGERUNS_H
#define EFFC_LIB_CALIBRATE_IMAGERUNS_H

#include "effc/Artifact/KernelCache.h"
#include "effc/Calibrate/ChooseLayers.h"
#include "npy.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/OwningOpRef.h"

#include <map>
#include <memory>

namespace effc {

/// The images of `options.samples` and what modules make of them. The options
/// outlive it.
class ImageRuns {
public:
  explicit ImageRuns(const ChooseLayersOptions &options) : options(options) {}

  llvm::Error read();

  /// The images to run: the samples, or of the others at most four times as
  /// many.
  enum class Part { Samples, Others };

  /// Whether the file has more images than samples are asked for.
  bool hasOthers() const;

  /// Compiles a module with one entry point, which is used up, and calls
  /// `use(image, outputs of the entry)` for each image of a part.
  llvm::Error
  run(mlir::ModuleOp module,
      llvm::function_ref<void(int64_t, const std::vector<std::vector<float>> &)>
          use,
      Part part = Part::Samples);

  bool isLabelled() const { return labelled; }
  int64_t labelOf(int64_t image) const {
    return static_cast<int64_t>(arrays.at("labels").at(image));
  }

private:
  const ChooseLayersOptions &options;
  std::shared_ptr<KernelCache> kernels = std::make_shared<KernelCache>();
  std::map<std::string, effrt::tools::NpyArray> arrays;
  bool labelled = false;
};

/// A copy with the entry point of the smallest batch alone.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>>
cloneSmallestEntry(mlir::ModuleOp model);

/// Makes a value inside a function its last output.
llvm::Error giveOut(mlir::func::FuncOp func, mlir::Value value,
                    llvm::StringRef name);

} // namespace effc

#endif // EFFC_LIB_CALIBRATE_IMAGERUNS_H
