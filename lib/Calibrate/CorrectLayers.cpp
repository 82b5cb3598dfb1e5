//===- CorrectLayers.cpp - linears that make up for lost scans ------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Calibrate/CorrectLayers.h"

#include "LayerTargets.h"
#include "effc/Calibrate/Calibrate.h"
#include "effc/Compress/FilterFit.h"
#include "effc/Compress/LinearFit.h"
#include "effc/Dialect/Eff/Transforms/Collapse.h"
#include "effc/Dialect/Eff/WeightValues.h"
#include "effc/Support/Error.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/SetVector.h"

#include <thread>

using namespace mlir;
using namespace effc;

/// Of the mean of the squared inputs: enough for inputs that depend on one
/// another, too little to hold the fit back.
static constexpr double kDamping = 1e-3, kFilterDamping = 1e-4;

static eff::UseOp weightOf(eff::LinearOp linear) {
  return linear.getWeight().getDefiningOp<eff::UseOp>();
}

/// The one linear whose input is computed from a value without other linears in
/// between; null when there is none or more than one.
static eff::LinearOp linearBehind(Value value) {
  llvm::SetVector<Operation *> reached(value.user_begin(), value.user_end());
  eff::LinearOp found;
  for (size_t i = 0; i < reached.size(); ++i) {
    if (auto linear = llvm::dyn_cast<eff::LinearOp>(reached[i])) {
      if (found)
        return {};
      found = linear;
      continue;
    }
    for (Value result : reached[i]->getResults())
      reached.insert(result.user_begin(), result.user_end());
  }
  return found;
}

/// The linear of a function that alone reads a weight; null when several do.
static eff::LinearOp findLinear(func::FuncOp func, llvm::StringRef weight) {
  eff::LinearOp found;
  unsigned count = 0;
  func.walk([&](eff::UseOp use) {
    if (use.getSymbol() != weight)
      return;
    for (Operation *user : use->getUsers()) {
      ++count;
      found = llvm::dyn_cast<eff::LinearOp>(user);
    }
  });
  return count == 1 ? found : eff::LinearOp();
}

/// The sum of a linear's result and a residual stream, if nothing else reads
/// the result.
static arith::AddFOp sumBehind(eff::LinearOp linear) {
  if (!linear.getResult().hasOneUse())
    return {};
  return llvm::dyn_cast<arith::AddFOp>(*linear.getResult().user_begin());
}

static func::FuncOp entryOf(ModuleOp module) {
  return *module.getOps<func::FuncOp>().begin();
}

/// The scan of a layer; null when it is none of images.
static eff::SsmScanOp findScan(func::FuncOp func, llvm::StringRef layer) {
  eff::SsmScanOp found;
  func.walk([&](eff::SsmScanOp op) {
    auto use = op.getA().getDefiningOp<eff::UseOp>();
    if (use && use.getSymbol().rsplit('.').first == layer)
      found = op;
  });
  return found;
}

static llvm::Error refuse(llvm::StringRef layer, const Twine &why,
                          const Twine &hint) {
  return makeError(ErrorCode::CannotCalibrate,
                   "layer '" + layer + "' cannot be made up for", "", why,
                   hint);
}

llvm::Expected<LayerTargets>
LayerTargets::create(ModuleOp model, ImageRuns &runs,
                     const ChooseLayersOptions &options) {
  LayerTargets targets;
  targets.linear = options.correct;
  targets.kernel = options.filter;
  targets.threads = options.threads;
  OwningOpRef<ModuleOp> module = model.clone();
  func::FuncOp func = entryOf(*module);
  unsigned first = func.getNumResults();
  for (const eff::ScanLayer &scanned : eff::listScanLayers(*module)) {
    Layer layer;
    layer.name = scanned.name;
    eff::SsmScanOp scan = findScan(func, layer.name);
    eff::LinearOp linear =
        scan ? linearBehind(scan.getResult()) : eff::LinearOp();
    eff::UseOp weight = linear ? weightOf(linear) : eff::UseOp();
    if (!weight || linear.hasEpilogue() || linear.getScale() ||
        findLinear(func, weight.getSymbol()) != linear)
      return refuse(layer.name, "no plain linear of its own follows its scan",
                    "collapse-channels without correct and filter");
    layer.weight = weight.getSymbol().str();
    arith::AddFOp sum = sumBehind(linear);
    if (llvm::Error error =
            giveOut(func, sum ? sum.getResult() : linear.getResult(),
                    "target." + layer.name))
      return std::move(error);
    if (targets.kernel > 0) {
      auto merge = scan->hasOneUse()
                       ? llvm::dyn_cast<eff::CrossMergeOp>(*scan->user_begin())
                       : eff::CrossMergeOp();
      auto skip = scan.getSkip() ? scan.getSkip().getDefiningOp<eff::UseOp>()
                                 : eff::UseOp();
      if (!merge || !skip)
        return refuse(layer.name, "its scan is none of an image's pixels",
                      "collapse-channels without filter");
      layer.factor = (skip.getSymbol() + ".sum").str();
      layer.height = merge.getHeight();
      layer.width = merge.getWidth();
      if (llvm::Error error =
              giveOut(func, merge.getResult(), "merged." + layer.name))
        return std::move(error);
    }
    targets.layers.push_back(std::move(layer));
  }
  llvm::Error error = runs.run(*module, [&](int64_t, const auto &outputs) {
    size_t at = first;
    for (Layer &layer : targets.layers) {
      layer.outputs.push_back(outputs[at++]);
      if (targets.kernel > 0)
        layer.merged.push_back(outputs[at++]);
    }
  });
  if (error)
    return std::move(error);
  return targets;
}

/// Leaves of a function what computes these values.
static llvm::Error giveOutOnly(func::FuncOp func, ArrayRef<Value> values) {
  func.front().getTerminator()->eraseOperands(0, func.getNumResults());
  if (failed(func.eraseResults(llvm::BitVector(func.getNumResults(), true))))
    return makeError(ErrorCode::CodeGen, "a value cannot be given out");
  for (auto [i, value] : llvm::enumerate(values))
    if (llvm::Error error = giveOut(func, value, "value" + std::to_string(i)))
      return error;
  for (Operation &op :
       llvm::make_early_inc_range(llvm::reverse(func.getBody().front())))
    if (isOpTriviallyDead(&op))
      op.erase();
  return llvm::Error::success();
}

/// What is equal in all channels of a pixel cancels in the norm behind: it is
/// taken away. Returns the weight of each pixel, one over the variance of its
/// channels, as the norm divides by it.
static std::vector<float> centre(std::vector<float> &values, int64_t channels) {
  std::vector<float> weights;
  for (size_t at = 0; at < values.size(); at += channels) {
    double mean = 0, squares = 0;
    for (int64_t c = 0; c < channels; ++c)
      mean += values[at + c];
    mean /= double(channels);
    for (int64_t c = 0; c < channels; ++c) {
      values[at + c] -= float(mean);
      squares += double(values[at + c]) * values[at + c];
    }
    weights.push_back(float(1 / std::max(squares / double(channels), 1e-12)));
  }
  return weights;
}

llvm::Error LayerTargets::fitFilter(const Layer &layer, ModuleOp changed,
                                    ImageRuns &runs,
                                    LayerCorrection &correction) const {
  OwningOpRef<ModuleOp> module = changed.clone();
  std::vector<Operation *> products = findProducts(*module, layer.factor);
  if (products.size() != 1)
    return refuse(layer.name, "its scan is not gone, or its skip is no factor",
                  "variant post or dir, without literal");
  Value x = products.front()->getOperand(0);
  int64_t channels = llvm::cast<RankedTensorType>(x.getType()).getShape()[2],
          pixels = layer.height * layer.width;
  if (llvm::Error error = giveOutOnly(entryOf(*module), x))
    return error;
  auto fit =
      compress::FilterFit::create(channels, layer.height, layer.width, kernel);
  if (!fit)
    return toError(fit.error(), layer.name);
  size_t image = 0;
  effrt::Status added;
  auto parallel = compress::onThreads(
      threads ? threads : std::thread::hardware_concurrency());
  llvm::Error error = runs.run(*module, [&](int64_t, const auto &outputs) {
    std::vector<float> wanted = layer.merged[image++],
                       weights = centre(wanted, channels);
    if (added)
      added = (*fit).add({outputs[0].data(), pixels, channels},
                         {wanted.data(), pixels, channels}, weights, parallel);
  });
  if (error)
    return error;
  if (!added)
    return toError(added.error(), layer.name);
  auto solved = (*fit).solve(kFilterDamping);
  if (!solved)
    return toError(solved.error(), layer.name);
  correction.factor = layer.factor;
  correction.height = layer.height;
  correction.width = layer.width;
  correction.kernel = kernel;
  correction.filters = std::move((*solved).filters);
  correction.bias = std::move((*solved).bias);
  correction.filterError = (*solved).error;
  return llvm::Error::success();
}

llvm::Error LayerTargets::fitLinear(const Layer &layer, ModuleOp changed,
                                    ImageRuns &runs,
                                    LayerCorrection &correction) const {
  OwningOpRef<ModuleOp> module = changed.clone();
  func::FuncOp func = entryOf(*module);
  eff::LinearOp linear = findLinear(func, layer.weight);
  assert(linear && "collapsing a scan leaves the linear behind it");
  SmallVector<Value> values = {linear.getInput()};
  if (arith::AddFOp sum = sumBehind(linear))
    values.push_back(sum.getLhs() == linear.getResult() ? sum.getRhs()
                                                        : sum.getLhs());
  if (llvm::Error error = giveOutOnly(func, values))
    return error;
  auto weight = eff::WeightValues::read(
      changed.lookupSymbol<eff::WeightOp>(layer.weight));
  if (!weight)
    return weight.takeError();
  int64_t n = weight->getRows(), k = weight->getColumns();
  auto fit = compress::LinearFit::create(k, n);
  if (!fit)
    return toError(fit.error(), layer.name);
  size_t image = 0;
  effrt::Status added;
  llvm::Error error = runs.run(*module, [&](int64_t, const auto &outputs) {
    std::vector<float> wanted = layer.outputs[image++];
    if (outputs.size() > 1)
      for (size_t i = 0; i < wanted.size(); ++i)
        wanted[i] -= outputs[1][i];
    int64_t rows = int64_t(wanted.size()) / n;
    if (added)
      added =
          (*fit).add({outputs[0].data(), rows, k}, {wanted.data(), rows, n});
  });
  if (error)
    return error;
  if (!added)
    return toError(added.error(), layer.name);
  auto solved = (*fit).solve({weight->getValues().data(), n, k}, kDamping);
  if (!solved)
    return toError(solved.error(), layer.name);
  correction.weight = layer.weight;
  correction.errorBefore = (*solved).errorBefore;
  correction.errorAfter = (*solved).errorAfter;
  correction.values = std::move((*solved).weights);
  return llvm::Error::success();
}

llvm::Expected<std::vector<LayerCorrection>>
LayerTargets::correct(ModuleOp changed, ImageRuns &runs) const {
  std::vector<LayerCorrection> corrections;
  std::vector<eff::ScanLayer> left = eff::listScanLayers(changed);
  for (const Layer &layer : layers) {
    bool hasScan = llvm::any_of(
        left, [&](const eff::ScanLayer &l) { return l.name == layer.name; });
    if (hasScan)
      continue;
    LayerCorrection filter, weights;
    filter.layer = weights.layer = layer.name;
    if (kernel > 0) {
      if (llvm::Error error = fitFilter(layer, changed, runs, filter))
        return std::move(error);
      if (llvm::Error error = applyCorrections(changed, filter))
        return std::move(error);
      corrections.push_back(std::move(filter));
    }
    if (linear) {
      if (llvm::Error error = fitLinear(layer, changed, runs, weights))
        return std::move(error);
      if (llvm::Error error = applyCorrections(changed, weights))
        return std::move(error);
      corrections.push_back(std::move(weights));
    }
  }
  return corrections;
}

llvm::Expected<std::vector<LayerCorrection>>
effc::correctCollapsedLayers(ModuleOp model, llvm::ArrayRef<std::string> layers,
                             const ChooseLayersOptions &options) {
  ImageRuns runs(options);
  if (llvm::Error error = runs.read())
    return std::move(error);
  auto module = cloneSmallestEntry(model);
  if (!module)
    return module.takeError();
  auto targets = LayerTargets::create(**module, runs, options);
  if (!targets)
    return targets.takeError();
  auto changed = collapseLayers(**module, layers, options);
  if (!changed)
    return changed.takeError();
  return targets->correct(**changed, runs);
}
