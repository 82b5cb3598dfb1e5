//===- added_tokens.cpp - tokens that are found before the model runs -----===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "added_tokens.h"

#include "utf8.h"

#include <algorithm>

namespace effrt {

namespace {

constexpr size_t kMaxContent = 1024;
constexpr TokenId kMaxId = 1 << 22;

size_t lastCharBegin(std::string_view text) {
  size_t i = text.size() - 1;
  while (i > 0 && (static_cast<uint8_t>(text[i]) & 0xC0) == 0x80)
    --i;
  return i;
}

bool endsWithWord(std::string_view text) {
  return !text.empty() &&
         utf8::isWordChar(
             utf8::readValid(text.data() + lastCharBegin(text)).code);
}

bool startsWithWord(std::string_view text) {
  return !text.empty() && utf8::isWordChar(utf8::readValid(text.data()).code);
}

/// Where the white space at the end of `text` begins.
size_t trailingSpace(std::string_view text) {
  while (!text.empty()) {
    size_t i = lastCharBegin(text);
    if (!utf8::isWhiteSpace(utf8::readValid(text.data() + i).code))
      break;
    text = text.substr(0, i);
  }
  return text.size();
}

size_t leadingSpace(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    utf8::Char c = utf8::readValid(text.data() + i);
    if (!utf8::isWhiteSpace(c.code))
      break;
    i += c.length;
  }
  return i;
}

} // namespace

//===----------------------------------------------------------------------===//
// Trie
//===----------------------------------------------------------------------===//

void Trie::insert(std::string_view text, uint32_t value) {
  if (text.empty())
    return;
  if (values_.empty())
    values_.push_back(kNoValue);
  begins_[static_cast<uint8_t>(text.front())] = true;
  uint32_t node = 0;
  for (char c : text) {
    uint64_t edge = static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(c);
    auto [it, isNew] =
        edges_.try_emplace(edge, static_cast<uint32_t>(values_.size()));
    if (isNew)
      values_.push_back(kNoValue);
    node = it->second;
  }
  if (values_[node] == kNoValue)
    values_[node] = value;
}

std::optional<Trie::Match> Trie::longestPrefix(std::string_view text) const {
  std::optional<Match> best;
  uint32_t node = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    auto it = edges_.find(static_cast<uint64_t>(node) << 8 |
                          static_cast<uint8_t>(text[i]));
    if (it == edges_.end())
      break;
    node = it->second;
    if (values_[node] != kNoValue)
      best = Match{i + 1, values_[node]};
  }
  return best;
}

//===----------------------------------------------------------------------===//
// AddedTokens
//===----------------------------------------------------------------------===//

Result<AddedTokens::Token> AddedTokens::read(const JsonRef &json,
                                             const Bpe &model) const {
  if (Status s = json.isObject(); !s)
    return s;
  Token token;
  Result<std::string> content = json.get("content").text();
  if (!content)
    return content.takeError();
  token.content = content.take();
  if (token.content.size() > kMaxContent)
    return json.fault("the token is longer than " +
                      std::to_string(kMaxContent) + " bytes");
  for (auto [key, flag] : {std::pair("special", &token.special),
                           std::pair("normalized", &token.normalized),
                           std::pair("single_word", &token.singleWord),
                           std::pair("lstrip", &token.stripLeft),
                           std::pair("rstrip", &token.stripRight)}) {
    // Where it is missing: only other than special tokens are normalized.
    bool fallback = flag == &token.normalized && !token.special;
    Result<bool> value = json.get(key).flagOr(fallback);
    if (!value)
      return value.takeError();
    *flag = *value;
  }
  // A token that the model has too keeps the model's id.
  if (std::optional<TokenId> id = model.find(token.content)) {
    token.id = *id;
    return token;
  }
  JsonRef id = json.get("id");
  Result<uint32_t> number = id.number();
  if (!number)
    return number.takeError();
  token.id = *number;
  if (token.id >= kMaxId)
    return id.fault("the id is not below " + std::to_string(kMaxId));
  if (!model.token(token.id).empty())
    return id.fault("the vocabulary gives this id to \"" +
                    std::string(model.token(token.id)) + '"');
  return token;
}

Result<AddedTokens> AddedTokens::fromJson(const JsonRef &json, const Bpe &model,
                                          const Normalizer &normalizer) {
  AddedTokens added;
  if (json.isNull())
    return added;
  if (Status s = json.isArray(); !s)
    return s;
  for (size_t i = 0; i < json.value().size(); ++i) {
    Result<Token> read = added.read(json.at(i), model);
    if (!read)
      return read.takeError();
    Token token = read.take();
    auto index = static_cast<uint32_t>(added.tokens_.size());
    if (token.content.empty() || added.byContent_.count(token.content))
      continue;
    if (!added.byId_.emplace(token.id, index).second)
      return json.at(i).fault("another added token has the same id");
    added.byContent_.emplace(token.content, index);
    std::string pattern = token.content;
    if (token.normalized)
      if (Status s = normalizer.apply(pattern); !s)
        return s;
    (token.normalized ? added.after_ : added.before_).insert(pattern, index);
    added.tokens_.push_back(std::move(token));
  }
  return added;
}

void AddedTokens::split(std::string_view text, bool normalized,
                        bool specialsAsText, std::vector<Part> &out) const {
  const Trie &trie = normalized ? after_ : before_;
  size_t done = 0; // what lies before it is in `out`
  for (size_t at = 0; !trie.isEmpty() && at < text.size();) {
    std::optional<Trie::Match> match;
    if (trie.mayBegin(text[at]))
      match = trie.longestPrefix(text.substr(at));
    if (!match) {
      ++at;
      continue;
    }
    size_t begin = at, end = at + match->length;
    at = end;
    const Token &token = tokens_[match->value];
    if (specialsAsText && token.special)
      continue;
    if (token.singleWord && (endsWithWord(text.substr(0, begin)) ||
                             startsWithWord(text.substr(end))))
      continue;
    // White space that the token before has taken is not there any more.
    if (token.stripLeft)
      begin = std::max(trailingSpace(text.substr(0, begin)), done);
    if (token.stripRight)
      end += leadingSpace(text.substr(end));
    if (done < begin)
      out.push_back({done, begin, std::nullopt});
    out.push_back({begin, end, token.id});
    done = std::max(done, end);
  }
  if (done < text.size())
    out.push_back({done, text.size(), std::nullopt});
}

std::optional<TokenId> AddedTokens::find(std::string_view content) const {
  auto it = byContent_.find(std::string(content));
  if (it == byContent_.end())
    return std::nullopt;
  return tokens_[it->second].id;
}

const std::string *AddedTokens::content(TokenId id) const {
  auto it = byId_.find(id);
  return it == byId_.end() ? nullptr : &tokens_[it->second].content;
}

bool AddedTokens::isSpecial(TokenId id) const {
  auto it = byId_.find(id);
  return it != byId_.end() && tokens_[it->second].special;
}

size_t AddedTokens::size() const {
  size_t size = 0;
  for (const Token &token : tokens_)
    size = std::max<size_t>(size, token.id + size_t{1});
  return size;
}

} // namespace effrt
