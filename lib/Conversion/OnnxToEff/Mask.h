//===- Mask.h - attention masks by their numbers ----------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_ONNXTOEFF_MASK_H
#define EFFC_LIB_CONVERSION_ONNXTOEFF_MASK_H

#include "Emitter.h"

namespace effc::raise {

struct MaskMeaning {
  bool causal = false;
  int64_t window = 0;
};

/// What `bias`, numbers added to scores (empty: none), together with a causal
/// flag (key j is seen iff j <= t + `offset`) lets each of the `tokens` queries
/// see of the `total` keys. Its `shape` is [batch, heads, tokens or 1, total];
/// query t is at position `past + t`. A mask that a `window` known otherwise
/// explains has it, although the keys are too few to show it. nullopt, with the
/// reason, for what is neither causal, windowed nor open.
std::optional<MaskMeaning> readMask(llvm::ArrayRef<double> bias,
                                    llvm::ArrayRef<int64_t> shape, bool causal,
                                    int64_t offset, int64_t tokens,
                                    int64_t total, int64_t past, int64_t window,
                                    std::string &reason);

} // namespace effc::raise

#endif // EFFC_LIB_CONVERSION_ONNXTOEFF_MASK_H
