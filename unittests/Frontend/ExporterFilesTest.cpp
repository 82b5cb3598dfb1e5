//===- ExporterFilesTest.cpp - files as exporters write them --------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "TestSupport.h"
#include "effc/Dialect/ONNX/Onnx.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "gtest/gtest.h"

using namespace effc;
using namespace effc::test;
using namespace effc::onnx;
using mlir::MLIRContext;

namespace {

class ExporterFilesTest : public testing::Test {
protected:
  void SetUp() override {
    std::string reason;
    auto folder = archive("exporter-files.tar.xz", reason);
    if (!folder)
      GTEST_SKIP() << reason;
    files = filesUnder(*folder, ".onnx");
    ASSERT_GE(files.size(), 60u);
  }

  /// The file whose path ends in `name`.
  std::string find(const std::string &name) {
    for (const std::string &file : files)
      if (llvm::StringRef(file).ends_with("/" + name))
        return file;
    ADD_FAILURE() << name << " is not in the archive";
    return "";
  }

  std::vector<std::string> files;
};

/// The first value whose type is not static; "" when all are.
std::string dynamicValue(mlir::ModuleOp module) {
  std::string found;
  module.walk([&](mlir::Operation *op) {
    for (mlir::Type type : op->getResultTypes()) {
      auto tensor = llvm::dyn_cast<mlir::RankedTensorType>(type);
      bool fine = llvm::isa<mlir::NoneType>(type) ||
                  (tensor && tensor.hasStaticShape());
      if (!fine && found.empty())
        if (auto node = llvm::dyn_cast<NodeOp>(op))
          found = node.getOpType().str() + " " + node.getNodeName().str();
    }
  });
  return found;
}

std::map<std::string, int> histogram(mlir::ModuleOp module) {
  std::map<std::string, int> counts;
  module.walk([&](NodeOp op) { ++counts[op.getOpType().str()]; });
  return counts;
}

mlir::Type argumentType(mlir::ModuleOp module, llvm::StringRef name) {
  auto main = module.lookupSymbol<mlir::func::FuncOp>("main");
  for (unsigned i = 0; i < main.getNumArguments(); ++i)
    if (auto attr = main.getArgAttrOfType<mlir::StringAttr>(i, "onnx.name"))
      if (attr.getValue() == name)
        return main.getArgument(i).getType();
  return {};
}

std::string text(mlir::Type type) {
  std::string s;
  llvm::raw_string_ostream os(s);
  os << type;
  return s;
}

} // namespace

TEST_F(ExporterFilesTest, EveryFileImportsOrIsRefused) {
  for (const std::string &file : files) {
    MLIRContext context(MLIRContext::Threading::DISABLED);
    Imported result = importFile(context, file);
    bool hostile = file.find("/nest") != std::string::npos;
    if (hostile)
      EXPECT_TRUE(result.code() == "EFF0206" || result.code() == "EFF0207")
          << file;
    else
      EXPECT_EQ(result.code(), "") << file << ": " << result.error->what;
  }
}

TEST_F(ExporterFilesTest, BoundModelsAreStatic) {
  int checked = 0;
  for (const std::string &file : files) {
    std::string name = file.substr(file.rfind('/') + 1);
    bool genai = file.find("/gb_llama") != std::string::npos;
    llvm::StringRef ref = name;
    if (!genai && !ref.starts_with("llama_") && !ref.starts_with("vit_") &&
        !ref.starts_with("effc_") && !ref.starts_with("la_") &&
        !ref.starts_with("bert_"))
      continue;
    MLIRContext context(MLIRContext::Threading::DISABLED);
    Imported result = importFile(context, file);
    ASSERT_EQ(result.code(), "") << file;
    auto error = runPasses(*result.module,
                           "onnx-bind{batch=2 tokens=4 past=3},onnx-simplify");
    EXPECT_EQ(codeOf(error), "") << file << ": " << error->what << " at "
                                 << error->where << ": " << error->why;
    EXPECT_EQ(dynamicValue(*result.module), "") << file;
    ++checked;
  }
  EXPECT_GE(checked, 30);
}

TEST_F(ExporterFilesTest, FoldingRemovesMasksTablesAndShapes) {
  for (const char *name : {"llama_eager_18.onnx", "llama_sdpa_23.onnx",
                           "llama_eager_ts.onnx", "llama_sdpa_ts.onnx"}) {
    MLIRContext context(MLIRContext::Threading::DISABLED);
    Imported result = importFile(context, find(name));
    ASSERT_EQ(result.code(), "");
    ASSERT_EQ(
        codeOf(runPasses(*result.module,
                         "onnx-bind{batch=2 tokens=4 past=3},onnx-simplify")),
        "");
    auto counts = histogram(*result.module);
    for (const char *gone :
         {"Shape", "Constant", "Identity", "Range", "GatherND", "And",
          "LessOrEqual", "Cos", "Sin", "Unsqueeze", "Squeeze",
          "ConstantOfShape", "Equal", "Cast"})
      EXPECT_EQ(counts.count(gone), 0u) << name << " still has " << gone;
    EXPECT_EQ(counts["Gather"], 1) << name << ": the embedding alone";
    EXPECT_EQ(text(argumentType(*result.module, "past_key_values.0.key")),
              "tensor<2x2x3x16xf32>");
    EXPECT_FALSE(argumentType(*result.module, "attention_mask"));
    EXPECT_FALSE(argumentType(*result.module, "position_ids"));
    auto folded = result.module->getOperation()->getAttrOfType<mlir::ArrayAttr>(
        "onnx.folded_inputs");
    EXPECT_EQ(folded.size(), 2u);
  }
}

TEST_F(ExporterFilesTest, GenaiSymbolsAreResolved) {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  Imported result = importFile(context, find("gb_llama_fp32_cpu/model.onnx"));
  ASSERT_EQ(result.code(), "");
  ASSERT_EQ(
      codeOf(runPasses(*result.module,
                       "onnx-bind{batch=1 tokens=1 past=5},onnx-simplify")),
      "");
  EXPECT_EQ(text(argumentType(*result.module, "past_key_values.1.value")),
            "tensor<1x2x5x32xf32>");
  auto counts = histogram(*result.module);
  EXPECT_EQ(counts["GroupQueryAttention"], 2);
  EXPECT_EQ(counts.count("ReduceSum"), 0u)
      << "lengths come from the mask, which is known";
}

TEST_F(ExporterFilesTest, OwnOperatorsAreRecognisedWithTheirStates) {
  for (const char *name : {"effc_mamba.onnx", "effc_raw.onnx"}) {
    MLIRContext context(MLIRContext::Threading::DISABLED);
    Imported result = importFile(context, find(name));
    ASSERT_EQ(result.code(), "");
    ASSERT_EQ(codeOf(runPasses(*result.module,
                               "onnx-bind{batch=3 tokens=5},onnx-simplify")),
              "");
    auto counts = histogram(*result.module);
    EXPECT_EQ(counts["SelectiveScan"], 2) << name;
    EXPECT_EQ(counts["CausalConv1d"], 2) << name;
    EXPECT_EQ(text(argumentType(*result.module, "past_key_values.0.ssm_state")),
              "tensor<3x128x16xf32>");
  }
}

TEST_F(ExporterFilesTest, FrozenLengthsAreRefusedByName) {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  Imported result = importFile(context, find("mamba_dyn_dyn.onnx"));
  ASSERT_EQ(result.code(), "");
  // The file looks dynamic, but its scan is unrolled for eight tokens.
  auto error =
      runPasses(*result.module, "onnx-bind{batch=1 tokens=5},onnx-simplify");
  EXPECT_EQ(codeOf(error), "EFF0213");
  EXPECT_EQ(error->where, "node_stack_1");
  Imported again = importFile(context, find("mamba_dyn_dyn.onnx"));
  EXPECT_EQ(codeOf(runPasses(*again.module,
                             "onnx-bind{batch=1 tokens=8},onnx-simplify")),
            "");
}

TEST_F(ExporterFilesTest, MissingSymbolsAreNamed) {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  Imported result = importFile(context, find("fn_ss.onnx"));
  auto error = runPasses(*result.module, "onnx-bind{batch=2 tokens=5}");
  ASSERT_EQ(codeOf(error), "EFF0212");
  EXPECT_NE(error->hint.find("--dim Dm=VALUE"), std::string::npos);
  Imported again = importFile(context, find("fn_ss.onnx"));
  EXPECT_EQ(codeOf(runPasses(
                *again.module,
                "onnx-bind{batch=2 tokens=5 dims=Dm=8,N=4,G=2},onnx-simplify")),
            "");
  EXPECT_EQ(dynamicValue(*again.module), "");
}

TEST_F(ExporterFilesTest, LoopsOfConstantLengthAreUnrolled) {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  Imported result = importFile(context, find("ts_loop.onnx"));
  ASSERT_EQ(codeOf(runPasses(*result.module,
                             "onnx-bind{batch=1 tokens=6},onnx-simplify")),
            "");
  auto counts = histogram(*result.module);
  EXPECT_EQ(counts.count("Loop"), 0u);
  EXPECT_EQ(counts.count("SequenceInsert"), 0u);
  EXPECT_EQ(counts["Mul"], 6);
}

TEST_F(ExporterFilesTest, TheSameFileGivesTheSameText) {
  std::string first;
  for (int round = 0; round < 2; ++round) {
    MLIRContext context;
    Imported result = importFile(context, find("llama_sdpa_18.onnx"));
    ASSERT_EQ(
        codeOf(runPasses(*result.module,
                         "onnx-bind{batch=1 tokens=2 past=1},onnx-simplify")),
        "");
    std::string now = print(*result.module);
    if (round)
      EXPECT_EQ(now, first);
    first = now;
  }
}
