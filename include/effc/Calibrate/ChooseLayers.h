//===- ChooseLayers.h - layers that can do without their scans --*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Which layers eff-collapse-channels may take: each is collapsed by itself in
/// the compiled model and its loss measured on images; then the least harmful
/// ones are taken together, one more each time, while the loss of all together
/// stays within the budget. Losses of single layers do not add up.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_CALIBRATE_CHOOSELAYERS_H
#define EFFC_CALIBRATE_CHOOSELAYERS_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"

#include <atomic>
#include <functional>
#include <string>
#include <vector>

namespace effc {

struct ChooseLayersOptions {
  /// .npz with images [n, h, w, c] uint8 and, for accuracy, labels [n].
  std::string samples;
  /// At most so many of them, spread evenly; 0: all.
  int64_t sampleCount = 0;
  /// post, dir or pre.
  std::string variant = "post";
  bool literal = false;
  /// Largest loss of all chosen layers together, its standard error added: a
  /// share of the images that are no longer right (0.01 is one point of
  /// accuracy), or without labels the mean Kullback-Leibler divergence from the
  /// model's outputs, in nats.
  double budget = 0.01;
  /// Fit the linear behind each collapsed scan again, on the samples
  /// (effc/Calibrate/CorrectLayers.h). The loss is then that of the other
  /// images of the file, at most four times as many, where there are any.
  bool correct = false;
  /// Fit a depthwise filter of so many rows and columns, odd, in the place of
  /// each scan that is gone; 0: none.
  int64_t filter = 0;
  bool isCorrecting() const { return correct || filter > 0; }
  /// Threads; 0: one for each core that may be used.
  unsigned threads = 0;
  const std::atomic<int> *interrupt = nullptr;
  std::function<void(llvm::StringRef stage, uint64_t done, uint64_t total)>
      progress;
};

/// A mean over images and its standard error.
struct MeasuredLoss {
  MeasuredLoss(double mean = 0, double error = 0) : mean(mean), error(error) {}
  double mean, error;
};

/// What collapsing some layers does.
struct CollapseTrial {
  std::vector<std::string> layers;
  double loss = 0, error = 0;
};

/// What makes up for a layer's collapsed scan.
struct LayerCorrection {
  std::string layer;
  /// The weight of the linear behind the scan and its new values
  /// [outputs][inputs]; sum |output - wanted|^2 / sum |wanted|^2 of the linear,
  /// before and after.
  std::string weight;
  std::vector<float> values;
  double errorBefore = 0, errorAfter = 0;
  /// With a filter: the weight vector that the layer multiplied its channels
  /// by, and what stands in its place, [channels][kernel * kernel] and
  /// [channels]; the share of the scan's output that the filters do not give.
  std::string factor;
  int64_t height = 0, width = 0, kernel = 0;
  std::vector<float> filters, bias;
  double filterError = 0;
};

struct LayerChoice {
  /// What eff-collapse-channels takes as `layers`; may be empty.
  std::vector<std::string> layers;
  /// With `correct` or `filter`, what makes up for them.
  std::vector<LayerCorrection> corrections;
  double loss = 0;
  bool labelled = false;
  /// Each layer alone, least harmful first.
  std::vector<CollapseTrial> single;
  /// The sets that were tried, smallest first; the last one may be over budget.
  std::vector<CollapseTrial> joint;
};

/// A copy of a model with the scans of layers collapsed as the options say.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>>
collapseLayers(mlir::ModuleOp model, llvm::ArrayRef<std::string> layers,
               const ChooseLayersOptions &options);

/// Measures a module in which layers are collapsed; may change it.
using MeasureLoss = std::function<llvm::Expected<MeasuredLoss>(mlir::ModuleOp)>;

/// Chooses with a measure of one's own.
llvm::Expected<LayerChoice>
chooseCollapsedLayers(mlir::ModuleOp model, const ChooseLayersOptions &options,
                      const MeasureLoss &measure);
/// Chooses by running the compiled model on `options.samples`. The module, of
/// raised functions, is not changed. Errors are UserErrors.
llvm::Expected<LayerChoice>
chooseCollapsedLayers(mlir::ModuleOp model, const ChooseLayersOptions &options);

/// How far a layer's channels are from being equal: root mean square deviations
/// from the means over channels, of the decay and of what comes in.
struct LayerUniformity {
  std::string layer;
  double decay = 0, input = 0;
};
/// The cheap proxy of the search: one run of the compiled model on a few
/// images.
llvm::Expected<std::vector<LayerUniformity>>
measureLayerUniformity(mlir::ModuleOp model,
                       const ChooseLayersOptions &options);

/// Spearman's rank correlation, ties with their mean rank; 0 when one side is
/// constant.
double rankCorrelation(llvm::ArrayRef<double> a, llvm::ArrayRef<double> b);

} // namespace effc

#endif // EFFC_CALIBRATE_CHOOSELAYERS_H
