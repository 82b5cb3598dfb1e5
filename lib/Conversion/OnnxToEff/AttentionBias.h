//===- AttentionBias.h - what is added to scores ----------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_ONNXTOEFF_ATTENTIONBIAS_H
#define EFFC_LIB_CONVERSION_ONNXTOEFF_ATTENTIONBIAS_H

#include "Emitter.h"

namespace effc::raise {

/// One summand of scores `[batch, heads, tokens, keys]`. Dimensions along which
/// it repeats are 1; of the batch, the repetition outside is left out.
struct BiasPart {
  Value value; ///< the node's operand, as the graph has it
  View view;
  /// Of booleans: where they are `hidden`, `low` is added, elsewhere nothing.
  bool hidden = false;
  double low = 0;
};

/// Scores without what is added to them.
struct BareScores {
  Value scores;
  llvm::SmallVector<BiasPart> parts;
  llvm::SmallVector<mlir::Operation *> covers;
};

/// `value`, broadcast to `current`, whose elements in order are those of scores
/// of `shape`; nullopt when it does not fit.
std::optional<BiasPart> makeBiasPart(Graph &graph, Value value,
                                     llvm::ArrayRef<int64_t> current,
                                     llvm::ArrayRef<int64_t> shape);

/// Takes sums and choices off `scores`, also behind reshapes (shifted windows
/// add a mask for each window). `shape` is `[batch, heads, tokens, keys]`.
BareScores takeBiases(Graph &graph, Value scores,
                      llvm::ArrayRef<int64_t> shape);

/// `[batch, heads or 1, tokens or 1, keys]` that the parts have together: the
/// largest of each dimension.
llvm::SmallVector<int64_t> shapeOfParts(llvm::ArrayRef<BiasPart> parts);

/// The sum of constants, of `shapeOfParts`; nullopt when not all are.
std::optional<std::vector<double>>
sumOfConstants(Graph &graph, llvm::ArrayRef<BiasPart> parts);

/// Their sum as the bias of eff.attention; null with an error emitted.
Value emitBias(Emitter &emitter, llvm::ArrayRef<BiasPart> parts);

} // namespace effc::raise

#endif // EFFC_LIB_CONVERSION_ONNXTOEFF_ATTENTIONBIAS_H
