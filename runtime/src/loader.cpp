//===- loader.cpp - model files, opened and checked -----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effrt/loader.h"
#include "code_image.h"
#include "effrt/codes.h"
#include "effrt/cpu.h"
#include "effrt/elf_image.h"
#include "tables.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace effrt {

struct Model::Impl {
  ModelInfo info;
  CodeImage code;
  Mapping weights;
  uint8_t *firstWeight = nullptr;
  const eff_model *tables = nullptr;
  const eff_variant *variant = nullptr;
};

namespace {

constexpr uint64_t mostManifestBytes = uint64_t(1) << 28;

Error damaged(const FileRange &file, std::string why) {
  return fail(Code::DamagedModel, "the model file is cut off or damaged",
              file.name, std::move(why));
}

struct OpenFile {
  OwnedFd fd;
  FileRange range;
};

/// Opens a model file, or finds the model in a program that carries one.
Result<OpenFile> openModel(const std::string &path) {
  OwnedFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0)
    return fail(Code::FileNotFound, "the model file cannot be read", path,
                systemError(errno));
  struct stat status;
  if (fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode))
    return fail(Code::FileNotFound, "the model file cannot be read", path,
                "it is not a regular file");
  Result<FileRange> embedded = findEmbedded(fd.get(), path);
  if (!embedded)
    return embedded.takeError();
  FileRange range =
      embedded->size ? *embedded
                     : FileRange{fd.get(), 0, uint64_t(status.st_size), path};
  return OpenFile{std::move(fd), std::move(range)};
}

Status checkHeader(const FileRange &file, const ElfSection &section,
                   eff_header &header) {
  // A newer writer's header may be longer; its hash is still its last field.
  if (section.size < sizeof(eff_header) || section.size > 4096)
    return damaged(file, "its header has the wrong size");
  std::string bytes(section.size, '\0');
  if (Status status = readAt(file, section.offset, bytes.data(), bytes.size());
      !status)
    return status;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.magic != EFF_MAGIC)
    return damaged(file, "its header does not start as it should");
  if (header.header_bytes != section.size)
    return damaged(file, "its header has the wrong size");
  uint64_t expected;
  std::memcpy(&expected, bytes.data() + bytes.size() - 8, 8);
  if (hashBytes(bytes.data(), bytes.size() - 8) != expected)
    return damaged(file, "its header does not match its checksum");
  std::string versions = "the file has version " +
                         std::to_string(header.abi_version) +
                         " of the interface, this runtime ";
  if (header.abi_version > EFF_ABI_VERSION)
    return fail(Code::NewerModel, "the model file was made by a newer effc",
                file.name,
                versions + "knows up to " + std::to_string(EFF_ABI_VERSION));
  if (header.abi_version < EFF_ABI_OLDEST)
    return fail(Code::OlderModel, "the model file was made by an older effc",
                file.name,
                versions + "needs " + std::to_string(EFF_ABI_OLDEST));
  if (header.header_bytes != sizeof(eff_header))
    return damaged(file, "its header has the wrong size");
  return Status::success();
}

Result<ModelInfo> readChecked(const FileRange &file, const ElfImage &elf) {
  const ElfSection *header = elf.find(EFF_SECTION_HEADER);
  const ElfSection *manifest = elf.find(EFF_SECTION_MANIFEST);
  const ElfSection *weights = elf.find(EFF_SECTION_WEIGHTS);
  if (!header && !manifest && !weights)
    return fail(Code::NotAModel, "the file is not an effc model", file.name,
                "it is an ELF file without the sections of a model");
  if (!header || !manifest || !weights)
    return damaged(file, "a section of the model is missing");
  for (const ElfSection *section : {header, manifest, weights})
    if (section->type == SHT_NOBITS)
      return damaged(file, "the section '" + section->name + "' is empty");

  ModelInfo info;
  info.path = file.name;
  info.machine = machineName(elf.machine);
  info.fileBytes = file.size;
  if (Status status = checkHeader(file, *header, info.header); !status)
    return status;
  if (manifest->size != info.header.manifest_bytes ||
      manifest->size > mostManifestBytes)
    return damaged(file, "its manifest has the wrong size");
  std::string text(manifest->size, '\0');
  if (Status status = readAt(file, manifest->offset, text.data(), text.size());
      !status)
    return status;
  if (hashBytes(text.data(), text.size()) != info.header.manifest_hash)
    return damaged(file, "its manifest does not match its checksum");
  if (weights->size != info.header.weights_bytes ||
      weights->offset % kPageBytes != 0)
    return damaged(file, "its weights are not where they should be");
  Result<uint64_t> ends = weightsHash(file, weights->offset, weights->size);
  if (!ends)
    return ends.takeError();
  if (*ends != info.header.weights_hash)
    return damaged(file, "its weights do not match their checksum");
  info.weightsOffset = weights->offset;
  Result<uint64_t> code = codeHash(file, elf);
  if (!code)
    return code.takeError();
  if (*code != info.header.code_hash)
    return damaged(file, "its code does not match its checksum");
  for (const ElfSegment &segment : elf.segments)
    if (segment.type == PT_LOAD)
      info.codeBytes += segment.fileBytes;

  Result<Manifest> parsed = parseManifest(std::move(text));
  if (!parsed) {
    Error error = parsed.takeError();
    error.where = file.name + (error.where.empty() ? "" : ": " + error.where);
    return error;
  }
  info.manifest = parsed.take();
  return info;
}

const eff_variant *chooseVariant(const eff_model &model, uint64_t features) {
  for (uint32_t i = 0; i < model.variant_count; ++i)
    if ((model.variants[i].features & ~features) == 0)
      return &model.variants[i];
  return nullptr;
}

Error wrongCpu(const FileRange &file, const eff_model &model,
               uint64_t features) {
  std::string why;
  for (uint32_t i = 0; i < model.variant_count; ++i) {
    const eff_variant &variant = model.variants[i];
    why += (i ? "; " : "") + std::string(variant.target) + " needs " +
           featureNames(variant.features) +
           ", missing here: " + featureNames(variant.features & ~features);
  }
  why += "; this machine (" + cpuName() + ") has " + featureNames(features);
  return fail(Code::WrongCpu, "the model file holds no code for this processor",
              file.name, std::move(why));
}

/// Maps the weights, or reads a copy, so that kernels may read a page beyond
/// their end.
Status placeWeights(const FileRange &file, const LoadOptions &options,
                    Model::Impl &model) {
  // The system can map a file with large pages only where address and offset
  // are alike in all bits below the size of one.
  constexpr uint64_t hugePage = 2 << 20;
  uint64_t bytes = model.info.header.weights_bytes;
  uint64_t rounded = (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  uint64_t offset = file.offset + model.info.weightsOffset;
  uint64_t lead =
      bytes < hugePage || options.copyWeights ? 0 : offset % hugePage;
  Result<Mapping> room =
      Mapping::zeroed(lead + rounded + kPageBytes, "the weights",
                      /*hugePages=*/true);
  if (!room)
    return room.takeError();
  model.weights = room.take();
  model.firstWeight = model.weights.data() + lead;
  if (bytes == 0)
    return Status::success();
  if (options.copyWeights) {
    if (Status status =
            readAt(file, model.info.weightsOffset, model.weights.data(), bytes);
        !status)
      return status;
    mprotect(model.weights.data(), model.weights.size(), PROT_READ);
    return Status::success();
  }
  if (mmap(model.firstWeight, rounded, PROT_READ, MAP_PRIVATE | MAP_FIXED,
           file.fd, off_t(offset)) == MAP_FAILED)
    return fail(Code::OutOfMemory, "the weights cannot be mapped", file.name,
                systemError(errno));
  // Both are only advice.
  madvise(model.firstWeight, rounded, MADV_HUGEPAGE);
  if (options.readAhead)
    madvise(model.firstWeight, rounded, MADV_WILLNEED);
  return Status::success();
}

Result<std::shared_ptr<const Model>> load(const FileRange &file,
                                          const LoadOptions &options) {
  Result<ElfImage> elf = ElfImage::read(file);
  if (!elf)
    return elf.takeError();
  auto impl = std::make_unique<Model::Impl>();
  Result<ModelInfo> info = readChecked(file, *elf);
  if (!info)
    return info.takeError();
  impl->info = info.take();
  if (elf->machine != EM_X86_64)
    return fail(Code::WrongCpu,
                "the model file holds no code for this processor", file.name,
                "its code is for " + impl->info.machine +
                    ", this machine is x86-64");
  if (elf->type != ET_DYN)
    return damaged(file, "its code cannot be placed in memory");

  Result<CodeImage> code = CodeImage::map(file, *elf);
  if (!code)
    return code.takeError();
  impl->code = code.take();
  const void *entry = impl->code.at(impl->code.entry());
  if (elf->entry % alignof(eff_model) != 0 ||
      !impl->code.contains(entry, sizeof(eff_model)))
    return damaged(file, "its entry point is not a model's table");
  impl->tables = static_cast<const eff_model *>(entry);
  std::string why = checkTables(impl->code, *impl->tables, impl->info.header,
                                impl->info.manifest);
  if (!why.empty())
    return damaged(file, std::move(why));

  uint64_t features = options.features ? options.features : cpuFeatures();
  impl->variant = chooseVariant(*impl->tables, features);
  if (!impl->variant)
    return wrongCpu(file, *impl->tables, features);
  if (Status status = placeWeights(file, options, *impl); !status)
    return status;
  return std::shared_ptr<const Model>(std::make_shared<Model>(std::move(impl)));
}

} // namespace

Result<ModelInfo> readInfo(const std::string &path) {
  Result<OpenFile> file = openModel(path);
  if (!file)
    return file.takeError();
  Result<ElfImage> elf = ElfImage::read(file->range);
  if (!elf)
    return elf.takeError();
  return readChecked(file->range, *elf);
}

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::~Model() = default;

Result<std::shared_ptr<const Model>> Model::open(const std::string &path,
                                                 const LoadOptions &options) {
  Result<OpenFile> file = openModel(path);
  if (!file)
    return file.takeError();
  return load(file->range, options);
}

Result<std::shared_ptr<const Model>>
Model::openEmbedded(int fd, uint64_t offset, uint64_t size,
                    const std::string &name, const LoadOptions &options) {
  FileRange range{fd, offset, size, name};
  struct stat status;
  if (offset % kPageBytes != 0 || fstat(fd, &status) != 0 ||
      offset > uint64_t(status.st_size) ||
      size > uint64_t(status.st_size) - offset)
    return damaged(range, "the part of the file that should hold the model is "
                          "not inside it or not aligned to pages");
  return load(range, options);
}

const ModelInfo &Model::info() const { return impl_->info; }
const eff_model &Model::tables() const { return *impl_->tables; }
const eff_variant &Model::variant() const { return *impl_->variant; }
const uint8_t *Model::weights() const { return impl_->firstWeight; }

const eff_entry *Model::findEntry(std::string_view name) const {
  const eff_variant &variant = *impl_->variant;
  for (uint32_t i = 0; i < variant.entry_count; ++i)
    if (name == variant.entries[i].name)
      return &variant.entries[i];
  return nullptr;
}

} // namespace effrt
