//===- verbs.h - what effc and effrun can do with a model file ------*- C++
//-*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Each verb takes the words after its name, prints results to stdout and all
/// else to stderr, and returns the exit status: 0, or 1 for an error of input
/// or use.
///
//===----------------------------------------------------------------------===//

#ifndef EFFRT_TOOLS_VERBS_H
#define EFFRT_TOOLS_VERBS_H

#include "effrt/loader.h"
#include "effrt/support.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace effrt::tools {

/// How a program calls the verbs.
struct Invocation {
  std::string program;            ///< "effc"
  std::vector<std::string> words; ///< what follows the verb
  /// The model of an executable made with --emit=exe; such a program's verbs
  /// take no MODEL argument.
  std::shared_ptr<const Model> embedded;
};

/// What `run` was asked to write, for a program that can also interpret ONNX
/// files.
struct ReferenceRequest {
  std::string model, prompt;
  std::vector<int> ids;
  int tokens = 64;
  std::string tokenizer;
  bool json = false;
};
using ReferenceRunner = std::function<int(const ReferenceRequest &)>;

int runVerb(const Invocation &call, const ReferenceRunner &reference = {});
int benchVerb(const Invocation &call);
int evalVerb(const Invocation &call);
int inspectVerb(const Invocation &call);
int explainVerb(const Invocation &call);

/// Prints an error the way every verb does and returns 1.
int reportError(const Error &error);

/// "1.5 GB", "384 KB".
std::string humanBytes(double bytes);
/// "14.5 M", "1.24 B".
std::string humanCount(double count);

} // namespace effrt::tools

#endif // EFFRT_TOOLS_VERBS_H
