//===- Indexing.h - computed places -----------------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_ONNXTOLINALG_INDEXING_H
#define EFFC_LIB_CONVERSION_ONNXTOLINALG_INDEXING_H

#include "Lowering.h"

namespace effc::lower {

/// An index of a dimension of this size: negative ones count from the end; one
/// outside becomes the nearest inside.
Value position(const Expr &e, Value raw, int64_t size);

} // namespace effc::lower

#endif // EFFC_LIB_CONVERSION_ONNXTOLINALG_INDEXING_H
