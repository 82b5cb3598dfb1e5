//===- Compress.cpp - the recipe of a compilation -------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Pipelines/Compress.h"

#include "ChooseFormats.h"
#include "TemporaryDirectory.h"
#include "effc/Calibrate/Calibrate.h"
#include "effc/Calibrate/ChoosePrecision.h"
#include "effc/Calibrate/CorrectLayers.h"
#include "effc/Dialect/Eff/Transforms/Passes.h"
#include "effc/Dialect/Eff/WeightValues.h"
#include "effc/Pipelines/Lower.h"
#include "effc/Pipelines/Recipe.h"
#include "effc/Support/Error.h"

#include "mlir/IR/Remarks.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/StringExtras.h"

using namespace effc;
using namespace mlir;

namespace {
/// The calibrations of one compilation.
class Calibrator {
public:
  Calibrator(const CompileOptions &options, llvm::StringRef tokenizer,
             const CompileObserver &observer, TemporaryDirectory &directory)
      : options(options), tokenizer(tokenizer), observer(observer),
        directory(directory) {}

  llvm::Expected<std::string> run(ModuleOp model, const RecipeStep &step);
  /// The samples of the compilation.
  CalibrateOptions getSamples() const;

private:
  llvm::Expected<CalibrateOptions> getSettings(const RecipeStep &step);

  const CompileOptions &options;
  llvm::StringRef tokenizer;
  const CompileObserver &observer;
  TemporaryDirectory &directory;
  unsigned count = 0;
};
} // namespace

CalibrateOptions Calibrator::getSamples() const {
  CalibrateOptions settings;
  settings.samples = options.calibration.samples;
  settings.sampleCount = options.calibration.count;
  settings.sampleTokens = options.calibration.tokens;
  settings.tokenizer = tokenizer.str();
  settings.threads = options.jobs;
  settings.progress = observer.progress;
  settings.warning = observer.warning;
  return settings;
}

/// The options of the step `calibrate`: `hessian`, `states`,
/// `percentile=ALPHA`, and any of --observe.
llvm::Expected<CalibrateOptions>
Calibrator::getSettings(const RecipeStep &step) {
  CalibrateOptions settings = getSamples();
  std::vector<std::string> requests;
  for (const auto &[name, value] : step.options) {
    if (name == "hessian") {
      requests.push_back("linear:*:in=hessian");
    } else if (name == "states") {
      requests.push_back("state:*=channel-abs-max");
    } else if (name == "percentile") {
      for (const char *input : {"ssm:*:u", "ssd:*:x"})
        requests.push_back(std::string(input) +
                           "=running-percentile:alpha=" + value);
    } else {
      return makeError(ErrorCode::BadRecipe,
                       "the step calibrate does not take '" + name + "'", {},
                       {}, "it takes hessian, states and percentile=ALPHA");
    }
  }
  for (const std::string &text : requests) {
    llvm::Expected<ObserveRequest> request = parseObserveRequest(text);
    if (!request)
      return request.takeError();
    request->optional = true;
    settings.observe.push_back(std::move(*request));
  }
  return settings;
}

llvm::Expected<std::string> Calibrator::run(ModuleOp model,
                                            const RecipeStep &step) {
  // A recipe may calibrate more than once: after the first, names get a number.
  std::string suffix = count ? "." + std::to_string(count) : "";
  ++count;
  if (!options.calibration.load.empty()) {
    std::string path = options.calibration.load + suffix;
    auto loaded = loadCalibration(path, model);
    return loaded ? llvm::Expected<std::string>(path) : loaded.takeError();
  }
  llvm::Expected<CalibrateOptions> settings = getSettings(step);
  if (!settings)
    return settings.takeError();
  auto calibration = calibrate(model, *settings);
  if (!calibration)
    return calibration.takeError();
  auto path = options.calibration.save.empty()
                  ? directory.getFile("calibration" + suffix)
                  : options.calibration.save + suffix;
  if (!path)
    return path.takeError();
  if (llvm::Error error = saveCalibration(*calibration, *path))
    return std::move(error);
  return *path;
}

/// The recipe that the options name or stand for.
static llvm::Expected<Recipe> getRecipe(const CompileOptions &options) {
  auto recipe = options.recipe.empty()
                    ? parseRecipe("quantize format=" + options.quant +
                                      " group=" + std::to_string(options.group),
                                  "--quant")
                    : findRecipe(options.recipe);
  if (recipe && PrecisionBudget::parse(options.precision))
    if (llvm::Error error = recipe->choosePrecision(options.precision))
      return std::move(error);
  return recipe;
}

/// Whether the formats of layers stand in a file.
static bool hasPrecisionFile(const CompileOptions &options) {
  return !options.precision.empty() &&
         !PrecisionBudget::parse(options.precision);
}

llvm::Error effc::checkRecipe(const CompileOptions &options) {
  auto recipe = getRecipe(options);
  if (!recipe)
    return recipe.takeError();
  if (!options.calibration.samples.empty())
    return llvm::Error::success();
  bool hasKept = !options.calibration.load.empty();
  if (recipe->needsSamples() && !hasPrecisionFile(options))
    return makeError(
        ErrorCode::NeedsCalibration,
        "the recipe '" + recipe->name + "' needs samples", {},
        "it chooses by what the model makes of them",
        "give --calib FILE: a text of some 50,000 words of the kind that the "
        "model will read, or an .npz of images");
  if (!recipe->needsCalibration() || hasKept)
    return llvm::Error::success();
  return makeError(
      ErrorCode::NeedsCalibration,
      "the recipe '" + recipe->name + "' needs samples", {},
      "it chooses scales by what the model computes",
      "give --calib FILE: a text of some 50,000 words of the kind that the "
      "model will read, or an .npz of images");
}

namespace {
/// Enough for a mean over many pixels.
constexpr int64_t kProxyImages = 8;

/// `collapse-channels [budget=LOSS] [correct] [filter=SIZE] [samples=N]`: finds
/// the layers within the budget and what makes up for them, on the samples.
class LayerChooser {
public:
  LayerChooser(const CompileOptions &options, const CompileObserver &observer)
      : options(options), observer(observer) {}

  llvm::Expected<RecipeStep> choose(ModuleOp model, const RecipeStep &step);
  llvm::Error correct(ModuleOp model);

private:
  llvm::Expected<ChooseLayersOptions> getSettings(const RecipeStep &step);
  llvm::Error report(ModuleOp model, const ChooseLayersOptions &search,
                     const LayerChoice &choice);

  const CompileOptions &options;
  const CompileObserver &observer;
  std::vector<LayerCorrection> corrections;
};
} // namespace

llvm::Expected<ChooseLayersOptions>
LayerChooser::getSettings(const RecipeStep &step) {
  ChooseLayersOptions search;
  search.samples = options.calibration.samples;
  search.threads = options.jobs;
  search.progress = observer.progress;
  search.variant = step.get("variant").value_or("post").str();
  search.literal = step.get("literal").value_or("false") == "true";
  search.correct = step.get("correct").value_or("false") == "true";
  llvm::StringRef budget = step.get("budget").value_or("0"),
                  samples = step.get("samples").value_or("0"),
                  filter = step.get("filter").value_or("0");
  bool isFilter =
      !filter.getAsInteger(10, search.filter) &&
      (search.filter == 0 ||
       (search.filter > 0 && search.filter % 2 && search.filter <= 7));
  if (budget.getAsDouble(search.budget) || !(search.budget >= 0) ||
      samples.getAsInteger(10, search.sampleCount) || search.sampleCount < 0 ||
      !isFilter)
    return makeError(ErrorCode::BadRecipe,
                     "the step collapse-channels does not take budget=" +
                         budget + " samples=" + samples + " filter=" + filter,
                     {}, {},
                     "budget is a loss of at least 0 (0.01: one point of "
                     "accuracy), samples a number of images, 0 for all, filter "
                     "1, 3, 5 or 7, or 0 for none");
  if (search.samples.empty())
    return makeError(ErrorCode::NeedsCalibration,
                     "the recipe '" + options.recipe + "' needs samples", {},
                     "it chooses layers by the accuracy without their scans",
                     "give --calib FILE.npz: images [n, h, w, c] uint8, and "
                     "labels [n] if there are any");
  return search;
}

/// Says what each layer and each set of layers lost, and whether the cheap
/// proxy would have put the layers into the same order.
llvm::Error LayerChooser::report(ModuleOp model,
                                 const ChooseLayersOptions &search,
                                 const LayerChoice &choice) {
  auto begin = [&](llvm::StringRef name, llvm::StringRef layer) {
    return remark::analysis(model.getLoc(),
                            remark::RemarkOpts::name(name)
                                .category("eff-collapse-channels")
                                .function(layer));
  };
  ChooseLayersOptions few = search;
  few.sampleCount = kProxyImages;
  auto uniformity = measureLayerUniformity(model, few);
  if (!uniformity)
    return uniformity.takeError();
  std::vector<double> losses, decays, inputs;
  for (const CollapseTrial &trial : choice.single)
    for (const LayerUniformity &layer : *uniformity) {
      if (layer.layer != trial.layers.front())
        continue;
      losses.push_back(trial.loss);
      decays.push_back(layer.decay);
      inputs.push_back(layer.input);
      begin("LayerAlone", layer.layer)
          << remark::add("{0}", layer.layer)
          << remark::metric("Loss", trial.loss)
          << remark::metric("DecayDeviation", layer.decay)
          << remark::metric("InputDeviation", layer.input);
    }
  if (losses.size() > 1)
    begin("ProxyRanked", choice.single.front().layers.front())
        << remark::add("{0}", "deviations from the mean channel")
        << remark::metric("SpearmanDecay", rankCorrelation(decays, losses))
        << remark::metric("SpearmanInput", rankCorrelation(inputs, losses));
  llvm::StringRef measure = choice.labelled ? "accuracy" : "divergence";
  for (const CollapseTrial &trial : choice.joint)
    begin("LayersTried", trial.layers.back())
        << remark::add("{0}", llvm::join(trial.layers, ","))
        << remark::metric("Measure", measure)
        << remark::metric("Loss", trial.loss)
        << remark::metric("StandardError", trial.error)
        << remark::metric("Budget", search.budget);
  return llvm::Error::success();
}

llvm::Expected<RecipeStep> LayerChooser::choose(ModuleOp model,
                                                const RecipeStep &step) {
  auto search = getSettings(step);
  if (!search)
    return search.takeError();
  RecipeStep chosen{step.name, {}, step.line};
  for (const auto &[name, value] : step.options)
    if (name != "budget" && name != "samples" && name != "correct" &&
        name != "filter")
      chosen.options.emplace_back(name, value);
  if (!step.has("budget")) {
    llvm::SmallVector<llvm::StringRef> names;
    step.get("layers").value_or("").split(names, ',', -1, /*KeepEmpty=*/false);
    std::vector<std::string> layers(names.begin(), names.end());
    if (!search->isCorrecting() || layers.empty())
      return chosen;
    auto found = correctCollapsedLayers(model, layers, *search);
    if (!found)
      return found.takeError();
    corrections = std::move(*found);
    return chosen;
  }
  llvm::Expected<LayerChoice> choice = chooseCollapsedLayers(model, *search);
  if (!choice)
    return choice.takeError();
  if (llvm::Error error = report(model, *search, *choice))
    return std::move(error);
  corrections = std::move(choice->corrections);
  if (!choice->layers.empty())
    chosen.options.emplace_back("layers", llvm::join(choice->layers, ","));
  else if (observer.warning)
    observer.warning("no layer's scan can be collapsed within a loss of " +
                     step.get("budget")->str());
  return chosen;
}

/// Gives weights that the file holds as integers their values in f32; linears
/// that read integers keep theirs.
static llvm::Error freeIntegers(ModuleOp model) {
  llvm::DenseMap<Attribute, bool> readsCodes;
  model.walk([&](eff::LinearOp linear) {
    if (auto use = linear.getWeight().getDefiningOp<eff::UseOp>())
      readsCodes[use.getSymbolAttr()] |= bool(linear.getScale());
  });
  auto f32 = TypeAttr::get(Float32Type::get(model.getContext()));
  for (auto op : model.getOps<eff::WeightOp>()) {
    auto name = FlatSymbolRefAttr::get(op.getSymNameAttr());
    if (!op.getPinned() || readsCodes.lookup(name))
      continue;
    auto values = eff::WeightValues::read(op);
    if (!values)
      return values.takeError();
    eff::WeightType type = op.getType().withFormat(f32);
    eff::WeightValues::replace(op, std::move(*values));
    op.setType(type);
    model.walk([&](eff::UseOp use) {
      if (use.getSymbolAttr() == name)
        use.getResult().setType(type);
    });
  }
  return llvm::Error::success();
}

llvm::Error LayerChooser::correct(ModuleOp model) {
  for (const LayerCorrection &found : corrections) {
    auto begin = [&](llvm::StringRef name) {
      return remark::passed(model.getLoc(),
                            remark::RemarkOpts::name(name)
                                .category("eff-collapse-channels")
                                .function(found.layer));
    };
    if (!found.filters.empty())
      begin("ScanFiltered") << remark::add("{0}", found.layer)
                            << remark::metric("Kernel", found.kernel)
                            << remark::metric("Error", found.filterError);
    else
      begin("LinearFitted") << remark::add("{0}", found.weight)
                            << remark::metric("ErrorBefore", found.errorBefore)
                            << remark::metric("ErrorAfter", found.errorAfter);
  }
  llvm::Error error = applyCorrections(model, corrections);
  corrections.clear();
  return error;
}

llvm::Error effc::compressModel(ModuleOp model, const CompileOptions &options,
                                llvm::StringRef tokenizer,
                                const CompileObserver &observer,
                                std::vector<Decision> &decisions) {
  PassManager pm(model.getContext());
  pm.addNestedPass<func::FuncOp>(eff::createEffFuseDtPass());
  if (llvm::Error error =
          runPasses(pm, model, "simplifying the model", observer.warning))
    return error;
  if (options.requantize)
    if (llvm::Error error = freeIntegers(model))
      return error;
  auto recipe = getRecipe(options);
  if (!recipe)
    return recipe.takeError();
  auto *dialect = model.getContext()->getLoadedDialect<eff::EffDialect>();
  dialect->progress = observer.progress;
  TemporaryDirectory directory;
  Calibrator calibrator(options, tokenizer, observer, directory);
  LayerChooser chooser(options, observer);
  std::string precision;
  RecipeActions actions;
  actions.calibrate = [&](ModuleOp module, const RecipeStep &step) {
    size_t before = decisions.size();
    auto result = calibrator.run(module, step);
    decisions.resize(before);
    return result;
  };
  actions.chooseLayers = [&](ModuleOp module, const RecipeStep &step) {
    return chooser.choose(module, step);
  };
  actions.correctLayers = [&](ModuleOp module) {
    return chooser.correct(module);
  };
  actions.warn = observer.warning;
  actions.progress = observer.progress;
  actions.isQuantFlag = options.recipe.empty();
  actions.choosePrecision =
      [&](ModuleOp module, const RecipeStep &step,
          const QuantiseSteps &rest) -> llvm::Expected<std::string> {
    auto file = directory.getFile("precision.json");
    if (!file)
      return file.takeError();
    if (llvm::Error error = chooseFormats(
            module, step, rest, calibrator.getSamples(), *file, decisions))
      return std::move(error);
    precision = *file;
    return precision;
  };
  if (hasPrecisionFile(options)) {
    precision = options.precision;
    actions.settings.emplace_back("precision", precision);
  }
  llvm::Error error = applyRecipe(model, *recipe, actions);
  dialect->progress = nullptr;
  if (error || precision.empty())
    return error;
  return recordPrecision(model, precision);
}
