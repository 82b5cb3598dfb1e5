/*===- model.h - run a model from C ---------------------------*- C -*-===*
 *
 * Part of effc, under the Apache License v2.0.
 *
 * A program opens a model file, makes a session and generates text, or works
 * with tokens, logits and tensors itself. examples/c/generate.c shows the whole
 * of it.
 *
 * Functions that return int give 0 for success and otherwise the number of the
 * error ("EFF0605" is 605); those that return a pointer give NULL. Then
 * eff_last_error() tells what, where, why and what to try, until the next call
 * of the same thread.
 *
 * A file may be used by several threads at a time, a session by one.
 *===------------------------------------------------------------------===*/

#ifndef EFFRT_MODEL_H
#define EFFRT_MODEL_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define EFF_API __attribute__((visibility("default")))
#else
#define EFF_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct eff_file eff_file;
typedef struct eff_session eff_session;
typedef struct eff_snapshot eff_snapshot;

/* The error of this thread's last call, "" when it succeeded. */
EFF_API const char *eff_last_error(void);
EFF_API int eff_last_code(void);
/* "0.1.0" */
EFF_API const char *eff_version(void);

/*===-- Files --------------------------------------------------------===*/

/* Opens a model file, or a program made with --emit=exe. */
EFF_API eff_file *eff_open(const char *path);
/* Sessions keep what they need of it. */
EFF_API void eff_close(eff_file *file);

/* Entries 0 .. of the vocabulary; 0 when the model takes no tokens. */
EFF_API int32_t eff_vocab(const eff_file *file);
/* Tokens that a sequence can hold, 0: any number. */
EFF_API int32_t eff_max_length(const eff_file *file);
/* The model's manifest, JSON as docs/runtime-abi.md describes it. */
EFF_API const char *eff_manifest(const eff_file *file);

/* The ids of a text of `bytes` bytes; adds what the model expects at the start
 * when `special` is set. Writes at most `capacity` of them and gives how many
 * there are in `count`. */
EFF_API int eff_tokenize(const eff_file *file, const char *text, size_t bytes,
                         int special, int32_t *ids, size_t capacity,
                         size_t *count);
/* The text of ids, UTF-8 with a final 0 that `bytes` does not count. Writes at
 * most `capacity` bytes, the final 0 included. */
EFF_API int eff_detokenize(const eff_file *file, const int32_t *ids,
                           size_t count, char *text, size_t capacity,
                           size_t *bytes);

/*===-- Sessions -----------------------------------------------------===*/

typedef struct eff_session_options {
  size_t struct_bytes; /* sizeof(eff_session_options) */
  int32_t threads;     /* 0: one for each core that the process may use */
  int32_t sequences;   /* 0: one */
  int32_t no_pinning;  /* 1: leave it to the system where threads run */
  int32_t reserved;
} eff_session_options;

/* `options` may be NULL. */
EFF_API eff_session *eff_session_create(eff_file *file,
                                        const eff_session_options *options);
EFF_API void eff_session_destroy(eff_session *session);

/* Stops the call that is under way in another thread, or the next one, with
 * error 611. Safe in a signal handler. Stays set until eff_resume. */
EFF_API void eff_interrupt(eff_session *session);
EFF_API void eff_resume(eff_session *session);

/* Tokens that a sequence holds, -1 when there is no such sequence. */
EFF_API int32_t eff_length(const eff_session *session, int32_t sequence);
EFF_API int eff_reset(eff_session *session, int32_t sequence);
/* Forgets the tokens from `length` on. A model with recurrent states can only
 * be cut to 0: take a snapshot instead. */
EFF_API int eff_truncate(eff_session *session, int32_t sequence,
                         int32_t length);
/* The sequence at this moment. `light`: without the caches; it can then only be
 * restored into the same sequence, while that has not been cut below it. */
EFF_API eff_snapshot *eff_snapshot_take(eff_session *session, int32_t sequence,
                                        int light);
EFF_API int eff_snapshot_restore(eff_session *session, int32_t sequence,
                                 const eff_snapshot *snapshot);
EFF_API void eff_snapshot_free(eff_snapshot *snapshot);
EFF_API int eff_copy(eff_session *session, int32_t from, int32_t to);

/*===-- Text ---------------------------------------------------------===*/

typedef struct eff_generate_options {
  size_t struct_bytes;      /* set by eff_generate_defaults */
  uint32_t max_tokens;      /* 0: as many as fit */
  float temperature;        /* 0: always the most likely token */
  uint32_t top_k;           /* 0: all */
  float top_p;              /* 1: all */
  float min_p;              /* 0: all */
  float repetition_penalty; /* 1: none */
  uint64_t seed;
  const char *const *stops; /* strings that end the text */
  size_t stop_count;
  int32_t ignore_eos; /* 1: go on after an end-of-text token */
  int32_t sequence;
} eff_generate_options;

/* Greedy, without a limit. */
EFF_API void eff_generate_defaults(eff_generate_options *options);

enum eff_finish {
  EFF_FINISH_LENGTH = 0,   /* max_tokens */
  EFF_FINISH_EOS = 1,      /* an end-of-text token */
  EFF_FINISH_STOP = 2,     /* a stop string */
  EFF_FINISH_CAPACITY = 3, /* the sequence is full */
  EFF_FINISH_CALLBACK = 4, /* the callback said so */
  EFF_FINISH_INTERRUPT = 5 /* eff_interrupt */
};

typedef struct eff_generate_result {
  int32_t finish; /* eff_finish */
  uint32_t prompt_tokens, generated_tokens;
  uint32_t reused_tokens; /* of the prompt, that the sequence held already */
  double prompt_seconds, generate_seconds;
} eff_generate_result;

/* Whole characters, not 0-terminated; a result other than 0 ends the text. */
typedef int (*eff_text_callback)(void *user, const char *text, size_t bytes);

/* Continues a prompt (0-terminated UTF-8). `options`, `callback` and `result`
 * may be NULL. */
EFF_API int eff_generate(eff_session *session, const char *prompt,
                         const eff_generate_options *options,
                         eff_text_callback callback, void *user,
                         eff_generate_result *result);

/*===-- Tokens and logits --------------------------------------------===*/

/* Appends tokens to a sequence. `logits`: eff_vocab floats after the last
 * token, valid until the session's next call; may be NULL. */
EFF_API int eff_prefill(eff_session *session, int32_t sequence,
                        const int32_t *ids, size_t count, const float **logits);
/* Appends one token to each of `count` different sequences; logits
 * [count][eff_vocab]. */
EFF_API int eff_decode(eff_session *session, const int32_t *sequences,
                       const int32_t *ids, size_t count, const float **logits);
/* Appends tokens and writes the logits after each: [count][eff_vocab]. */
EFF_API int eff_score(eff_session *session, int32_t sequence,
                      const int32_t *ids, size_t count, float *logits);

/*===-- Tensors ------------------------------------------------------===*/

typedef struct eff_tensor {
  const char *name; /* as in the manifest */
  void *data;       /* C order */
  size_t bytes;
} eff_tensor;

/* Runs an entry point of a model that takes tensors: NULL for the first. */
EFF_API int eff_forward(eff_session *session, const char *entry,
                        const eff_tensor *inputs, size_t input_count,
                        const eff_tensor *outputs, size_t output_count);

#ifdef __cplusplus
}
#endif

#endif /* EFFRT_MODEL_H */
