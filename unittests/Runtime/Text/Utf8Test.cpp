//===- Utf8Test.cpp - UTF-8, byte by byte ---------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "TestData.h"

#include "byte_level.h"
#include "utf8.h"

using namespace effrt;

namespace {

const std::string kMark = "\xEF\xBF\xBD";

TEST(Utf8, EveryCharacterThereAndBack) {
  for (uint32_t code = 0; code < 0x110000; ++code) {
    if (code >= 0xD800 && code < 0xE000)
      continue;
    std::string text;
    utf8::append(text, code);
    utf8::Char c = utf8::read(text);
    ASSERT_EQ(c.kind, utf8::Kind::Valid) << code;
    ASSERT_EQ(c.code, code);
    ASSERT_EQ(c.length, text.size());
    // No proper prefix is a character, and none is ill-formed.
    for (size_t n = 1; n < text.size(); ++n)
      ASSERT_EQ(utf8::read(std::string_view(text).substr(0, n)).kind,
                utf8::Kind::Incomplete);
  }
}

TEST(Utf8, ReplacesMaximalIllFormedParts) {
  // The Unicode standard, tables 3-8 to 3-11.
  EXPECT_EQ(utf8::toValid("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"),
            kMark + kMark + kMark + kMark + kMark + kMark + kMark + kMark +
                "A");
  EXPECT_EQ(utf8::toValid("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"),
            kMark + kMark + kMark + kMark + kMark + kMark + kMark + kMark +
                "A");
  EXPECT_EQ(utf8::toValid("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"),
            kMark + kMark + kMark + kMark + kMark + "A" + kMark + kMark + "B");
  EXPECT_EQ(utf8::toValid("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"),
            kMark + kMark + kMark + kMark + "A");
  EXPECT_FALSE(utf8::isValid("a\xC3"));
  EXPECT_TRUE(utf8::isValid("a\xC3\xA9"));
}

TEST(Utf8, AssemblerGivesTheSameHoweverTheBytesCome) {
  const std::string bytes =
      "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xF0\x9F\xE2\x82z\x80\xFF\xC3";
  std::string expected = utf8::toValid(bytes);
  for (size_t step = 1; step <= bytes.size(); ++step) {
    utf8::Assembler assembler(utf8::Assembler::Policy::Part);
    std::string out;
    for (size_t i = 0; i < bytes.size(); i += step) {
      assembler.push(std::string_view(bytes).substr(i, step), out);
      EXPECT_TRUE(utf8::isValid(out));
    }
    assembler.flush(out);
    EXPECT_EQ(out, expected) << step;
  }
}

TEST(Utf8, AssemblerCanCountBytes) {
  utf8::Assembler assembler(utf8::Assembler::Policy::Byte);
  std::string out;
  assembler.push("\xE2\x82z", out);
  assembler.push("\xF0\x9F\x98", out);
  EXPECT_EQ(out, kMark + kMark + "z");
  assembler.flush(out);
  EXPECT_EQ(out, kMark + kMark + "z" + kMark + kMark + kMark);
}

TEST(Utf8, ClassesOfCharacters) {
  for (uint32_t c : {0x41u, 0x5Fu, 0xE9u, 0x301u, 0x660u, 0x4E2Du, 0x24B6u,
                     0x200Du, 0x203Fu})
    EXPECT_TRUE(utf8::isWordChar(c)) << c;
  for (uint32_t c : {0x20u, 0x2Du, 0xB2u, 0x1F600u, 0xE000u, 0x10FFFFu})
    EXPECT_FALSE(utf8::isWordChar(c)) << c;
  for (uint32_t c : {0x9u, 0x85u, 0xA0u, 0x2003u, 0x3000u})
    EXPECT_TRUE(utf8::isWhiteSpace(c)) << c;
  for (uint32_t c : {0x1Cu, 0x180Eu, 0x200Bu, 0xFEFFu})
    EXPECT_FALSE(utf8::isWhiteSpace(c)) << c;
}

TEST(ByteLevel, EveryByteThereAndBack) {
  std::string bytes;
  for (int i = 0; i < 256; ++i)
    bytes += static_cast<char>(i);
  std::string spelled, back;
  byte_level::encode(bytes, spelled);
  EXPECT_TRUE(utf8::isValid(spelled));
  byte_level::decode(spelled, back);
  EXPECT_EQ(back, bytes);
}

} // namespace
