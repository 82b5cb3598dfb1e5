//===- Heads.h - logits only where they are asked for -----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_ONNXTOEFF_HEADS_H
#define EFFC_LIB_CONVERSION_ONNXTOEFF_HEADS_H

#include "effc/Dialect/Eff/Eff.h"

namespace effc::raise {

/// Rebuilds what makes `logits` from the last place where tokens mix, on
/// selected rows: select_rows, the final norm, the head. Returns the logits
/// `[batch * tokens, vocab]`; null when they are not rows of activations.
mlir::Value selectRows(mlir::OpBuilder &builder, mlir::Value logits,
                       int64_t batch, int64_t tokens);

} // namespace effc::raise

#endif // EFFC_LIB_CONVERSION_ONNXTOEFF_HEADS_H
