//===- effc.cpp - the effc command
//------------------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Verbs.h"

#include "cli.h"
#include "verbs.h"

#include "effc/Support/FileRange.h"
#include "effrt/codes.h"

#include <cstdio>
#include <string>
#include <vector>

using namespace effrt::tools;

namespace {

struct Verb {
  const char *name, *summary;
  int (*run)(const Invocation &);
};

constexpr Verb verbs[] = {
    {"compile", "ONNX model to one native file", effc::driver::compileVerb},
    {"run", "generate text, or run a model on tensors",
     [](const Invocation &call) {
       return runVerb(call, effc::driver::runReference);
     }},
    {"bench", "speed, with the share of this machine's roofline", benchVerb},
    {"eval", "quality: perplexity, accuracy, divergence", evalVerb},
    {"inspect", "what a model file or an ONNX file holds",
     effc::driver::inspectVerb},
    {"explain", "what the compiler decided, and why", explainVerb},
    {"calibrate", "statistics of a model's values, for quantisation",
     effc::driver::calibrateVerb},
    {"targets", "what code can be compiled for", effc::driver::targetsVerb},
    {"doctor", "what this machine can do and whether effc works here",
     effc::driver::doctorVerb},
};

void printHelp(std::FILE *out) {
  std::fputs(
      "effc compiles ONNX models to self-contained native files and runs "
      "them.\n\nusage: effc VERB ...\n\n",
      out);
  for (const Verb &verb : verbs)
    std::fprintf(out, "  %-10s %s\n", verb.name, verb.summary);
  std::fputs("\n  effc VERB --help    flags and examples\n  effc --version\n\n"
             "first steps:\n  effc compile model.onnx -o model.eff\n"
             "  effc run model.eff -p \"The river\" -n 64\n",
             out);
}

} // namespace

int main(int argc, char **argv) {
  effc::exitWhenFilesShrink();
  std::string word = argc > 1 ? argv[1] : "";
  if (word.empty() || word == "--help" || word == "-h" || word == "help") {
    printHelp(word.empty() ? stderr : stdout);
    return word.empty() ? 1 : 0;
  }
  if (word == "--version") {
    std::printf("effc %s\n", EFFC_VERSION);
    return 0;
  }
  Invocation call{"effc", std::vector<std::string>(argv + 2, argv + argc),
                  nullptr};
  std::vector<std::string> names;
  for (const Verb &verb : verbs) {
    if (word == verb.name)
      return verb.run(call);
    names.push_back(verb.name);
  }
  std::string near = effrt::cli::nearest(word, names);
  return reportError(effrt::fail(effrt::Code::BadOption,
                                 "effc has no verb '" + word + "'", "", "",
                                 near.empty() ? "effc --help lists the verbs"
                                              : "did you mean " + near + "?"));
}
