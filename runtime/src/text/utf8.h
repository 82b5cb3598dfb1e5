//===- utf8.h - UTF-8, byte by byte -----------------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFRT_SRC_TEXT_UTF8_H
#define EFFRT_SRC_TEXT_UTF8_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace effrt::utf8 {

inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD"; // U+FFFD

enum class Kind {
  Valid,
  Invalid,    ///< `length` bytes are a maximal ill-formed part
  Incomplete, ///< all the bytes there are begin a character
};

struct Char {
  uint32_t code;
  uint32_t length;
  Kind kind;
};

/// Reads one character at the front of `text`, which must not be empty.
Char read(std::string_view text);

/// Reads one character of valid UTF-8; the caller has checked the text.
inline Char readValid(const char *p) {
  auto byte = [p](int i) { return static_cast<uint8_t>(p[i]); };
  uint32_t first = byte(0);
  if (first < 0x80)
    return {first, 1, Kind::Valid};
  if (first < 0xE0)
    return {(first & 0x1F) << 6 | (byte(1) & 0x3Fu), 2, Kind::Valid};
  if (first < 0xF0)
    return {(first & 0x0F) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu),
            3, Kind::Valid};
  return {(first & 0x07) << 18 | (byte(1) & 0x3Fu) << 12 |
              (byte(2) & 0x3Fu) << 6 | (byte(3) & 0x3Fu),
          4, Kind::Valid};
}

void append(std::string &out, uint32_t code);

bool isValid(std::string_view text);
bool isAscii(std::string_view text);

/// `text` with each maximal ill-formed part replaced by U+FFFD.
std::string toValid(std::string_view text);

/// The one character that `text` consists of, if it does.
bool isOneChar(std::string_view text, uint32_t &code);

/// Unicode White_Space.
bool isWhiteSpace(uint32_t code);
/// What `\w` matches in Unicode regular expressions (UTS 18, annex C).
bool isWordChar(uint32_t code);

/// Bytes in, whole characters out.
class Assembler {
public:
  /// How ill-formed bytes come out: one U+FFFD for each maximal part, or one
  /// for each byte.
  enum class Policy { Part, Byte };
  explicit Assembler(Policy policy) : policy_(policy) {}

  void push(std::string_view bytes, std::string &out);
  /// Nothing more comes: held bytes go out as U+FFFD.
  void flush(std::string &out);

private:
  void replace(size_t bytes, std::string &out) const;

  Policy policy_;
  std::string held_; // a proper prefix of a character
};

} // namespace effrt::utf8

#endif // EFFRT_SRC_TEXT_UTF8_H
