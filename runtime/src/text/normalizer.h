//===- normalizer.h - what happens to text before it is split ---*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFRT_SRC_TEXT_NORMALIZER_H
#define EFFRT_SRC_TEXT_NORMALIZER_H

#include "json.h"
#include "pattern.h"

#include <string>
#include <vector>

namespace effrt {

class Normalizer {
public:
  static Result<Normalizer> fromJson(const JsonRef &json);

  /// `text` must be valid UTF-8 and stays so.
  Status apply(std::string &text) const;

private:
  struct Step {
    enum class Kind { Nfc, Nfd, Nfkc, Nfkd, Lowercase, Prepend, Replace } kind;
    std::string content;
    std::optional<Pattern> pattern;
  };

  Status add(const JsonRef &json, const std::string &type);

  std::vector<Step> steps_;
};

} // namespace effrt

#endif // EFFRT_SRC_TEXT_NORMALIZER_H
