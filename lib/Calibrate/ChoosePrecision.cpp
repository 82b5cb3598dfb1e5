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

/// A matrix as the search sees it, and for each of its formats what it costs.
struct Layer {
  eff::LayerWeight weight;
  std::string name;
  int64_t elements = 0;
  std::vector<std::string> formats;
  std::vector<int64_t> bytes, time;
};

class Search {
public:
  Search(ModuleOp model, const ChoosePrecisionOptions &options,
         const ApplyFormats &apply, const MeasureDivergence &measure)
      : model(model), options(options), apply(apply), measure(measure) {}

  llvm::Expected<PrecisionChoice> run();

private:
  llvm::Error listLayers();
  llvm::Error readSizes(llvm::StringRef format);
  llvm::Error checkBudget();
  llvm::Expected<double> attempt(const FormatMap &formats);
  int64_t costOf(const Layer &layer, size_t format) const;
  /// The budget in units of costOf, and back.
  int64_t toCost(const PrecisionBudget &budget) const;
  PrecisionBudget toBudget(int64_t cost, bool up) const;
  void tell(uint64_t done) const {
    if (options.progress)
      options.progress("choosing formats", done, trialCount + 1);
  }

  ModuleOp model;
  const ChoosePrecisionOptions &options;
  const ApplyFormats &apply;
  const MeasureDivergence &measure;
  std::vector<Layer> layers;
  int64_t elements = 0;
  int64_t otherBytes = 0; ///< of weights that are not chosen for
  int64_t leastCost = 0;
  size_t trialCount = 0;
};

} // namespace

llvm::Error Search::listLayers() {
  for (eff::LayerWeight &weight : eff::listLayerWeights(model)) {
    int64_t count = weight.op.getType().getNumElements();
    layers.push_back({weight, weight.op.getSymName().str(), count, {}, {}, {}});
    elements += count;
  }
  if (llvm::any_of(layers, [](const Layer &l) { return !l.weight.isTable; }))
    return llvm::Error::success();
  return makeError(ErrorCode::RecipeDoesNotFit,
                   "there are no layers to choose formats for", {},
                   "no matrix is read by linears alone",
                   "effc compile --stop-after=eff shows what was recognised");
}

/// What each matrix costs when all have one format; tables have its bits with
/// float activations.
llvm::Error Search::readSizes(llvm::StringRef format) {
  std::optional<eff::LayerFormat> parsed = eff::LayerFormat::parse(format);
  if (!parsed)
    return makeError(ErrorCode::BadRecipe, "'" + format + "' is no format", {},
                     {}, "formats are w4a8, w4a16, w8a8, w8a16 and w16a16");
  std::string ofTables = eff::LayerFormat{parsed->weightBits, 16}.str();
  OwningOpRef<ModuleOp> copy = model.clone();
  FormatMap all;
  for (const Layer &layer : layers)
    all.emplace_back(layer.name,
                     layer.weight.isTable ? ofTables : format.str());
  if (llvm::Error error = apply(*copy, all, FormatUse::Sizes))
    return error;
  llvm::StringMap<eff::WeightOp> byName;
  int64_t total = 0;
  for (auto weight : copy->getOps<eff::WeightOp>()) {
    byName[weight.getSymName()] = weight;
    total += weight.getType().getPackedBytes();
  }
  for (auto [layer, entry] : llvm::zip(layers, all)) {
    auto found = byName.find(layer.name);
    if (found == byName.end())
      return makeError(ErrorCode::BadRecipe,
                       "the steps behind choose-precision rewrite a weight",
                       layer.name);
    eff::WeightType type = found->second.getType();
    if (!type.getFloatFormat() != (parsed->weightBits < 16))
      return makeError(ErrorCode::BadRecipe,
                       "the step quantize does not give layers formats", {},
                       layer.name + " stays as it is with " + entry.second,
                       "write quantize format=w4a8 or another integer format");
    int64_t bytes = type.getPackedBytes();
    total -= bytes;
    if (llvm::is_contained(layer.formats, entry.second))
      continue;
    // Tables of embeddings are looked up, heads see chosen tokens alone.
    int64_t multiplied = layer.weight.isTable ? 0 : layer.elements;
    bool isInt8 = !layer.weight.isTable && parsed->activationBits == 8;
    layer.formats.push_back(entry.second);
    layer.bytes.push_back(bytes);
    layer.time.push_back((layer.weight.isLinear ? kInt8PerByte * bytes : 0) +
                         options.promptTokens * multiplied *
                             (isInt8 ? 1 : kInt8PerFloat));
    ++trialCount;
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
    for (size_t f = 0; f < layer.formats.size(); ++f)
      least = std::min(least, costOf(layer, f));
    leastCost += least;
  }
  if (toCost(options.budget) >= leastCost)
    return llvm::Error::success();
  return makeError(
      ErrorCode::BudgetTooSmall,
      "no formats of layers are within " + options.budget.str(), {},
      "the cheapest of them need " + toBudget(leastCost, /*up=*/true).str(),
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
  for (const std::string &format : options.formats)
    if (llvm::Error error = readSizes(format))
      return std::move(error);
  if (llvm::Error error = checkBudget())
    return std::move(error);

  PrecisionChoice choice;
  std::vector<std::vector<compress::AllocationOption>> items;
  for (size_t l = 0; l < layers.size(); ++l) {
    items.emplace_back();
    for (size_t f = 0; f < layers[l].formats.size(); ++f) {
      tell(choice.trials.size());
      FormatMap formats;
      for (size_t other = 0; other < layers.size(); ++other)
        formats.emplace_back(layers[other].name,
                             other == l ? layers[l].formats[f] : "w16a16");
      llvm::Expected<double> divergence = attempt(formats);
      if (!divergence)
        return divergence.takeError();
      choice.trials.push_back({layers[l].name, layers[l].formats[f],
                               layers[l].bytes[f], *divergence});
      items[l].push_back({*divergence, costOf(layers[l], f)});
    }
  }
  auto found = compress::allocate(items, toCost(options.budget));
  if (!found)
    return toError(found.error());
  for (size_t l = 0; l < layers.size(); ++l)
    choice.layers.emplace_back(layers[l].name,
                               layers[l].formats[found->chosen[l]]);
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
