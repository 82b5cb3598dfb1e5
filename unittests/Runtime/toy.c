/*===- toy.c - a small model, written by hand -----------------------------===*
 *
 * Part of effc, under the Apache License v2.0.
 *
 * Compiled without a library into the code of a model file. Macros choose what
 * it has:
 *
 *   TOY_CACHE, TOY_RECURRENT   which states
 *   TOY_FORWARD                tensors in and out, instead of tokens
 *   TOY_NEEDS                  features that its only target needs
 *   TOY_TWO_TARGETS            a first target that needs all features there are
 *   TOY_WEIGHT_BYTES           more weights than it uses
 *   TOY_ABI                    version that it claims
 *   TOY_BAD                    one thing that is wrong with it
 *   TOY_UNDEFINED, TOY_TLS, TOY_INIT   what no model file may have
 *
 * Per token: x = id / 4 + 1. The cache keeps (x, x * (head + 1)); attention is
 * the sum over positions j of (j + 1) times the products of the pairs, over all
 * heads. The state is h = h / 2 + x. Logit v is a * cos-like weight v + h *
 * weight vocab + v.
 *===----------------------------------------------------------------------===*/

#include "toy.h"
#include "effrt/effrt.h"

#ifndef TOY_ABI
#define TOY_ABI EFF_ABI_VERSION
#endif
#ifndef TOY_NEEDS
#define TOY_NEEDS 0
#endif
#ifndef TOY_BAD
#define TOY_BAD 0
#endif
#ifndef TOY_WEIGHT_BYTES
#define TOY_WEIGHT_BYTES (2 * TOY_VOCAB * 4)
#endif
#ifndef TOY_VISIBILITY
#define TOY_VISIBILITY
#endif

#ifdef TOY_UNDEFINED
extern int missing(void);
int (*use_missing)(void) = missing;
#endif
#ifdef TOY_TLS
__thread int counter = 1;
int *use_counter(void) { return &counter; }
#endif
#ifdef TOY_INIT
volatile int started;
__attribute__((constructor)) static void start(void) { started = 1; }
#endif

/* Part `thread` of `threads` of `count` items. */
static int part_begin(int count, int thread, int threads) {
  return (int)((int64_t)count * thread / threads);
}

static void embed(void *const *operands, const eff_call *call, int32_t thread,
                  int32_t threads) {
  const int32_t *ids = operands[0];
  float *x = operands[1];
  int rows = call->batch * call->tokens;
  for (int r = part_begin(rows, thread, threads);
       r < part_begin(rows, thread + 1, threads); ++r)
    x[r] = (float)ids[r] * 0.25f + 1.0f;
}

static void append(void *const *operands, const eff_call *call, int32_t thread,
                   int32_t threads) {
  const float *x = operands[0];
  char *cache = operands[1];
  int items = call->batch * TOY_HEADS;
  for (int i = part_begin(items, thread, threads);
       i < part_begin(items, thread + 1, threads); ++i) {
    int b = i / TOY_HEADS, head = i % TOY_HEADS;
    float *rows = (float *)(cache + (int64_t)call->slot[b] * TOY_CACHE_BYTES +
                            head * TOY_CAPACITY * TOY_TOKEN_BYTES);
    for (int t = 0; t < call->valid[b]; ++t) {
      float value = x[b * call->tokens + t];
      rows[2 * (call->past[b] + t)] = value;
      rows[2 * (call->past[b] + t) + 1] = value * (float)(head + 1);
    }
  }
}

static void attend(void *const *operands, const eff_call *call, int32_t thread,
                   int32_t threads) {
  const char *cache = operands[0];
  float *a = operands[1];
  int rows = call->batch * call->tokens;
  for (int r = part_begin(rows, thread, threads);
       r < part_begin(rows, thread + 1, threads); ++r) {
    int b = r / call->tokens, t = r % call->tokens;
    float sum = 0;
    for (int head = 0; head < TOY_HEADS && t < call->valid[b]; ++head) {
      const float *row =
          (const float *)(cache + (int64_t)call->slot[b] * TOY_CACHE_BYTES +
                          head * TOY_CAPACITY * TOY_TOKEN_BYTES);
      for (int j = 0; j <= call->past[b] + t; ++j)
        sum += (float)(j + 1) * row[2 * j] * row[2 * j + 1];
    }
    a[r] = sum;
  }
}

static void scan(void *const *operands, const eff_call *call, int32_t thread,
                 int32_t threads) {
  const float *x = operands[0];
  char *states = operands[1];
  float *h = operands[2];
  (void)thread;
  (void)threads;
  for (int b = 0; b < call->batch; ++b) {
    float *state =
        (float *)(states + (int64_t)call->slot[b] * TOY_RECURRENT_BYTES);
    for (int t = 0; t < call->valid[b]; ++t) {
      *state = *state * 0.5f + x[b * call->tokens + t];
      h[b * call->tokens + t] = *state;
    }
  }
}

static void project(void *const *operands, const eff_call *call, int32_t thread,
                    int32_t threads) {
  const float *a = operands[0], *h = operands[1], *w = operands[2];
  float *logits = operands[3];
  for (int v = part_begin(TOY_VOCAB, thread, threads);
       v < part_begin(TOY_VOCAB, thread + 1, threads); ++v)
    for (int r = 0; r < call->logit_rows; ++r) {
      int row = r;
      if (!call->all_logits) {
        int last = call->valid[r] ? call->valid[r] - 1 : 0;
        row = r * call->tokens + last;
      }
      float sum = 0;
      if (a)
        sum += a[row] * w[v];
      if (h)
        sum += h[row] * w[TOY_VOCAB + v];
      logits[r * TOY_VOCAB + v] = sum;
    }
}

static void scale(void *const *operands, const eff_call *call, int32_t thread,
                  int32_t threads) {
  const float *x = operands[0], *factor = operands[1], *w = operands[2];
  float *y = operands[3];
  (void)call;
  for (int i = part_begin(TOY_FEATURES, thread, threads);
       i < part_begin(TOY_FEATURES, thread + 1, threads); ++i)
    y[i] = x[i] * *factor + w[i];
}

/*===-- Tables -----------------------------------------------------------===*/

#define ARENA(n) {EFF_OPERAND_ARENA, 0, (n) * (TOY_ARENA / 3)}
#define NONE {EFF_OPERAND_NULL, 0, 0}
#define WEIGHTS {EFF_OPERAND_WEIGHT, 0, TOY_BAD == 1 ? (UINT64_C(1) << 40) : 0}
#define STATE(n) {EFF_OPERAND_STATE, TOY_BAD == 2 ? 99 : (n), 0}
#define INPUT(n) {TOY_BAD == 3 ? 77 : EFF_OPERAND_INPUT, n, 0}
#define OUTPUT(n) {EFF_OPERAND_OUTPUT, TOY_BAD == 4 ? 5 : (n), 0}
#define STEP(f, kind)                                                          \
  {f,  f##_operands, sizeof f##_operands / sizeof f##_operands[0], kind, #f,   \
   10, 100}

#if defined(TOY_CACHE) && defined(TOY_RECURRENT)
#define RECURRENT_STATE 1
#else
#define RECURRENT_STATE 0
#endif

#ifdef TOY_CACHE
#define A_OPERAND ARENA(1)
#else
#define A_OPERAND NONE
#endif
#ifdef TOY_RECURRENT
#define H_OPERAND ARENA(2)
#else
#define H_OPERAND NONE
#endif

static const eff_operand embed_operands[] = {INPUT(0), ARENA(0)};
static const eff_operand append_operands[] = {ARENA(0), STATE(0)};
static const eff_operand attend_operands[] = {STATE(0), ARENA(1)};
static const eff_operand scan_operands[] = {ARENA(0), STATE(RECURRENT_STATE),
                                            ARENA(2)};
static const eff_operand project_operands[] = {A_OPERAND, H_OPERAND, WEIGHTS,
                                               OUTPUT(0)};
static const eff_operand scale_operands[] = {INPUT(0), INPUT(1), WEIGHTS,
                                             OUTPUT(0)};

static const eff_step token_steps[] = {
#if TOY_BAD == 5
    {(eff_kernel)(const void *)embed_operands, embed_operands, 2, 0, "bad", 0,
     0},
#else
    STEP(embed, 0),
#endif
#ifdef TOY_CACHE
    STEP(append, 0),
    STEP(attend, 0),
#endif
#ifdef TOY_RECURRENT
    STEP(scan, EFF_STEP_SERIAL),
#endif
    STEP(project, 0)};
static const eff_step tensor_steps[] = {STEP(scale, 0)};

static const char unterminated[] = {'t', 'o', 'y'};

#define BYTES(b, t) {(b) * (t) * 4}
static const uint64_t ids_1_1[] = BYTES(1, 1), ids_4_1[] = BYTES(4, 1),
                      ids_1_4[] = BYTES(1, 4), ids_1_16[] = BYTES(1, 16),
                      ids_4_4[] = BYTES(4, 4);
static const uint64_t logits_1[] = {1 * TOY_VOCAB * 4},
                      logits_4[] = {4 * TOY_VOCAB * 4};
static const uint64_t tensor_in[] = {TOY_FEATURES * 4, 4},
                      tensor_out[] = {TOY_FEATURES * 4};

#define TOKEN_ENTRY(name, kind, b, t, in, out)                                 \
  {name,                                                                       \
   kind,                                                                       \
   b,                                                                          \
   t,                                                                          \
   sizeof token_steps / sizeof token_steps[0],                                 \
   TOY_BAD == 6 ? (const eff_step *)(uintptr_t)0x123456789000 : token_steps,   \
   TOY_ARENA,                                                                  \
   1,                                                                          \
   1,                                                                          \
   in,                                                                         \
   out}

static const eff_entry entries[] = {
#ifdef TOY_FORWARD
    {"forward_b1", EFF_ENTRY_FORWARD, 1, 1, 1, tensor_steps, 0, 2, 1, tensor_in,
     tensor_out},
#else
    TOKEN_ENTRY("decode_b1", EFF_ENTRY_DECODE, 1, 1, ids_1_1, logits_1),
    TOKEN_ENTRY("decode_b4", EFF_ENTRY_DECODE, 4, 1, ids_4_1, logits_4),
    TOKEN_ENTRY("prefill_b1_t4", EFF_ENTRY_PREFILL, 1, 4, ids_1_4, logits_1),
    TOKEN_ENTRY("prefill_b1_t16", EFF_ENTRY_PREFILL, 1, 16, ids_1_16, logits_1),
    TOKEN_ENTRY("prefill_b4_t4", EFF_ENTRY_PREFILL, 4, 4, ids_4_4, logits_4),
#endif
};
#define ENTRIES                                                                \
  entries, TOY_BAD == 7 ? 1000000 : sizeof entries / sizeof entries[0], 0

static const eff_variant variants[] = {
#ifdef TOY_TWO_TARGETS
    {"everything", ~UINT64_C(0), ENTRIES},
#endif
    {TOY_BAD == 8 ? (const char *)0 : "toy", TOY_NEEDS, ENTRIES}};

static const eff_state states[] = {
#ifdef TOY_CACHE
    {"keys", EFF_STATE_CACHE, TOY_BAD == 9 ? 1000 : TOY_HEADS, TOY_CACHE_BYTES,
     TOY_TOKEN_BYTES},
#endif
#ifdef TOY_RECURRENT
    {"memory", EFF_STATE_RECURRENT, 0,
     TOY_BAD == 10 ? (UINT64_C(1) << 60) : TOY_RECURRENT_BYTES, 0},
#endif
    {unterminated, 0, 0, 64, 0}};

TOY_VISIBILITY const eff_model toy_model = {
    EFF_MAGIC,
    TOY_ABI,
    sizeof(eff_model),
    TOY_BAD == 11 ? (const eff_variant *)&toy_model + 1000000 : variants,
    sizeof variants / sizeof variants[0],
    sizeof states / sizeof states[0] - 1,
    states,
    TOY_WEIGHT_BYTES,
#ifdef TOY_FORWARD
    0,
    0
#else
    TOY_VOCAB,
    TOY_CAPACITY
#endif
};

/* What one set of macros leaves unused is used here. */
__attribute__((used)) static const void *const all[] = {append_operands,
                                                        attend_operands,
                                                        scan_operands,
                                                        project_operands,
                                                        scale_operands,
                                                        token_steps,
                                                        tensor_steps,
                                                        ids_1_1,
                                                        ids_4_1,
                                                        ids_1_4,
                                                        ids_1_16,
                                                        ids_4_4,
                                                        logits_1,
                                                        logits_4,
                                                        tensor_in,
                                                        tensor_out,
                                                        (const void *)append,
                                                        (const void *)attend,
                                                        (const void *)scan};
