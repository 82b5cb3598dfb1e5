//===- ElfImageTest.cpp - appending sections ------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Toy.h"

#include "effrt/elf_image.h"

#include <cstdlib>
#include <fcntl.h>
#include <unistd.h>

using namespace effrt;
using namespace effrt::test;

namespace {

std::string code() { return readFile(std::string(TOY_CODE) + "/both.so"); }

ElfImage readElf(const std::string &path) {
  OwnedFd fd(open(path.c_str(), O_RDONLY));
  Result<ElfImage> elf =
      ElfImage::read({fd.get(), 0, readFile(path).size(), path});
  EXPECT_TRUE(elf.ok()) << (elf ? "" : elf.error().format());
  return elf ? elf.take() : ElfImage();
}

TEST(ElfImage, AppendsSections) {
  TempDir dir;
  std::string path = dir / "a.so", source = dir / "source";
  writeFile(path, code());
  std::string data = "0123456789";
  for (int i = 0; i < 12; ++i)
    data += data;
  writeFile(source, "skipped" + data);
  OwnedFd from(open(source.c_str(), O_RDONLY));
  NewSection written;
  written.name = ".written";
  written.size = 100;
  written.write = [](int fd, uint64_t offset) -> Status {
    EXPECT_EQ(pwrite(fd, "xyz", 3, off_t(offset + 50)), 3);
    return Status::success();
  };
  size_t before = readElf(path).sections.size();
  ASSERT_OK(appendSections(
      path, {NewSection::text(".small", "abc"), written,
             NewSection::copyOf(".copied", from.get(), 7, data.size())}));

  ElfImage elf = readElf(path);
  std::string file = readFile(path);
  ASSERT_EQ(elf.sections.size(), before + 3);
  const ElfSection *small = elf.find(".small"), *copied = elf.find(".copied"),
                   *zeros = elf.find(".written");
  ASSERT_TRUE(small && copied && zeros);
  EXPECT_EQ(file.substr(small->offset, small->size), "abc");
  EXPECT_EQ(copied->offset % kPageBytes, 0u);
  EXPECT_EQ(file.substr(copied->offset, copied->size), data);
  EXPECT_EQ(file.substr(zeros->offset, zeros->size),
            std::string(50, '\0') + "xyz" + std::string(47, '\0'));
  // What was there is still there, and nothing new is loaded.
  EXPECT_TRUE(elf.find(".text"));
  for (const ElfSegment &segment : elf.segments)
    EXPECT_LE(segment.offset + segment.fileBytes, code().size());
}

TEST(ElfImage, SameInputSameBytes) {
  TempDir dir;
  std::string first = readFile(makeToy(dir, both(), "a.eff"));
  std::string second = readFile(makeToy(dir, both(), "b.eff"));
  EXPECT_EQ(first, second);
}

TEST(ElfImage, AppendsAgain) {
  TempDir dir;
  std::string path = dir / "a.so";
  writeFile(path, code());
  ASSERT_OK(appendSections(path, {NewSection::text(".one", "1")}));
  ASSERT_OK(appendSections(path, {NewSection::text(".two", "22")}));
  ElfImage elf = readElf(path);
  std::string file = readFile(path);
  ASSERT_TRUE(elf.find(".one") && elf.find(".two"));
  EXPECT_EQ(file.substr(elf.find(".one")->offset, 1), "1");
  EXPECT_EQ(file.substr(elf.find(".two")->offset, 2), "22");
}

TEST(ElfImage, ReportsFailures) {
  TempDir dir;
  EXPECT_ERROR(appendSections(dir / "missing", {}), "EFF0103");
  writeFile(dir / "text", "not an ELF file, only text");
  EXPECT_ERROR(appendSections(dir / "text", {}), "EFF0601");
  std::string path = dir / "a.so";
  writeFile(path, code());
  EXPECT_ERROR(sealModel(path), "EFF0103");
  // A source that is shorter than announced.
  writeFile(dir / "short", "abc");
  OwnedFd from(open((dir / "short").c_str(), O_RDONLY));
  EXPECT_ERROR(
      appendSections(path, {NewSection::copyOf(".x", from.get(), 0, 100)}),
      "EFF0103");
}

TEST(ElfImage, EveryTruncationOfTheTables) {
  TempDir dir;
  std::string whole = code(), path = dir / "cut";
  for (size_t size = 0; size < whole.size(); size += size < 1024 ? 1 : 61) {
    writeFile(path, whole.substr(0, size));
    OwnedFd fd(open(path.c_str(), O_RDONLY));
    EXPECT_FALSE(ElfImage::read({fd.get(), 0, size, path}).ok()) << size;
  }
}

TEST(ElfImage, ToolsReadIt) {
  if (std::system("readelf --version > /dev/null 2>&1") != 0)
    GTEST_SKIP() << "readelf is not installed";
  TempDir dir;
  std::string path = makeToy(dir, both());
  std::string command =
      "readelf -SlW " + path + " > " + (dir / "out") + " 2> " + (dir / "err");
  EXPECT_EQ(std::system(command.c_str()), 0);
  EXPECT_EQ(readFile(dir / "err"), "");
  EXPECT_NE(readFile(dir / "out").find(".eff.weights"), std::string::npos);
}

TEST(ElfImage, SurvivesStrip) {
  if (std::system("strip --version > /dev/null 2>&1") != 0)
    GTEST_SKIP() << "strip is not installed";
  TempDir dir;
  std::string path = makeToy(dir, both());
  ASSERT_EQ(std::system(("strip " + path).c_str()), 0);
  // The code's headers have changed: such a file has to be sealed again.
  EXPECT_ERROR(Model::open(path), "EFF0602");
  ASSERT_OK(sealModel(path));
}

} // namespace
