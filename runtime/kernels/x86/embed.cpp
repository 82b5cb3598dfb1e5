//===- embed.cpp - token embeddings -----------------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// embed: ids s32 [rows], w [vocab][d] in the format that the constant `format`
/// says, y f32 [rows][ldy]. Values are those of the format, exactly (int4 and
/// int8: q * scale, or (q - zero) * scale, rounded once where zero is an
/// integer). Threads split the columns, so that a single row is shared too.
/// With `tokens`, rows are those of positions: past + first, counted on in each
/// sequence, the last one beyond the table.
///
//===----------------------------------------------------------------------===//

#include "runtime/kernels/x86/half.h"

namespace kernels {
namespace {

enum Format : int64_t {
  kRowF32 = 0,
  kRowBf16 = 1,
  kRowF16 = 2,
  kPanel16 = 3,
  kPanel32Bf16 = 4,
  kPanel32F16 = 5,
  kQuad16 = 6,
  kNibble16 = 7
};

/// One row of the table.
class TableRow {
public:
  EFF_INLINE TableRow(const void *table, int64_t id)
      : table(static_cast<const uint8_t *>(table)), id(id) {
    int64_t d = EFF_SPEC(d), panels = ceilDiv(EFF_SPEC(vocab), 16);
    if (EFF_SPEC(format) == kQuad16 || EFF_SPEC(format) == kNibble16)
      scales = this->table +
               panels * ceilDiv(d, EFF_SPEC(format) == kQuad16 ? 4 : 8) * 64 +
               (id / 16 * groups() * 16 + id % 16) * 4;
  }

  /// Columns [k, k + 16); those from `count` on are of no interest. k is a
  /// multiple of 16.
  EFF_INLINE f32x16 get(int64_t k, int64_t count) const {
    int64_t d = EFF_SPEC(d);
    switch (EFF_SPEC(format)) {
    case kRowF32:
      return load(reinterpret_cast<const float *>(table) + id * d + k);
    case kRowBf16:
    case kRowF16: {
      u16x16 bits =
          *reinterpret_cast<const detail::u16x16u *>(table + (id * d + k) * 2);
      u32x16 wide = __builtin_convertvector(bits, u32x16);
      return EFF_SPEC(format) == kRowBf16 ? bf16(wide) : half(wide);
    }
    case kPanel16:
      return (f32x16)gather(table + ((id / 16 * d + k) * 16 + id % 16) * 4, 1,
                            count);
    case kPanel32Bf16:
    case kPanel32F16: {
      u32x16 bits =
          gather(table + ((id / 32 * d + k) * 16 + id % 16) * 4, 1, count);
      bits = bits >> static_cast<uint32_t>(id % 32 / 16 * 16);
      return EFF_SPEC(format) == kPanel32Bf16 ? bf16(bits) : half(bits);
    }
    default: {
      int64_t depth = EFF_SPEC(format) == kQuad16 ? 4 : 8;
      f32x16 q = integers(id / 16 * ceilDiv(d, depth), k, depth, count);
      // Groups are multiples of 8: at most two of them meet in 16 columns.
      if (EFF_SPEC(zeros))
        q = q - ofGroups(k, zeroDistance());
      return q * ofGroups(k, 0);
    }
    }
  }

private:
  static EFF_INLINE float fromDword(const uint8_t *p) {
    return fromBits(loadDword(p));
  }
  static EFF_INLINE int64_t groupLength() {
    return EFF_SPEC(group) ? EFF_SPEC(group) : EFF_SPEC(d);
  }
  static EFF_INLINE int64_t groups() {
    return ceilDiv(EFF_SPEC(d), groupLength());
  }
  /// Bytes from a scale to the zero point that belongs to it.
  static EFF_INLINE int64_t zeroDistance() {
    return ceilDiv(EFF_SPEC(vocab), 16) * groups() * 64;
  }
  /// What columns [k, k + 16) have `distance` bytes behind their scales.
  EFF_INLINE f32x16 ofGroups(int64_t k, int64_t distance) const {
    auto get = [&](int64_t at) {
      return fromDword(scales + distance + at / groupLength() * 64);
    };
    float first = get(k), second = get(k + 8 < EFF_SPEC(d) ? k + 8 : k);
    return iota() < 8 ? splat(first) : splat(second);
  }

  /// Dwords 64 bytes apart, each of them `repeat` times.
  static EFF_INLINE u32x16 gather(const uint8_t *p, int64_t repeat,
                                  int64_t count) {
    uint32_t lanes[16] = {};
#pragma clang loop unroll(disable)
    for (int64_t i = 0; i < 16 && i < count; ++i)
      lanes[i] = loadDword(p + i / repeat * 64);
    return loadBits(lanes);
  }
  /// Integers of 32 / depth bits, `depth` in a dword: bytes, or the low halves
  /// of all bytes and then the high ones.
  EFF_INLINE f32x16 integers(int64_t panelStep, int64_t k, int64_t depth,
                             int64_t count) const {
    u32x16 bits = gather(table + ((panelStep + k / depth) * 16 + id % 16) * 4,
                         depth, count);
    i32x16 width = splat(static_cast<int32_t>(32 / depth));
    i32x16 start = (iota() & 3) * 8;
    if (depth == 8)
      start = start + (iota() & 4);
    i32x16 shift = 32 - width - start;
    return __builtin_convertvector(
        (i32x16)(bits << (u32x16)shift) >> (32 - width), f32x16);
  }

  const uint8_t *table;
  const uint8_t *scales = nullptr;
  int64_t id;
};

} // namespace
} // namespace kernels

using namespace kernels;

EFF_KERNEL(embed) {
  int64_t d = EFF_SPEC(d), tokens = EFF_SPEC(tokens);
  Range blocks = split(ceilDiv(d, 16), thread, threads);
  for (int64_t row = 0; row < EFF_SPEC(rows); ++row) {
    int64_t id =
        tokens
            ? least(call->past[row / tokens] + row % tokens + EFF_SPEC(first),
                    EFF_SPEC(vocab) - 1)
            : static_cast<const int32_t *>(operands[0])[row];
    TableRow from(operands[1], id);
    float *y = static_cast<float *>(operands[2]) + row * EFF_SPEC(ldy);
    for (int64_t k = blocks.begin * 16; k < blocks.end * 16; k += 16)
      storeFirst(y + k, from.get(k, d - k), d - k);
  }
}
