//===- AllocateTest.cpp - the best choices within a budget ----------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Compress/Allocate.h"

#include "TestUtils.h"

using namespace effc::compress;
using namespace effc::compress::test;

namespace {

using Items = std::vector<std::vector<AllocationOption>>;

Items randomItems(Random &random, int64_t count, int64_t mostOptions,
                  int64_t mostCost) {
  std::uniform_real_distribution<double> error(0, 1);
  Items items(count);
  for (auto &options : items) {
    options.resize(between(random, 1, mostOptions));
    for (AllocationOption &option : options)
      option = {error(random), between(random, 0, mostCost)};
  }
  return items;
}

/// The least error within the budget, by trying everything; -1: nothing is.
double exhaustive(const Items &items, size_t first, int64_t budget) {
  if (budget < 0)
    return -1;
  if (first == items.size())
    return 0;
  double best = -1;
  for (const AllocationOption &option : items[first]) {
    double rest = exhaustive(items, first + 1, budget - option.cost);
    if (rest >= 0 && (best < 0 || option.error + rest < best))
      best = option.error + rest;
  }
  return best;
}

void expectConsistent(const Items &items, const Allocation &found) {
  ASSERT_EQ(found.chosen.size(), items.size());
  double error = 0;
  int64_t cost = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    ASSERT_LT(found.chosen[i], items[i].size());
    error += items[i][found.chosen[i]].error;
    cost += items[i][found.chosen[i]].cost;
  }
  EXPECT_EQ(error, found.error);
  EXPECT_EQ(cost, found.cost);
}

} // namespace

TEST(Allocate, IsTheOptimumOfAllChoices) {
  Random random(1);
  for (int round = 0; round < 200; ++round) {
    Items items = randomItems(random, between(random, 0, 6), 4, 12);
    int64_t budget = between(random, 0, 50);
    double best = exhaustive(items, 0, budget);
    auto found = allocate(items, budget);
    if (best < 0) {
      ASSERT_FALSE(found.ok());
      continue;
    }
    ASSERT_TRUE(found.ok()) << found.error().what;
    expectConsistent(items, *found);
    EXPECT_LE(found->cost, budget);
    EXPECT_NEAR(found->error, best, 1e-12);
  }
}

TEST(Allocate, LargerBudgetsAreNeverWorse) {
  Random random(2);
  // With points to spare, and thinned.
  for (size_t points : {kMostFrontierPoints, size_t(16)}) {
    Items items = randomItems(random, 40, 4, 1000);
    double last = INFINITY;
    for (int64_t budget = 0; budget <= 40000; budget += 97) {
      auto found = allocate(items, budget, points);
      if (!found)
        continue;
      expectConsistent(items, *found);
      EXPECT_LE(found->cost, budget);
      EXPECT_LE(found->error, last);
      last = found->error;
    }
    // The best option of each item.
    double best = 0;
    for (const auto &options : items) {
      double least = INFINITY;
      for (const AllocationOption &option : options)
        least = std::min(least, option.error);
      best += least;
    }
    EXPECT_NEAR(last, best, 1e-12);
  }
}

TEST(Allocate, ThinnedFrontiersStayCloseToTheOptimum) {
  Random random(3);
  Items items = randomItems(random, 24, 3, 1 << 20);
  int64_t budget = 24 << 19;
  auto exact = allocate(items, budget, size_t(1) << 20);
  auto thinned = allocate(items, budget, 512);
  ASSERT_TRUE(exact.ok() && thinned.ok());
  EXPECT_GE(thinned->error, exact->error);
  EXPECT_LT(thinned->error, exact->error * 1.05);
}

TEST(Allocate, EqualChoicesTakeTheEarlierOptions) {
  Items items{{{1, 1}, {1, 1}}, {{2, 5}, {2, 5}, {2, 4}}};
  auto found = allocate(items, 100);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->chosen, (std::vector<size_t>{0, 2}));
}

TEST(Allocate, ABudgetBelowTheCheapestChoiceSaysWhatIsNeeded) {
  auto found = allocate({{{1, 10}, {0, 20}}, {{1, 5}}}, 14);
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.error().code, "EFF0405");
  EXPECT_NE(found.error().why.find("15"), std::string::npos);
}

TEST(Allocate, RefusesWhatIsNoChoice) {
  EXPECT_FALSE(allocate({{}}, 1).ok());
  EXPECT_FALSE(allocate({{{NAN, 1}}}, 1).ok());
  EXPECT_FALSE(allocate({{{INFINITY, 1}}}, 1).ok());
  EXPECT_FALSE(allocate({{{-1, 1}}}, 1).ok());
  EXPECT_FALSE(allocate({{{1, -1}}}, 1).ok());
  EXPECT_FALSE(allocate({{{1, 1}}}, 1, 1).ok());
}
