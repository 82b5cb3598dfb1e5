//===- StreamTest.cpp - text out, token by token --------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "TestData.h"

#include "effrt/text/stream.h"
#include "utf8.h"

#include <random>

using namespace effrt;
using namespace effrt::test;

namespace {

using Pieces = std::vector<std::string>;

struct Outcome {
  std::string text;
  std::optional<size_t> stoppedBy;
  bool operator==(const Outcome &other) const {
    return text == other.text && stoppedBy == other.stoppedBy;
  }
};

Outcome match(const Pieces &stops, const Pieces &pieces) {
  auto matcher = StopMatcher::create(stops);
  EXPECT_TRUE(matcher);
  Outcome outcome;
  auto take = [&](const StopMatcher::Output &output) {
    EXPECT_FALSE(outcome.stoppedBy && !output.text.empty()) << "after a stop";
    outcome.text += output.text;
    if (output.stoppedBy)
      outcome.stoppedBy = output.stoppedBy;
  };
  for (const std::string &piece : pieces)
    take(matcher->push(piece));
  take(matcher->finish());
  return outcome;
}

/// The definition: the first position where a stop string starts, and of those
/// there the shortest.
Outcome byDefinition(const Pieces &stops, const std::string &text) {
  for (size_t at = 0; at < text.size(); ++at) {
    std::optional<size_t> best;
    for (size_t i = 0; i < stops.size(); ++i)
      if (text.compare(at, stops[i].size(), stops[i]) == 0 &&
          (!best || stops[i].size() < stops[*best].size()))
        best = i;
    if (best)
      return {text.substr(0, at), best};
  }
  return {text, std::nullopt};
}

TEST(StopMatcher, EarlierStartBeatsEarlierEnd) {
  EXPECT_EQ(match({"abcd", "bc"}, {"xab", "c", "d"}), (Outcome{"x", 0}));
  EXPECT_EQ(match({"abcd", "bc"}, {"xab", "c", "e"}), (Outcome{"xa", 1}));
  EXPECT_EQ(match({"abcd", "bc"}, {"xabc"}), (Outcome{"xa", 1}));
}

TEST(StopMatcher, WithoutStopStringsTextPassesAtOnce) {
  auto matcher = StopMatcher::create({});
  ASSERT_TRUE(matcher);
  EXPECT_EQ(matcher->push("abc").text, "abc");
  EXPECT_EQ(matcher->finish().text, "");
}

TEST(StopMatcher, HoldsBackNoMoreThanItMust) {
  auto matcher = StopMatcher::create({"</s>"});
  ASSERT_TRUE(matcher);
  EXPECT_EQ(matcher->push("a<").text, "a");
  EXPECT_EQ(matcher->push("</").text, "<");
  EXPECT_EQ(matcher->push("x").text, "</x");
}

TEST(StopMatcher, BeginsAnewAfterFinish) {
  auto matcher = StopMatcher::create({"stop"});
  ASSERT_TRUE(matcher);
  EXPECT_TRUE(matcher->push("a stop").stoppedBy);
  EXPECT_EQ(matcher->push("more").text, "");
  EXPECT_EQ(matcher->finish().text, "");
  EXPECT_EQ(matcher->push("more").text, "more");
}

TEST(StopMatcher, RefusesAnEmptyStopString) {
  auto matcher = StopMatcher::create({"a", ""});
  ASSERT_FALSE(matcher);
  EXPECT_EQ(matcher.error().code, "EFF0703");
}

TEST(StopMatcher, CutsMakeNoDifference) {
  std::mt19937 random(3);
  auto word = [&](size_t longest) {
    std::string out;
    for (size_t n = 1 + random() % longest; n > 0; --n)
      out += static_cast<char>('a' + random() % 3);
    return out;
  };
  for (int round = 0; round < 3000; ++round) {
    Pieces stops, pieces;
    for (size_t n = 1 + random() % 3; n > 0; --n)
      stops.push_back(word(5));
    std::string text;
    for (size_t n = random() % 6; n > 0; --n) {
      pieces.push_back(word(4));
      text += pieces.back();
    }
    EXPECT_EQ(match(stops, pieces), byDefinition(stops, text)) << text;
  }
}

TEST(StopMatcher, LongHeldTextTakesLinearTime) {
  auto matcher = StopMatcher::create({std::string(200, 'a') + 'b'});
  ASSERT_TRUE(matcher);
  size_t out = 0;
  for (int i = 0; i < 20000; ++i)
    out += matcher->push("a").text.size();
  EXPECT_EQ(out, 20000u - 200);
}

TEST(DecodeStream, HoldsSplitCharactersBack) {
  Tokenizer t = load(byteLevelFile({}).dump());
  DecodeStream stream(t);
  EXPECT_EQ(stream.push(0xF0), "");
  EXPECT_EQ(stream.push(0x9F), "");
  EXPECT_EQ(stream.push(0x8C), "");
  EXPECT_EQ(stream.push(0x88), "\xF0\x9F\x8C\x88");
  EXPECT_EQ(stream.push(0xC3), "");
  EXPECT_EQ(stream.push('x'), "\xEF\xBF\xBDx");
  EXPECT_EQ(stream.push(0xE2), "");
  EXPECT_EQ(stream.finish(), "\xEF\xBF\xBD");
}

TEST(DecodeStream, UnknownIdsGiveNothing) {
  Tokenizer t = load(byteLevelFile({}).dump());
  DecodeStream stream(t);
  EXPECT_EQ(stream.push('a'), "a");
  EXPECT_EQ(stream.push(100000), "");
  EXPECT_EQ(stream.push(UINT32_MAX), "");
  EXPECT_EQ(stream.push('b'), "b");
}

TEST(DecodeStream, OutlivesTheTokenizerItCameFrom) {
  std::optional<Tokenizer> t(load(byteLevelFile({}).dump()));
  DecodeStream stream(*t);
  t.reset();
  EXPECT_EQ(stream.push('a'), "a");
}

TEST(DecodeStream, AnyIdsGiveWhatDecodeGives) {
  std::mt19937 random(4);
  for (const char *name : {"llama3.json", "neox.json"}) {
    Tokenizer t = load(ownFile(name));
    for (int round = 0; round < 300; ++round) {
      std::vector<TokenId> ids;
      for (int i = 0; i < 12; ++i)
        ids.push_back(random() % (round % 2 ? 300 : t.vocabSize() + 5));
      DecodeStream stream(t, round % 3 == 0);
      std::string text;
      for (TokenId id : ids) {
        text += stream.push(id);
        ASSERT_TRUE(utf8::isValid(text));
      }
      text += stream.finish();
      EXPECT_EQ(text, t.decode(ids, round % 3 == 0));
    }
  }
}

} // namespace
