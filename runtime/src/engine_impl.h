//===- engine_impl.h - the insides of an engine ---------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFRT_SRC_ENGINE_IMPL_H
#define EFFRT_SRC_ENGINE_IMPL_H

#include "effrt/engine.h"
#include "effrt/thread_pool.h"
#include "program.h"
#include "state_store.h"

#include <memory>
#include <vector>

namespace effrt {

/// Shared by a light snapshot and its sequence, which says when the rows that
/// the snapshot relies on are gone.
struct Mark {
  const void *engine;
  int sequence;
  int length;
  bool valid = true;
};

struct Snapshot::Data {
  std::shared_ptr<const Model> model;
  SnapshotKind kind;
  std::vector<TokenId> tokens;
  std::vector<uint8_t> states;
  std::shared_ptr<Mark> mark; ///< light ones only
};

struct Sequence {
  std::vector<TokenId> tokens;
  /// A run that changes it was interrupted: its states are neither old nor new.
  bool broken = false;
  std::vector<std::weak_ptr<Mark>> marks;

  int length() const { return int(tokens.size()); }
  /// Rows from `length` on may be overwritten from now on.
  void cutTo(int length);
};

struct Engine::Impl {
  /// A row of one call: `count` of the tokens that a sequence is to get.
  struct CallRow {
    int sequence = -1; ///< -1: unused
    const TokenId *tokens = nullptr;
    int count = 0;
  };

  std::shared_ptr<const Model> model;
  EngineOptions options;
  std::unique_ptr<ThreadPool> pool;
  StateStore states;
  Mapping arena;
  std::vector<Program> programs; ///< in the order of the variant's entries
  std::vector<int> batches;      ///< of the token entries, ascending
  std::vector<Sequence> sequences;
  std::vector<float> gathered; ///< logits of several calls
  EngineStats stats;
  std::function<void(const CallOutputs &)> listener;

  Status build();
  Status checkSequence(int sequence, const char *purpose,
                       bool allowBroken = false) const;
  Status checkTokens(int sequence, const TokenId *tokens, size_t count) const;
  Status checkDistinct(const std::vector<Row> &rows) const;

  /// The entry points that take `batch` rows as chunks.
  std::vector<Chunk> chunksOf(int batch) const;
  Program *find(int batch, int tokens);
  /// The batch that runs `rows` rows of up to `tokens` tokens the cheapest.
  int chooseBatch(int rows, int tokens) const;

  /// Runs one call and appends to the sequences. Rows beyond those given are
  /// unused.
  Status call(Program &program, const std::vector<CallRow> &rows,
              bool allLogits);
  /// Runs rows together, however long; `each(program, rows)` after every call.
  Status runRows(
      const std::vector<Row> &rows, size_t first, int batch,
      const std::function<void(Program &, const std::vector<CallRow> &)> &each);
  Result<const float *> prefill(const std::vector<Row> &rows);
  /// Tells the listener, if there is one.
  void publish(const Program &program, const std::vector<int32_t> &valid) const;
  size_t vocab() const { return size_t(model->tables().vocab); }
};

} // namespace effrt

#endif // EFFRT_SRC_ENGINE_IMPL_H
