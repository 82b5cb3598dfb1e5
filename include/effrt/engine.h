//===- engine.h - sequences of a model, run -------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===--------------------------------------------------------------------===//

#ifndef EFFRT_ENGINE_H
#define EFFRT_ENGINE_H

#include "effrt/loader.h"
#include "effrt/support.h"
#include "effrt/text/tokenizer.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace effrt {

struct EngineOptions {
  int threads = 0; ///< 0: one for each core that the process may use
  bool pin = true;
  int sequences = 1; ///< how many the engine can hold at a time
  /// Non-zero stops the run that is under way; the sequences that were in it
  /// must be reset or restored.
  const std::atomic<int> *interrupt = nullptr;
};

/// How much of a sequence a snapshot copies.
enum class SnapshotKind {
  /// States and caches: can be restored at any time, into any sequence of any
  /// engine of the same model.
  Full,
  /// States only: can be restored into its own sequence as long as that has not
  /// been cut below the snapshot's length. What speculation needs.
  Light
};

/// A sequence at one moment.
class Snapshot {
public:
  Snapshot();
  Snapshot(Snapshot &&) noexcept;
  Snapshot &operator=(Snapshot &&) noexcept;
  ~Snapshot();
  int length() const;
  /// Bytes that it holds.
  uint64_t bytes() const;

  struct Data;
  std::unique_ptr<Data> data;
};

/// A tensor of the caller's.
struct TensorView {
  std::string name;
  void *data = nullptr;
  uint64_t bytes = 0;
};

/// Where the time of the calls since resetStats went.
struct EngineStats {
  uint64_t calls = 0, steps = 0;
  uint64_t tokens = 0;           ///< valid ones
  uint64_t padding = 0;          ///< computed in vain
  uint64_t flops = 0, bytes = 0; ///< as predicted
  uint64_t integerOps = 0;       ///< part of flops: on bytes
  double seconds = 0;
};

/// What an entry point has just computed, before the next call overwrites it.
struct CallOutputs {
  const EntryInfo *entry = nullptr;
  /// One for each of the entry's outputs. For token entries the first one is
  /// the logits, of which only the rows that were asked for are there.
  std::vector<const void *> data;
  /// For each row of the batch, how many of its tokens mean something; what
  /// lies behind them is padding. 0: an unused row.
  std::vector<int32_t> valid;
};

/// The memory of one recurrent state of a sequence.
struct StateView {
  const void *data = nullptr;
  uint64_t bytes = 0;
};

/// One model, its threads and a number of sequences. Not for several threads at
/// a time.
class Engine {
public:
  static Result<std::unique_ptr<Engine>>
  create(std::shared_ptr<const Model> model, const EngineOptions &options = {});
  ~Engine();

  const Model &model() const;
  int threads() const;
  int sequences() const;
  int vocab() const;
  /// Tokens that a sequence can hold; 0: any number.
  int capacity() const;
  /// True when some state cannot be cut to a length.
  bool hasRecurrentStates() const;
  /// Bytes that one sequence takes, and that all calls share.
  uint64_t sequenceBytes() const;
  uint64_t arenaBytes() const;

  //===-- Sequences -------------------------------------------------------===

  int length(int sequence) const;
  /// The tokens that the sequence holds.
  const std::vector<TokenId> &tokens(int sequence) const;
  Status reset(int sequence);
  /// Forgets all tokens from `length` on. Refused with recurrent states, unless
  /// `length` is 0 or the present one.
  Status truncate(int sequence, int length);
  Result<Snapshot> snapshot(int sequence,
                            SnapshotKind kind = SnapshotKind::Full);
  Status restore(int sequence, const Snapshot &snapshot);
  Status copy(int from, int to);
  /// A recurrent state by its name; valid until the sequence changes.
  Result<StateView> state(int sequence, const std::string &name) const;

  //===-- Language models -------------------------------------------------===
  // Logits stay valid until the next call.

  /// Appends tokens, however many, and gives the logits [vocab] after the last.
  Result<const float *> prefill(int sequence,
                                const std::vector<TokenId> &tokens);

  struct Row {
    int sequence;
    std::vector<TokenId> tokens;
  };
  /// The same for several sequences together; logits [rows, vocab].
  Result<const float *> prefill(const std::vector<Row> &rows);

  struct Step {
    int sequence;
    TokenId token;
  };
  /// One token each; logits [steps, vocab].
  Result<const float *> decode(const std::vector<Step> &steps);

  /// Appends tokens and gives the logits [vocab] after each to `each`, which
  /// stops the run by returning false.
  Status
  score(int sequence, const std::vector<TokenId> &tokens,
        const std::function<bool(size_t index, const float *logits)> &each);

  /// Makes the sequence hold exactly `tokens`, keeping what it shares with the
  /// present content where the model's states allow it. `reused`: how many
  /// tokens were not computed again.
  Result<const float *> prompt(int sequence, const std::vector<TokenId> &tokens,
                               int *reused = nullptr);

  //===-- Other models ----------------------------------------------------===

  /// Runs a forward entry, by default the first. Inputs are found by name and
  /// must all be there; outputs that are named are written.
  Status forward(const std::vector<TensorView> &inputs,
                 const std::vector<TensorView> &outputs,
                 const std::string &entry = {});

  /// Called after each call of an entry point; an empty function: no more.
  void setOutputListener(std::function<void(const CallOutputs &)> listener);

  EngineStats stats() const;
  void resetStats();

  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);

private:
  std::unique_ptr<Impl> impl_;
};

/// A chunk length that can be run at once and what it costs.
struct Chunk {
  int tokens;
  double cost;
};
/// The chunk for each call of the cheapest sequence of calls that covers
/// `count` tokens, longest first; the last may be longer than what is left.
std::vector<int> coverTokens(const std::vector<Chunk> &chunks, int count);

} // namespace effrt

#endif // EFFRT_ENGINE_H
