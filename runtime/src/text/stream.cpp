//===- stream.cpp - text out, token by token ------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effrt/text/stream.h"

#include "tokenizer_impl.h"

namespace effrt {

//===----------------------------------------------------------------------===//
// DecodeStream
//===----------------------------------------------------------------------===//

struct DecodeStream::State {
  State(std::shared_ptr<const Tokenizer::Impl> impl, bool skipSpecial)
      : tokenizer(std::move(impl)), skipSpecialTokens(skipSpecial),
        stream(tokenizer->decoder, /*whole=*/false) {}

  std::shared_ptr<const Tokenizer::Impl> tokenizer;
  bool skipSpecialTokens;
  Decoder::Stream stream;
};

DecodeStream::DecodeStream(const Tokenizer &tokenizer, bool skipSpecialTokens)
    : state_(std::make_unique<State>(tokenizer.impl_, skipSpecialTokens)) {}
DecodeStream::DecodeStream(DecodeStream &&) noexcept = default;
DecodeStream &DecodeStream::operator=(DecodeStream &&) noexcept = default;
DecodeStream::~DecodeStream() = default;

std::string DecodeStream::push(TokenId id) {
  std::string text;
  if (state_->skipSpecialTokens && state_->tokenizer->added.isSpecial(id))
    return text;
  if (auto token = state_->tokenizer->spelling(id))
    state_->stream.push(*token, text);
  return text;
}

std::string DecodeStream::finish() {
  std::string text;
  state_->stream.finish(text);
  return text;
}

//===----------------------------------------------------------------------===//
// StopMatcher
//===----------------------------------------------------------------------===//

Result<StopMatcher> StopMatcher::create(std::vector<std::string> stops) {
  for (const std::string &stop : stops)
    if (stop.empty())
      return makeError(codes::badSampling, "a stop string is empty", "",
                       "it would end every text before its first character",
                       "leave it out, or give the text to stop at");
  return StopMatcher(std::move(stops));
}

/// Decides for one position after the other whether a stop string starts
/// there. A position is undecided while the text ends within a stop string;
/// then nothing from there on can be shown, and no later match counts yet.
StopMatcher::Output StopMatcher::scan(bool atEnd) {
  Output output;
  size_t at = 0;
  for (; at < held_.size(); ++at) {
    size_t left = held_.size() - at;
    std::optional<size_t> match;
    bool undecided = false;
    for (size_t i = 0; i < stops_.size(); ++i) {
      const std::string &stop = stops_[i];
      size_t common = std::min(left, stop.size());
      if (held_.compare(at, common, stop, 0, common) != 0)
        continue;
      if (common == stop.size()) {
        if (!match || stop.size() < stops_[*match].size())
          match = i;
      } else {
        undecided = !atEnd;
      }
    }
    // Of those that start here, one that is complete is shorter than any that
    // is not, so there is nothing to wait for.
    if (match) {
      output.stoppedBy = match;
      stopped_ = true;
      break;
    }
    if (undecided)
      break;
  }
  output.text = held_.substr(0, at);
  held_.erase(0, stopped_ ? std::string::npos : at);
  return output;
}

StopMatcher::Output StopMatcher::push(std::string_view piece) {
  if (stopped_)
    return {};
  held_ += piece;
  return scan(/*atEnd=*/false);
}

StopMatcher::Output StopMatcher::finish() {
  Output output;
  if (!stopped_)
    output = scan(/*atEnd=*/true);
  held_.clear();
  stopped_ = false;
  return output;
}

} // namespace effrt
