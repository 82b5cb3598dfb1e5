//===- bpe.cpp - byte-pair encoding of one word ---------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "bpe.h"

#include "utf8.h"

#include <algorithm>
#include <cstdio>

namespace effrt {

//===----------------------------------------------------------------------===//
// MergeTable
//===----------------------------------------------------------------------===//

void MergeTable::reserve(size_t merges) {
  size_t size = 16;
  while (size < 2 * merges)
    size *= 2;
  slots_.assign(size, Slot{kEmpty, {}});
  mask_ = size - 1;
}

size_t MergeTable::slotOf(uint64_t pair) const {
  // The finalizer of SplitMix64.
  uint64_t h = pair;
  h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9u;
  h = (h ^ (h >> 27)) * 0x94D049BB133111EBu;
  size_t slot = static_cast<size_t>(h ^ (h >> 31)) & mask_;
  while (slots_[slot].pair != kEmpty && slots_[slot].pair != pair)
    slot = (slot + 1) & mask_;
  return slot;
}

void MergeTable::insert(TokenId left, TokenId right, Merge merge) {
  uint64_t pair = static_cast<uint64_t>(left) << 32 | right;
  slots_[slotOf(pair)] = {pair, merge};
}

const MergeTable::Merge *MergeTable::find(TokenId left, TokenId right) const {
  uint64_t pair = static_cast<uint64_t>(left) << 32 | right;
  const Slot &slot = slots_[slotOf(pair)];
  return slot.pair == pair ? &slot.merge : nullptr;
}

//===----------------------------------------------------------------------===//
// Reading the model
//===----------------------------------------------------------------------===//

namespace {

/// Ids may have gaps, but a table by id must not be much larger than the file.
constexpr uint64_t kMaxId = 1 << 22;

Result<std::string> optionalText(const JsonRef &json) {
  if (json.isNull())
    return std::string();
  return json.text();
}

} // namespace

Result<Bpe> Bpe::fromJson(const JsonRef &json, const ModelTables &tables) {
  if (Status s = json.isObject(); !s)
    return s;
  // Old files leave the type out; only BPE has merges.
  if (JsonRef type = json.get("type"); !type.isNull()) {
    Result<std::string> name = type.text();
    if (!name)
      return name.takeError();
    if (*name != "BPE")
      return type.unsupported("a " + *name + " model");
  } else if (json.get("merges").isNull()) {
    return type.fault("the model has neither a type nor merges");
  }
  if (const Json &dropout = json.get("dropout").value();
      !dropout.is_null() && !(dropout.is_number() && dropout == 0))
    return json.get("dropout").unsupported("dropout of merges");

  Bpe bpe;
  for (auto [key, flag] : {std::pair("fuse_unk", &bpe.fuseUnknown_),
                           std::pair("byte_fallback", &bpe.byteFallback_),
                           std::pair("ignore_merges", &bpe.ignoreMerges_)}) {
    Result<bool> value = json.get(key).flagOr(false);
    if (!value)
      return value.takeError();
    *flag = *value;
  }
  for (auto [key, text] : {std::pair("continuing_subword_prefix", &bpe.prefix_),
                           std::pair("end_of_word_suffix", &bpe.suffix_)}) {
    Result<std::string> value = optionalText(json.get(key));
    if (!value)
      return value.takeError();
    *text = value.take();
  }
  if (Status s = bpe.readVocab(json.get("vocab"), tables); !s)
    return s;
  if (JsonRef unknown = json.get("unk_token"); !unknown.isNull()) {
    Result<std::string> name = unknown.text();
    if (!name)
      return name.takeError();
    bpe.unknown_ = bpe.find(*name);
    if (!bpe.unknown_)
      return unknown.fault("\"" + *name + "\" is not in the vocabulary");
  }
  if (Status s = bpe.readMerges(json.get("merges"), tables); !s)
    return s;
  bpe.indexChars();
  return bpe;
}

Status Bpe::readVocab(const JsonRef &json, const ModelTables &tables) {
  if (Status s = json.isObject(); !s)
    return s;
  uint64_t end = 0, bytes = 0;
  for (const ModelTables::Token &token : tables.vocab) {
    if (token.id >= kMaxId)
      return json.fault("the id of \"" + std::string(tables.view(token.text)) +
                        "\" is not below " + std::to_string(kMaxId));
    end = std::max(end, token.id + 1);
    bytes += token.text.length;
  }
  if (bytes > UINT32_MAX)
    return json.fault("the tokens are longer than 4 GiB together");
  pool_.reserve(bytes); // so that no view into it moves
  spans_.assign(end, Span{});
  std::vector<bool> taken(end);
  ids_.reserve(tables.vocab.size());
  for (const ModelTables::Token &token : tables.vocab) {
    std::string_view text = tables.view(token.text);
    auto id = static_cast<TokenId>(token.id);
    if (taken[id])
      return json.fault("two tokens have the id " + std::to_string(id) +
                        ": \"" + std::string(this->token(id)) + "\" and \"" +
                        std::string(text) + '"');
    taken[id] = true;
    spans_[id] = {static_cast<uint32_t>(pool_.size()),
                  static_cast<uint32_t>(text.size())};
    pool_.insert(pool_.end(), text.begin(), text.end());
    if (!ids_.emplace(this->token(id), id).second)
      return json.fault("the token \"" + std::string(text) + "\" comes twice");
  }
  return Status::success();
}

Status Bpe::readMerges(const JsonRef &json, const ModelTables &tables) {
  if (Status s = json.isArray(); !s)
    return s;
  merges_.reserve(tables.merges.size());
  std::string joined;
  for (const ModelTables::Merge &merge : tables.merges) {
    auto missing = [&](std::string_view token) {
      return json.at(merge.rank)
          .fault('"' + std::string(token) + "\" is not in the vocabulary");
    };
    std::string_view left = tables.view(merge.left);
    std::string_view right = tables.view(merge.right);
    std::optional<TokenId> leftId = find(left), rightId = find(right);
    if (!leftId)
      return missing(left);
    if (!rightId)
      return missing(right);
    if (right.size() < prefix_.size())
      return json.at(merge.rank)
          .fault("the second token is shorter than the "
                 "continuing_subword_prefix");
    joined = left;
    joined += right.substr(prefix_.size());
    std::optional<TokenId> id = find(joined);
    if (!id)
      return missing(joined);
    merges_.insert(*leftId, *rightId, {merge.rank, *id});
  }
  return Status::success();
}

void Bpe::indexChars() {
  charIds_.assign(kCharIds, kNone);
  std::string text;
  for (uint32_t code = 0; code < kCharIds; ++code) {
    text.clear();
    utf8::append(text, code);
    if (auto id = find(text))
      charIds_[code] = *id;
  }
  if (!byteFallback_)
    return;
  byteIds_.assign(256, kNone);
  for (unsigned byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof(name), "<0x%02X>", byte);
    if (auto id = find(name))
      byteIds_[byte] = *id;
  }
}

std::optional<TokenId> Bpe::find(std::string_view token) const {
  auto it = ids_.find(token);
  if (it == ids_.end())
    return std::nullopt;
  return it->second;
}

std::string_view Bpe::token(TokenId id) const {
  if (id >= spans_.size())
    return {};
  return {pool_.data() + spans_[id].begin, spans_[id].length};
}

//===----------------------------------------------------------------------===//
// Encoding
//===----------------------------------------------------------------------===//

bool Bpe::fallBackToBytes(std::string_view symbol,
                          std::vector<TokenId> &symbols) const {
  if (!byteFallback_)
    return false;
  for (char c : symbol)
    if (byteIds_[static_cast<uint8_t>(c)] == kNone)
      return false;
  for (char c : symbol)
    symbols.push_back(byteIds_[static_cast<uint8_t>(c)]);
  return true;
}

void Bpe::split(std::string_view word, std::vector<TokenId> &symbols) const {
  bool affixes = !prefix_.empty() || !suffix_.empty();
  bool pendingUnknown = false;
  std::string affixed;
  for (size_t i = 0; i < word.size();) {
    utf8::Char c = utf8::readValid(word.data() + i);
    std::string_view symbol = word.substr(i, c.length);
    bool isFirst = i == 0;
    i += c.length;
    TokenId id = kNone;
    if (affixes) {
      affixed = isFirst ? std::string() : prefix_;
      affixed += symbol;
      if (i == word.size())
        affixed += suffix_;
      symbol = affixed;
    }
    if (!affixes && c.code < kCharIds)
      id = charIds_[c.code];
    else if (auto found = find(symbol))
      id = *found;

    if (id != kNone) {
      if (pendingUnknown)
        symbols.push_back(*unknown_);
      pendingUnknown = false;
      symbols.push_back(id);
    } else if (!fallBackToBytes(symbol, symbols) && unknown_) {
      // A run of unknown characters waits for its end, to be one if fused. As
      // in the reference, bytes do not end it.
      if (pendingUnknown && !fuseUnknown_)
        symbols.push_back(*unknown_);
      pendingUnknown = true;
    }
    // Without an unknown token such a character is left out.
  }
  if (pendingUnknown)
    symbols.push_back(*unknown_);
}

void Bpe::encode(std::string_view word, Scratch &scratch,
                 std::vector<TokenId> &out) const {
  if (word.empty())
    return;
  if (ignoreMerges_)
    if (auto whole = find(word)) {
      out.push_back(*whole);
      return;
    }
  constexpr uint32_t kEnd = UINT32_MAX;
  auto &ids = scratch.ids_;
  auto &symbols = scratch.symbols_;
  auto &heap = scratch.heap_;
  ids.clear();
  split(word, ids);
  if (ids.size() < 2) {
    out.insert(out.end(), ids.begin(), ids.end());
    return;
  }
  symbols.clear();
  heap.clear();
  auto count = static_cast<uint32_t>(ids.size());
  for (uint32_t i = 0; i < count; ++i)
    symbols.push_back(
        {ids[i], i ? i - 1 : kEnd, i + 1 < count ? i + 1 : kEnd, false});
  for (uint32_t i = 0; i + 1 < count; ++i)
    if (auto *merge = merges_.find(ids[i], ids[i + 1]))
      heap.push_back({merge->rank, i, merge->id});
  std::make_heap(heap.begin(), heap.end());

  auto consider = [&](uint32_t left, uint32_t right) {
    if (auto *merge = merges_.find(symbols[left].id, symbols[right].id)) {
      heap.push_back({merge->rank, left, merge->id});
      std::push_heap(heap.begin(), heap.end());
    }
  };
  while (!heap.empty()) {
    Scratch::Candidate best = heap.front();
    std::pop_heap(heap.begin(), heap.end());
    heap.pop_back();
    auto &left = symbols[best.position];
    if (left.merged || left.next == kEnd)
      continue;
    auto &right = symbols[left.next];
    // The pair may have changed since it was queued.
    auto *merge = merges_.find(left.id, right.id);
    if (!merge || merge->id != best.id)
      continue;
    left.id = best.id;
    left.next = right.next;
    right.merged = true;
    if (left.next != kEnd)
      symbols[left.next].previous = best.position;
    if (left.previous != kEnd)
      consider(left.previous, best.position);
    if (left.next != kEnd)
      consider(best.position, left.next);
  }
  for (uint32_t i = 0; i != kEnd; i = symbols[i].next)
    out.push_back(symbols[i].id);
}

} // namespace effrt
