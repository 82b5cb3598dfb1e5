//===- stream.h - text out, token by token ----------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// DecodeStream turns ids into text without ever cutting a character;
/// StopMatcher ends that text at a stop string without ever showing part of it.
///
//===----------------------------------------------------------------------===//

#ifndef EFFRT_TEXT_STREAM_H
#define EFFRT_TEXT_STREAM_H

#include "effrt/support.h"
#include "effrt/text/tokenizer.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace effrt {

/// The chunks, joined, are what Tokenizer::decode gives for all the ids at
/// once. One exception: where byte-fallback tokens (<0xE2>) do not spell UTF-8,
/// `decode` replaces the whole run of them, while characters of the run that
/// were complete are already out here.
///
/// A decoder can depend on what came before (some drop the first space): to
/// continue a prompt, push the prompt's ids first and drop what they give.
class DecodeStream {
public:
  explicit DecodeStream(const Tokenizer &tokenizer,
                        bool skipSpecialTokens = true);
  DecodeStream(DecodeStream &&) noexcept;
  DecodeStream &operator=(DecodeStream &&) noexcept;
  ~DecodeStream();

  /// The text that this id completes: valid UTF-8, perhaps empty. Bytes that
  /// may still become a character are held back; those that no longer can are
  /// U+FFFD at once.
  std::string push(TokenId id);

  /// What was held back, as U+FFFD; then ready for another text.
  std::string finish();

private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Finds the first of several stop strings in text that comes in pieces. How
/// the text is cut makes no difference: of several matches the one that starts
/// first counts, and of those that start together the shortest.
class StopMatcher {
public:
  /// No stop strings: everything passes. An empty one is an error.
  static Result<StopMatcher> create(std::vector<std::string> stops);

  struct Output {
    /// Text that is certain to come before any stop string.
    std::string text;
    /// Which stop string ended the text.
    std::optional<size_t> stoppedBy;
  };

  /// Nothing comes out after a stop.
  Output push(std::string_view piece);

  /// The end of the text: what was held back, unless a stop string is in it.
  /// Then ready for another text.
  Output finish();

  const std::vector<std::string> &stops() const { return stops_; }

private:
  explicit StopMatcher(std::vector<std::string> stops)
      : stops_(std::move(stops)) {}
  Output scan(bool atEnd);

  std::vector<std::string> stops_;
  std::string held_; ///< no stop string starts before it
  bool stopped_ = false;
};

} // namespace effrt

#endif // EFFRT_TEXT_STREAM_H
