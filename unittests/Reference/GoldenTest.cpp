//===- GoldenTest.cpp - whole models against figures made elsewhere -------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
//
// examples/models/golden.json holds what Hugging Face's own model code computes
// from the checkpoints in f32: the largest logits after a prompt and 48 tokens
// of greedy text. The same must come out of the ONNX files, raised to eff and
// interpreted.
//
//===----------------------------------------------------------------------===//

#include "effc/Conversion/OnnxToEff/Raise.h"
#include "effc/Frontend/ONNX/Import.h"
#include "effc/Frontend/ONNX/Passes.h"
#include "effc/Reference/Interpreter.h"

#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include "gtest/gtest.h"

#include <algorithm>
#include <cmath>

namespace effc::reference {

namespace {
/// A model of examples/models with the entry points `decode_b1`,
/// `prefill_b1_t8` and `prefill_b2_t8`.
class GoldenTest : public testing::TestWithParam<const char *> {
protected:
  void SetUp() override {
    std::string folder = EFFC_SOURCE_DIR "/examples/models/";
    auto onnx = importOnnx(context, folder + GetParam() + ".onnx");
    ASSERT_TRUE(bool(onnx)) << llvm::toString(onnx.takeError());
    module = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
    ASSERT_TRUE(raise(**onnx, eff::EntryKind::Decode, 1, 1));
    ASSERT_TRUE(raise(**onnx, eff::EntryKind::Prefill, 1, 8));
    ASSERT_TRUE(raise(**onnx, eff::EntryKind::Prefill, 2, 8));
    ASSERT_TRUE(succeeded(mlir::verify(*module)));
    interpreter = std::make_unique<Interpreter<float>>(*module);

    auto text = llvm::MemoryBuffer::getFile(folder + "golden.json");
    ASSERT_TRUE(bool(text));
    auto parsed = llvm::json::parse((*text)->getBuffer());
    ASSERT_TRUE(bool(parsed)) << llvm::toString(parsed.takeError());
    golden = std::make_unique<llvm::json::Value>(std::move(*parsed));
    prompts = golden->getAsObject()->getObject(GetParam())->getArray("prompts");
    ASSERT_TRUE(prompts && prompts->size() == 4);
  }

  bool raise(mlir::ModuleOp onnx, eff::EntryKind kind, int64_t batch,
             int64_t tokens) {
    RaiseOptions options;
    options.kind = kind;
    options.batch = batch;
    options.tokens = tokens;
    options.maxLength = 128;
    mlir::OwningOpRef<mlir::ModuleOp> bound =
        mlir::cast<mlir::ModuleOp>(onnx->clone());
    OnnxBindPassOptions bind;
    bind.batch = batch;
    bind.tokens = tokens;
    bind.past = options.past;
    mlir::PassManager passes(&context);
    passes.addPass(createOnnxBindPass(bind));
    passes.addPass(createOnnxSimplifyPass());
    return succeeded(passes.run(*bound)) &&
           succeeded(raiseToEff(*bound, *module, options));
  }

  static std::vector<int64_t> integers(const llvm::json::Value &prompt,
                                       const char *key) {
    std::vector<int64_t> out;
    for (const llvm::json::Value &value : *prompt.getAsObject()->getArray(key))
      out.push_back(*value.getAsInteger());
    return out;
  }

  /// Runs an entry point; ids are padded with zeros. Returns the logits of each
  /// row.
  std::vector<std::vector<float>>
  run(const char *entry, int64_t tokens, std::vector<std::vector<int64_t>> ids,
      std::vector<Sequence<float> *> sequences) {
    std::vector<int64_t> padded;
    std::vector<Row<float>> rows;
    for (size_t i = 0; i < ids.size(); ++i) {
      rows.push_back({sequences[i], int64_t(ids[i].size())});
      ids[i].resize(tokens, 0);
      padded.insert(padded.end(), ids[i].begin(), ids[i].end());
    }
    int64_t batch = ids.size();
    auto outputs = interpreter->run(
        entry, {Tensor<float>::fromIntegers({batch, tokens}, padded)}, rows);
    std::vector<std::vector<float>> logits(batch, std::vector<float>(1));
    if (!outputs) {
      ADD_FAILURE() << llvm::toString(outputs.takeError());
      return logits;
    }
    int64_t vocab = outputs->front().getColumns();
    for (int64_t row = 0; row < batch; ++row) {
      auto first = outputs->front().floats.begin() + row * vocab;
      logits[row].assign(first, first + vocab);
    }
    return logits;
  }

  std::vector<float> step(Sequence<float> &sequence, int64_t id) {
    return run("decode_b1", 1, {{id}}, {&sequence})[0];
  }

  static int64_t best(const std::vector<float> &logits) {
    return std::max_element(logits.begin(), logits.end()) - logits.begin();
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::unique_ptr<Interpreter<float>> interpreter;
  std::unique_ptr<llvm::json::Value> golden;
  const llvm::json::Array *prompts = nullptr;
};
} // namespace

// Tolerance: the figures are rounded sums in another order; 1e-3 is what
// golden.json itself promises.
TEST_P(GoldenTest, LogitsAndGreedyText) {
  for (const llvm::json::Value &prompt : *prompts) {
    Sequence<float> sequence = interpreter->createSequence();
    std::vector<float> logits;
    for (int64_t id : integers(prompt, "ids"))
      logits = step(sequence, id);
    std::vector<int64_t> top = integers(prompt, "last_top_ids");
    const llvm::json::Array &expected =
        *prompt.getAsObject()->getArray("last_top_logits");
    for (size_t i = 0; i < top.size(); ++i)
      EXPECT_NEAR(logits[top[i]], *expected[i].getAsNumber(), 1e-3);
    std::vector<int64_t> greedy;
    while (greedy.size() < 48) {
      greedy.push_back(best(logits));
      logits = step(sequence, greedy.back());
    }
    EXPECT_EQ(greedy, integers(prompt, "greedy_ids"));
  }
}

// A padded chunk leaves what single steps leave, and two rows do not meet.
TEST_P(GoldenTest, PaddedChunksAndBatches) {
  std::vector<int64_t> ids = integers((*prompts)[0], "greedy_ids");
  Sequence<float> single = interpreter->createSequence();
  std::vector<std::vector<float>> steps;
  for (int64_t i = 0; i < 13; ++i)
    steps.push_back(step(single, ids[i]));
  auto near = [](const std::vector<float> &a, const std::vector<float> &b) {
    for (size_t i = 0; i < a.size(); ++i)
      ASSERT_NEAR(a[i], b[i], 1e-4);
  };
  Sequence<float> chunked = interpreter->createSequence();
  near(run("prefill_b1_t8", 8, {{ids.begin(), ids.begin() + 8}}, {&chunked})[0],
       steps[7]);
  near(run("prefill_b1_t8", 8, {{ids.begin() + 8, ids.begin() + 13}},
           {&chunked})[0],
       steps[12]);
  EXPECT_EQ(chunked.length, 13);
  near(step(chunked, ids[13]), step(single, ids[13]));

  Sequence<float> a = interpreter->createSequence(), b = a;
  auto both =
      run("prefill_b2_t8", 8,
          {{ids.begin(), ids.begin() + 3}, {ids.begin(), ids.begin() + 6}},
          {&a, &b});
  near(both[0], steps[2]);
  near(both[1], steps[5]);
  near(step(a, ids[3]), steps[3]);
  near(step(b, ids[6]), steps[6]);
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenTest,
                         testing::Values("llama-tiny", "mamba-tiny",
                                         "mamba2-tiny", "mamba2-16m"),
                         [](const auto &info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

} // namespace effc::reference
