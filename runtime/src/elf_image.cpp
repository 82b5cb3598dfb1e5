//===- elf_image.cpp - reading the tables of ELF files --------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effrt/elf_image.h"
#include "effrt/codes.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <elf.h>
#include <tuple>
#include <unistd.h>

namespace effrt {
namespace {

// Far beyond what any linker writes; keeps damaged files from asking for
// gigabytes.
constexpr uint64_t mostEntries = 1 << 14;
constexpr uint64_t mostNames = 1 << 22;

Error damaged(const FileRange &file, std::string why) {
  return fail(Code::DamagedModel, "the model file is cut off or damaged",
              file.name, std::move(why));
}

bool inside(const FileRange &file, uint64_t offset, uint64_t size) {
  return offset <= file.size && size <= file.size - offset;
}

} // namespace

uint64_t hashBytes(const void *data, size_t size, uint64_t hash) {
  const auto *bytes = static_cast<const unsigned char *>(data);
  for (size_t i = 0; i < size; ++i)
    hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
  return hash;
}

OwnedFd &OwnedFd::operator=(OwnedFd &&other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

OwnedFd::~OwnedFd() {
  if (fd_ >= 0)
    close(fd_);
}

Status readAt(const FileRange &file, uint64_t offset, void *data, size_t size) {
  if (!inside(file, offset, size))
    return damaged(file,
                   "it ends before byte " + std::to_string(offset + size));
  auto *to = static_cast<char *>(data);
  for (size_t done = 0; done < size;) {
    ssize_t got = pread(file.fd, to + done, size - done,
                        off_t(file.offset + offset + done));
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return fail(Code::FileNotFound, "the model file cannot be read",
                  file.name, systemError(errno));
    if (got == 0)
      return damaged(file, "it became shorter while it was read");
    done += size_t(got);
  }
  return Status::success();
}

Result<ElfImage> ElfImage::read(const FileRange &file) {
  Elf64_Ehdr header;
  unsigned char ident[EI_NIDENT] = {};
  size_t first = std::min<uint64_t>(file.size, sizeof ident);
  if (Status status = readAt(file, 0, ident, first); !status)
    return status;
  if (first < SELFMAG || std::memcmp(ident, ELFMAG, SELFMAG) != 0)
    return fail(Code::NotAModel, "the file is not an effc model", file.name,
                file.size ? "it does not start as an ELF file does"
                          : "it is empty");
  if (file.size < sizeof header)
    return damaged(file, "it ends inside the ELF header");
  if (Status status = readAt(file, 0, &header, sizeof header); !status)
    return status;
  if (ident[EI_CLASS] != ELFCLASS64 || ident[EI_DATA] != ELFDATA2LSB)
    return fail(Code::NotAModel, "the file is not an effc model", file.name,
                "it is not a 64-bit little-endian ELF file");

  ElfImage elf;
  elf.type = header.e_type;
  elf.machine = header.e_machine;
  elf.entry = header.e_entry;

  if (header.e_phnum) {
    if (header.e_phentsize != sizeof(Elf64_Phdr) ||
        !inside(file, header.e_phoff,
                uint64_t(header.e_phnum) * sizeof(Elf64_Phdr)))
      return damaged(file, "the table of segments is not inside the file");
    std::vector<Elf64_Phdr> table(header.e_phnum);
    if (Status status = readAt(file, header.e_phoff, table.data(),
                               table.size() * sizeof table[0]);
        !status)
      return status;
    for (const Elf64_Phdr &p : table) {
      if (!inside(file, p.p_offset, p.p_filesz))
        return damaged(file, "a segment reaches beyond the end of the file");
      elf.segments.push_back({p.p_type, p.p_flags, p.p_offset, p.p_vaddr,
                              p.p_filesz, p.p_memsz, p.p_align});
    }
  }

  if (header.e_shnum == 0 || header.e_shoff == 0)
    return elf;
  if (header.e_shentsize != sizeof(Elf64_Shdr) ||
      header.e_shnum > mostEntries || header.e_shstrndx >= header.e_shnum ||
      !inside(file, header.e_shoff,
              uint64_t(header.e_shnum) * sizeof(Elf64_Shdr)))
    return damaged(file, "the table of sections is not inside the file");
  std::vector<Elf64_Shdr> table(header.e_shnum);
  if (Status status = readAt(file, header.e_shoff, table.data(),
                             table.size() * sizeof table[0]);
      !status)
    return status;
  const Elf64_Shdr &names = table[header.e_shstrndx];
  if (names.sh_size > mostNames ||
      !inside(file, names.sh_offset, names.sh_size))
    return damaged(file, "the names of the sections are not inside the file");
  std::string text(names.sh_size, '\0');
  if (Status status = readAt(file, names.sh_offset, text.data(), text.size());
      !status)
    return status;
  for (const Elf64_Shdr &s : table) {
    if (s.sh_type == SHT_NULL)
      continue;
    if (s.sh_name >= text.size() && s.sh_name != 0)
      return damaged(file, "a section has no name");
    ElfSection section{text.c_str() + std::min<size_t>(s.sh_name, text.size()),
                       s.sh_type, s.sh_flags, s.sh_offset, s.sh_size};
    if (s.sh_type != SHT_NOBITS && !inside(file, s.sh_offset, s.sh_size))
      return damaged(file, "the section '" + section.name +
                               "' reaches beyond the end of the file");
    elf.sections.push_back(std::move(section));
  }
  return elf;
}

const ElfSection *ElfImage::find(std::string_view name) const {
  for (const ElfSection &section : sections)
    if (section.name == name)
      return &section;
  return nullptr;
}

std::string machineName(uint16_t machine) {
  switch (machine) {
  case EM_X86_64:
    return "x86-64";
  case EM_AARCH64:
    return "aarch64";
  case EM_RISCV:
    return "riscv";
  case EM_PPC64:
    return "ppc64";
  default:
    return "ELF machine " + std::to_string(machine);
  }
}

uint64_t headerHash(const eff_header &header) {
  return hashBytes(&header, offsetof(eff_header, header_hash));
}

static Result<uint64_t> hashRange(const FileRange &file, uint64_t offset,
                                  uint64_t size, uint64_t hash) {
  std::vector<char> buffer(std::min<uint64_t>(size, 1 << 16));
  while (size) {
    size_t part = std::min<uint64_t>(size, buffer.size());
    if (Status status = readAt(file, offset, buffer.data(), part); !status)
      return status;
    hash = hashBytes(buffer.data(), part, hash);
    offset += part;
    size -= part;
  }
  return hash;
}

Result<uint64_t> codeHash(const FileRange &file, const ElfImage &elf) {
  std::vector<ElfSegment> loads;
  for (const ElfSegment &segment : elf.segments)
    if (segment.type == PT_LOAD && segment.fileBytes)
      loads.push_back(segment);
  std::sort(loads.begin(), loads.end(),
            [](const ElfSegment &a, const ElfSegment &b) {
              return std::tie(a.offset, a.fileBytes) <
                     std::tie(b.offset, b.fileBytes);
            });
  uint64_t hash = kHashSeed;
  for (const ElfSegment &segment : loads) {
    Result<uint64_t> next =
        hashRange(file, segment.offset, segment.fileBytes, hash);
    if (!next)
      return next;
    hash = *next;
  }
  return hash;
}

Result<uint64_t> weightsHash(const FileRange &file, uint64_t offset,
                             uint64_t size) {
  constexpr uint64_t end = 4096;
  if (size <= 2 * end)
    return hashRange(file, offset, size, kHashSeed);
  Result<uint64_t> hash = hashRange(file, offset, end, kHashSeed);
  if (!hash)
    return hash;
  return hashRange(file, offset + size - end, end, *hash);
}

} // namespace effrt
