//===- code_image.cpp - the code and tables of a model in memory ----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "code_image.h"
#include "effrt/codes.h"
#include "relocator.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

namespace effrt {
namespace {

// Code and tables of the largest models take a few megabytes.
constexpr uint64_t mostBytes = uint64_t(1) << 32;
constexpr uint64_t highestAddress = uint64_t(1) << 46;

uint64_t pageDown(uint64_t value) { return value / kPageBytes * kPageBytes; }
uint64_t pageUp(uint64_t value) { return pageDown(value + kPageBytes - 1); }

Error damaged(const FileRange &file, std::string why) {
  return fail(Code::DamagedModel, "the model file cannot be loaded", file.name,
              std::move(why));
}

Error noMemory(const FileRange &file, int number) {
  return fail(Code::OutOfMemory, "the model file cannot be mapped", file.name,
              systemError(number));
}

int protection(uint32_t flags) {
  return (flags & PF_R ? PROT_READ : 0) | (flags & PF_W ? PROT_WRITE : 0) |
         (flags & PF_X ? PROT_EXEC : 0);
}

Status checkSegment(const FileRange &file, const ElfSegment &segment) {
  if (segment.memoryBytes < segment.fileBytes ||
      segment.memoryBytes > mostBytes || segment.address > highestAddress)
    return damaged(file, "a segment has an impossible size or address");
  if (segment.offset % kPageBytes != segment.address % kPageBytes)
    return damaged(file, "a segment is not aligned to pages");
  if ((segment.flags & PF_W) && (segment.flags & PF_X))
    return damaged(file, "a segment is both writable and executable");
  if (segment.memoryBytes > segment.fileBytes && !(segment.flags & PF_W))
    return damaged(file, "a segment has zeros that it cannot write");
  return Status::success();
}

} // namespace

Mapping::~Mapping() {
  if (data_)
    munmap(data_, size_);
}

Result<Mapping> Mapping::zeroed(uint64_t size, const char *purpose,
                                bool hugePages) {
  constexpr uint64_t hugePage = 2 << 20;
  size = std::max(pageUp(size), kPageBytes);
  if (size > highestAddress)
    return fail(Code::OutOfMemory,
                std::string("memory could not be had for ") + purpose);
  // Large pages need an aligned start: map more and give the ends back.
  uint64_t extra = hugePages && size >= hugePage ? hugePage : 0;
  void *data = mmap(nullptr, size + extra, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED)
    return fail(Code::OutOfMemory,
                std::string("memory could not be had for ") + purpose, "",
                std::to_string(size) + " bytes: " + systemError(errno));
  auto *start = static_cast<uint8_t *>(data);
  if (extra) {
    auto address = reinterpret_cast<uintptr_t>(start);
    uint64_t before = (hugePage - address % hugePage) % hugePage;
    if (before)
      munmap(start, before);
    if (extra > before)
      munmap(start + before + size, extra - before);
    start += before;
    madvise(start, size, MADV_HUGEPAGE); // only advice
  }
  return Mapping(start, size);
}

const CodeImage::Segment *CodeImage::segmentOf(uint64_t address,
                                               uint64_t size) const {
  for (const Segment &segment : segments_)
    if (address >= segment.address &&
        address - segment.address <= segment.memoryBytes &&
        size <= segment.memoryBytes - (address - segment.address))
      return &segment;
  return nullptr;
}

bool CodeImage::contains(const void *data, uint64_t size, bool execute) const {
  uint64_t address = reinterpret_cast<uintptr_t>(data) - base();
  const Segment *segment = segmentOf(address, size);
  return segment && (segment->flags & (execute ? PF_X : PF_R));
}

bool CodeImage::containsText(const char *text) const {
  if (!contains(text, 1))
    return false;
  uint64_t address = reinterpret_cast<uintptr_t>(text) - base();
  const Segment *segment = segmentOf(address, 1);
  uint64_t left = segment->memoryBytes - (address - segment->address);
  return std::memchr(text, '\0', left) != nullptr;
}

Result<CodeImage> CodeImage::map(const FileRange &file, const ElfImage &elf) {
  uint64_t lowest = UINT64_MAX, highest = 0;
  for (const ElfSegment &segment : elf.segments) {
    if (segment.type == PT_TLS)
      return damaged(file, "it has thread-local storage");
    if (segment.type != PT_LOAD || segment.memoryBytes == 0)
      continue;
    if (Status status = checkSegment(file, segment); !status)
      return status;
    if (segment.address < highest)
      return damaged(file, "its segments overlap or are out of order");
    lowest = std::min(lowest, pageDown(segment.address));
    highest = pageUp(segment.address + segment.memoryBytes);
  }
  if (highest == 0 || highest - lowest > mostBytes)
    return damaged(file, "it has no code, or too much");

  CodeImage image;
  image.lowest_ = lowest;
  image.entry_ = elf.entry;
  void *memory = mmap(nullptr, highest - lowest, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED)
    return noMemory(file, errno);
  image.memory_ = Mapping(memory, highest - lowest);

  for (const ElfSegment &segment : elf.segments) {
    if (segment.type != PT_LOAD || segment.memoryBytes == 0)
      continue;
    uint64_t begin = pageDown(segment.address);
    uint64_t dataEnd = segment.address + segment.fileBytes;
    uint8_t *to = image.memory_.data() + (begin - lowest);
    int access = protection(segment.flags);
    if (segment.fileBytes &&
        mmap(to, dataEnd - begin, access, MAP_PRIVATE | MAP_FIXED, file.fd,
             off_t(file.offset + pageDown(segment.offset))) == MAP_FAILED)
      return noMemory(file, errno);
    // The rest of the last page belongs to whatever follows in the file.
    uint64_t end = segment.address + segment.memoryBytes;
    uint64_t mappedEnd = segment.fileBytes ? pageUp(dataEnd) : begin;
    if (end > dataEnd && mappedEnd > dataEnd)
      std::memset(to + (dataEnd - begin), 0,
                  std::min(mappedEnd, end) - dataEnd);
    if (pageUp(end) > mappedEnd &&
        mmap(to + (mappedEnd - begin), pageUp(end) - mappedEnd, access,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
      return noMemory(file, errno);
    image.segments_.push_back(
        {segment.address, segment.memoryBytes, segment.flags});
  }

  Relocator relocator(image);
  for (const ElfSegment &segment : elf.segments)
    if (segment.type == PT_DYNAMIC)
      if (std::string why =
              relocator.apply(segment.address, segment.memoryBytes);
          !why.empty())
        return damaged(file, std::move(why));

  for (const ElfSegment &segment : elf.segments) {
    if (segment.type != PT_GNU_RELRO || segment.memoryBytes == 0)
      continue;
    // The part may end with the last page of its segment, beyond its data.
    const Segment *owner = image.segmentOf(segment.address, 0);
    if (!owner || segment.memoryBytes > mostBytes)
      return damaged(file, "the part to protect is not inside a segment");
    uint64_t begin = pageDown(segment.address);
    uint64_t end = std::min(pageDown(segment.address + segment.memoryBytes),
                            pageUp(owner->address + owner->memoryBytes));
    if (end > begin && mprotect(image.memory_.data() + (begin - lowest),
                                end - begin, PROT_READ) != 0)
      return noMemory(file, errno);
  }
  return image;
}

} // namespace effrt
