//===- ChoosePrecisionTest.cpp - formats of layers within a budget --------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "TestModels.h"

#include "effc/Calibrate/ChoosePrecision.h"
#include "effc/Dialect/Eff/Transforms/Passes.h"
#include "effc/Dialect/Eff/Transforms/Precision.h"
#include "effc/Pipelines/Lower.h"
#include "effc/Support/Error.h"
#include "npy.h"

#include "mlir/Pass/PassManager.h"
#include "gtest/gtest.h"

#include <fstream>

using namespace effc;
using namespace effc::test;

namespace {

/// Three linears [8, 64] one behind the other.
std::string chain() {
  std::string text, body, last = "%x";
  for (int i = 0; i < 3; ++i) {
    std::string n = std::to_string(i);
    std::string shape = i == 0 ? "128x64" : i == 1 ? "64x128" : "256x64";
    std::string rows = i == 0   ? "128"
                       : i == 1 ? "64"
                                : "256",
                columns = i == 1 ? "128" : "64";
    text += "eff.weight @l" + n + ".w : !eff.weight<" + shape +
            ", f32> = dense<0.5> : tensor<" + shape + "xf32>\n";
    body += "%w" + n + " = eff.use @l" + n + ".w : !eff.weight<" + shape +
            ", f32>\n%y" + n + " = eff.linear " + last + ", %w" + n +
            " : tensor<1x2x" + columns + "xf32>, !eff.weight<" + shape +
            ", f32> -> tensor<1x2x" + rows + "xf32>\n";
    last = "%y" + n;
  }
  return text +
         "func.func @main(%x: tensor<1x2x64xf32>) -> tensor<1x2x256xf32> {\n" +
         body + "return " + last + " : tensor<1x2x256xf32>\n}";
}

/// What eff-quantize makes of formats, and the sum of divergences that stand in
/// a table: [layer][w4a8, w4a16, w8a8].
class ChoosePrecisionTest : public ::testing::Test {
protected:
  llvm::Expected<PrecisionChoice> choose(const std::string &budget) {
    ChoosePrecisionOptions options;
    options.formats = {"w4a8", "w4a16", "w8a8"};
    options.budget = *PrecisionBudget::parse(budget);
    runs = 0;
    return choosePrecision(
        module.get(), options,
        [&](mlir::ModuleOp copy, const FormatMap &formats, FormatUse) {
          current = formats;
          std::string path = dir.file("formats.json");
          std::ofstream file(path);
          file << "{";
          for (size_t i = 0; i < formats.size(); ++i)
            file << (i ? "," : "") << '"' << formats[i].first << "\":\""
                 << formats[i].second << '"';
          file << "}";
          file.close();
          eff::EffQuantizePassOptions quantize;
          quantize.format = eff::QuantFormat::W4A8;
          quantize.group = 32;
          quantize.precision = path;
          mlir::PassManager pm(copy.getContext());
          pm.addPass(eff::createEffQuantizePass(quantize));
          return runPasses(pm, copy, "quantising");
        },
        [&](mlir::ModuleOp) -> llvm::Expected<double> {
          ++runs;
          double sum = 0;
          for (size_t i = 0; i < current.size(); ++i)
            for (size_t f = 0; f < 3; ++f)
              if (current[i].second == options.formats[f])
                sum += alone[i][f];
          return sum;
        });
  }

  TempDir dir;
  TestModule module{chain()};
  FormatMap current;
  int runs = 0;
  std::vector<std::vector<double>> alone{
      {0.4, 0.3, 0.1}, {0.02, 0.01, 0.001}, {0.09, 0.08, 0.05}};
};

std::string formatsOf(const PrecisionChoice &choice) {
  std::string text;
  for (const auto &[weight, format] : choice.layers)
    text += (text.empty() ? "" : " ") + format;
  return text;
}

} // namespace

TEST_F(ChoosePrecisionTest, MeasuresEachLinearInEachFormat) {
  auto choice = choose("bits=9");
  ASSERT_TRUE(bool(choice)) << llvm::toString(choice.takeError());
  ASSERT_EQ(choice->trials.size(), 9u);
  for (size_t i = 0; i < 9; ++i) {
    EXPECT_EQ(choice->trials[i].divergence, alone[i / 3][i % 3]);
    EXPECT_EQ(choice->trials[i].weight, "l" + std::to_string(i / 3) + ".w");
  }
  // int4 with an f32 scale for 32 columns; int8 with one for a row.
  EXPECT_EQ(choice->trials[0].bytes, 128 * 64 / 2 + 128 * 2 * 4);
  EXPECT_EQ(choice->trials[2].bytes, 128 * 64 + 128 * 4);
  // Nine alone and the chosen ones together.
  EXPECT_EQ(runs, 10);
  EXPECT_EQ(formatsOf(*choice), "w8a8 w8a8 w8a8");
  EXPECT_NEAR(choice->estimated, 0.151, 1e-12);
  EXPECT_NEAR(choice->measured, 0.151, 1e-12);
}

TEST_F(ChoosePrecisionTest, SpendsBytesWhereTheyHelpMost) {
  // Bits for one of the small layers, or for the first and not the last.
  auto choice = choose("bits=6");
  ASSERT_TRUE(bool(choice)) << llvm::toString(choice.takeError());
  EXPECT_EQ(formatsOf(*choice), "w8a8 w4a16 w4a16");
  EXPECT_LE(choice->spent.value, 6);
  EXPECT_GT(choice->spent.value, 5);
}

TEST_F(ChoosePrecisionTest, FloatActivationsCostTimeAndNoBytes) {
  auto fastest = choose("time=1");
  ASSERT_TRUE(bool(fastest)) << llvm::toString(fastest.takeError());
  EXPECT_EQ(formatsOf(*fastest), "w4a8 w4a8 w4a8");
  EXPECT_NEAR(fastest->spent.value, 1, 1e-12);
  auto more = choose("time=1.05");
  ASSERT_TRUE(bool(more)) << llvm::toString(more.takeError());
  EXPECT_EQ(formatsOf(*more), "w4a16 w4a8 w4a8");
  auto smallest = choose("bits=5");
  ASSERT_TRUE(bool(smallest)) << llvm::toString(smallest.takeError());
  EXPECT_EQ(formatsOf(*smallest), "w4a16 w4a16 w4a16");
}

TEST_F(ChoosePrecisionTest, LargerBudgetsAreNeverWorse) {
  for (const char *kind : {"bits", "time"}) {
    double last = INFINITY;
    for (int step = 0; step <= 20; ++step) {
      double value = kind[0] == 'b' ? 5 + step * 0.2 : 1 + step * 0.05;
      auto choice = choose(std::string(kind) + "=" + std::to_string(value));
      ASSERT_TRUE(bool(choice)) << llvm::toString(choice.takeError());
      EXPECT_LE(choice->estimated, last);
      EXPECT_LE(choice->spent.value, value * (1 + 1e-6));
      last = choice->estimated;
    }
  }
}

TEST_F(ChoosePrecisionTest, BytesCountAllWeights) {
  auto loose = choose("bytes=1000000");
  ASSERT_TRUE(bool(loose)) << llvm::toString(loose.takeError());
  int64_t all = int64_t(loose->spent.value);
  auto exact = choose("bytes=" + std::to_string(all));
  ASSERT_TRUE(bool(exact)) << llvm::toString(exact.takeError());
  EXPECT_EQ(formatsOf(*exact), formatsOf(*loose));
  auto tight = choose("bytes=" + std::to_string(all - 1));
  ASSERT_TRUE(bool(tight)) << llvm::toString(tight.takeError());
  EXPECT_NE(formatsOf(*tight), formatsOf(*loose));
  EXPECT_LT(tight->spent.value, all);
}

TEST_F(ChoosePrecisionTest, ImpossibleBudgetsSayTheLeast) {
  for (std::string budget : {"bits=3", "bytes=100", "time=0.9"}) {
    auto choice = choose(budget);
    ASSERT_FALSE(bool(choice)) << budget;
    EXPECT_EQ(runs, 0) << "nothing is measured in vain";
    llvm::handleAllErrors(choice.takeError(), [&](const UserError &error) {
      EXPECT_EQ(codeName(error.code), "EFF0405");
      // What it says can be given back.
      auto least =
          PrecisionBudget::parse(llvm::StringRef(error.why).rsplit(' ').second);
      ASSERT_TRUE(least) << error.why;
      EXPECT_TRUE(bool(choose(least->str()))) << error.why;
    });
  }
}

TEST_F(ChoosePrecisionTest, ModelsWithoutLinearsAreRefused) {
  TestModule none("func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {\n"
                  "return %x : tensor<2xf32>\n}");
  auto choice = choosePrecision(
      none.get(), {},
      [](mlir::ModuleOp, const FormatMap &, FormatUse) {
        return llvm::Error::success();
      },
      [](mlir::ModuleOp) -> llvm::Expected<double> { return 0.0; });
  ASSERT_FALSE(bool(choice));
  llvm::consumeError(choice.takeError());
}

TEST(PrecisionBudget, Words) {
  for (llvm::StringRef good : {"bits=4.5", "bytes=9000000", "time=1.25"})
    EXPECT_EQ(PrecisionBudget::parse(good)->str(), good);
  for (const char *bad : {"bits", "bits=", "bits=-1", "bits=0", "time=nan",
                          "formats=w4a8", "bits=4x", "formats.json"})
    EXPECT_FALSE(PrecisionBudget::parse(bad)) << bad;
}

/// The compiled model against itself, and against one of fewer bits.
TEST(OutputDivergence, IsZeroForTheModelItselfAndNotForAnother) {
  TempDir dir;
  effrt::tools::NpyArray array;
  array.dtype = "i4";
  array.shape = {3, 40};
  std::vector<int32_t> ids;
  for (int i = 0; i < 120; ++i)
    ids.push_back((i * i * 7 + i * 13 + 5) % kVocab);
  array.bytes.resize(ids.size() * 4);
  std::memcpy(array.bytes.data(), ids.data(), array.bytes.size());
  CalibrateOptions samples;
  samples.samples = dir.file("ids.npy");
  samples.sampleTokens = 40;
  ASSERT_TRUE(effrt::tools::writeNpy(samples.samples, array).ok());
  TestModule module(attentionModel());
  double values[2];
  for (unsigned threads : {1u, 3u}) {
    samples.threads = threads;
    auto divergence = OutputDivergence::create(module.get(), samples);
    ASSERT_TRUE(bool(divergence)) << llvm::toString(divergence.takeError());
    auto same = divergence->measure(module.get());
    ASSERT_TRUE(bool(same)) << llvm::toString(same.takeError());
    EXPECT_EQ(*same, 0);
    mlir::OwningOpRef<mlir::ModuleOp> copy = module.get().clone();
    eff::EffQuantizePassOptions quantize;
    quantize.format = eff::QuantFormat::W4A16;
    mlir::PassManager pm(copy->getContext());
    pm.addPass(eff::createEffQuantizePass(quantize));
    ASSERT_FALSE(bool(runPasses(pm, *copy, "quantising")));
    auto other = divergence->measure(*copy);
    ASSERT_TRUE(bool(other)) << llvm::toString(other.takeError());
    EXPECT_GT(*other, 0);
    values[threads == 3] = *other;
  }
  EXPECT_EQ(values[0], values[1]);
}
