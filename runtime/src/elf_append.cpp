//===- elf_append.cpp - writing model files -------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effrt/codes.h"
#include "effrt/elf_image.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <elf.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <memory>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace effrt {
namespace {

/// At the very end of a program that carries a model.
struct Trailer {
  uint64_t offset;
  uint64_t size;
  uint64_t hash; ///< of the two above
  char magic[8];
};
constexpr char trailerMagic[8] = {'E', 'F', 'F', 'T', 'A', 'I', 'L', '\x1a'};

Error cannotWrite(const std::string &path, int number) {
  return fail(Code::CannotWrite, "the model file cannot be written", path,
              systemError(number));
}

uint64_t roundUp(uint64_t value, uint64_t align) {
  return (value + align - 1) / align * align;
}

Status writeAt(const std::string &path, int fd, uint64_t offset,
               const void *data, size_t size) {
  const auto *from = static_cast<const char *>(data);
  while (size) {
    ssize_t put = pwrite(fd, from, size, off_t(offset));
    if (put < 0 && errno == EINTR)
      continue;
    if (put < 0)
      return cannotWrite(path, errno);
    from += put;
    offset += uint64_t(put);
    size -= size_t(put);
  }
  return Status::success();
}

/// Copies between files. Shares the blocks where the file system can; otherwise
/// writes in pieces that end at multiples of a large page, as only such parts
/// of a file can be mapped with large pages while they are cached.
Status copyRange(const std::string &path, int from, uint64_t fromOffset, int to,
                 uint64_t toOffset, uint64_t size) {
  file_clone_range range = {from, fromOffset, size, toOffset};
  if (size && ioctl(to, FICLONERANGE, &range) == 0)
    return Status::success();
  constexpr uint64_t piece = 8 << 20;
  std::unique_ptr<char[]> buffer;
  while (size) {
    if (!buffer)
      buffer = std::make_unique<char[]>(std::min(size, piece));
    uint64_t part = std::min(size, piece - toOffset % piece);
    FileRange source{from, 0, fromOffset + part, path};
    if (Status status = readAt(source, fromOffset, buffer.get(), part); !status)
      return fail(Code::CannotWrite, "the model file cannot be written", path,
                  "its source ends too early or cannot be read");
    if (Status status = writeAt(path, to, toOffset, buffer.get(), part);
        !status)
      return status;
    fromOffset += part;
    toOffset += part;
    size -= part;
  }
  return Status::success();
}

Result<OwnedFd> openFile(const std::string &path, int flags, Code code) {
  int fd = open(path.c_str(), flags | O_CLOEXEC);
  if (fd < 0)
    return fail(code,
                code == Code::CannotWrite ? "the file cannot be written"
                                          : "the file cannot be read",
                path, systemError(errno));
  return OwnedFd(fd);
}

Result<uint64_t> fileSize(int fd, const std::string &path) {
  struct stat info;
  if (fstat(fd, &info) != 0)
    return fail(Code::FileNotFound, "the file cannot be read", path,
                systemError(errno));
  if (!S_ISREG(info.st_mode))
    return fail(Code::FileNotFound, "the file cannot be read", path,
                "it is not a regular file");
  return uint64_t(info.st_size);
}

} // namespace

NewSection NewSection::text(std::string name, std::string bytes) {
  NewSection section;
  section.name = std::move(name);
  section.bytes = std::move(bytes);
  return section;
}

NewSection NewSection::copyOf(std::string name, int fd, uint64_t offset,
                              uint64_t size, uint64_t align) {
  NewSection section;
  section.name = std::move(name);
  section.size = size;
  section.align = align;
  section.write = [fd, offset, size, label = section.name](int to,
                                                           uint64_t at) {
    return copyRange(label, fd, offset, to, at, size);
  };
  return section;
}

Status appendSections(const std::string &path,
                      const std::vector<NewSection> &sections) {
  Result<OwnedFd> file = openFile(path, O_RDWR, Code::CannotWrite);
  if (!file)
    return file.takeError();
  int fd = file->get();
  Result<uint64_t> size = fileSize(fd, path);
  if (!size)
    return size.takeError();
  FileRange range{fd, 0, *size, path};
  Result<ElfImage> elf = ElfImage::read(range);
  if (!elf)
    return elf.takeError();

  // ElfImage::read has checked all of this.
  Elf64_Ehdr header;
  if (Status status = readAt(range, 0, &header, sizeof header); !status)
    return status;
  if (header.e_shnum == 0)
    return fail(Code::CannotWrite, "sections cannot be added", path,
                "the file has no table of sections");
  if (header.e_shnum + sections.size() >= SHN_LORESERVE)
    return fail(Code::CannotWrite, "sections cannot be added", path,
                "there would be too many");
  std::vector<Elf64_Shdr> table(header.e_shnum);
  if (Status status = readAt(range, header.e_shoff, table.data(),
                             table.size() * sizeof table[0]);
      !status)
    return status;
  const Elf64_Shdr &oldNames = table[header.e_shstrndx];
  std::string names(oldNames.sh_size, '\0');
  if (Status status =
          readAt(range, oldNames.sh_offset, names.data(), names.size());
      !status)
    return status;
  if (names.empty() || names.back() != '\0')
    names += '\0';

  uint64_t end = range.size;
  for (const NewSection &section : sections) {
    uint64_t bytes = section.write ? section.size : section.bytes.size();
    end = roundUp(end, section.align);
    // The tail that kernels may read beyond an operand belongs to the file too.
    if (ftruncate(fd, off_t(end + bytes)) != 0)
      return cannotWrite(path, errno);
    Status status = section.write
                        ? section.write(fd, end)
                        : writeAt(path, fd, end, section.bytes.data(), bytes);
    if (!status)
      return status;
    Elf64_Shdr entry = {};
    entry.sh_name = Elf64_Word(names.size());
    entry.sh_type = SHT_PROGBITS;
    entry.sh_offset = end;
    entry.sh_size = bytes;
    entry.sh_addralign = section.align;
    table.push_back(entry);
    names += section.name;
    names += '\0';
    end += bytes;
  }

  end = roundUp(end, 64);
  table[header.e_shstrndx].sh_offset = end;
  table[header.e_shstrndx].sh_size = names.size();
  if (Status status = writeAt(path, fd, end, names.data(), names.size());
      !status)
    return status;
  end = roundUp(end + names.size(), 64);
  header.e_shoff = end;
  header.e_shnum = Elf64_Half(table.size());
  if (Status status =
          writeAt(path, fd, end, table.data(), table.size() * sizeof table[0]);
      !status)
    return status;
  return writeAt(path, fd, 0, &header, sizeof header);
}

Status sealModel(const std::string &path) {
  Result<OwnedFd> file = openFile(path, O_RDWR, Code::CannotWrite);
  if (!file)
    return file.takeError();
  Result<uint64_t> size = fileSize(file->get(), path);
  if (!size)
    return size.takeError();
  FileRange range{file->get(), 0, *size, path};
  Result<ElfImage> elf = ElfImage::read(range);
  if (!elf)
    return elf.takeError();
  const ElfSection *place = elf->find(EFF_SECTION_HEADER);
  const ElfSection *manifest = elf->find(EFF_SECTION_MANIFEST);
  const ElfSection *weights = elf->find(EFF_SECTION_WEIGHTS);
  if (!place || !manifest || !weights || place->size != sizeof(eff_header))
    return fail(Code::CannotWrite, "the model file cannot be sealed", path,
                "a section is missing or has the wrong size");

  eff_header header = {};
  header.magic = EFF_MAGIC;
  header.abi_version = EFF_ABI_VERSION;
  header.header_bytes = sizeof header;
  header.manifest_bytes = manifest->size;
  header.weights_bytes = weights->size;
  std::string text(manifest->size, '\0');
  if (Status status = readAt(range, manifest->offset, text.data(), text.size());
      !status)
    return status;
  header.manifest_hash = hashBytes(text.data(), text.size());
  Result<uint64_t> code = codeHash(range, *elf);
  if (!code)
    return code.takeError();
  header.code_hash = *code;
  Result<uint64_t> ends = weightsHash(range, weights->offset, weights->size);
  if (!ends)
    return ends.takeError();
  header.weights_hash = *ends;
  header.header_hash = headerHash(header);
  return writeAt(path, range.fd, place->offset, &header, sizeof header);
}

Status finishModel(const std::string &path, std::string manifest,
                   NewSection weights) {
  weights.name = EFF_SECTION_WEIGHTS;
  weights.align = std::max(weights.align, kPageBytes);
  std::vector<NewSection> sections;
  sections.push_back(NewSection::text(EFF_SECTION_HEADER,
                                      std::string(sizeof(eff_header), '\0')));
  sections.push_back(
      NewSection::text(EFF_SECTION_MANIFEST, std::move(manifest)));
  sections.push_back(std::move(weights));
  if (Status status = appendSections(path, sections); !status)
    return status;
  return sealModel(path);
}

Status embedModel(const std::string &program, const std::string &model) {
  Result<OwnedFd> to = openFile(program, O_RDWR, Code::CannotWrite);
  if (!to)
    return to.takeError();
  Result<OwnedFd> from = openFile(model, O_RDONLY, Code::FileNotFound);
  if (!from)
    return from.takeError();
  Result<uint64_t> toSize = fileSize(to->get(), program);
  if (!toSize)
    return toSize.takeError();
  Result<uint64_t> fromSize = fileSize(from->get(), model);
  if (!fromSize)
    return fromSize.takeError();

  Trailer trailer;
  trailer.offset = roundUp(*toSize, kPageBytes);
  trailer.size = *fromSize;
  trailer.hash = hashBytes(&trailer, offsetof(Trailer, hash));
  std::memcpy(trailer.magic, trailerMagic, sizeof trailerMagic);
  // Kernels may read a little beyond the last weight: keep that in the file.
  uint64_t end = roundUp(trailer.offset + trailer.size, 64);
  if (ftruncate(to->get(), off_t(end)) != 0)
    return cannotWrite(program, errno);
  if (Status status = copyRange(program, from->get(), 0, to->get(),
                                trailer.offset, trailer.size);
      !status)
    return status;
  return writeAt(program, to->get(), end, &trailer, sizeof trailer);
}

Result<FileRange> findEmbedded(int fd, const std::string &name) {
  FileRange none{fd, 0, 0, name};
  Result<uint64_t> size = fileSize(fd, name);
  if (!size)
    return size.takeError();
  Trailer trailer;
  if (*size < sizeof trailer)
    return none;
  FileRange whole{fd, 0, *size, name};
  uint64_t at = *size - sizeof trailer;
  if (Status status = readAt(whole, at, &trailer, sizeof trailer); !status)
    return status;
  if (std::memcmp(trailer.magic, trailerMagic, sizeof trailerMagic) != 0)
    return none;
  if (trailer.hash != hashBytes(&trailer, offsetof(Trailer, hash)) ||
      trailer.offset % kPageBytes != 0 || trailer.offset > at ||
      trailer.size > at - trailer.offset || trailer.size == 0)
    return fail(Code::DamagedModel, "the model file is cut off or damaged",
                name, "what it says of the model inside it is not true");
  return FileRange{fd, trailer.offset, trailer.size, name};
}

} // namespace effrt
