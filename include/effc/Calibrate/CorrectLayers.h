//===- CorrectLayers.h - linears that make up for lost scans ----*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A layer whose scan is collapsed computes something else. Two things make up
/// for that, each in the order of the model and behind those that are fitted
/// already, so that it also makes up for what the layers before it left:
///
/// - `filter`: where the scan is gone, the layer multiplies each channel by the
///   sum of its D. A depthwise filter with a bias takes that place, the one
///   whose output comes nearest to the scan's (effc/Compress/FilterFit.h).
/// - `correct`: the linear behind (out_proj) is fitted again, so that the
///   layer's output, with the residual stream that it is added to, comes as
///   near as it can to that of the model with all scans
///   (effc/Compress/LinearFit.h).
///
/// No training: systems of linear equations, from images without labels. The
/// linear costs nothing when the model runs, the filter little.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_CALIBRATE_CORRECTLAYERS_H
#define EFFC_CALIBRATE_CORRECTLAYERS_H

#include "effc/Calibrate/ChooseLayers.h"

namespace effc {

/// Collapses `layers` (names or numbers) of a copy of the model and fits what
/// makes up for them on `options.samples`. The module, of raised functions, is
/// not changed. Errors are UserErrors.
llvm::Expected<std::vector<LayerCorrection>>
correctCollapsedLayers(mlir::ModuleOp model, llvm::ArrayRef<std::string> layers,
                       const ChooseLayersOptions &options);

/// Applies corrections to the model whose layers were collapsed.
llvm::Error applyCorrections(mlir::ModuleOp collapsed,
                             llvm::ArrayRef<LayerCorrection> corrections);

} // namespace effc

#endif // EFFC_CALIBRATE_CORRECTLAYERS_H
