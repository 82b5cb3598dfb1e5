//===- SamplerTest.cpp - the next token from the logits -------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "TestData.h"

#include "effrt/text/sampler.h"
#include "philox.h"
#include "portable_exp.h"

#include <cmath>
#include <limits>
#include <random>

using namespace effrt;

namespace {

using Ids = std::vector<TokenId>;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

Sampler make(const SamplingOptions &options) {
  auto sampler = Sampler::create(options);
  EXPECT_TRUE(sampler) << sampler.error().format();
  return sampler.take();
}

Ids kept(const SamplingOptions &options, const std::vector<float> &logits,
         const Ids &history = {}) {
  Sampler sampler = make(options);
  auto result = sampler.distribution(logits.data(), logits.size(), history);
  EXPECT_TRUE(result) << result.error().format();
  Ids ids;
  double sum = 0;
  for (const Sampler::Candidate &c : **result) {
    ids.push_back(c.id);
    sum += c.probability;
  }
  EXPECT_NEAR(sum, 1.0, 1e-12);
  return ids;
}

std::vector<float> logsOf(const std::vector<double> &probabilities) {
  std::vector<float> out;
  for (double p : probabilities)
    out.push_back(static_cast<float>(std::log(p)));
  return out;
}

SamplingOptions with(double SamplingOptions::*field, double value) {
  SamplingOptions options;
  options.*field = value;
  return options;
}

TEST(Philox, KnownAnswers) {
  // From the authors' Random123 distribution, kat_vectors.
  EXPECT_EQ(philox::block({0, 0, 0, 0}, {0, 0}),
            (philox::Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox::block({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (philox::Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox::block({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                          {0xa4093822, 0x299f31d0}),
            (philox::Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(PortableExp, AgreesWithTheMathLibrary) {
  EXPECT_EQ(portableExp(0.0), 1.0);
  EXPECT_EQ(portableExp(-701.0), 0.0);
  EXPECT_EQ(portableExp(-std::numeric_limits<double>::infinity()), 0.0);
  for (double x = 0; x > -700; x -= 0.0371)
    // Degree and rounding of the polynomial: 2 ulp.
    EXPECT_NEAR(portableExp(x) / std::exp(x), 1.0, 5e-16) << x;
}

TEST(Sampler, GreedyTakesTheLowestOfEqualIds) {
  EXPECT_EQ(kept(with(&SamplingOptions::temperature, 0), {1, 3, 3, 2}),
            (Ids{1}));
}

TEST(Sampler, TopKKeepsExactlyK) {
  SamplingOptions options;
  options.topK = 2;
  EXPECT_EQ(kept(options, {1, 2, 2, 2}), (Ids{1, 2}));
  options.topK = 9;
  EXPECT_EQ(kept(options, {1, 2, 3}), (Ids{2, 1, 0}));
}

TEST(Sampler, TopPKeepsTheShortestBeginningThatReachesIt) {
  auto logits = logsOf({0.3, 0.5, 0.05, 0.15});
  EXPECT_EQ(kept(with(&SamplingOptions::topP, 0.6), logits), (Ids{1, 0}));
  EXPECT_EQ(kept(with(&SamplingOptions::topP, 0.8), logits), (Ids{1, 0}));
  EXPECT_EQ(kept(with(&SamplingOptions::topP, 0.81), logits), (Ids{1, 0, 3}));
  EXPECT_EQ(kept(with(&SamplingOptions::topP, 0.0), logits), (Ids{1}));
  EXPECT_EQ(kept(with(&SamplingOptions::topP, 1.0), logits), (Ids{1, 0, 3, 2}));
}

TEST(Sampler, TopPCountsWhatTopKLeft) {
  SamplingOptions options;
  options.topK = 2;
  options.topP = 0.6; // of 0.5 / 0.8 and 0.3 / 0.8
  EXPECT_EQ(kept(options, logsOf({0.3, 0.5, 0.05, 0.15})), (Ids{1}));
}

TEST(Sampler, MinPIsAShareOfTheMostLikely) {
  auto logits = logsOf({0.02, 0.6, 0.08, 0.3});
  EXPECT_EQ(kept(with(&SamplingOptions::minP, 0.1), logits), (Ids{1, 3, 2}));
  EXPECT_EQ(kept(with(&SamplingOptions::minP, 0.5), logits), (Ids{1, 3}));
  EXPECT_EQ(kept(with(&SamplingOptions::minP, 1), {3, 3, -9}), (Ids{0, 1}));
}

TEST(Sampler, TemperatureScalesLogits) {
  Sampler sampler = make(with(&SamplingOptions::temperature, 0.5));
  std::vector<float> logits = {0, 1, 2};
  auto result = sampler.distribution(logits.data(), logits.size());
  ASSERT_TRUE(result);
  double total = std::exp(0.0) + std::exp(2.0) + std::exp(4.0);
  EXPECT_NEAR((**result)[0].probability, std::exp(4.0) / total, 1e-15);
  EXPECT_NEAR((**result)[2].probability, std::exp(0.0) / total, 1e-15);
}

TEST(Sampler, TinyAndHugeTemperatures) {
  EXPECT_EQ(kept(with(&SamplingOptions::temperature, 1e-300), {1, 3, 2}),
            (Ids{1}));
  EXPECT_EQ(
      kept(with(&SamplingOptions::temperature, 1e300), {-kInfinity, 3, 2}),
      (Ids{1, 2}));
}

TEST(Sampler, RepetitionPenaltyCountsATokenOnce) {
  SamplingOptions options = with(&SamplingOptions::repetitionPenalty, 2);
  options.temperature = 0;
  std::vector<float> logits = {4, 3, -1};
  EXPECT_EQ(kept(options, logits, {}), (Ids{0}));
  EXPECT_EQ(kept(options, logits, {0}), (Ids{1}));
  // Once is 2, twice would be 1; token 1 stays at 1.5.
  EXPECT_EQ(kept(options, logits, {0, 0, 1}), (Ids{0}));
  // A negative logit moves down: -1 becomes -2.
  EXPECT_EQ(kept(options, {-1.5f, -1}, {1}), (Ids{0}));
}

TEST(Sampler, DrawsFollowTheProbabilities) {
  Sampler sampler = make({});
  std::vector<double> probabilities = {0.1, 0.2, 0.7};
  auto logits = logsOf(probabilities);
  std::vector<int> counts(3);
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    auto id = sampler.sample(logits.data(), logits.size());
    ASSERT_TRUE(id);
    ++counts[*id];
  }
  for (int i = 0; i < 3; ++i) {
    // Five standard deviations of a binomial count.
    double p = probabilities[i];
    EXPECT_NEAR(counts[i], kDraws * p, 5 * std::sqrt(kDraws * p * (1 - p)));
  }
}

TEST(Sampler, SameSeedSameTokensAndRollback) {
  std::vector<float> logits(50);
  for (size_t i = 0; i < logits.size(); ++i)
    logits[i] = static_cast<float>(i % 7);
  auto draw = [&](Sampler &sampler, int count) {
    Ids ids;
    for (int i = 0; i < count; ++i)
      ids.push_back(*sampler.sample(logits.data(), logits.size()));
    return ids;
  };
  SamplingOptions options;
  options.seed = 42;
  Sampler a = make(options), b = make(options);
  Ids first = draw(a, 20);
  EXPECT_EQ(first, draw(b, 20));
  EXPECT_EQ(a.drawn(), 20u);
  a.setDrawn(5);
  EXPECT_EQ(draw(a, 15), Ids(first.begin() + 5, first.end()));
  options.seed = 43;
  Sampler c = make(options);
  EXPECT_NE(first, draw(c, 20));
  options.seed = 42;
  options.stream = 1;
  Sampler d = make(options);
  EXPECT_NE(first, draw(d, 20));
}

TEST(Sampler, FixedDrawsAreTheSameOnEveryMachine) {
  SamplingOptions options;
  options.seed = 2026;
  options.temperature = 0.8;
  options.topP = 0.95;
  Sampler sampler = make(options);
  std::vector<float> logits;
  for (int i = 0; i < 1000; ++i)
    logits.push_back(static_cast<float>((i * 7919) % 1000) / 100);
  Ids ids;
  for (int i = 0; i < 8; ++i)
    ids.push_back(*sampler.sample(logits.data(), logits.size()));
  EXPECT_EQ(ids, (Ids{803, 904, 927, 816, 75, 309, 188, 557}));
}

TEST(Sampler, RefusesBadOptions) {
  double nan = std::nan("");
  struct Case {
    double SamplingOptions::*field;
    double value;
  };
  const Case cases[] = {{&SamplingOptions::temperature, -0.1},
                        {&SamplingOptions::temperature, nan},
                        {&SamplingOptions::temperature, HUGE_VAL},
                        {&SamplingOptions::topP, -0.1},
                        {&SamplingOptions::topP, 1.1},
                        {&SamplingOptions::topP, nan},
                        {&SamplingOptions::minP, -0.1},
                        {&SamplingOptions::minP, 1.1},
                        {&SamplingOptions::repetitionPenalty, 0.0},
                        {&SamplingOptions::repetitionPenalty, nan}};
  for (auto [field, value] : cases) {
    auto sampler = Sampler::create(with(field, value));
    ASSERT_FALSE(sampler) << value;
    EXPECT_EQ(sampler.error().code, "EFF0703");
  }
}

TEST(Sampler, RefusesBadLogits) {
  SamplingOptions greedy = with(&SamplingOptions::temperature, 0);
  for (const SamplingOptions &options : {SamplingOptions(), greedy})
    for (const std::vector<float> &logits :
         {std::vector<float>{std::nanf(""), 1},
          std::vector<float>{kInfinity, 1},
          std::vector<float>{-kInfinity, -kInfinity}, std::vector<float>{}}) {
      Sampler sampler = make(options);
      auto id = sampler.sample(logits.data(), logits.size());
      ASSERT_FALSE(id);
      EXPECT_EQ(id.error().code, "EFF0705");
      EXPECT_EQ(sampler.drawn(), 0u);
    }
  Sampler sampler = make(with(&SamplingOptions::repetitionPenalty, 2));
  std::vector<float> logits = {1, 2};
  EXPECT_FALSE(sampler.sample(logits.data(), 2, {2}));
}

TEST(Sampler, FiltersAgreeWithTheirDefinition) {
  std::mt19937 random(9);
  for (int round = 0; round < 200; ++round) {
    std::vector<float> logits(200);
    for (float &logit : logits)
      logit = static_cast<float>(random() % 1000) / 100;
    SamplingOptions options;
    options.temperature = 0.3 + random() % 100 / 50.0;
    options.topK = random() % 2 ? random() % 100 : 0;
    options.topP = 0.05 + random() % 95 / 100.0;
    options.minP = random() % 20 / 100.0;

    // Sorted, in long double.
    std::vector<std::pair<long double, TokenId>> sorted;
    for (size_t i = 0; i < logits.size(); ++i)
      sorted.push_back(
          {-std::exp(static_cast<long double>(logits[i]) / options.temperature),
           static_cast<TokenId>(i)});
    std::sort(sorted.begin(), sorted.end());
    if (options.topK && options.topK < sorted.size())
      sorted.resize(options.topK);
    long double total = 0, sum = 0;
    for (auto &[p, id] : sorted)
      total -= p;
    Ids expected;
    for (auto &[p, id] : sorted) {
      if (sum >= options.topP * total)
        break;
      sum -= p;
      if (-p >= options.minP * -sorted.front().first)
        expected.push_back(id);
    }
    EXPECT_EQ(kept(options, logits), expected) << round;
  }
}

} // namespace
