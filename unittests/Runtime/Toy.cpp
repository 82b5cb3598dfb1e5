//===- Toy.cpp - hand-made model files for tests --------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Toy.h"

#include "effrt/elf_image.h"

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace effrt::test {

TempDir::TempDir() {
  std::string pattern = ::testing::TempDir() + "/effrt-test-XXXXXX";
  path_ = mkdtemp(pattern.data()) ? pattern : ".";
}

TempDir::~TempDir() {
  std::error_code ignored;
  if (path_ != ".")
    std::filesystem::remove_all(path_, ignored);
}

std::string readFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

void writeFile(const std::string &path, const std::string &bytes) {
  // Some file systems write a file to disk at once when it was cut to nothing
  // before; a new one may wait.
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), std::streamsize(bytes.size()));
  ASSERT_TRUE(file.good()) << path;
}

static std::string entryJson(const std::string &name, const std::string &kind,
                             int batch, int tokens) {
  std::string b = std::to_string(batch), t = std::to_string(tokens);
  return R"({"name":")" + name + R"(","kind":")" + kind + R"(","batch":)" + b +
         R"(,"tokens":)" + t + R"(,"arena_bytes":)" +
         std::to_string(TOY_ARENA) +
         R"(,"flops":40,"integer_ops":0,"bytes":400,"inputs":[{"name":"ids","dtype":"i32","shape":[)" +
         b + "," + t +
         R"(]}],"outputs":[{"name":"logits","dtype":"f32","shape":[)" + b +
         ",32]}]}";
}

/// One letter for each id; the last six are other characters.
static std::string tokenizerJson() {
  std::string text = R"({"version":"1.0","added_tokens":[],"normalizer":null,)"
                     R"("pre_tokenizer":null,"post_processor":null,)"
                     R"("decoder":{"type":"Fuse"},)"
                     R"("model":{"type":"BPE","merges":[],"vocab":{)";
  const char *const others[] = {" ", ".", ",", "!", "é", "日"};
  for (int i = 0; i < TOY_VOCAB; ++i)
    text += (i ? ",\"" : "\"") +
            (i < 26 ? std::string(1, char('a' + i)) : others[i - 26]) +
            "\":" + std::to_string(i);
  return text + "}}}";
}

std::string toyManifest(const ToyKind &kind) {
  std::string text = R"({"format":1,"effc":"0.1.0","model":{"kind":")";
  text += kind.forward ? "generic" : "causal_lm";
  text += R"(","arch":"toy","name":"toy","parameters":64,"vocab":)" +
          std::to_string(kind.forward ? 0 : TOY_VOCAB) + R"(,"max_length":)" +
          std::to_string(kind.forward ? 0 : TOY_CAPACITY) +
          R"(,"config":{"a":1}},"entries":[)";
  if (kind.forward)
    text += R"({"name":"forward_b1","kind":"forward","batch":1,"tokens":1,)"
            R"("inputs":[{"name":"x","dtype":"f32","shape":[1,8]},)"
            R"({"name":"factor","dtype":"f32","shape":[]}],)"
            R"("outputs":[{"name":"y","dtype":"f32","shape":[1,8]}]})";
  else
    text += entryJson("decode_b1", "decode", 1, 1) + "," +
            entryJson("decode_b4", "decode", 4, 1) + "," +
            entryJson("prefill_b1_t4", "prefill", 1, 4) + "," +
            entryJson("prefill_b1_t16", "prefill", 1, 16) + "," +
            entryJson("prefill_b4_t4", "prefill", 4, 4);
  text += R"(],"states":[)";
  if (kind.cache)
    text += R"({"name":"keys","kind":"cache","shape":[2,64,2],"bytes":1024,)"
            R"("input":"past.keys","output":"present.keys"})";
  if (kind.cache && kind.recurrent)
    text += ",";
  if (kind.recurrent)
    text += R"({"name":"memory","kind":"recurrent","shape":[5],"bytes":20})";
  text += R"(],"kernels":["embed",{"name":"project","family":"linear"}],)"
          R"("weights":[{"name":"w","offset":0,"bytes":256,"shape":[2,32],)"
          R"("format":"f32"}],"tokenizer":)";
  text += kind.forward ? "null" : tokenizerJson();
  text += R"(,"chat_template":null,"generation":{"bos":null,"eos":[31]},)"
          R"("recipe":{"quant":"none"},"source":{"file":"toy.onnx"},)"
          R"("targets":[{"name":"toy","features":[]}],"unknown":[1,{"x":2}]})";
  return text;
}

static float weight(int index) {
  // Fractions of eight: products and sums of the toy stay exact for a while.
  return float((index * 7 + 3) % 17 - 8) / 8;
}

std::string toyWeights() {
  std::string bytes(2 * TOY_VOCAB * sizeof(float), '\0');
  for (int i = 0; i < 2 * TOY_VOCAB; ++i) {
    float value = weight(i);
    std::memcpy(bytes.data() + size_t(i) * sizeof value, &value, sizeof value);
  }
  return bytes;
}

std::string makeToy(const TempDir &dir, const ToyKind &kind,
                    const std::string &name) {
  std::string path = dir / name;
  writeFile(path, readFile(std::string(TOY_CODE) + "/" + kind.code + ".so"));
  std::string weights = toyWeights();
  while (weights.size() < kind.weightBytes)
    weights += char(weights.size() * 31);
  Status status =
      finishModel(path, toyManifest(kind),
                  NewSection::text(EFF_SECTION_WEIGHTS, std::move(weights)));
  EXPECT_TRUE(status.ok()) << (status ? "" : status.error().format());
  return path;
}

std::shared_ptr<const Model> openToy(const TempDir &dir, const ToyKind &kind) {
  Result<std::shared_ptr<const Model>> model = Model::open(makeToy(dir, kind));
  EXPECT_TRUE(model.ok()) << (model ? "" : model.error().format());
  return model ? model.take() : nullptr;
}

std::unique_ptr<Engine> makeEngine(std::shared_ptr<const Model> model,
                                   int threads, int sequences) {
  EngineOptions options;
  options.threads = threads;
  options.sequences = sequences;
  Result<std::unique_ptr<Engine>> engine =
      Engine::create(std::move(model), options);
  EXPECT_TRUE(engine.ok()) << (engine ? "" : engine.error().format());
  return engine ? engine.take() : nullptr;
}

std::vector<float> expectedLogits(const ToyKind &kind,
                                  const std::vector<TokenId> &tokens) {
  float a = 0, h = 0;
  for (int head = 0; head < TOY_HEADS; ++head)
    for (size_t j = 0; j < tokens.size(); ++j) {
      float x = float(tokens[j]) * 0.25f + 1.0f;
      a += float(j + 1) * x * (x * float(head + 1));
    }
  for (TokenId token : tokens)
    h = h * 0.5f + (float(token) * 0.25f + 1.0f);
  std::vector<float> logits(TOY_VOCAB);
  for (int v = 0; v < TOY_VOCAB; ++v) {
    float sum = 0;
    if (kind.cache)
      sum += a * weight(v);
    if (kind.recurrent)
      sum += h * weight(TOY_VOCAB + v);
    logits[size_t(v)] = sum;
  }
  return logits;
}

std::vector<float> logitsOf(const Engine &engine, const float *logits,
                            size_t row) {
  auto vocab = size_t(engine.vocab());
  return {logits + row * vocab, logits + (row + 1) * vocab};
}

std::vector<TokenId> someTokens(size_t count, unsigned seed) {
  std::vector<TokenId> tokens;
  for (size_t i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    tokens.push_back((seed >> 16) % TOY_VOCAB);
  }
  return tokens;
}

} // namespace effrt::test
