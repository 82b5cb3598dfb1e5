//===- PermutationTest.cpp - checked permutations -------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Compress/Permutation.h"

#include "TestUtils.h"

#include <numeric>

using namespace effc::compress;
using namespace effc::compress::test;

namespace {

Permutation shuffled(Random &random, int64_t size) {
  std::vector<int64_t> indices(size);
  std::iota(indices.begin(), indices.end(), 0);
  std::shuffle(indices.begin(), indices.end(), random);
  return get(Permutation::create(indices));
}

TEST(Permutation, ComposesAndInverts) {
  Random random(1);
  for (int trial = 0; trial < 20; ++trial) {
    int64_t n = between(random, 1, 50);
    Permutation p = shuffled(random, n), q = shuffled(random, n);
    EXPECT_TRUE(get(p.after(p.inverse())).isIdentity());
    EXPECT_TRUE(get(p.inverse().after(p)).isIdentity());
    auto x = normal(random, n), once = x;
    EXPECT_OK(get(p.after(q)).apply(Span<float>(once)));
    EXPECT_OK(q.apply(Span<float>(x)));
    EXPECT_OK(p.apply(Span<float>(x)));
    EXPECT_EQ(x, once);
  }
}

TEST(Permutation, RowsAndColumnsMoveTogether) {
  Random random(2);
  for (int trial = 0; trial < 20; ++trial) {
    int64_t in = between(random, 1, 30), hidden = between(random, 1, 30),
            out = between(random, 1, 30);
    auto x = normal<double>(random, 2 * in);
    auto w1 = normal<double>(random, hidden * in),
         w2 = normal<double>(random, out * hidden);
    auto wanted = multiply(multiply(x, w1, in, hidden), w2, hidden, out);
    Permutation p = shuffled(random, hidden);
    EXPECT_OK(p.applyToRows(view(w1, hidden, in)));
    EXPECT_OK(p.applyToColumns(view(w2, out, hidden)));
    auto y = multiply(multiply(x, w1, in, hidden), w2, hidden, out);
    EXPECT_LT(relativeDifference(y, wanted), 1e-12);
  }
}

TEST(Permutation, SortingIsStable) {
  std::vector<float> values = {2, 1, 2, 0, 1};
  EXPECT_EQ(Permutation::sorting(values),
            get(Permutation::create({3, 1, 4, 0, 2})));
  EXPECT_EQ(Permutation::sorting(values, /*descending=*/true),
            get(Permutation::create({0, 2, 1, 4, 3})));
}

TEST(Permutation, JoinsAndExpands) {
  Permutation p = get(Permutation::create({1, 0}));
  EXPECT_EQ(p.joined(Permutation::identity(1)),
            get(Permutation::create({1, 0, 2})));
  EXPECT_EQ(p.expanded(2), get(Permutation::create({2, 3, 0, 1})));
}

TEST(Permutation, BadIndicesAndSizesAreErrors) {
  EXPECT_ERROR(Permutation::create({0, 0}), "EFF0410");
  EXPECT_ERROR(Permutation::create({0, 2}), "EFF0410");
  EXPECT_ERROR(Permutation::create({-1, 0}), "EFF0410");
  Permutation p = Permutation::identity(3);
  std::vector<float> x(4);
  EXPECT_ERROR(p.apply(Span<float>(x)), "EFF0410");
  EXPECT_ERROR(p.applyToRows(view(x, 4, 1)), "EFF0410");
  EXPECT_ERROR(p.applyToColumns(view(x, 2, 2)), "EFF0410");
  EXPECT_ERROR(p.after(Permutation::identity(2)), "EFF0410");
}

} // namespace
