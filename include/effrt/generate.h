//===- generate.h - text from a language model ----------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===--------------------------------------------------------------------===//

#ifndef EFFRT_GENERATE_H
#define EFFRT_GENERATE_H

#include "effrt/engine.h"
#include "effrt/support.h"
#include "effrt/text/sampler.h"
#include "effrt/text/tokenizer.h"

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace effrt {

struct GenerateOptions {
  SamplingOptions sampling;
  /// At most so many tokens; 0: as many as the model can hold.
  uint32_t maxTokens = 0;
  std::vector<std::string> stops;
  /// Go on after an end-of-text token.
  bool ignoreEos = false;
  /// Keep what the sequence shares with the prompt instead of starting anew.
  bool reusePrefix = true;
};

enum class FinishReason {
  Length,   ///< maxTokens
  Eos,      ///< an end-of-text token
  Stop,     ///< a stop string
  Capacity, ///< the sequence is full
  Callback, ///< the callback said so
  Interrupt ///< the engine's interrupt flag
};
const char *finishReasonName(FinishReason reason);

struct Generated {
  std::vector<TokenId> tokens; ///< without the end-of-text token
  std::string text;            ///< as it was streamed
  FinishReason reason = FinishReason::Length;
  std::string stop; ///< the stop string, when that is the reason
  uint32_t promptTokens = 0, reusedTokens = 0;
  double promptSeconds = 0;   ///< until the first logits
  double generateSeconds = 0; ///< after them
  uint32_t decoded = 0;       ///< decode steps in generateSeconds
};

/// Continues `prompt` in a sequence. `tokenizer` may be null: then there is no
/// text. `onText` gets whole characters as they are certain, and ends the run
/// by returning false.
Result<Generated>
generate(Engine &engine, int sequence, const std::vector<TokenId> &prompt,
         const GenerateOptions &options, const Tokenizer *tokenizer,
         const std::function<bool(std::string_view text)> &onText = {});

/// The tokenizer of a model; NoTokenizer when it has none.
Result<Tokenizer> modelTokenizer(const Manifest &manifest);

} // namespace effrt

#endif // EFFRT_GENERATE_H
