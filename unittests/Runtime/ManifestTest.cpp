//===- ManifestTest.cpp - what a model file says of itself ----------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Toy.h"

#include "effrt/manifest.h"

using namespace effrt;
using namespace effrt::test;

namespace {

constexpr char damaged[] = "EFF0602";

TEST(Manifest, ReadsAllMembers) {
  Result<Manifest> parsed = parseManifest(toyManifest(both()));
  ASSERT_OK(parsed);
  const Manifest &m = *parsed;
  EXPECT_EQ(m.effcVersion, "0.1.0");
  EXPECT_EQ(m.kind, ModelKind::CausalLM);
  EXPECT_EQ(m.vocab, 32);
  EXPECT_EQ(m.maxLength, 64);
  EXPECT_EQ(m.parameters, 64);
  EXPECT_EQ(m.config, R"({"a":1})");
  ASSERT_EQ(m.entries.size(), 5u);
  const EntryInfo *entry = m.findEntry("prefill_b4_t4");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->kind, EFF_ENTRY_PREFILL);
  EXPECT_EQ(entry->batch, 4);
  EXPECT_EQ(entry->bytes, 400u);
  EXPECT_EQ(entry->inputs[0].bytes(), 64u);
  EXPECT_EQ(entry->inputs[0].dtype, DType::I32);
  EXPECT_FALSE(m.findEntry("prefill"));
  ASSERT_EQ(m.states.size(), 2u);
  EXPECT_EQ(m.states[0].kind, EFF_STATE_CACHE);
  EXPECT_EQ(m.states[0].input, "past.keys");
  EXPECT_EQ(m.states[1].kind, EFF_STATE_RECURRENT);
  ASSERT_EQ(m.kernels.size(), 2u);
  EXPECT_EQ(m.kernels[0].name, "embed");
  EXPECT_EQ(m.kernels[1].family, "linear");
  EXPECT_EQ(m.weights[0].format, "f32");
  EXPECT_EQ(m.bos, -1);
  EXPECT_EQ(m.eos, std::vector<int64_t>{31});
  EXPECT_EQ(m.recipe, R"({"quant":"none"})");
  EXPECT_EQ(m.tokenizer.front(), '{');
  EXPECT_EQ(m.targets[0].name, "toy");
}

TEST(Manifest, FewMembersAreNeeded) {
  Result<Manifest> parsed = parseManifest(R"( {"model" : {}} )");
  ASSERT_OK(parsed);
  EXPECT_EQ(parsed->kind, ModelKind::Generic);
  EXPECT_TRUE(parsed->tokenizer.empty());
}

TEST(Manifest, OneEndOfTextToken) {
  Result<Manifest> parsed =
      parseManifest(R"({"model":{},"generation":{"eos":7,"bos":0}})");
  ASSERT_OK(parsed);
  EXPECT_EQ(parsed->eos, std::vector<int64_t>{7});
  EXPECT_EQ(parsed->bos, 0);
}

TEST(Manifest, RefusesWhatIsWrong) {
  for (
      const char *text : {
          "",
          "[]",
          "{",
          R"({"model":{})",
          R"({"model":{}} x)",
          R"({"model":[]})",
          R"({"model":{"kind":"poem"}})",
          R"({"model":{"vocab":"many"}})",
          R"({"model":{"vocab":99999999999999999999}})",
          R"({"model":{},"entries":{}})",
          R"({"model":{},"entries":[7]})",
          R"({"model":{},"entries":[{"batch":0}]})",
          R"({"model":{},"entries":[{"batch":-1}]})",
          R"({"model":{},"entries":[{"batch":4294967297}]})",
          R"({"model":{},"entries":[{"inputs":[{"dtype":"f7"}]}]})",
          R"({"model":{},"entries":[{"inputs":[{"shape":[-1]}]}]})",
          R"({"model":{},"entries":[{"inputs":[{"shape":[4294967296,4294967296]}]}]})",
          R"({"model":{},"states":[{"kind":"liquid"}]})",
          R"({"model":{},"generation":{"eos":"end"}})",
          R"({"model":{},"effc":"\ud800"})",
      })
    EXPECT_ERROR(parseManifest(text), damaged);
  std::string deep = R"({"model":{},"x":)" + std::string(100000, '[') +
                     std::string(100000, ']') + "}";
  EXPECT_ERROR(parseManifest(deep), damaged);
}

TEST(Manifest, NamesThePlace) {
  Result<Manifest> parsed = parseManifest(
      R"({"model":{},"entries":[{},{"outputs":[{"shape":"x"}]}]})");
  ASSERT_FALSE(parsed.ok());
  EXPECT_EQ(parsed.error().where, "entries[1].outputs[0].shape");
}

TEST(Manifest, NewerFormat) {
  EXPECT_ERROR(parseManifest(R"({"format":2,"model":{}})"), "EFF0603");
}

TEST(Manifest, EveryTruncation) {
  std::string whole = toyManifest(both());
  for (size_t size = 0; size < whole.size(); size += 3)
    EXPECT_FALSE(parseManifest(whole.substr(0, size)).ok()) << size;
}

} // namespace
