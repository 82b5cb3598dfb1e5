//===- sampler.cpp - the next token from the logits -----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effrt/text/sampler.h"

#include "codes.h"
#include "philox.h"
#include "portable_exp.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>

namespace effrt {

namespace {

using Candidate = Sampler::Candidate;

constexpr double kReached = 1 - 5e-7;

/// The order of ranks: more likely first, then the lower id.
bool ranksBefore(const Candidate &a, const Candidate &b) {
  return a.probability != b.probability ? a.probability > b.probability
                                        : a.id < b.id;
}

Error badOption(const char *name, double value, const char *range) {
  return makeError(codes::badSampling,
                   std::string(name) + " cannot be " + std::to_string(value),
                   "", std::string("it must be ") + range,
                   std::string("choose a value that is ") + range);
}

Error badLogits(std::string why) {
  return makeError(codes::badLogits, "no token can be chosen", "",
                   std::move(why),
                   "look for NaN or overflow in the weights, or compute in a "
                   "wider format");
}

double sumOf(const std::vector<Candidate> &candidates) {
  double sum = 0;
  for (const Candidate &c : candidates)
    sum += c.probability;
  return sum;
}

/// Keeps the `count` best, in order of rank.
void keepBest(std::vector<Candidate> &candidates, size_t count) {
  std::partial_sort(candidates.begin(), candidates.begin() + count,
                    candidates.end(), ranksBefore);
  candidates.resize(count);
}

/// Keeps the shortest beginning, in order of rank, whose probabilities reach
/// `share` of all. Pops from a heap: few of many candidates are needed.
void keepShare(std::vector<Candidate> &candidates, double share) {
  double total = sumOf(candidates);
  auto worse = [](const Candidate &a, const Candidate &b) {
    return ranksBefore(b, a);
  };
  std::make_heap(candidates.begin(), candidates.end(), worse);
  auto end = candidates.end();
  double sum = 0;
  do {
    std::pop_heap(candidates.begin(), end, worse);
    sum += (--end)->probability;
  } while (end != candidates.begin() && sum < share * total * kReached);
  candidates.erase(candidates.begin(), end);
  std::reverse(candidates.begin(), candidates.end());
}

/// The largest logit; an Error if one is NaN or +infinity, or none is finite.
Result<float> check(const float *logits, size_t count) {
  if (count == 0 || count > std::numeric_limits<TokenId>::max())
    return badLogits("there are " + std::to_string(count) + " logits");
  // Eight at a time, without branches: this reads the whole vocabulary for
  // every token.
  constexpr size_t kLanes = 8;
  constexpr float kLargest = std::numeric_limits<float>::max();
  float largest[kLanes];
  unsigned bad[kLanes] = {};
  std::fill(largest, largest + kLanes, -std::numeric_limits<float>::infinity());
  auto take = [&](size_t lane, float logit) {
    largest[lane] = logit > largest[lane] ? logit : largest[lane];
    bad[lane] |= !(logit <= kLargest);
  };
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (size_t lane = 0; lane < kLanes; ++lane)
      take(lane, logits[i + lane]);
  for (; i < count; ++i)
    take(0, logits[i]);

  if (std::any_of(bad, bad + kLanes, [](unsigned b) { return b != 0; })) {
    size_t id = std::find_if(logits, logits + count,
                             [](float x) { return !(x <= kLargest); }) -
                logits;
    return badLogits("the logit of token " + std::to_string(id) + " is " +
                     (std::isnan(logits[id]) ? "NaN" : "infinite"));
  }
  float top = *std::max_element(largest, largest + kLanes);
  if (!std::isfinite(top))
    return badLogits("none of the " + std::to_string(count) +
                     " logits is finite");
  return top;
}

} // namespace

Result<Sampler> Sampler::create(const SamplingOptions &options) {
  if (!(options.temperature >= 0) || std::isinf(options.temperature))
    return badOption("temperature", options.temperature,
                     "finite and at least 0");
  if (!(options.topP >= 0 && options.topP <= 1))
    return badOption("top-p", options.topP, "between 0 and 1");
  if (!(options.minP >= 0 && options.minP <= 1))
    return badOption("min-p", options.minP, "between 0 and 1");
  if (!(options.repetitionPenalty > 0) || std::isinf(options.repetitionPenalty))
    return badOption("repetition-penalty", options.repetitionPenalty,
                     "finite and above 0");
  return Sampler(options);
}

Status Sampler::penalize(const float *logits, size_t count,
                         const std::vector<TokenId> &history) {
  scores_.assign(logits, logits + count);
  double penalty = options_.repetitionPenalty;
  if (penalty == 1)
    return Status::success();
  for (TokenId id : history) {
    if (id >= count)
      return badLogits("the history has token " + std::to_string(id) +
                       ", and there are " + std::to_string(count) + " logits");
    // From the logit itself, so a token counts once however often it comes.
    double logit = logits[id];
    scores_[id] = logit < 0 ? logit * penalty : logit / penalty;
  }
  return Status::success();
}

Status Sampler::filter(const float *logits, size_t count,
                       const std::vector<TokenId> &history) try {
  Result<float> largest = check(logits, count);
  if (!largest)
    return largest.takeError();
  candidates_.clear();
  bool greedy = options_.temperature == 0;
  if (greedy && options_.repetitionPenalty == 1) {
    // The first of equals is the lowest id.
    auto best = std::find(logits, logits + count, *largest);
    candidates_.push_back({static_cast<TokenId>(best - logits), 1.0});
    return Status::success();
  }
  if (Status s = penalize(logits, count, history); !s)
    return s;
  auto best = std::max_element(scores_.begin(), scores_.end());
  if (greedy) {
    candidates_.push_back({static_cast<TokenId>(best - scores_.begin()), 1.0});
    return Status::success();
  }

  // Relative to the most likely token, which has 1: no temperature overflows.
  double top = *best, temperature = options_.temperature;
  candidates_.resize(count);
  if (options_.topK != 0 && options_.topK < count) {
    // Scores rank as probabilities do; few need to be computed.
    for (size_t i = 0; i < count; ++i)
      candidates_[i] = {static_cast<TokenId>(i), scores_[i]};
    keepBest(candidates_, options_.topK);
    for (Candidate &c : candidates_)
      c.probability = portableExp((c.probability - top) / temperature);
  } else {
    for (double &score : scores_)
      score = portableExp((score - top) / temperature);
    for (size_t i = 0; i < count; ++i)
      candidates_[i] = {static_cast<TokenId>(i), scores_[i]};
  }
  if (options_.topP < 1)
    keepShare(candidates_, options_.topP);
  // Tokens of probability 0 go, whatever the filters.
  double least = std::max(options_.minP * kReached,
                          std::numeric_limits<double>::denorm_min());
  candidates_.erase(
      std::remove_if(candidates_.begin(), candidates_.end(),
                     [&](const Candidate &c) { return c.probability < least; }),
      candidates_.end());
  return Status::success();
} catch (const std::bad_alloc &) {
  return makeError(codes::outOfMemory, "there is not enough memory to sample");
}

Result<const std::vector<Candidate> *>
Sampler::distribution(const float *logits, size_t count,
                      const std::vector<TokenId> &history) {
  if (Status s = filter(logits, count, history); !s)
    return s;
  std::sort(candidates_.begin(), candidates_.end(), ranksBefore);
  double total = sumOf(candidates_);
  for (Candidate &c : candidates_)
    c.probability /= total;
  return &candidates_;
}

Result<TokenId> Sampler::sample(const float *logits, size_t count,
                                const std::vector<TokenId> &history) {
  if (Status s = filter(logits, count, history); !s)
    return s;
  double total = sumOf(candidates_);
  double u = philox::uniform(options_.seed, options_.stream, drawn_);
  ++drawn_;
  double sum = 0;
  for (const Candidate &c : candidates_) {
    sum += c.probability;
    if (u * total < sum)
      return c.id;
  }
  // Rounding can leave u * total at the sum.
  return candidates_.back().id;
}

} // namespace effrt
