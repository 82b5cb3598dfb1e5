//===- GptqWeightsTest.cpp - integers that make up for their errors -------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Calibrate/GptqWeights.h"
#include "effc/Calibrate/Calibrate.h"
#include "effc/Dialect/Eff/WeightValues.h"
#include "effc/Support/Error.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

#include <random>

using namespace effc;

namespace {

constexpr int64_t kRows = 40, kColumns = 48;

std::string codeOf(llvm::Error error) {
  std::string code;
  llvm::handleAllErrors(std::move(error),
                        [&](const UserError &e) { code = codeName(e.code); });
  return code;
}

class GptqWeightsTest : public ::testing::Test {
protected:
  GptqWeightsTest() {
    context.loadDialect<eff::EffDialect>();
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    // Correlated inputs: what one column's error does, others can undo.
    std::vector<float> x(size_t(400 * kColumns));
    for (int64_t t = 0; t < 400; ++t) {
      float common = normal(random);
      for (int64_t k = 0; k < kColumns; ++k)
        x[t * kColumns + k] = common + 0.5f * normal(random);
    }
    observe("in", kColumns, x);
    values.resize(kRows * kColumns);
    for (float &value : values)
      value = normal(random);
  }

  void observe(const std::string &name, int64_t channels,
               std::vector<float> &x) {
    compress::ObserverSettings settings;
    settings.kind = compress::ObserverKind::Hessian;
    settings.channels = channels;
    auto observer = calibration.add(name, settings);
    ASSERT_TRUE(bool(observer));
    ASSERT_TRUE(
        (*observer)
            ->observe({x.data(), int64_t(x.size()) / channels, channels})
            .ok());
    ASSERT_TRUE((*observer)->endSample().ok());
  }

  /// Two weights of a format with the same values.
  void declare(const std::string &format) {
    std::string type = "!eff.weight<40x48, " + format + ">";
    module = mlir::parseSourceString<mlir::ModuleOp>(
        "eff.weight @a : " + type + " = dense<0.0> : tensor<40x48xf32>\n" +
            "eff.weight @b : " + type + " = dense<0.0> : tensor<40x48xf32>\n",
        &context);
    ASSERT_TRUE(bool(module));
    for (auto op : module->getOps<eff::WeightOp>()) {
      auto read = eff::WeightValues::read(op);
      ASSERT_TRUE(bool(read));
      llvm::copy(values, read->getValues().begin());
      eff::WeightValues::replace(op, std::move(*read));
    }
  }

  std::vector<GptqTask> tasks() {
    std::vector<GptqTask> result;
    for (auto op : module->getOps<eff::WeightOp>())
      result.push_back({op, calibration.find("in")});
    return result;
  }

  std::string printed() {
    std::string text;
    llvm::raw_string_ostream os(text);
    for (auto op : module->getOps<eff::WeightOp>()) {
      auto read = eff::WeightValues::read(op);
      if (!read) {
        ADD_FAILURE() << llvm::toString(read.takeError());
        continue;
      }
      for (float value : read->getValues())
        os << llvm::format("%a ", double(value));
    }
    return text;
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  compress::Calibration calibration;
  std::vector<float> values;
};

} // namespace

TEST_F(GptqWeightsTest, BeatsRoundingInEveryFormat) {
  for (const char *format :
       {"#eff.int8", "#eff.int4<group = 16>", "#eff.int4<group = 32>"}) {
    declare(format);
    auto reports = gptqWeights(tasks(), {});
    ASSERT_TRUE(bool(reports)) << llvm::toString(reports.takeError());
    ASSERT_EQ(reports->size(), 2u);
    for (const GptqReport &report : *reports) {
      EXPECT_LT(report.error, 0.7 * report.roundedError) << format;
      EXPECT_GT(report.error, 0);
      EXPECT_LT(report.roundedError, 0.1);
      EXPECT_EQ(report.deadColumns, 0);
    }
    EXPECT_EQ((*reports)[0].weight.getSymName(), "a");
    EXPECT_EQ((*reports)[1].weight.getSymName(), "b");
    EXPECT_EQ((*reports)[0].error, (*reports)[1].error);
    // The module still verifies, and holds integers of its own.
    EXPECT_TRUE(mlir::succeeded(module->verify()));
    for (auto op : module->getOps<eff::WeightOp>())
      EXPECT_TRUE(op.getQuantized().has_value());
  }
}

TEST_F(GptqWeightsTest, TheSameIntegersForAnyNumberOfThreads) {
  std::string first;
  for (unsigned threads : {1u, 2u, 5u}) {
    declare("#eff.int4<group = 16>");
    GptqWeightsOptions options;
    options.threads = threads;
    auto reports = gptqWeights(tasks(), options);
    ASSERT_TRUE(bool(reports)) << llvm::toString(reports.takeError());
    if (first.empty())
      first = printed();
    EXPECT_EQ(printed(), first) << threads;
  }
}

TEST_F(GptqWeightsTest, ProgressGoesUpToTheTotal) {
  declare("#eff.int8");
  std::vector<std::string> names;
  double last = 0, all = 0;
  GptqWeightsOptions options;
  options.progress = [&](llvm::StringRef weight, double done, double total) {
    EXPECT_GE(done, last);
    last = done;
    all = total;
    if (names.empty() || names.back() != weight)
      names.push_back(weight.str());
  };
  auto reports = gptqWeights(tasks(), options);
  ASSERT_TRUE(bool(reports)) << llvm::toString(reports.takeError());
  EXPECT_EQ(names, (std::vector<std::string>{"a", "b", ""}));
  EXPECT_EQ(last, all);
  EXPECT_GT(all, 0);
}

TEST_F(GptqWeightsTest, WhatDoesNotFitIsRefused) {
  auto codeFor = [&](const std::vector<GptqTask> &list) {
    auto reports = gptqWeights(list, {});
    return reports ? std::string() : codeOf(reports.takeError());
  };
  declare("f32");
  EXPECT_EQ(codeFor(tasks()), "EFF0401");
  declare("#eff.int8");
  std::vector<GptqTask> none = tasks();
  none[1].hessian = nullptr;
  EXPECT_EQ(codeFor(none), "EFF0412");
  // Nothing was changed before the last of them was seen.
  for (auto op : module->getOps<eff::WeightOp>())
    EXPECT_FALSE(op.getQuantized().has_value());
  std::vector<float> narrow(64, 1.0f);
  observe("narrow", 8, narrow);
  std::vector<GptqTask> wrong = tasks();
  wrong[0].hessian = calibration.find("narrow");
  EXPECT_EQ(codeFor(wrong), "EFF0410");
  values[5] = INFINITY;
  declare("#eff.int8");
  EXPECT_EQ(codeFor(tasks()), "EFF0412");
}
