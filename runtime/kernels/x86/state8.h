//===- state8.h - recurrent states of 8-bit integers ------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The arithmetic of compress::Int8State (include/effc/Compress/State.h) on 16
/// channels at a time, one in each lane: the same integers, bit for bit, for
/// the same f32 values.
///
/// An element is scale * t / 2^b, t of 8 + b bits = code * 2^b + residual. A
/// slot has, each at a multiple of 64 bytes from its start,
/// - the codes, s8 in the order of the f32 state,
/// - the residuals: s8 likewise, or two of 4 bits in a byte, those of states 2
/// i
///   (low) and 2 i + 1 of a channel,
/// - dynamic scales, f32, one for each channel.
///
/// Constants: state_format 1 static, 2 dynamic; state_rounding 0 nearest, 1
/// stochastic; state_residual 0, 4, 8; state_once 1 rounds after the last token
/// of a call, 0 after each.
///
//===----------------------------------------------------------------------===//

#ifndef EFF_KERNELS_X86_STATE8_H
#define EFF_KERNELS_X86_STATE8_H

#include "runtime/kernels/x86/codes.h"

namespace kernels {

EFF_INLINE bool isDynamic() { return EFF_SPEC(state_format) == 2; }
/// Whether tokens between the first and the last of a call see 8-bit integers.
EFF_INLINE bool isRoundedEachToken() {
  return EFF_SPEC(state_format) && !EFF_SPEC(state_once);
}
EFF_INLINE bool isStochastic() { return EFF_SPEC(state_rounding) == 1; }
EFF_INLINE int32_t residualBits() {
  return static_cast<int32_t>(EFF_SPEC(state_residual));
}

constexpr int64_t kMaxStates8 = 256; ///< states of a channel

EFF_INLINE int64_t align64(int64_t bytes) { return ceilDiv(bytes, 64) * 64; }

/// Where the parts of a slot start: `blocks` times n times `width` elements.
struct StateLayout {
  int64_t residuals, scales, bytes;
};
EFF_INLINE StateLayout stateLayout(int64_t blocks, int64_t n, int64_t width) {
  StateLayout layout;
  int64_t rows = residualBits() == 0   ? 0
                 : residualBits() == 4 ? ceilDiv(n, 2)
                                       : n;
  layout.residuals = align64(blocks * n * width);
  layout.scales = layout.residuals + align64(blocks * rows * width);
  layout.bytes =
      layout.scales + (isDynamic() ? align64(blocks * width * 4) : 0);
  return layout;
}

/// Some channels of a state; rows of channels start `stride` elements apart.
struct StateBlock {
  int8_t *q, *residual;
  float *dynamicScale;
  const float *staticScale;
  int64_t stride;

  /// The block of channels `column` on of block `index`.
  static EFF_INLINE StateBlock at(void *state, const float *scales,
                                  int64_t slot, int64_t blocks, int64_t n,
                                  int64_t width, int64_t index,
                                  int64_t column) {
    StateLayout layout = stateLayout(blocks, n, width);
    int8_t *start = static_cast<int8_t *>(state) + slot * layout.bytes;
    int64_t first = index * n * width + column;
    int64_t rows = residualBits() == 4 ? ceilDiv(n, 2) : n;
    return {start + first,
            start + layout.residuals + index * rows * width + column,
            reinterpret_cast<float *>(start + layout.scales) + index * width +
                column,
            scales ? scales + first : nullptr, width};
  }

  /// Scale of state i in lanes from `lane` on.
  EFF_INLINE f32x16 scale(int64_t i, int64_t lane) const {
    return isDynamic() ? load(dynamicScale + lane)
                       : load(staticScale + i * stride + lane);
  }

  /// State i over its scale.
  EFF_INLINE f32x16 get(int64_t i, int64_t lane) const {
    f32x16 t = loadCodes(q + i * stride + lane);
    if (residualBits() == 8)
      t = t + loadCodes(residual + i * stride + lane) * 0.00390625f;
    if (residualBits() == 4) {
      i8x16 pair = *reinterpret_cast<const detail::i8x16u *>(
          residual + i / 2 * stride + lane);
      i32x16 r = __builtin_convertvector(pair, i32x16);
      r = i % 2 ? r >> 4 : (r << 28) >> 28;
      t = t + __builtin_convertvector(r, f32x16) * 0.0625f;
    }
    return t;
  }

  /// States i and, where there is one, i + 1, as integers of 8 + b bits.
  template <int Count>
  EFF_INLINE void set(int64_t i, int64_t lane, const i32x16 (&t)[Count],
                      int64_t count) const {
    i32x16 pair = {};
#pragma clang loop unroll(full)
    for (int j = 0; j < Count; ++j) {
      int64_t at = (i + j) * stride + lane;
      if (residualBits() == 0) {
        storeCodes(q + at, t[j], count);
        continue;
      }
      // The nearest multiple of 2^b, ties upwards.
      i32x16 whole = (t[j] + (1 << (residualBits() - 1))) >> residualBits();
      i32x16 rest = t[j] - (whole << residualBits());
      storeCodes(q + at, whole, count);
      if (residualBits() == 8)
        storeCodes(residual + at, rest, count);
      else
        pair = j == 0 ? rest & 15 : pair | (rest << 4);
    }
    if (residualBits() == 4)
      storeCodes(residual + i / 2 * stride + lane, pair, count);
  }
};

/// Philox 4x32-10 with the key 0: four words for each lane.
EFF_INLINE void philox(u32x16 (&c)[4]) {
  typedef uint64_t u64x8 __attribute__((vector_size(64)));
  auto multiply = [](u32x16 v, uint32_t m, u32x16 &high,
                     u32x16 &low) __attribute__((always_inline)) {
    u64x8 even = ((u64x8)v & 0xffffffffu) * m, odd = ((u64x8)v >> 32) * m;
    high = (u32x16)((even >> 32) | (odd & 0xffffffff00000000u));
    low = (u32x16)((even & 0xffffffffu) | (odd << 32));
  };
  uint32_t k0 = 0, k1 = 0;
#pragma clang loop unroll(full)
  for (int round = 0; round < 10; ++round) {
    u32x16 aHigh, aLow, bHigh, bLow;
    multiply(c[0], 0xD2511F53u, aHigh, aLow);
    multiply(c[2], 0xCD9E8D57u, bHigh, bLow);
    c[0] = bHigh ^ c[1] ^ k0;
    c[1] = bLow;
    c[2] = aHigh ^ c[3] ^ k1;
    c[3] = aLow;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

/// Numbers in [0, 1) for states i .. i + 3, i a multiple of 4, of the channels
/// from `row` on, at a token's position.
EFF_INLINE void randomNumbers(int64_t i, int64_t row, int64_t position,
                              f32x16 (&out)[4]) {
  u32x16 c[4] = {splat(static_cast<uint32_t>(i / 4)),
                 (u32x16)(iota() + static_cast<int32_t>(row)),
                 splat(static_cast<uint32_t>(position)),
                 splat(static_cast<uint32_t>(position >> 32))};
  philox(c);
#pragma clang loop unroll(full)
  for (int j = 0; j < 4; ++j)
    out[j] = __builtin_convertvector((i32x16)(c[j] >> 8), f32x16) *
             0.000000059604644775390625f;
}

/// Quotients of f32 without a division: exact where both `isOrdinary`.
struct Divisor {
  f32x16 scale, reciprocal;
};

/// x / scale, rounded as IEEE division is: two Newton steps on the quotient
/// (Markstein's theorem) where scale and x are ordinary.
EFF_INLINE f32x16 divide(f32x16 x, const Divisor &d) {
  f32x16 q = x * d.reciprocal;
  q = __builtin_elementwise_fma(__builtin_elementwise_fma(-q, d.scale, x),
                                d.reciprocal, q);
  return __builtin_elementwise_fma(__builtin_elementwise_fma(-q, d.scale, x),
                                   d.reciprocal, q);
}

/// Whether the first `count` lanes are magnitudes far from the ends of the
/// range.
EFF_INLINE bool areOrdinary(f32x16 scale, int64_t count) {
  if (EFF_SPEC(isa) < kIsaV3)
    return false; // no fused multiply-add
  f32x16 v = keepFirst(scale, count, splat(1.0f));
  i32x16 good = (v > 0x1p-60f) & (v < 0x1p60f);
  return __builtin_reduce_and(good) != 0;
}

/// |a| and |x|, whichever is larger; NaN in x counts for nothing. a is none of
/// both.
EFF_INLINE f32x16 largerMagnitude(f32x16 a, f32x16 x) {
  if (EFF_SPEC(isa) >= kIsaV4)
    return (f32x16)__builtin_ia32_rangeps512_mask(x, a, 11, f32x16{},
                                                  static_cast<uint16_t>(-1), 4);
  x = abs(x);
  return x > a ? x : a;
}

/// x over a scale as an integer of 8 + b bits. Ordinary: the scale is, and |x|
/// is a number below 2^60.
template <bool Ordinary>
EFF_INLINE i32x16 roundState(f32x16 x, const Divisor &d, f32x16 random) {
  float units = static_cast<float>(1 << residualBits());
  f32x16 t;
  if (Ordinary) {
    t = divide(x, d) * units;
  } else {
    t = x / d.scale * units;
    t = d.scale == 0.0f ? f32x16{} : t;
  }
  if (isStochastic())
    t = __builtin_elementwise_floor(t + random);
  if (!Ordinary)
    t = t == t ? t : f32x16{};
  // Dynamic scales leave no quotient outside to nearest.
  if (!Ordinary || !isDynamic() || isStochastic()) {
    t = min(t, splat(127 * units +
                     static_cast<float>(((1 << residualBits()) - 1) / 2)));
    t = max(t, splat(-128 * units));
  }
  return roundToInt(t);
}

/// Rounds n states of 16 V channels, which lie in h as [n][V][16], and stores
/// the first `columns` channels. `row`: the first channel's number; `largest`:
/// largest magnitudes; `reciprocals` [n][V][16] of static scales where they are
/// known and ordinary.
template <int V, bool Ordinary>
EFF_INLINE void storeStates(const StateBlock &block, const float *h,
                            const f32x16 (&scale)[V], const float *reciprocals,
                            int64_t columns, int64_t row, int64_t position,
                            const int8_t *next) {
  int64_t n = EFF_SPEC(n);
  f32x16 inverse[V];
#pragma clang loop unroll(full)
  for (int v = 0; v < V; ++v)
    inverse[v] = isDynamic() ? 1.0f / scale[v] : f32x16{};
  auto element = [&](int64_t i, int v,
                     f32x16 random) __attribute__((always_inline)) {
    Divisor d = {scale[v], inverse[v]};
    if (!isDynamic()) {
      d.scale = block.scale(i, 16 * v);
      d.reciprocal = Ordinary ? load(reciprocals + (i * V + v) * 16) : f32x16{};
    }
    return roundState<Ordinary>(load(h + (i * V + v) * 16), d, random);
  };
  int64_t i = 0;
#pragma clang loop unroll(disable)
  for (; i + 4 <= n; i += 4) {
    __builtin_prefetch(next + i * block.stride, 1);
    __builtin_prefetch(next + (i + 1) * block.stride, 1);
    __builtin_prefetch(next + (i + 2) * block.stride, 1);
    __builtin_prefetch(next + (i + 3) * block.stride, 1);
#pragma clang loop unroll(full)
    for (int v = 0; v < V; ++v) {
      f32x16 random[4] = {};
      if (isStochastic())
        randomNumbers(i, row + 16 * v, position, random);
#pragma clang loop unroll(full)
      for (int j = 0; j < 4; j += 2) {
        i32x16 t[2] = {element(i + j, v, random[j]),
                       element(i + j + 1, v, random[j + 1])};
        block.set(i + j, 16 * v, t, columns - 16 * v);
      }
    }
  }
  if (n % 4)
#pragma clang loop unroll(disable)
    for (int v = 0; v < V; ++v) {
      f32x16 random[4] = {};
      if (isStochastic())
        randomNumbers(i, row + 16 * v, position, random);
      if (n % 4 >= 2) {
        i32x16 t[2] = {element(i, v, random[0]), element(i + 1, v, random[1])};
        block.set(i, 16 * v, t, columns - 16 * v);
      }
      if (n % 2) {
        int64_t last = n - 1;
        i32x16 t[1] = {element(last, v, n % 4 == 3 ? random[2] : random[0])};
        block.set(last, 16 * v, t, columns - 16 * v);
      }
    }
}

/// storeStates by the way that the values allow: `sums` are NaN where a value
/// is. Also stores dynamic scales.
template <int V>
EFF_INLINE void roundStates(const StateBlock &block, const float *h,
                            const f32x16 (&largest)[V], const f32x16 (&sums)[V],
                            const float *reciprocals, int64_t columns,
                            int64_t row, int64_t position, const int8_t *next) {
  f32x16 scale[V];
  bool ordinary = isDynamic() || reciprocals;
#pragma clang loop unroll(full)
  for (int v = 0; v < V; ++v) {
    int64_t count = columns - 16 * v;
    scale[v] = largest[v] / 127.0f;
    if (isDynamic()) {
      storeFirst(block.dynamicScale + 16 * v, scale[v], count);
      ordinary &= areOrdinary(scale[v], count);
    }
    // One comparison for both: NaN is not below.
    f32x16 bound = largest[v] + 0.0f * sums[v];
    i32x16 good = keepFirst(bound, count, f32x16{}) < 0x1p60f;
    ordinary &= __builtin_reduce_and(good) != 0;
  }
  if (EFF_SPEC(isa) >= kIsaV3 && ordinary)
    storeStates<V, true>(block, h, scale, reciprocals, columns, row, position,
                         next);
  else
    storeStates<V, false>(block, h, scale, nullptr, columns, row, position,
                          next);
}

/// n states of 16 V channels as floats [n][V][16].
template <int V> EFF_INLINE void loadStates(const StateBlock &block, float *h) {
#pragma clang loop unroll(disable)
  for (int64_t i = 0; i < EFF_SPEC(n); ++i)
#pragma clang loop unroll(full)
    for (int v = 0; v < V; ++v)
      store(h + (i * V + v) * 16,
            block.scale(i, 16 * v) * block.get(i, 16 * v));
}

/// Rounds states that lie in h as loadStates has left them, once for a call.
template <int V>
EFF_INLINE void roundCall(const StateBlock &block, const float *h,
                          int64_t columns, int64_t row, int64_t position) {
  f32x16 largest[V] = {}, sums[V] = {};
#pragma clang loop unroll(disable)
  for (int64_t i = 0; i < EFF_SPEC(n); ++i)
#pragma clang loop unroll(full)
    for (int v = 0; v < V; ++v) {
      f32x16 value = load(h + (i * V + v) * 16);
      largest[v] = largerMagnitude(largest[v], value);
      sums[v] = sums[v] + value;
    }
  roundStates<V>(block, h, largest, sums, nullptr, columns, row, position,
                 block.q);
}

} // namespace kernels

#endif // EFF_KERNELS_X86_STATE8_H
