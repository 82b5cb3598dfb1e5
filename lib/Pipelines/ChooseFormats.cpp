//===- ChooseFormats.cpp - the step choose-precision ----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "ChooseFormats.h"

#include "effc/Calibrate/ChoosePrecision.h"
#include "effc/Dialect/Eff/Eff.h"
#include "effc/Dialect/Eff/Transforms/Precision.h"
#include "effc/Support/Error.h"

#include "mlir/IR/Remarks.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"

using namespace effc;
using namespace mlir;

static constexpr llvm::StringLiteral kCategory = "choose-precision";

static llvm::Error writeFormats(const FormatMap &formats,
                                const std::string &file) {
  llvm::json::Object object;
  for (const auto &[weight, format] : formats)
    object[weight] = format;
  std::error_code code;
  llvm::raw_fd_ostream os(file, code);
  if (!code)
    os << llvm::formatv("{0:2}", llvm::json::Value(std::move(object))) << "\n";
  os.flush();
  if (code || os.has_error()) {
    std::string why = (code ? code : os.error()).message();
    os.clear_error();
    return makeError(ErrorCode::CannotWrite, "formats cannot be kept", file,
                     why);
  }
  return llvm::Error::success();
}

namespace {
/// The options of the step.
struct Settings {
  ChoosePrecisionOptions search;
  int64_t samples = 8;
};
} // namespace

static llvm::Expected<Settings> readSettings(const RecipeStep &step,
                                             bool activations) {
  Settings settings;
  bool hasBudget = false;
  auto bad = [](const llvm::Twine &why) {
    return makeError(ErrorCode::BadRecipe,
                     "the step choose-precision cannot be read", {}, why,
                     "write one of bits=N, bytes=N, time=N, and perhaps "
                     "formats=w4a8,w8a8 samples=N prompt=N");
  };
  for (const auto &[name, value] : step.options) {
    std::string text = name + "=" + value;
    if (name == "formats") {
      for (llvm::StringRef word : llvm::split(value, ','))
        settings.search.formats.push_back(word.str());
    } else if (name == "samples" || name == "prompt") {
      int64_t number = 0;
      if (llvm::StringRef(value).getAsInteger(10, number) ||
          number < (name == "samples" ? 1 : 0) || number > 1 << 20)
        return bad("it does not take '" + text + "'");
      (name == "samples" ? settings.samples : settings.search.promptTokens) =
          number;
    } else if (auto budget = PrecisionBudget::parse(text);
               budget && !hasBudget) {
      settings.search.budget = *budget;
      hasBudget = true;
    } else {
      return bad("it does not take '" + text + "'");
    }
  }
  if (!hasBudget)
    return bad("it has no budget");
  if (settings.search.formats.empty())
    settings.search.formats =
        activations ? std::vector<std::string>{"w4a8", "w4a16", "w8a8"}
                    : std::vector<std::string>{"w4a16", "w8a16"};
  return settings;
}

/// "w4a8 0.0021, w8a8 0.0003": what the formats of one linear cost.
static std::string listTrials(llvm::ArrayRef<PrecisionTrial> trials) {
  std::string text;
  llvm::raw_string_ostream os(text);
  llvm::ListSeparator comma;
  for (const PrecisionTrial &trial : trials)
    os << comma << trial.format << ' '
       << llvm::format("%.2g", trial.divergence);
  return text;
}

static void report(ModuleOp model, const PrecisionChoice &choice,
                   const PrecisionBudget &budget) {
  llvm::ArrayRef<PrecisionTrial> rest = choice.trials;
  for (const auto &layer : choice.layers) {
    const auto &[weight, format] = layer;
    // Trials of one matrix stand together.
    auto trials = rest.take_while([&](const PrecisionTrial &trial) {
      return trial.weight == layer.first;
    });
    rest = rest.drop_front(trials.size());
    for (const PrecisionTrial &trial : trials) {
      remark::analysis(model.getLoc(), remark::RemarkOpts::name("FormatTried")
                                           .category(kCategory)
                                           .function(weight))
          << remark::add("{0}", weight)
          << remark::metric("Format", trial.format)
          << remark::metric("Bytes", trial.bytes)
          << remark::metric("Divergence", trial.divergence);
    }
    remark::passed(model.getLoc(), remark::RemarkOpts::name("FormatChosen")
                                       .category(kCategory)
                                       .function(weight))
        << remark::add("{0}", weight) << remark::metric("Format", format)
        << remark::reason("divergence {0}; {1} in all", listTrials(trials),
                          budget.str());
  }
  remark::passed(model.getLoc(), remark::RemarkOpts::name("FormatsChosen")
                                     .category(kCategory)
                                     .function("all"))
      << remark::metric("Budget", budget.str())
      << remark::metric("Spent", choice.spent.str())
      << remark::metric("Estimated", choice.estimated)
      << remark::metric("Measured", choice.measured);
}

llvm::Error effc::chooseFormats(ModuleOp model, const RecipeStep &step,
                                const QuantiseSteps &rest,
                                CalibrateOptions samples,
                                const std::string &file,
                                std::vector<Decision> &decisions) {
  llvm::Expected<Settings> settings = readSettings(step, rest.activations);
  if (!settings)
    return settings.takeError();
  settings->search.progress = samples.progress;
  samples.sampleCount = std::min(samples.sampleCount, settings->samples);
  // The search tells how far it is; the trials do not.
  samples.progress = nullptr;
  auto *dialect = model.getContext()->getLoadedDialect<eff::EffDialect>();
  auto progress = std::exchange(dialect->progress, nullptr);
  size_t before = decisions.size();
  llvm::Expected<PrecisionChoice> choice =
      [&]() -> llvm::Expected<PrecisionChoice> {
    llvm::Expected<OutputDivergence> divergence =
        OutputDivergence::create(model, samples);
    if (!divergence)
      return divergence.takeError();
    return choosePrecision(
        model, settings->search,
        [&](ModuleOp copy, const FormatMap &formats, FormatUse use) {
          if (llvm::Error error = writeFormats(formats, file))
            return error;
          return rest.apply(copy, file, use == FormatUse::Trial);
        },
        [&](ModuleOp copy) { return divergence->measure(copy); });
  }();
  decisions.resize(before);
  dialect->progress = std::move(progress);
  if (!choice)
    return choice.takeError();
  report(model, *choice, settings->search.budget);
  return writeFormats(choice->layers, file);
}

llvm::Error effc::recordPrecision(ModuleOp model, llvm::StringRef file) {
  llvm::Expected<eff::Precision> precision = eff::Precision::load(file);
  if (!precision)
    return precision.takeError();
  Builder builder(model.getContext());
  llvm::SmallVector<NamedAttribute> formats;
  for (eff::LayerWeight &weight : eff::listLayerWeights(model))
    if (auto format = precision->find(weight.op.getSymName()))
      formats.push_back(builder.getNamedAttr(
          weight.op.getSymName(), builder.getStringAttr(format->str())));
  if (!formats.empty())
    model->setAttr(kPrecisionAttr, builder.getDictionaryAttr(formats));
  return llvm::Error::success();
}
