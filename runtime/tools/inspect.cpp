//===- inspect.cpp - effc inspect
//-------------------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "common.h"

#include "effrt/codes.h"
#include "effrt/cpu.h"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <map>

using namespace effrt;
using namespace effrt::tools;
using nlohmann::json;

namespace {

std::string shapeText(const std::vector<int64_t> &shape) {
  std::string text;
  for (int64_t dim : shape)
    text += (text.empty() ? "" : "x") + std::to_string(dim);
  return text.empty() ? "scalar" : text;
}

void printTensors(const char *title, const std::vector<TensorInfo> &tensors) {
  for (const TensorInfo &t : tensors)
    std::printf("    %-7s %-32s %s %s\n", title, t.name.c_str(),
                dtypeName(t.dtype), shapeText(t.shape).c_str());
}

void printText(const ModelInfo &info, bool all) {
  const Manifest &m = info.manifest;
  std::printf("%s\n", info.path.c_str());
  std::printf("  model    %s (%s), %s parameters", m.name.c_str(),
              m.architecture.empty() ? modelKindName(m.kind)
                                     : m.architecture.c_str(),
              humanCount(static_cast<double>(m.parameters)).c_str());
  if (m.vocab > 0)
    std::printf(
        ", vocabulary %lld, up to %s tokens", static_cast<long long>(m.vocab),
        m.maxLength ? std::to_string(m.maxLength).c_str() : "any number of");
  std::printf(
      "\n  file     %s: code %s, weights %s at %llu; made by effc %s, "
      "ABI %u\n",
      humanBytes(static_cast<double>(info.fileBytes)).c_str(),
      humanBytes(static_cast<double>(info.codeBytes)).c_str(),
      humanBytes(static_cast<double>(info.header.weights_bytes)).c_str(),
      static_cast<unsigned long long>(info.weightsOffset),
      m.effcVersion.c_str(), info.header.abi_version);
  std::printf("  text     %s\n", m.tokenizer.empty() ? "no tokenizer"
                                 : m.chatTemplate.empty()
                                     ? "tokenizer"
                                     : "tokenizer and chat template");
  for (const TargetInfo &t : m.targets)
    std::printf("  target   %s\n", t.name.c_str());

  std::printf("\n  entry points\n");
  for (const EntryInfo &e : m.entries) {
    std::printf("    %-20s arena %-9s reads %-9s %s FLOP\n", e.name.c_str(),
                humanBytes(static_cast<double>(e.arenaBytes)).c_str(),
                humanBytes(static_cast<double>(e.bytes)).c_str(),
                humanCount(static_cast<double>(e.flops)).c_str());
    if (all || m.kind != ModelKind::CausalLM) {
      printTensors("input", e.inputs);
      printTensors("output", e.outputs);
    }
  }

  uint64_t stateBytes = 0;
  for (const StateInfo &s : m.states)
    stateBytes += s.bytes;
  if (!m.states.empty())
    std::printf("\n  states: %zu, %s per sequence\n", m.states.size(),
                humanBytes(static_cast<double>(stateBytes)).c_str());
  size_t shown = 0;
  for (const StateInfo &s : m.states) {
    if (!all && shown == 6) {
      std::printf("    ... and %zu more (--all)\n", m.states.size() - shown);
      break;
    }
    ++shown;
    std::printf("    %-32s %-9s %-16s %s\n", s.name.c_str(),
                s.kind == EFF_STATE_CACHE ? "cache" : "recurrent",
                shapeText(s.shape).c_str(),
                humanBytes(static_cast<double>(s.bytes)).c_str());
  }

  std::map<std::string, std::pair<size_t, uint64_t>> formats;
  for (const WeightInfo &w : m.weights) {
    ++formats[w.format].first;
    formats[w.format].second += w.bytes;
  }
  std::printf("\n  weights\n");
  for (const auto &[format, total] : formats)
    std::printf("    %-24s %5zu tensors %10s\n", format.c_str(), total.first,
                humanBytes(static_cast<double>(total.second)).c_str());
  if (all)
    for (const WeightInfo &w : m.weights)
      std::printf("    %-48s %-16s %-20s %s\n", w.name.c_str(),
                  shapeText(w.shape).c_str(), w.format.c_str(),
                  humanBytes(static_cast<double>(w.bytes)).c_str());

  std::map<std::string, size_t> families;
  for (const KernelInfo &k : m.kernels)
    ++families[k.family];
  std::printf("\n  kernels: %zu\n", m.kernels.size());
  if (all)
    for (const KernelInfo &k : m.kernels)
      std::printf("    %-32s %s\n", k.name.c_str(), k.spec.c_str());
  else
    for (const auto &[family, count] : families)
      std::printf("    %-24s %zu\n", family.c_str(), count);
}

json toJson(const ModelInfo &info) {
  json report = json::parse(info.manifest.text, nullptr, false);
  if (!report.is_object())
    report = json::object();
  // The tokenizer is most of the text and rarely what one looks for.
  report["tokenizer"] = !info.manifest.tokenizer.empty();
  report["file"] = {{"path", info.path},
                    {"machine", info.machine},
                    {"bytes", info.fileBytes},
                    {"code_bytes", info.codeBytes},
                    {"weights_bytes", info.header.weights_bytes},
                    {"weights_offset", info.weightsOffset},
                    {"abi_version", info.header.abi_version}};
  return report;
}

} // namespace

int tools::inspectVerb(const Invocation &call) {
  std::string path;
  bool asJson = false, all = false;
  cli::Command command(
      "inspect",
      "Shows what a model file holds, also one for another processor.",
      "MODEL.eff",
      {call.program + " inspect model.eff",
       call.program + " inspect model.eff --json"});
  command.positional("MODEL", path);
  command.flag("all", 'a', all, "every state, weight, kernel and tensor");
  command.flag("json", 0, asJson,
               "the manifest as JSON, with the file's sizes");
  if (int status = parseOrHelp(command, call); status >= 0)
    return status;
  auto info = readInfo(path);
  if (!info)
    return reportError(info.error());
  if (asJson)
    std::printf("%s\n", toJson(*info).dump(2).c_str());
  else
    printText(*info, all);
  return 0;
}
