//===- RegexTest.cpp - the regular expressions of tokenizer files ---------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "TestData.h"

#include "token_regex.h"

using namespace effrt;

namespace {

using Words = std::vector<std::string>;

Words matches(const char *pattern, const std::string &text) {
  auto regex = Regex::compile(pattern, "test");
  EXPECT_TRUE(regex) << regex.error().format();
  std::vector<Regex::Span> spans;
  Status status = regex->findAll(text, spans);
  EXPECT_TRUE(status);
  Words out;
  for (Regex::Span span : spans)
    out.push_back(text.substr(span.begin, span.end - span.begin));
  return out;
}

TEST(Regex, SpaceIsUnicodeWhiteSpace) {
  EXPECT_EQ(matches(R"(\s)", "a\xC2\xA0"
                             "b\xE3\x80\x80"
                             "c\xE1\xA0\x8E"
                             "d\xE2\x80\x8B"), // not U+180E, U+200B
            (Words{"\xC2\xA0", "\xE3\x80\x80"}));
  EXPECT_EQ(matches(R"([^\S\n]+)", " \t\n \xC2\x85x"),
            (Words{" \t", " \xC2\x85"}));
}

TEST(Regex, WordsHaveMarksAndNumbers) {
  EXPECT_EQ(matches(R"(\w+)", "e\xCC\x81_1 x\xC2\xB2-y"),
            (Words{"e\xCC\x81_1", "x\xC2\xB2", "y"}));
  EXPECT_EQ(matches(R"(\h+)", "cafe 12g"), (Words{"cafe", "12"}));
}

TEST(Regex, ScriptsAreNotScriptExtensions) {
  // U+3001 is used with Han, but its script is Common.
  EXPECT_EQ(matches(R"(\p{Han}+)", "\xE4\xB8\xAD\xE3\x80\x81\xE6\x96\x87"),
            (Words{"\xE4\xB8\xAD", "\xE6\x96\x87"}));
  EXPECT_EQ(matches(R"(\p{^L}+|\P{L}+)", "ab12c"), (Words{"12"}));
}

TEST(Regex, CodePointsAndLines) {
  EXPECT_EQ(matches(R"([\u4e00-\u9fa5]+)", "a\xE4\xB8\xAD"),
            (Words{"\xE4\xB8\xAD"}));
  EXPECT_EQ(matches("^a$", "a\na\nb"), (Words{"a", "a"}));
  EXPECT_EQ(matches("a.", "a\nab"), (Words{"ab"}));
}

TEST(Regex, EmptyMatchesDoNotRepeatTheEndOfOneBefore) {
  EXPECT_EQ(matches("x*", "axxb"), (Words{"", "xx", ""}));
  EXPECT_EQ(matches("", "\xC3\xA9"), (Words{"", ""}));
}

TEST(Regex, RefusesWhatMeansSomethingElse) {
  for (const char *pattern :
       {"a{1,3}+", "[a[bc]]", "[a&&b]", R"(\X)", R"(\K)", R"(\R)", "(*ACCEPT)",
        R"([\W])", R"(\pL)", R"(\u12)", "a\\"}) {
    auto regex = Regex::compile(pattern, "tokenizer.json: here");
    ASSERT_FALSE(regex) << pattern;
    EXPECT_EQ(regex.error().code, "EFF0701");
    EXPECT_EQ(regex.error().where, "tokenizer.json: here");
  }
}

TEST(Regex, RefusesWhatIsNoPattern) {
  for (const char *pattern :
       {"(", "[", "*", "(?<", R"(\p{NoSuch})", "[[:alpha"}) {
    auto regex = Regex::compile(pattern, "");
    ASSERT_FALSE(regex) << pattern;
    EXPECT_EQ(regex.error().code, "EFF0701");
    EXPECT_FALSE(regex.error().why.empty());
  }
  EXPECT_FALSE(Regex::compile(std::string(20000, 'a'), ""));
}

TEST(Regex, ExponentialBacktrackingIsAnError) {
  auto regex = Regex::compile("(a|aa)+[^a]", "");
  ASSERT_TRUE(regex);
  std::vector<Regex::Span> spans;
  Status status = regex->findAll(std::string(200, 'a'), spans);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, "EFF0704");
}

} // namespace
