//===- tokenizer.h - byte-pair tokenizer from tokenizer.json ----*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A tokenizer in the format of Hugging Face `tokenizers`: the BPE model with
/// the normalizers, pre-tokenizers, processors and decoders that language
/// models use. Anything else in the file is refused by name when it is loaded.
///
//===----------------------------------------------------------------------===//

#ifndef EFFRT_TEXT_TOKENIZER_H
#define EFFRT_TEXT_TOKENIZER_H

#include "effrt/support.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace effrt {

using TokenId = uint32_t;

struct EncodeOptions {
  /// Add what the post-processor adds, such as a begin-of-text token.
  bool addSpecialTokens = true;
  /// Read the names of special tokens ("<|im_end|>") in the text as plain
  /// characters, as text from an untrusted source should be.
  bool specialsAsText = false;
};

/// Immutable once made; copies share the tables, and any number of threads may
/// use one at the same time.
class Tokenizer {
public:
  /// `truncation` and `padding` in the file are not read: length is the
  /// caller's business.
  static Result<Tokenizer> fromJson(std::string_view json);

  /// Bytes that are not UTF-8 count as U+FFFD, one for each maximal ill-formed
  /// part, as every conforming decoder would read them.
  Result<std::vector<TokenId>> encode(std::string_view text,
                                      const EncodeOptions &options = {}) const;

  /// Ids that no token has give nothing. Always valid UTF-8.
  std::string decode(const std::vector<TokenId> &ids,
                     bool skipSpecialTokens = true) const;

  std::optional<TokenId> tokenToId(std::string_view token) const;
  /// The token as the file spells it, not as text.
  std::optional<std::string_view> idToToken(TokenId id) const;
  bool isSpecial(TokenId id) const;
  /// One more than the largest id.
  size_t vocabSize() const;

  struct Impl;

private:
  friend class DecodeStream;
  explicit Tokenizer(std::shared_ptr<const Impl> impl)
      : impl_(std::move(impl)) {}

  std::shared_ptr<const Impl> impl_;
};

} // namespace effrt

#endif // EFFRT_TEXT_TOKENIZER_H
