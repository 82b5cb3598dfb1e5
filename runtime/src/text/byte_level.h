//===- byte_level.h - the printable character of each byte ------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The alphabet of byte-level BPE (GPT-2): printable bytes of Latin-1 stand for
/// themselves, the others for the characters from U+0100 on, in order.
///
//===----------------------------------------------------------------------===//

#ifndef EFFRT_SRC_TEXT_BYTE_LEVEL_H
#define EFFRT_SRC_TEXT_BYTE_LEVEL_H

#include <cstdint>
#include <string>
#include <string_view>

namespace effrt::byte_level {

/// One past the largest character of the alphabet.
inline constexpr uint32_t kAlphabetEnd = 0x144;

/// Appends `bytes` in the alphabet, as UTF-8.
void encode(std::string_view bytes, std::string &out);

/// Appends the bytes that `token` spells; its own bytes where it has a
/// character outside the alphabet.
void decode(std::string_view token, std::string &out);

} // namespace effrt::byte_level

#endif // EFFRT_SRC_TEXT_BYTE_LEVEL_H
