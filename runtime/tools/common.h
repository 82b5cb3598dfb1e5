//===- common.h - what several verbs need ---------------------------*- C++
//-*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFRT_TOOLS_COMMON_H
#define EFFRT_TOOLS_COMMON_H

#include "cli.h"
#include "verbs.h"

#include "effrt/engine.h"
#include "effrt/roof.h"

#include <atomic>
#include <string>
#include <vector>

namespace effrt::tools {

/// Parses a verb's words. Returns -1 to go on, else the exit status (0 after
/// --help).
int parseOrHelp(cli::Command &command, const Invocation &call);

/// Set by the first Ctrl-C; the second one ends the process.
const std::atomic<int> *catchInterrupt();

/// The model of the call: the embedded one or the file named.
Result<std::shared_ptr<const Model>> openModel(const Invocation &call,
                                               const std::string &path);

/// The read bandwidth and arithmetic peak of this machine, measured with the
/// same number of threads as the engine's. With a model whose weights may stay
/// in the caches, the bandwidth is that of reading them.
struct Roofs {
  double bytesPerSecond = 0, flops = 0, integerOps = 0;
  std::string instructions;

  /// The least seconds for arithmetic of which `integers` is on bytes.
  double secondsFor(double operations, double integers) const {
    return flops > 0 && integerOps > 0
               ? (operations - integers) / flops + integers / integerOps
               : 0;
  }
};
Result<Roofs> measureRoofs(int threads, bool withPeak,
                           const Model *model = nullptr);
/// The same, with what is the machine's alone kept under $XDG_CACHE_HOME/effc
/// for this processor and number of threads. For figures that orient;
/// benchmarks measure in their own run.
Result<Roofs> knownRoofs(int threads, const Model *model = nullptr);

/// The text of a file.
Result<std::string> readText(const std::string &path);

/// A line that moves on a terminal and says nothing elsewhere.
class Progress {
public:
  explicit Progress(std::string title);
  ~Progress();
  void update(double share, const std::string &text);

private:
  std::string title_;
  bool terminal_;
  double start_, last_ = 0;
};

/// Seconds of a monotonic clock.
double now();
double median(std::vector<double> values);

} // namespace effrt::tools

#endif // EFFRT_TOOLS_COMMON_H
