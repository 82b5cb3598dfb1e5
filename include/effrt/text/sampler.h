//===- sampler.h - the next token from the logits ---------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFRT_TEXT_SAMPLER_H
#define EFFRT_TEXT_SAMPLER_H

#include "effrt/support.h"
#include "effrt/text/tokenizer.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace effrt {

struct SamplingOptions {
  /// 0: always the most likely token, whatever the filters and the seed.
  double temperature = 1;
  /// Keep the k most likely tokens; 0: all.
  uint32_t topK = 0;
  /// Keep the most likely tokens until their probabilities reach this sum, in
  /// [0, 1]; 1: all, 0: the most likely one.
  double topP = 1;
  /// Keep tokens at least this share as likely as the most likely one, [0, 1].
  double minP = 0;
  /// Logits of tokens in the history are divided by it where positive and
  /// multiplied where negative; 1: off.
  double repetitionPenalty = 1;
  uint64_t seed = 0;
  /// Sequences that share a seed but must differ, such as rows of a batch.
  uint64_t stream = 0;
};

/// Order: repetition penalty, temperature, top-k, top-p, min-p, draw. Equal
/// logits rank by id, the lowest first. Sums and shares count as reached to
/// within 5e-7, what rounding a logit to float32 does to its probability.
///
/// Random numbers are Philox4x32-10 of (seed, stream, number of the draw), and
/// exponentials are computed in correctly rounded steps only: the same options
/// and logits give the same tokens on every machine.
class Sampler {
public:
  struct Candidate {
    TokenId id;
    double probability;
  };

  static Result<Sampler> create(const SamplingOptions &options);

  /// Draws one token. NaN, +infinity, or no finite value among the logits is an
  /// error; -infinity excludes a token. `history` is read by the repetition
  /// penalty only; an id in it counts once.
  Result<TokenId> sample(const float *logits, size_t count,
                         const std::vector<TokenId> &history = {});

  /// The distribution that `sample` draws from: what the filters keep, most
  /// likely first, probabilities summing to 1. Valid until the next call.
  Result<const std::vector<Candidate> *>
  distribution(const float *logits, size_t count,
               const std::vector<TokenId> &history = {});

  /// The number of draws so far: with it a rolled-back sequence goes on as it
  /// would have.
  uint64_t drawn() const { return drawn_; }
  void setDrawn(uint64_t drawn) { drawn_ = drawn; }

  const SamplingOptions &options() const { return options_; }

private:
  explicit Sampler(const SamplingOptions &options) : options_(options) {}
  Status penalize(const float *logits, size_t count,
                  const std::vector<TokenId> &history);
  /// Fills candidates_ with what the filters keep; probabilities are relative
  /// to the most likely token's.
  Status filter(const float *logits, size_t count,
                const std::vector<TokenId> &history);

  SamplingOptions options_;
  uint64_t drawn_ = 0;
  std::vector<double> scores_;        // logits after the penalty
  std::vector<Candidate> candidates_; // scratch, and what `distribution` gives
};

} // namespace effrt

#endif // EFFRT_TEXT_SAMPLER_H
