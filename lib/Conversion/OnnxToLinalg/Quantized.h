//===- Quantized.h - between integers and what they stand for ---*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_ONNXTOLINALG_QUANTIZED_H
#define EFFC_LIB_CONVERSION_ONNXTOLINALG_QUANTIZED_H

#include "Lowering.h"

namespace effc::lower {

/// `round(x) + zero` as `element`, saturating; `zero` may be null.
Value toQuantized(const Expr &e, Value x, Value zero, Type element,
                  bool isUnsigned);

/// Operand `x` in f32, by the one scale and zero point that operands `scale`
/// and `zero` hold (`zero` may be absent); null when they are more than one.
Value dequantized(Lowering &l, unsigned x, unsigned scale, unsigned zero);

/// An f32 tensor as the first result, by such a scale and zero point.
Results quantized(Lowering &l, Value y, unsigned scale, unsigned zero);

/// An integer tensor less its zero point, as i32. `column` makes a vector stand
/// for rows.
Value centered(Lowering &l, unsigned x, unsigned zero, bool column);

// The files of quantised operators.
void addQuantizedOps(Table &table);

} // namespace effc::lower

#endif // EFFC_LIB_CONVERSION_ONNXTOLINALG_QUANTIZED_H
