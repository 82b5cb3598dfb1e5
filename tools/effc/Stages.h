//===- Stages.h - what the compiling verbs of effc share --------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_TOOLS_EFFC_STAGES_H
#define EFFC_TOOLS_EFFC_STAGES_H

#include "common.h"

#include "effc/Pipelines/Compile.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace effc::driver {

/// Prints an error. The exit status: 1, or 2 for a fault of effc itself.
int report(llvm::Error error);

/// The pairs of --state PAST=PRESENT.
llvm::Expected<std::vector<std::pair<std::string, std::string>>>
parseStatePairs(const std::vector<std::string> &words);

/// Shows the stages: one moving line on a terminal, one plain line per stage
/// elsewhere.
class Stages {
public:
  explicit Stages(bool quiet) : quiet(quiet) {}

  /// Shows what it hears; lives no longer than this.
  CompileObserver observer();
  void update(llvm::StringRef stage, uint64_t done, uint64_t total);
  void end() { line.reset(); }

private:
  bool quiet;
  std::string current;
  std::optional<effrt::tools::Progress> line;
};

} // namespace effc::driver

#endif // EFFC_TOOLS_EFFC_STAGES_H
