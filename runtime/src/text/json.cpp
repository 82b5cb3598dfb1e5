//===- json.cpp - checked access to a parsed tokenizer.json ---------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "json.h"

namespace effrt {

namespace {

const Json &nullJson() {
  static const Json null;
  return null;
}

} // namespace

JsonRef JsonRef::get(std::string_view key) const {
  std::string path = path_.empty() ? path_ : path_ + '.';
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

// Recursion is bounded: the file's nesting is.
Status eachComponent(
    const JsonRef &json, std::string_view list,
    const std::function<Status(const JsonRef &, const std::string &)> &add) {
  if (json.isNull())
    return Status::success();
  if (Status s = json.isObject(); !s)
    return s;
  Result<std::string> type = json.get("type").text();
  if (!type)
    return type.takeError();
  if (*type != "Sequence")
    return add(json, *type);
  JsonRef parts = json.get(list);
  if (Status s = parts.isArray(); !s)
    return s;
  for (size_t i = 0; i < parts.value().size(); ++i)
    if (Status s = eachComponent(parts.at(i), list, add); !s)
      return s;
  return Status::success();
}

} // namespace effrt
