//===- Compile.cpp - effc compile
//-------------------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Stages.h"
#include "Verbs.h"

#include "cli.h"
#include "common.h"

#include "effc/Pipelines/Compile.h"
#include "effc/Pipelines/Recipe.h"
#include "effc/Support/Error.h"
#include "effrt/cpu.h"
#include "effrt/loader.h"

#include "llvm/ADT/bit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <cstdio>
#include <map>
#include <optional>

using namespace effc;
using namespace effrt::tools;
using effc::driver::parseStatePairs;
using effc::driver::Stages;

namespace {

struct Flags {
  std::string input, output, quant = "none", emit = "so", stopAfter = "file",
                             dumpDir, tokenizer, timing = "none";
  std::vector<std::string> targets{"native"}, dims, states;
  std::vector<int> batches{1}, prefill{16, 128, 512};
  std::string recipe, precision, calib, calibIn, calibOut;
  bool printRecipe = false;
  int calibSamples = 128, calibTokens = 512;
  int maxLength = 0, jobs = 0, group = 128;
  bool asJson = false, quiet = false, strictPaths = false, verbose = false;
  bool relaxSequence = false, addStates = false, statesAsTensors = false,
       allowLiteralScan = false, requantize = false, raiseCumsum = false,
       verifyRaise = false, reportRaise = false;
};

std::string defaultOutput(const Flags &flags) {
  llvm::SmallString<128> path(llvm::sys::path::filename(flags.input));
  llvm::sys::path::replace_extension(path, flags.emit == "exe" ? "" : "eff");
  return path.str().str();
}

/// The table after a successful compilation.
void printSummary(const effrt::ModelInfo &info, double seconds,
                  const Flags &flags, const std::string &targetReason) {
  const effrt::Manifest &m = info.manifest;
  std::printf("  target      %s\n\n", targetReason.c_str());
  std::printf("  %-28s %9s %10s\n", "format", "tensors", "bytes");
  std::map<std::string, std::pair<size_t, uint64_t>> formats;
  for (const effrt::WeightInfo &w : m.weights) {
    ++formats[w.format].first;
    formats[w.format].second += w.bytes;
  }
  for (const auto &[format, total] : formats)
    std::printf("  %-28s %9zu %10s\n", format.c_str(), total.first,
                humanBytes(double(total.second)).c_str());

  effrt::CpuSet cpus = effrt::usableCpus();
  auto roofs = knownRoofs(cpus.defaultThreads());
  std::printf("\n  %-20s %10s %10s %10s   %s\n", "entry point", "arena",
              "reads", "GFLOP", "predicted");
  for (const effrt::EntryInfo &e : m.entries) {
    std::string predicted = "-";
    if (roofs) {
      double time =
          std::max(double(e.bytes) / roofs->bytesPerSecond,
                   roofs->secondsFor(double(e.flops), double(e.integerOps)));
      double items =
          e.kind == EFF_ENTRY_FORWARD ? e.batch : double(e.batch) * e.tokens;
      char text[48];
      std::snprintf(text, sizeof text, "at most %.0f %s/s", items / time,
                    m.kind == effrt::ModelKind::CausalLM ? "tok" : "items");
      predicted = text;
    }
    std::printf("  %-20s %10s %10s %10.2f   %s\n", e.name.c_str(),
                humanBytes(double(e.arenaBytes)).c_str(),
                humanBytes(double(e.bytes)).c_str(), double(e.flops) / 1e9,
                predicted.c_str());
  }
  std::map<std::string, size_t> families;
  for (const effrt::KernelInfo &k : m.kernels)
    ++families[k.family];
  std::string kernels;
  for (const auto &[family, count] : families)
    kernels += (kernels.empty() ? "" : ", ") + family +
               (count > 1 ? " x" + std::to_string(count) : "");
  std::printf("\n  kernels     %s\n", kernels.c_str());
  std::printf("\n  %s   %s (code %s)   %.1f s\n", flags.output.c_str(),
              humanBytes(double(info.fileBytes)).c_str(),
              humanBytes(double(info.codeBytes)).c_str(), seconds);
  if (m.kind == effrt::ModelKind::CausalLM)
    std::printf("  try:  effc run %s -p \"The river\"      effc bench %s\n",
                flags.output.c_str(), flags.output.c_str());
  else
    std::printf("  try:  effc inspect %s      effc bench %s\n",
                flags.output.c_str(), flags.output.c_str());
}

llvm::json::Value toJson(const effrt::ModelInfo &info,
                         const CompileResult &result, double seconds) {
  llvm::json::Array entries, decisions, times;
  for (const effrt::EntryInfo &e : info.manifest.entries)
    entries.push_back(
        llvm::json::Object{{"name", e.name},
                           {"arena_bytes", int64_t(e.arenaBytes)},
                           {"bytes", int64_t(e.bytes)},
                           {"flops", int64_t(e.flops)},
                           {"integer_ops", int64_t(e.integerOps)}});
  for (const Decision &d : result.decisions) {
    llvm::json::Object values;
    for (const auto &[key, value] : d.values)
      values[key] = value;
    decisions.push_back(llvm::json::Object{{"pass", d.pass},
                                           {"name", d.name},
                                           {"where", d.where},
                                           {"kind", d.kind},
                                           {"values", std::move(values)}});
  }
  for (const StageTime &t : result.times)
    times.push_back(
        llvm::json::Object{{"stage", t.name}, {"seconds", t.seconds}});
  return llvm::json::Object{
      {"file", info.path},
      {"file_bytes", int64_t(info.fileBytes)},
      {"code_bytes", int64_t(info.codeBytes)},
      {"weights_bytes", int64_t(info.header.weights_bytes)},
      {"kernels", int64_t(info.manifest.kernels.size())},
      {"entries", std::move(entries)},
      {"decisions", std::move(decisions)},
      {"times", std::move(times)},
      {"seconds", seconds}};
}

/// What --report-raise prints: one line for each scan and convolution.
void printRaise(const CompileResult &result) {
  for (const ScanReport &r : result.scans) {
    std::printf("%-14s %-24s at %s", r.what.c_str(), r.form.c_str(),
                r.anchor.c_str());
    if (!r.why.empty()) {
      std::printf(": kept as written, %s\n", r.why.c_str());
      continue;
    }
    if (r.what == "causal_conv1d")
      std::printf(": x = %s, w = %s", r.u.c_str(), r.a.c_str());
    else
      std::printf(
          ": dt = %s, u = %s, B = %s, C = %s, A = %s; %lld nodes, error "
          "%.1e",
          r.dt.c_str(), r.u.c_str(), r.b.c_str(), r.c.c_str(), r.a.c_str(),
          static_cast<long long>(r.nodes), r.error);
    std::printf("%s\n", r.hasPast ? "; state from the file" : "");
  }
  if (result.scans.empty())
    std::printf("no scan is spelled out\n");
  for (const VerifiedEntry &e : result.verified)
    std::printf("verified       %-24s results differ by %.1e, states by %.1e\n",
                e.name.c_str(), e.results, e.states);
}

/// The program that --emit=exe puts before a model: beside effc itself.
llvm::Expected<std::string> findRunner() {
  llvm::SmallString<128> path(llvm::sys::path::parent_path(
      llvm::sys::fs::getMainExecutable(nullptr, nullptr)));
  llvm::sys::path::append(path, "effrun");
  if (!llvm::sys::fs::can_execute(path))
    return makeError(ErrorCode::FileNotFound,
                     "the runner of executables is missing", path, "",
                     "install effrun beside effc, or write a model file");
  return path.str().str();
}

llvm::Expected<CompileOptions> toOptions(const Flags &flags,
                                         std::string &targetReason) {
  CompileOptions options;
  options.input = flags.input;
  options.output = flags.output;
  if (flags.emit == "exe") {
    auto runner = findRunner();
    if (!runner)
      return runner.takeError();
    options.runner = *runner;
  }
  for (const std::string &name : flags.targets) {
    auto machine = X86Machine::parse(name);
    if (!machine)
      return machine.takeError();
    if (name == "native" || name == "host") {
      std::string reason;
      *machine = X86Machine::host(&reason);
      targetReason +=
          (targetReason.empty() ? "" : "; ") +
          ("this machine: " + machine->name() + " (" + reason + ")");
    } else {
      targetReason += (targetReason.empty() ? "" : "; ") + machine->name();
    }
    options.targets.push_back(*machine);
  }
  // The loader takes the first variant that the processor can run: what needs
  // more features comes first.
  llvm::sort(options.targets, [](const X86Machine &a, const X86Machine &b) {
    int needsA = llvm::popcount(a.features()),
        needsB = llvm::popcount(b.features());
    return needsA != needsB ? needsA > needsB : a.name() < b.name();
  });
  options.quant = flags.quant;
  options.group = flags.group;
  options.recipe = flags.recipe;
  options.precision = flags.precision;
  options.calibration.samples = flags.calib;
  options.calibration.count = flags.calibSamples;
  options.calibration.tokens = flags.calibTokens;
  options.calibration.load = flags.calibIn;
  options.calibration.save = flags.calibOut;
  options.batches.assign(flags.batches.begin(), flags.batches.end());
  options.prefill.assign(flags.prefill.begin(), flags.prefill.end());
  options.maxLength = flags.maxLength;
  options.dims = flags.dims;
  auto pairs = parseStatePairs(flags.states);
  if (!pairs)
    return pairs.takeError();
  options.statePairs = std::move(*pairs);
  options.relaxSequence = flags.relaxSequence;
  options.addStates = flags.addStates;
  options.requantize = flags.requantize;
  options.statesAsTensors = flags.statesAsTensors;
  options.allowLiteralScan = flags.allowLiteralScan;
  options.raiseCumulativeSums = flags.raiseCumsum;
  options.verifyRaise = flags.verifyRaise;
  options.tokenizer = flags.tokenizer;
  options.jobs = unsigned(flags.jobs);
  options.stopAfter = *parseStage(flags.stopAfter);
  options.dumpDir = flags.dumpDir;
  options.import.strictPaths = flags.strictPaths;
  return options;
}

} // namespace

int effc::driver::compileVerb(const Invocation &call) {
  Flags flags;
  effrt::cli::Command command(
      "compile", "Compiles an ONNX model to one native file.",
      "MODEL.onnx [-o FILE]",
      {"effc compile model.onnx -o model.eff",
       "effc compile model.onnx --quant w4a16 --max-length 4096",
       "effc compile model.onnx --recipe quamba2-w4a8 --calib text.txt",
       "effc compile model.onnx --target=x86-64-v3,x86-64-v4   # both in it",
       "effc compile model.onnx --emit=exe -o writer && ./writer -p Once",
       "effc compile model.onnx --stop-after=plan"});
  command.positional("MODEL.onnx", flags.input);
  command.section("output");
  command.option("output", 'o', flags.output, "FILE",
                 "the file to write; default: the model's name with .eff");
  command.choice("emit", 0, flags.emit, {"so", "exe"},
                 "a model file for effc run, or a program");
  command.list("target", 0, flags.targets, "NAME,...",
               "processors to compile for; effc targets lists them");
  command.option("tokenizer", 0, flags.tokenizer, "FILE",
                 "tokenizer.json; default: MODEL.tokenizer.json or "
                 "tokenizer.json beside the model");
  command.section("model");
  command.choice(
      "quant", 0, flags.quant,
      {"none", "f32", "bf16", "w8a16", "w8a8-dynamic", "w4a16", "w4a8-dynamic"},
      "format of the weights; none: as stored");
  command.flag("requantize", 0, flags.requantize,
               "treat weights that the file holds as integers like floats");
  command.option("group", 0, flags.group, "N",
                 "columns that share a scale with w4a16", 8, 1 << 20);
  command.option(
      "recipe", 0, flags.recipe, "NAME",
      "compress by a recipe instead: " + llvm::join(listRecipes(), ", ") +
          ", or a file (docs/recipes.md)");
  command.flag("print-recipe", 0, flags.printRecipe,
               "print the recipe, to be changed and given back as a file");
  command.option("precision", 0, flags.precision, "FILE",
                 "JSON with formats of layers: {\"layers.0.\": \"w4a16\"}, or "
                 "bits=N, bytes=N or time=N to choose them within");
  command.section("samples for recipes");
  command.option("calib", 0, flags.calib, "FILE",
                 "text, .npz of images, .npz or .npy of token ids");
  command.option("calib-samples", 0, flags.calibSamples, "N",
                 "at most so many samples, spread evenly over the file", 1,
                 1 << 20);
  command.option("calib-tokens", 0, flags.calibTokens, "N",
                 "tokens of a sample", 1, 1 << 20);
  command.option("calib-out", 0, flags.calibOut, "FILE",
                 "keep what was seen: FILE, and FILE.1 of a second time");
  command.option("calib-in", 0, flags.calibIn, "FILE",
                 "take what was kept instead of running the model");
  command.section("entry points");
  command.list("batch", 0, flags.batches, "N,...",
               "sequences that decode together, an entry point each", 1, 4096);
  command.list(
      "prefill", 0, flags.prefill, "N,...",
      "tokens of a prompt that are computed together, an entry point each", 1,
      65536);
  command.option(
      "max-length", 0, flags.maxLength, "N",
      "tokens that a sequence can hold; 0: as the model says, or 2048", 0,
      1 << 24);
  command.list("dim", 0, flags.dims, "NAME=N,...",
               "the size of a dimension that the file leaves open; several "
               "values of a name: an entry point each");
  command.list("state", 0, flags.states, "PAST=PRESENT,...",
               "an input and an output that are one state");
  command.flag("relax-seq", 0, flags.relaxSequence,
               "free a number of tokens that the file fixes (models of scans)");
  command.flag("add-states", 0, flags.addStates,
               "give scans that start at zero a state: the model generates");
  command.flag("states-as-tensors", 0, flags.statesAsTensors,
               "leave pasts as inputs and presents as outputs, as in the file");
  command.flag("allow-literal-scan", 0, flags.allowLiteralScan,
               "compile scans that are not recognised, however large");
  command.flag("raise-cumsum", 0, flags.raiseCumsum,
               "take scans written as cumulative sums (exact to 1e-3)");
  command.flag("strict-paths", 0, flags.strictPaths,
               "refuse links among the model's data files");
  command.section("looking inside");
  command.choice("stop-after", 0, flags.stopAfter,
                 {"onnx", "eff", "plan", "llvm", "objects", "file"},
                 "print the model at this level instead (objects: write them "
                 "to the output directory)");
  command.option("dump-dir", 0, flags.dumpDir, "DIR",
                 "write the IR after each level to DIR");
  command.choice("timing", 0, flags.timing, {"none", "text", "json"},
                 "time of each stage, on standard error");
  command.flag("report-raise", 0, flags.reportRaise,
               "print how each scan and convolution was found");
  command.flag("verify-raise", 0, flags.verifyRaise,
               "compare every entry point with the file's graph on random "
               "numbers");
  command.flag("verbose", 'v', flags.verbose,
               "print every decision of every pass");
  command.section("running");
  command.option("jobs", 'j', flags.jobs, "N",
                 "threads; 0: one for each core that may be used", 0, 1024);
  command.flag("json", 0, flags.asJson,
               "print one JSON object with sizes, decisions and times");
  command.flag("quiet", 'q', flags.quiet, "no progress on standard error");
  if (int status = parseOrHelp(command, call); status >= 0)
    return status;
  if (flags.printRecipe) {
    auto recipe = findRecipe(flags.recipe);
    if (!recipe)
      return report(recipe.takeError());
    std::fputs(recipe->text.c_str(), stdout);
    return 0;
  }
  if (flags.output.empty())
    flags.output = defaultOutput(flags);

  std::string targetReason;
  auto options = toOptions(flags, targetReason);
  if (!options)
    return report(options.takeError());
  Stages stages(flags.quiet);
  double start = now();
  auto result = compileModel(*options, stages.observer());
  stages.end();
  if (!result)
    return report(result.takeError());
  double seconds = now() - start;

  if (flags.timing == "text")
    for (const StageTime &t : result->times)
      std::fprintf(stderr, "  %-12s %7.3f s\n", t.name.c_str(), t.seconds);
  if (flags.timing == "json") {
    llvm::json::Array times;
    for (const StageTime &t : result->times)
      times.push_back(
          llvm::json::Object{{"stage", t.name}, {"seconds", t.seconds}});
    llvm::errs() << llvm::json::Value(std::move(times)) << "\n";
  }
  if (flags.verbose)
    for (const Decision &d : result->decisions) {
      std::fprintf(stderr, "%s %s %s:", d.pass.c_str(), d.where.c_str(),
                   d.name.c_str());
      for (const auto &[key, value] : d.values)
        std::fprintf(stderr, " %s=%s", key.c_str(), value.c_str());
      std::fputc('\n', stderr);
    }
  if (flags.reportRaise || (flags.verifyRaise && !flags.quiet))
    printRaise(*result);
  if (options->stopAfter != Stage::File) {
    std::fputs(result->text.c_str(), stdout);
    return 0;
  }
  auto info = effrt::readInfo(flags.output);
  if (!info)
    return reportError(info.error());
  if (flags.asJson)
    llvm::outs() << toJson(*info, *result, seconds) << "\n";
  else if (!flags.quiet)
    printSummary(*info, seconds, flags, targetReason);
  return 0;
}
