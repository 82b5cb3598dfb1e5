//===- WriteModelTest.cpp - model files, whole or not at all --------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "TestModels.h"

#include "effrt/elf_image.h"
#include "effrt/loader.h"
#include "gtest/gtest.h"

#include <csignal>
#include <sys/resource.h>

using namespace effc;
using namespace effc::test;

namespace {
X86Machine parseTarget(llvm::StringRef name) {
  llvm::Expected<X86Machine> machine = X86Machine::parse(name);
  EXPECT_TRUE(static_cast<bool>(machine));
  return machine ? *machine : X86Machine::host();
}

WriteOptions makeOptions(const std::string &output) {
  WriteOptions options;
  options.targets = {X86Machine::host()};
  options.output = output;
  options.jobs = 2;
  return options;
}

/// The message of an error, with its code.
std::string message(llvm::Expected<ModelReport> report) {
  return report ? "" : llvm::toString(report.takeError());
}
} // namespace

TEST(WriteModel, SameBytesForAnyNumberOfThreads) {
  TempDir dir;
  std::string bytes[3];
  for (unsigned jobs : {1u, 2u, 4u}) {
    TestModule module(mamba2Model());
    ASSERT_TRUE(module.plan());
    WriteOptions options = makeOptions(dir.file("model.eff"));
    options.jobs = jobs;
    ASSERT_EQ(message(module.write(options)), "");
    bytes[jobs / 2] = readFile(options.output);
  }
  EXPECT_FALSE(bytes[0].empty());
  EXPECT_EQ(bytes[0], bytes[1]);
  EXPECT_EQ(bytes[0], bytes[2]);
}

TEST(WriteModel, TablesSayWhatThePlanSays) {
  TempDir dir;
  TestModule module(attentionModel());
  ASSERT_TRUE(module.plan());
  WriteOptions options = makeOptions(dir.file("model.eff"));
  options.tokenizer = R"({"version": "1.0", "order": {"b": 1, "a": 2}})";
  options.manifest["chat_template"] = "{{ messages }}";
  options.model["name"] = "tiny";
  auto report = module.write(options);
  ASSERT_TRUE(static_cast<bool>(report)) << llvm::toString(report.takeError());
  ASSERT_EQ(report->entries.size(), 4u);
  EXPECT_GT(report->codeBytes, 0u);
  EXPECT_EQ(report->fileBytes, readFile(options.output).size());

  auto model = effrt::Model::open(options.output);
  ASSERT_TRUE(model.ok()) << model.error().format();
  const effrt::Manifest &manifest = (*model)->manifest();
  EXPECT_EQ(manifest.architecture, "llama");
  EXPECT_EQ(manifest.name, "tiny");
  EXPECT_EQ(manifest.maxLength, 48);
  EXPECT_EQ(manifest.vocab, kVocab);
  EXPECT_EQ(manifest.tokenizer, options.tokenizer);
  EXPECT_EQ(manifest.chatTemplate, "{{ messages }}");
  ASSERT_EQ(manifest.states.size(), 2u);
  EXPECT_EQ(manifest.states[0].bytes, 2u * 8 * 48 * 4);
  const eff_entry *entry = (*model)->findEntry("prefill_b1_t4");
  ASSERT_NE(entry, nullptr);
  EXPECT_EQ(entry->kind, uint32_t(EFF_ENTRY_PREFILL));
  EXPECT_EQ(entry->tokens, 4);
  EXPECT_EQ(entry->input_bytes[0], 16u);
  EXPECT_EQ(entry->output_bytes[0], 4u * kVocab * 4);
  EXPECT_EQ(entry->step_count, uint32_t(report->entries[2].steps));
  uint64_t flops = 0;
  for (uint32_t i = 0; i < entry->step_count; ++i)
    flops += entry->steps[i].flops;
  EXPECT_EQ(flops, report->entries[2].flops);
  EXPECT_GT(flops, 2u * 4 * 24 * 64);
}

TEST(WriteModel, OneFileForSeveralTargets) {
  TempDir dir;
  TestModule module(mamba1Model());
  ASSERT_TRUE(module.plan());
  WriteOptions options = makeOptions(dir.file("model.eff"));
  options.targets = {parseTarget("x86-64-v4"), parseTarget("x86-64-v3"),
                     parseTarget("x86-64-v2")};
  ASSERT_EQ(message(module.write(options)), "");
  for (auto [name, features] :
       {std::pair<const char *, uint64_t>{"x86-64-v2", EFF_FEATURE_X86_64_V2},
        {"x86-64-v3", EFF_FEATURE_X86_64_V2 | EFF_FEATURE_X86_64_V3}}) {
    effrt::LoadOptions load;
    load.features = features;
    auto model = effrt::Model::open(options.output, load);
    ASSERT_TRUE(model.ok()) << model.error().format();
    EXPECT_STREQ((*model)->variant().target, name);
  }
}

TEST(WriteModel, WarnsOfValuesThatAreNotFinite) {
  TempDir dir;
  std::string text = mamba1Model();
  size_t at = text.find("eff.weight @d :");
  ASSERT_NE(at, std::string::npos);
  text.replace(at, text.find('\n', at) - at,
               "eff.weight @d : !eff.weight<32, f32> = dense<0x7FC00000> : "
               "tensor<32xf32>");
  TestModule module(text);
  ASSERT_TRUE(module.plan());
  auto report = module.write(makeOptions(dir.file("model.eff")));
  ASSERT_TRUE(static_cast<bool>(report)) << llvm::toString(report.takeError());
  ASSERT_EQ(report->warnings.size(), 1u);
  EXPECT_EQ(report->warnings[0],
            "the weight 'd' has 32 values that are not finite");
}

TEST(WriteModel, ExecutableIsRunnerAndModel) {
  TempDir dir;
  TestModule module(mamba1Model());
  ASSERT_TRUE(module.plan());
  WriteOptions options = makeOptions(dir.file("program"));
  options.runner = "/bin/true";
  ASSERT_EQ(message(module.write(options)), "");
  std::string bytes = readFile(options.output), runner = readFile("/bin/true");
  EXPECT_EQ(bytes.substr(0, runner.size()), runner);
  EXPECT_EQ(std::system(options.output.c_str()), 0);
  auto model = effrt::Model::open(options.output);
  EXPECT_TRUE(model.ok()) << (model ? "" : model.error().format());
}

TEST(WriteModel, MissingDirectoryIsRefused) {
  TempDir dir;
  TestModule module(mamba1Model());
  ASSERT_TRUE(module.plan());
  std::string why =
      message(module.write(makeOptions(dir.file("missing/model.eff"))));
  EXPECT_NE(why.find("EFF0103"), std::string::npos) << why;
  EXPECT_TRUE(dir.list().empty());
}

TEST(WriteModel, BadTokenizerLeavesNothing) {
  TempDir dir;
  TestModule module(mamba1Model());
  ASSERT_TRUE(module.plan());
  WriteOptions options = makeOptions(dir.file("model.eff"));
  options.tokenizer = "{\"model\": ";
  std::string why = message(module.write(options));
  EXPECT_NE(why.find("EFF0701"), std::string::npos) << why;
  EXPECT_TRUE(dir.list().empty());
}

TEST(WriteModel, PlanWithoutArenaIsRefused) {
  TempDir dir;
  TestModule module(
      "module attributes {eff.model = #eff.model<generic, arch = \"x\", vocab "
      "= 0, max_length = 0>} { plan.program @p entry(#eff.entry<forward, batch "
      "= 1, tokens = 1>) {} }");
  std::string why = message(module.write(makeOptions(dir.file("model.eff"))));
  EXPECT_NE(why.find("plan-memory"), std::string::npos) << why;
  EXPECT_TRUE(dir.list().empty());
}

// A limit on the size of files stands for a full disk.
TEST(WriteModel, FullDiskLeavesNothing) {
  TempDir dir;
  TestModule module(mamba1Model());
  ASSERT_TRUE(module.plan());
  rlimit old;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  // Enough for the objects and the linked code, not for the weights.
  auto whole = module.write(makeOptions(dir.file("whole.eff")));
  ASSERT_TRUE(static_cast<bool>(whole)) << llvm::toString(whole.takeError());
  rlimit small = old;
  small.rlim_cur = whole->codeBytes + 2 * 4096;
  auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  std::string why = message(module.write(makeOptions(dir.file("model.eff"))));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_NE(why.find("EFF0103"), std::string::npos) << why;
  EXPECT_EQ(dir.list(), std::vector<std::string>{"whole.eff"});
}
