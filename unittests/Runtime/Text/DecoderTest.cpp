//===- DecoderTest.cpp - from the spelling of tokens to text --------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "TestData.h"

#include "decoder.h"

using namespace effrt;

namespace {

const Json kSentencePiece = Json::parse(R"({"type": "Sequence", "decoders": [
  {"type": "Replace", "pattern": {"String": "_"}, "content": " "},
  {"type": "ByteFallback"}, {"type": "Fuse"},
  {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})");

std::string run(const Json &config, const std::vector<std::string> &tokens,
                bool whole) {
  auto decoder = Decoder::fromJson(JsonRef(config, "decoder"));
  EXPECT_TRUE(decoder) << decoder.error().format();
  Decoder::Stream stream(*decoder, whole);
  std::string text;
  for (const std::string &token : tokens)
    stream.push(token, text);
  stream.finish(text);
  return text;
}

TEST(Decoder, WithoutOneTokensAreWords) {
  EXPECT_EQ(run(Json(), {"a", "b"}, true), "a b");
  EXPECT_EQ(run(Json(), {"a", "b"}, false), "a b");
}

TEST(Decoder, StripCountsOverTokensOfTheText) {
  for (bool whole : {false, true}) {
    EXPECT_EQ(run(kSentencePiece, {"_", "_a", "_b"}, whole), " a b");
    EXPECT_EQ(run(kSentencePiece, {"<0x20>", "_", "a"}, whole), " a");
    EXPECT_EQ(run(kSentencePiece, {"<0xE2>", "<0x82>", "<0xAC>", "_"}, whole),
              "\xE2\x82\xAC ");
  }
}

TEST(Decoder, ByteRunsThatAreNotUtf8) {
  const std::string mark = "\xEF\xBF\xBD";
  std::vector<std::string> tokens = {"<0x41>", "<0xE2>", "<0x82>", "x"};
  // The reference judges a run as one; a stream has shown the 'A' already.
  EXPECT_EQ(run(kSentencePiece, tokens, true), mark + mark + mark + "x");
  EXPECT_EQ(run(kSentencePiece, tokens, false), "A" + mark + mark + "x");
}

TEST(Decoder, FinishedStreamBeginsAnew) {
  auto decoder = Decoder::fromJson(JsonRef(kSentencePiece, ""));
  ASSERT_TRUE(decoder);
  Decoder::Stream stream(*decoder, false);
  for (int i = 0; i < 2; ++i) {
    std::string text;
    stream.push("_a", text);
    stream.push("<0xE2>", text);
    stream.finish(text);
    EXPECT_EQ(text, "a\xEF\xBF\xBD");
  }
}

TEST(Decoder, RefusesChainsThatCannotStream) {
  for (
      const char *config :
      {R"({"type": "WordPiece", "prefix": "##"})", R"({"type": "CTC"})",
       R"({"type": "Sequence", "decoders": [{"type": "ByteLevel"}, {"type": "ByteFallback"}]})",
       R"({"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 0, "stop": 1}]})",
       R"({"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "Replace", "pattern": {"String": "ab"}, "content": ""}]})",
       R"({"type": "Replace", "pattern": {"Regex": "a+"}, "content": ""})"}) {
    Json json = Json::parse(config);
    auto decoder = Decoder::fromJson(JsonRef(json, "decoder"));
    ASSERT_FALSE(decoder) << config;
    EXPECT_EQ(decoder.error().code, "EFF0701");
    EXPECT_NE(decoder.error().where.find("decoder"), std::string::npos);
  }
}

TEST(Decoder, RefusesFieldsOfTheWrongKind) {
  for (const char *config :
       {"3", "{}", R"({"type": 3})", R"({"type": "Sequence"})",
        R"({"type": "Strip", "content": "ab", "start": 0, "stop": 0})",
        R"({"type": "Strip", "content": " ", "start": -1, "stop": 0})",
        R"({"type": "Replace", "pattern": {}, "content": ""})",
        R"({"type": "Metaspace", "replacement": ""})"}) {
    Json json = Json::parse(config);
    auto decoder = Decoder::fromJson(JsonRef(json, "decoder"));
    ASSERT_FALSE(decoder) << config;
    EXPECT_EQ(decoder.error().code, "EFF0701") << config;
  }
}

} // namespace
