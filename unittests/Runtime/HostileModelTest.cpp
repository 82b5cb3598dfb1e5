//===- HostileModelTest.cpp - model files that were made to do harm -------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Toy.h"

#include "effrt/elf_image.h"

#include <cstring>
#include <elf.h>

using namespace effrt;
using namespace effrt::test;

namespace {

constexpr char damaged[] = "EFF0602";

class HostileTables : public ::testing::TestWithParam<int> {};

TEST_P(HostileTables, AreRefused) {
  TempDir dir;
  ToyKind kind = both();
  kind.code = "bad" + std::to_string(GetParam());
  EXPECT_ERROR(Model::open(makeToy(dir, kind)), damaged);
}
INSTANTIATE_TEST_SUITE_P(All, HostileTables, ::testing::Range(1, 12));

TEST(HostileModel, NothingFromOutside) {
  TempDir dir;
  for (const char *code : {"undefined", "tls", "init"}) {
    ToyKind kind = both();
    kind.code = code;
    EXPECT_ERROR(Model::open(makeToy(dir, kind)), damaged);
  }
}

TEST(HostileModel, ManifestThatDiffers) {
  TempDir dir;
  // The code has both states, the manifest tells of one.
  ToyKind kind = cacheOnly();
  kind.code = "both";
  EXPECT_ERROR(Model::open(makeToy(dir, kind)), damaged);
  kind = tensors();
  kind.code = "both";
  EXPECT_ERROR(Model::open(makeToy(dir, kind)), damaged);
}

/// Files with changed bytes and checksums that fit: the loader must refuse or
/// accept them, never fall over. Nothing of them is run.
TEST(HostileModel, ChangedBytesUnderGoodChecksums) {
  TempDir dir;
  std::string whole = readFile(makeToy(dir, both()));
  Elf64_Ehdr header;
  std::memcpy(&header, whole.data(), sizeof header);
  std::string path = dir / "changed.eff";
  unsigned seed = 12345;
  auto random = [&seed](uint64_t below) {
    seed = seed * 1664525u + 1013904223u;
    return (uint64_t(seed) * below) >> 32;
  };
  // The code file, where tables and relocations are, without the weights.
  uint64_t codeEnd = readFile(std::string(TOY_CODE) + "/both.so").size();
  size_t refused = 0, accepted = 0;
  for (int round = 0; round < 1500; ++round) {
    std::string changed = whole;
    int changes = 1 + int(random(3));
    for (int i = 0; i < changes; ++i) {
      uint64_t place =
          round % 3 == 0 ? random(sizeof(Elf64_Ehdr) + 12 * 56)
          : round % 3 == 1
              ? header.e_shoff + random(header.e_shnum * sizeof(Elf64_Shdr))
              : random(codeEnd);
      static const unsigned char values[] = {0, 1, 0x7f, 0x80, 0xff};
      changed[place] = random(2) ? char(values[random(5)]) : char(random(256));
    }
    writeFile(path, changed);
    if (!sealModel(path).ok()) {
      ++refused;
      continue;
    }
    bool ok = Model::open(path).ok();
    ++(ok ? accepted : refused);
  }
  // Changes hit padding and names as well as what matters.
  EXPECT_GT(refused, 100u);
  EXPECT_GT(accepted, 100u);
}

} // namespace
