//===- ChooseLayersTest.cpp - the search for layers -----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Model.h"

#include "effc/Calibrate/ChooseLayers.h"

using namespace effc;
using namespace effc::reference;

namespace {

/// Scans one after the other, without norms, in layers named l0, l1, ...
std::string chain(int layers) {
  std::string text, body, last = "%x";
  for (int i = 0; i < layers; ++i) {
    std::string n = std::to_string(i);
    text += weight("l" + n + ".A", "4x1", {-1, -2, -3, -4});
    body += "%a" + n + " = eff.use @l" + n + ".A : !eff.weight<4x1, f32>\n%y" +
            n + " = eff.ssm_scan " + last + ", " + last + ", %a" + n +
            ", %b, %b : tensor<1x2x4xf32>, !eff.weight<4x1, f32>, "
            "tensor<1x2x1xf32>\n";
    last = "%y" + n;
  }
  return text +
         "func.func @main(%x: tensor<1x2x4xf32>, %b: tensor<1x2x1xf32>) -> "
         "tensor<1x2x4xf32> {\n" +
         body + "return " + last + " : tensor<1x2x4xf32>\n}";
}

/// The layers whose scans are gone, as digits.
std::string collapsedLayers(mlir::ModuleOp module, int layers) {
  std::string gone;
  for (int i = 0; i < layers; ++i) {
    bool scans = false;
    module.walk([&](eff::SsmScanOp scan) {
      auto use = scan.getA().getDefiningOp<eff::UseOp>();
      scans |= use.getSymbol() == "l" + std::to_string(i) + ".A";
    });
    if (!scans)
      gone += std::to_string(i);
  }
  return gone;
}

using Layers = std::vector<std::string>;

TEST(ChooseLayers, TakesTheLeastHarmfulWhileAllTogetherFit) {
  Model model(chain(4));
  const double alone[] = {0.03, 0.001, 0.02, 0.002};
  int calls = 0;
  auto measure = [&](mlir::ModuleOp module) -> llvm::Expected<double> {
    ++calls;
    double loss = 0;
    for (char c : collapsedLayers(module, 4))
      loss += alone[c - '0'];
    return loss;
  };
  ChooseLayersOptions options;
  options.budget = 0.0231;
  auto choice = chooseCollapsedLayers(*model.module, options, measure);
  ASSERT_TRUE(bool(choice));
  EXPECT_EQ(choice->layers, (Layers{"l1", "l3", "l2"}));
  EXPECT_NEAR(choice->loss, 0.023, 1e-12);
  ASSERT_EQ(choice->joint.size(), 4u);
  EXPECT_EQ(choice->joint.back().layers, (Layers{"l1", "l3", "l2", "l0"}));
  // The first set is the best single layer, which was measured.
  EXPECT_EQ(calls, 4 + 3);
  EXPECT_EQ(collapsedLayers(*model.module, 4), "");
}

/// Each alone is harmless, two together are not: what counts is the sum that is
/// measured.
TEST(ChooseLayers, StopsAtTheFirstSetOverBudget) {
  Model model(chain(3));
  auto measure = [&](mlir::ModuleOp module) -> llvm::Expected<double> {
    size_t count = collapsedLayers(module, 3).size();
    return count == 1 ? 0.0 : count == 2 ? 0.5 : 0.0;
  };
  ChooseLayersOptions options;
  auto choice = chooseCollapsedLayers(*model.module, options, measure);
  ASSERT_TRUE(bool(choice));
  EXPECT_EQ(choice->layers, (Layers{"l0"}));
  EXPECT_EQ(choice->joint.size(), 2u);
}

/// A loss of few images may be larger than it seems.
TEST(ChooseLayers, TheStandardErrorCounts) {
  Model model(chain(3));
  auto measure = [&](mlir::ModuleOp module) -> llvm::Expected<MeasuredLoss> {
    size_t count = collapsedLayers(module, 3).size();
    return MeasuredLoss(0.002 * double(count), 0.003 * double(count));
  };
  ChooseLayersOptions options;
  options.budget = 0.0101;
  auto choice = chooseCollapsedLayers(*model.module, options, measure);
  ASSERT_TRUE(bool(choice));
  EXPECT_EQ(choice->layers, (Layers{"l0", "l1"}));
  ASSERT_EQ(choice->joint.size(), 3u);
  EXPECT_NEAR(choice->joint.back().loss, 0.006, 1e-12);
  EXPECT_NEAR(choice->joint.back().error, 0.009, 1e-12);
}

TEST(ChooseLayers, NoLayerWithinTheBudget) {
  Model model(chain(2));
  ChooseLayersOptions options;
  auto choice = chooseCollapsedLayers(
      *model.module, options,
      [](mlir::ModuleOp) -> llvm::Expected<double> { return 0.2; });
  ASSERT_TRUE(bool(choice));
  EXPECT_TRUE(choice->layers.empty());
  EXPECT_EQ(choice->single.size(), 2u);
}

TEST(ChooseLayers, ModelsWithoutScansAreRefused) {
  Model model("func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {\n"
              "return %x : tensor<2xf32>\n}");
  auto choice = chooseCollapsedLayers(
      *model.module, {},
      [](mlir::ModuleOp) -> llvm::Expected<double> { return 0.0; });
  ASSERT_FALSE(bool(choice));
  EXPECT_NE(llvm::toString(choice.takeError()).find("no layer has a scan"),
            std::string::npos);
}

TEST(RankCorrelation, OrderAloneCounts) {
  EXPECT_DOUBLE_EQ(rankCorrelation({1, 2, 3, 4}, {10, 100, 1000, 10000}), 1);
  EXPECT_DOUBLE_EQ(rankCorrelation({1, 2, 3, 4}, {4, 3, 2, 1}), -1);
  EXPECT_DOUBLE_EQ(rankCorrelation({1, 2, 3}, {5, 5, 5}), 0);
  // 1 - 6 sum d^2 / (n (n^2 - 1)) without ties.
  EXPECT_NEAR(rankCorrelation({1, 2, 3, 4, 5}, {2, 1, 4, 3, 5}), 0.8, 1e-12);
  // Ties have their mean rank.
  EXPECT_NEAR(rankCorrelation({1, 1, 2}, {1, 2, 3}), 0.8660254037844387, 1e-12);
}

} // namespace
