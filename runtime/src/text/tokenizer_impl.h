//===- tokenizer_impl.h - the parts of a tokenizer --------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFRT_SRC_TEXT_TOKENIZER_IMPL_H
#define EFFRT_SRC_TEXT_TOKENIZER_IMPL_H

#include "added_tokens.h"
#include "bpe.h"
#include "decoder.h"
#include "effrt/text/tokenizer.h"
#include "normalizer.h"
#include "post_processor.h"
#include "pretokenizer.h"

namespace effrt {

struct Tokenizer::Impl {
  Normalizer normalizer;
  PreTokenizer preTokenizer;
  Bpe model;
  AddedTokens added;
  PostProcessor postProcessor;
  Decoder decoder;

  /// Null where no token has this id.
  std::optional<std::string_view> spelling(TokenId id) const;

  /// Tokens of a text without added tokens, before normalization at `begin`
  /// of the input.
  Status encodePart(std::string text, bool atStart, bool specialsAsText,
                    std::vector<TokenId> &out) const;
  Status encodeWords(std::string text, bool atStart,
                     std::vector<TokenId> &out) const;
};

} // namespace effrt

#endif // EFFRT_SRC_TEXT_TOKENIZER_IMPL_H
