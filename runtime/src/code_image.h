//===- code_image.h - the code and tables of a model in memory ------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFRT_SRC_CODE_IMAGE_H
#define EFFRT_SRC_CODE_IMAGE_H

#include "effrt/elf_image.h"
#include "effrt/support.h"

#include <cstdint>
#include <vector>

namespace effrt {

/// Memory of our own, given back on destruction.
class Mapping {
public:
  Mapping() = default;
  Mapping(void *data, uint64_t size)
      : data_(static_cast<uint8_t *>(data)), size_(size) {}
  Mapping(Mapping &&other) noexcept { *this = std::move(other); }
  Mapping &operator=(Mapping &&other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Mapping();

  /// Zeroed memory that takes room as it is touched. With `hugePages` asks for
  /// large ones.
  static Result<Mapping> zeroed(uint64_t size, const char *purpose,
                                bool hugePages);

  uint8_t *data() const { return data_; }
  uint64_t size() const { return size_; }

private:
  uint8_t *data_ = nullptr;
  uint64_t size_ = 0;
};

/// The PT_LOAD segments of a model file, mapped and relocated. Refuses whatever
/// would need another object or run code at load time: undefined symbols,
/// thread-local storage, initialisers, text relocations.
class CodeImage {
public:
  static Result<CodeImage> map(const FileRange &file, const ElfImage &elf);

  /// The pointer for an address of the file; not checked.
  const void *at(uint64_t address) const {
    return reinterpret_cast<const void *>(base() + address);
  }
  /// True when [data, data + size) lies in one segment that can be read and,
  /// with `execute`, run.
  bool contains(const void *data, uint64_t size, bool execute = false) const;
  /// True when `text` is a 0-terminated string in one segment.
  bool containsText(const char *text) const;
  uint64_t entry() const { return entry_; }

private:
  struct Segment {
    uint64_t address, memoryBytes;
    uint32_t flags;
  };
  /// The address that the file calls 0; as a number, for sums that may wrap.
  uintptr_t base() const {
    return reinterpret_cast<uintptr_t>(memory_.data()) - lowest_;
  }
  const Segment *segmentOf(uint64_t address, uint64_t size) const;

  friend class Relocator;
  Mapping memory_;
  uint64_t lowest_ = 0;
  uint64_t entry_ = 0;
  std::vector<Segment> segments_;
};

} // namespace effrt

#endif // EFFRT_SRC_CODE_IMAGE_H
