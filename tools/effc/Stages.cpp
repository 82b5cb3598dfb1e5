//===- Stages.cpp - what the compiling verbs of effc share ----------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Stages.h"

#include "effc/Support/Error.h"

#include "llvm/Support/raw_ostream.h"

#include <cstdio>
#include <unistd.h>

using namespace effc;

int driver::report(llvm::Error error) {
  int status = 1;
  llvm::handleAllErrors(
      std::move(error),
      [&](const UserError &e) {
        e.log(llvm::errs());
        // A fault of effc itself, not of the input.
        if (e.code == ErrorCode::CodeGen)
          status = 2;
      },
      [&](const llvm::ErrorInfoBase &e) {
        llvm::errs() << "error: " << e.message() << "\n";
        status = 2;
      });
  return status;
}

llvm::Expected<std::vector<std::pair<std::string, std::string>>>
driver::parseStatePairs(const std::vector<std::string> &words) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const std::string &word : words) {
    size_t equals = word.find('=');
    if (equals == std::string::npos)
      return makeError(ErrorCode::BadOption,
                       "--state needs PAST=PRESENT, not '" + word + "'");
    pairs.emplace_back(word.substr(0, equals), word.substr(equals + 1));
  }
  return pairs;
}

CompileObserver driver::Stages::observer() {
  CompileObserver observer;
  observer.progress = [this](llvm::StringRef stage, uint64_t done,
                             uint64_t total) { update(stage, done, total); };
  observer.warning = [this](const std::string &text) {
    end();
    std::fprintf(stderr, "warning: %s\n", text.c_str());
  };
  return observer;
}

void driver::Stages::update(llvm::StringRef stage, uint64_t done,
                            uint64_t total) {
  if (quiet)
    return;
  if (stage != current) {
    line.reset();
    current = stage.str();
    if (!isatty(STDERR_FILENO)) {
      std::fprintf(stderr, "  %s\n", current.c_str());
      return;
    }
    line.emplace(current);
  }
  if (line && total > 0)
    line->update(double(done) / double(total),
                 std::to_string(done) + " of " + std::to_string(total));
}
