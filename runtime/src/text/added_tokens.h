//===- added_tokens.h - tokens that are found before the model runs -*- C++
//-*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFRT_SRC_TEXT_ADDED_TOKENS_H
#define EFFRT_SRC_TEXT_ADDED_TOKENS_H

#include "bpe.h"
#include "normalizer.h"

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace effrt {

/// A set of strings; finds the longest that begins a text.
class Trie {
public:
  /// The first value of a string counts.
  void insert(std::string_view text, uint32_t value);

  struct Match {
    size_t length;
    uint32_t value;
  };
  std::optional<Match> longestPrefix(std::string_view text) const;
  bool isEmpty() const { return values_.empty(); }
  bool mayBegin(char c) const { return begins_[static_cast<uint8_t>(c)]; }

private:
  static constexpr uint32_t kNoValue = UINT32_MAX;
  std::unordered_map<uint64_t, uint32_t> edges_; // node << 8 | byte -> node
  std::vector<uint32_t> values_;                 // by node
  std::vector<bool> begins_ = std::vector<bool>(256);
};

class AddedTokens {
public:
  static Result<AddedTokens> fromJson(const JsonRef &json, const Bpe &model,
                                      const Normalizer &normalizer);

  /// A part of a text: an added token, or what lies between them.
  struct Part {
    size_t begin, end;
    std::optional<TokenId> token;
  };

  /// `normalized`: look for the tokens that are matched after normalization,
  /// else for those matched before it.
  void split(std::string_view text, bool normalized, bool specialsAsText,
             std::vector<Part> &out) const;

  std::optional<TokenId> find(std::string_view content) const;
  /// Null where this id is no added token's.
  const std::string *content(TokenId id) const;
  bool isSpecial(TokenId id) const;
  /// One more than the largest id.
  size_t size() const;

private:
  struct Token {
    std::string content;
    TokenId id = 0;
    bool special = false, normalized = false;
    bool singleWord = false, stripLeft = false, stripRight = false;
  };

  Result<Token> read(const JsonRef &json, const Bpe &model) const;

  std::vector<Token> tokens_;
  std::unordered_map<TokenId, uint32_t> byId_;
  std::unordered_map<std::string, uint32_t> byContent_;
  Trie before_, after_; // normalization; values index tokens_
};

} // namespace effrt

#endif // EFFRT_SRC_TEXT_ADDED_TOKENS_H
