//===- engine.cpp - sequences of a model, run -----------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effrt/engine.h"
#include "effrt/codes.h"
#include "engine_impl.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <set>

namespace effrt {
namespace {

// Operations in the time of one byte from memory: near enough for every machine
// to tell a short chunk from a long one, and the same everywhere, so that a
// prompt is always cut alike.
constexpr double flopsPerByte = 8;

double costOf(const Program &program) {
  // What is not predicted still costs a little for each call and token.
  const eff_entry &entry = program.entry();
  return double(program.bytes()) + double(program.flops()) / flopsPerByte +
         double(entry.batch) * entry.tokens + 4;
}

bool takesTokens(const Program &program) {
  return program.entry().kind != EFF_ENTRY_FORWARD;
}

Error noEntry(const char *what) {
  return fail(Code::BadInput,
              std::string("the model has no entry point ") + what);
}

} // namespace

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>>
Engine::create(std::shared_ptr<const Model> model,
               const EngineOptions &options) {
  constexpr int mostSequences = 1 << 16;
  if (options.sequences < 1 || options.sequences > mostSequences)
    return fail(Code::BadOption, "the number of sequences is out of range", "",
                std::to_string(options.sequences) + " is not from 1 to " +
                    std::to_string(mostSequences));
  auto impl = std::make_unique<Impl>();
  impl->model = std::move(model);
  impl->options = options;
  if (Status status = impl->build(); !status)
    return status;
  return std::make_unique<Engine>(std::move(impl));
}

Status Engine::Impl::build() {
  PoolOptions poolOptions;
  poolOptions.threads = options.threads;
  poolOptions.pin = options.pin;
  Result<std::unique_ptr<ThreadPool>> made = ThreadPool::create(poolOptions);
  if (!made)
    return made.takeError();
  pool = made.take();

  const eff_model &tables = model->tables();
  const eff_variant &variant = model->variant();
  // One more slot than sequences: unused rows of a batch work on it. Rows of a
  // call with tensors start on empty slots of their own.
  int spare = 1;
  if (tables.state_count > 0)
    for (uint32_t i = 0; i < variant.entry_count; ++i)
      if (variant.entries[i].kind == EFF_ENTRY_FORWARD)
        spare = std::max(spare, int(variant.entries[i].batch));
  Result<StateStore> store =
      StateStore::create(tables, options.sequences + spare);
  if (!store)
    return store.takeError();
  states = store.take();
  sequences.resize(size_t(options.sequences));

  uint64_t arenaBytes = 0;
  for (uint32_t i = 0; i < variant.entry_count; ++i)
    arenaBytes = std::max(arenaBytes, variant.entries[i].arena_bytes);
  Result<Mapping> room = Mapping::zeroed(arenaBytes + EFF_ALIGN, "the arena",
                                         /*hugePages=*/true);
  if (!room)
    return room.takeError();
  arena = room.take();

  Places places{arena.data(), model->weights(), &states};
  std::set<int> found;
  for (uint32_t i = 0; i < variant.entry_count; ++i) {
    Result<Program> program = Program::bind(variant.entries[i], tables, places);
    if (!program)
      return program.takeError();
    if (takesTokens(*program))
      found.insert(variant.entries[i].batch);
    programs.push_back(program.take());
  }
  batches.assign(found.begin(), found.end());
  return Status::success();
}

//===-- Choosing entry points ---------------------------------------------===//

std::vector<Chunk> Engine::Impl::chunksOf(int batch) const {
  std::vector<Chunk> chunks;
  for (const Program &program : programs)
    if (takesTokens(program) && program.entry().batch == batch)
      chunks.push_back({program.entry().tokens, costOf(program)});
  return chunks;
}

Program *Engine::Impl::find(int batch, int tokens) {
  Program *found = nullptr;
  for (Program &program : programs)
    if (takesTokens(program) && program.entry().batch == batch &&
        program.entry().tokens == tokens)
      if (!found || program.entry().kind == EFF_ENTRY_DECODE)
        found = &program;
  return found;
}

int Engine::Impl::chooseBatch(int rows, int tokens) const {
  int best = 0;
  double least = 0;
  for (int batch : batches) {
    std::vector<Chunk> chunks = chunksOf(batch);
    double once = 0;
    for (int length : coverTokens(chunks, tokens))
      for (const Chunk &chunk : chunks)
        if (chunk.tokens == length) {
          once += chunk.cost;
          break;
        }
    double cost = once * ((rows + batch - 1) / batch);
    if (!best || cost < least) {
      best = batch;
      least = cost;
    }
  }
  return best;
}

//===-- Checks ------------------------------------------------------------===//

Status Engine::Impl::checkSequence(int sequence, const char *purpose,
                                   bool allowBroken) const {
  if (sequence < 0 || size_t(sequence) >= sequences.size())
    return fail(Code::BadSequence,
                "sequence " + std::to_string(sequence) + " does not exist", "",
                "the engine has " + std::to_string(sequences.size()) +
                    ", counted from 0");
  if (!allowBroken && sequences[size_t(sequence)].broken)
    return fail(Code::BadSequence,
                "sequence " + std::to_string(sequence) + " cannot be " +
                    purpose,
                "", "a run that was changing it was interrupted",
                "reset it or restore a snapshot");
  return Status::success();
}

Status Engine::Impl::checkTokens(int sequence, const TokenId *tokens,
                                 size_t count) const {
  if (batches.empty())
    return noEntry("that takes tokens");
  if (count == 0)
    return fail(Code::BadTokens, "there are no tokens to run");
  for (size_t i = 0; i < count; ++i)
    if (tokens[i] >= vocab())
      return fail(Code::BadTokens,
                  "token id " + std::to_string(int64_t(int32_t(tokens[i]))) +
                      " is outside the vocabulary",
                  "position " + std::to_string(i),
                  "ids are from 0 to " + std::to_string(vocab() - 1));
  int capacity = model->tables().max_length;
  size_t held = sequences[size_t(sequence)].tokens.size();
  if (capacity && count > size_t(capacity) - held)
    return fail(Code::TooLong,
                "the sequence is longer than the model's capacity", "",
                std::to_string(held) + " tokens and " + std::to_string(count) +
                    " more; the capacity is " + std::to_string(capacity));
  return Status::success();
}

Status Engine::Impl::checkDistinct(const std::vector<Row> &rows) const {
  std::set<int> seen;
  for (const Row &row : rows)
    if (!seen.insert(row.sequence).second)
      return fail(Code::BadSequence, "sequence " +
                                         std::to_string(row.sequence) +
                                         " is there twice in one call");
  return Status::success();
}

//===-- Running -----------------------------------------------------------===//

Status Engine::Impl::call(Program &program, const std::vector<CallRow> &rows,
                          bool allLogits) {
  const eff_entry &entry = program.entry();
  size_t batch = size_t(entry.batch), tokens = size_t(entry.tokens);
  std::vector<int32_t> past(batch, 0), valid(batch, 0),
      slot(batch, int32_t(sequences.size()));
  auto *ids = reinterpret_cast<int32_t *>(program.input(0));
  std::memset(ids, 0, batch * tokens * sizeof *ids);
  uint64_t count = 0;
  for (size_t b = 0; b < rows.size(); ++b) {
    const CallRow &row = rows[b];
    if (row.sequence < 0 || row.count == 0)
      continue;
    past[b] = sequences[size_t(row.sequence)].length();
    valid[b] = row.count;
    slot[b] = row.sequence;
    count += uint64_t(row.count);
    for (int t = 0; t < row.count; ++t)
      ids[b * tokens + size_t(t)] = int32_t(row.tokens[t]);
  }
  eff_call info;
  info.batch = entry.batch;
  info.tokens = entry.tokens;
  info.past = past.data();
  info.valid = valid.data();
  info.slot = slot.data();
  info.all_logits = allLogits;
  info.logit_rows = int32_t(allLogits ? batch * tokens : batch);

  auto start = std::chrono::steady_clock::now();
  bool finished = pool->runSteps(program.steps().data(), program.steps().size(),
                                 info, options.interrupt);
  stats.seconds +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
          .count();
  for (const CallRow &row : rows) {
    if (row.sequence < 0 || row.count == 0)
      continue;
    Sequence &sequence = sequences[size_t(row.sequence)];
    if (finished)
      sequence.tokens.insert(sequence.tokens.end(), row.tokens,
                             row.tokens + row.count);
    else
      sequence.broken = true;
  }
  if (!finished)
    return fail(Code::Interrupted, "the run was interrupted");
  stats.calls += 1;
  stats.steps += program.steps().size();
  stats.tokens += count;
  stats.padding += batch * tokens - count;
  stats.flops += program.flops();
  stats.integerOps += program.integerOps();
  stats.bytes += program.bytes();
  // The prediction is that of empty caches; what they held was read too.
  const eff_model &tables = model->tables();
  uint64_t cached = 0;
  for (uint32_t i = 0; i < tables.state_count; ++i)
    if (tables.states[i].kind == EFF_STATE_CACHE)
      cached += tables.states[i].heads * tables.states[i].token_bytes;
  for (int32_t length : past)
    stats.bytes += cached * uint64_t(length);
  publish(program, valid);
  return Status::success();
}

void Engine::Impl::publish(const Program &program,
                           const std::vector<int32_t> &valid) const {
  if (!listener)
    return;
  CallOutputs outputs;
  outputs.entry = model->manifest().findEntry(program.entry().name);
  for (uint32_t i = 0; i < program.entry().output_count; ++i)
    outputs.data.push_back(program.output(i));
  outputs.valid = valid;
  listener(outputs);
}

Status Engine::Impl::runRows(
    const std::vector<Row> &rows, size_t first, int batch,
    const std::function<void(Program &, const std::vector<CallRow> &)> &each) {
  size_t count = std::min(rows.size() - first, size_t(batch));
  size_t longest = 0;
  for (size_t i = 0; i < count; ++i)
    longest = std::max(longest, rows[first + i].tokens.size());
  size_t done = 0;
  for (int chunk : coverTokens(chunksOf(batch), int(longest))) {
    std::vector<CallRow> part(count);
    for (size_t i = 0; i < count; ++i) {
      const Row &row = rows[first + i];
      if (done >= row.tokens.size())
        continue;
      part[i].sequence = row.sequence;
      part[i].tokens = row.tokens.data() + done;
      part[i].count = int(std::min(row.tokens.size() - done, size_t(chunk)));
    }
    Program &program = *find(batch, chunk);
    if (Status status = call(program, part, /*allLogits=*/false); !status)
      return status;
    each(program, part);
    done += size_t(chunk);
  }
  return Status::success();
}

Result<const float *> Engine::Impl::prefill(const std::vector<Row> &rows) {
  if (rows.empty())
    return fail(Code::BadSequence, "there are no sequences to run");
  size_t longest = 0;
  for (const Row &row : rows) {
    if (Status status = checkSequence(row.sequence, "continued"); !status)
      return status;
    if (Status status =
            checkTokens(row.sequence, row.tokens.data(), row.tokens.size());
        !status)
      return status;
    longest = std::max(longest, row.tokens.size());
  }
  if (Status status = checkDistinct(rows); !status)
    return status;

  gathered.resize(rows.size() * vocab());
  for (size_t first = 0; first < rows.size();) {
    int batch = chooseBatch(int(rows.size() - first), int(longest));
    auto keep = [&](Program &program, const std::vector<CallRow> &part) {
      const auto *logits = reinterpret_cast<const float *>(program.output(0));
      for (size_t i = 0; i < part.size(); ++i) {
        const std::vector<TokenId> &all = rows[first + i].tokens;
        if (part[i].count &&
            part[i].tokens + part[i].count == all.data() + all.size())
          std::copy_n(logits + i * vocab(), vocab(),
                      gathered.data() + (first + i) * vocab());
      }
    };
    if (Status status = runRows(rows, first, batch, keep); !status)
      return status;
    first += size_t(batch);
  }
  return static_cast<const float *>(gathered.data());
}

Result<const float *> Engine::prefill(int sequence,
                                      const std::vector<TokenId> &tokens) {
  return impl_->prefill({{sequence, tokens}});
}

Result<const float *> Engine::prefill(const std::vector<Row> &rows) {
  return impl_->prefill(rows);
}

Result<const float *> Engine::decode(const std::vector<Step> &steps) {
  std::vector<Row> rows;
  rows.reserve(steps.size());
  for (const Step &step : steps)
    rows.push_back({step.sequence, {step.token}});
  return impl_->prefill(rows);
}

Status Engine::score(int sequence, const std::vector<TokenId> &tokens,
                     const std::function<bool(size_t, const float *)> &each) {
  if (Status status = impl_->checkSequence(sequence, "continued"); !status)
    return status;
  if (Status status =
          impl_->checkTokens(sequence, tokens.data(), tokens.size());
      !status)
    return status;
  int batch = impl_->chooseBatch(1, int(tokens.size()));
  size_t done = 0;
  for (int chunk : coverTokens(impl_->chunksOf(batch), int(tokens.size()))) {
    Impl::CallRow row;
    row.sequence = sequence;
    row.tokens = tokens.data() + done;
    row.count = int(std::min(tokens.size() - done, size_t(chunk)));
    Program &program = *impl_->find(batch, chunk);
    if (Status status = impl_->call(program, {row}, /*allLogits=*/true);
        !status)
      return status;
    // Row 0 of the batch comes first.
    const auto *logits = reinterpret_cast<const float *>(program.output(0));
    for (size_t t = 0; t < size_t(row.count); ++t)
      if (!each(done + t, logits + t * impl_->vocab()))
        return Status::success();
    done += size_t(row.count);
  }
  return Status::success();
}

Result<const float *>
Engine::prompt(int sequence, const std::vector<TokenId> &tokens, int *reused) {
  if (Status status =
          impl_->checkSequence(sequence, "used", /*allowBroken=*/true);
      !status)
    return status;
  Sequence &held = impl_->sequences[size_t(sequence)];
  size_t shared = 0;
  while (!held.broken && shared < held.tokens.size() &&
         shared < tokens.size() && held.tokens[shared] == tokens[shared])
    ++shared;
  // The last token is always run: its logits are wanted.
  size_t keep = std::min(shared, tokens.empty() ? 0 : tokens.size() - 1);
  if (impl_->states.hasRecurrent() && keep != held.tokens.size())
    keep = 0;
  Status cut = keep ? truncate(sequence, int(keep)) : reset(sequence);
  if (!cut)
    return cut;
  if (reused)
    *reused = int(keep);
  return prefill(sequence, {tokens.begin() + ptrdiff_t(keep), tokens.end()});
}

Status Engine::forward(const std::vector<TensorView> &inputs,
                       const std::vector<TensorView> &outputs,
                       const std::string &name) {
  Program *program = nullptr;
  for (Program &candidate : impl_->programs)
    if (!takesTokens(candidate) &&
        (name.empty() || name == candidate.entry().name)) {
      program = &candidate;
      break;
    }
  if (!program)
    return name.empty()
               ? noEntry("that takes tensors")
               : noEntry(("'" + name + "' that takes tensors").c_str());
  const eff_entry &entry = program->entry();
  // The loader has seen that manifest and tables agree.
  const EntryInfo &info = *impl_->model->manifest().findEntry(entry.name);

  auto place = [](const std::vector<TensorInfo> &known, const TensorView &view,
                  const char *role, size_t &index) -> Status {
    std::string names;
    for (index = 0; index < known.size(); ++index) {
      if (known[index].name == view.name)
        break;
      names += (index ? ", " : "") + known[index].name;
    }
    if (index == known.size())
      return fail(Code::BadInput,
                  std::string("the model has no ") + role + " '" + view.name +
                      "'",
                  "", std::string("its ") + role + "s are " + names);
    if (view.bytes != known[index].bytes() || (view.bytes && !view.data))
      return fail(Code::BadInput,
                  std::string("the ") + role + " '" + view.name +
                      "' has the wrong size",
                  "",
                  std::to_string(view.bytes) + " bytes instead of " +
                      std::to_string(known[index].bytes()));
    return Status::success();
  };
  std::vector<bool> given(info.inputs.size(), false);
  size_t index = 0;
  for (const TensorView &view : inputs) {
    if (Status status = place(info.inputs, view, "input", index); !status)
      return status;
    if (view.bytes)
      std::memcpy(program->input(uint32_t(index)), view.data, view.bytes);
    given[index] = true;
  }
  for (size_t i = 0; i < given.size(); ++i)
    if (!given[i])
      return fail(Code::BadInput,
                  "the input '" + info.inputs[i].name + "' is missing");
  for (const TensorView &view : outputs)
    if (Status status = place(info.outputs, view, "output", index); !status)
      return status;

  std::vector<int32_t> past(size_t(entry.batch), 0),
      valid(size_t(entry.batch), entry.tokens),
      slot(size_t(entry.batch), int32_t(impl_ -> sequences.size()));
  // Every call starts with empty states.
  if (impl_->model->tables().state_count > 0)
    for (size_t b = 0; b < slot.size(); ++b) {
      slot[b] += int32_t(b);
      impl_->states.reset(slot[b]);
    }
  eff_call call;
  call.batch = entry.batch;
  call.tokens = entry.tokens;
  call.past = past.data();
  call.valid = valid.data();
  call.slot = slot.data();
  call.all_logits = 1;
  call.logit_rows = entry.batch * entry.tokens;
  auto start = std::chrono::steady_clock::now();
  if (!impl_->pool->runSteps(program->steps().data(), program->steps().size(),
                             call, impl_->options.interrupt))
    return fail(Code::Interrupted, "the run was interrupted");
  impl_->stats.seconds +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
          .count();
  impl_->stats.calls += 1;
  impl_->stats.steps += program->steps().size();
  impl_->stats.flops += program->flops();
  impl_->stats.integerOps += program->integerOps();
  impl_->stats.bytes += program->bytes();
  impl_->publish(*program, valid);
  for (const TensorView &view : outputs) {
    if (Status status = place(info.outputs, view, "output", index); !status)
      return status;
    if (view.bytes)
      std::memcpy(view.data, program->output(uint32_t(index)), view.bytes);
  }
  return Status::success();
}

void Engine::setOutputListener(
    std::function<void(const CallOutputs &)> listener) {
  impl_->listener = std::move(listener);
}

EngineStats Engine::stats() const { return impl_->stats; }
void Engine::resetStats() { impl_->stats = {}; }

} // namespace effrt
