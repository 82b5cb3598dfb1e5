//===- DimExprTest.cpp - dimensions that are expressions ------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "DimExpr.h"

#include "gtest/gtest.h"

using namespace effc::onnx;

TEST(DimExprTest, Values) {
  Symbols symbols;
  symbols["past"] = 3;
  symbols["seq"] = 4;
  symbols["L"] = 9;
  symbols["odd name"] = 5;
  auto value = [&](llvm::StringRef text) { return evaluateDim(text, symbols); };
  EXPECT_EQ(value("past + seq"), 7);
  EXPECT_EQ(value("seq+past"), 7);
  EXPECT_EQ(value("2*(((L - 1)//2)) + 2"), 10);
  EXPECT_EQ(value("2*seq - past*2"), 2);
  EXPECT_EQ(value("-past + L % 4"), -2);
  EXPECT_EQ(value("(1 - L)//2"), -4) << "rounds down";
  EXPECT_EQ(value("odd name"), 5) << "the whole text may be a symbol";
  EXPECT_EQ(value("17"), 17);
}

TEST(DimExprTest, WhatIsNoExpressionHasNoValue) {
  Symbols symbols;
  symbols["a"] = 1;
  std::string unknown;
  EXPECT_EQ(evaluateDim("a + b", symbols, &unknown), std::nullopt);
  EXPECT_EQ(unknown, "b");
  for (const char *text : {"", "a +", "(a", "a)", "a a", "a/0", "a % 0", "*a",
                           "9223372036854775807 * 2", "99999999999999999999"})
    EXPECT_EQ(evaluateDim(text, symbols), std::nullopt) << text;
  EXPECT_EQ(evaluateDim(std::string(100000, '('), symbols), std::nullopt)
      << "no deep recursion";
  EXPECT_EQ(evaluateDim(std::string(100000, '-') + "a", symbols), std::nullopt);
}

TEST(DimExprTest, Symbols) {
  EXPECT_TRUE(isSymbol("batch_size"));
  EXPECT_TRUE(isSymbol("Concat_dim.0"));
  EXPECT_FALSE(isSymbol("past + seq"));
  EXPECT_FALSE(isSymbol("2x"));
  EXPECT_FALSE(isSymbol(""));
}
