//===- Calibrate.cpp - effc calibrate -------------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Stages.h"
#include "Verbs.h"

#include "cli.h"
#include "common.h"

#include "effc/Calibrate/Calibrate.h"
#include "effc/Pipelines/Compile.h"
#include "effc/Pipelines/Registration.h"
#include "effc/Support/Error.h"

#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>

using namespace effc;
using namespace effrt::tools;
using compress::Observer;
using compress::ObserverKind;
using effc::driver::parseStatePairs;
using effc::driver::Stages;

namespace {

struct Flags {
  std::string input, samples, cut = "windows", load, save, tokenizer;
  std::vector<std::string> observe, dims, states;
  int count = 128, tokens = 512, jobs = 0, top = 30;
  bool only = false, asJson = false, quiet = false, strictPaths = false;
};

/// What is known of one value.
struct Row {
  std::string name;
  std::vector<std::string> aliases, kinds;
  int64_t channels = 0, rows = 0, samples = 0;
  std::optional<double> max, percentile, outliers;
};

/// The largest channel maximum over the mean one: 1 when all channels reach as
/// far.
double outlierRatio(const std::vector<float> &maxima) {
  double sum = 0, max = 0;
  for (float value : maxima) {
    sum += value;
    max = std::max<double>(max, value);
  }
  return sum > 0 ? max * double(maxima.size()) / sum : 1;
}

void describe(Row &row, const Observer &observer) {
  const compress::ObserverSettings &settings = observer.getSettings();
  row.kinds.push_back(compress::getName(settings.kind));
  row.channels = settings.channels;
  row.rows = observer.getRows();
  row.samples = observer.getSamples();
  if (settings.kind == ObserverKind::Hessian)
    return;
  auto values = observer.getValues();
  if (!values)
    return;
  switch (settings.kind) {
  case ObserverKind::ChannelAbsMax:
    row.outliers = outlierRatio(*values);
    row.max = *std::max_element(values->begin(), values->end());
    break;
  case ObserverKind::AbsMax:
  case ObserverKind::GroupAbsMax:
    row.max = *std::max_element(values->begin(), values->end());
    break;
  case ObserverKind::RunningPercentile:
  case ObserverKind::HistogramPercentile:
    row.percentile = (*values)[0];
    break;
  default:
    break;
  }
}

/// One row for each value, the largest outlier ratio first.
std::vector<Row> tabulate(const compress::Calibration &calibration) {
  auto valueOf = [](const std::string &name) {
    return name.substr(0, name.rfind('/'));
  };
  std::map<std::string, Row> rows;
  for (const auto &[name, observer] : calibration.getAll()) {
    Row &row = rows[valueOf(name)];
    row.name = valueOf(name);
    describe(row, *observer);
  }
  for (const auto &[alias, name] : calibration.getAliases()) {
    Row &row = rows[valueOf(name)];
    if (row.aliases.empty() || row.aliases.back() != valueOf(alias))
      row.aliases.push_back(valueOf(alias));
  }
  std::vector<Row> sorted;
  for (auto &[name, row] : rows) {
    std::sort(row.aliases.begin(), row.aliases.end());
    row.aliases.erase(std::unique(row.aliases.begin(), row.aliases.end()),
                      row.aliases.end());
    sorted.push_back(std::move(row));
  }
  llvm::sort(sorted, [](const Row &a, const Row &b) {
    double x = a.outliers.value_or(0), y = b.outliers.value_or(0);
    return x != y ? x > y : a.name < b.name;
  });
  return sorted;
}

std::string number(std::optional<double> value) {
  if (!value)
    return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", *value);
  return text;
}

void printTable(const compress::Calibration &calibration,
                const std::vector<Row> &rows, int top) {
  size_t shown = top ? std::min(rows.size(), size_t(top)) : rows.size();
  size_t width = 20;
  for (size_t i = 0; i < shown; ++i)
    width = std::max(width, rows[i].name.size());
  std::printf("  %s\n\n", calibration.description.c_str());
  std::printf("  %-*s %8s %10s %10s %9s\n", int(width), "value", "channels",
              "max", "percentile", "outliers");
  for (size_t i = 0; i < shown; ++i)
    std::printf("  %-*s %8lld %10s %10s %9s\n", int(width),
                rows[i].name.c_str(), (long long)rows[i].channels,
                number(rows[i].max).c_str(), number(rows[i].percentile).c_str(),
                number(rows[i].outliers).c_str());
  std::printf("\n  outliers: the largest channel's maximum over the mean "
              "channel's\n");
  if (shown < rows.size())
    std::printf("  %zu more values with --top 0\n", rows.size() - shown);
}

llvm::json::Value toJson(const compress::Calibration &calibration,
                         const std::vector<Row> &rows, const Flags &flags) {
  auto optional = [](std::optional<double> value) {
    return value ? llvm::json::Value(*value) : llvm::json::Value(nullptr);
  };
  llvm::json::Array values;
  for (const Row &row : rows)
    values.push_back(
        llvm::json::Object{{"name", row.name},
                           {"aliases", llvm::json::Array(row.aliases)},
                           {"observers", llvm::json::Array(row.kinds)},
                           {"channels", row.channels},
                           {"rows", row.rows},
                           {"samples", row.samples},
                           {"max", optional(row.max)},
                           {"percentile", optional(row.percentile)},
                           {"outliers", optional(row.outliers)}});
  return llvm::json::Object{{"model", calibration.fingerprint},
                            {"description", calibration.description},
                            {"file", flags.save},
                            {"values", std::move(values)}};
}

llvm::Expected<CalibrateOptions> toOptions(const Flags &flags) {
  CalibrateOptions options;
  options.samples = flags.samples;
  options.sampleCount = flags.count;
  options.sampleTokens = flags.tokens;
  options.cut =
      flags.cut == "documents" ? SampleCut::Documents : SampleCut::Windows;
  options.threads = unsigned(flags.jobs);
  options.defaults = !flags.only;
  options.interrupt = catchInterrupt();
  // What recipes clip: the inputs of scans.
  if (!flags.only)
    for (const char *pattern : {"ssm:*:u", "ssd:*:x"}) {
      ObserveRequest request;
      request.pattern = pattern;
      request.settings.kind = ObserverKind::RunningPercentile;
      request.optional = true;
      options.observe.push_back(request);
    }
  for (const std::string &text : flags.observe) {
    auto request = parseObserveRequest(text);
    if (!request)
      return request.takeError();
    options.observe.push_back(*request);
  }
  return options;
}

llvm::Expected<CompileOptions> modelOptions(const Flags &flags) {
  CompileOptions options;
  options.input = flags.input;
  options.prefill = {std::min(flags.tokens, 512)};
  options.dims = flags.dims;
  options.tokenizer = flags.tokenizer;
  options.import.strictPaths = flags.strictPaths;
  auto pairs = parseStatePairs(flags.states);
  if (!pairs)
    return pairs.takeError();
  options.statePairs = std::move(*pairs);
  return options;
}

llvm::Expected<compress::Calibration> obtain(const Flags &flags,
                                             Stages &stages) {
  auto compile = modelOptions(flags);
  if (!compile)
    return compile.takeError();
  auto options = toOptions(flags);
  if (!options)
    return options.takeError();
  CompileObserver observer = stages.observer();
  options->progress = observer.progress;
  options->warning = observer.warning;
  auto tokenizer = findTokenizer(*compile);
  if (!tokenizer)
    return tokenizer.takeError();
  options->tokenizer = std::move(*tokenizer);

  mlir::DialectRegistry registry;
  registerDialects(registry);
  mlir::MLIRContext context(registry);
  context.printOpOnDiagnostic(false);
  auto model = raiseModel(context, *compile, observer);
  if (!model)
    return model.takeError();
  if (!flags.load.empty())
    return loadCalibration(flags.load, **model);
  return calibrate(**model, *options);
}

} // namespace

int effc::driver::calibrateVerb(const Invocation &call) {
  Flags flags;
  effrt::cli::Command command(
      "calibrate",
      "Runs a model on samples and shows how far its values reach.",
      "MODEL.onnx --calib FILE [--calib-out FILE]",
      {"effc calibrate model.onnx --calib text.txt --calib-out model.calib",
       "effc calibrate model.onnx --calib text.txt "
       "--observe 'linear:*:in=hessian'",
       "effc calibrate vit.onnx --calib images.npz --top 0",
       "effc calibrate model.onnx --calib-in model.calib --json"});
  command.positional("MODEL.onnx", flags.input);
  command.section("samples");
  command.option("calib", 0, flags.samples, "FILE",
                 "text, .npz of images [n, h, w, c] uint8 or of arrays named "
                 "as the inputs, .npz or .npy of token ids");
  command.option("calib-samples", 0, flags.count, "N",
                 "at most so many samples, spread evenly over the file", 1,
                 1 << 20);
  command.option("calib-tokens", 0, flags.tokens, "N", "tokens of a sample", 1,
                 1 << 20);
  command.choice("calib-cut", 0, flags.cut, {"windows", "documents"},
                 "how a text is cut: into consecutive windows, or at blank "
                 "lines");
  command.option("tokenizer", 0, flags.tokenizer, "FILE",
                 "tokenizer.json; default: MODEL.tokenizer.json or "
                 "tokenizer.json beside the model");
  command.section("statistics");
  command.list("observe", 0, flags.observe, "PATTERN=KIND,...",
               "further statistics of the values whose names match: "
               "channel-abs-max, hessian, running-percentile:alpha=0.999, ...");
  command.flag("observe-only", 0, flags.only,
               "nothing but what --observe asks for");
  command.option("calib-out", 0, flags.save, "FILE",
                 "save the result: FILE (JSON) and FILE.bin");
  command.option("calib-in", 0, flags.load, "FILE",
                 "show a saved result instead of running the model");
  command.section("model");
  command.list("dim", 0, flags.dims, "NAME=N,...",
               "the size of a dimension that the file leaves open");
  command.list("state", 0, flags.states, "PAST=PRESENT,...",
               "an input and an output that are one state");
  command.flag("strict-paths", 0, flags.strictPaths,
               "refuse links among the model's data files");
  command.section("running");
  command.option("top", 0, flags.top, "N",
                 "show the N values with the most outliers; 0: all", 0,
                 1 << 20);
  command.option("jobs", 'j', flags.jobs, "N",
                 "threads; 0: one for each core that may be used", 0, 1024);
  command.flag("json", 0, flags.asJson, "print one JSON object");
  command.flag("quiet", 'q', flags.quiet, "no progress on standard error");
  if (int status = parseOrHelp(command, call); status >= 0)
    return status;
  if (flags.samples.empty() == flags.load.empty())
    return report(makeError(
        ErrorCode::BadOption, "samples are needed, or a saved calibration", "",
        "", "--calib FILE with some thousand words of text, or --calib-in"));
  Stages stages(flags.quiet);
  auto calibration = obtain(flags, stages);
  stages.end();
  if (!calibration)
    return report(calibration.takeError());
  if (!flags.save.empty())
    if (llvm::Error error = saveCalibration(*calibration, flags.save))
      return report(std::move(error));
  std::vector<Row> rows = tabulate(*calibration);
  if (flags.asJson)
    llvm::outs() << toJson(*calibration, rows, flags) << "\n";
  else
    printTable(*calibration, rows, flags.top);
  return 0;
}
