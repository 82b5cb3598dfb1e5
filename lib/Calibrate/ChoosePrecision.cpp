//===- ChoosePrecision.cpp - formats of layers within a budget ------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Calibrate/ChoosePrecision.h"

#include "effc/Compress/Allocate.h"
#include "effc/Dialect/Eff/Transforms/Precision.h"
#include "effc/Support/Error.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Format.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace effc;

/// Multiplications of int8 in the time that a byte takes from memory, and how
/// many of them one of floats is worth: `effc-kernel-bench` measures 27 and 4
/// with VNNI (36 GB/s, 992 and 248 G multiplications/s on two cores).
static constexpr int64_t kInt8PerByte = 28, kInt8PerFloat = 4;

std::optional<PrecisionBudget> PrecisionBudget::parse(llvm::StringRef text) {
  auto [name, number] = text.split('=');
  for (int kind : {Bits, Bytes, Time}) {
    PrecisionBudget budget{Kind(kind), 0};
    if (name == kNames[kind] && !number.getAsDouble(budget.value) &&
        std::isfinite(budget.value) && budget.value > 0)
      return budget;
  }
  return std::nullopt;
}

std::string PrecisionBudget::str() const {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << kNames[kind] << '=';
  if (kind == Bytes)
    os << int64_t(value);
  else
    os << llvm::format("%.4g", value);
  return text;
}

namespace {

/// A linear as the search sees it.
struct Layer {
  std::string name;
  int64_t elements = 0;
  std::vector<int64_t> bytes, time; ///< for each format
};

class Search {
public:
  Search(ModuleOp model, const ChoosePrecisionOptions &options,
         const ApplyFormats &apply, const MeasureDivergence &measure)
      : model(model), options(options), apply(apply), measure(measure) {}

  llvm::Expected<PrecisionChoice> run();

private:
  llvm::Error listLayers();
  llvm::Error readSizes(size_t format);
  llvm::Error checkBudget();
  llvm::Expected<double> attempt(const FormatMap &formats);
  int64_t costOf(const Layer &layer, size_t format) const;
  /// The budget in units of costOf, and back.
  int64_t toCost(const PrecisionBudget &budget) const;
  PrecisionBudget toBudget(int64_t cost, bool up) const;
  void tell(uint64_t done) const {
    if (options.progress)
      options.progress("choosing formats", done,
                       layers.size() * options.formats.size() + 1);
  }

  ModuleOp model;
  const ChoosePrecisionOptions &options;
  const ApplyFormats &apply;
  const MeasureDivergence &measure;
  std::vector<Layer> layers;
  int64_t elements = 0;
  int64_t otherBytes = 0; ///< of weights that are not chosen for
  int64_t leastCost = 0;
};

} // namespace

llvm::Error Search::listLayers() {
  for (eff::WeightOp weight : eff::listLayerWeights(model)) {
    Layer layer{weight.getSymName().str(), weight.getType().getNumElements(),
                {},
                {}};
    elements += layer.elements;
    layers.push_back(std::move(layer));
  }
  if (layers.empty())
    return makeError(ErrorCode::RecipeDoesNotFit,
                     "there are no layers to choose formats for", {},
                     "no matrix is read by linears alone",
                     "effc compile --stop-after=eff shows what was recognised");
  return llvm::Error::success();
}

/// The bytes of each linear when all have one format.
llvm::Error Search::readSizes(size_t format) {
  const std::string &word = options.formats[format];
  std::optional<eff::LayerFormat> parsed = eff::LayerFormat::parse(word);
  if (!parsed)
    return makeError(ErrorCode::BadRecipe, "'" + word + "' is no format", {}, {},
                     "formats are w4a8, w4a16, w8a8, w8a16 and w16a16");
  OwningOpRef<ModuleOp> copy = model.clone();
  FormatMap all;
  for (const Layer &layer : layers)
    all.emplace_back(layer.name, word);
  if (llvm::Error error = apply(*copy, all, FormatUse::Sizes))
    return error;
  llvm::StringMap<eff::WeightOp> byName;
  int64_t total = 0;
  for (auto weight : copy->getOps<eff::WeightOp>()) {
    byName[weight.getSymName()] = weight;
    total += weight.getType().getPackedBytes();
  }
  for (Layer &layer : layers) {
    auto found = byName.find(layer.name);
    if (found == byName.end())
      return makeError(ErrorCode::BadRecipe,
                       "the steps behind choose-precision rewrite a weight",
                       layer.name);
    eff::WeightType type = found->second.getType();
    bool isInteger = !type.getFloatFormat();
    if (isInteger != (parsed->weightBits < 16))
      return makeError(ErrorCode::BadRecipe,
                       "the step quantize does not give layers formats", {},
                       layer.name + " stays as it is with " + word,
                       "write quantize format=w4a8 or another integer format");
    layer.bytes.push_back(type.getPackedBytes());
    layer.time.push_back(kInt8PerByte * type.getPackedBytes() +
                         options.promptTokens * layer.elements *
                             (parsed->activationBits == 8 ? 1 : kInt8PerFloat));
    total -= type.getPackedBytes();
  }
  otherBytes = total;
  return llvm::Error::success();
}

int64_t Search::costOf(const Layer &layer, size_t format) const {
  return options.budget.kind == PrecisionBudget::Time ? layer.time[format]
                                                      : layer.bytes[format];
}

int64_t Search::toCost(const PrecisionBudget &budget) const {
  double cost = budget.kind == PrecisionBudget::Bits
                    ? budget.value * double(elements) / 8
                : budget.kind == PrecisionBudget::Bytes
                    ? budget.value - double(otherBytes)
                    // What is printed as 1 must buy the fastest formats.
                    : budget.value * (1 + 1e-9) * double(leastCost);
  return int64_t(std::clamp(std::floor(cost), -1.0, 0x1p62));
}

/// `up`: to four digits, so that giving it back buys the same.
PrecisionBudget Search::toBudget(int64_t cost, bool up) const {
  PrecisionBudget budget{options.budget.kind, 0};
  budget.value = budget.kind == PrecisionBudget::Bits
                     ? double(cost) * 8 / double(elements)
                 : budget.kind == PrecisionBudget::Bytes
                     ? double(cost) + double(otherBytes)
                     : double(cost) / double(leastCost);
  if (up && budget.kind != PrecisionBudget::Bytes)
    budget.value = std::ceil(budget.value * 1000) / 1000;
  return budget;
}

llvm::Error Search::checkBudget() {
  leastCost = 0;
  for (const Layer &layer : layers) {
    int64_t least = std::numeric_limits<int64_t>::max();
    for (size_t f = 0; f < options.formats.size(); ++f)
      least = std::min(least, costOf(layer, f));
    leastCost += least;
  }
  if (toCost(options.budget) >= leastCost)
    return llvm::Error::success();
  return makeError(ErrorCode::BudgetTooSmall,
                   "no formats of layers are within " + options.budget.str(),
                   {},
                   "the cheapest of them need " +
                       toBudget(leastCost, /*up=*/true).str(),
                   "give a larger budget, or cheaper formats");
}

llvm::Expected<double> Search::attempt(const FormatMap &formats) {
  // The float model itself.
  if (llvm::all_of(formats, [](const auto &entry) {
        return eff::LayerFormat::parse(entry.second)->weightBits == 16;
      }))
    return 0.0;
  OwningOpRef<ModuleOp> copy = model.clone();
  if (llvm::Error error = apply(*copy, formats, FormatUse::Trial))
    return std::move(error);
  return measure(*copy);
}

llvm::Expected<PrecisionChoice> Search::run() {
  if (options.formats.empty() || options.promptTokens < 0)
    return makeError(ErrorCode::BadRecipe,
                     "the step choose-precision needs formats, and tokens of "
                     "prompts that are not negative");
  if (llvm::Error error = listLayers())
    return std::move(error);
  for (size_t f = 0; f < options.formats.size(); ++f)
    if (llvm::Error error = readSizes(f))
      return std::move(error);
  if (llvm::Error error = checkBudget())
    return std::move(error);

  PrecisionChoice choice;
  std::vector<std::vector<compress::AllocationOption>> items;
  for (size_t l = 0; l < layers.size(); ++l) {
    items.emplace_back();
    for (size_t f = 0; f < options.formats.size(); ++f) {
      tell(choice.trials.size());
      FormatMap formats;
      for (size_t other = 0; other < layers.size(); ++other)
        formats.emplace_back(layers[other].name,
                             other == l ? options.formats[f] : "w16a16");
      llvm::Expected<double> divergence = attempt(formats);
      if (!divergence)
        return divergence.takeError();
      choice.trials.push_back({layers[l].name, options.formats[f],
                               layers[l].bytes[f], *divergence});
      items[l].push_back({*divergence, costOf(layers[l], f)});
    }
  }
  auto found = compress::allocate(items, toCost(options.budget));
  if (!found)
    return toError(found.error());
  for (size_t l = 0; l < layers.size(); ++l)
    choice.layers.emplace_back(layers[l].name,
                               options.formats[found->chosen[l]]);
  choice.estimated = found->error;
  choice.spent = toBudget(found->cost, /*up=*/false);
  tell(choice.trials.size());
  llvm::Expected<double> together = attempt(choice.layers);
  if (!together)
    return together.takeError();
  choice.measured = *together;
  tell(choice.trials.size() + 1);
  return choice;
}

llvm::Expected<PrecisionChoice>
effc::choosePrecision(ModuleOp model, const ChoosePrecisionOptions &options,
                      const ApplyFormats &apply,
                      const MeasureDivergence &measure) {
  return Search(model, options, apply, measure).run();
}
