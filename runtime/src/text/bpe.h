//===- bpe.h - byte-pair encoding of one word -------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFRT_SRC_TEXT_BPE_H
#define EFFRT_SRC_TEXT_BPE_H

#include "effrt/text/tokenizer.h"
#include "tokenizer_file.h"

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace effrt {

/// (left id, right id) -> the rank of their merge and the id it makes.
/// Open addressing with linear probing, at most half full.
class MergeTable {
public:
  struct Merge {
    uint32_t rank;
    TokenId id;
  };

  void reserve(size_t merges);
  /// A later merge of the same pair replaces an earlier one.
  void insert(TokenId left, TokenId right, Merge merge);
  const Merge *find(TokenId left, TokenId right) const;

private:
  struct Slot {
    uint64_t pair;
    Merge merge;
  };
  size_t slotOf(uint64_t pair) const;

  static constexpr uint64_t kEmpty = UINT64_MAX; // no token has id 2^32 - 1
  std::vector<Slot> slots_;
  size_t mask_ = 0;
};

class Bpe {
public:
  /// `json` is the model without what `tables` holds.
  static Result<Bpe> fromJson(const JsonRef &json, const ModelTables &tables);

  /// Buffers that words share, so that a word costs no allocation.
  class Scratch;

  /// Appends the tokens of `word`. Merges go by rank, then from left to right;
  /// time is n log n in the length of the word.
  void encode(std::string_view word, Scratch &scratch,
              std::vector<TokenId> &out) const;

  std::optional<TokenId> find(std::string_view token) const;
  /// Empty where no token has this id.
  std::string_view token(TokenId id) const;
  /// One more than the largest id.
  size_t size() const { return spans_.size(); }
  size_t count() const { return ids_.size(); }

private:
  struct Span {
    uint32_t begin = 0, length = 0;
  };

  Status readVocab(const JsonRef &json, const ModelTables &tables);
  Status readMerges(const JsonRef &json, const ModelTables &tables);
  void indexChars();
  /// The tokens that the word's characters begin as.
  void split(std::string_view word, std::vector<TokenId> &symbols) const;
  bool fallBackToBytes(std::string_view symbol,
                       std::vector<TokenId> &symbols) const;

  std::vector<char> pool_; // all tokens
  std::vector<Span> spans_;
  std::unordered_map<std::string_view, TokenId> ids_; // views into pool_
  MergeTable merges_;
  std::vector<TokenId> charIds_; // of characters below kCharIds
  std::vector<TokenId> byteIds_; // of "<0x00>" to "<0xFF>"
  std::optional<TokenId> unknown_;
  std::string prefix_; // of symbols that do not begin a word
  std::string suffix_; // of symbols that end a word
  bool fuseUnknown_ = false;
  bool byteFallback_ = false;
  bool ignoreMerges_ = false;

  static constexpr TokenId kNone = UINT32_MAX;
  static constexpr uint32_t kCharIds = 0x800;
};

class Bpe::Scratch {
  friend class Bpe;
  struct Symbol {
    TokenId id;
    uint32_t previous, next; // kEnd at either end
    bool merged;             // into the symbol before it
  };
  struct Candidate {
    uint32_t rank, position;
    TokenId id;
    /// The heap's order: the first of them is the greatest.
    bool operator<(const Candidate &other) const {
      return rank != other.rank ? rank > other.rank : position > other.position;
    }
  };
  std::vector<TokenId> ids_;
  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
};

} // namespace effrt

#endif // EFFRT_SRC_TEXT_BPE_H
