//===- ChooseLayers.cpp - layers that can do without their scans ----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Calibrate/ChooseLayers.h"

#include "LayerTargets.h"
#include "effc/Calibrate/Calibrate.h"
#include "effc/Compress/Collapse.h"
#include "effc/Dialect/Eff/Transforms/Collapse.h"
#include "effc/Dialect/Eff/Transforms/Passes.h"
#include "effc/Dialect/Eff/WeightValues.h"
#include "effc/Pipelines/Lower.h"
#include "effc/Support/Error.h"

#include "mlir/Pass/PassManager.h"

#include <cmath>
#include <numeric>

using namespace mlir;
using namespace effc;

//===----------------------------------------------------------------------===//
// The search
//===----------------------------------------------------------------------===//

llvm::Expected<OwningOpRef<ModuleOp>>
effc::collapseLayers(ModuleOp model, llvm::ArrayRef<std::string> layers,
                     const ChooseLayersOptions &options) {
  OwningOpRef<ModuleOp> module = model.clone();
  eff::EffCollapseChannelsPassOptions pass;
  pass.variant = options.variant == "dir"   ? eff::CollapseMode::Dir
                 : options.variant == "pre" ? eff::CollapseMode::Pre
                                            : eff::CollapseMode::Post;
  pass.layers.assign(layers.begin(), layers.end());
  pass.literal = options.literal;
  PassManager pm(model.getContext(), ModuleOp::getOperationName());
  pm.addPass(eff::createEffCollapseChannelsPass(pass));
  if (llvm::Error error = runPasses(pm, *module, "collapsing a layer", {}))
    return std::move(error);
  return module;
}

llvm::Expected<LayerChoice>
effc::chooseCollapsedLayers(ModuleOp model, const ChooseLayersOptions &options,
                            const MeasureLoss &measure) {
  LayerChoice choice;
  std::vector<eff::ScanLayer> layers = eff::listScanLayers(model);
  if (layers.empty())
    return makeError(ErrorCode::BadOption, "no layer has a scan to collapse",
                     "", "",
                     "effc compile --stop-after=eff shows what was recognised");
  uint64_t done = 0, total = layers.size();
  auto attempt =
      [&](std::vector<std::string> names) -> llvm::Expected<CollapseTrial> {
    if (options.progress)
      options.progress("collapsing layers", done++, total);
    auto module = collapseLayers(model, names, options);
    if (!module)
      return module.takeError();
    llvm::Expected<MeasuredLoss> loss = measure(**module);
    if (!loss)
      return loss.takeError();
    return CollapseTrial{std::move(names), loss->mean, loss->error};
  };
  for (const eff::ScanLayer &layer : layers) {
    auto trial = attempt({layer.name});
    if (!trial)
      return trial.takeError();
    choice.single.push_back(std::move(*trial));
  }
  // Equally harmful ones in the order of the model.
  std::vector<std::pair<double, size_t>> order;
  for (auto [i, trial] : llvm::enumerate(choice.single))
    order.emplace_back(trial.loss, i);
  llvm::sort(order);
  std::vector<CollapseTrial> sorted;
  for (auto [loss, i] : order)
    sorted.push_back(choice.single[i]);
  choice.single = std::move(sorted);
  total = 2 * layers.size();
  std::vector<std::string> names;
  for (const CollapseTrial &single : choice.single) {
    names.push_back(single.layers.front());
    // One layer alone has been measured.
    llvm::Expected<CollapseTrial> trial =
        names.size() == 1 ? llvm::Expected<CollapseTrial>(single)
                          : attempt(names);
    if (!trial)
      return trial.takeError();
    choice.joint.push_back(*trial);
    if (!(trial->loss + trial->error <= options.budget))
      break;
    choice.layers = names;
    choice.loss = trial->loss;
  }
  return choice;
}

//===----------------------------------------------------------------------===//
// What layers cost, on images
//===----------------------------------------------------------------------===//

static std::vector<double> logSoftmax(const std::vector<float> &logits) {
  double largest = *std::max_element(logits.begin(), logits.end()), sum = 0;
  for (float x : logits)
    sum += std::exp(x - largest);
  std::vector<double> out;
  for (float x : logits)
    out.push_back(x - largest - std::log(sum));
  return out;
}

llvm::Expected<LayerChoice>
effc::chooseCollapsedLayers(ModuleOp model,
                            const ChooseLayersOptions &options) {
  ImageRuns runs(options);
  if (llvm::Error error = runs.read())
    return std::move(error);
  auto module = cloneSmallestEntry(model);
  if (!module)
    return module.takeError();
  // What the model itself says of each image, for classes at least two.
  std::vector<std::vector<double>> expected;
  std::vector<bool> wasRight;
  // The samples are no judge of what was fitted to them.
  ImageRuns::Part part = options.isCorrecting() && runs.hasOthers()
                             ? ImageRuns::Part::Others
                             : ImageRuns::Part::Samples;
  auto isRight = [&](int64_t image, const std::vector<float> &logits) {
    auto best = std::max_element(logits.begin(), logits.end());
    return best - logits.begin() == runs.labelOf(image);
  };
  OwningOpRef<ModuleOp> plain = (*module)->clone();
  llvm::Error first = runs.run(
      *plain,
      [&](int64_t image, const auto &outputs) {
        if (runs.isLabelled())
          wasRight.push_back(isRight(image, outputs[0]));
        else
          expected.push_back(logSoftmax(outputs[0]));
      },
      part);
  if (first)
    return std::move(first);
  std::optional<LayerTargets> targets;
  if (options.isCorrecting()) {
    auto observed = LayerTargets::create(**module, runs, options);
    if (!observed)
      return observed.takeError();
    targets = std::move(*observed);
  }
  // Of each set that was tried, by what is left.
  std::map<std::string, std::vector<LayerCorrection>> corrections;
  auto keyOf = [](ModuleOp changed) {
    std::string key;
    for (const eff::ScanLayer &layer : eff::listScanLayers(changed))
      key += layer.name + ",";
    return key;
  };
  auto measure = [&](ModuleOp changed) -> llvm::Expected<MeasuredLoss> {
    if (targets) {
      auto corrected = targets->correct(changed, runs);
      if (!corrected)
        return corrected.takeError();
      corrections[keyOf(changed)] = std::move(*corrected);
    }
    size_t at = 0;
    double sum = 0, squares = 0;
    llvm::Error error = runs.run(
        changed,
        [&](int64_t image, const auto &outputs) {
          double loss = 0;
          if (runs.isLabelled()) {
            loss = int(wasRight[at++]) - int(isRight(image, outputs[0]));
          } else {
            const std::vector<double> &p = expected[at++];
            std::vector<double> q = logSoftmax(outputs[0]);
            for (size_t i = 0; i < p.size(); ++i)
              loss += std::exp(p[i]) * (p[i] - q[i]);
          }
          sum += loss;
          squares += loss * loss;
        },
        part);
    if (error)
      return std::move(error);
    double n = double(at), mean = sum / n;
    return MeasuredLoss(
        mean, std::sqrt(std::max(0.0, squares / n - mean * mean) / n));
  };
  auto choice = chooseCollapsedLayers(**module, options, measure);
  if (!choice)
    return choice.takeError();
  choice->labelled = runs.isLabelled();
  if (targets && !choice->layers.empty()) {
    auto chosen = collapseLayers(**module, choice->layers, options);
    if (!chosen)
      return chosen.takeError();
    choice->corrections = std::move(corrections[keyOf(**chosen)]);
  }
  return choice;
}

//===----------------------------------------------------------------------===//
// The proxy
//===----------------------------------------------------------------------===//

llvm::Expected<std::vector<LayerUniformity>>
effc::measureLayerUniformity(ModuleOp model,
                             const ChooseLayersOptions &options) {
  ImageRuns runs(options);
  if (llvm::Error error = runs.read())
    return std::move(error);
  auto module = cloneSmallestEntry(model);
  if (!module)
    return module.takeError();
  auto func = *(*module)->getOps<func::FuncOp>().begin();
  struct Scan {
    compress::ScanInputs<float> inputs;
    std::vector<float> a, bias, d;
    size_t output;
    bool isRaw; ///< softplus is the scan's
  };
  std::vector<Scan> scans;
  std::vector<LayerUniformity> result;
  for (auto op : func.front().getOps<eff::SsmScanOp>()) {
    if (op.getState())
      continue;
    Scan scan;
    auto shape = op.getInput().getType().getShape();
    scan.inputs.length = shape[1];
    scan.inputs.directions = op.getGroups();
    scan.inputs.channels = shape[2] / scan.inputs.directions;
    auto use = op.getA().getDefiningOp<eff::UseOp>();
    auto values = eff::WeightValues::read(
        (*module)->lookupSymbol<eff::WeightOp>(use.getSymbol()));
    if (!values)
      return values.takeError();
    scan.inputs.states = values->getColumns();
    scan.a.assign(values->getValues().begin(), values->getValues().end());
    scan.d.assign(shape[2], 0.0f);
    scan.isRaw = op.getDtSoftplus();
    if (op.getDtBias()) {
      auto bias =
          eff::WeightValues::read((*module)->lookupSymbol<eff::WeightOp>(
              op.getDtBias().getDefiningOp<eff::UseOp>().getSymbol()));
      if (!bias)
        return bias.takeError();
      scan.bias.assign(bias->getValues().begin(), bias->getValues().end());
    }
    scan.output = func.getNumResults();
    int part = 0;
    for (Value v : {op.getInput(), op.getDt(), op.getB(), op.getC()}) {
      auto name = "uniformity." + std::to_string(scans.size()) + "." +
                  std::to_string(part++);
      if (llvm::Error error = giveOut(func, v, name))
        return std::move(error);
    }
    result.push_back({use.getSymbol().rsplit('.').first.str()});
    scans.push_back(std::move(scan));
  }
  std::string broken;
  int64_t images = 0;
  llvm::Error error = runs.run(**module, [&](int64_t, const auto &outputs) {
    ++images;
    for (size_t i = 0; i < scans.size(); ++i) {
      Scan &scan = scans[i];
      const auto *given = &outputs[scan.output];
      // The library takes what softplus reads, and adds the bias.
      std::vector<float> raw = given[1];
      if (!scan.isRaw)
        for (auto [j, step] : llvm::enumerate(raw)) {
          if (!scan.bias.empty())
            step += scan.bias[j % scan.bias.size()];
          step = step > 15 ? step : std::log(std::expm1(step));
        }
      if (scan.isRaw)
        scan.inputs.bias = scan.bias;
      scan.inputs.u = given[0];
      scan.inputs.dt = raw;
      scan.inputs.a = scan.a;
      scan.inputs.b = given[2];
      scan.inputs.c = given[3];
      scan.inputs.d = scan.d;
      auto measured = compress::measureUniformity(scan.inputs);
      if (!measured) {
        broken = measured.error().what;
        continue;
      }
      result[i].decay += (*measured).decayRms;
      result[i].input += (*measured).inputRms;
    }
  });
  if (error)
    return std::move(error);
  if (!broken.empty())
    return makeError(ErrorCode::CannotCalibrate,
                     "the channels of a scan cannot be compared", "", broken);
  for (LayerUniformity &layer : result) {
    layer.decay /= double(images);
    layer.input /= double(images);
  }
  return result;
}

/// Ranks from 1, equal values with their mean.
static std::vector<double> ranksOf(llvm::ArrayRef<double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t(0));
  llvm::sort(order, [&](size_t a, size_t b) {
    return std::pair(values[a], a) < std::pair(values[b], b);
  });
  std::vector<double> ranks(values.size());
  for (size_t i = 0; i < order.size();) {
    size_t end = i;
    while (end < order.size() && values[order[end]] == values[order[i]])
      ++end;
    for (size_t j = i; j < end; ++j)
      ranks[order[j]] = (double(i) + 1 + double(end)) / 2;
    i = end;
  }
  return ranks;
}

double effc::rankCorrelation(llvm::ArrayRef<double> a,
                             llvm::ArrayRef<double> b) {
  std::vector<double> x = ranksOf(a), y = ranksOf(b);
  double mean = (double(a.size()) + 1) / 2, xy = 0, xx = 0, yy = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    xy += (x[i] - mean) * (y[i] - mean);
    xx += (x[i] - mean) * (x[i] - mean);
    yy += (y[i] - mean) * (y[i] - mean);
  }
  return xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : 0;
}
