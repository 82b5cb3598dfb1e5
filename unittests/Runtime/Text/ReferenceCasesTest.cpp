//===- ReferenceCasesTest.cpp - the same as the tokenizers library --------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// data/make_cases.py recorded what Hugging Face `tokenizers` gives; every id
/// and every character must be the same here.
///
//===----------------------------------------------------------------------===//

#include "TestData.h"

#include "decoder.h"
#include "effrt/text/stream.h"
#include "normalizer.h"
#include "pretokenizer.h"

using namespace effrt;
using namespace effrt::test;

namespace {

const Json &cases() {
  static const Json json = Json::parse(ownFile("cases.json"));
  return json;
}

const Json &stages() {
  static const Json json = Json::parse(ownFile("stages.json"));
  return json;
}

using Ids = std::vector<TokenId>;

class Family : public testing::TestWithParam<const char *> {
protected:
  void SetUp() override {
    expected = cases()[GetParam()];
    tokenizer.emplace(load(ownFile(std::string(GetParam()) + ".json")));
  }

  void compareIds(const char *key, const EncodeOptions &options) {
    const Json &strings = cases()["strings"];
    ASSERT_GT(strings.size(), 500u);
    for (size_t i = 0; i < strings.size(); ++i) {
      auto text = strings[i].get<std::string>();
      EXPECT_EQ(encode(*tokenizer, text, options), expected[key][i].get<Ids>())
          << key << ' ' << i << ": " << strings[i].dump(-1, ' ', true);
    }
  }

  Json expected;
  std::optional<Tokenizer> tokenizer;
};

TEST_P(Family, EncodesWithSpecialTokens) { compareIds("ids", {}); }

TEST_P(Family, EncodesWithoutSpecialTokens) {
  EncodeOptions options;
  options.addSpecialTokens = false;
  compareIds("bare_ids", options);
}

TEST_P(Family, EncodesNamesOfSpecialTokensAsText) {
  EncodeOptions options;
  options.addSpecialTokens = false;
  options.specialsAsText = true;
  compareIds("plain_ids", options);
}

TEST_P(Family, DecodesAllAndWithoutSpecialTokens) {
  for (size_t i = 0; i < expected["ids"].size(); ++i) {
    auto ids = expected["ids"][i].get<Ids>();
    EXPECT_EQ(tokenizer->decode(ids, false),
              expected["text"][i].get<std::string>())
        << i;
    EXPECT_EQ(tokenizer->decode(ids, true),
              expected["clean_text"][i].get<std::string>())
        << i;
  }
}

TEST_P(Family, StreamsTheSameTextInWholeCharacters) {
  for (bool skipSpecial : {false, true}) {
    DecodeStream stream(*tokenizer, skipSpecial);
    for (size_t i = 0; i < expected["ids"].size(); ++i) {
      std::string text;
      for (TokenId id : expected["ids"][i].get<Ids>()) {
        std::string chunk = stream.push(id);
        EXPECT_TRUE(utf8::isValid(chunk)) << i;
        text += chunk;
      }
      text += stream.finish();
      EXPECT_EQ(
          text,
          expected[skipSpecial ? "clean_text" : "text"][i].get<std::string>())
          << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Text, Family,
                         testing::Values("llama3", "qwen2", "neox", "spm"),
                         [](const auto &info) { return info.param; });

TEST(ReferenceStages, Normalizers) {
  const Json &strings = stages()["strings"];
  size_t compared = 0;
  for (const Json &entry : stages()["normalizers"]) {
    auto normalizer = Normalizer::fromJson(JsonRef(entry["config"], ""));
    ASSERT_TRUE(normalizer) << normalizer.error().format();
    for (size_t i = 0; i < strings.size(); ++i) {
      auto text = strings[i].get<std::string>();
      ASSERT_TRUE(normalizer->apply(text));
      EXPECT_EQ(text, entry["out"][i].get<std::string>())
          << entry["config"] << ' ' << strings[i].dump(-1, ' ', true);
      ++compared;
    }
  }
  EXPECT_GT(compared, 2000u);
}

TEST(ReferenceStages, PreTokenizers) {
  const Json &strings = stages()["strings"];
  size_t compared = 0;
  for (const Json &entry : stages()["pre_tokenizers"]) {
    auto preTokenizer = PreTokenizer::fromJson(JsonRef(entry["config"], ""));
    ASSERT_TRUE(preTokenizer) << preTokenizer.error().format();
    for (size_t i = 0; i < strings.size(); ++i) {
      Pieces pieces;
      pieces.text = strings[i].get<std::string>();
      pieces.pieces.push_back({0, pieces.text.size()});
      pieces.atStart = true;
      ASSERT_TRUE(preTokenizer->apply(pieces));
      std::vector<std::string> words;
      for (const Pieces::Piece &piece : pieces.pieces)
        if (piece.begin != piece.end)
          words.emplace_back(pieces.view(piece));
      EXPECT_EQ(words, entry["out"][i].get<std::vector<std::string>>())
          << entry["config"] << ' ' << strings[i].dump(-1, ' ', true);
      ++compared;
    }
  }
  EXPECT_GT(compared, 5000u);
}

TEST(ReferenceStages, Decoders) {
  const Json &lists = stages()["token_lists"];
  size_t compared = 0;
  for (const Json &entry : stages()["decoders"]) {
    auto decoder = Decoder::fromJson(JsonRef(entry["config"], ""));
    ASSERT_TRUE(decoder) << decoder.error().format();
    for (size_t i = 0; i < lists.size(); ++i) {
      if (entry["out"][i].is_object()) // the reference itself failed
        continue;
      Decoder::Stream stream(*decoder, /*whole=*/true);
      std::string text;
      for (const Json &token : lists[i])
        stream.push(token.get<std::string>(), text);
      stream.finish(text);
      EXPECT_EQ(text, entry["out"][i].get<std::string>())
          << entry["config"] << ' ' << lists[i];
      ++compared;
    }
  }
  EXPECT_GT(compared, 150u);
}

} // namespace
