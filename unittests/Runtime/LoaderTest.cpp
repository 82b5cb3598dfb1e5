//===- LoaderTest.cpp - opening model files -------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Toy.h"

#include "effrt/cpu.h"
#include "effrt/elf_image.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace effrt;
using namespace effrt::test;

namespace {

constexpr char notFound[] = "EFF0101", notAModel[] = "EFF0601",
               damaged[] = "EFF0602", newer[] = "EFF0603",
               wrongCpu[] = "EFF0604", older[] = "EFF0609";

/// Overwrites bytes of a file.
void patch(const std::string &path, uint64_t offset, const std::string &bytes) {
  std::string file = readFile(path);
  ASSERT_LE(offset + bytes.size(), file.size());
  file.replace(offset, bytes.size(), bytes);
  writeFile(path, file);
}

ElfSection sectionOf(const std::string &path, const char *name) {
  std::string file = readFile(path);
  OwnedFd fd(open(path.c_str(), O_RDONLY));
  Result<ElfImage> elf = ElfImage::read({fd.get(), 0, file.size(), path});
  EXPECT_TRUE(elf.ok());
  const ElfSection *section = elf ? elf->find(name) : nullptr;
  EXPECT_NE(section, nullptr) << name;
  return section ? *section : ElfSection();
}

/// Rewrites the header with another version and a hash that fits.
void setVersion(const std::string &path, uint32_t version) {
  ElfSection place = sectionOf(path, EFF_SECTION_HEADER);
  eff_header header;
  std::memcpy(&header, readFile(path).data() + place.offset, sizeof header);
  header.abi_version = version;
  header.header_hash = headerHash(header);
  patch(path, place.offset,
        {reinterpret_cast<const char *>(&header), sizeof header});
}

TEST(Loader, OpensAndRuns) {
  TempDir dir;
  for (const ToyKind &kind : {both(), cacheOnly(), recurrentOnly()}) {
    std::shared_ptr<const Model> model = openToy(dir, kind);
    ASSERT_TRUE(model) << kind.code;
    EXPECT_STREQ(model->variant().target, "toy");
    EXPECT_EQ(model->tables().vocab, TOY_VOCAB);
    EXPECT_EQ(model->manifest().architecture, "toy");
    EXPECT_EQ(
        std::memcmp(model->weights(), toyWeights().data(), toyWeights().size()),
        0);
    std::unique_ptr<Engine> engine = makeEngine(model);
    std::vector<TokenId> tokens = someTokens(7);
    Result<const float *> logits = engine->prefill(0, tokens);
    ASSERT_OK(logits);
    EXPECT_EQ(logitsOf(*engine, *logits), expectedLogits(kind, tokens));
  }
}

TEST(Loader, OtherRelocations) {
  TempDir dir;
  for (const char *code : {"symbols", "relr"}) {
    ToyKind kind = both();
    kind.code = code;
    std::shared_ptr<const Model> model = openToy(dir, kind);
    ASSERT_TRUE(model) << code;
    std::unique_ptr<Engine> engine = makeEngine(model);
    Result<const float *> logits = engine->prefill(0, {1, 2, 3});
    ASSERT_OK(logits);
    EXPECT_EQ(logitsOf(*engine, *logits), expectedLogits(kind, {1, 2, 3}));
  }
}

TEST(Loader, CopiedWeights) {
  TempDir dir;
  LoadOptions options;
  options.copyWeights = true;
  Result<std::shared_ptr<const Model>> model =
      Model::open(makeToy(dir, both()), options);
  ASSERT_OK(model);
  std::unique_ptr<Engine> engine = makeEngine(*model);
  Result<const float *> logits = engine->prefill(0, {5, 6});
  ASSERT_OK(logits);
  EXPECT_EQ(logitsOf(*engine, *logits), expectedLogits(both(), {5, 6}));
}

TEST(Loader, LargeWeights) {
  // More than a large page: mapped where address and offset are alike.
  TempDir dir;
  ToyKind kind = both();
  kind.code = "large";
  kind.weightBytes = 5000000;
  std::string path = makeToy(dir, kind), whole = readFile(path);
  Result<ModelInfo> info = readInfo(path);
  ASSERT_OK(info);
  for (bool copy : {false, true}) {
    LoadOptions options;
    options.copyWeights = copy;
    Result<std::shared_ptr<const Model>> model = Model::open(path, options);
    ASSERT_OK(model);
    const uint8_t *weights = (*model)->weights();
    EXPECT_EQ(std::memcmp(weights, whole.data() + info->weightsOffset, 5000000),
              0);
    if (!copy) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(weights) % (2 << 20),
                info->weightsOffset % (2 << 20));
    }
    // What kernels may read beyond the end is there, and a whole page of it.
    uint64_t pageEnd = (5000000 + kPageBytes - 1) / kPageBytes * kPageBytes;
    EXPECT_EQ(weights[pageEnd + kPageBytes - 1], 0);
    std::unique_ptr<Engine> engine = makeEngine(*model);
    Result<const float *> logits = engine->prefill(0, {1, 2});
    ASSERT_OK(logits);
    EXPECT_EQ(logitsOf(*engine, *logits), expectedLogits(kind, {1, 2}));
  }
}

TEST(Loader, RefusesWhatIsNoModel) {
  TempDir dir;
  EXPECT_ERROR(Model::open(dir / "missing"), notFound);
  EXPECT_ERROR(Model::open(dir.path()), notFound);
  writeFile(dir / "empty", "");
  EXPECT_ERROR(Model::open(dir / "empty"), notAModel);
  writeFile(dir / "text", std::string(5000, 'x'));
  EXPECT_ERROR(Model::open(dir / "text"), notAModel);
  writeFile(dir / "elf", readFile("/proc/self/exe"));
  EXPECT_ERROR(Model::open(dir / "elf"), notAModel);
  EXPECT_ERROR(readInfo(dir / "elf"), notAModel);
}

TEST(Loader, RefusesTruncatedFiles) {
  TempDir dir;
  std::string whole = readFile(makeToy(dir, both()));
  std::string path = dir / "cut.eff";
  for (size_t part = 0; part < 16; ++part) {
    writeFile(path, whole.substr(0, whole.size() * part / 16));
    EXPECT_ERROR(Model::open(path), part ? damaged : notAModel);
    EXPECT_FALSE(readInfo(path).ok());
  }
  writeFile(path, whole.substr(0, whole.size() - 1));
  EXPECT_ERROR(Model::open(path), damaged);
}

TEST(Loader, FindsEveryFlippedByte) {
  TempDir dir;
  std::string path = makeToy(dir, both());
  std::string whole = readFile(path);
  for (const char *name : {EFF_SECTION_HEADER, EFF_SECTION_MANIFEST}) {
    ElfSection section = sectionOf(path, name);
    size_t step = std::max<uint64_t>(section.size / 200, 1);
    for (uint64_t at = 0; at < section.size; at += step) {
      std::string changed = whole;
      changed[section.offset + at] ^= char(1 << (at % 8));
      writeFile(dir / "flipped.eff", changed);
      EXPECT_ERROR(Model::open(dir / "flipped.eff"), damaged);
      EXPECT_ERROR(readInfo(dir / "flipped.eff"), damaged);
    }
  }
  // The code is covered too.
  ElfSection text = sectionOf(path, ".text");
  for (uint64_t at = 0; at < text.size; at += 97) {
    std::string changed = whole;
    changed[text.offset + at] ^= 0x10;
    writeFile(dir / "flipped.eff", changed);
    EXPECT_ERROR(Model::open(dir / "flipped.eff"), damaged);
  }
}

TEST(Loader, FlippedTablesDoNoHarm) {
  // Some bytes of the ELF tables mean nothing to the loader. Whatever is
  // flipped, either the file is refused or the model is the same.
  TempDir dir;
  std::string path = makeToy(dir, both());
  std::string whole = readFile(path);
  Elf64_Ehdr header;
  std::memcpy(&header, whole.data(), sizeof header);
  std::vector<uint64_t> places;
  for (uint64_t at = 0; at < sizeof header; ++at)
    places.push_back(at);
  for (uint64_t at = 0; at < header.e_phnum * sizeof(Elf64_Phdr); ++at)
    places.push_back(header.e_phoff + at);
  uint64_t sections = header.e_shnum * sizeof(Elf64_Shdr);
  for (uint64_t at = 0; at < sections; ++at)
    places.push_back(header.e_shoff + at);
  size_t refused = 0;
  for (uint64_t place : places)
    for (int bit : {0, 4, 7}) {
      std::string changed = whole;
      changed[place] ^= char(1 << bit);
      writeFile(dir / "flipped.eff", changed);
      Result<std::shared_ptr<const Model>> model =
          Model::open(dir / "flipped.eff");
      if (!model) {
        ++refused;
        continue;
      }
      std::unique_ptr<Engine> engine = makeEngine(*model);
      Result<const float *> logits = engine->prefill(0, {9, 8, 7});
      ASSERT_OK(logits);
      EXPECT_EQ(logitsOf(*engine, *logits), expectedLogits(both(), {9, 8, 7}))
          << "byte " << place << " bit " << bit;
    }
  EXPECT_GT(refused, places.size());
}

TEST(Loader, FindsMovedWeights) {
  TempDir dir;
  std::string path = makeToy(dir, both());
  std::string whole = readFile(path);
  ElfSection weights = sectionOf(path, EFF_SECTION_WEIGHTS);
  whole[weights.offset] ^= 1;
  writeFile(path, whole);
  EXPECT_ERROR(Model::open(path), damaged);
}

TEST(Loader, TellsVersionsApart) {
  TempDir dir;
  std::string path = makeToy(dir, both());
  setVersion(path, EFF_ABI_VERSION + 1);
  EXPECT_ERROR(Model::open(path), newer);
  EXPECT_ERROR(readInfo(path), newer);
  setVersion(path, EFF_ABI_OLDEST - 1);
  EXPECT_ERROR(Model::open(path), older);
  // A header that says one thing and code that says another.
  ToyKind kind = both();
  kind.code = "newer";
  EXPECT_ERROR(Model::open(makeToy(dir, kind)), damaged);
}

TEST(Loader, LongerHeadersOfNewerFiles) {
  // A newer header may have more fields; its hash is still the last.
  TempDir dir;
  std::string path = dir / "newer.eff";
  writeFile(path, readFile(std::string(TOY_CODE) + "/both.so"));
  std::string bytes(sizeof(eff_header) + 16, '\0');
  eff_header header = {};
  header.magic = EFF_MAGIC;
  header.abi_version = EFF_ABI_VERSION + 3;
  header.header_bytes = uint32_t(bytes.size());
  std::memcpy(bytes.data(), &header, offsetof(eff_header, header_hash));
  uint64_t hash = hashBytes(bytes.data(), bytes.size() - 8);
  std::memcpy(bytes.data() + bytes.size() - 8, &hash, 8);
  ASSERT_OK(appendSections(path, {NewSection::text(EFF_SECTION_HEADER, bytes),
                                  NewSection::text(EFF_SECTION_MANIFEST, "{}"),
                                  NewSection::text(EFF_SECTION_WEIGHTS, "")}));
  EXPECT_ERROR(Model::open(path), newer);
}

TEST(Loader, WrongMachine) {
  TempDir dir;
  std::string path = makeToy(dir, both());
  std::string machine(2, '\0');
  machine[0] = char(EM_AARCH64);
  patch(path, offsetof(Elf64_Ehdr, e_machine), machine);
  EXPECT_ERROR(Model::open(path), damaged); // the checksum says so
  ASSERT_OK(sealModel(path));
  EXPECT_ERROR(Model::open(path), wrongCpu);
  Result<ModelInfo> info = readInfo(path);
  ASSERT_OK(info);
  EXPECT_EQ(info->machine, "aarch64");
  EXPECT_EQ(info->manifest.entries.size(), 5u);
}

TEST(Loader, WrongCpuSaysWhatIsMissing) {
  TempDir dir;
  ToyKind kind = both();
  kind.code = "needs_all";
  std::string path = makeToy(dir, kind);
  LoadOptions options;
  options.features = EFF_FEATURE_X86_64_V2 | EFF_FEATURE_X86_64_V3;
  Result<std::shared_ptr<const Model>> model = Model::open(path, options);
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.error().code, wrongCpu);
  EXPECT_NE(model.error().why.find("amx_bf16"), std::string::npos)
      << model.error().why;
  EXPECT_NE(model.error().why.find("has x86-64-v3"), std::string::npos)
      << model.error().why;
  EXPECT_OK(readInfo(path));
  options.features = 0xff;
  EXPECT_OK(Model::open(path, options));

  setenv("EFFRT_DISABLE_FEATURES", "x86-64-v2", 1);
  EXPECT_EQ(cpuFeatures(), 0u);
  EXPECT_ERROR(Model::open(path), wrongCpu);
  unsetenv("EFFRT_DISABLE_FEATURES");
}

TEST(Loader, TakesTheFirstTargetThatRuns) {
  TempDir dir;
  ToyKind kind = both();
  kind.code = "two_targets";
  std::string path = makeToy(dir, kind);
  LoadOptions options;
  options.features = ~UINT64_C(0);
  Result<std::shared_ptr<const Model>> model = Model::open(path, options);
  ASSERT_OK(model);
  EXPECT_STREQ((*model)->variant().target, "everything");
  options.features = 1;
  model = Model::open(path, options);
  ASSERT_OK(model);
  EXPECT_STREQ((*model)->variant().target, "toy");
}

TEST(Loader, InfoHasSizes) {
  TempDir dir;
  std::string path = makeToy(dir, both());
  Result<ModelInfo> info = readInfo(path);
  ASSERT_OK(info);
  EXPECT_EQ(info->fileBytes, readFile(path).size());
  EXPECT_EQ(info->header.weights_bytes, toyWeights().size());
  EXPECT_EQ(info->weightsOffset % kPageBytes, 0u);
  EXPECT_GT(info->codeBytes, 1000u);
  EXPECT_EQ(info->machine, "x86-64");
}

TEST(Loader, EmbeddedInAProgram) {
  TempDir dir;
  std::string model = makeToy(dir, both());
  std::string program = dir / "program";
  writeFile(program, readFile("/bin/true"));
  ASSERT_OK(embedModel(program, model));
  Result<std::shared_ptr<const Model>> opened = Model::open(program);
  ASSERT_OK(opened);
  std::unique_ptr<Engine> engine = makeEngine(*opened);
  Result<const float *> logits = engine->prefill(0, {3, 1});
  ASSERT_OK(logits);
  EXPECT_EQ(logitsOf(*engine, *logits), expectedLogits(both(), {3, 1}));
  EXPECT_OK(readInfo(program));

  OwnedFd fd(open(program.c_str(), O_RDONLY));
  Result<FileRange> range = findEmbedded(fd.get(), program);
  ASSERT_OK(range);
  EXPECT_EQ(range->offset % kPageBytes, 0u);
  EXPECT_EQ(range->size, readFile(model).size());
  EXPECT_OK(Model::openEmbedded(fd.get(), range->offset, range->size, "self"));
  EXPECT_ERROR(
      Model::openEmbedded(fd.get(), range->offset + 1, range->size - 1, "self"),
      damaged);
  EXPECT_ERROR(
      Model::openEmbedded(fd.get(), range->offset, range->size + 4096, "self"),
      damaged);

  // A trailer that does not hold.
  std::string bytes = readFile(program);
  bytes[bytes.size() - 20] ^= 1;
  writeFile(program, bytes);
  EXPECT_ERROR(Model::open(program), damaged);
}

#ifdef EFFRUN
TEST(Loader, ProgramRunsItsModel) {
  TempDir dir;
  std::string program = dir / "toy";
  writeFile(program, readFile(EFFRUN));
  ASSERT_OK(embedModel(program, makeToy(dir, both())));
  ASSERT_EQ(chmod(program.c_str(), 0755), 0);
  std::string command =
      program + " -p abc -n 5 -q > " + (dir / "out") + " 2> " + (dir / "err");
  EXPECT_EQ(std::system(command.c_str()), 0) << readFile(dir / "err");
  EXPECT_EQ(readFile(dir / "out").substr(0, 3), "abc");
  EXPECT_GT(readFile(dir / "out").size(), 4u);
}
#endif

} // namespace
