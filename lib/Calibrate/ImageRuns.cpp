//===- ImageRuns.cpp - compiled modules on a file of images ---------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "ImageRuns.h"

#include "ObservedModel.h"
#include "effc/Dialect/Eff/Eff.h"
#include "effc/Support/Error.h"
#include "images.h"

#include <algorithm>
#include <numeric>

using namespace mlir;
using namespace effc;

llvm::Error ImageRuns::read() {
  auto given = effrt::tools::readNpz(options.samples);
  if (!given)
    return toError(given.error());
  arrays = given.take();
  auto labels = arrays.find("labels");
  labelled = labels != arrays.end();
  if (labelled && labels->second.shape.size() != 1)
    return makeError(ErrorCode::BadInput, "the labels are no vector",
                     options.samples);
  return llvm::Error::success();
}

bool ImageRuns::hasOthers() const {
  auto images = arrays.find("images");
  return options.sampleCount > 0 && images != arrays.end() &&
         !images->second.shape.empty() &&
         images->second.shape[0] > options.sampleCount;
}

/// At most `most` of `from`, spread evenly; 0: all.
static std::vector<int64_t> spread(llvm::ArrayRef<int64_t> from, int64_t most) {
  int64_t total = int64_t(from.size()),
          count = most > 0 ? std::min(most, total) : total;
  std::vector<int64_t> chosen;
  for (int64_t i = 0; i < count; ++i)
    chosen.push_back(from[i * total / count]);
  return chosen;
}

/// The samples of `total` images, or others.
static std::vector<int64_t> choose(int64_t total, int64_t sampleCount,
                                   bool others) {
  std::vector<int64_t> all(total), rest;
  std::iota(all.begin(), all.end(), 0);
  std::vector<int64_t> samples = spread(all, sampleCount);
  if (!others)
    return samples;
  std::set_difference(all.begin(), all.end(), samples.begin(), samples.end(),
                      std::back_inserter(rest));
  return spread(rest, 4 * sampleCount);
}

llvm::Error ImageRuns::run(
    ModuleOp module,
    llvm::function_ref<void(int64_t, const std::vector<std::vector<float>> &)>
        use,
    Part part) {
  CalibrateOptions compile;
  compile.threads = options.threads;
  compile.interrupt = options.interrupt;
  compile.kernels = kernels;
  auto engine = compileEngine(module, compile);
  if (!engine)
    return engine.takeError();
  const effrt::Manifest &manifest = (*engine)->model().manifest();
  auto images = effrt::tools::Images::create(arrays, manifest, options.samples);
  if (!images)
    return toError(images.error());
  const effrt::EntryInfo &entry = (*images).entry();
  if (labelled && arrays.at("labels").shape[0] != (*images).count())
    return makeError(ErrorCode::BadInput,
                     "there are not as many labels as images", options.samples);
  std::vector<int64_t> chosen =
      choose((*images).count(), options.sampleCount, part == Part::Others);
  std::vector<float> input(entry.inputs[0].bytes() / sizeof(float));
  std::vector<std::vector<float>> outputs;
  std::vector<effrt::TensorView> views;
  for (const effrt::TensorInfo &info : entry.outputs)
    outputs.emplace_back(info.bytes() / sizeof(float));
  for (size_t i = 0; i < outputs.size(); ++i)
    views.push_back(
        {entry.outputs[i].name, outputs[i].data(), entry.outputs[i].bytes()});
  for (int64_t image : chosen) {
    (*images).fill(image, 1, input.data());
    effrt::Status status = (*engine)->forward(
        {{entry.inputs[0].name, input.data(), entry.inputs[0].bytes()}}, views,
        entry.name);
    if (!status)
      return toError(status.error());
    use(image, outputs);
  }
  return llvm::Error::success();
}

llvm::Expected<OwningOpRef<ModuleOp>> effc::cloneSmallestEntry(ModuleOp model) {
  OwningOpRef<ModuleOp> module = model.clone();
  func::FuncOp best;
  auto batchOf = [](func::FuncOp func) {
    return func->getAttrOfType<eff::EntryAttr>(eff::EffDialect::kEntryAttr)
        .getBatch();
  };
  for (auto func : module->getOps<func::FuncOp>()) {
    auto entry =
        func->getAttrOfType<eff::EntryAttr>(eff::EffDialect::kEntryAttr);
    if (entry && entry.getKind() == eff::EntryKind::Forward &&
        (!best || batchOf(func) < batchOf(best)))
      best = func;
  }
  if (!best)
    return makeError(ErrorCode::CannotCalibrate,
                     "the model has no entry point that takes images");
  for (auto func : llvm::make_early_inc_range(module->getOps<func::FuncOp>()))
    if (func != best)
      func.erase();
  return module;
}

llvm::Error effc::giveOut(func::FuncOp func, Value value,
                          llvm::StringRef name) {
  Builder builder(func.getContext());
  auto attributes = builder.getDictionaryAttr(
      builder.getNamedAttr("eff.name", builder.getStringAttr(name)));
  if (failed(
          func.insertResult(func.getNumResults(), value.getType(), attributes)))
    return makeError(ErrorCode::CodeGen, "a value cannot be given out", name);
  func.front().getTerminator()->insertOperands(func.getNumResults() - 1, value);
  return llvm::Error::success();
}
