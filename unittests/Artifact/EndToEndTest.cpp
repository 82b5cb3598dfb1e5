//===- EndToEndTest.cpp - model files compute what eff means --------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "TestModels.h"

#include "effc/Reference/Interpreter.h"
#include "effrt/engine.h"
#include "mlir/Pass/PassManager.h"
#include "gtest/gtest.h"

#include <cmath>

using namespace effc;
using namespace effc::test;
using reference::Tensor;

namespace {
using Logits = std::vector<std::vector<double>>;

const std::vector<effrt::TokenId> kTokens = {3,  17, 39, 0,  5,  5,  21, 8,
                                             30, 11, 2,  14, 33, 27, 19, 6,
                                             1,  38, 9,  10, 24, 36, 12, 7};

/// Logits after each token, one token at a time, in double precision.
Logits runReference(const std::string &text) {
  TestModule module(text);
  reference::Interpreter<double> interpreter(module.get());
  reference::Sequence<double> sequence = interpreter.createSequence();
  Logits logits;
  for (effrt::TokenId id : kTokens) {
    auto results = interpreter.run("decode_b1",
                                   {Tensor<double>::fromIntegers({1, 1}, {id})},
                                   {reference::Row<double>{&sequence}});
    if (!results) {
      ADD_FAILURE() << llvm::toString(results.takeError());
      return {};
    }
    logits.push_back(results->front().floats);
  }
  return logits;
}

std::unique_ptr<effrt::Engine> open(const std::string &path, int threads) {
  auto model = effrt::Model::open(path);
  if (!model) {
    ADD_FAILURE() << model.error().format();
    return nullptr;
  }
  effrt::EngineOptions options;
  options.threads = threads;
  options.sequences = 2;
  options.pin = false;
  auto engine = effrt::Engine::create(model.take(), options);
  EXPECT_TRUE(engine.ok()) << (engine ? "" : engine.error().format());
  return engine ? engine.take() : nullptr;
}

/// The largest distance of logits from what they should be.
double distance(const float *got, const std::vector<double> &expected) {
  double worst = 0;
  for (int i = 0; i < kVocab; ++i)
    worst =
        std::fmax(worst, std::isfinite(got[i]) ? std::fabs(got[i] - expected[i])
                                               : HUGE_VAL);
  return worst;
}

struct Case {
  const char *name;
  std::string (*text)();
};

class EndToEnd : public ::testing::TestWithParam<Case> {
protected:
  // Logits are of the order of 10; a few hundred f32 roundings of a relative
  // 6e-8 stay well below.
  static constexpr double kTolerance = 2e-4;
  TempDir dir;
};
} // namespace

TEST_P(EndToEnd, DecodeAndPrefillMatchReference) {
  std::string text = GetParam().text();
  Logits expected = runReference(text);
  ASSERT_EQ(expected.size(), kTokens.size());
  TestModule module(text);
  ASSERT_EQ(module.write(dir.file("model.eff")), "");
  for (int threads : {1, 2}) {
    auto engine = open(dir.file("model.eff"), threads);
    ASSERT_TRUE(engine);
    // Token by token.
    for (size_t i = 0; i < kTokens.size(); ++i) {
      auto logits = engine->decode({{0, kTokens[i]}});
      ASSERT_TRUE(logits.ok()) << logits.error().format();
      EXPECT_LT(distance(*logits, expected[i]), kTolerance) << "token " << i;
    }
    // In chunks of 16 and 4 and what remains, padded.
    for (size_t count : {size_t(1), size_t(3), size_t(22), kTokens.size()}) {
      ASSERT_TRUE(engine->reset(1).ok());
      std::vector<effrt::TokenId> prompt(kTokens.begin(),
                                         kTokens.begin() + count);
      auto logits = engine->prefill(1, prompt);
      ASSERT_TRUE(logits.ok()) << logits.error().format();
      EXPECT_LT(distance(*logits, expected[count - 1]), kTolerance)
          << count << " tokens, " << threads << " threads";
    }
    // All positions.
    ASSERT_TRUE(engine->reset(1).ok());
    size_t seen = 0;
    auto status =
        engine->score(1, kTokens, [&](size_t index, const float *logits) {
          EXPECT_LT(distance(logits, expected[index]), kTolerance) << index;
          ++seen;
          return true;
        });
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(seen, kTokens.size());
  }
}

TEST_P(EndToEnd, RowsOfABatchDoNotTouch) {
  std::string text = GetParam().text();
  Logits expected = runReference(text);
  ASSERT_EQ(expected.size(), kTokens.size());
  TestModule module(text);
  ASSERT_EQ(module.write(dir.file("model.eff")), "");
  auto engine = open(dir.file("model.eff"), 2);
  ASSERT_TRUE(engine);
  // Sequence 1 is two tokens ahead.
  ASSERT_TRUE(engine->prefill(1, {kTokens[0], kTokens[1]}).ok());
  for (size_t i = 0; i + 2 < kTokens.size(); ++i) {
    auto logits = engine->decode({{0, kTokens[i]}, {1, kTokens[i + 2]}});
    ASSERT_TRUE(logits.ok()) << logits.error().format();
    EXPECT_LT(distance(*logits, expected[i]), kTolerance);
    EXPECT_LT(distance(*logits + kVocab, expected[i + 2]), kTolerance);
  }
}

/// With quantised weights the file must agree with the reference on the same
/// rounded weights.
TEST_P(EndToEnd, QuantisedWeightsMatchReference) {
  std::string text = GetParam().text();
  for (eff::QuantFormat format :
       {eff::QuantFormat::W8A16, eff::QuantFormat::W4A16}) {
    // The reference reads the formats from the types: let the pass alone change
    // them.
    TestModule quantised(text);
    mlir::PassManager passes(&quantised.getContext());
    eff::EffQuantizePassOptions options;
    options.format = format;
    options.group = 8;
    passes.addPass(eff::createEffQuantizePass(options));
    ASSERT_TRUE(mlir::succeeded(passes.run(quantised.get())));
    std::string changed;
    llvm::raw_string_ostream(changed) << quantised.get();
    Logits expected = runReference(changed);
    ASSERT_EQ(expected.size(), kTokens.size());

    TestModule module(text);
    ASSERT_EQ(module.write(dir.file("model.eff"), format), "");
    auto engine = open(dir.file("model.eff"), 2);
    ASSERT_TRUE(engine);
    size_t seen = 0;
    auto status =
        engine->score(0, kTokens, [&](size_t index, const float *logits) {
          EXPECT_LT(distance(logits, expected[index]), kTolerance) << index;
          ++seen;
          return true;
        });
    ASSERT_TRUE(status.ok());
    EXPECT_EQ(seen, kTokens.size());
  }
}

/// Rounding activations is not continuous, so only the size of the error can be
/// bounded: 8 bits of each token.
TEST_P(EndToEnd, DynamicInt8IsClose) {
  std::string text = GetParam().text();
  Logits expected = runReference(text);
  ASSERT_EQ(expected.size(), kTokens.size());
  TestModule module(text);
  ASSERT_EQ(module.write(dir.file("model.eff"), eff::QuantFormat::W8A8Dynamic),
            "");
  auto engine = open(dir.file("model.eff"), 2);
  ASSERT_TRUE(engine);
  double error = 0, size = 0;
  auto status = engine->score(0, kTokens, [&](size_t index, const float *got) {
    for (int i = 0; i < kVocab; ++i) {
      error += std::pow(got[i] - expected[index][i], 2);
      size += std::pow(expected[index][i], 2);
    }
    return true;
  });
  ASSERT_TRUE(status.ok());
  EXPECT_LT(std::sqrt(error / size), 0.05);
  EXPECT_GT(error, 0);
}

INSTANTIATE_TEST_SUITE_P(Models, EndToEnd,
                         ::testing::Values(Case{"mamba1", mamba1Model},
                                           Case{"mamba2", mamba2Model},
                                           Case{"attention", attentionModel}),
                         [](const auto &info) { return info.param.name; });

TEST(EndToEndImage, ForwardMatchesReference) {
  TempDir dir;
  std::vector<float> image(2 * 3 * 8 * 8);
  for (size_t i = 0; i < image.size(); ++i)
    image[i] = std::sin(0.37 * i);
  TestModule source(imageModel());
  reference::Interpreter<double> interpreter(source.get());
  auto expected = interpreter.run(
      "forward_b2",
      {Tensor<double>::fromFloats(
          {2, 3, 8, 8}, std::vector<double>(image.begin(), image.end()))});
  ASSERT_TRUE(static_cast<bool>(expected))
      << llvm::toString(expected.takeError());
  TestModule module(imageModel());
  ASSERT_EQ(module.write(dir.file("model.eff")), "");
  for (int threads : {1, 2}) {
    auto engine = open(dir.file("model.eff"), threads);
    ASSERT_TRUE(engine);
    std::vector<float> logits(20);
    auto status =
        engine->forward({{"pixel_values", image.data(), image.size() * 4}},
                        {{"logits", logits.data(), logits.size() * 4}});
    ASSERT_TRUE(status.ok()) << status.error().format();
    for (size_t i = 0; i < logits.size(); ++i)
      EXPECT_NEAR(logits[i], expected->front().floats[i], 2e-5) << i;
  }
}
