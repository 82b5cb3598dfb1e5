//===- sequences.cpp - sequences of an engine, rolled back ----------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effrt/codes.h"
#include "engine_impl.h"

#include <algorithm>

namespace effrt {

void Sequence::cutTo(int length) {
  auto gone = [length](const std::weak_ptr<Mark> &weak) {
    std::shared_ptr<Mark> mark = weak.lock();
    if (mark && mark->length > length)
      mark->valid = false;
    return !mark || !mark->valid;
  };
  marks.erase(std::remove_if(marks.begin(), marks.end(), gone), marks.end());
}

Snapshot::Snapshot() = default;
Snapshot::Snapshot(Snapshot &&) noexcept = default;
Snapshot &Snapshot::operator=(Snapshot &&) noexcept = default;
Snapshot::~Snapshot() = default;

int Snapshot::length() const { return data ? int(data->tokens.size()) : 0; }

uint64_t Snapshot::bytes() const {
  return data ? data->states.size() + data->tokens.size() * sizeof(TokenId) : 0;
}

const Model &Engine::model() const { return *impl_->model; }
int Engine::threads() const { return impl_->pool->threads(); }
int Engine::sequences() const { return int(impl_->sequences.size()); }
int Engine::vocab() const { return impl_->model->tables().vocab; }
int Engine::capacity() const { return impl_->model->tables().max_length; }
bool Engine::hasRecurrentStates() const { return impl_->states.hasRecurrent(); }
uint64_t Engine::sequenceBytes() const { return impl_->states.slotBytes(); }
uint64_t Engine::arenaBytes() const { return impl_->arena.size(); }

int Engine::length(int sequence) const { return int(tokens(sequence).size()); }

const std::vector<TokenId> &Engine::tokens(int sequence) const {
  static const std::vector<TokenId> none;
  if (sequence < 0 || sequence >= sequences())
    return none;
  return impl_->sequences[size_t(sequence)].tokens;
}

Status Engine::reset(int sequence) {
  if (Status status =
          impl_->checkSequence(sequence, "reset", /*allowBroken=*/true);
      !status)
    return status;
  Sequence &held = impl_->sequences[size_t(sequence)];
  impl_->states.reset(sequence);
  held.cutTo(0);
  held.tokens.clear();
  held.broken = false;
  return Status::success();
}

Status Engine::truncate(int sequence, int length) {
  if (length == 0)
    return reset(sequence);
  if (Status status = impl_->checkSequence(sequence, "cut"); !status)
    return status;
  Sequence &held = impl_->sequences[size_t(sequence)];
  if (length < 0 || length > held.length())
    return fail(Code::BadSequence,
                "sequence " + std::to_string(sequence) + " cannot be cut to " +
                    std::to_string(length) + " tokens",
                "", "it has " + std::to_string(held.length()));
  if (length == held.length())
    return Status::success();
  if (impl_->states.hasRecurrent())
    return fail(
        Code::BadSequence,
        "sequence " + std::to_string(sequence) + " cannot be cut inside", "",
        "the model has recurrent states, which hold all of the past at "
        "once",
        "restore a snapshot, or reset the sequence");
  held.cutTo(length);
  held.tokens.resize(size_t(length));
  return Status::success();
}

Result<Snapshot> Engine::snapshot(int sequence, SnapshotKind kind) {
  if (Status status = impl_->checkSequence(sequence, "saved"); !status)
    return status;
  Sequence &held = impl_->sequences[size_t(sequence)];
  Snapshot snapshot;
  snapshot.data = std::make_unique<Snapshot::Data>();
  snapshot.data->model = impl_->model;
  snapshot.data->kind = kind;
  snapshot.data->tokens = held.tokens;
  impl_->states.save(sequence, held.length(), kind == SnapshotKind::Full,
                     snapshot.data->states);
  if (kind == SnapshotKind::Light) {
    held.cutTo(held.length()); // forgets marks that nobody holds any more
    auto mark = std::make_shared<Mark>();
    mark->engine = impl_.get();
    mark->sequence = sequence;
    mark->length = held.length();
    held.marks.push_back(mark);
    snapshot.data->mark = std::move(mark);
  }
  return snapshot;
}

Status Engine::restore(int sequence, const Snapshot &snapshot) {
  if (Status status =
          impl_->checkSequence(sequence, "restored", /*allowBroken=*/true);
      !status)
    return status;
  if (!snapshot.data || snapshot.data->model != impl_->model)
    return fail(Code::BadSequence, "the snapshot is of another model");
  const Mark *mark = snapshot.data->mark.get();
  if (mark && (mark->engine != impl_.get() || mark->sequence != sequence))
    return fail(Code::BadSequence,
                "the snapshot is of another sequence and without caches", "",
                "", "take a full snapshot");
  if (mark && !mark->valid)
    return fail(Code::BadSequence, "the snapshot can no longer be restored", "",
                "it is without caches, and the sequence was cut below it since",
                "take a full snapshot");
  Sequence &held = impl_->sequences[size_t(sequence)];
  int length = snapshot.length();
  // Light: the rows up to its length are still there. Full: rows are written.
  held.cutTo(mark ? length : 0);
  impl_->states.load(sequence, length,
                     snapshot.data->kind == SnapshotKind::Full,
                     snapshot.data->states);
  held.tokens = snapshot.data->tokens;
  held.broken = false;
  return Status::success();
}

Result<StateView> Engine::state(int sequence, const std::string &name) const {
  if (Status status = impl_->checkSequence(sequence, "read"); !status)
    return status;
  const eff_model &tables = impl_->model->tables();
  for (uint32_t i = 0; i < tables.state_count; ++i) {
    const eff_state &state = tables.states[i];
    if (name == state.name && state.kind == EFF_STATE_RECURRENT)
      return StateView{impl_->states.base(i) +
                           uint64_t(sequence) * state.slot_bytes,
                       state.slot_bytes};
  }
  return fail(Code::BadInput,
              "the model has no recurrent state '" + name + "'");
}

Status Engine::copy(int from, int to) {
  if (Status status = impl_->checkSequence(from, "copied"); !status)
    return status;
  if (Status status =
          impl_->checkSequence(to, "replaced", /*allowBroken=*/true);
      !status)
    return status;
  if (from == to)
    return Status::success();
  const Sequence &source = impl_->sequences[size_t(from)];
  Sequence &target = impl_->sequences[size_t(to)];
  impl_->states.copy(from, to, source.length());
  target.cutTo(0);
  target.tokens = source.tokens;
  target.broken = false;
  return Status::success();
}

} // namespace effrt
