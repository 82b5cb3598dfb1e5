//===- philox.h - counter-based random numbers ------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
/// SC 2011): a function of key and counter alone, the same on every machine.
///
//===----------------------------------------------------------------------===//

#ifndef EFFRT_SRC_TEXT_PHILOX_H
#define EFFRT_SRC_TEXT_PHILOX_H

#include <array>
#include <cstdint>

namespace effrt::philox {

using Block = std::array<uint32_t, 4>;

inline Block block(Block counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    uint64_t a = uint64_t{0xD2511F53} * counter[0];
    uint64_t b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0],
               static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

/// Uniform in [0, 1), a multiple of 2^-53.
inline double uniform(uint64_t seed, uint64_t stream, uint64_t index) {
  Block r = block(
      {static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
       static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)},
      {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  uint64_t bits = (uint64_t{r[0]} << 32 | r[1]) >> 11;
  return static_cast<double>(bits) * 0x1p-53;
}

} // namespace effrt::philox

#endif // EFFRT_SRC_TEXT_PHILOX_H
