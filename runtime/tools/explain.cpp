//===- explain.cpp - effc explain -----------------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "common.h"

#include "effrt/codes.h"
#include "effrt/cpu.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>

using namespace effrt;
using namespace effrt::tools;
using json = nlohmann::ordered_json;

namespace {

/// What one pass decided at one place.
struct Decision {
  std::string pass, name, kind, where;
  std::vector<std::pair<std::string, std::string>> values;

  const std::string *find(const char *key) const {
    for (const auto &[k, value] : values)
      if (k == key)
        return &value;
    return nullptr;
  }
  std::optional<double> number(const char *key) const {
    const std::string *text = find(key);
    if (!text)
      return std::nullopt;
    char *end = nullptr;
    double value = std::strtod(text->c_str(), &end);
    if (end == text->c_str() || *end)
      return std::nullopt;
    return value;
  }
};

/// One weight, what became of it and why.
struct Layer {
  std::string name, format, before, reason;
  std::optional<double> bytesBefore, error;
  uint64_t bytes = 0;
  double seconds = 0;    ///< to read it once
  bool isChosen = false; ///< the reason is that of a search
};

std::string textOf(const json &object, const char *name) {
  auto member = object.find(name);
  return member != object.end() && member->is_string()
             ? member->get<std::string>()
             : std::string();
}

/// The member "decisions" of a manifest (docs/runtime-abi.md). What does not
/// have its form is left out: an older or newer effc wrote it.
std::vector<Decision> readDecisions(const std::string &manifest) {
  std::vector<Decision> decisions;
  json root = json::parse(manifest, nullptr, /*allow_exceptions=*/false);
  auto groups = root.is_object() ? root.find("decisions") : root.end();
  if (!root.is_object() || groups == root.end() || !groups->is_array())
    return decisions;
  for (const json &group : *groups) {
    if (!group.is_object() || !group.contains("keys") ||
        !group["keys"].is_array() || !group.contains("rows") ||
        !group["rows"].is_array())
      continue;
    const json &keys = group["keys"];
    for (const json &row : group["rows"]) {
      bool fits = row.is_array() && row.size() == keys.size() + 1;
      for (size_t i = 0; fits && i < row.size(); ++i)
        fits = row[i].is_string() && (i == 0 || keys[i - 1].is_string());
      if (!fits)
        continue;
      Decision decision;
      decision.pass = textOf(group, "pass");
      decision.name = textOf(group, "name");
      decision.kind = textOf(group, "kind");
      decision.where = row[0].get<std::string>();
      for (size_t i = 0; i < keys.size(); ++i)
        decision.values.emplace_back(keys[i].get<std::string>(),
                                     row[i + 1].get<std::string>());
      decisions.push_back(std::move(decision));
    }
  }
  return decisions;
}

/// The weights that the model reads, in the order of the file, each with what
/// was decided about it.
std::vector<Layer> makeLayers(const Manifest &manifest,
                              const std::vector<Decision> &decisions,
                              double bytesPerSecond) {
  std::vector<Layer> layers;
  std::map<std::string, size_t> index;
  for (const WeightInfo &weight : manifest.weights) {
    if (weight.shape.size() < 2)
      continue; // vectors: nothing is decided about them
    Layer layer;
    layer.name = weight.name;
    layer.format = weight.format;
    layer.bytes = weight.bytes;
    if (bytesPerSecond > 0)
      layer.seconds = double(weight.bytes) / bytesPerSecond;
    index[layer.name] = layers.size();
    layers.push_back(std::move(layer));
  }
  for (const Decision &decision : decisions) {
    const std::string *subject = decision.find("Weight");
    if (!subject)
      subject = decision.find("Remark");
    auto found = index.find(subject ? *subject : decision.where);
    if (found == index.end())
      continue;
    Layer &layer = layers[found->second];
    if (auto before = decision.number("BytesBefore"))
      layer.bytesBefore = before;
    if (const std::string *from = decision.find("From"))
      layer.before = *from;
    // Of several reasons, that of the format, and of the search for it.
    bool isChosen = decision.pass == "choose-precision";
    if (const std::string *reason = decision.find("Reason");
        reason && (layer.reason.empty() || isChosen ||
                   (decision.find("BytesBefore") && !layer.isChosen)))
      layer.reason = *reason;
    layer.isChosen |= isChosen;
    if (auto error = decision.number("OutputError"))
      layer.error = error;
  }
  return layers;
}

void printLayers(const std::vector<Layer> &layers, size_t top) {
  size_t width = 16, shown = top ? std::min(top, layers.size()) : layers.size();
  for (size_t i = 0; i < shown; ++i)
    width = std::max(width, layers[i].name.size());
  std::printf("  %-*s %-10s %10s %10s %10s %9s  %s\n", int(width), "layer",
              "format", "before", "after", "read", "error", "why");
  double before = 0, after = 0, seconds = 0;
  auto time = [](double value) {
    char text[32];
    std::snprintf(text, sizeof text, value ? "%.1f us" : "-", value * 1e6);
    return std::string(text);
  };
  for (size_t i = 0; i < layers.size(); ++i) {
    const Layer &layer = layers[i];
    before += layer.bytesBefore.value_or(double(layer.bytes));
    after += double(layer.bytes);
    seconds += layer.seconds;
    if (i >= shown)
      continue;
    char error[32] = "-";
    if (layer.error)
      std::snprintf(error, sizeof error, "%.2e", *layer.error);
    std::printf("  %-*s %-10s %10s %10s %10s %9s  %s\n", int(width),
                layer.name.c_str(), layer.format.c_str(),
                layer.bytesBefore ? humanBytes(*layer.bytesBefore).c_str()
                                  : "-",
                humanBytes(double(layer.bytes)).c_str(),
                time(layer.seconds).c_str(), error, layer.reason.c_str());
  }
  if (shown < layers.size())
    std::printf("  ... and %zu more (--top 0)\n", layers.size() - shown);
  std::printf("  %-*s %-10s %10s %10s %10s\n", int(width), "all", "",
              humanBytes(before).c_str(), humanBytes(after).c_str(),
              time(seconds).c_str());
}

void printDecisions(const std::vector<Decision> &decisions, bool each) {
  std::map<std::pair<std::string, std::string>, size_t> counts;
  for (const Decision &decision : decisions)
    ++counts[{decision.pass, decision.name}];
  std::printf("\n  %-26s %-24s %8s\n", "pass", "decision", "times");
  for (const auto &[key, count] : counts)
    std::printf("  %-26s %-24s %8zu\n", key.first.c_str(), key.second.c_str(),
                count);
  if (!each)
    return;
  std::printf("\n");
  for (const Decision &decision : decisions) {
    std::printf("  %s %s %s:", decision.pass.c_str(), decision.where.c_str(),
                decision.name.c_str());
    for (const auto &[key, value] : decision.values)
      std::printf(" %s=%s", key.c_str(), value.c_str());
    std::printf("\n");
  }
}

/// What `effc compile --precision FILE` takes.
int printFormats(const ModelInfo &info) {
  json recipe = json::parse(info.manifest.recipe, nullptr, false);
  if (!recipe.is_object() || !recipe.contains("precision"))
    return reportError(fail(Code::BadOption,
                            "the layers have no formats of their own",
                            info.path, "it was compiled without --precision"));
  std::printf("%s\n", recipe["precision"].dump(2).c_str());
  return 0;
}

json toJson(const ModelInfo &info, const std::vector<Layer> &layers,
            const std::vector<Decision> &decisions) {
  auto optional = [](std::optional<double> value) {
    return value ? json(*value) : json(nullptr);
  };
  json list = json::array(), all = json::array();
  for (const Layer &layer : layers)
    list.push_back(
        {{"name", layer.name},
         {"format", layer.format},
         {"format_before",
          layer.before.empty() ? json(nullptr) : json(layer.before)},
         {"bytes", layer.bytes},
         {"bytes_before", optional(layer.bytesBefore)},
         {"read_seconds", layer.seconds ? json(layer.seconds) : json(nullptr)},
         {"error", optional(layer.error)},
         {"reason", layer.reason}});
  for (const Decision &decision : decisions) {
    json values = json::object();
    for (const auto &[key, value] : decision.values)
      values[key] = value;
    all.push_back({{"pass", decision.pass},
                   {"name", decision.name},
                   {"kind", decision.kind},
                   {"where", decision.where},
                   {"values", std::move(values)}});
  }
  json recipe = json::parse(info.manifest.recipe, nullptr, false);
  return {{"file", info.path},
          {"recipe", recipe.is_discarded() ? json(nullptr) : recipe},
          {"layers", std::move(list)},
          {"decisions", std::move(all)}};
}

} // namespace

int tools::explainVerb(const Invocation &call) {
  std::string path, pass;
  bool asJson = false, each = false, formats = false;
  int top = 40;
  cli::Command command(
      "explain", "Shows what the compiler decided about a model, and why.",
      "MODEL.eff",
      {call.program + " explain model.eff",
       call.program + " explain model.eff --pass eff-fuse-epilogue --all",
       call.program + " explain model.eff --json",
       call.program + " explain model.eff --precision > formats.json"});
  command.positional("MODEL", path);
  command.option("top", 0, top, "N",
                 "show the first N weights of the file; 0: all", 0, 1 << 30);
  command.option("pass", 0, pass, "NAME", "the decisions of one pass only");
  command.flag("all", 'a', each, "every decision with its numbers");
  command.flag("json", 0, asJson, "print one JSON object");
  command.flag("precision", 0, formats,
               "print the formats of layers, for --precision of a compilation");
  if (int status = parseOrHelp(command, call); status >= 0)
    return status;
  auto info = readInfo(path);
  if (!info)
    return reportError(info.error());
  if (formats)
    return printFormats(*info);
  std::vector<Decision> decisions = readDecisions(info->manifest.text);
  // The rate at which one token's weights come from memory.
  auto roofs = knownRoofs(usableCpus().defaultThreads());
  std::vector<Layer> layers =
      makeLayers(info->manifest, decisions, roofs ? roofs->bytesPerSecond : 0);
  if (!pass.empty()) {
    std::string known;
    std::vector<Decision> kept;
    for (Decision &decision : decisions) {
      if (known.find(decision.pass) == std::string::npos)
        known += (known.empty() ? "" : ", ") + decision.pass;
      if (decision.pass == pass)
        kept.push_back(std::move(decision));
    }
    if (kept.empty())
      return reportError(fail(
          Code::BadOption, "no decision of a pass '" + pass + "'", path,
          known.empty() ? "the file keeps none" : "it has those of " + known));
    decisions = std::move(kept);
  }
  if (asJson) {
    std::printf("%s\n", toJson(*info, layers, decisions).dump(2).c_str());
    return 0;
  }
  if (pass.empty())
    printLayers(layers, size_t(top));
  if (decisions.empty())
    std::printf("\n  the file keeps no decisions\n");
  else
    printDecisions(decisions, each);
  return 0;
}
