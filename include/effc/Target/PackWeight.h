//===- PackWeight.h - weights to the kernels' layouts -----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Writes a weight as eff::PackedLayout describes it, rounded as eff/Rounding.h
/// does. Panels are independent of each other, so they may be packed by any
/// number of threads, with equal bytes.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_TARGET_PACKWEIGHT_H
#define EFFC_TARGET_PACKWEIGHT_H

#include "effc/Dialect/Eff/Layout.h"
#include "effc/Dialect/Eff/WeightSource.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/Error.h"

namespace effc {

/// Where a weight's values come from. Both may be called by several threads at
/// once.
struct RowSource {
  /// Reads rows [n, n + count) of k values, one after the other. A weight that
  /// is not 2-d is one row.
  llvm::function_ref<void(int64_t n, int64_t count,
                          llvm::MutableArrayRef<float> out)>
      read;
  /// All values in row-major order and in the weight's own float format, or
  /// nothing.
  llvm::ArrayRef<char> verbatim = {};
  /// Integers and scales that a pass has chosen; then `read` is not called.
  eff::QuantizedValues quantized = {};
};

/// What packPanels counts.
int64_t getPanelCount(eff::WeightType type);

/// Packs panels [begin, end) into `out`, which holds the whole packed weight
/// and is aligned to 4. Their padding is written too and belongs to them alone.
void packPanels(eff::WeightType type, const RowSource &source, int64_t begin,
                int64_t end, llvm::MutableArrayRef<uint8_t> out);

/// Packs a whole weight with up to `threads` threads. Fails when `out` has
/// another size than getPackedBytes().
llvm::Error packWeight(eff::WeightType type, const RowSource &source,
                       llvm::MutableArrayRef<uint8_t> out,
                       unsigned threads = 1);
llvm::Error packWeight(eff::WeightType type, const eff::WeightSource &source,
                       llvm::MutableArrayRef<uint8_t> out,
                       unsigned threads = 1);

} // namespace effc

#endif // EFFC_TARGET_PACKWEIGHT_H
