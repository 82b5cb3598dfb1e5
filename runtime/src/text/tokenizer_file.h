//===- tokenizer_file.h - a parsed tokenizer.json ---------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Nearly all of a tokenizer file is the vocabulary and the merges. They go
/// into flat tables as they are read; a tree of their hundreds of thousands of
/// values would take most of the time and memory of loading.
///
//===----------------------------------------------------------------------===//

#ifndef EFFRT_SRC_TEXT_TOKENIZER_FILE_H
#define EFFRT_SRC_TEXT_TOKENIZER_FILE_H

#include "json.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace effrt {

struct ModelTables {
  /// A part of `pool`.
  struct Text {
    size_t begin = 0, length = 0;
  };
  struct Token {
    Text text;
    uint64_t id = 0;
  };
  struct Merge {
    Text left, right;
    uint32_t rank = 0; ///< place in the file
  };

  std::vector<char> pool;
  std::vector<Token> vocab;
  std::vector<Merge> merges;

  std::string_view view(Text text) const {
    return {pool.data() + text.begin, text.length};
  }
  Text add(std::string_view text) {
    Text added{pool.size(), text.size()};
    pool.insert(pool.end(), text.begin(), text.end());
    return added;
  }
};

struct TokenizerFile {
  /// Everything but the tables, whose places hold an empty object and list.
  Json json;
  ModelTables tables;

  /// Refuses what is not JSON, or is nested deeper than any tokenizer.
  static Result<TokenizerFile> parse(std::string_view text);
};

} // namespace effrt

#endif // EFFRT_SRC_TEXT_TOKENIZER_FILE_H
