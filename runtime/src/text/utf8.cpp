//===- utf8.cpp - UTF-8, byte by byte -------------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "utf8.h"

#include <utf8proc.h>

namespace effrt::utf8 {

// Table 3-7 of the Unicode standard: the second byte's range depends on the
// first; all later bytes are 80..BF.
Char read(std::string_view text) {
  auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  uint32_t first = byte(0);
  if (first < 0x80)
    return {first, 1, Kind::Valid};
  uint32_t length;
  uint8_t low = 0x80, high = 0xBF;
  if (first >= 0xC2 && first <= 0xDF) {
    length = 2;
  } else if ((first & 0xF0) == 0xE0) {
    length = 3;
    if (first == 0xE0)
      low = 0xA0;
    if (first == 0xED)
      high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    length = 4;
    if (first == 0xF0)
      low = 0x90;
    if (first == 0xF4)
      high = 0x8F;
  } else {
    return {0xFFFD, 1, Kind::Invalid};
  }
  for (uint32_t i = 1; i < length; ++i) {
    if (i == text.size())
      return {0xFFFD, i, Kind::Incomplete};
    if (byte(i) < low || byte(i) > high)
      return {0xFFFD, i, Kind::Invalid};
    low = 0x80;
    high = 0xBF;
  }
  return readValid(text.data());
}

void append(std::string &out, uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

bool isValid(std::string_view text) {
  while (!text.empty()) {
    Char c = read(text);
    if (c.kind != Kind::Valid)
      return false;
    text.remove_prefix(c.length);
  }
  return true;
}

bool isAscii(std::string_view text) {
  unsigned char bits = 0;
  for (char c : text)
    bits |= static_cast<unsigned char>(c);
  return bits < 0x80;
}

std::string toValid(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  Assembler assembler(Assembler::Policy::Part);
  assembler.push(text, out);
  assembler.flush(out);
  return out;
}

bool isOneChar(std::string_view text, uint32_t &code) {
  if (text.empty())
    return false;
  Char c = read(text);
  code = c.code;
  return c.kind == Kind::Valid && c.length == text.size();
}

bool isWhiteSpace(uint32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool isWordChar(uint32_t c) {
  // Alphabetic symbols: circled and squared Latin letters.
  if ((c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
      (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189))
    return true;
  if (c == 0x200C || c == 0x200D) // Join_Control
    return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
  case UTF8PROC_CATEGORY_LU:
  case UTF8PROC_CATEGORY_LL:
  case UTF8PROC_CATEGORY_LT:
  case UTF8PROC_CATEGORY_LM:
  case UTF8PROC_CATEGORY_LO:
  case UTF8PROC_CATEGORY_MN:
  case UTF8PROC_CATEGORY_MC:
  case UTF8PROC_CATEGORY_ME:
  case UTF8PROC_CATEGORY_ND:
  case UTF8PROC_CATEGORY_NL:
  case UTF8PROC_CATEGORY_PC:
    return true;
  default:
    return false;
  }
}

void Assembler::replace(size_t bytes, std::string &out) const {
  size_t marks = policy_ == Policy::Part ? 1 : bytes;
  for (size_t i = 0; i < marks; ++i)
    out += kReplacement;
}

void Assembler::push(std::string_view bytes, std::string &out) {
  // Held bytes plus those that can complete them: at most 3 + 3.
  while (!held_.empty() && !bytes.empty()) {
    held_ += bytes.front();
    Char c = read(held_);
    if (c.kind == Kind::Valid) {
      out += held_;
      held_.clear();
      bytes.remove_prefix(1);
    } else if (c.kind == Kind::Invalid) {
      // The new byte belongs to no character begun before it; look at it again.
      held_.pop_back();
      replace(held_.size(), out);
      held_.clear();
    } else {
      bytes.remove_prefix(1);
    }
  }
  while (!bytes.empty()) {
    Char c = read(bytes);
    if (c.kind == Kind::Valid)
      out += bytes.substr(0, c.length);
    else if (c.kind == Kind::Invalid)
      replace(c.length, out);
    else
      held_ = bytes;
    bytes.remove_prefix(c.length);
  }
}

void Assembler::flush(std::string &out) {
  if (!held_.empty())
    replace(held_.size(), out);
  held_.clear();
}

} // namespace effrt::utf8
