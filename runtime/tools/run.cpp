//===- run.cpp - effc run
//---------------------------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "common.h"
#include "npy.h"

#include "effrt/codes.h"
#include "effrt/generate.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <sys/stat.h>
#include <unistd.h>

using namespace effrt;
using namespace effrt::tools;
using nlohmann::json;

namespace {

struct RunOptions {
  std::string model, prompt, promptFile, inputText;
  std::vector<int> ids;
  int tokens = 64, threads = 0, topK = 0, seed = 0;
  double temperature = 0, topP = 1, minP = 0, repetitionPenalty = 1;
  std::vector<std::string> stops, inputs;
  std::string outputDir, entry, tokenizer;
  bool ignoreEos = false, asJson = false, quiet = false, reference = false;
};

/// numpy's name of a tensor type of the manifest.
std::string npyName(DType type) {
  switch (type) {
  case DType::F32:
    return "f4";
  case DType::F16:
    return "f2";
  case DType::F64:
    return "f8";
  case DType::I8:
    return "i1";
  case DType::I16:
    return "i2";
  case DType::I32:
    return "i4";
  case DType::I64:
    return "i8";
  case DType::U8:
    return "u1";
  case DType::U16:
    return "u2";
  case DType::U32:
    return "u4";
  case DType::U64:
    return "u8";
  case DType::Bool:
    return "b1";
  case DType::BF16:
    return "u2";
  }
  return "";
}

std::string shapeText(const std::vector<int64_t> &shape) {
  std::string text;
  for (int64_t dim : shape)
    text += (text.empty() ? "" : "x") + std::to_string(dim);
  return text.empty() ? "scalar" : text;
}

/// The bytes that an input of the model wants, from an array of any numeric
/// type.
Result<std::vector<uint8_t>> convertInput(const NpyArray &array,
                                          const TensorInfo &info,
                                          const std::string &file) {
  if (array.shape != info.shape)
    return fail(Code::BadInput, "input '" + info.name + "' has another shape",
                file,
                "it is " + shapeText(array.shape) + ", the model takes " +
                    shapeText(info.shape),
                "effc inspect shows the shapes of every entry point");
  if (array.dtype == npyName(info.dtype))
    return array.bytes;
  std::vector<uint8_t> bytes(info.bytes());
  for (int64_t i = 0, n = array.size(); i < n; ++i) {
    double value = array.at(i);
    auto put = [&](auto typed) {
      std::memcpy(bytes.data() + static_cast<size_t>(i) * sizeof typed, &typed,
                  sizeof typed);
    };
    if (info.dtype == DType::F32)
      put(static_cast<float>(value));
    else if (info.dtype == DType::F64)
      put(value);
    else if (info.dtype == DType::I32 && std::abs(value) < 2147483648.0)
      put(static_cast<int32_t>(value));
    else if (info.dtype == DType::I64 && std::abs(value) < 9.2e18)
      put(static_cast<int64_t>(value));
    else
      return fail(Code::BadInput,
                  "input '" + info.name + "' cannot be converted", file,
                  "it is " + array.dtype + ", the model takes " +
                      dtypeName(info.dtype));
  }
  return bytes;
}

struct NamedArray {
  std::string name, file;
  NpyArray array;
};

const TensorInfo *findInput(const EntryInfo &entry, const std::string &name) {
  for (const TensorInfo &info : entry.inputs)
    if (info.name == name)
      return &info;
  return nullptr;
}

/// The entry point of that name, or the first that takes arrays of these
/// shapes; when none does, the first that goes forward, whose errors say why.
const EntryInfo *chooseEntry(const Manifest &manifest, const std::string &name,
                             const std::vector<NamedArray> &arrays) {
  const EntryInfo *first = nullptr;
  for (const EntryInfo &entry : manifest.entries) {
    if (!name.empty() && entry.name == name)
      return &entry;
    if (!name.empty() || entry.kind != EFF_ENTRY_FORWARD)
      continue;
    if (!first)
      first = &entry;
    if (std::all_of(arrays.begin(), arrays.end(), [&](const NamedArray &given) {
          const TensorInfo *info = findInput(entry, given.name);
          return info && info->shape == given.array.shape;
        }))
      return &entry;
  }
  return first;
}

/// run --input NAME=FILE.npy ...: tensors in, tensors out.
int runTensors(Engine &engine, const RunOptions &options) {
  const Manifest &manifest = engine.model().manifest();
  std::vector<NamedArray> arrays;
  for (const std::string &word : options.inputs) {
    size_t equals = word.find('=');
    if (equals == std::string::npos)
      return reportError(fail(Code::BadInput, "'" + word + "' names no file",
                              "--input", "", "write --input NAME=FILE.npy"));
    std::string file = word.substr(equals + 1);
    auto array = readNpy(file);
    if (!array)
      return reportError(array.error());
    arrays.push_back({word.substr(0, equals), file, array.take()});
  }
  const EntryInfo *entry = chooseEntry(manifest, options.entry, arrays);
  if (!entry)
    return reportError(fail(Code::BadInput, "the model has no such entry point",
                            options.entry, "", "effc inspect lists them"));

  std::vector<std::vector<uint8_t>> buffers;
  buffers.reserve(arrays.size() + entry->outputs.size());
  std::vector<TensorView> inputs, outputs;
  for (const NamedArray &given : arrays) {
    const TensorInfo *info = findInput(*entry, given.name);
    if (!info)
      return reportError(fail(Code::BadInput,
                              "no input is called '" + given.name + "'",
                              entry->name, "",
                              "--input NAME=FILE.npy with a name that effc "
                              "inspect shows"));
    auto bytes = convertInput(given.array, *info, given.file);
    if (!bytes)
      return reportError(bytes.error());
    buffers.push_back(bytes.take());
    inputs.push_back(
        {given.name, buffers.back().data(), buffers.back().size()});
  }
  for (const TensorInfo &info : entry->outputs) {
    buffers.emplace_back(info.bytes());
    outputs.push_back({info.name, buffers.back().data(), info.bytes()});
  }
  double start = now();
  if (Status s = engine.forward(inputs, outputs, entry->name); !s)
    return reportError(s.error());
  double seconds = now() - start;

  if (!options.outputDir.empty() &&
      ::mkdir(options.outputDir.c_str(), 0777) != 0 && errno != EEXIST)
    return reportError(fail(Code::CannotWrite, "cannot make the directory",
                            options.outputDir, std::strerror(errno)));
  json report = json::object();
  for (size_t i = 0; i < outputs.size(); ++i) {
    const TensorInfo &info = entry->outputs[i];
    NpyArray array;
    array.dtype = npyName(info.dtype);
    array.shape = info.shape;
    const uint8_t *data = static_cast<const uint8_t *>(outputs[i].data);
    array.bytes.assign(data, data + outputs[i].bytes);
    json &out = report["outputs"][info.name];
    out["shape"] = info.shape;
    out["dtype"] = dtypeName(info.dtype);
    if (!options.outputDir.empty()) {
      std::string name = info.name;
      for (char &c : name)
        if (c == '/' || c == ':')
          c = '_';
      std::string path = options.outputDir + "/" + name + ".npy";
      if (Status s = writeNpy(path, array); !s)
        return reportError(s.error());
      out["file"] = path;
    }
    if (!options.asJson) {
      std::printf("%s  %s %s ", info.name.c_str(), dtypeName(info.dtype),
                  shapeText(info.shape).c_str());
      for (int64_t k = 0; k < std::min<int64_t>(array.size(), 8); ++k)
        std::printf(" %.6g", array.at(k));
      std::printf("%s\n", array.size() > 8 ? " ..." : "");
    }
  }
  report["seconds"] = seconds;
  if (options.asJson)
    std::printf("%s\n", report.dump().c_str());
  else if (!options.quiet)
    std::fprintf(stderr, "%s in %.3f ms\n", entry->name.c_str(), seconds * 1e3);
  return 0;
}

Result<std::vector<TokenId>> promptTokens(const RunOptions &options,
                                          const Tokenizer *tokenizer,
                                          const std::string &text) {
  if (!options.ids.empty())
    return std::vector<TokenId>(options.ids.begin(), options.ids.end());
  if (!tokenizer)
    return fail(Code::NoTokenizer, "the model has no tokenizer", options.model);
  return tokenizer->encode(text);
}

int runText(Engine &engine, const RunOptions &options) {
  const Manifest &manifest = engine.model().manifest();
  std::optional<Tokenizer> tokenizer;
  if (!manifest.tokenizer.empty()) {
    auto parsed = modelTokenizer(manifest);
    if (!parsed)
      return reportError(parsed.error());
    tokenizer = parsed.take();
  }
  std::string text = options.prompt;
  if (!options.promptFile.empty()) {
    auto read = readText(options.promptFile);
    if (!read)
      return reportError(read.error());
    text = read.take();
  } else if (text == "-") {
    text.clear();
    char part[4096];
    while (size_t count = std::fread(part, 1, sizeof part, stdin))
      text.append(part, count);
  }
  auto prompt = promptTokens(options, tokenizer ? &*tokenizer : nullptr, text);
  if (!prompt)
    return reportError(prompt.error());

  GenerateOptions generation;
  generation.sampling.temperature = options.temperature;
  generation.sampling.topK = static_cast<uint32_t>(options.topK);
  generation.sampling.topP = options.topP;
  generation.sampling.minP = options.minP;
  generation.sampling.repetitionPenalty = options.repetitionPenalty;
  generation.sampling.seed = static_cast<uint64_t>(options.seed);
  generation.maxTokens = static_cast<uint32_t>(options.tokens);
  generation.stops = options.stops;
  generation.ignoreEos = options.ignoreEos;

  if (!options.asJson && tokenizer && options.ids.empty())
    std::fputs(text.c_str(), stdout);
  auto result =
      generate(engine, 0, *prompt, generation,
               tokenizer ? &*tokenizer : nullptr, [&](std::string_view piece) {
                 if (!options.asJson) {
                   std::fwrite(piece.data(), 1, piece.size(), stdout);
                   std::fflush(stdout);
                 }
                 return true;
               });
  if (!result) {
    if (!options.asJson)
      std::fputc('\n', stdout);
    return reportError(result.error());
  }
  double rate =
      result->decoded > 0 ? result->decoded / result->generateSeconds : 0;
  double promptRate = result->promptSeconds > 0
                          ? result->promptTokens / result->promptSeconds
                          : 0;
  // Traffic of one decode step, as the compiler predicted it.
  double stepBytes = 0;
  for (const EntryInfo &entry : manifest.entries)
    if (entry.kind == EFF_ENTRY_DECODE && entry.batch == 1)
      stepBytes = static_cast<double>(entry.bytes);
  Roofs roofs;
  if (!options.quiet) {
    auto measured = knownRoofs(engine.threads(), &engine.model());
    if (measured)
      roofs = *measured;
  }
  double share =
      roofs.bytesPerSecond > 0 ? rate * stepBytes / roofs.bytesPerSecond : 0;
  if (options.asJson) {
    json report = {
        {"text", result->text},
        {"ids", result->tokens},
        {"finish", finishReasonName(result->reason)},
        {"prompt_tokens", result->promptTokens},
        {"generated_tokens", result->tokens.size()},
        {"prompt_tokens_per_second", promptRate},
        {"tokens_per_second", rate},
        {"threads", engine.threads()},
        {"bytes_per_token", stepBytes},
        {"read_bandwidth", roofs.bytesPerSecond},
        {"share_of_bandwidth", share},
    };
    std::printf(
        "%s\n",
        report.dump(-1, ' ', false, json::error_handler_t::replace).c_str());
    return 0;
  }
  if (!tokenizer)
    for (TokenId id : result->tokens)
      std::printf("%u ", id);
  std::fputc('\n', stdout);
  std::fflush(stdout);
  if (!options.quiet) {
    std::fprintf(stderr,
                 "prompt %u tokens at %.0f tok/s, %zu tokens at %.1f tok/s",
                 result->promptTokens, promptRate, result->tokens.size(), rate);
    if (share > 0)
      std::fprintf(stderr, " (%.0f GB/s, %.0f %% of the memory bandwidth%s)",
                   rate * stepBytes / 1e9, share * 100,
                   share > 1 ? ": the weights stay in the cache" : "");
    std::fprintf(stderr, "\n");
  }
  return result->reason == FinishReason::Interrupt ? 130 : 0;
}

} // namespace

int tools::runVerb(const Invocation &call, const ReferenceRunner &reference) {
  RunOptions options;
  bool embedded = call.embedded != nullptr;
  cli::Command command(
      "run", "Generates text with a model, or runs it on tensors.",
      std::string(embedded ? "" : "MODEL.eff ") + "-p TEXT [-n TOKENS]",
      {call.program + " run model.eff -p \"The river\" -n 64",
       call.program + " run model.eff -p \"The river\" --temperature 0.8 "
                      "--top-p 0.95 --seed 7",
       call.program +
           " run vit.eff --input pixel_values=image.npy --output-dir out"});
  if (!embedded)
    command.positional("MODEL", options.model);
  command.section("text");
  command.option("prompt", 'p', options.prompt, "TEXT",
                 "what to continue; - reads it from standard input");
  command.option("prompt-file", 'f', options.promptFile, "FILE",
                 "read the prompt from a file");
  command.list("ids", 0, options.ids, "ID,...", "the prompt as token ids", 0,
               1 << 30);
  command.option("tokens", 'n', options.tokens, "N",
                 "how many tokens to write at most; 0: until the model is full",
                 0, 1 << 30);
  command.list("stop", 0, options.stops, "TEXT,...",
               "end when one of these texts appears");
  command.flag("ignore-eos", 0, options.ignoreEos,
               "go on after an end-of-text token");
  command.section("sampling");
  command.option("temperature", 0, options.temperature, "T",
                 "0 always takes the most likely token", 0, 100);
  command.option("top-k", 0, options.topK, "K",
                 "sample from the K most likely tokens; 0: all", 0, 1 << 30);
  command.option("top-p", 0, options.topP, "P",
                 "sample from the smallest set that holds this probability", 0,
                 1);
  command.option("min-p", 0, options.minP, "P",
                 "drop tokens below this share of the most likely one", 0, 1);
  command.option("repeat-penalty", 0, options.repetitionPenalty, "R",
                 "divide the logits of tokens that occurred already; 1: off",
                 0.01, 100);
  command.option("seed", 's', options.seed, "N",
                 "the same seed gives the same text", 0, 2147483647);
  command.section("tensors");
  command.list("input", 'i', options.inputs, "NAME=FILE.npy,...",
               "an input of a model that takes tensors");
  command.option("output-dir", 'o', options.outputDir, "DIR",
                 "write every output to DIR/NAME.npy");
  command.option("entry", 0, options.entry, "NAME",
                 "the entry point to run; default: the first");
  command.section("running");
  command.option("threads", 't', options.threads, "N",
                 "threads; 0: one for each core that may be used", 0, 1024);
  command.flag("json", 0, options.asJson,
               "print one JSON object instead of text");
  command.flag("quiet", 'q', options.quiet, "no statistics on standard error");
  if (reference) {
    command.flag("reference", 0, options.reference,
                 "interpret MODEL.onnx with the reference interpreter, without "
                 "compiling it");
    command.option("tokenizer", 0, options.tokenizer, "FILE",
                   "tokenizer.json for --reference; default: beside the model");
  }
  if (int status = parseOrHelp(command, call); status >= 0)
    return status;
  if (options.reference)
    return reference({options.model, options.prompt, options.ids,
                      options.tokens, options.tokenizer, options.asJson});

  auto model = openModel(call, options.model);
  if (!model)
    return reportError(model.error());
  EngineOptions engineOptions;
  engineOptions.threads = options.threads;
  engineOptions.interrupt = catchInterrupt();
  auto engine = Engine::create(*model, engineOptions);
  if (!engine)
    return reportError(engine.error());
  bool tensors = !options.inputs.empty() ||
                 (*model)->manifest().kind != ModelKind::CausalLM;
  if (tensors)
    return runTensors(**engine, options);
  if (options.prompt.empty() && options.promptFile.empty() &&
      options.ids.empty())
    return reportError(fail(Code::BadOption, "there is no prompt", "", "",
                            "-p TEXT, --prompt-file FILE or --ids ID,..."));
  return runText(**engine, options);
}
