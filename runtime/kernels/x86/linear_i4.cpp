//===- linear_i4.cpp - linears on int4 weights ------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// linear_i4 (f32 activations), linear_i4a8 (int8 activations).
///
/// Operands of linear_i4: x f32 [rows][ldx]; w; y f32 [rows][ldy]; extras. Of
/// linear_i4a8: those of linear_i8a8, w aside. w is eff::Layout::Nibble16:
/// [n/16][k/8][16] dwords, in each the low halves of its bytes four k and the
/// high halves the next four, two's complement; then f32
/// scale[n/16][k/group][16], and with `zeros` as many zero points:
/// w = scale * (q - zero), so the sum of a group is sum q x - zero * sum x.
///
/// linear_i4a8: the sum of a group is exact in s32; groups are added in order,
///   sum = fma(f32(group sum), wscale, sum), then y = epilogue(scale[r] * sum).
///   Bit for bit the same with and without VNNI, but for targets without fma.
///
/// linear_i4 has two forms. One widens weights to f32; sums are chains of
/// multiply-adds over a group, which are multiplied by the group's scale and
/// added. In the other one activations become integers of 24 bits: x = unit *
/// (65536 a + 256 b + c) with int8 digits a, b, c and a power of two `unit` for
/// each row and group, so that |x - its integer| <= 2^-23 * the largest |x| of
/// the group; the three dot products are exact. With VNNI that takes 9
/// instructions for 128 weights instead of 24; on AVX2 it makes single rows 1.7
/// times as fast and many rows a fifth slower. AVX-512 without VNNI and SSE
/// keep the first form. Both are within the tolerance of the other linears, 4 *
/// sqrt(k) * 2^-24 of the largest sum |x w| of a row. A group that holds an
/// infinity or NaN gives NaN or infinity.
///
/// Weights are the unsigned operand of dot products: u = q + 8, and sums start
/// at -8 * the sum of the group's activations.
///
//===----------------------------------------------------------------------===//

#include "runtime/kernels/x86/dot.h"
#include "runtime/kernels/x86/linear_groups.h"

namespace kernels {
namespace {

/// Steps of 8 k of a panel.
EFF_INLINE int64_t stepCount() { return ceilDiv(EFF_SPEC(k), 8); }

/// The lowest four bits of each lane, a number from -8 to 7.
EFF_INLINE f32x16 widenNibble(u32x16 bits) {
  if (EFF_SPEC(isa) >= kIsaV4) {
    // A lookup that ignores the upper bits of its index: vpermps.
    f32x16 table = {0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1};
    return (f32x16)__builtin_ia32_permvarsf512(table, (i32x16)bits);
  }
  return __builtin_convertvector((i32x16)(bits << 28) >> 28, f32x16);
}

/// Nibbles of a weight, multiply-adds in f32.
struct Nibbles {
  static constexpr int64_t kStep = 8;
  /// Which k the place-th turn of a step has.
  static constexpr int column(int place) { return place % 2 * 4 + place / 2; }
  static EFF_INLINE f32x16 next(u32x16 &bits) {
    f32x16 wide = widenNibble(bits);
    bits = bits >> 4;
    return wide;
  }
};

/// What int8 digits of activations look like to the loops below: `Digits`
/// planes of bytes for each row, and for each row, group and plane -8 * its
/// sum.
template <class Base> struct Integers : Base {
  static constexpr int kDigits = Base::kDigits;
  static constexpr int kVectors = 1;
  static constexpr int kChains = kDigits;
  static constexpr int kMostRows = Base::kMostRows;

  static EFF_INLINE int64_t panelBytes() { return stepCount() * 64; }
  static EFF_INLINE int64_t scratchBytes(int rows) {
    return rows * Base::rowScratch();
  }

  /// Which scales of panel p to ask for at group g: in this tile or the next.
  template <int P> static EFF_INLINE int64_t scalesAhead(int p, int64_t g) {
    int64_t to = g + 4;
    return to < groupCount() ? p * groupCount() + to
                             : (p + P - 1) * groupCount() + to;
  }

  template <int R, int P>
  static EFF_INLINE void accumulate(const LinearArgs<Integers> &a, int64_t row,
                                    const uint8_t *w, f32x16 (&sums)[R * P]) {
    constexpr int D = kDigits;
    const float *scales = scalesOf<8>(a.w, w), *zeros = zerosOf<8>(scales);
#pragma clang loop unroll(full)
    for (int i = 0; i < R * P; ++i)
      sums[i] = f32x16{};
#pragma clang loop unroll(disable)
    for (int64_t g = 0; g < groupCount(); ++g) {
      i32x16 acc[R * P * D];
#pragma clang loop unroll(full)
      for (int r = 0; r < R; ++r)
#pragma clang loop unroll(full)
        for (int d = 0; d < D; ++d) {
          i32x16 start = splat(Base::starts(a, r)[g * D + d]);
#pragma clang loop unroll(full)
          for (int p = 0; p < P; ++p)
            acc[(r * P + p) * D + d] = start;
        }
      auto step = [&](int64_t s, int64_t distance,
                      int64_t bytes) __attribute__((always_inline)) {
        i32x16 low[P], high[P];
#pragma clang loop unroll(full)
        for (int p = 0; p < P; ++p) {
          const uint8_t *at = w + p * panelBytes() + s * 64;
          __builtin_prefetch(at + distance);
          u32x16 bits = loadBits(at);
          low[p] = (i32x16)((bits & 0x0f0f0f0fu) ^ 0x08080808u);
          high[p] = (i32x16)((bits >> 4 & 0x0f0f0f0fu) ^ 0x08080808u);
        }
#pragma clang loop unroll(full)
        for (int r = 0; r < R; ++r)
#pragma clang loop unroll(full)
          for (int d = 0; d < D; ++d) {
            const uint8_t *x = Base::plane(a, row, r, d) + s * 8;
            i32x16 first = splatBytes(x, bytes);
            i32x16 second = splatBytes(x + 4, bytes - 4);
#pragma clang loop unroll(full)
            for (int p = 0; p < P; ++p) {
              i32x16 &sum = acc[(r * P + p) * D + d];
              sum = dotNibbles(sum, low[p], first, high[p], second);
            }
          }
      };
      int64_t whole = EFF_SPEC(k) / 8, s = g * (EFF_SPEC(group) / 8),
              end = least(s + EFF_SPEC(group) / 8, whole),
              distance = aheadInTiles<P>(R, s * 64, panelBytes());
#pragma clang loop unroll(full)
      for (int p = 0; p < P; ++p)
        __builtin_prefetch(scales + scalesAhead<P>(p, g) * 16);
#pragma clang loop unroll(disable)
      for (; s < end; ++s)
        step(s, distance, 8);
      if (EFF_SPEC(k) % 8 && g == groupCount() - 1)
        step(whole, 0, EFF_SPEC(k) % 8);
#pragma clang loop unroll(full)
      for (int p = 0; p < P; ++p) {
        f32x16 scale = load(scales + (p * groupCount() + g) * 16);
#pragma clang loop unroll(full)
        for (int r = 0; r < R; ++r) {
          f32x16 sum = Base::combine(a, r, g, acc + (r * P + p) * D);
          if (EFF_SPEC(zeros))
            sum = sum - load(zeros + (p * groupCount() + g) * 16) *
                            Base::sumOf(a, r, g);
          sums[r * P + p] = sums[r * P + p] + sum * scale;
        }
      }
    }
  }
};

/// int8 activations: one digit, which lies in the operand itself.
struct Bytes {
  using Activations = Q8;
  static constexpr int kDigits = 1;
  static constexpr int kMostRows = 12;

  static EFF_INLINE int64_t rowScratch() {
    return ceilDiv(groupCount(), 16) * 64;
  }
  template <class A>
  static EFF_INLINE const int32_t *starts(const A &a, int r) {
    return reinterpret_cast<const int32_t *>(a.scratch + r * rowScratch());
  }
  template <class A>
  static EFF_INLINE const uint8_t *plane(const A &a, int64_t row, int r, int) {
    return a.x.q + (row + r) * EFF_SPEC(ldq);
  }
  template <int R, class A>
  static EFF_INLINE void prepare(const A &a, int64_t row) {
#pragma clang loop unroll(disable)
    for (int r = 0; r < R; ++r) {
      const uint8_t *q = plane(a, row, r, 0);
      auto *starts = reinterpret_cast<int32_t *>(a.scratch + r * rowScratch());
#pragma clang loop unroll(disable)
      for (int64_t g = 0; g < groupCount(); ++g) {
        int64_t begin = g * EFF_SPEC(group),
                end = least(begin + EFF_SPEC(group), EFF_SPEC(k));
        i32x16 sum = {};
#pragma clang loop unroll(disable)
        for (int64_t i = begin; i < end; i += 16) {
          i32x16 v = __builtin_convertvector(
              *reinterpret_cast<const detail::i8x16u *>(q + i), i32x16);
          i32x16 in = iota() < static_cast<int32_t>(end - i);
          sum = sum + (v & in);
        }
        starts[g] = -8 * sumLanes(sum);
      }
    }
  }
  template <class A>
  static EFF_INLINE f32x16 combine(const A &, int, int64_t,
                                   const i32x16 *digits) {
    return __builtin_convertvector(digits[0], f32x16);
  }
  /// The sum of a group's activations.
  template <class A>
  static EFF_INLINE float sumOf(const A &a, int r, int64_t g) {
    return static_cast<float>(starts(a, r)[g] / -8);
  }
  template <class A>
  static EFF_INLINE f32x16 scaled(const A &a, f32x16 sum, int64_t row,
                                  int64_t) {
    return a.x.scaleOf(row) * sum;
  }
};

/// f32 activations as three digits. A row's scratch: planes of digits, then
/// starts, then units.
struct Digits {
  using Activations = const float *;
  static constexpr int kDigits = 3;
  /// Of two panels, so that a loaded activation meets two of them, and the
  /// digits of a tile stay in the first cache.
  static constexpr int kMostRows = 4;

  /// Bytes between planes; each has room for a vector more than it needs.
  static EFF_INLINE int64_t planeBytes() {
    return ceilDiv(stepCount() * 8 + 16, 64) * 64;
  }
  static EFF_INLINE int64_t rowScratch() {
    return kDigits * planeBytes() +
           ceilDiv(groupCount() * (kDigits + 1) * 4, 64) * 64;
  }
  template <class A> static EFF_INLINE int8_t *digitsOf(const A &a, int r) {
    return reinterpret_cast<int8_t *>(a.scratch + r * rowScratch());
  }
  template <class A> static EFF_INLINE int32_t *starts(const A &a, int r) {
    return reinterpret_cast<int32_t *>(digitsOf(a, r) + kDigits * planeBytes());
  }
  template <class A> static EFF_INLINE float *units(const A &a, int r) {
    return reinterpret_cast<float *>(starts(a, r) + groupCount() * kDigits);
  }
  template <class A>
  static EFF_INLINE const uint8_t *plane(const A &a, int64_t, int r, int d) {
    return reinterpret_cast<const uint8_t *>(digitsOf(a, r)) + d * planeBytes();
  }

  /// The exponent (biased) of the unit for numbers up to `largest`, whose bits
  /// are given: |x| / unit <= 8355711, the largest integer of three digits.
  static EFF_INLINE int32_t unitExponent(uint32_t largest) {
    union {
      float f;
      uint32_t u;
    } scaled = {fromBits(largest) * 1.004f};
    int32_t exponent = static_cast<int32_t>(scaled.u >> 23);
    return (exponent < 24 ? 24 : exponent) - 22;
  }

  template <int R, class A>
  static EFF_INLINE void prepare(const A &a, int64_t row) {
#pragma clang loop unroll(disable)
    for (int r = 0; r < R; ++r)
#pragma clang loop unroll(disable)
      for (int64_t g = 0; g < groupCount(); ++g)
        prepareGroup(a, a.x + (row + r) * EFF_SPEC(ldx), r, g);
  }
  template <class A>
  static EFF_INLINE void prepareGroup(const A &a, const float *x, int r,
                                      int64_t g) {
    int64_t begin = g * EFF_SPEC(group),
            end = least(begin + EFF_SPEC(group), EFF_SPEC(k));
    u32x16 most = {};
#pragma clang loop unroll(disable)
    for (int64_t i = begin; i < end; i += 16) {
      u32x16 bits = (u32x16)abs(keepFirst(load(x + i), end - i, f32x16{}));
      most = bits > most ? bits : most;
    }
    uint32_t largest = maxLanes(most);
    int32_t exponent = unitExponent(largest);
    // Powers of two, so that products with them are exact.
    f32x16 inverse = splat(fromBits((254 - exponent) << 23));
    i32x16 sums[kDigits] = {};
    int8_t *digits = digitsOf(a, r);
#pragma clang loop unroll(disable)
    for (int64_t i = begin; i < end; i += 16) {
      f32x16 v = keepFirst(load(x + i), end - i, f32x16{}) * inverse;
      i32x16 n =
          __builtin_convertvector(__builtin_elementwise_roundeven(v), i32x16);
      // Digits from -128: each borrows from the next.
      n = (n + 0x00808080) ^ 0x00808080;
#pragma clang loop unroll(full)
      for (int d = 0; d < kDigits; ++d) {
        i8x16 digit = __builtin_convertvector(n >> (8 * d), i8x16);
        sums[d] = sums[d] + __builtin_convertvector(digit, i32x16);
        *reinterpret_cast<detail::i8x16u *>(digits + d * planeBytes() + i) =
            digit;
      }
    }
#pragma clang loop unroll(full)
    for (int d = 0; d < kDigits; ++d)
      starts(a, r)[g * kDigits + d] = -8 * sumLanes(sums[d]);
    bool finite = largest < 0x7f800000u;
    units(a, r)[g] = fromBits(finite ? exponent << 23 : 0x7fc00000);
  }

  template <class A>
  static EFF_INLINE f32x16 combine(const A &a, int r, int64_t g,
                                   const i32x16 *digits) {
    f32x16 low = __builtin_convertvector(digits[0], f32x16),
           middle = __builtin_convertvector(digits[1], f32x16),
           high = __builtin_convertvector(digits[2], f32x16);
    return ((high * 256.0f + middle) * 256.0f + low) * units(a, r)[g];
  }
  template <class A>
  static EFF_INLINE float sumOf(const A &a, int r, int64_t g) {
    const int32_t *digits = starts(a, r) + g * kDigits;
    float low = digits[0] / -8, middle = digits[1] / -8, high = digits[2] / -8;
    return ((high * 256.0f + middle) * 256.0f + low) * units(a, r)[g];
  }
  template <class A>
  static EFF_INLINE f32x16 scaled(const A &, f32x16 sum, int64_t, int64_t) {
    return sum;
  }
};

} // namespace
} // namespace kernels

EFF_KERNEL(linear_i4) {
  using namespace kernels;
  auto run = [&](auto form) {
    LinearArgs<decltype(form)> a = {static_cast<const float *>(operands[0]),
                                    static_cast<const uint8_t *>(operands[1]),
                                    operands[2],
                                    nullptr,
                                    operands + 3,
                                    nullptr};
    linearForTarget<decltype(form)>(a, call, thread, threads);
  };
  if (hasVnni() || EFF_SPEC(isa) == kIsaV3)
    run(Integers<Digits>());
  else
    run(Grouped<Nibbles>());
}

EFF_KERNEL(linear_i4a8) {
  using namespace kernels;
  LinearArgs<Integers<Bytes>> a = {{static_cast<const uint8_t *>(operands[0]),
                                    static_cast<const float *>(operands[1])},
                                   static_cast<const uint8_t *>(operands[2]),
                                   operands[3],
                                   static_cast<const float *>(operands[4]),
                                   operands + 5,
                                   nullptr};
  linearForTarget<Integers<Bytes>>(a, call, thread, threads);
}
