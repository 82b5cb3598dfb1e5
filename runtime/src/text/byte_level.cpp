//===- byte_level.cpp - the printable character of each byte --------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "byte_level.h"

#include "utf8.h"

#include <array>

namespace effrt::byte_level {

namespace {

struct Tables {
  std::array<uint16_t, 256> toChar{};
  std::array<int16_t, kAlphabetEnd> toByte{};
};

constexpr Tables makeTables() {
  Tables tables;
  for (size_t i = 0; i < kAlphabetEnd; ++i)
    tables.toByte[i] = -1;
  uint16_t next = 0x100;
  for (uint16_t byte = 0; byte < 256; ++byte) {
    bool printable = (byte >= 0x21 && byte <= 0x7E) ||
                     (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    uint16_t code = printable ? byte : next++;
    tables.toChar[byte] = code;
    tables.toByte[code] = static_cast<int16_t>(byte);
  }
  return tables;
}

constexpr Tables kTables = makeTables();

} // namespace

void encode(std::string_view bytes, std::string &out) {
  for (char c : bytes)
    utf8::append(out, kTables.toChar[static_cast<uint8_t>(c)]);
}

void decode(std::string_view token, std::string &out) {
  size_t start = out.size();
  for (size_t i = 0; i < token.size();) {
    utf8::Char c = utf8::readValid(token.data() + i);
    i += c.length;
    if (c.code >= kAlphabetEnd || kTables.toByte[c.code] < 0) {
      out.resize(start);
      out += token;
      return;
    }
    out += static_cast<char>(kTables.toByte[c.code]);
  }
}

} // namespace effrt::byte_level
