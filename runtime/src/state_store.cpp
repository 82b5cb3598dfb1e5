//===- state_store.cpp - states and caches of all sequences ---------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "state_store.h"
#include "effrt/codes.h"

#include <cstring>

namespace effrt {

Result<StateStore> StateStore::create(const eff_model &model, int slots) {
  StateStore store;
  store.model_ = &model;
  for (uint32_t i = 0; i < model.state_count; ++i) {
    const eff_state &state = model.states[i];
    // Kernels may read a little beyond the last slot.
    Result<Mapping> block =
        Mapping::zeroed(state.slot_bytes * uint64_t(slots) + EFF_ALIGN,
                        "the model's states", /*hugePages=*/false);
    if (!block)
      return block.takeError();
    store.blocks_.push_back(block.take());
    store.slotBytes_ += state.slot_bytes;
    store.hasRecurrent_ |= state.kind == EFF_STATE_RECURRENT;
  }
  return store;
}

template <typename F>
void StateStore::forPieces(int slot, int length, bool caches, F each) const {
  for (uint32_t i = 0; i < model_->state_count; ++i) {
    const eff_state &state = model_->states[i];
    uint8_t *data = base(i) + uint64_t(slot) * state.slot_bytes;
    if (state.kind == EFF_STATE_RECURRENT) {
      each(data, state.slot_bytes);
    } else if (caches) {
      uint64_t head = state.slot_bytes / state.heads;
      for (uint32_t h = 0; h < state.heads; ++h)
        each(data + h * head, state.token_bytes * uint64_t(length));
    }
  }
}

void StateStore::reset(int slot) {
  forPieces(slot, 0, false,
            [](uint8_t *data, uint64_t bytes) { std::memset(data, 0, bytes); });
}

void StateStore::save(int slot, int length, bool caches,
                      std::vector<uint8_t> &to) const {
  uint64_t total = 0;
  forPieces(slot, length, caches,
            [&](uint8_t *, uint64_t bytes) { total += bytes; });
  to.reserve(to.size() + total);
  forPieces(slot, length, caches, [&](uint8_t *data, uint64_t bytes) {
    to.insert(to.end(), data, data + bytes);
  });
}

void StateStore::load(int slot, int length, bool caches,
                      const std::vector<uint8_t> &from) {
  uint64_t at = 0;
  forPieces(slot, length, caches, [&](uint8_t *data, uint64_t bytes) {
    if (bytes)
      std::memcpy(data, from.data() + at, bytes);
    at += bytes;
  });
}

void StateStore::copy(int from, int to, int length) {
  for (uint32_t i = 0; i < model_->state_count; ++i) {
    const eff_state &state = model_->states[i];
    uint8_t *source = base(i) + uint64_t(from) * state.slot_bytes;
    uint8_t *target = base(i) + uint64_t(to) * state.slot_bytes;
    if (state.kind == EFF_STATE_RECURRENT) {
      std::memcpy(target, source, state.slot_bytes);
      continue;
    }
    uint64_t head = state.slot_bytes / state.heads;
    for (uint32_t h = 0; h < state.heads; ++h)
      std::memcpy(target + h * head, source + h * head,
                  state.token_bytes * uint64_t(length));
  }
}

} // namespace effrt
