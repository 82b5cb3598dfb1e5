//===- ObservedModel.cpp - a model that shows its values ------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "ObservedModel.h"

#include "effc/Artifact/ModelWriter.h"
#include "effc/Dialect/Eff/Eff.h"
#include "effc/Dialect/Eff/Transforms/Passes.h"
#include "effc/Pipelines/Lower.h"
#include "effc/Support/Error.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/GlobPattern.h"

using namespace mlir;
using namespace effc;

namespace {

/// What is asked of values, by their names.
class Requests {
public:
  llvm::Error parse(const CalibrateOptions &options) {
    if (options.defaults) {
      ObserveRequest all;
      all.settings.kind = compress::ObserverKind::ChannelAbsMax;
      all.pattern = "*";
      all.optional = true;
      if (llvm::Error error = add(all, /*states=*/false))
        return error;
    }
    for (const ObserveRequest &request : options.observe)
      if (llvm::Error error = add(request, /*states=*/true))
        return error;
    return llvm::Error::success();
  }

  std::vector<Watch> match(const std::vector<std::string> &names,
                           int64_t channels) {
    llvm::MapVector<int, compress::ObserverSettings> found;
    for (Entry &entry : entries)
      for (const std::string &name : names)
        if (entry.pattern.match(name) &&
            (entry.states || !llvm::StringRef(name).starts_with("state:"))) {
          found[int(entry.request.settings.kind)] = entry.request.settings;
          entry.matched = true;
        }
    std::vector<Watch> watches;
    for (auto &[kind, settings] : found) {
      settings.channels = channels;
      watches.push_back({settings, names});
    }
    return watches;
  }

  /// The request that nothing matched, if there is one.
  llvm::Error checkMatched(llvm::ArrayRef<std::string> known) {
    for (const Entry &entry : entries)
      if (!entry.matched && !entry.request.optional) {
        std::string examples;
        for (const std::string &name : known.take_front(3))
          examples += (examples.empty() ? "" : ", ") + name;
        return makeError(ErrorCode::BadOption,
                         "no value of the model matches '" +
                             entry.request.pattern + "'",
                         "", "its values are " + examples + ", ...",
                         "effc calibrate without --observe lists all values");
      }
    return llvm::Error::success();
  }

private:
  struct Entry {
    ObserveRequest request;
    llvm::GlobPattern pattern;
    bool states, matched = false;
  };

  llvm::Error add(const ObserveRequest &request, bool states) {
    llvm::Expected<llvm::GlobPattern> pattern =
        llvm::GlobPattern::create(request.pattern);
    if (!pattern)
      return makeError(ErrorCode::BadOption,
                       "'" + request.pattern + "' is no pattern", "",
                       llvm::toString(pattern.takeError()));
    entries.push_back({request, std::move(*pattern), states});
    return llvm::Error::success();
  }

  std::vector<Entry> entries;
};

/// The entry point to run: of token entries the longest prefill of at most
/// `mostTokens` tokens, of others the smallest batch.
func::FuncOp chooseEntry(ModuleOp module, int64_t mostTokens) {
  func::FuncOp best;
  auto rank = [&](func::FuncOp func) {
    auto entry =
        func->getAttrOfType<eff::EntryAttr>(eff::EffDialect::kEntryAttr);
    int64_t tokens = entry.getTokens();
    bool isForward = entry.getKind() == eff::EntryKind::Forward;
    // Larger is better, in this order.
    return std::tuple(isForward ? 0 : 1, -entry.getBatch(),
                      tokens <= mostTokens ? tokens : -tokens);
  };
  for (func::FuncOp func : module.getOps<func::FuncOp>())
    if (func->hasAttr(eff::EffDialect::kEntryAttr) &&
        (!best || rank(func) > rank(best)))
      best = func;
  return best;
}

effrt::DType getDType(Type type) {
  if (type.isF32() || type.isF16() || type.isBF16() || type.isF64())
    return type.isF32()    ? effrt::DType::F32
           : type.isF16()  ? effrt::DType::F16
           : type.isBF16() ? effrt::DType::BF16
                           : effrt::DType::F64;
  switch (type.getIntOrFloatBitWidth()) {
  case 1:
    return effrt::DType::Bool;
  case 8:
    return effrt::DType::I8;
  case 16:
    return effrt::DType::I16;
  case 32:
    return effrt::DType::I32;
  default:
    return effrt::DType::I64;
  }
}

/// What the model file's manifest will say, as far as samples need it.
effrt::Manifest describe(func::FuncOp func, ModuleOp module) {
  effrt::Manifest manifest;
  if (auto model =
          module->getAttrOfType<eff::ModelAttr>(eff::EffDialect::kModelAttr)) {
    manifest.vocab = model.getVocab();
    manifest.maxLength = model.getMaxLength();
  }
  llvm::raw_string_ostream(manifest.config)
      << llvm::json::Value(describeConfig(module));
  auto entry = func->getAttrOfType<eff::EntryAttr>(eff::EffDialect::kEntryAttr);
  effrt::EntryInfo info;
  info.name = func.getSymName().str();
  info.kind = entry.getKind() == eff::EntryKind::Forward  ? EFF_ENTRY_FORWARD
              : entry.getKind() == eff::EntryKind::Decode ? EFF_ENTRY_DECODE
                                                          : EFF_ENTRY_PREFILL;
  info.batch = int32_t(entry.getBatch());
  info.tokens = int32_t(entry.getTokens());
  auto add = [](std::vector<effrt::TensorInfo> &to, Type type, Attribute name) {
    auto tensor = llvm::dyn_cast<RankedTensorType>(type);
    if (!tensor || !tensor.getElementType().isIntOrFloat())
      return;
    auto text = llvm::dyn_cast_or_null<StringAttr>(name);
    to.push_back({text ? text.str() : "",
                  getDType(tensor.getElementType()),
                  {tensor.getShape().begin(), tensor.getShape().end()}});
  };
  for (BlockArgument argument : func.getArguments())
    add(info.inputs, argument.getType(),
        func.getArgAttr(argument.getArgNumber(), "eff.name"));
  for (auto [index, type] : llvm::enumerate(func.getResultTypes()))
    add(info.outputs, type, func.getResultAttr(unsigned(index), "eff.name"));
  manifest.entries.push_back(std::move(info));
  return manifest;
}

/// Whether the rows of a value are those of the entry's tokens.
bool hasTokenRows(RankedTensorType type, eff::EntryAttr entry) {
  int64_t rows = type.getNumElements() / type.getShape().back();
  if (entry.getKind() == eff::EntryKind::Forward)
    return rows % entry.getBatch() == 0;
  return rows == entry.getBatch() * entry.getTokens();
}

} // namespace

llvm::Error ObservedModel::observe(func::FuncOp func,
                                   const CalibrateOptions &options) {
  Requests requests;
  if (llvm::Error error = requests.parse(options))
    return error;
  auto entry = func->getAttrOfType<eff::EntryAttr>(eff::EffDialect::kEntryAttr);
  std::vector<std::string> known;
  auto ret = llvm::cast<func::ReturnOp>(func.front().getTerminator());
  for (NamedValue &named : nameValues(func)) {
    auto type = llvm::cast<RankedTensorType>(named.value.getType());
    if (!hasTokenRows(type, entry))
      continue;
    llvm::append_range(known, named.names);
    std::vector<Watch> watches =
        requests.match(named.names, type.getShape().back());
    if (watches.empty())
      continue;
    unsigned output = func.getNumResults();
    Builder builder(func.getContext());
    auto name =
        builder.getNamedAttr("eff.name", builder.getStringAttr(named.names[0]));
    if (failed(
            func.insertResult(output, type, builder.getDictionaryAttr(name))))
      return makeError(ErrorCode::CodeGen, "a value cannot be given out",
                       named.names[0]);
    ret->insertOperands(ret.getNumOperands(), named.value);
    values.push_back({output, std::move(watches)});
  }
  for (auto state : module->getOps<eff::StateOp>()) {
    eff::StateType type = state.getType();
    if (!type.isF32())
      continue;
    std::string name = "state:@" + state.getSymName().str();
    known.push_back(name);
    std::vector<Watch> watches = requests.match({name}, type.getNumElements());
    if (!watches.empty())
      states.push_back({state.getSymName().str(), std::move(watches)});
  }
  if (known.empty())
    return makeError(ErrorCode::CannotCalibrate,
                     "the model has no values that can be observed", "",
                     "nothing in it is an f32 value of the eff dialect");
  return requests.checkMatched(known);
}

llvm::Expected<std::unique_ptr<effrt::Engine>>
effc::compileEngine(ModuleOp module, const CalibrateOptions &options) {
  if (llvm::Error error = prepareForPlan(module, options.warning))
    return std::move(error);
  if (llvm::Error error = lowerToPlan(module, options.warning))
    return std::move(error);
  llvm::SmallString<128> path;
  if (std::error_code code =
          llvm::sys::fs::createTemporaryFile("effc-calibrate", "eff", path))
    return makeError(ErrorCode::CannotWrite, "cannot make a temporary file",
                     path, code.message());
  llvm::FileRemover remover(path);
  WriteOptions write;
  write.targets = {X86Machine::host()};
  write.output = path.str().str();
  write.jobs = options.threads;
  write.kernels = options.kernels;
  write.model["config"] = describeConfig(module);
  if (options.progress)
    write.progress = [&options](const WriteProgress &p) {
      constexpr const char *names[] = {"compiling kernels", "linking",
                                       "packing weights"};
      options.progress(names[p.stage], p.done, p.total);
    };
  llvm::Expected<ModelReport> report = writeModel(module, write);
  if (!report)
    return report.takeError();
  // Mapped: the file may go.
  auto opened = effrt::Model::open(write.output);
  if (!opened)
    return toError(opened.error());
  effrt::EngineOptions engineOptions;
  engineOptions.threads = int(options.threads);
  engineOptions.interrupt = options.interrupt;
  auto created = effrt::Engine::create(opened.take(), engineOptions);
  if (!created)
    return toError(created.error());
  return created.take();
}

llvm::Error ObservedModel::compile(const CalibrateOptions &options) {
  if (options.progress)
    options.progress("preparing", 0, 0);
  auto compiled = compileEngine(*module, options);
  if (!compiled)
    return compiled.takeError();
  engine = std::move(*compiled);
  module = {};
  return llvm::Error::success();
}

OwningOpRef<ModuleOp> effc::cloneEntry(ModuleOp model, func::FuncOp entry) {
  // Weights are shared: what is cloned is small.
  OwningOpRef<ModuleOp> module = model.clone();
  for (func::FuncOp func :
       llvm::make_early_inc_range(module->getOps<func::FuncOp>()))
    if (func.getSymName() != entry.getSymName())
      func.erase();
  PassManager pm(model.getContext());
  pm.addNestedPass<func::FuncOp>(eff::createEffFuseDtPass());
  pm.addPass(eff::createEffEraseBasesPass());
  if (failed(pm.run(*module)))
    return {};
  return module;
}

llvm::Expected<ObservedModel>
ObservedModel::create(ModuleOp model, const CalibrateOptions &options) {
  // A state is seen after each call, and may be largest amid a sample.
  constexpr int64_t kStateTokens = 128;
  bool seesStates =
      llvm::any_of(options.observe, [](const ObserveRequest &request) {
        return llvm::StringRef(request.pattern).starts_with("state:");
      });
  func::FuncOp chosen =
      chooseEntry(model, seesStates ? std::min(options.maxTokens, kStateTokens)
                                    : options.maxTokens);
  if (!chosen)
    return makeError(ErrorCode::CannotCalibrate,
                     "the model has no entry point to run");
  ObservedModel observed;
  observed.module = cloneEntry(model, chosen);
  if (!observed.module)
    return makeError(ErrorCode::CodeGen,
                     "the model cannot be prepared for calibration");
  auto func = observed.module->lookupSymbol<func::FuncOp>(chosen.getSymName());
  observed.manifest =
      std::make_unique<effrt::Manifest>(describe(func, *observed.module));
  if (llvm::Error error = observed.observe(func, options))
    return std::move(error);
  return observed;
}
