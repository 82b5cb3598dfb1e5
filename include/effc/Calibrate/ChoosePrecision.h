//===- ChoosePrecision.h - formats of layers within a budget ----*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Chooses a format for each linear and table (mixed precision, W4AX of
/// Quamba2, arXiv 2503.22879). How much a linear minds a format is measured:
/// the compiled model runs with this one linear in the format, rounded as the
/// recipe rounds it, and everything else in float, and its outputs are compared
/// with those of the float model (mean Kullback-Leibler divergence, in nats).
/// Errors of outputs of linears would be cheaper, but they do not tell what the
/// layers behind make of them, and they see no activations. Small divergences
/// of independent errors add up, so the sum over linears is what is minimised;
/// the chosen formats together are measured too.
///
/// Costs are bytes, or a predicted time. Decoding one token reads each weight
/// of a linear once; a token of a prompt multiplies by it, and integers
/// multiply four times as fast as floats. Tables of embeddings take no time.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_CALIBRATE_CHOOSEPRECISION_H
#define EFFC_CALIBRATE_CHOOSEPRECISION_H

#include "effc/Calibrate/Calibrate.h"

namespace effc {

struct PrecisionBudget {
  enum Kind {
    Bits,  ///< mean bits of the elements of linears and tables, with scales
    Bytes, ///< of all weights of the model
    Time,  ///< predicted, relative to the fastest formats (1)
  };
  Kind kind;
  double value;

  static constexpr llvm::StringLiteral kNames[] = {"bits", "bytes", "time"};
  /// "bits=5", "bytes=9000000", "time=1.25"; nothing for another text.
  static std::optional<PrecisionBudget> parse(llvm::StringRef text);
  std::string str() const;
};

struct ChoosePrecisionOptions {
  PrecisionBudget budget{PrecisionBudget::Bits, 8};
  /// What each linear may have ("w4a8", ...); of equal ones the first. Tables
  /// and heads may have the same bits of weights.
  std::vector<std::string> formats;
  /// Tokens of prompts for each token that is decoded; for budgets of time.
  int64_t promptTokens = 1;
  std::function<void(llvm::StringRef stage, uint64_t done, uint64_t total)>
      progress;
};

/// Names of weights with their formats.
using FormatMap = std::vector<std::pair<std::string, std::string>>;
enum class FormatUse {
  Sizes, ///< only the types of weights count
  Trial, ///< to be run; tables stay as they are
};
/// Gives a copy of the model formats, as the recipe does it.
using ApplyFormats =
    std::function<llvm::Error(mlir::ModuleOp, const FormatMap &, FormatUse)>;
/// How far a model's outputs are from those of the float model.
using MeasureDivergence = std::function<llvm::Expected<double>(mlir::ModuleOp)>;

/// One matrix in one format, everything else in float.
struct PrecisionTrial {
  std::string weight, format;
  int64_t bytes = 0;     ///< of this weight
  double divergence = 0; ///< nats
};

struct PrecisionChoice {
  FormatMap layers;
  /// Matrices in the order of the model, formats in that of the options.
  std::vector<PrecisionTrial> trials;
  /// The sum over the chosen ones, and all of them together.
  double estimated = 0, measured = 0;
  /// What they need, in the budget's unit.
  PrecisionBudget spent{PrecisionBudget::Bits, 0};
};

/// Chooses by one's own measure. The module is not changed. Errors are
/// UserErrors; EFF0405 when the budget is too small for any choice.
llvm::Expected<PrecisionChoice>
choosePrecision(mlir::ModuleOp model, const ChoosePrecisionOptions &options,
                const ApplyFormats &apply, const MeasureDivergence &measure);

/// Compares the outputs of compiled models: logits of token models at all
/// positions (thinned evenly to what 128 MiB hold), the first output of others.
/// Samples run one by one; the result does not depend on threads.
class OutputDivergence {
public:
  /// Runs the model itself on the samples.
  static llvm::Expected<OutputDivergence>
  create(mlir::ModuleOp model, const CalibrateOptions &samples);
  llvm::Expected<double> measure(mlir::ModuleOp changed) const;

private:
  /// Calls `use(row, logits, classes)`; rows of one call on any thread.
  llvm::Error
  run(mlir::ModuleOp model,
      const std::function<void(size_t row, const float *, int64_t)> &use,
      const std::function<void(size_t rows, int64_t classes)> &prepare) const;

  CalibrateOptions samples;
  int64_t classes = 0;
  std::vector<float> expected; ///< [rows][classes], logarithms
};

} // namespace effc

#endif // EFFC_CALIBRATE_CHOOSEPRECISION_H
