//===- ExternalDataTest.cpp - data files beside a model -------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "TestSupport.h"
#include "effc/Dialect/ONNX/Onnx.h"
#include "effc/Frontend/ONNX/HostTensor.h"
#include "effc/Support/FileRange.h"

#include "gtest/gtest.h"

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

using namespace effc;
using namespace effc::test;
using namespace effc::onnx;
using mlir::MLIRContext;
namespace fs = std::filesystem;

namespace {

/// A model that returns the external float tensor "w" of `count` elements.
onnx_ir::ModelProto
model(std::vector<std::pair<std::string, std::string>> entries, int64_t count) {
  onnx_ir::ModelProto result = emptyModel();
  auto &tensor = *result.mutable_graph()->add_initializer();
  tensor.set_name("w");
  tensor.set_data_type(1);
  tensor.add_dims(count);
  tensor.set_data_location(onnx_ir::TensorProto::EXTERNAL);
  for (auto &[key, value] : entries) {
    auto *entry = tensor.add_external_data();
    entry->set_key(key);
    entry->set_value(value);
  }
  addOutput(*result.mutable_graph(), "w");
  return result;
}

std::string floats(std::vector<float> values) {
  return std::string(reinterpret_cast<char *>(values.data()),
                     values.size() * 4);
}

/// Imports `m` from a directory that holds w.bin = {1, 2, 3, 4}.
std::string codeFor(const onnx_ir::ModelProto &m) {
  MLIRContext context;
  TempDir dir;
  dir.write("w.bin", floats({1, 2, 3, 4}));
  dir.write("m.onnx", m.SerializeAsString());
  return importFile(context, dir.file("m.onnx")).code();
}

long residentKilobytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmRSS", 0) == 0)
      return std::atol(line.c_str() + 6);
  return 0;
}

} // namespace

TEST(ExternalDataTest, DataAreRead) {
  MLIRContext context;
  TempDir dir;
  dir.write("sub/w.bin", floats({9, 1, 2, 3}));
  dir.write(
      "m.onnx",
      model({{"location", "./sub/w.bin"}, {"offset", "4"}, {"length", "12"}}, 3)
          .SerializeAsString());
  Imported result = importFile(context, dir.file("m.onnx"));
  ASSERT_EQ(result.code(), "") << result.error->what;
  result.module->walk([](ConstantOp op) {
    auto host = HostTensor::read(op.getValue());
    ASSERT_TRUE(mlir::succeeded(host));
    EXPECT_EQ(host->floats, (std::vector<double>{1, 2, 3}));
  });
}

TEST(ExternalDataTest, MemoryHasNoFilesBesideIt) {
  MLIRContext context;
  EXPECT_EQ(importModel(context, model({{"location", "w.bin"}}, 4)).code(),
            "EFF0205");
}

TEST(ExternalDataTest, H11_KeysOnceAndOnlyKnownOnesCount) {
  EXPECT_EQ(codeFor(model({{"location", "w.bin"}, {"basepath", "/etc"}}, 4)),
            "");
  EXPECT_EQ(codeFor(model({{"location", "w.bin"}, {"location", "w.bin"}}, 4)),
            "EFF0205");
  EXPECT_EQ(codeFor(model({}, 4)), "EFF0205");
  EXPECT_EQ(codeFor(model({{"location", "*/_ORT_MEM_ADDR_/*"}}, 4)), "EFF0205");
}

TEST(ExternalDataTest, H12_LocationsStayInside) {
  for (std::string location : {"/etc/hostname", "../w.bin", "a/../../w.bin",
                               "..", ".", "", "a\\w.bin", "./../w.bin"})
    EXPECT_EQ(codeFor(model({{"location", location}}, 4)), "EFF0205")
        << location;
  EXPECT_EQ(codeFor(model({{"location", std::string("w.bin\0x", 7)}}, 4)),
            "EFF0205");
}

TEST(ExternalDataTest, H13_OnlyRegularFiles) {
  MLIRContext context;
  TempDir dir;
  fs::create_directory(dir.file("folder"));
  ASSERT_EQ(::mkfifo(dir.file("pipe").c_str(), 0600), 0);
  for (std::string name : {"folder", "pipe", "missing"}) {
    dir.write("m.onnx", model({{"location", name}}, 4).SerializeAsString());
    EXPECT_EQ(importFile(context, dir.file("m.onnx")).code(), "EFF0205")
        << name;
  }
}

TEST(ExternalDataTest, H14_LinksLeadNowhereElse) {
  MLIRContext context;
  TempDir dir;
  // A hub cache: both files are links into one directory of blobs.
  dir.write("blobs/77ab", floats({1, 2, 3, 4}));
  dir.write("blobs/1f0c",
            model({{"location", "w.bin"}}, 4).SerializeAsString());
  dir.write("elsewhere/secret", floats({1, 2, 3, 4}));
  fs::create_directories(dir.file("r1"));
  fs::create_symlink("../blobs/1f0c", dir.file("r1/m.onnx"));
  fs::create_symlink("../blobs/77ab", dir.file("r1/w.bin"));
  EXPECT_EQ(importFile(context, dir.file("r1/m.onnx")).code(), "");
  ImportOptions strict;
  strict.strictPaths = true;
  EXPECT_EQ(importFile(context, dir.file("r1/m.onnx"), strict).code(),
            "EFF0205");
  // A link out of both directories, and a linked directory.
  fs::create_directories(dir.file("r2"));
  fs::create_symlink("../blobs/1f0c", dir.file("r2/m.onnx"));
  fs::create_symlink("../elsewhere/secret", dir.file("r2/w.bin"));
  EXPECT_EQ(importFile(context, dir.file("r2/m.onnx")).code(), "EFF0205");
  dir.write("r3/m.onnx",
            model({{"location", "d/secret"}}, 4).SerializeAsString());
  fs::create_directory_symlink("../elsewhere", dir.file("r3/d"));
  EXPECT_EQ(importFile(context, dir.file("r3/m.onnx")).code(), "EFF0205");
  // A link beneath the model's own directory is harmless.
  dir.write("r4/data/w", floats({1, 2, 3, 4}));
  dir.write("r4/m.onnx", model({{"location", "w.bin"}}, 4).SerializeAsString());
  fs::create_symlink("data/w", dir.file("r4/w.bin"));
  EXPECT_EQ(importFile(context, dir.file("r4/m.onnx")).code(), "");
}

TEST(ExternalDataTest, H15_HardLinksUnderStrictPaths) {
  MLIRContext context;
  TempDir dir;
  dir.write("w.bin", floats({1, 2, 3, 4}));
  fs::create_hard_link(dir.file("w.bin"), dir.file("other"));
  dir.write("m.onnx", model({{"location", "w.bin"}}, 4).SerializeAsString());
  int warnings = 0;
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &d) {
    warnings += d.getSeverity() == mlir::DiagnosticSeverity::Warning;
    return mlir::success();
  });
  EXPECT_EQ(importFile(context, dir.file("m.onnx")).code(), "");
  EXPECT_EQ(warnings, 1);
  ImportOptions strict;
  strict.strictPaths = true;
  EXPECT_EQ(importFile(context, dir.file("m.onnx"), strict).code(), "EFF0205");
}

TEST(ExternalDataTest, H16_OffsetAndLengthFitTheFileAndTheShape) {
  using Entries = std::vector<std::pair<std::string, std::string>>;
  for (Entries entries :
       {Entries{{"location", "w.bin"}, {"offset", "-4"}},
        Entries{{"location", "w.bin"}, {"offset", "0x4"}},
        Entries{{"location", "w.bin"}, {"offset", "4"}},
        Entries{{"location", "w.bin"}, {"length", "12"}},
        Entries{{"location", "w.bin"}, {"offset", "18446744073709551615"}},
        Entries{{"location", "w.bin"}, {"offset", "99999999999999999999"}}})
    EXPECT_EQ(codeFor(model(entries, 4)), "EFF0205")
        << entries[1].first << " " << entries[1].second;
  EXPECT_EQ(codeFor(model(
                {{"location", "w.bin"}, {"offset", "0"}, {"length", "16"}}, 4)),
            "");
  EXPECT_EQ(codeFor(model({{"location", "w.bin"}}, 5)), "EFF0205");
}

/// A file that another program cuts off while it is read: an error, no SIGBUS.
TEST(ExternalDataTest, H17_FilesThatShrinkLater) {
  constexpr int64_t count = 1 << 16;
  TempDir dir;
  dir.write("w.bin", std::string(4 * count, '\1'));
  dir.write("m.onnx",
            model({{"location", "w.bin"}}, count).SerializeAsString());
  auto sumAfterResizing = [&](int64_t bytes) {
    exitWhenFilesShrink();
    MLIRContext context(MLIRContext::Threading::DISABLED);
    Imported result = importFile(context, dir.file("m.onnx"));
    if (result.error || ::truncate(dir.file("w.bin").c_str(), bytes) != 0)
      std::_Exit(3);
    unsigned sum = 0;
    result.module->walk([&](ConstantOp op) {
      for (char c : ElementBytes::of(op.getValue())->get())
        sum += unsigned(c);
    });
    std::_Exit(sum == 4 * count ? 0 : 2);
  };
  EXPECT_EXIT(sumAfterResizing(4 * count), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(sumAfterResizing(4096), testing::ExitedWithCode(1),
              "error EFF0205: .*shorter(.|\n)*where: w.bin(.|\n)*try: ");
}

TEST(ExternalDataTest, LargeDataStayInTheMappingUnlessTheyAreUnaligned) {
  MLIRContext context;
  TempDir dir;
  std::string bytes(9 + (4 << 16), '\0');
  float one = 1;
  std::memcpy(&bytes[4], &one, 4);
  std::memcpy(&bytes[9], &one, 4);
  dir.write("w.bin", bytes);
  for (const char *offset : {"4", "9"}) {
    dir.write("m.onnx",
              model({{"location", "w.bin"}, {"offset", offset}}, 1 << 16)
                  .SerializeAsString());
    Imported result = importFile(context, dir.file("m.onnx"));
    ASSERT_EQ(result.code(), "") << result.error->what;
    result.module->walk([&](ConstantOp op) {
      auto raw = ElementBytes::of(op.getValue());
      ASSERT_TRUE(mlir::succeeded(raw));
      uintptr_t at = reinterpret_cast<uintptr_t>(raw->get().data());
      EXPECT_EQ(at % 4, 0u);
      float first;
      std::memcpy(&first, raw->get().data(), 4);
      EXPECT_EQ(first, 1);
      // In the mapping the address keeps the offset within its page.
      if (std::string(offset) == "4")
        EXPECT_EQ(at % 4096, 4u);
    });
  }
}

/// A file of 8 GiB costs neither time nor memory. The file is sparse: it takes
/// no room on the disk.
TEST(ExternalDataTest, EightGigabytesInMilliseconds) {
  MLIRContext context;
  TempDir dir;
  constexpr int64_t tensors = 64, each = int64_t(128) << 20;
  dir.write("w.bin", "");
  if (::truncate(dir.file("w.bin").c_str(), tensors * each) != 0)
    GTEST_SKIP() << "the file system of " << dir.path << " has no sparse files";
  onnx_ir::ModelProto m = emptyModel();
  for (int64_t i = 0; i < tensors; ++i) {
    auto part =
        model({{"location", "w.bin"}, {"offset", std::to_string(i * each)}},
              each / 4);
    auto &tensor = *m.mutable_graph()->add_initializer();
    tensor = part.graph().initializer(0);
    tensor.set_name("w" + std::to_string(i));
    addOutput(*m.mutable_graph(), tensor.name());
  }
  dir.write("m.onnx", m.SerializeAsString());
  long before = residentKilobytes();
  auto start = std::chrono::steady_clock::now();
  Imported result = importFile(context, dir.file("m.onnx"));
  double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
          .count();
  ASSERT_EQ(result.code(), "") << result.error->what;
  long growth = residentKilobytes() - before;
  EXPECT_LT(growth, 200 * 1024);
  EXPECT_LT(seconds,
            1.0); // about a millisecond; a copy of the data would take seconds
  RecordProperty("growth_kilobytes", int(growth));
  RecordProperty("microseconds", int(seconds * 1e6));
}
