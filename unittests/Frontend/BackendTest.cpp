//===- BackendTest.cpp - the ONNX backend tests, computed by the compiler -===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Each case is imported, its inputs become constants, and onnx-simplify folds
/// what it can. Where everything folds, the results must be the suite's; any
/// other case must end in a module or a clean refusal.
///
//===----------------------------------------------------------------------===//

#include "TensorReader.h"
#include "TestSupport.h"
#include "effc/Dialect/ONNX/Onnx.h"
#include "effc/Frontend/ONNX/HostTensor.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/JSON.h"
#include "gtest/gtest.h"

#include <cmath>
#include <filesystem>
#include <iostream>

using namespace effc;
using namespace effc::test;
using namespace effc::onnx;
using namespace mlir;

namespace {

enum class Outcome { Passed, Failed, Unfolded, Refused };

/// A tensor file of the suite; null for sequences and types that are not read.
ElementsAttr readTensor(MLIRContext &context, const std::string &path) {
  onnx_ir::TensorProto tensor;
  if (!std::filesystem::exists(path) || !tensor.ParseFromString(readFile(path)))
    return {};
  TensorReader reader(&context, nullptr, nullptr, int64_t(1) << 40, {});
  auto value = reader.read(tensor, std::nullopt, path);
  if (!value) {
    llvm::consumeError(value.takeError());
    return {};
  }
  return *value;
}

std::string difference(const HostTensor &got, const HostTensor &want,
                       double relative, double absolute) {
  if (got.getType() != want.getType())
    return "the types differ";
  for (int64_t i = 0; i < got.size(); ++i) {
    double a = got.number(i), b = want.number(i);
    bool equal = got.isFloat() ? std::isnan(a) == std::isnan(b)
                               : got.ints[i] == want.ints[i];
    if (equal && got.isFloat() && !std::isnan(a) && a != b)
      equal = std::fabs(a - b) <= absolute + relative * std::fabs(b);
    if (!equal)
      return "element " + std::to_string(i) + " is " + std::to_string(a) +
             ", not " + std::to_string(b);
  }
  return "";
}

/// Computes the model of a folder on its data set `set`. The default tolerance
/// is the suite's.
Outcome runCase(const std::string &folder, std::string &why, int set = 0,
                double relative = 1e-3, double absolute = 1e-7) {
  std::string data = folder + "/test_data_set_" + std::to_string(set);
  MLIRContext context(MLIRContext::Threading::DISABLED);
  Imported imported = importFile(context, folder + "/model.onnx");
  if (imported.error) {
    why = imported.error->what;
    return Outcome::Refused;
  }
  ModuleOp module = *imported.module;
  auto function = module.lookupSymbol<func::FuncOp>("main");
  Block &block = function.getBody().front();
  OpBuilder b(&block, block.begin());
  llvm::BitVector gone(function.getNumArguments());
  for (unsigned i = 0; i < function.getNumArguments(); ++i) {
    ElementsAttr value =
        readTensor(context, data + "/input_" + std::to_string(i) + ".pb");
    if (!value) {
      why = "an input is no tensor";
      return Outcome::Unfolded;
    }
    auto constant = ConstantOp::create(b, b.getUnknownLoc(), value.getType(),
                                       b.getStringAttr(""), value);
    function.getArgument(i).setType(value.getType());
    function.getArgument(i).replaceAllUsesWith(constant);
    gone.set(i);
  }
  if (failed(function.eraseArguments(gone)))
    return Outcome::Failed;
  function.setFunctionType(
      b.getFunctionType({}, block.getTerminator()->getOperandTypes()));
  if (auto error = runPasses(module, "onnx-simplify")) {
    why = error->what + ": " + error->why;
    return Outcome::Refused;
  }
  for (auto [i, result] :
       llvm::enumerate(block.getTerminator()->getOperands())) {
    auto constant = result.getDefiningOp<ConstantOp>();
    if (!constant) {
      why = "not folded";
      return Outcome::Unfolded;
    }
    auto got = HostTensor::read(constant.getValue());
    ElementsAttr file =
        readTensor(context, data + "/output_" + std::to_string(i) + ".pb");
    auto want =
        file ? HostTensor::read(file) : FailureOr<HostTensor>(failure());
    if (failed(got) || failed(want)) {
      why = "no numbers";
      return Outcome::Unfolded;
    }
    why = difference(*got, *want, relative, absolute);
    if (!why.empty())
      return Outcome::Failed;
  }
  return Outcome::Passed;
}

} // namespace

TEST(BackendTest, FoldedResultsAreRight) {
  std::string reason;
  auto data = archive("backend-tests-1.22.tar.xz", reason);
  if (!data)
    GTEST_SKIP() << reason;
  std::map<Outcome, int> counts;
  for (const std::string &file : filesUnder(*data, "/model.onnx")) {
    if (file.find("/light/") != std::string::npos)
      continue; // large networks: imported below, too slow to compute here
    std::string folder = file.substr(0, file.rfind('/')), why;
    Outcome outcome = runCase(folder, why);
    ++counts[outcome];
    EXPECT_NE(outcome, Outcome::Failed) << folder << ": " << why;
    if (std::getenv("EFFC_TEST_VERBOSE"))
      std::cout << int(outcome) << " " << folder.substr(folder.rfind('/') + 1)
                << " " << why << "\n";
  }
  std::cout << "passed " << counts[Outcome::Passed] << ", failed "
            << counts[Outcome::Failed] << ", not folded "
            << counts[Outcome::Unfolded] << ", refused "
            << counts[Outcome::Refused] << "\n";
  EXPECT_GE(counts[Outcome::Passed], 900);
}

/// Small models of kinds that other tools got wrong.
TEST(BackendTest, BugCasesAreRightOrRefused) {
  std::string reason;
  auto data = archive("bug-cases.tar.xz", reason);
  if (!data)
    GTEST_SKIP() << reason;
  std::map<Outcome, int> counts;
  for (const std::string &check : filesUnder(*data, "/check.json")) {
    std::string folder = check.substr(0, check.rfind('/')), why;
    auto json = llvm::json::parse(readFile(check));
    ASSERT_TRUE(bool(json)) << check;
    const llvm::json::Object &object = *json->getAsObject();
    double relative = object.getNumber("rtol").value_or(1e-5),
           absolute = object.getNumber("atol").value_or(1e-6);
    if (std::filesystem::exists(folder + "/model.onnx"))
      for (int set = 0; std::filesystem::exists(folder + "/test_data_set_" +
                                                std::to_string(set));
           ++set) {
        Outcome outcome = runCase(folder, why, set, relative, absolute);
        ++counts[outcome];
        EXPECT_NE(outcome, Outcome::Failed)
            << folder << " set " << set << ": " << why;
        if (std::getenv("EFFC_TEST_VERBOSE"))
          std::cout << int(outcome) << " "
                    << folder.substr(folder.rfind('/') + 1) << " " << why
                    << "\n";
      }
    if (const llvm::json::Array *models = object.getArray("refuse_models"))
      for (const llvm::json::Value &model : *models) {
        MLIRContext context(MLIRContext::Threading::DISABLED);
        EXPECT_NE(importFile(context, folder + "/" + model.getAsString()->str())
                      .code(),
                  "")
            << folder;
      }
  }
  EXPECT_GE(counts[Outcome::Passed], 10);
}

TEST(BackendTest, EveryModelImportsOrIsRefused) {
  std::string reason;
  auto data = archive("backend-tests-1.22.tar.xz", reason);
  if (!data)
    GTEST_SKIP() << reason;
  int imported = 0, refused = 0;
  for (const std::string &file : filesUnder(*data, "/model.onnx")) {
    MLIRContext context(MLIRContext::Threading::DISABLED);
    Imported result = importFile(context, file);
    (result.error ? refused : imported)++;
    // Opset 1 is older than what effc reads.
    if (result.error)
      EXPECT_EQ(result.code(), "EFF0203") << file << ": " << result.error->what;
  }
  EXPECT_GE(imported, 1900);
  EXPECT_LE(refused, 5);
}
