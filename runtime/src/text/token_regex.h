//===- token_regex.h - the regular expressions of tokenizer files -*- C++
//-*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// tokenizer.json holds patterns in Oniguruma's Ruby syntax; PCRE2 runs them
/// here. What the two read differently is translated, or refused where it
/// cannot be, never matched with another meaning.
///
//===----------------------------------------------------------------------===//

#ifndef EFFRT_SRC_TEXT_TOKEN_REGEX_H
#define EFFRT_SRC_TEXT_TOKEN_REGEX_H

#include "effrt/support.h"

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct pcre2_real_code_8;

namespace effrt {

class Regex {
public:
  /// `where` is the place in the tokenizer file, for errors.
  static Result<Regex> compile(std::string_view pattern,
                               const std::string &where);

  struct Span {
    size_t begin, end;
  };

  /// Appends all matches in `text`, which must be valid UTF-8, from left to
  /// right. They do not overlap, and an empty match does not touch the end of
  /// the match before it.
  Status findAll(std::string_view text, std::vector<Span> &out) const;

  /// The pattern as PCRE2 gets it.
  static Result<std::string> translate(std::string_view pattern,
                                       const std::string &where);

private:
  Regex(std::shared_ptr<pcre2_real_code_8> code, std::string where)
      : code_(std::move(code)), where_(std::move(where)) {}

  std::shared_ptr<pcre2_real_code_8> code_;
  std::string where_;
};

} // namespace effrt

#endif // EFFRT_SRC_TEXT_TOKEN_REGEX_H
