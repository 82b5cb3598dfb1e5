//===- Inspect.cpp - effc inspect of an ONNX file -------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Verbs.h"

#include "cli.h"
#include "common.h"

#include "effc/Pipelines/Inspect.h"
#include "effc/Support/Error.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>
#include <cstdio>

using namespace effc;
using namespace effrt::tools;

int effc::driver::inspectVerb(const Invocation &call) {
  bool isOnnx = std::any_of(call.words.begin(), call.words.end(),
                            [](const std::string &arg) {
                              return llvm::StringRef(arg).ends_with(".onnx");
                            });
  if (!isOnnx)
    return effrt::tools::inspectVerb(call);
  std::string path;
  bool states = false;
  effrt::cli::Command command(
      "inspect", "Shows the states and open dimensions of an ONNX file.",
      "MODEL.onnx --states", {call.program + " inspect --states model.onnx"});
  command.positional("MODEL.onnx", path);
  command.flag("states", 0, states,
               "past and present pairs, their kinds and symbols (the default)");
  if (int status = parseOrHelp(command, call); status >= 0)
    return status;
  auto info = inspectFile(path);
  if (!info) {
    llvm::logAllUnhandledErrors(info.takeError(), llvm::errs());
    return 1;
  }
  std::printf("states: %zu\n", info->states.size());
  for (const FileState &s : info->states)
    std::printf("  %-32s -> %-32s %-9s  %s\n", s.past.c_str(),
                s.present.c_str(), s.kind.c_str(), s.type.c_str());
  std::printf("symbols: %zu\n", info->symbols.size());
  for (const FileSymbol &s : info->symbols) {
    std::printf("  %-24s %-16s %s\n", s.name.c_str(),
                s.role.empty() ? "-" : s.role.c_str(),
                llvm::join(s.uses.begin(),
                           s.uses.begin() + std::min<size_t>(s.uses.size(), 4),
                           ", ")
                    .c_str());
    if (!s.fixed.empty())
      std::printf("    not free: %s\n", s.fixed.c_str());
  }
  return 0;
}
