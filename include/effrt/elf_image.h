//===- elf_image.h - ELF files as containers of models --------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===--------------------------------------------------------------------===//
///
/// \file
/// Reading the tables of an ELF64 file without trusting them, appending
/// sections to a linked one, and sealing the result as a model file. The
/// compiler writes model files with it, the runtime reads them.
///
//===--------------------------------------------------------------------===//

#ifndef EFFRT_ELF_IMAGE_H
#define EFFRT_ELF_IMAGE_H

#include "effrt/effrt.h"
#include "effrt/support.h"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace effrt {

/// Files are laid out for pages of this size.
inline constexpr uint64_t kPageBytes = 4096;

/// FNV-1a, 64 bit; `hash` continues an earlier one.
inline constexpr uint64_t kHashSeed = UINT64_C(0xcbf29ce484222325);
uint64_t hashBytes(const void *data, size_t size, uint64_t hash = kHashSeed);

/// A part of a file: a whole model file, or one inside another file.
struct FileRange {
  int fd = -1;
  uint64_t offset = 0; ///< a multiple of kPageBytes
  uint64_t size = 0;
  std::string name; ///< for messages
};

/// Closes on destruction.
class OwnedFd {
public:
  explicit OwnedFd(int fd = -1) : fd_(fd) {}
  OwnedFd(OwnedFd &&other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  OwnedFd &operator=(OwnedFd &&other) noexcept;
  ~OwnedFd();
  int get() const { return fd_; }

private:
  int fd_;
};

struct ElfSection {
  std::string name;
  uint32_t type = 0;
  uint64_t flags = 0, offset = 0, size = 0;
};

struct ElfSegment {
  uint32_t type = 0, flags = 0;
  uint64_t offset = 0, address = 0, fileBytes = 0, memoryBytes = 0, align = 0;
};

/// The tables of an ELF64 file, every range checked to lie inside the file.
struct ElfImage {
  uint16_t type = 0, machine = 0;
  uint64_t entry = 0;
  std::vector<ElfSection> sections;
  std::vector<ElfSegment> segments;

  /// NotAModel when it is no ELF64 little-endian file, DamagedModel when a
  /// table or what it describes reaches beyond the end.
  static Result<ElfImage> read(const FileRange &file);
  const ElfSection *find(std::string_view name) const;
};

/// "x86-64" and the like, or the number.
std::string machineName(uint16_t machine);

/// Reads exactly `size` bytes at `offset` of the range.
Status readAt(const FileRange &file, uint64_t offset, void *data, size_t size);

/// One section to append. Its contents are `bytes`, or, when `size` is set,
/// what `write` puts there: it gets the file, open for reading and writing and
/// already extended, and the section's offset. Parts it leaves alone are zero.
struct NewSection {
  std::string name;
  std::string bytes;
  uint64_t size = 0;
  std::function<Status(int fd, uint64_t offset)> write;
  uint64_t align = 64;

  static NewSection text(std::string name, std::string bytes);
  /// `size` bytes of another file.
  static NewSection copyOf(std::string name, int fd, uint64_t offset,
                           uint64_t size, uint64_t align = kPageBytes);
};

/// Appends sections that no segment loads to the ELF file at `path`: their
/// contents first, then a new table of names, then a new section table. The
/// same input gives the same bytes.
Status appendSections(const std::string &path,
                      const std::vector<NewSection> &sections);

/// Fills the section .eff.header of the file at `path`, which has the sections
/// .eff.manifest and .eff.weights and is otherwise finished.
Status sealModel(const std::string &path);

/// appendSections of the header, the manifest and the weights, then sealModel:
/// makes a model file of the linked code at `path`.
Status finishModel(const std::string &path, std::string manifest,
                   NewSection weights);

/// The hash of all bytes that PT_LOAD segments take from the file.
Result<uint64_t> codeHash(const FileRange &file, const ElfImage &elf);
/// The hash of both ends of the weights, which tells a moved section.
Result<uint64_t> weightsHash(const FileRange &file, uint64_t offset,
                             uint64_t size);
uint64_t headerHash(const eff_header &header);

/// Appends a model file to a program, so that findEmbedded finds it.
Status embedModel(const std::string &program, const std::string &model);
/// The model at the end of an open file; size 0 when there is none.
Result<FileRange> findEmbedded(int fd, const std::string &name);

} // namespace effrt

#endif // EFFRT_ELF_IMAGE_H
