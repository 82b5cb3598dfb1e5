//===- state_store.h - states and caches of all sequences -----------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFRT_SRC_STATE_STORE_H
#define EFFRT_SRC_STATE_STORE_H

#include "code_image.h"
#include "effrt/effrt.h"
#include "effrt/support.h"

#include <cstdint>
#include <vector>

namespace effrt {

/// The memory of a model's states: for each state, one block of slots. Caches
/// take room as tokens are written.
class StateStore {
public:
  static Result<StateStore> create(const eff_model &model, int slots);

  /// Slot 0 of a state.
  uint8_t *base(uint32_t state) const { return blocks_[state].data(); }
  uint64_t slotBytes() const { return slotBytes_; }
  bool hasRecurrent() const { return hasRecurrent_; }

  /// Back to the beginning. Caches keep what they have: nobody reads it.
  void reset(int slot);
  /// Appends the contents of a slot that holds `length` tokens to `to`.
  void save(int slot, int length, bool caches, std::vector<uint8_t> &to) const;
  /// The inverse of save with the same `length` and `caches`.
  void load(int slot, int length, bool caches,
            const std::vector<uint8_t> &from);
  void copy(int from, int to, int length);

private:
  /// Calls `each(data, bytes)` for every piece of memory that a slot of that
  /// length consists of.
  template <typename F>
  void forPieces(int slot, int length, bool caches, F each) const;

  const eff_model *model_ = nullptr;
  std::vector<Mapping> blocks_;
  uint64_t slotBytes_ = 0;
  bool hasRecurrent_ = false;
};

} // namespace effrt

#endif // EFFRT_SRC_STATE_STORE_H
