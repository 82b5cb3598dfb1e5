//===- pretokenizer.h - the words that merges stay within -------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFRT_SRC_TEXT_PRETOKENIZER_H
#define EFFRT_SRC_TEXT_PRETOKENIZER_H

#include "json.h"
#include "pattern.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace effrt {

/// A text and the parts it is split into, in order; gaps were removed.
struct Pieces {
  struct Piece {
    size_t begin, end;
  };

  std::string text;
  std::vector<Piece> pieces;
  /// The first piece starts where the whole input does.
  bool atStart = false;

  std::string_view view(const Piece &piece) const {
    return std::string_view(text).substr(piece.begin, piece.end - piece.begin);
  }
};

class PreTokenizer {
public:
  static Result<PreTokenizer> fromJson(const JsonRef &json);

  Status apply(Pieces &pieces) const;

  class Stage;

private:
  Status add(const JsonRef &json, const std::string &type);
  Status addByteLevel(const JsonRef &json);
  Status addSplit(const JsonRef &json);
  Status addMetaspace(const JsonRef &json);
  Status addSplitRegex(const char *regex, const char *behavior, bool invert,
                       const JsonRef &json);

  std::vector<std::shared_ptr<const Stage>> stages_;
};

} // namespace effrt

#endif // EFFRT_SRC_TEXT_PRETOKENIZER_H
