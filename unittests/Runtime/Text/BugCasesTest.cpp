//===- BugCasesTest.cpp - failures that users of other tools reported -----===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Cases 57, 59, 61, 63 and 67 of onnx/bug-cases.tar.xz in the test data.
///
//===----------------------------------------------------------------------===//

#include "TestData.h"

#include "effrt/text/sampler.h"
#include "effrt/text/stream.h"

#include <chrono>
#include <cmath>
#include <limits>
#include <map>

using namespace effrt;
using namespace effrt::test;

namespace {

using nlohmann::json;

class BugCases : public testing::Test {
protected:
  static void SetUpTestSuite() {
    std::string archive = outsideData() + "/onnx/bug-cases.tar.xz";
    if (!readFile(archive))
      return;
    folder = std::string(EFFRT_TEXT_TEST_SCRATCH) + "/bug-cases";
    std::string command = "mkdir -p '" + folder + "' && tar -xJf '" + archive +
                          "' -C '" + folder + "'";
    if (std::system(command.c_str()) != 0)
      folder.clear();
  }

  void SetUp() override {
    if (folder.empty())
      GTEST_SKIP() << "no " << outsideData()
                   << "/onnx/bug-cases.tar.xz that tar can read: set "
                      "EFFC_TEST_DATA";
  }

  static json read(const std::string &name) {
    auto text = readFile(folder + '/' + name);
    EXPECT_TRUE(text) << name;
    return json::parse(text.value_or("null"));
  }

  static Tokenizer tokenizer(const std::string &name) {
    return load(readFile(folder + '/' + name).value_or(""));
  }

  static float logit(const json &value) {
    if (value.is_null())
      return -std::numeric_limits<float>::infinity();
    return static_cast<float>(number(value));
  }

  static double number(const json &value) {
    if (value == "nan")
      return std::nan("");
    if (value == "inf")
      return std::numeric_limits<double>::infinity();
    return value.get<double>();
  }

  static std::vector<float> logits(const json &values) {
    std::vector<float> out;
    for (const json &value : values)
      out.push_back(logit(value));
    return out;
  }

  static std::string folder;
};

std::string BugCases::folder;

TEST_F(BugCases, StreamSplitCharacters57) {
  Tokenizer t = tokenizer("57-stream-split-characters/tokenizer.json");
  DecodeStream stream(t);
  for (const json &c : read("57-stream-split-characters/cases.json")) {
    std::vector<std::string> chunks;
    for (TokenId id : c["ids"].get<std::vector<TokenId>>())
      chunks.push_back(stream.push(id));
    EXPECT_EQ(chunks, c["chunks"].get<std::vector<std::string>>()) << c["name"];
    EXPECT_EQ(stream.finish(), c["flush"].get<std::string>()) << c["name"];
    EXPECT_EQ(t.decode(c["ids"].get<std::vector<TokenId>>()),
              c["text"].get<std::string>());
  }
}

TEST_F(BugCases, LongWord59) {
  Tokenizer t = tokenizer("59-long-word/tokenizer.json");
  for (const json &c : read("59-long-word/cases.json")) {
    std::string text;
    for (int i = 0; i < c["times"].get<int>(); ++i)
      text += c["repeat"].get<std::string>();
    auto start = std::chrono::steady_clock::now();
    std::map<std::string, size_t> counts;
    auto ids = encode(t, text);
    std::chrono::duration<double> seconds =
        std::chrono::steady_clock::now() - start;
    for (TokenId id : ids)
      ++counts[std::to_string(id)];
    EXPECT_EQ(json(counts), c["count_by_id"]) << c;
    EXPECT_EQ(ids.size(), c["total"].get<size_t>()) << c;
    EXPECT_LT(seconds.count(), 5.0) << "quadratic time takes minutes; " << c;
  }
}

TEST_F(BugCases, StopStringOverTokens61) {
  for (const json &c : read("61-stop-string-over-tokens/cases.json")) {
    auto stops = c["stop"].get<std::vector<std::string>>();
    auto matcher = StopMatcher::create(stops);
    ASSERT_TRUE(matcher);
    std::string out;
    std::optional<size_t> stoppedBy;
    auto take = [&](const StopMatcher::Output &output) {
      out += output.text;
      if (output.stoppedBy)
        stoppedBy = output.stoppedBy;
    };
    for (const json &piece : c["pieces"])
      take(matcher->push(piece.get<std::string>()));
    take(matcher->finish());
    EXPECT_EQ(out, c["out"].get<std::string>()) << c;
    EXPECT_EQ(stoppedBy ? json(stops[*stoppedBy]) : json(), c["stopped_by"])
        << c;
  }
}

TEST_F(BugCases, TemperatureZero63) {
  json cases = read("63-temperature-zero/cases.json");
  for (const json &c : cases["pick"])
    for (uint64_t seed : {0, 1, 12345}) {
      SamplingOptions options;
      options.temperature = number(c["temperature"]);
      options.topK = c["top_k"].get<uint32_t>();
      options.topP = number(c["top_p"]);
      options.seed = seed;
      auto sampler = Sampler::create(options);
      ASSERT_TRUE(sampler) << c;
      auto values = logits(c["logits"]);
      auto token = sampler->sample(values.data(), values.size());
      ASSERT_TRUE(token) << c << token.error().format();
      EXPECT_EQ(*token, c["token"].get<TokenId>()) << c;
    }
  for (const json &c : cases["refuse"]) {
    SamplingOptions options;
    options.temperature = number(c["temperature"]);
    auto sampler = Sampler::create(options);
    if (!sampler) {
      EXPECT_EQ(sampler.error().code, "EFF0703") << c;
      continue;
    }
    auto values = logits(c["logits"]);
    auto token = sampler->sample(values.data(), values.size());
    ASSERT_FALSE(token) << c;
    EXPECT_EQ(token.error().code, "EFF0705") << c;
  }
}

TEST_F(BugCases, MinP67) {
  for (const json &c : read("67-min-p/cases.json"))
    for (size_t row = 0; row < c["logits"].size(); ++row) {
      SamplingOptions options;
      options.minP = number(c["min_p"]);
      auto sampler = Sampler::create(options);
      ASSERT_TRUE(sampler) << c;
      auto values = logits(c["logits"][row]);
      auto result = sampler->distribution(values.data(), values.size());
      ASSERT_TRUE(result) << c << result.error().format();
      std::vector<TokenId> kept;
      for (const Sampler::Candidate &candidate : **result)
        kept.push_back(candidate.id);
      std::sort(kept.begin(), kept.end());
      EXPECT_EQ(kept, c["kept"][row].get<std::vector<TokenId>>()) << c;
    }
}

} // namespace
