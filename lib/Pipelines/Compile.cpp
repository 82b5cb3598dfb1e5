//===- Compile.cpp - from an ONNX file to a model file
//----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Pipelines/Compile.h"
#include "effc/Pipelines/Compress.h"

#include "ChooseFormats.h"
#include "Decisions.h"
#include "ErrorCatcher.h"
#include "Frontend.h"
#include "effc/Conversion/OnnxToEff/CheckQuantisation.h"
#include "effc/Conversion/OnnxToEff/Raise.h"
#include "effc/Conversion/OnnxToEff/Verify.h"
#include "effc/Dialect/Eff/Transforms/Passes.h"
#include "effc/Frontend/ONNX/Passes.h"
#include "effc/Pipelines/Lower.h"
#include "effc/Pipelines/Registration.h"
#include "effc/Support/Error.h"

#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

#include <chrono>

using namespace effc;
using namespace mlir;

namespace {

std::string textOf(Operation *op) {
  std::string text;
  llvm::raw_string_ostream os(text);
  OpPrintingFlags flags;
  flags.elideLargeElementsAttrs(16).elideLargeResourceString(32);
  op->print(os, flags);
  os << "\n";
  return text;
}

/// Differences that --verify-raise lets pass: graphs in bf16 round to 8 bits,
/// which the raised model does not.
constexpr double mostRaiseError = 2e-2;

/// The ids of a key of config.json: a number or a list of numbers.
llvm::json::Array idsOf(const llvm::json::Object &config, llvm::StringRef key) {
  llvm::json::Array ids;
  if (std::optional<int64_t> id = config.getInteger(key))
    ids.push_back(*id);
  else if (const llvm::json::Array *list = config.getArray(key))
    for (const llvm::json::Value &value : *list)
      if (std::optional<int64_t> id = value.getAsInteger())
        ids.push_back(*id);
  return ids;
}

WriteOptions writeOptions(ModuleOp model, const CompileOptions &options,
                          std::string tokenizer,
                          const CompileObserver &observer) {
  WriteOptions write;
  write.targets = options.targets;
  write.output = options.output;
  write.runner = options.runner;
  write.tokenizer = std::move(tokenizer);
  write.sources = {options.input};
  write.jobs = options.jobs;
  write.model["name"] = llvm::sys::path::stem(options.input);
  write.manifest["recipe"] =
      llvm::json::Object{{"quant", options.quant}, {"group", options.group}};
  if (!options.recipe.empty())
    write.manifest["recipe"] = llvm::json::Object{{"name", options.recipe}};
  if (auto formats = model->getAttrOfType<DictionaryAttr>(kPrecisionAttr)) {
    llvm::json::Object precision;
    for (NamedAttribute format : formats)
      precision[format.getName().getValue()] =
          cast<StringAttr>(format.getValue()).getValue();
    write.manifest.getObject("recipe")->try_emplace("precision",
                                                    std::move(precision));
  }
  llvm::json::Object config = describeConfig(model);
  // generation_config.json knows better than config.json which tokens end a
  // text.
  llvm::json::Object generation =
      parseObject(getMetadata(model, "effc.generation_config"));
  llvm::json::Object ends{
      {"eos", idsOf(generation.get("eos_token_id") ? generation : config,
                    "eos_token_id")}};
  if (std::optional<int64_t> bos = config.getInteger("bos_token_id"))
    ends["bos"] = *bos;
  write.manifest["generation"] = std::move(ends);
  if (StringRef chat = getMetadata(model, "effc.chat_template"); !chat.empty())
    write.manifest["chat_template"] = chat;
  write.model["config"] = std::move(config);
  if (observer.progress)
    write.progress = [&observer](const WriteProgress &p) {
      constexpr const char *names[] = {"compiling kernels", "linking",
                                       "packing weights"};
      observer.progress(names[p.stage], p.done, p.total);
    };
  return write;
}

/// Says which file an error speaks of, when it is about the file's graph.
llvm::Error inFile(llvm::Error error, llvm::StringRef file) {
  return llvm::handleErrors(
      std::move(error), [&](std::unique_ptr<UserError> e) -> llvm::Error {
        bool aboutGraph = e->code >= ErrorCode::NotOnnx &&
                          e->code < ErrorCode::CannotQuantize;
        if (aboutGraph && !llvm::StringRef(e->where).contains(file))
          e->where += (e->where.empty() ? "" : " in ") + file.str();
        return llvm::Error(std::move(e));
      });
}

/// Inputs are tensors of numbers.
llvm::Error checkInputs(ModuleOp onnx) {
  auto main = onnx.lookupSymbol<func::FuncOp>("main");
  for (unsigned i = 0; main && i < main.getNumArguments(); ++i) {
    auto tensor = dyn_cast<TensorType>(main.getArgument(i).getType());
    if (tensor && tensor.getElementType().isIntOrIndexOrFloat())
      continue;
    auto name = main.getArgAttrOfType<StringAttr>(i, "onnx.name");
    std::string type;
    llvm::raw_string_ostream(type) << main.getArgument(i).getType();
    return makeError(
        ErrorCode::UnsupportedType, "an input is not a tensor of numbers",
        name ? name.getValue() : StringRef(), "its type is " + type);
  }
  return llvm::Error::success();
}

class Compilation {
public:
  Compilation(MLIRContext &context, const CompileOptions &options,
              const CompileObserver &observer, CompileResult &result)
      : context(context), options(options), observer(observer), result(result),
        frontend(context, options, observer, result) {}

  /// From the file to one raised function per entry point.
  llvm::Expected<OwningOpRef<ModuleOp>> raise() {
    begin("reading");
    auto onnx = importOnnx(context, options.input, options.import);
    if (!onnx)
      return onnx.takeError();
    finish("import");
    if (options.stopAfter == Stage::Onnx) {
      result.text = textOf(onnx->get());
      return std::move(*onnx);
    }
    if (llvm::Error error = checkInputs(**onnx))
      return std::move(error);
    {
      ErrorCatcher errors(context, observer.warning);
      if (failed(checkQuantisation(**onnx)))
        return errors.take("reading scales");
    }
    auto prepared = frontend.prepare(std::move(*onnx));
    if (!prepared)
      return prepared.takeError();
    onnx = std::move(prepared);
    if (llvm::Error error = dump("onnx.prepared", **onnx))
      return std::move(error);
    auto chosen = frontend.chooseEntries(**onnx);
    if (!chosen)
      return chosen.takeError();
    std::vector<RaiseOptions> entries = std::move(*chosen);
    std::string genai = readBeside("genai_config.json");
    OwningOpRef<ModuleOp> model = ModuleOp::create((*onnx)->getLoc());
    if (auto metadata =
            onnx->get()->getAttrOfType<DictionaryAttr>("onnx.metadata"))
      (*model)->setAttr(kMetadataAttr, metadata);
    begin("raising", 0, entries.size());
    std::map<std::string, int64_t> windows;
    if (!entries.empty())
      windows = frontend.findWindows(**onnx, entries.front());
    for (size_t i = 0; i < entries.size(); ++i) {
      begin("raising", i, entries.size());
      entries[i].genaiConfig = genai;
      entries[i].windows = windows;
      // One entry point stands for all: they differ in batch and tokens alone.
      bool checkPast = i == 0 && entries[i].kind != eff::EntryKind::Forward;
      if (llvm::Error error = raiseEntry(**onnx, *model, entries[i], checkPast))
        return std::move(error);
    }
    finish("raise");
    if (llvm::Error error = dump("eff", *model))
      return std::move(error);
    if (options.stopAfter == Stage::Eff)
      result.text = textOf(*model);
    return model;
  }

  llvm::Error lower(ModuleOp model, llvm::StringRef tokenizer,
                    std::vector<Decision> &decisions) {
    begin(options.recipe.empty() ? "planning" : "compressing");
    if (llvm::Error error =
            compressModel(model, options, tokenizer, observer, decisions))
      return error;
    begin("planning");
    if (llvm::Error error = prepareForPlan(model, observer.warning))
      return error;
    finish("compress");
    if (llvm::Error error = dump("eff-compressed", model))
      return error;
    if (llvm::Error error = lowerToPlan(model, observer.warning))
      return error;
    finish("plan");
    if (options.stopAfter == Stage::Plan)
      result.text = textOf(model);
    return dump("plan", model);
  }

  void begin(llvm::StringRef stage, uint64_t done = 0, uint64_t total = 0) {
    if (observer.progress)
      observer.progress(stage, done, total);
  }

  void finish(llvm::StringRef stage) {
    auto time = std::chrono::steady_clock::now();
    result.times.push_back(
        {stage.str(), std::chrono::duration<double>(time - last).count()});
    last = time;
  }

private:
  llvm::Error raiseEntry(ModuleOp onnx, ModuleOp model, RaiseOptions entry,
                         bool checkPast) {
    auto bound = frontend.bind(onnx, entry);
    if (!bound)
      return bound.takeError();
    // A model that runs once may fix its tokens and what is before them.
    auto numbers = (**bound)->getAttrOfType<DictionaryAttr>("onnx.bound");
    if (entry.kind == eff::EntryKind::Forward && numbers) {
      entry.tokens = numbers.getAs<IntegerAttr>("tokens").getInt();
      entry.past = numbers.getAs<IntegerAttr>("past").getInt();
    }
    OwningOpRef<ModuleOp> literal;
    if (options.verifyRaise)
      literal = (*bound)->clone();
    if (llvm::Error error = frontend.raiseScansOf(**bound))
      return error;
    if (llvm::Error error = dump("onnx." + entryName(entry), **bound))
      return error;
    FailureOr<func::FuncOp> raised = failure();
    {
      ErrorCatcher errors(context, observer.warning);
      std::vector<ScanReport> scans;
      entry.scans = &scans;
      raised = raiseToEff(**bound, model, entry);
      entry.scans = nullptr;
      if (failed(raised))
        return errors.take("raising the graph");
      noteScans(scans);
    }
    if (literal) {
      // A graph that keeps its states in another layout was checked when its
      // scans were found.
      bool same =
          cast<func::FuncOp>(literal->lookupSymbol("main"))
              .getArgumentTypes() ==
          cast<func::FuncOp>((*bound)->lookupSymbol("main")).getArgumentTypes();
      auto error =
          compareWithGraph(same ? *literal : **bound, *raised, entry.past);
      if (!error)
        return error.takeError();
      result.verified.push_back(
          {entryName(entry), error->results, error->states});
      if (!(error->results < mostRaiseError && error->states < mostRaiseError))
        return makeError(
            ErrorCode::CannotRaise,
            "the raised model computes something else than the "
            "graph",
            entryName(entry),
            "the results differ by " + std::to_string(error->results) +
                ", the states by " + std::to_string(error->states));
    }
    if (!checkPast)
      return llvm::Error::success();
    // The graph was bound to one past length; what it means must not depend on
    // which.
    RaiseOptions elsewhere = entry;
    elsewhere.past = entry.past + 1;
    auto other = frontend.bind(onnx, elsewhere);
    if (!other)
      return other.takeError();
    if (llvm::Error error = frontend.raiseScansOf(**other))
      return error;
    ErrorCatcher errors(context, observer.warning);
    if (failed(checkPastIsGone(*raised, **other, elsewhere)))
      return errors.take("raising the graph");
    return llvm::Error::success();
  }

  /// Each once, since entry points have the same; raising meets the last first.
  void noteScans(ArrayRef<ScanReport> scans) {
    for (const ScanReport &scan : llvm::reverse(scans))
      if (llvm::none_of(result.scans, [&](const ScanReport &known) {
            return known.form == scan.form && known.anchor == scan.anchor;
          }))
        result.scans.push_back(scan);
  }

  llvm::Error dump(const std::string &name, ModuleOp module) {
    if (options.dumpDir.empty())
      return llvm::Error::success();
    if (std::error_code code =
            llvm::sys::fs::create_directories(options.dumpDir))
      return makeError(ErrorCode::CannotWrite, "cannot make the directory",
                       options.dumpDir, code.message());
    llvm::SmallString<128> path(options.dumpDir);
    llvm::sys::path::append(path, name + ".mlir");
    std::error_code code;
    llvm::raw_fd_ostream os(path, code);
    if (!code)
      os << textOf(module);
    os.flush();
    if (code || os.has_error()) {
      std::string why = (code ? code : os.error()).message();
      os.clear_error();
      return makeError(ErrorCode::CannotWrite, "cannot write the IR", path,
                       why);
    }
    return llvm::Error::success();
  }

  std::string readBeside(llvm::StringRef name) {
    llvm::SmallString<128> path = llvm::sys::path::parent_path(options.input);
    llvm::sys::path::append(path, name);
    auto buffer = llvm::MemoryBuffer::getFile(path);
    return buffer ? (*buffer)->getBuffer().str() : std::string();
  }

  MLIRContext &context;
  const CompileOptions &options;
  const CompileObserver &observer;
  CompileResult &result;
  Frontend frontend;
  std::chrono::steady_clock::time_point last = std::chrono::steady_clock::now();
};

} // namespace

std::optional<Stage> effc::parseStage(llvm::StringRef name) {
  return llvm::StringSwitch<std::optional<Stage>>(name)
      .Case("onnx", Stage::Onnx)
      .Case("eff", Stage::Eff)
      .Case("plan", Stage::Plan)
      .Case("llvm", Stage::LLVM)
      .Case("objects", Stage::Objects)
      .Case("file", Stage::File)
      .Default(std::nullopt);
}

llvm::Expected<std::string> effc::findTokenizer(const CompileOptions &options) {
  std::vector<std::string> candidates;
  if (!options.tokenizer.empty()) {
    candidates.push_back(options.tokenizer);
  } else {
    llvm::SmallString<128> path(options.input);
    llvm::sys::path::replace_extension(path, ".tokenizer.json");
    candidates.push_back(path.str().str());
    path = llvm::sys::path::parent_path(options.input);
    llvm::sys::path::append(path, "tokenizer.json");
    candidates.push_back(path.str().str());
  }
  for (const std::string &candidate : candidates)
    if (auto buffer = llvm::MemoryBuffer::getFile(candidate))
      return (*buffer)->getBuffer().str();
    else if (!options.tokenizer.empty())
      return makeError(ErrorCode::FileNotFound, "cannot read the tokenizer",
                       candidate, buffer.getError().message());
  return std::string();
}

llvm::Expected<OwningOpRef<ModuleOp>>
effc::raiseModel(MLIRContext &context, const CompileOptions &options,
                 const CompileObserver &observer) {
  CompileResult result;
  auto model = Compilation(context, options, observer, result).raise();
  if (!model)
    return inFile(model.takeError(), options.input);
  return model;
}

llvm::Expected<CompileResult>
effc::compileModel(const CompileOptions &options,
                   const CompileObserver &observer) {
  CompileResult result;
  std::vector<Decision> decisions;
  DialectRegistry registry;
  registerDialects(registry);
  MLIRContext context(registry);
  context.printOpOnDiagnostic(false);
  if (failed(collectDecisions(context, decisions)))
    return makeError(ErrorCode::CodeGen, "remarks cannot be collected");

  // A damaged tokenizer or a bad path should not cost the time of a
  // compilation.
  auto tokenizer = findTokenizer(options);
  if (!tokenizer)
    return tokenizer.takeError();

  if (llvm::Error error = checkRecipe(options))
    return std::move(error);

  Compilation compilation(context, options, observer, result);
  auto model = compilation.raise();
  if (!model)
    return inFile(model.takeError(), options.input);
  auto done = [&]() -> CompileResult {
    sortDecisions(decisions);
    result.decisions = std::move(decisions);
    return std::move(result);
  };
  if (options.stopAfter <= Stage::Eff)
    return done();
  if (llvm::Error error = compilation.lower(**model, *tokenizer, decisions))
    return inFile(std::move(error), options.input);
  if (options.stopAfter == Stage::Plan)
    return done();

  if (options.stopAfter == Stage::LLVM) {
    auto text = printCode(**model, options.targets.front(), CodeText::LLVMIR);
    if (!text)
      return text.takeError();
    result.text = std::move(*text);
    return done();
  }
  WriteOptions write =
      writeOptions(**model, options, std::move(*tokenizer), observer);
  sortDecisions(decisions);
  write.manifest["decisions"] = describeDecisions(decisions);
  if (options.stopAfter == Stage::Objects) {
    if (llvm::Error error = writeObjects(**model, write, options.output))
      return std::move(error);
    return done();
  }
  auto report = writeModel(**model, write);
  if (!report)
    return report.takeError();
  result.report = std::move(*report);
  if (observer.warning)
    for (const std::string &text : result.report.warnings)
      observer.warning(text);
  compilation.finish("emit");
  return done();
}
