//===- Recipe.cpp - compression as a list of steps ------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Pipelines/Recipe.h"

#include "effc/Dialect/Eff/Transforms/Passes.h"
#include "effc/Dialect/Eff/Transforms/Precision.h"
#include "effc/Pipelines/Lower.h"
#include "effc/Support/Error.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace effc;
using namespace mlir;

namespace {
struct KnownRecipe {
  llvm::StringLiteral name, text;
};
constexpr KnownRecipe kRecipes[] = {
#include "RecipeTexts.inc"
};
} // namespace

std::optional<llvm::StringRef> RecipeStep::get(llvm::StringRef option) const {
  for (const auto &[name, value] : options)
    if (name == option)
      return llvm::StringRef(value);
  return std::nullopt;
}

bool RecipeStep::choosesLayers() const {
  return name == "collapse-channels" &&
         (has("budget") || has("correct") || has("filter"));
}

bool Recipe::needsCalibration() const {
  return llvm::any_of(
             steps,
             [](const RecipeStep &step) { return step.name == "calibrate"; }) ||
         needsSamples();
}

bool Recipe::needsSamples() const {
  return llvm::any_of(steps, [](const RecipeStep &step) {
    return step.name == "choose-precision" || step.choosesLayers();
  });
}

llvm::Error Recipe::choosePrecision(llvm::StringRef budget) {
  auto [name, value] = budget.split('=');
  RecipeStep step{"choose-precision", {{name.str(), value.str()}}, 0};
  auto old = llvm::find_if(steps, [](const RecipeStep &other) {
    return other.name == "choose-precision";
  });
  if (old != steps.end()) {
    // What it chooses among stays.
    for (const auto &option : old->options)
      if (option.first != "bits" && option.first != "bytes" &&
          option.first != "time")
        step.options.push_back(option);
    step.line = old->line;
    *old = std::move(step);
    return llvm::Error::success();
  }
  auto at = llvm::find_if(
      steps, [](const RecipeStep &other) { return other.name == "quantize"; });
  if (at == steps.end())
    return makeError(ErrorCode::BadRecipe,
                     "the recipe '" + this->name +
                         "' gives no weights formats to choose from",
                     {}, "it has no step quantize",
                     "leave --precision out, or take another recipe");
  step.line = at->line;
  steps.insert(at, std::move(step));
  return llvm::Error::success();
}

std::vector<llvm::StringRef> effc::listRecipes() {
  std::vector<llvm::StringRef> names;
  for (const KnownRecipe &recipe : kRecipes)
    names.push_back(recipe.name);
  return names;
}

/// Words that are steps but no passes.
static bool isAction(llvm::StringRef name) {
  return name == "require" || name == "calibrate" || name == "choose-precision";
}

static llvm::Error badStep(llvm::StringRef recipe, unsigned line,
                           const llvm::Twine &why, const llvm::Twine &hint) {
  return makeError(ErrorCode::BadRecipe, "a recipe cannot be read",
                   recipe + ":" + llvm::Twine(line), why, hint);
}

llvm::Expected<Recipe> effc::parseRecipe(llvm::StringRef text,
                                         llvm::StringRef name) {
  // Steps are looked up among all passes.
  static const bool registered = (eff::registerEffPasses(), true);
  (void)registered;
  Recipe recipe{name.str(), text.str(), {}};
  unsigned line = 0;
  while (!text.empty()) {
    llvm::StringRef row;
    std::tie(row, text) = text.split('\n');
    ++line;
    llvm::SmallVector<llvm::StringRef> words;
    row.split('#').first.trim().split(words, ' ', -1, /*KeepEmpty=*/false);
    if (words.empty())
      continue;
    RecipeStep step{words.front().str(), {}, line};
    if (!isAction(step.name) && !PassInfo::lookup("eff-" + step.name))
      return badStep(name, line, "there is no step '" + words.front() + "'",
                     "steps are require, calibrate, choose-precision and "
                     "the passes eff-... of docs/reference/passes.md");
    for (llvm::StringRef word : llvm::drop_begin(words)) {
      auto [option, value] = word.split('=');
      bool hasValue = word.contains('=');
      if (option.empty() || (hasValue && value.empty()))
        return badStep(name, line, "'" + word + "' is no option",
                       "options are NAME or NAME=VALUE, without spaces");
      step.options.emplace_back(option.str(), hasValue ? value.str() : "true");
    }
    recipe.steps.push_back(std::move(step));
  }
  if (recipe.steps.empty())
    return badStep(name, line, "it has no steps",
                   "effc compile --print-recipe shows known recipes");
  return recipe;
}

llvm::Expected<Recipe> effc::findRecipe(llvm::StringRef nameOrPath) {
  for (const KnownRecipe &known : kRecipes)
    if (known.name == nameOrPath)
      return parseRecipe(known.text, known.name);
  std::string names = llvm::join(listRecipes(), ", ");
  if (!llvm::sys::fs::exists(nameOrPath))
    return makeError(
        ErrorCode::BadRecipe, "there is no recipe '" + nameOrPath + "'", {},
        "it is neither a known recipe nor a file", "known recipes: " + names);
  auto buffer = llvm::MemoryBuffer::getFile(nameOrPath, /*IsText=*/true);
  if (!buffer)
    return makeError(ErrorCode::BadRecipe, "a recipe cannot be read",
                     nameOrPath, buffer.getError().message(),
                     "known recipes: " + names);
  return parseRecipe((*buffer)->getBuffer(), nameOrPath);
}

//===----------------------------------------------------------------------===//
// Applying a recipe
//===----------------------------------------------------------------------===//

namespace {
class Application {
public:
  Application(ModuleOp model, const Recipe &recipe,
              const RecipeActions &actions)
      : model(model), recipe(recipe), actions(actions) {}
  llvm::Error run();

private:
  llvm::Error checkIsFloat();
  llvm::Error checkHasLinears(const RecipeStep &step);
  llvm::Error require(const RecipeStep &step);
  llvm::Error runPass(ModuleOp module, const RecipeStep &step);
  llvm::Error choosePrecision(size_t index);
  llvm::Error applyFormats(ModuleOp module, size_t first, bool isTrial);

  ModuleOp model;
  const Recipe &recipe;
  const RecipeActions &actions;
  std::string calibration;
  /// Formats of layers that a step has chosen.
  std::string precision;
};
} // namespace

/// Files keep quantised matrices as constants of few bits, which the graph
/// turns into floats: no recipe sees them as weights.
static bool isQuantisedConstant(arith::ConstantOp op) {
  auto type = dyn_cast<RankedTensorType>(op.getType());
  auto element = type ? dyn_cast<IntegerType>(type.getElementType()) : nullptr;
  // One bit is a mask; few elements are shapes, tables and zero points.
  return element && element.getWidth() > 1 && element.getWidth() <= 8 &&
         type.getRank() >= 2 && type.getNumElements() >= 4096;
}

llvm::Error Application::checkIsFloat() {
  auto refuse = [&](const Twine &where) {
    return makeError(ErrorCode::RecipeDoesNotFit,
                     "the recipe '" + recipe.name + "' does not fit the model",
                     where, "the model is quantised already",
                     "compile it without a recipe, start from the float "
                     "model, or free its weights with --requantize");
  };
  for (auto weight : model.getOps<eff::WeightOp>())
    if (!weight.getType().getFloatFormat())
      return refuse(weight.getSymName());
  Operation *found = nullptr;
  model.walk([&](arith::ConstantOp op) {
    found = isQuantisedConstant(op) ? op.getOperation() : nullptr;
    return found ? WalkResult::interrupt() : WalkResult::advance();
  });
  if (!found)
    return llvm::Error::success();
  std::string where;
  found->getLoc()->walk([&](Location loc) {
    if (auto name = dyn_cast<NameLoc>(loc))
      where = name.getName().str();
    return where.empty() ? WalkResult::advance() : WalkResult::interrupt();
  });
  return refuse(where);
}

/// A recipe that rounds matrices needs some.
llvm::Error Application::checkHasLinears(const RecipeStep &step) {
  if (llvm::any_of(eff::listLayerWeights(model),
                   [](eff::LayerWeight &weight) { return !weight.isTable; }))
    return llvm::Error::success();
  return makeError(
      ErrorCode::RecipeDoesNotFit,
      "the recipe '" + recipe.name + "' does not fit the model", {},
      "no linear has a matrix that '" + step.name + "' could round",
      "effc compile --stop-after=eff shows what was recognised");
}

llvm::Error Application::require(const RecipeStep &step) {
  for (const auto &[name, value] : step.options) {
    std::string op = "eff." + name;
    bool has = false;
    model.walk([&](Operation *other) {
      has |= other->getName().getStringRef() == op;
      return has ? WalkResult::interrupt() : WalkResult::advance();
    });
    if (!has)
      return makeError(ErrorCode::RecipeDoesNotFit,
                       "the recipe '" + recipe.name +
                           "' does not fit the model",
                       {}, "the model has no " + op,
                       "effc compile --stop-after=eff shows what was "
                       "recognised; known recipes: " +
                           llvm::join(listRecipes(), ", "));
  }
  return llvm::Error::success();
}

/// Whether a pass has an option.
static bool takes(StringRef pass, StringRef option) {
  const std::pair<StringRef, StringRef> kOptions[] = {
      {"reorder", "calibration"},
      {"quantize", "calibration"},
      {"quantize-activations", "calibration"},
      {"quantize-states", "calibration"},
      {"quantize", "precision"},
      {"quantize-activations", "precision"},
      {"collapse-channels", "layers"},
  };
  return llvm::is_contained(kOptions, std::pair(pass, option));
}

llvm::Error Application::runPass(ModuleOp module, const RecipeStep &step) {
  std::string options;
  // Paths may hold spaces.
  auto add = [&](StringRef name, StringRef value) {
    std::string quote = value.contains(' ') ? "\"" : "";
    options += (options.empty() ? "" : " ") + name.str() + "=" + quote +
               value.str() + quote;
  };
  for (const auto &[name, value] : step.options)
    add(name, value);
  if (!calibration.empty() && takes(step.name, "calibration") &&
      !step.has("calibration"))
    add("calibration", calibration);
  if (!precision.empty() && takes(step.name, "precision") &&
      !step.has("precision"))
    add("precision", precision);
  for (const auto &[name, value] : actions.settings)
    if (takes(step.name, name) && !step.has(name))
      add(name, value);
  PassManager pm(model.getContext(), ModuleOp::getOperationName());
  const PassInfo *info = PassInfo::lookup("eff-" + step.name);
  auto report = [&](const Twine &text) {
    // The message is for the terminal; the error below says what went wrong.
    if (actions.warn)
      actions.warn(text.str());
    return failure();
  };
  OpPassManager &nested = pm;
  if (failed(info->addToPipeline(nested, options, report)))
    return badStep(
        recipe.name, step.line,
        "the step '" + step.name + "' does not take '" + options + "'",
        "docs/reference/passes.md lists the options of eff-" + step.name);
  return runPasses(pm, module, "applying the recipe's step " + step.name,
                   actions.warn);
}

/// The steps behind `first` that give weights and activations formats.
llvm::Error Application::applyFormats(ModuleOp module, size_t first,
                                      bool isTrial) {
  for (const RecipeStep &step : llvm::drop_begin(recipe.steps, first + 1)) {
    if (step.name == "quantize") {
      RecipeStep changed{step.name, {}, step.line};
      for (const auto &[name, value] : step.options)
        if (name != (isTrial ? "tables" : "gptq"))
          changed.options.emplace_back(name, value);
      if (isTrial)
        changed.options.emplace_back("tables", "keep");
      if (llvm::Error error = runPass(module, changed))
        return error;
    } else if (step.name == "quantize-activations" && isTrial) {
      if (llvm::Error error = runPass(module, step))
        return error;
    }
  }
  return llvm::Error::success();
}

llvm::Error Application::choosePrecision(size_t index) {
  const RecipeStep &step = recipe.steps[index];
  bool isGiven = llvm::any_of(actions.settings, [](const auto &setting) {
    return setting.first == "precision";
  });
  if (isGiven)
    return llvm::Error::success();
  QuantiseSteps rest;
  bool quantises = false;
  for (const RecipeStep &other : llvm::drop_begin(recipe.steps, index + 1)) {
    quantises |= other.name == "quantize";
    rest.activations |=
        other.name == "quantize-activations" ||
        (other.name == "quantize" &&
         other.get("format").value_or("").ends_with("-dynamic"));
  }
  if (!quantises)
    return badStep(recipe.name, step.line,
                   "no step quantize follows choose-precision",
                   "write quantize format=w4a8 or the like behind it");
  rest.apply = [&](ModuleOp module, StringRef file, bool isTrial) {
    precision = file.str();
    llvm::Error error = applyFormats(module, index, isTrial);
    precision.clear();
    return error;
  };
  llvm::Expected<std::string> path = actions.choosePrecision(model, step, rest);
  if (!path)
    return path.takeError();
  precision = std::move(*path);
  return llvm::Error::success();
}

llvm::Error Application::run() {
  if (!actions.isQuantFlag)
    if (llvm::Error error = checkIsFloat())
      return error;
  for (auto [index, step] : llvm::enumerate(recipe.steps)) {
    if (actions.progress)
      actions.progress(step.name, index, recipe.steps.size());
    if (step.name == "require") {
      if (llvm::Error error = require(step))
        return error;
    } else if (step.name == "calibrate") {
      llvm::Expected<std::string> path = actions.calibrate(model, step);
      if (!path)
        return path.takeError();
      calibration = std::move(*path);
    } else if (step.choosesLayers()) {
      llvm::Expected<RecipeStep> chosen = actions.chooseLayers(model, step);
      if (!chosen)
        return chosen.takeError();
      if (llvm::Error error = runPass(model, *chosen))
        return error;
      if (llvm::Error error = actions.correctLayers(model))
        return error;
    } else if (step.name == "choose-precision") {
      if (llvm::Error error = choosePrecision(index))
        return error;
    } else {
      if (step.name == "quantize" && !actions.isQuantFlag)
        if (llvm::Error error = checkHasLinears(step))
          return error;
      if (llvm::Error error = runPass(model, step))
        return error;
    }
  }
  return llvm::Error::success();
}

llvm::Error effc::applyRecipe(ModuleOp model, const Recipe &recipe,
                              const RecipeActions &actions) {
  return Application(model, recipe, actions).run();
}
