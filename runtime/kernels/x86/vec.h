//===- vec.h - vectors of the x86 kernels -----------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Kernels are written once on vectors of 16 lanes; LLVM makes one zmm, two ymm
/// or four xmm registers of each, according to the target that a kernel is
/// specialised for. Loads may read up to EFF_ALIGN bytes beyond an operand;
/// stores never do.
///
//===----------------------------------------------------------------------===//

#ifndef EFF_KERNELS_X86_VEC_H
#define EFF_KERNELS_X86_VEC_H

#include "effrt/effrt.h"

#define EFF_INLINE inline __attribute__((always_inline))

namespace kernels {

typedef float f32x16 __attribute__((vector_size(64)));
typedef int32_t i32x16 __attribute__((vector_size(64)));
typedef uint32_t u32x16 __attribute__((vector_size(64)));
typedef int8_t i8x16 __attribute__((vector_size(16)));
typedef uint16_t u16x16 __attribute__((vector_size(32)));
typedef double f64x8 __attribute__((vector_size(64)));
typedef bool mask16 __attribute__((ext_vector_type(16)));
typedef float f32x16e __attribute__((ext_vector_type(16)));
typedef int32_t i32x16e __attribute__((ext_vector_type(16)));
typedef uint32_t u32x16e __attribute__((ext_vector_type(16)));

namespace detail {
typedef float f32x16u __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint32_t u32x16u
    __attribute__((vector_size(64), aligned(4), may_alias));
typedef int8_t i8x16u __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint16_t u16x16u
    __attribute__((vector_size(32), aligned(2), may_alias));
typedef uint32_t u32a __attribute__((aligned(1), may_alias));
} // namespace detail

EFF_INLINE f32x16 load(const float *p) {
  return *reinterpret_cast<const detail::f32x16u *>(p);
}
EFF_INLINE u32x16 loadBits(const void *p) {
  return *static_cast<const detail::u32x16u *>(p);
}
EFF_INLINE uint32_t loadDword(const void *p) {
  return *static_cast<const detail::u32a *>(p);
}
EFF_INLINE void store(float *p, f32x16 v) {
  *reinterpret_cast<detail::f32x16u *>(p) = v;
}
/// Every lane is x. (The cast to an extended vector splats; adding to zero
/// would not be a broadcast, because of -0.)
EFF_INLINE f32x16 splat(float x) { return (f32x16)(f32x16e)x; }
EFF_INLINE i32x16 splat(int32_t x) { return (i32x16)(i32x16e)x; }
EFF_INLINE u32x16 splat(uint32_t x) { return (u32x16)(u32x16e)x; }

EFF_INLINE i32x16 iota() {
  return i32x16{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
}

/// Stores the first `count` lanes, 0 .. 16.
EFF_INLINE void storeFirst(float *p, f32x16 v, int64_t count) {
  if (count >= 16)
    return store(p, v);
  i32x16 in = iota() < static_cast<int32_t>(count);
  __builtin_masked_store(__builtin_convertvector(in, mask16), (f32x16e)v, p);
}

/// Lanes from `count` on become `other`.
EFF_INLINE f32x16 keepFirst(f32x16 v, int64_t count, f32x16 other) {
  i32x16 in = iota() < static_cast<int32_t>(count < 16 ? count : 16);
  return in ? v : other;
}
/// The first `count` lanes of memory, zero beyond.
EFF_INLINE f32x16 loadFirst(const float *p, int64_t count) {
  return count >= 16 ? load(p) : keepFirst(load(p), count, f32x16{});
}

EFF_INLINE f32x16 max(f32x16 a, f32x16 b) { return a > b ? a : b; }
EFF_INLINE f32x16 min(f32x16 a, f32x16 b) { return a < b ? a : b; }
EFF_INLINE f32x16 abs(f32x16 a) { return (f32x16)((u32x16)a & 0x7fffffffu); }

/// Sum of all lanes, in one fixed order (halves, quarters, ...).
EFF_INLINE float sum(f32x16 v) {
  v = v + __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2,
                                  3, 4, 5, 6, 7);
  v = v + __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15,
                                  8, 9, 10, 11);
  v = v + __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9,
                                  14, 15, 12, 13);
  return v[0] + v[1];
}
EFF_INLINE int32_t sumLanes(i32x16 v) {
  int32_t sum = 0;
#pragma clang loop unroll(full)
  for (int i = 0; i < 16; ++i)
    sum += v[i];
  return sum;
}
EFF_INLINE uint32_t maxLanes(u32x16 v) {
  uint32_t largest = 0;
#pragma clang loop unroll(full)
  for (int i = 0; i < 16; ++i)
    largest = v[i] > largest ? v[i] : largest;
  return largest;
}
EFF_INLINE float maxLane(f32x16 v) {
  v = max(v, __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1,
                                     2, 3, 4, 5, 6, 7));
  v = max(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14,
                                     15, 8, 9, 10, 11));
  v = max(v, __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9,
                                     14, 15, 12, 13));
  return v[0] > v[1] ? v[0] : v[1];
}

/// out[i][j] = in[j][i].
EFF_INLINE void transpose(f32x16 (&v)[16]) {
  f32x16 t[16];
#pragma clang loop unroll(full)
  for (int i = 0; i < 16; i += 2) { // pairs of lanes
    t[i] = __builtin_shufflevector(v[i], v[i + 1], 0, 16, 2, 18, 4, 20, 6, 22,
                                   8, 24, 10, 26, 12, 28, 14, 30);
    t[i + 1] = __builtin_shufflevector(v[i], v[i + 1], 1, 17, 3, 19, 5, 21, 7,
                                       23, 9, 25, 11, 27, 13, 29, 15, 31);
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < 16; ++i) {
    if (i & 2)
      continue;
    v[i] = __builtin_shufflevector(t[i], t[i + 2], 0, 1, 16, 17, 4, 5, 20, 21,
                                   8, 9, 24, 25, 12, 13, 28, 29);
    v[i + 2] = __builtin_shufflevector(t[i], t[i + 2], 2, 3, 18, 19, 6, 7, 22,
                                       23, 10, 11, 26, 27, 14, 15, 30, 31);
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < 16; ++i) {
    if (i & 4)
      continue;
    t[i] = __builtin_shufflevector(v[i], v[i + 4], 0, 1, 2, 3, 16, 17, 18, 19,
                                   8, 9, 10, 11, 24, 25, 26, 27);
    t[i + 4] = __builtin_shufflevector(v[i], v[i + 4], 4, 5, 6, 7, 20, 21, 22,
                                       23, 12, 13, 14, 15, 28, 29, 30, 31);
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < 8; ++i) {
    v[i] = __builtin_shufflevector(t[i], t[i + 8], 0, 1, 2, 3, 4, 5, 6, 7, 16,
                                   17, 18, 19, 20, 21, 22, 23);
    v[i + 8] = __builtin_shufflevector(t[i], t[i + 8], 8, 9, 10, 11, 12, 13, 14,
                                       15, 24, 25, 26, 27, 28, 29, 30, 31);
  }
}

/// Items of part `thread` of `threads`; the parts are contiguous and differ by
/// at most one item.
struct Range {
  int64_t begin, end;
};
EFF_INLINE Range split(int64_t items, int32_t thread, int32_t threads) {
  return {items * thread / threads, items * (thread + 1) / threads};
}

EFF_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
EFF_INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
EFF_INLINE int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
EFF_INLINE float fromBits(int64_t bits) {
  union {
    uint32_t u;
    float f;
  } x = {static_cast<uint32_t>(bits)};
  return x.f;
}
/// bfloat16 is the upper half of an f32.
EFF_INLINE float fromBf16(uint16_t bits) {
  return fromBits(static_cast<int64_t>(bits) << 16);
}

} // namespace kernels

#endif // EFF_KERNELS_X86_VEC_H
