//===- GenerateTest.cpp - text from a language model ----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Toy.h"

#include "effrt/generate.h"

#include <algorithm>

using namespace effrt;
using namespace effrt::test;

namespace {

class Generate : public ::testing::Test {
protected:
  void SetUp() override {
    model = openToy(dir, both());
    ASSERT_TRUE(model);
    Result<Tokenizer> made = modelTokenizer(model->manifest());
    ASSERT_OK(made);
    tokenizer = made.take();
    EngineOptions options;
    options.threads = 1;
    options.interrupt = &interrupt;
    Result<std::unique_ptr<Engine>> engineMade = Engine::create(model, options);
    ASSERT_OK(engineMade);
    engine = engineMade.take();
    options_.sampling.temperature = 0;
    options_.maxTokens = 10;
    options_.ignoreEos = true;
  }

  /// The greedy continuation by the formula alone.
  std::vector<TokenId> greedy(std::vector<TokenId> tokens, size_t count) {
    std::vector<TokenId> out;
    while (out.size() < count) {
      std::vector<float> logits = expectedLogits(both(), tokens);
      out.push_back(TokenId(std::max_element(logits.begin(), logits.end()) -
                            logits.begin()));
      tokens.push_back(out.back());
    }
    return out;
  }
  Generated run(const std::vector<TokenId> &prompt,
                const std::function<bool(std::string_view)> &onText = {}) {
    Result<Generated> result =
        generate(*engine, 0, prompt, options_, &*tokenizer, onText);
    EXPECT_TRUE(result.ok()) << (result ? "" : result.error().format());
    return result ? result.take() : Generated();
  }

  TempDir dir;
  std::shared_ptr<const Model> model;
  std::optional<Tokenizer> tokenizer;
  std::unique_ptr<Engine> engine;
  std::atomic<int> interrupt{0};
  GenerateOptions options_;
};

TEST_F(Generate, Greedy) {
  std::string streamed;
  Generated result = run({1, 2, 3}, [&](std::string_view text) {
    streamed += text;
    return true;
  });
  EXPECT_EQ(result.tokens, greedy({1, 2, 3}, 10));
  EXPECT_EQ(result.reason, FinishReason::Length);
  EXPECT_EQ(result.text, tokenizer->decode(result.tokens));
  EXPECT_EQ(streamed, result.text);
  EXPECT_EQ(result.promptTokens, 3u);
  EXPECT_EQ(result.decoded, 9u);
}

TEST_F(Generate, SecondRunReusesTheFirst) {
  Generated first = run({1, 2, 3});
  std::vector<TokenId> longer = {1, 2, 3};
  longer.insert(longer.end(), first.tokens.begin(), first.tokens.end());
  Generated second = run(longer);
  EXPECT_EQ(second.reusedTokens, 12u); // all but the last, which was not run
  EXPECT_EQ(second.tokens, greedy(longer, 10));
  options_.reusePrefix = false;
  Generated third = run(longer);
  EXPECT_EQ(third.reusedTokens, 0u);
  EXPECT_EQ(third.tokens, second.tokens);
}

TEST_F(Generate, StopsAtText) {
  Generated all = run({1, 2, 3});
  ASSERT_GE(all.text.size(), 4u);
  // A stop string over two tokens.
  std::string stop = tokenizer->decode({all.tokens[4], all.tokens[5]});
  options_.stops = {"never to be seen", stop};
  Generated result = run({1, 2, 3});
  EXPECT_EQ(result.reason, FinishReason::Stop);
  EXPECT_EQ(result.stop, stop);
  EXPECT_EQ(result.text, all.text.substr(0, all.text.find(stop)));
}

TEST_F(Generate, StopsAtEndOfText) {
  // The model's end-of-text token is 31. Find a prompt that leads to it.
  options_.ignoreEos = false;
  options_.maxTokens = 40;
  for (unsigned seed = 1; seed < 500; ++seed) {
    std::vector<TokenId> prompt = someTokens(3, seed);
    std::vector<TokenId> expected = greedy(prompt, 10);
    auto end = std::find(expected.begin(), expected.end(), TokenId(31));
    if (end == expected.end())
      continue;
    Generated result = run(prompt);
    EXPECT_EQ(result.reason, FinishReason::Eos);
    EXPECT_EQ(result.tokens, std::vector<TokenId>(expected.begin(), end));
    return;
  }
  // Without such a prompt: sampling at high temperature meets it.
  options_.sampling.temperature = 1000;
  options_.sampling.seed = 3;
  options_.maxTokens = 0;
  bool seen = false;
  for (int round = 0; round < 40 && !seen; ++round) {
    options_.sampling.seed++;
    seen = run({1}).reason == FinishReason::Eos;
  }
  EXPECT_TRUE(seen);
}

TEST_F(Generate, FillsTheSequence) {
  options_.maxTokens = 0;
  Generated result = run({1, 2, 3});
  EXPECT_EQ(result.reason, FinishReason::Capacity);
  // The last token is not run any more.
  EXPECT_EQ(result.tokens.size(), size_t(TOY_CAPACITY - 3 + 1));
}

TEST_F(Generate, CallbackAndInterrupt) {
  int pieces = 0;
  Generated result =
      run({1, 2, 3}, [&](std::string_view) { return ++pieces < 3; });
  EXPECT_EQ(result.reason, FinishReason::Callback);
  EXPECT_EQ(pieces, 3);

  pieces = 0;
  result = run({1, 2, 3}, [&](std::string_view) {
    if (++pieces == 2)
      interrupt = 1;
    return true;
  });
  EXPECT_EQ(result.reason, FinishReason::Interrupt);
  EXPECT_EQ(result.tokens.size(), 2u);
  // The next run starts anew by itself.
  interrupt = 0;
  EXPECT_EQ(run({1, 2, 3}).tokens, greedy({1, 2, 3}, 10));
}

TEST_F(Generate, SeedsRepeat) {
  options_.sampling.temperature = 200;
  options_.sampling.seed = 7;
  std::vector<TokenId> first = run({1, 2, 3}).tokens;
  EXPECT_EQ(run({1, 2, 3}).tokens, first);
  options_.sampling.seed = 8;
  EXPECT_NE(run({1, 2, 3}).tokens, first);
}

TEST_F(Generate, WithoutTokenizer) {
  Result<Generated> result = generate(*engine, 0, {1, 2, 3}, options_, nullptr);
  ASSERT_OK(result);
  EXPECT_EQ(result->tokens, greedy({1, 2, 3}, 10));
  EXPECT_EQ(result->text, "");
}

TEST_F(Generate, Refusals) {
  options_.sampling.topP = 2;
  EXPECT_FALSE(generate(*engine, 0, {1}, options_, nullptr).ok());
  options_.sampling.topP = 1;
  EXPECT_ERROR(generate(*engine, 0, someTokens(65), options_, nullptr),
               "EFF0605");
  EXPECT_ERROR(generate(*engine, 0, {}, options_, nullptr), "EFF0606");
  Manifest manifest;
  EXPECT_ERROR(modelTokenizer(manifest), "EFF0702");
}

} // namespace
