//===- c_api.cpp - run a model from C -------------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effrt/codes.h"
#include "effrt/engine.h"
#include "effrt/generate.h"
#include "effrt/loader.h"
#include "effrt/model.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <optional>

using namespace effrt;

namespace {

thread_local std::string lastError;
thread_local int lastCode = 0;

int report(const Error &error) {
  lastError = error.format();
  // "EFF0605" is 605.
  lastCode = error.code.size() > 3 ? std::atoi(error.code.c_str() + 3) : 0;
  if (lastCode == 0)
    lastCode = -1;
  return lastCode;
}

int report(const Status &status) {
  if (!status)
    return report(status.error());
  lastError.clear();
  return lastCode = 0;
}

int done() { return report(Status::success()); }

int badCall(const char *what) {
  return report(fail(Code::BadInput, what, "", "", "see effrt/model.h"));
}

/// No exception leaves the library: all that the standard library throws here
/// means that memory is short.
template <typename F> auto guarded(F body, decltype(body()) failed) {
  try {
    return body();
  } catch (const std::exception &) {
    report(fail(Code::OutOfMemory, "memory could not be had"));
    return failed;
  }
}

template <typename F> int guarded(F body) {
  try {
    return body();
  } catch (const std::exception &) {
    return report(fail(Code::OutOfMemory, "memory could not be had"));
  }
}

/// The options that the caller knows; the rest keeps its default.
template <typename T> T known(const T *given, T defaults) {
  if (given)
    std::memcpy(&defaults, given, std::min(given->struct_bytes, sizeof(T)));
  return defaults;
}

} // namespace

struct eff_file {
  std::shared_ptr<const Model> model;
  /// Made when first needed.
  std::once_flag once;
  std::optional<Result<Tokenizer>> tokenizer;

  Result<const Tokenizer *> getTokenizer() {
    std::call_once(once,
                   [this] { tokenizer = modelTokenizer(model->manifest()); });
    if (!tokenizer->ok())
      return Error(tokenizer->error());
    return static_cast<const Tokenizer *>(&**tokenizer);
  }
};

struct eff_session {
  std::shared_ptr<const Model> model;
  std::optional<Tokenizer> tokenizer;
  std::unique_ptr<Engine> engine;
  std::atomic<int> interrupt{0};
};

struct eff_snapshot {
  Snapshot snapshot;
};

extern "C" {

const char *eff_last_error(void) { return lastError.c_str(); }
int eff_last_code(void) { return lastCode; }
const char *eff_version(void) { return EFFRT_VERSION; }

eff_file *eff_open(const char *path) {
  return guarded(
      [&]() -> eff_file * {
        if (!path)
          return badCall("the path is missing"), nullptr;
        Result<std::shared_ptr<const Model>> model = Model::open(path);
        if (!model)
          return report(model.error()), nullptr;
        auto file = std::make_unique<eff_file>();
        file->model = model.take();
        done();
        return file.release();
      },
      nullptr);
}

void eff_close(eff_file *file) { delete file; }

int32_t eff_vocab(const eff_file *file) { return file->model->tables().vocab; }

int32_t eff_max_length(const eff_file *file) {
  return file->model->tables().max_length;
}

const char *eff_manifest(const eff_file *file) {
  return file->model->manifest().text.c_str();
}

int eff_tokenize(const eff_file *file, const char *text, size_t bytes,
                 int special, int32_t *ids, size_t capacity, size_t *count) {
  return guarded([&] {
    if ((!text && bytes) || (!ids && capacity) || !count)
      return badCall("an argument of eff_tokenize is missing");
    Result<const Tokenizer *> tokenizer =
        const_cast<eff_file *>(file)->getTokenizer();
    if (!tokenizer)
      return report(tokenizer.error());
    EncodeOptions options;
    options.addSpecialTokens = special != 0;
    Result<std::vector<TokenId>> encoded =
        (*tokenizer)->encode({text ? text : "", bytes}, options);
    if (!encoded)
      return report(encoded.error());
    *count = encoded->size();
    for (size_t i = 0; i < std::min(capacity, encoded->size()); ++i)
      ids[i] = int32_t((*encoded)[i]);
    return done();
  });
}

int eff_detokenize(const eff_file *file, const int32_t *ids, size_t count,
                   char *text, size_t capacity, size_t *bytes) {
  return guarded([&] {
    if ((!ids && count) || (!text && capacity) || !bytes)
      return badCall("an argument of eff_detokenize is missing");
    Result<const Tokenizer *> tokenizer =
        const_cast<eff_file *>(file)->getTokenizer();
    if (!tokenizer)
      return report(tokenizer.error());
    std::string decoded = (*tokenizer)->decode({ids, ids + count});
    *bytes = decoded.size();
    if (capacity) {
      size_t kept = std::min(decoded.size(), capacity - 1);
      std::memcpy(text, decoded.data(), kept);
      text[kept] = '\0';
    }
    return done();
  });
}

eff_session *eff_session_create(eff_file *file,
                                const eff_session_options *given) {
  return guarded(
      [&]() -> eff_session * {
        if (!file)
          return badCall("the file is missing"), nullptr;
        eff_session_options defaults = {};
        eff_session_options asked = known(given, defaults);
        auto session = std::make_unique<eff_session>();
        session->model = file->model;
        if (!file->model->manifest().tokenizer.empty()) {
          Result<const Tokenizer *> tokenizer = file->getTokenizer();
          if (!tokenizer)
            return report(tokenizer.error()), nullptr;
          session->tokenizer = **tokenizer;
        }
        EngineOptions options;
        options.threads = asked.threads;
        options.sequences = asked.sequences ? asked.sequences : 1;
        options.pin = !asked.no_pinning;
        options.interrupt = &session->interrupt;
        Result<std::unique_ptr<Engine>> engine =
            Engine::create(file->model, options);
        if (!engine)
          return report(engine.error()), nullptr;
        session->engine = engine.take();
        done();
        return session.release();
      },
      nullptr);
}

void eff_session_destroy(eff_session *session) { delete session; }

void eff_interrupt(eff_session *session) {
  session->interrupt.store(1, std::memory_order_relaxed);
}

void eff_resume(eff_session *session) {
  session->interrupt.store(0, std::memory_order_relaxed);
}

int32_t eff_length(const eff_session *session, int32_t sequence) {
  if (sequence < 0 || sequence >= session->engine->sequences())
    return -1;
  return session->engine->length(sequence);
}

int eff_reset(eff_session *session, int32_t sequence) {
  return guarded([&] { return report(session->engine->reset(sequence)); });
}

int eff_truncate(eff_session *session, int32_t sequence, int32_t length) {
  return guarded(
      [&] { return report(session->engine->truncate(sequence, length)); });
}

eff_snapshot *eff_snapshot_take(eff_session *session, int32_t sequence,
                                int light) {
  return guarded(
      [&]() -> eff_snapshot * {
        Result<Snapshot> taken = session->engine->snapshot(
            sequence, light ? SnapshotKind::Light : SnapshotKind::Full);
        if (!taken)
          return report(taken.error()), nullptr;
        auto snapshot = std::make_unique<eff_snapshot>();
        snapshot->snapshot = taken.take();
        done();
        return snapshot.release();
      },
      nullptr);
}

int eff_snapshot_restore(eff_session *session, int32_t sequence,
                         const eff_snapshot *snapshot) {
  return guarded([&] {
    if (!snapshot)
      return badCall("the snapshot is missing");
    return report(session->engine->restore(sequence, snapshot->snapshot));
  });
}

void eff_snapshot_free(eff_snapshot *snapshot) { delete snapshot; }

int eff_copy(eff_session *session, int32_t from, int32_t to) {
  return guarded([&] { return report(session->engine->copy(from, to)); });
}

void eff_generate_defaults(eff_generate_options *options) {
  *options = {};
  options->struct_bytes = sizeof *options;
  options->top_p = 1;
  options->repetition_penalty = 1;
}

int eff_generate(eff_session *session, const char *prompt,
                 const eff_generate_options *given, eff_text_callback callback,
                 void *user, eff_generate_result *result) {
  return guarded([&] {
    if (!prompt)
      return badCall("the prompt is missing");
    if (!session->tokenizer)
      return report(fail(Code::NoTokenizer, "the model has no tokenizer"));
    eff_generate_options defaults;
    eff_generate_defaults(&defaults);
    eff_generate_options asked = known(given, defaults);
    GenerateOptions options;
    options.maxTokens = asked.max_tokens;
    options.sampling.temperature = asked.temperature;
    options.sampling.topK = asked.top_k;
    options.sampling.topP = asked.top_p;
    options.sampling.minP = asked.min_p;
    options.sampling.repetitionPenalty = asked.repetition_penalty;
    options.sampling.seed = asked.seed;
    options.ignoreEos = asked.ignore_eos != 0;
    for (size_t i = 0; i < asked.stop_count; ++i)
      options.stops.emplace_back(asked.stops[i]);
    Result<std::vector<TokenId>> ids = session->tokenizer->encode(prompt);
    if (!ids)
      return report(ids.error());
    Result<Generated> generated = generate(
        *session->engine, asked.sequence, *ids, options, &*session->tokenizer,
        [&](std::string_view text) {
          return !callback || callback(user, text.data(), text.size()) == 0;
        });
    if (!generated)
      return report(generated.error());
    if (result) {
      result->finish = int32_t(generated->reason);
      result->prompt_tokens = generated->promptTokens;
      result->generated_tokens = uint32_t(generated->tokens.size());
      result->reused_tokens = generated->reusedTokens;
      result->prompt_seconds = generated->promptSeconds;
      result->generate_seconds = generated->generateSeconds;
    }
    return done();
  });
}

int eff_prefill(eff_session *session, int32_t sequence, const int32_t *ids,
                size_t count, const float **logits) {
  return guarded([&] {
    if (!ids && count)
      return badCall("the token ids are missing");
    Result<const float *> result =
        session->engine->prefill(sequence, {ids, ids + count});
    if (!result)
      return report(result.error());
    if (logits)
      *logits = *result;
    return done();
  });
}

int eff_decode(eff_session *session, const int32_t *sequences,
               const int32_t *ids, size_t count, const float **logits) {
  return guarded([&] {
    if (!sequences || !ids)
      return badCall("an argument of eff_decode is missing");
    std::vector<Engine::Step> steps;
    for (size_t i = 0; i < count; ++i)
      steps.push_back({sequences[i], TokenId(ids[i])});
    Result<const float *> result = session->engine->decode(steps);
    if (!result)
      return report(result.error());
    if (logits)
      *logits = *result;
    return done();
  });
}

int eff_score(eff_session *session, int32_t sequence, const int32_t *ids,
              size_t count, float *logits) {
  return guarded([&] {
    if (!ids || !logits)
      return badCall("an argument of eff_score is missing");
    auto vocab = size_t(session->engine->vocab());
    return report(session->engine->score(
        sequence, {ids, ids + count}, [&](size_t at, const float *row) {
          std::memcpy(logits + at * vocab, row, vocab * sizeof(float));
          return true;
        }));
  });
}

int eff_forward(eff_session *session, const char *entry,
                const eff_tensor *inputs, size_t input_count,
                const eff_tensor *outputs, size_t output_count) {
  return guarded([&] {
    std::vector<TensorView> in, out;
    for (size_t i = 0; i < input_count; ++i)
      in.push_back({inputs[i].name, inputs[i].data, inputs[i].bytes});
    for (size_t i = 0; i < output_count; ++i)
      out.push_back({outputs[i].name, outputs[i].data, outputs[i].bytes});
    return report(session->engine->forward(in, out, entry ? entry : ""));
  });
}

} // extern "C"
