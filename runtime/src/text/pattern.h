//===- pattern.h - {"String": ...} or {"Regex": ...} ------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFRT_SRC_TEXT_PATTERN_H
#define EFFRT_SRC_TEXT_PATTERN_H

#include "json.h"
#include "token_regex.h"

#include <optional>
#include <string>
#include <vector>

namespace effrt {

class Pattern {
public:
  static Result<Pattern> fromJson(const JsonRef &json);
  static Result<Pattern> fromRegex(std::string_view regex,
                                   const std::string &where);
  static Pattern fromString(std::string literal);

  /// Appends the matches, as Regex::findAll. An empty literal matches nowhere.
  Status findAll(std::string_view text, std::vector<Regex::Span> &out) const;

  /// `text` with every match replaced by `content`, taken literally. An error
  /// where that makes it grow out of all proportion (see `growthLimit`).
  Status replaceAll(std::string &text, std::string_view content) const;

  /// How long text of `size` bytes may become in a stage that rewrites it. A
  /// hostile file can make a text double again and again.
  static constexpr size_t growthLimit(size_t size) {
    return (size_t{1} << 20) + 64 * size;
  }
  static Error tooLong();

  /// Null for a regular expression.
  const std::string *literal() const { return regex_ ? nullptr : &literal_; }

private:
  std::string literal_;
  std::optional<Regex> regex_;
};

} // namespace effrt

#endif // EFFRT_SRC_TEXT_PATTERN_H
