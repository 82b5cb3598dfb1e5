//===- Layout.h - where a packed weight's parts lie -------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The one description of packed weights that packer, planner, kernels and
/// tests share. A packed weight is its values, then (for integer formats) its
/// scales and zero points, then (quad16) its sums; each part starts at a
/// multiple of 64 bytes. Everything here is a pure function of the weight's
/// type.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_EFF_LAYOUT_H
#define EFFC_DIALECT_EFF_LAYOUT_H

#include "effc/Dialect/Eff/Eff.h"

namespace effc::eff {

/// Alignment of a packed weight and of each of its parts.
inline constexpr int64_t kPackedAlignment = 64;

/// Sizes and byte offsets of a packed weight. Absent parts have size 0.
struct PackedLayout {
  /// `n` and `k` with their padding; for weights of other ranks 1 and the
  /// number of elements.
  int64_t rows = 0, columns = 0;
  /// Rows that lie side by side: 16, 32, or 1 (row_major).
  int64_t panel = 1;
  /// Scales in a row: ceil(k / group), 1 without groups, 0 for floats.
  int64_t groups = 0;
  int64_t valueOffset = 0, valueBytes = 0;
  int64_t scaleOffset = 0, scaleBytes = 0;
  int64_t zeroOffset = 0, zeroBytes = 0;
  int64_t sumOffset = 0, sumBytes = 0;
  int64_t totalBytes = 0;
};

PackedLayout getPackedLayout(WeightType type);

/// Offset in bytes, from the weight's start, of the storage unit that holds
/// value (n, k).
int64_t getValueOffset(WeightType type, int64_t n, int64_t k);
/// Position of the lowest bit of value (n, k), any n, in the byte at
/// getValueOffset: 0, or 4 for odd nibbles.
int64_t getValueShift(WeightType type, int64_t k);
/// Offset in bytes of the f32 scale that value (n, k) is multiplied by. The
/// format must be an integer one.
int64_t getScaleOffset(WeightType type, int64_t n, int64_t k);
/// Offset in bytes of the f32 zero point of value (n, k). The format must have
/// them.
int64_t getZeroOffset(WeightType type, int64_t n, int64_t k);
/// Offset in bytes of the s32 sum of row n. The layout must be quad16.
int64_t getSumOffset(WeightType type, int64_t n);

/// The layout that the kernels of a format read: panel16 for f32, and so on.
Layout getKernelLayout(mlir::Attribute format);

} // namespace effc::eff

#endif // EFFC_DIALECT_EFF_LAYOUT_H
