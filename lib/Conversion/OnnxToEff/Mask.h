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

/// What a constant mask (null: none), additive or of booleans, together with a
/// causal flag (key j is seen iff j <= t + `offset`) lets each of the `tokens`
/// queries see of the `total` keys. `scores` is [batch, heads, tokens, total];
/// query t is at position `past + t`. nullopt, with the reason, for what is
/// neither causal, windowed nor open.
std::optional<MaskMeaning> readMask(Graph &graph, Value mask, bool causal,
                                    int64_t offset,
                                    llvm::ArrayRef<int64_t> scores,
                                    int64_t past, std::string &reason);

} // namespace effc::raise

#endif // EFFC_LIB_CONVERSION_ONNXTOEFF_MASK_H
