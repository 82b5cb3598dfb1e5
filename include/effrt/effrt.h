/* clang-format off */
/*===- effrt.h - the contract between a model file and the runtime -*- C -*-===*
 *
 * Part of effc, under the Apache License v2.0.
 *
 * A model file is an ELF object without undefined symbols. Its entry address (e_entry) is that of one `eff_model`,
 * whose tables say, for each target variant and entry point, which kernels run in which order on which operands.
 * Weights lie in the section `.eff.weights`, the manifest (JSON) in `.eff.manifest`, checksums in `.eff.header`; none
 * of the three is loaded with the code: the runtime maps them by file offset.
 *
 * This header is freestanding: it needs no library and no other header but the two below. A change of layout or
 * meaning raises EFF_ABI_VERSION.
 *===----------------------------------------------------------------------===*/

#ifndef EFFRT_EFFRT_H
#define EFFRT_EFFRT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EFF_MAGIC UINT64_C(0x1a4c45444f4d4645) /* "EFMODEL" 0x1a, little endian */
#define EFF_ABI_VERSION 1u
#define EFF_ABI_OLDEST 1u /* the oldest version that this runtime accepts */

#define EFF_SECTION_HEADER ".eff.header"
#define EFF_SECTION_MANIFEST ".eff.manifest"
#define EFF_SECTION_WEIGHTS ".eff.weights"

/* Every operand is aligned to this many bytes and may be read, not written, that far beyond its end. */
#define EFF_ALIGN 64u

/* The section .eff.header: lets a reader check a file without running anything from it. */
typedef struct eff_header {
  uint64_t magic;
  uint32_t abi_version;
  uint32_t header_bytes;    /* sizeof(eff_header) of the writer */
  uint64_t manifest_bytes;
  uint64_t manifest_hash;   /* FNV-1a, 64 bit, of the manifest's bytes */
  uint64_t weights_bytes;
  uint64_t code_hash;       /* FNV-1a of all bytes that PT_LOAD segments take from the file, in order of their offset */
  uint64_t weights_hash;    /* FNV-1a of the first and the last 4096 bytes of the weights (of all, up to 8192) */
  uint64_t header_hash;     /* FNV-1a of the header_bytes - 8 bytes above; always the last field */
} eff_header;

/*===-- What changes from call to call -------------------------------------===*/

typedef struct eff_call {
  int32_t batch;            /* rows of the entry point */
  int32_t tokens;           /* tokens per row of the entry point */
  const int32_t *past;      /* [batch] tokens that the row's sequence holds already */
  const int32_t *valid;     /* [batch] real tokens of this call, 0 .. tokens; the rest is right padding */
  const int32_t *slot;      /* [batch] which sequence's states and caches the row uses */
  int32_t all_logits;       /* 1: logits at every position, 0: at the last valid one of each row */
  int32_t logit_rows;       /* batch * tokens when all_logits, else batch */
} eff_call;

/* A kernel: computes part `thread` of `threads` of one step. `operands` are the step's addresses in the order that the
 * kernel family documents. No kernel allocates, blocks or touches anything but its operands. Parts of one step are
 * independent; the runtime puts a barrier between steps. The result does not depend on `threads`. */
typedef void (*eff_kernel)(void *const *operands, const eff_call *call, int32_t thread, int32_t threads);

/*===-- The plan -----------------------------------------------------------===*/

enum eff_operand_kind {
  EFF_OPERAND_ARENA = 0,    /* offset into the entry point's arena */
  EFF_OPERAND_WEIGHT = 1,   /* offset into the section .eff.weights */
  EFF_OPERAND_STATE = 2,    /* index into eff_model.states; base of slot 0, slots are slot_bytes apart */
  EFF_OPERAND_INPUT = 3,    /* index of the entry point's input */
  EFF_OPERAND_OUTPUT = 4,   /* index of the entry point's output */
  EFF_OPERAND_NULL = 5      /* an absent optional operand */
};

typedef struct eff_operand {
  uint32_t kind;            /* eff_operand_kind */
  uint32_t index;           /* states, inputs, outputs */
  uint64_t offset;          /* bytes from the start of what kind and index name */
} eff_operand;

enum eff_step_flags {
  EFF_STEP_SERIAL = 1,      /* run by one thread, as part 0 of 1 */
  EFF_STEP_INTEGER = 2      /* its flops are operations on bytes */
};

typedef struct eff_step {
  eff_kernel run;
  const eff_operand *operands;
  uint32_t operand_count;
  uint32_t flags;           /* eff_step_flags */
  const char *name;         /* kernel's name, for traces */
  uint64_t flops;           /* predicted: every token valid, caches empty before, logits of the last tokens only */
  uint64_t bytes;           /* predicted traffic beyond the arena in such a call: weights, states, caches */
} eff_step;

enum eff_entry_kind {
  EFF_ENTRY_DECODE = 0,     /* one token per row */
  EFF_ENTRY_PREFILL = 1,    /* a chunk of tokens per row */
  EFF_ENTRY_FORWARD = 2     /* no states: tensors in, tensors out */
};

typedef struct eff_entry {
  const char *name;         /* "decode_b1", "prefill_b1_t128", "forward_b1" */
  uint32_t kind;            /* eff_entry_kind */
  int32_t batch;
  int32_t tokens;
  uint32_t step_count;
  const eff_step *steps;
  uint64_t arena_bytes;
  uint32_t input_count;     /* causal models: 1, ids int32 [batch, tokens] */
  uint32_t output_count;    /* causal models: the first is the logits f32 [logit_rows, vocab] */
  const uint64_t *input_bytes;
  const uint64_t *output_bytes;
} eff_entry;

/* One target: the same entry points, in the same order, in code for one level of processor. */
typedef struct eff_variant {
  const char *target;       /* "x86-64-v4" */
  uint64_t features;        /* eff_feature bits that the code needs */
  const eff_entry *entries;
  uint32_t entry_count;
  uint32_t reserved;
} eff_variant;

enum eff_state_kind {
  EFF_STATE_RECURRENT = 0,  /* rewritten by every call: rolled back by snapshot and restore */
  EFF_STATE_CACHE = 1       /* [heads][capacity][head_dim], appended: rolled back by truncating */
};

typedef struct eff_state {
  const char *name;
  uint32_t kind;            /* eff_state_kind */
  uint32_t heads;           /* caches */
  uint64_t slot_bytes;      /* bytes of one sequence, exactly: slots follow each other without a gap */
  uint64_t token_bytes;     /* caches: bytes of one head's row */
} eff_state;

enum eff_feature {
  EFF_FEATURE_X86_64_V2 = 1 << 0,   /* SSE4.2, POPCNT, SSSE3 */
  EFF_FEATURE_X86_64_V3 = 1 << 1,   /* AVX2, FMA, F16C, BMI2 */
  EFF_FEATURE_X86_64_V4 = 1 << 2,   /* AVX-512 F, BW, CD, DQ, VL */
  EFF_FEATURE_AVX512_VNNI = 1 << 3,
  EFF_FEATURE_AVX512_BF16 = 1 << 4,
  EFF_FEATURE_AMX_INT8 = 1 << 5,
  EFF_FEATURE_AMX_BF16 = 1 << 6,
  EFF_FEATURE_AVX_VNNI = 1 << 7
};

typedef struct eff_model {
  uint64_t magic;           /* EFF_MAGIC */
  uint32_t abi_version;     /* EFF_ABI_VERSION of the compiler */
  uint32_t model_bytes;     /* sizeof(eff_model) of the compiler */
  const eff_variant *variants; /* best first */
  uint32_t variant_count;
  uint32_t state_count;
  const eff_state *states;
  uint64_t weights_bytes;   /* of the section .eff.weights */
  int32_t vocab;            /* 0: no token ids */
  int32_t max_length;       /* capacity of the caches in tokens, 0: no limit */
} eff_model;

#ifdef __cplusplus
}
#endif

#endif /* EFFRT_EFFRT_H */
