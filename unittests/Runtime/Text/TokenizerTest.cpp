//===- TokenizerTest.cpp - byte-pair tokenizer from tokenizer.json --------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "TestData.h"

#include "utf8.h"

#include <chrono>
#include <thread>

using namespace effrt;
using namespace effrt::test;

namespace {

using nlohmann::json;
using Ids = std::vector<TokenId>;

json addedToken(TokenId id, const char *content, const json &extra = {}) {
  json token = {{"id", id},
                {"content", content},
                {"special", false},
                {"normalized", false},
                {"single_word", false},
                {"lstrip", false},
                {"rstrip", false}};
  if (extra.is_object())
    token.update(extra);
  return token;
}

Tokenizer withAdded(const std::vector<json> &tokens) {
  return load(byteLevelFile({}, {{"added_tokens", tokens}}).dump());
}

std::string errorCode(const json &file) {
  auto tokenizer = Tokenizer::fromJson(file.dump());
  EXPECT_FALSE(tokenizer);
  if (tokenizer)
    return "";
  EXPECT_FALSE(tokenizer.error().why.empty());
  return tokenizer.error().code;
}

TEST(Tokenizer, MergesByRankThenFromTheLeft) {
  // 256 "bc", 257 "ab", 258 "aa"
  Tokenizer t = load(byteLevelFile({"b c", "a b", "a a"}).dump());
  EXPECT_EQ(encode(t, "abc"), (Ids{'a', 256}));
  EXPECT_EQ(encode(t, "aaa"), (Ids{258, 'a'}));
  EXPECT_EQ(encode(t, "aab"), (Ids{'a', 257}));
}

TEST(Tokenizer, MergesAsStringsAndAsPairs) {
  json file = byteLevelFile({"a b", "ab c"});
  Tokenizer strings = load(file.dump());
  file["model"]["merges"] =
      json::array({json::array({"a", "b"}), json::array({"ab", "c"})});
  Tokenizer pairs = load(file.dump());
  EXPECT_EQ(encode(strings, "abcab"), (Ids{257, 256}));
  EXPECT_EQ(encode(pairs, "abcab"), (Ids{257, 256}));
  file["model"]["merges"] = {"#version: 0.2", "a b", "ab c"};
  EXPECT_EQ(encode(load(file.dump()), "abcab"), (Ids{257, 256}));
}

TEST(Tokenizer, WholeWordsBeforeMerges) {
  json file = byteLevelFile({"a b"});
  file["model"]["vocab"]["abc"] = 257;
  EXPECT_EQ(encode(load(file.dump()), "abc"), (Ids{256, 'c'}));
  file["model"]["ignore_merges"] = true;
  EXPECT_EQ(encode(load(file.dump()), "abc"), (Ids{257}));
}

TEST(Tokenizer, PrefixesAndSuffixesOfSymbols) {
  json file = {{"model",
                {{"type", "BPE"},
                 {"continuing_subword_prefix", "##"},
                 {"end_of_word_suffix", "</w>"},
                 {"vocab",
                  {{"a", 0},
                   {"##b", 1},
                   {"##c</w>", 2},
                   {"ab", 3},
                   {"abc</w>", 4},
                   {"a</w>", 5}}},
                 {"merges", json::array({"a ##b", "ab ##c</w>"})}}}};
  Tokenizer t = load(file.dump());
  EXPECT_EQ(encode(t, "abc"), (Ids{4}));
  EXPECT_EQ(encode(t, "a"), (Ids{5}));
}

TEST(Tokenizer, UnknownCharacters) {
  json file = {{"model",
                {{"type", "BPE"},
                 {"vocab", {{"a", 0}, {"?", 1}, {"<0xC3>", 2}, {"<0xA9>", 3}}},
                 {"merges", json::array()}}}};
  EXPECT_EQ(encode(load(file.dump()), "axya"), (Ids{0, 0}));
  file["model"]["unk_token"] = "?";
  EXPECT_EQ(encode(load(file.dump()), "axya"), (Ids{0, 1, 1, 0}));
  file["model"]["fuse_unk"] = true;
  EXPECT_EQ(encode(load(file.dump()), "axya"), (Ids{0, 1, 0}));
  file["model"]["byte_fallback"] = true;
  EXPECT_EQ(encode(load(file.dump()), "a\xC3\xA9xa"), (Ids{0, 2, 3, 1, 0}));
}

TEST(Tokenizer, IllFormedTextCountsAsReplacementCharacters) {
  Tokenizer t = load(byteLevelFile({}).dump());
  for (std::string text : {"a\xFFz", "\xC3", "\xE2\x82", "\xED\xA0\x80x"})
    EXPECT_EQ(encode(t, text), encode(t, utf8::toValid(text)));
  std::string nul("a\0b", 3);
  EXPECT_EQ(encode(t, nul), (Ids{'a', 0, 'b'}));
  EXPECT_EQ(t.decode({'a', 0, 'b'}), nul);
}

TEST(Tokenizer, LongestAddedTokenWins) {
  Tokenizer t = withAdded({addedToken(300, "<a"), addedToken(301, "<a>")});
  EXPECT_EQ(encode(t, "<a><ab"), (Ids{301, 300, 'b'}));
}

TEST(Tokenizer, AddedTokensTakeSpaceAroundThem) {
  Tokenizer t = withAdded({addedToken(300, "<l>", {{"lstrip", true}}),
                           addedToken(301, "<r>", {{"rstrip", true}})});
  EXPECT_EQ(encode(t, "a \t<l> b"), (Ids{'a', 300, ' ', 'b'}));
  EXPECT_EQ(encode(t, "a <r>\xE3\x80\x80 b"), (Ids{'a', ' ', 301, 'b'}));
  EXPECT_EQ(encode(t, "<r>  <l>"), (Ids{301, 300}));
}

TEST(Tokenizer, SingleWordsStandAlone) {
  Tokenizer t = withAdded({addedToken(300, "ab", {{"single_word", true}})});
  EXPECT_EQ(encode(t, "ab"), (Ids{300}));
  EXPECT_EQ(encode(t, "(ab)"), (Ids{'(', 300, ')'}));
  EXPECT_EQ(encode(t, "abc"), (Ids{'a', 'b', 'c'}));
  EXPECT_EQ(encode(t, "_ab"), (Ids{'_', 'a', 'b'}));
}

TEST(Tokenizer, AddedTokensMatchBeforeOrAfterNormalization) {
  for (bool normalized : {false, true}) {
    Tokenizer t = load(
        byteLevelFile({}, {{"normalizer", {{"type", "Lowercase"}}},
                           {"added_tokens",
                            json::array({addedToken(
                                300, "AB", {{"normalized", normalized}})})}})
            .dump());
    EXPECT_EQ(encode(t, "AB"), (Ids{300}));
    EXPECT_EQ(encode(t, "ab"), normalized ? Ids{300} : (Ids{'a', 'b'}));
  }
}

TEST(Tokenizer, SpecialTokensInTextOnlyIfWanted) {
  Tokenizer t = withAdded({addedToken(300, "<s>", {{"special", true}})});
  EncodeOptions plain;
  plain.specialsAsText = true;
  EXPECT_EQ(encode(t, "<s>"), (Ids{300}));
  EXPECT_EQ(encode(t, "<s>", plain), (Ids{'<', 's', '>'}));
  EXPECT_EQ(t.decode({300, 'a'}), "a");
  EXPECT_EQ(t.decode({300, 'a'}, false), "<s>a");
  EXPECT_TRUE(t.isSpecial(300));
  EXPECT_FALSE(t.isSpecial('a'));
}

TEST(Tokenizer, Template) {
  json item = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};
  json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  json file = byteLevelFile(
      {}, {{"added_tokens",
            json::array({addedToken(300, "<s>", {{"special", true}})})},
           {"post_processor",
            {{"type", "TemplateProcessing"},
             {"single", {item, text, item}},
             {"special_tokens", {{"<s>", {{"ids", json::array({300})}}}}}}}});
  Tokenizer t = load(file.dump());
  EncodeOptions bare;
  bare.addSpecialTokens = false;
  EXPECT_EQ(encode(t, "a"), (Ids{300, 'a', 300}));
  EXPECT_EQ(encode(t, ""), (Ids{300, 300}));
  EXPECT_EQ(encode(t, "a", bare), (Ids{'a'}));
  file["post_processor"]["special_tokens"]["<s>"]["ids"] = json::array({999});
  EXPECT_EQ(errorCode(file), "EFF0701");
  file["post_processor"]["single"] = json::array({item});
  EXPECT_EQ(errorCode(file), "EFF0701");
}

TEST(Tokenizer, Lookups) {
  Tokenizer t = withAdded({addedToken(300, "<s>")});
  EXPECT_EQ(t.tokenToId("<s>"), 300u);
  EXPECT_EQ(t.tokenToId("a"), TokenId{'a'});
  EXPECT_EQ(t.tokenToId("nothing"), std::nullopt);
  EXPECT_EQ(t.idToToken(300), "<s>");
  EXPECT_EQ(t.idToToken(299), std::nullopt); // a gap
  EXPECT_EQ(t.vocabSize(), 301u);
}

TEST(Tokenizer, NamesWhatItDoesNotSupport) {
  struct Case {
    const char *part, *name;
    json value;
  };
  for (const Case &c : std::vector<Case>{
           {"normalizer", "BertNormalizer", {{"type", "BertNormalizer"}}},
           {"pre_tokenizer", "Punctuation", {{"type", "Punctuation"}}},
           {"post_processor", "BertProcessing", {{"type", "BertProcessing"}}},
           {"decoder", "WordPiece", {{"type", "WordPiece"}}},
           {"model", "Unigram", {{"type", "Unigram"}}},
           {"model", "dropout", {{"dropout", 0.1}}}}) {
    auto t = Tokenizer::fromJson(byteLevelFile({}, {{c.part, c.value}}).dump());
    ASSERT_FALSE(t) << c.name;
    EXPECT_EQ(t.error().code, "EFF0701");
    EXPECT_NE(t.error().what.find(c.name), std::string::npos)
        << t.error().format();
    EXPECT_NE(t.error().where.find(c.part), std::string::npos);
  }
}

TEST(Tokenizer, RefusesInconsistentFiles) {
  auto changed = [](const char *pointer, const json &value) {
    json file = byteLevelFile({"a b"});
    file[json::json_pointer(pointer)] = value;
    return errorCode(file);
  };
  EXPECT_EQ(changed("/model", nullptr), "EFF0701");
  EXPECT_EQ(changed("/model", json::object()), "EFF0701");
  EXPECT_EQ(changed("/model/vocab", json::array()), "EFF0701");
  EXPECT_EQ(changed("/model/vocab/a", -1), "EFF0701");
  EXPECT_EQ(changed("/model/vocab/a", 1.5), "EFF0701");
  EXPECT_EQ(changed("/model/vocab/a", 4294967295u), "EFF0701");
  EXPECT_EQ(changed("/model/vocab/a", 98), "EFF0701") << "an id twice";
  EXPECT_EQ(changed("/model/merges", "a b"), "EFF0701");
  EXPECT_EQ(changed("/model/merges/0", "ab"), "EFF0701");
  EXPECT_EQ(changed("/model/merges/0", "a b c"), "EFF0701");
  EXPECT_EQ(changed("/model/merges/0", json::array({"a"})), "EFF0701");
  EXPECT_EQ(changed("/model/merges/0", json::array({"a", "zz"})), "EFF0701");
  EXPECT_EQ(changed("/model/merges/0", "a c"), "EFF0701") << "\"ac\" missing";
  EXPECT_EQ(changed("/model/unk_token", "none"), "EFF0701");
  EXPECT_EQ(changed("/model/byte_fallback", "yes"), "EFF0701");
  EXPECT_EQ(changed("/added_tokens", json::array({{{"id", 300}}})), "EFF0701");
  EXPECT_EQ(changed("/added_tokens", json::array({addedToken(97, "new")})),
            "EFF0701");
  EXPECT_EQ(changed("/added_tokens", json::array({addedToken(300, "x1"),
                                                  addedToken(300, "x2")})),
            "EFF0701");
  EXPECT_EQ(changed("/pre_tokenizer", {{"type", "Split"}}), "EFF0701");
}

TEST(Tokenizer, ThreadsShareOneTokenizer) {
  Tokenizer t = load(ownFile("qwen2.json"));
  auto cases = json::parse(ownFile("cases.json"));
  auto expected = cases["qwen2"]["ids"].get<std::vector<Ids>>();
  auto strings = cases["strings"].get<std::vector<std::string>>();
  std::vector<std::thread> threads;
  std::vector<size_t> wrong(4);
  for (size_t k = 0; k < wrong.size(); ++k)
    threads.emplace_back([&, k, copy = t] {
      for (size_t i = 0; i < strings.size(); ++i)
        wrong[k] += encode(copy, strings[i]) != expected[i];
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(wrong, std::vector<size_t>(4));
}

/// A megabyte in one word; quadratic merging would take hours.
TEST(Tokenizer, LongWordsTakeLinearTime) {
  Tokenizer t =
      load(byteLevelFile({"a a", "aa aa", "a b", "aaaa aaaa"}).dump());
  std::string one(1 << 20, 'a'), mixed, marks;
  for (int i = 0; i < (1 << 19); ++i)
    mixed += i % 3 ? "ab" : "aa";
  for (int i = 0; i < (1 << 18); ++i) // alternating combining classes
    marks += i % 2 ? "\xCC\x81" : "\xCC\xA3";
  auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(encode(t, one).size(), one.size() / 8);
  EXPECT_GT(encode(t, mixed).size(), 0u);
  EXPECT_EQ(encode(t, std::string(1 << 20, ' ')).size(), 1u << 20);
  Tokenizer nfc =
      load(byteLevelFile({}, {{"normalizer", {{"type", "NFC"}}}}).dump());
  EXPECT_EQ(encode(nfc, marks).size(), marks.size());
  std::chrono::duration<double> seconds =
      std::chrono::steady_clock::now() - start;
  EXPECT_LT(seconds.count(), 20.0);
}

} // namespace
