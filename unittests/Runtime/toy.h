/*===- toy.h - the numbers of the hand-made test models -------*- C -*-===*
 *
 * Part of effc, under the Apache License v2.0.
 *===------------------------------------------------------------------===*/

#ifndef EFFC_UNITTESTS_RUNTIME_TOY_H
#define EFFC_UNITTESTS_RUNTIME_TOY_H

enum {
  TOY_VOCAB = 32,
  TOY_CAPACITY = 64,
  TOY_HEADS = 2,
  TOY_TOKEN_BYTES = 8, /* two floats */
  TOY_CACHE_BYTES = TOY_HEADS * TOY_CAPACITY * TOY_TOKEN_BYTES,
  TOY_RECURRENT_BYTES = 20, /* slots need no alignment */
  TOY_FEATURES = 8,         /* of the tensor model */
  TOY_MOST_ROWS = 16,       /* batch x tokens of the largest entry point */
  TOY_ARENA = 3 * 64 * ((TOY_MOST_ROWS * 4 + 63) / 64)
};

#endif
