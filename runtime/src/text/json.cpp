//===- json.cpp - checked access to a parsed tokenizer.json ---------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "json.h"

namespace effrt {

namespace {

constexpr size_t kMaxDepth = 64; // real files stay below 10

const Json &nullJson() {
  static const Json null;
  return null;
}

/// The nesting of brackets outside strings. Exact for valid JSON, and never
/// less than what a parser would descend to in invalid JSON.
size_t nesting(std::string_view text) {
  size_t depth = 0, deepest = 0;
  bool inString = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (inString) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        inString = false;
    } else if (c == '"') {
      inString = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return deepest;
}

} // namespace

JsonRef JsonRef::get(std::string_view key) const {
  std::string path = path_.empty() ? std::string(key) : path_ + '.';
  if (!path_.empty())
    path += key;
  if (value_->is_object()) {
    auto it = value_->find(std::string(key));
    if (it != value_->end())
      return JsonRef(*it, std::move(path));
  }
  return JsonRef(nullJson(), std::move(path));
}

JsonRef JsonRef::at(size_t index) const {
  std::string path = path_ + '[' + std::to_string(index) + ']';
  if (value_->is_array() && index < value_->size())
    return JsonRef((*value_)[index], std::move(path));
  return JsonRef(nullJson(), std::move(path));
}

Result<std::string> JsonRef::text() const {
  if (auto *s = value_->get_ptr<const std::string *>())
    return *s;
  return wrongType("a string");
}

Result<uint32_t> JsonRef::number() const {
  if (auto *n = value_->get_ptr<const Json::number_unsigned_t *>())
    if (*n <= UINT32_MAX)
      return static_cast<uint32_t>(*n);
  return wrongType("a whole number below 2^32");
}

Result<bool> JsonRef::flagOr(bool fallback) const {
  if (value_->is_null())
    return fallback;
  if (auto *b = value_->get_ptr<const bool *>())
    return *b;
  return wrongType("true or false");
}

Status JsonRef::isArray() const {
  if (value_->is_array())
    return Status::success();
  return wrongType("a list");
}

Status JsonRef::isObject() const {
  if (value_->is_object())
    return Status::success();
  return wrongType("an object");
}

Error JsonRef::wrongType(std::string_view what) const {
  std::string found = value_->is_null() ? "nothing" : value_->type_name();
  return fault("expected " + std::string(what) + ", found " + found);
}

Error JsonRef::fault(std::string why) const {
  return makeError(
      codes::badTokenizer, "the tokenizer file is inconsistent",
      path_.empty() ? "tokenizer.json" : "tokenizer.json: " + path_,
      std::move(why), "write the file again with the tokenizers library");
}

Error JsonRef::unsupported(std::string what) const {
  return makeError(
      codes::badTokenizer,
      "the tokenizer uses " + std::move(what) + ", which is not supported",
      path_.empty() ? "tokenizer.json" : "tokenizer.json: " + path_,
      "only BPE tokenizers and the parts around them that decoder-only "
      "language models use are implemented",
      "pass token ids instead of text");
}

Result<Json> parseJson(std::string_view text) {
  auto bad = [](std::string why) {
    return makeError(codes::badTokenizer, "the tokenizer file is not readable",
                     "tokenizer.json", std::move(why),
                     "check that the file is complete");
  };
  if (nesting(text) > kMaxDepth)
    return bad("it is nested more than " + std::to_string(kMaxDepth) +
               " levels deep");
  // Without exceptions the library gives no position; a second, accepting-only
  // pass would not either. The usual causes are named instead.
  Json json = Json::parse(text.begin(), text.end(), nullptr,
                          /*allow_exceptions=*/false);
  if (json.is_discarded())
    return bad(text.empty() ? "it is empty"
                            : "it is not valid JSON, or not valid UTF-8, or it "
                              "was cut off");
  if (!json.is_object())
    return bad("it holds no JSON object");
  return json;
}

} // namespace effrt
