//===- relocator.h - relocations of a mapped model file -------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFRT_SRC_RELOCATOR_H
#define EFFRT_SRC_RELOCATOR_H

#include "code_image.h"

#include <string>

namespace effrt {

/// Applies what the dynamic section asks for. Every address is checked against
/// the segments before it is read or written.
class Relocator {
public:
  explicit Relocator(CodeImage &image) : image_(image) {}

  /// The dynamic section's address and size. Returns what is wrong, or "".
  std::string apply(uint64_t dynamic, uint64_t size);

private:
  std::string applyRela(uint64_t table, uint64_t size);
  std::string applyRelr(uint64_t table, uint64_t size);
  /// The address of a symbol of this file.
  std::string resolve(uint64_t symbol, uint64_t &address);

  /// Copies `size` bytes at an address; false when they are not mapped.
  bool read(uint64_t address, void *to, uint64_t size) const;
  uint8_t *writable(uint64_t address, uint64_t size) const;

  CodeImage &image_;
  uint64_t symbols_ = 0;
};

} // namespace effrt

#endif // EFFRT_SRC_RELOCATOR_H
