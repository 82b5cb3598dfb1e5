//===- CApiTest.cpp - running a model from C ------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Toy.h"

#include "effrt/model.h"

#include <cstdlib>
#include <cstring>
#include <thread>

using namespace effrt;
using namespace effrt::test;

namespace {

class CApi : public ::testing::Test {
protected:
  void SetUp() override {
    path = makeToy(dir, both());
    file = eff_open(path.c_str());
    ASSERT_TRUE(file) << eff_last_error();
    eff_session_options options = {};
    options.struct_bytes = sizeof options;
    options.threads = 2;
    options.sequences = 2;
    session = eff_session_create(file, &options);
    ASSERT_TRUE(session) << eff_last_error();
  }
  void TearDown() override {
    eff_session_destroy(session);
    eff_close(file);
  }
  static std::vector<float> row(const float *logits, size_t index = 0) {
    return {logits + index * TOY_VOCAB, logits + (index + 1) * TOY_VOCAB};
  }
  TempDir dir;
  std::string path;
  eff_file *file = nullptr;
  eff_session *session = nullptr;
};

TEST_F(CApi, FacesOfAFile) {
  EXPECT_EQ(eff_vocab(file), TOY_VOCAB);
  EXPECT_EQ(eff_max_length(file), TOY_CAPACITY);
  EXPECT_EQ(eff_manifest(file), toyManifest(both()));
  EXPECT_STREQ(eff_version(), "0.1.0");
}

TEST_F(CApi, Text) {
  int32_t ids[8];
  size_t count = 0, bytes = 0;
  ASSERT_EQ(eff_tokenize(file, "hi.", 3, 1, ids, 8, &count), 0);
  ASSERT_EQ(count, 3u);
  EXPECT_EQ(ids[0], 7);
  EXPECT_EQ(ids[1], 8);
  EXPECT_EQ(ids[2], 27);
  // Too little room: what fits, and how much there is.
  ids[1] = -5;
  ASSERT_EQ(eff_tokenize(file, "hi.", 3, 1, ids, 1, &count), 0);
  EXPECT_EQ(count, 3u);
  EXPECT_EQ(ids[1], -5);
  char text[8];
  ids[1] = 8;
  ASSERT_EQ(eff_detokenize(file, ids, 2, text, sizeof text, &bytes), 0);
  EXPECT_STREQ(text, "hi");
  ASSERT_EQ(eff_detokenize(file, ids, 2, text, 2, &bytes), 0);
  EXPECT_STREQ(text, "h");
  EXPECT_EQ(bytes, 2u);
}

int collect(void *user, const char *text, size_t bytes) {
  static_cast<std::string *>(user)->append(text, bytes);
  return 0;
}

TEST_F(CApi, Generates) {
  std::string text, again;
  eff_generate_result result;
  eff_generate_options options;
  eff_generate_defaults(&options);
  options.max_tokens = 6;
  options.ignore_eos = 1;
  ASSERT_EQ(eff_generate(session, "abc", &options, collect, &text, &result), 0)
      << eff_last_error();
  EXPECT_EQ(result.finish, EFF_FINISH_LENGTH);
  EXPECT_EQ(result.generated_tokens, 6u);
  EXPECT_EQ(result.prompt_tokens, 3u);
  EXPECT_FALSE(text.empty());
  const char *stop = "zzzz";
  options.stops = &stop;
  options.stop_count = 1;
  options.sequence = 1;
  ASSERT_EQ(eff_generate(session, "abc", &options, collect, &again, nullptr),
            0);
  EXPECT_EQ(again, text);
  // An older caller whose options end early gets the defaults for the rest.
  options.struct_bytes = offsetof(eff_generate_options, temperature);
  options.temperature = 1000;
  options.stops = nullptr;
  options.stop_count = 99;
  again.clear();
  options.max_tokens = 1;
  ASSERT_EQ(eff_generate(session, "abc", &options, collect, &again, nullptr),
            0);
  EXPECT_EQ(again, text.substr(0, again.size()));
}

TEST_F(CApi, TokensAndSnapshots) {
  const int32_t ids[] = {1, 2, 3};
  const float *logits = nullptr;
  ASSERT_EQ(eff_prefill(session, 0, ids, 3, &logits), 0) << eff_last_error();
  EXPECT_EQ(row(logits), expectedLogits(both(), {1, 2, 3}));
  EXPECT_EQ(eff_length(session, 0), 3);
  eff_snapshot *saved = eff_snapshot_take(session, 0, 0);
  ASSERT_TRUE(saved);
  ASSERT_EQ(eff_copy(session, 0, 1), 0);
  const int32_t sequences[] = {0, 1}, next[] = {4, 5};
  ASSERT_EQ(eff_decode(session, sequences, next, 2, &logits), 0);
  EXPECT_EQ(row(logits, 0), expectedLogits(both(), {1, 2, 3, 4}));
  EXPECT_EQ(row(logits, 1), expectedLogits(both(), {1, 2, 3, 5}));
  ASSERT_EQ(eff_snapshot_restore(session, 0, saved), 0);
  eff_snapshot_free(saved);
  std::vector<float> all(2 * TOY_VOCAB);
  const int32_t two[] = {6, 7};
  ASSERT_EQ(eff_score(session, 0, two, 2, all.data()), 0);
  EXPECT_EQ(row(all.data(), 0), expectedLogits(both(), {1, 2, 3, 6}));
  EXPECT_EQ(row(all.data(), 1), expectedLogits(both(), {1, 2, 3, 6, 7}));
  EXPECT_EQ(eff_truncate(session, 0, 2), 610);
  EXPECT_EQ(eff_truncate(session, 0, 0), 0);
  EXPECT_EQ(eff_reset(session, 1), 0);
  EXPECT_EQ(eff_length(session, 1), 0);
  EXPECT_EQ(eff_length(session, 2), -1);
}

TEST_F(CApi, Errors) {
  EXPECT_EQ(eff_open((dir / "missing").c_str()), nullptr);
  EXPECT_EQ(eff_last_code(), 101);
  EXPECT_NE(std::strstr(eff_last_error(), "EFF0101"), nullptr);
  EXPECT_EQ(eff_open(nullptr), nullptr);
  const int32_t bad[] = {99};
  EXPECT_EQ(eff_prefill(session, 0, bad, 1, nullptr), 606);
  const int32_t negative[] = {-1};
  EXPECT_EQ(eff_prefill(session, 0, negative, 1, nullptr), 606);
  EXPECT_NE(std::strstr(eff_last_error(), "-1"), nullptr);
  EXPECT_EQ(eff_prefill(session, 0, nullptr, 1, nullptr), 607);
  EXPECT_EQ(eff_generate(session, nullptr, nullptr, nullptr, nullptr, nullptr),
            607);
  EXPECT_EQ(eff_snapshot_take(session, 7, 0), nullptr);
  EXPECT_EQ(eff_last_code(), 610);
  EXPECT_EQ(eff_forward(session, nullptr, nullptr, 0, nullptr, 0), 607);
  // Success clears; other threads have errors of their own.
  std::thread([] { EXPECT_EQ(eff_last_code(), 0); }).join();
  EXPECT_EQ(eff_reset(session, 0), 0);
  EXPECT_STREQ(eff_last_error(), "");
}

TEST_F(CApi, Interrupt) {
  const int32_t ids[] = {1, 2, 3};
  eff_interrupt(session);
  EXPECT_EQ(eff_prefill(session, 0, ids, 3, nullptr), 611);
  eff_resume(session);
  EXPECT_EQ(eff_prefill(session, 0, ids, 3, nullptr), 610);
  EXPECT_EQ(eff_reset(session, 0), 0);
  EXPECT_EQ(eff_prefill(session, 0, ids, 3, nullptr), 0);
}

TEST_F(CApi, Tensors) {
  std::string other = makeToy(dir, tensors(), "tensors.eff");
  eff_file *tensorFile = eff_open(other.c_str());
  ASSERT_TRUE(tensorFile);
  eff_session *s = eff_session_create(tensorFile, nullptr);
  ASSERT_TRUE(s);
  eff_close(tensorFile); // the session keeps what it needs
  float x[8] = {1, 1, 1, 1, 1, 1, 1, 1}, factor = 0, y[8];
  eff_tensor in[] = {{"x", x, 32}, {"factor", &factor, 4}}, out = {"y", y, 32};
  ASSERT_EQ(eff_forward(s, nullptr, in, 2, &out, 1), 0) << eff_last_error();
  EXPECT_EQ(std::memcmp(y, toyWeights().data(), 32), 0);
  EXPECT_EQ(eff_generate(s, "a", nullptr, nullptr, nullptr, nullptr), 702);
  eff_session_destroy(s);
}

TEST_F(CApi, ExampleRuns) {
  std::string command = std::string(GENERATE_EXAMPLE) + " " + path + " abc > " +
                        (dir / "out") + " 2> " + (dir / "err");
  EXPECT_EQ(std::system(command.c_str()), 0) << readFile(dir / "err");
  EXPECT_NE(readFile(dir / "out").find(" tokens in "), std::string::npos)
      << readFile(dir / "out");
  command = std::string(GENERATE_EXAMPLE) + " " + (dir / "missing") +
            " abc 2> " + (dir / "err");
  EXPECT_NE(std::system(command.c_str()), 0);
  EXPECT_NE(readFile(dir / "err").find("EFF0101"), std::string::npos);
}

} // namespace
