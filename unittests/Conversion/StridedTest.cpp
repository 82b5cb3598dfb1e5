//===- StridedTest.cpp - layouts as strides -------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Strided.h"

#include "gtest/gtest.h"

#include <random>

using namespace effc::raise;
using Shape = llvm::SmallVector<int64_t>;

TEST(Strided, HeadsSplitOffAndMergedBackAreTheIdentity) {
  Strided s = Strided::identity({2, 5, 64});
  ASSERT_TRUE(s.reshape({2, 5, 4, 16}));
  s.transpose({0, 2, 1, 3});
  EXPECT_EQ(s.shape(), (Shape{2, 4, 5, 16}));
  EXPECT_FALSE(s.isIdentity(640));
  EXPECT_TRUE(s.isPermutation(640));
  s.transpose({0, 2, 1, 3});
  ASSERT_TRUE(s.reshape({2, 5, 64}));
  EXPECT_TRUE(s.isIdentity(640));
  EXPECT_EQ(s, Strided::identity({2, 5, 64}));
}

TEST(Strided, AReshapeThatCutsARunUnevenlyIsRefused) {
  Strided s = Strided::identity({4, 6});
  s.transpose({1, 0});
  Strided before = s;
  EXPECT_FALSE(s.reshape({4, 6}));
  EXPECT_EQ(s, before);
}

TEST(Strided, RepeatedHeadsAreAStrideOfZero) {
  Strided s = Strided::identity({2, 3, 5, 8});
  ASSERT_TRUE(s.reshape({2, 3, 1, 5, 8}));
  s.expand({2, 3, 4, 5, 8});
  ASSERT_TRUE(s.reshape({2, 12, 5, 8}));
  EXPECT_EQ(s.shape(), (Shape{2, 12, 5, 8}));
  EXPECT_FALSE(s.isPermutation(240));
  ASSERT_EQ(s.dims[1].size(), 2u);
  EXPECT_EQ(s.dims[1][1], (Factor{4, 0}));
  EXPECT_EQ(s.withoutRepeats(), Strided::identity({2, 3, 5, 8}));
}

/// Where each element of a view lies in its base.
static std::vector<int64_t> offsets(const Strided &s) {
  std::vector<int64_t> out{0};
  for (Factor f : s.flat()) {
    std::vector<int64_t> next;
    for (int64_t o : out)
      for (int64_t i = 0; i < f.size; ++i)
        next.push_back(o + i * f.stride);
    out = next;
  }
  return out;
}

TEST(Strided, CompositionReadsThroughBothViews) {
  std::mt19937 random(7);
  unsigned composed = 0;
  for (int round = 0; round < 200; ++round) {
    auto shuffle = [&](Strided &s) {
      Shape perm(s.rank());
      for (unsigned i = 0; i < s.rank(); ++i)
        perm[i] = i;
      std::shuffle(perm.begin(), perm.end(), random);
      s.transpose(perm);
    };
    Strided inner = Strided::identity({2, 3, 4, 5});
    shuffle(inner);
    Shape shown = inner.shape();
    Strided outer = Strided::identity(shown);
    shuffle(outer);
    if (round % 2 && !outer.reshape({outer.size(0) * outer.size(1),
                                     outer.size(2) * outer.size(3)}))
      continue;
    auto both = outer.compose(inner);
    if (!both)
      continue;
    ++composed;
    std::vector<int64_t> in = offsets(inner), expected;
    for (int64_t o : offsets(outer))
      expected.push_back(in[o]);
    EXPECT_EQ(offsets(*both), expected);
    EXPECT_EQ(both->shape(), outer.shape());
  }
  EXPECT_GT(composed, 150u);
}
