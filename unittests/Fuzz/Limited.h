//===- Limited.h - work in a process of its own, with limits ----*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_UNITTESTS_FUZZ_LIMITED_H
#define EFFC_UNITTESTS_FUZZ_LIMITED_H

#include <cstdint>
#include <functional>
#include <string>

namespace effc::fuzz {

struct Limits {
  int seconds = 10; ///< of processor time; of the clock six times as much
  uint64_t bytes = uint64_t(2) << 30; ///< of memory in use
};

struct Outcome {
  enum Kind { Accepted, Refused, Crashed, TooSlow, TooLarge };
  Kind kind = Refused;
  double seconds = 0; ///< processor time
  uint64_t bytes = 0; ///< the most memory in use
  std::string text;   ///< the end of what a crash printed
};
const char *outcomeName(Outcome::Kind kind);

/// Runs `body` in a fork of this process. It says whether the input was
/// accepted. Only for processes of one thread.
Outcome runLimited(const std::function<bool()> &body,
                   const Limits &limits = {});

} // namespace effc::fuzz

#endif // EFFC_UNITTESTS_FUZZ_LIMITED_H
