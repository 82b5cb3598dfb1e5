//===- HostileInputTest.cpp - broken and hostile tokenizer files ----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Whatever the bytes: an Error or a tokenizer that works, never a crash.
///
//===----------------------------------------------------------------------===//

#include "TestData.h"

#include "effrt/text/stream.h"
#include "utf8.h"

#include <random>

using namespace effrt;
using namespace effrt::test;

namespace {

using nlohmann::json;

const char *const kTexts[] = {"", "Hello, world! 123",
                              "e\xCC\x81 \xF0\x9F\x98\x80\xE3\x80\x80 it's",
                              "\xFF\xC3 <|endoftext|> <mask>  solo\r\n\n"};

/// Uses a tokenizer in every way; what it gives is not checked.
void use(const Tokenizer &tokenizer) {
  for (const char *text : kTexts) {
    auto ids = tokenizer.encode(text);
    if (!ids) {
      EXPECT_FALSE(ids.error().code.empty());
      continue;
    }
    EXPECT_TRUE(utf8::isValid(tokenizer.decode(*ids)));
    DecodeStream stream(tokenizer);
    for (TokenId id : *ids)
      EXPECT_TRUE(utf8::isValid(stream.push(id)));
    stream.finish();
  }
}

void tryFile(const std::string &text, size_t &loaded) {
  auto tokenizer = Tokenizer::fromJson(text);
  if (tokenizer) {
    ++loaded;
    use(*tokenizer);
    return;
  }
  EXPECT_EQ(tokenizer.error().code.compare(0, 4, "EFF0"), 0);
  EXPECT_FALSE(tokenizer.error().what.empty());
}

TEST(HostileInput, NotJson) {
  size_t loaded = 0;
  for (const char *text :
       {"", "{", "[]", "3", "null", "{}", "nonsense", "\xFF", "{\"model\": {}",
        "{\"a\": \"\xFF\"}", "{\"a\": \"\\ud800\"}", "{\"a\": 1e999}"})
    tryFile(text, loaded);
  EXPECT_EQ(loaded, 0u);
}

TEST(HostileInput, DeepNesting) {
  for (const char *open : {"[", "{\"a\":"}) {
    std::string text = "{\"model\": ";
    for (int i = 0; i < 200000; ++i)
      text += open;
    auto tokenizer = Tokenizer::fromJson(text);
    ASSERT_FALSE(tokenizer);
    EXPECT_EQ(tokenizer.error().code, "EFF0701");
    EXPECT_NE(tokenizer.error().why.find("nested"), std::string::npos);
  }
}

TEST(HostileInput, TextThatGrowsWithoutBounds) {
  json step = {{"type", "Replace"},
               {"pattern", {{"String", "a"}}},
               {"content", "aaaaaaaa"}};
  std::vector<json> steps(40, step);
  Tokenizer t =
      load(byteLevelFile({}, {{"normalizer",
                               {{"type", "Sequence"}, {"normalizers", steps}}}})
               .dump());
  auto ids = t.encode("aaaa");
  ASSERT_FALSE(ids);
  EXPECT_EQ(ids.error().code, "EFF0704");

  json level = byteLevelFile({})["pre_tokenizer"];
  std::vector<json> levels(60, level);
  t = load(
      byteLevelFile({}, {{"pre_tokenizer",
                          {{"type", "Sequence"}, {"pretokenizers", levels}}}})
          .dump());
  EXPECT_FALSE(t.encode("\xC3\xA9\xC3\xA9"));
}

TEST(HostileInput, AddedTokensWithoutEnd) {
  json tokens = json::array();
  for (TokenId i = 0; i < 3000; ++i)
    tokens.push_back(
        {{"id", 300 + i},
         {"content", std::string(1 + i % 1000, '<') + std::to_string(i)}});
  Tokenizer t = load(byteLevelFile({}, {{"added_tokens", tokens}}).dump());
  EXPECT_TRUE(t.encode(std::string(20000, '<')));
}

TEST(HostileInput, MutatedBytes) {
  std::mt19937 random(1);
  size_t loaded = 0;
  for (const char *name : {"neox.json", "spm.json"}) {
    const std::string file = ownFile(name);
    // Most of a file is the vocabulary; the parts around it are hit as often.
    size_t model = file.find("\"vocab\"");
    for (int round = 0; round < 150; ++round) {
      std::string text = file;
      for (size_t n = 1 + random() % 4; n > 0; --n) {
        size_t at = random() % (round % 2 ? text.size() : model);
        switch (random() % 4) {
        case 0:
          text[at] = static_cast<char>(random());
          break;
        case 1:
          text.erase(at, random() % 8);
          break;
        case 2:
          text.insert(at, 1, "{}[]\",:0-e\\n"[random() % 12]);
          break;
        case 3:
          text.insert(at, text.substr(random() % text.size(), random() % 16));
          break;
        }
      }
      tryFile(text, loaded);
    }
    tryFile(file.substr(0, random() % file.size()), loaded);
  }
  EXPECT_GT(loaded, 0u) << "no mutation reached the later stages";
}

/// Every place of the structure gets values of every kind.
TEST(HostileInput, MutatedStructure) {
  std::mt19937 random(2);
  size_t loaded = 0;
  for (const char *name : {"llama3.json", "qwen2.json", "spm.json"}) {
    json file = json::parse(ownFile(name));
    // A small vocabulary keeps a round short; merges must not miss any of it.
    file["model"]["merges"] = json::array();
    json all = file.flatten();
    std::vector<std::string> places;
    for (auto &[place, value] : all.items())
      if (place.find("/model/vocab") != 0)
        places.push_back(place);
    const json values[] = {nullptr,
                           true,
                           -1,
                           0,
                           4294967295u,
                           1e300,
                           "",
                           "A",
                           "Sequence",
                           "ByteLevel",
                           "Fuse",
                           "Regex",
                           json::array(),
                           json::object(),
                           "(?:a*)*b",
                           "\xE2\x96\x81",
                           "[^\\s]|",
                           {{"Regex", "(a+)+$"}},
                           {{"String", ""}}};
    for (int round = 0; round < 200; ++round) {
      json changed = file;
      for (size_t n = 1 + random() % 3; n > 0; --n) {
        json::json_pointer place(places[random() % places.size()]);
        for (size_t up = random() % 3; up > 0 && !place.empty(); --up)
          place.pop_back();
        if (!changed.contains(place))
          continue;
        changed[place] = values[random() % std::size(values)];
      }
      tryFile(changed.dump(), loaded);
    }
  }
  EXPECT_GT(loaded, 0u) << "no mutation reached the later stages";
}

} // namespace
