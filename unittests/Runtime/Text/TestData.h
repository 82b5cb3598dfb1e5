//===- TestData.h - where the tests find their files ------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_UNITTESTS_RUNTIME_TEXT_TESTDATA_H
#define EFFC_UNITTESTS_RUNTIME_TEXT_TESTDATA_H

#include "effrt/text/tokenizer.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

namespace effrt::test {

inline std::optional<std::string> readFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// A file of the repository's own; it must be there.
inline std::string ownFile(const std::string &name) {
  auto text = readFile(std::string(EFFRT_TEXT_TEST_FILES) + '/' + name);
  EXPECT_TRUE(text) << "missing " << name;
  return text.value_or("");
}

/// The folder of test data that is not in the repository.
inline std::string outsideData() {
  const char *set = std::getenv("EFFC_TEST_DATA");
  return set ? set : EFFC_TEST_DATA_DEFAULT;
}

inline Tokenizer load(const std::string &json) {
  auto tokenizer = Tokenizer::fromJson(json);
  if (!tokenizer) {
    ADD_FAILURE() << tokenizer.error().format();
    std::abort();
  }
  return tokenizer.take();
}

inline std::vector<TokenId> encode(const Tokenizer &tokenizer,
                                   std::string_view text,
                                   const EncodeOptions &options = {}) {
  auto ids = tokenizer.encode(text, options);
  EXPECT_TRUE(ids) << ids.error().format();
  return ids ? ids.take() : std::vector<TokenId>();
}

/// A byte-level tokenizer with the given merges, its other parts as in `extra`
/// (a JSON object that is merged into the file). Bytes have their own ids.
inline nlohmann::json byteLevelFile(const std::vector<std::string> &merges,
                                    const nlohmann::json &extra = {}) {
  nlohmann::json vocab;
  unsigned next = 0x100;
  auto utf8 = [](unsigned code) {
    if (code < 0x80)
      return std::string(1, static_cast<char>(code));
    return std::string{static_cast<char>(0xC0 | code >> 6),
                       static_cast<char>(0x80 | (code & 0x3F))};
  };
  for (unsigned byte = 0; byte < 256; ++byte) {
    bool printable = (byte >= 0x21 && byte <= 0x7E) ||
                     (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    vocab[utf8(printable ? byte : next++)] = byte;
  }
  for (const std::string &merge : merges) {
    std::string joined = merge;
    joined.erase(joined.find(' '), 1);
    vocab[joined] = vocab.size();
  }
  nlohmann::json level = {{"type", "ByteLevel"},
                          {"add_prefix_space", false},
                          {"trim_offsets", true},
                          {"use_regex", true}};
  nlohmann::json file = {
      {"added_tokens", nlohmann::json::array()},
      {"normalizer", nullptr},
      {"pre_tokenizer", level},
      {"post_processor", nullptr},
      {"decoder", level},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}}}};
  if (extra.is_object())
    file.merge_patch(extra);
  return file;
}

} // namespace effrt::test

#endif // EFFC_UNITTESTS_RUNTIME_TEXT_TESTDATA_H
