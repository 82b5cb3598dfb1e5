//===- RaiseTest.cpp - raised models compute what their graphs compute ----===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Models.h"

#include "llvm/ADT/StringExtras.h"

#include <map>

using namespace mlir;
using namespace effc;
using namespace effc::test;

namespace {
/// Graphs in f32 round each node's result to 24 bits and some hundred nodes
/// follow one another; graphs in bf16 round to 8 bits, which the raised model
/// does not.
constexpr double f32Tolerance = 2e-6, bf16Tolerance = 2e-2;

struct Model {
  const char *file;
  eff::EntryKind kind = eff::EntryKind::Prefill;
  double tolerance = f32Tolerance;
  bool fixedShapes = false;
};

void PrintTo(const Model &model, std::ostream *os) { *os << model.file; }

class RaiseModel : public testing::TestWithParam<Model> {
protected:
  std::string path() const {
    StringRef file = GetParam().file;
    if (file.consume_front("examples/"))
      return (EFFC_SOURCE_DIR "/examples/models/" + file).str();
    if (file.consume_front("bugs/"))
      return bugCases().empty() ? "" : bugCases() + "/" + file.str();
    return exporterFiles().empty() ? "" : exporterFiles() + "/" + file.str();
  }

  void expectSame(ModuleOp graph, func::FuncOp entry, int64_t past) {
    for (unsigned seed : {1u, 2u, 3u}) {
      auto error = compareWithGraph(graph, entry, past, seed);
      ASSERT_TRUE(static_cast<bool>(error))
          << llvm::toString(error.takeError());
      EXPECT_LT(error->results, GetParam().tolerance)
          << "results, past " << past << ", seed " << seed;
      EXPECT_LT(error->states, GetParam().tolerance)
          << "states, past " << past << ", seed " << seed;
    }
  }

  MLIRContext context;
};
} // namespace

TEST_P(RaiseModel, ComputesWhatTheGraphComputes) {
  if (path().empty())
    GTEST_SKIP() << "the file is not in EFFC_TEST_DATA";
  auto model = import(context, path());
  ASSERT_TRUE(model);
  const Model &m = GetParam();
  int64_t batch = 2, tokens = 5;
  auto graph = bind(*model, batch, tokens, 1);
  ASSERT_TRUE(graph);
  OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
  auto entry =
      raiseToEff(*graph, *module, entryOptions(m.kind, batch, tokens, 1));
  ASSERT_TRUE(succeeded(entry));
  ASSERT_TRUE(succeeded(verify(*module)));
  expectSame(*graph, *entry, 1);
  if (m.kind == eff::EntryKind::Forward || m.fixedShapes)
    return;

  // Another past length gives the same function, and that function computes
  // what the graph does there.
  auto later = bind(*model, batch, tokens, 3);
  ASSERT_TRUE(later);
  OwningOpRef<ModuleOp> second = ModuleOp::create(UnknownLoc::get(&context));
  auto again =
      raiseToEff(*later, *second, entryOptions(m.kind, batch, tokens, 3));
  ASSERT_TRUE(succeeded(again));
  EXPECT_TRUE(sameEntry(*entry, *again));
  EXPECT_TRUE(succeeded(
      checkPastIsGone(*entry, *later, entryOptions(m.kind, batch, tokens, 3))));
  expectSame(*later, *entry, 3);

  // Decoding shares the symbols.
  size_t symbols = module->getBody()->getOperations().size();
  auto single = bind(*model, 1, 1, 1);
  ASSERT_TRUE(single);
  auto decode = raiseToEff(*single, *module,
                           entryOptions(eff::EntryKind::Decode, 1, 1, 1));
  ASSERT_TRUE(succeeded(decode));
  EXPECT_EQ(module->getBody()->getOperations().size(), symbols + 1);
  expectSame(*single, *decode, 1);
}

constexpr auto forward = eff::EntryKind::Forward;
constexpr auto prefill = eff::EntryKind::Prefill;
INSTANTIATE_TEST_SUITE_P(
    Files, RaiseModel,
    testing::Values(
        Model{"examples/llama-tiny.onnx"}, Model{"examples/mamba-tiny.onnx"},
        Model{"bugs/42-ssm-padded-and-short-prompts/model.onnx"},
        Model{"bugs/44-kv-empty-past/model.onnx"},
        Model{"bugs/46-prefix-reuse/model.onnx"},
        Model{"examples/mamba2-tiny.onnx"}, Model{"llama_eager_18.onnx"},
        Model{"llama_sdpa_18.onnx"}, Model{"llama_eager_23.onnx"},
        Model{"llama_sdpa_23.onnx"}, Model{"llama_eager_None.onnx"},
        Model{"llama_sdpa_None.onnx"}, Model{"llama_eager_ts.onnx"},
        Model{"llama_sdpa_ts.onnx"}, Model{"gb_llama_fp32_cpu/model.onnx"},
        Model{"gb_llama_bf16_cuda/model.onnx", prefill, bf16Tolerance},
        Model{"effc_mamba.onnx"}, Model{"effc_raw.onnx"},
        Model{"la_std_m2.onnx", prefill, f32Tolerance, true},
        Model{"la_ms_m1.onnx", prefill, f32Tolerance, true},
        Model{"vit_eager_18.onnx", forward}, Model{"vit_sdpa_18.onnx", forward},
        Model{"vit_eager_23.onnx", forward},
        Model{"vit_sdpa_23.onnx", forward}),
    [](const testing::TestParamInfo<Model> &info) {
      std::string name = info.param.file;
      for (char &c : name)
        c = llvm::isAlnum(c) ? c : '_';
      return name;
    });

/// How often each op occurs in an entry point.
static std::map<std::string, int> histogram(func::FuncOp function) {
  std::map<std::string, int> out;
  function.walk(
      [&](Operation *op) { ++out[op->getName().getStringRef().str()]; });
  return out;
}

TEST(Raise, EveryExportOfOneLlamaGivesTheSameOps) {
  if (exporterFiles().empty())
    GTEST_SKIP() << "the exporters' files are not in EFFC_TEST_DATA";
  MLIRContext context;
  std::map<std::string, int> first;
  for (const char *file :
       {"llama_eager_18", "llama_sdpa_18", "llama_eager_23", "llama_sdpa_23",
        "llama_eager_None", "llama_sdpa_None", "llama_eager_ts",
        "llama_sdpa_ts"}) {
    auto model = import(context, exporterFiles() + "/" + file + ".onnx");
    ASSERT_TRUE(model);
    auto graph = bind(*model, 1, 4, 1);
    ASSERT_TRUE(graph);
    OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
    auto entry = raiseToEff(*graph, *module, entryOptions(prefill, 1, 4, 1));
    ASSERT_TRUE(succeeded(entry));
    // Weights that are shared or not differ between files; what is computed
    // does not.
    auto ops = histogram(*entry);
    ops.erase("eff.use");
    if (first.empty())
      first = ops;
    EXPECT_EQ(ops, first) << file;
  }
  EXPECT_EQ(first["eff.attention"], 2);
  EXPECT_EQ(first["eff.linear"], 15);
  EXPECT_EQ(first["eff.rms_norm"], 5);
  EXPECT_EQ(first["eff.rope"], 4);
}
