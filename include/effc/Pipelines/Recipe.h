//===- Recipe.h - compression as a list of steps ----------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A recipe is a small text: one step on a line, a name and its options
/// (`NAME`, `NAME=VALUE`; a bare name means `=true`), `#` begins a comment.
///
///   require ssd_scan          the model must have such an op
///   calibrate hessian         run the model on samples and observe its values
///   choose-precision bits=5   choose a format for each linear by trying
///   rotate residual online    the pass eff-rotate{residual=true online=true}
///
/// Every other name is that of a pass of the eff dialect without its `eff-`;
/// passes that take a calibration get what the last `calibrate` has seen.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_PIPELINES_RECIPE_H
#define EFFC_PIPELINES_RECIPE_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace effc {

struct RecipeStep {
  std::string name;
  std::vector<std::pair<std::string, std::string>> options;
  unsigned line;

  /// The value of an option, or nothing.
  std::optional<llvm::StringRef> get(llvm::StringRef option) const;
  bool has(llvm::StringRef option) const { return get(option).has_value(); }
  /// A step collapse-channels that samples decide on.
  bool choosesLayers() const;
};

struct Recipe {
  /// As it was asked for: a known name or a path.
  std::string name;
  std::string text;
  std::vector<RecipeStep> steps;

  /// Whether a step runs the model on samples.
  bool needsCalibration() const;
  /// Whether a step does so even when calibrations were kept: it tries.
  bool needsSamples() const;
  /// Makes the recipe choose formats within a budget ("bits=5", ...), in front
  /// of its first `quantize` if it does not do so yet. An error if it does not
  /// quantise.
  llvm::Error choosePrecision(llvm::StringRef budget);
};

/// The recipes that effc knows, by name.
std::vector<llvm::StringRef> listRecipes();
/// A known recipe, or the one in a file. Unknown names list the known ones.
llvm::Expected<Recipe> findRecipe(llvm::StringRef nameOrPath);
/// A recipe from its text; `name` is for messages.
llvm::Expected<Recipe> parseRecipe(llvm::StringRef text, llvm::StringRef name);

/// What the steps behind `choose-precision` do.
struct QuantiseSteps {
  /// Whether activations become integers.
  bool activations = false;
  /// Runs them on a copy of the model, with the formats of a file
  /// (eff::Precision). For a trial what they say of tables and states is left
  /// out, for sizes all but the formats of weights.
  std::function<llvm::Error(mlir::ModuleOp, llvm::StringRef file, bool isTrial)>
      apply;
};

/// What the steps that are no passes need from the compilation.
struct RecipeActions {
  /// Runs the model on samples and returns the path of what was seen.
  std::function<llvm::Expected<std::string>(mlir::ModuleOp, const RecipeStep &)>
      calibrate;
  /// Completes a step `collapse-channels` with `budget`, `correct` or `filter`:
  /// chooses its layers by trying, finds what makes up for them, and returns
  /// the step that the pass takes.
  std::function<llvm::Expected<RecipeStep>(mlir::ModuleOp, const RecipeStep &)>
      chooseLayers;
  /// Applies, behind that pass, what chooseLayers found.
  std::function<llvm::Error(mlir::ModuleOp)> correctLayers;
  /// Chooses formats for a step `choose-precision` and returns the path of a
  /// file with them.
  std::function<llvm::Expected<std::string>(mlir::ModuleOp, const RecipeStep &,
                                            const QuantiseSteps &)>
      choosePrecision;
  /// Options of passes that do not stand in the recipe, for those that have
  /// them: `precision`, with which `choose-precision` has nothing to do.
  std::vector<std::pair<std::string, std::string>> settings;
  /// The recipe stands for --quant, which a model that is quantised already may
  /// have too.
  bool isQuantFlag = false;
  std::function<void(const std::string &text)> warn;
  std::function<void(llvm::StringRef stage, uint64_t done, uint64_t total)>
      progress;
};

/// Applies a recipe to a raised model. A model that it does not fit is an
/// error.
llvm::Error applyRecipe(mlir::ModuleOp model, const Recipe &recipe,
                        const RecipeActions &actions);

} // namespace effc

#endif // EFFC_PIPELINES_RECIPE_H
