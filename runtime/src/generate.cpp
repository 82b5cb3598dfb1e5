//===- generate.cpp - text from a language model --------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effrt/generate.h"
#include "effrt/codes.h"
#include "effrt/text/stream.h"

#include <algorithm>
#include <chrono>
#include <optional>

namespace effrt {
namespace {

using Clock = std::chrono::steady_clock;

double secondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Text as it becomes certain: characters whole, nothing of a stop string.
class TextOut {
public:
  TextOut(const Tokenizer *tokenizer, StopMatcher matcher,
          const std::function<bool(std::string_view)> &onText,
          Generated &result)
      : matcher_(std::move(matcher)), onText_(onText), result_(result) {
    if (tokenizer)
      stream_.emplace(*tokenizer);
  }

  /// How a prompt ends can decide how its continuation is spelled.
  void skip(const std::vector<TokenId> &prompt) {
    if (stream_)
      for (TokenId id : prompt)
        stream_->push(id);
  }
  /// False when the text has ended; `result.reason` says why.
  bool push(TokenId id) {
    return !stream_ || emit(matcher_.push(stream_->push(id)));
  }
  /// What was held back; not for a text that has ended already.
  void finish() {
    if (stream_ && emit(matcher_.push(stream_->finish())))
      emit(matcher_.finish());
  }

private:
  bool emit(const StopMatcher::Output &output) {
    result_.text += output.text;
    bool more = output.text.empty() || !onText_ || onText_(output.text);
    if (output.stoppedBy) {
      result_.reason = FinishReason::Stop;
      result_.stop = matcher_.stops()[*output.stoppedBy];
      return false;
    }
    if (!more)
      result_.reason = FinishReason::Callback;
    return more;
  }

  std::optional<DecodeStream> stream_;
  StopMatcher matcher_;
  const std::function<bool(std::string_view)> &onText_;
  Generated &result_;
};

bool interrupted(const Error &error) {
  return error.code == codeName(Code::Interrupted);
}

} // namespace

const char *finishReasonName(FinishReason reason) {
  switch (reason) {
  case FinishReason::Length:
    return "length";
  case FinishReason::Eos:
    return "eos";
  case FinishReason::Stop:
    return "stop";
  case FinishReason::Capacity:
    return "capacity";
  case FinishReason::Callback:
    return "callback";
  case FinishReason::Interrupt:
    return "interrupt";
  }
  return "?";
}

Result<Tokenizer> modelTokenizer(const Manifest &manifest) {
  if (manifest.tokenizer.empty())
    return fail(Code::NoTokenizer, "the model has no tokenizer");
  return Tokenizer::fromJson(manifest.tokenizer);
}

Result<Generated>
generate(Engine &engine, int sequence, const std::vector<TokenId> &prompt,
         const GenerateOptions &options, const Tokenizer *tokenizer,
         const std::function<bool(std::string_view)> &onText) {
  Result<Sampler> sampler = Sampler::create(options.sampling);
  if (!sampler)
    return sampler.takeError();
  Result<StopMatcher> matcher = StopMatcher::create(options.stops);
  if (!matcher)
    return matcher.takeError();
  Generated result;
  result.promptTokens = uint32_t(prompt.size());
  TextOut text(tokenizer, matcher.take(), onText, result);
  text.skip(prompt);

  Clock::time_point start = Clock::now();
  if (!options.reusePrefix)
    if (Status status = engine.reset(sequence); !status)
      return status;
  int reused = 0;
  Result<const float *> logits = engine.prompt(sequence, prompt, &reused);
  result.promptSeconds = secondsSince(start);
  result.reusedTokens = uint32_t(reused);

  const std::vector<int64_t> &eos = engine.model().manifest().eos;
  std::vector<TokenId> history = prompt;
  start = Clock::now();
  for (;;) {
    if (!logits) {
      if (!interrupted(logits.error()))
        return logits.takeError();
      result.reason = FinishReason::Interrupt;
      break;
    }
    Result<TokenId> token =
        sampler->sample(*logits, size_t(engine.vocab()), history);
    if (!token)
      return token.takeError();
    if (!options.ignoreEos &&
        std::find(eos.begin(), eos.end(), int64_t(*token)) != eos.end()) {
      result.reason = FinishReason::Eos;
      break;
    }
    result.tokens.push_back(*token);
    history.push_back(*token);
    if (!text.push(*token)) {
      result.generateSeconds = secondsSince(start);
      return result;
    }
    if (options.maxTokens && result.tokens.size() >= options.maxTokens) {
      result.reason = FinishReason::Length;
      break;
    }
    if (engine.capacity() && engine.length(sequence) >= engine.capacity()) {
      result.reason = FinishReason::Capacity;
      break;
    }
    logits = engine.decode({{sequence, *token}});
    result.decoded += logits.ok();
  }
  result.generateSeconds = secondsSince(start);
  // A stop string can still be in what was held back.
  text.finish();
  return result;
}

} // namespace effrt
