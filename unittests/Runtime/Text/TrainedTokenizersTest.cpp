//===- TrainedTokenizersTest.cpp - the tokenizers of the trained models ---===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "TestData.h"

using namespace effrt;
using namespace effrt::test;

namespace {

using nlohmann::json;
using Ids = std::vector<TokenId>;

class TrainedTokenizers : public testing::Test {
protected:
  void SetUp() override {
    models = outsideData() + "/models/";
    auto text = readFile(models + "golden.json");
    if (!text)
      GTEST_SKIP() << "no " << models << "golden.json: set EFFC_TEST_DATA";
    golden = json::parse(*text);
  }

  /// The tokenizer of a model: its name says how large.
  Tokenizer tokenizerOf(const std::string &model) {
    bool large = model.find("16m") != std::string::npos;
    auto text = readFile(
        models + (large ? "tokenizer-8192.json" : "tokenizer-1024.json"));
    EXPECT_TRUE(text);
    return load(text.value_or(""));
  }

  std::string models;
  json golden;
};

TEST_F(TrainedTokenizers, PromptsAndContinuations) {
  int prompts = 0;
  for (auto &[model, entry] : golden.items()) {
    if (!entry.contains("prompts"))
      continue;
    Tokenizer tokenizer = tokenizerOf(model);
    for (const json &prompt : entry["prompts"]) {
      auto text = prompt["text"].get<std::string>();
      EXPECT_EQ(encode(tokenizer, text), prompt["ids"].get<Ids>()) << text;
      EXPECT_EQ(tokenizer.decode(prompt["ids"].get<Ids>()), text);
      EXPECT_EQ(tokenizer.decode(prompt["greedy_ids"].get<Ids>()),
                prompt["greedy_text"].get<std::string>());
      ++prompts;
    }
  }
  EXPECT_GE(prompts, 24);
}

TEST_F(TrainedTokenizers, WholeTestText) {
  auto text = readFile(models + "wiki_test.txt");
  if (!text)
    GTEST_SKIP() << "no " << models << "wiki_test.txt: set EFFC_TEST_DATA";
  for (const char *model : {"llama-16m", "llama-tiny"}) {
    Tokenizer tokenizer = tokenizerOf(model);
    const json &whole = golden[model]["whole"];
    Ids ids = encode(tokenizer, *text);
    EXPECT_EQ(ids.size(), whole["tokens"].get<size_t>()) << model;
    Ids first = whole["first_ids"].get<Ids>();
    ASSERT_GE(ids.size(), first.size());
    EXPECT_EQ(Ids(ids.begin(), ids.begin() + first.size()), first) << model;
    EXPECT_EQ(tokenizer.decode(ids), *text) << model;
  }
}

} // namespace
