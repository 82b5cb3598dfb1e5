//===- WeightSource.h - reads the values of a weight ------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_EFF_WEIGHTSOURCE_H
#define EFFC_DIALECT_EFF_WEIGHTSOURCE_H

#include "effc/Dialect/Eff/Eff.h"
#include "effc/Dialect/Eff/Rounding.h"

#include "llvm/Support/Error.h"

namespace effc::eff {

/// The integers (or bytes of 8-bit floats) and scales that a pass or the file
/// has chosen for a weight: q is [n, k], scales [n] or [n, groups]
/// (EffSymbolOps.td, C4), zeros as scales, or empty.
struct QuantizedValues {
  llvm::ArrayRef<int8_t> q;
  llvm::ArrayRef<float> scales;
  llvm::ArrayRef<float> zeros = {};
  /// Null for integers.
  Float8Attr float8 = {};

  /// The value of integer `i` that has scale `s`.
  float get(int64_t i, int64_t s) const {
    if (float8)
      return scales[s] * fromFloat8(float8.getKind(), uint8_t(q[i]));
    return scales[s] * (zeros.empty() ? float(q[i]) : float(q[i]) - zeros[s]);
  }
};
/// Fails when the weight has none, or their bytes are absent or too short.
llvm::Expected<QuantizedValues> getQuantizedValues(WeightOp op);

/// Reads an `eff.weight`'s source row by row, in the weight's logical order and
/// before any rounding to its format, straight from where the source's bytes
/// are. The op must outlive the reader.
class WeightSource {
public:
  /// Fails when the weight has no source or the source's bytes are absent or
  /// too short.
  static llvm::Expected<WeightSource> create(WeightOp op);

  /// Rows and columns; a weight that is not 2-d is one row.
  int64_t getRows() const { return rows; }
  int64_t getColumns() const { return columns; }

  /// Reads `out.size()` values of row `n` from column `k` on, as f32 (an f64
  /// source is rounded).
  void read(int64_t n, int64_t k, llvm::MutableArrayRef<float> out) const;

  /// Reads rows [n, n + count) whole, one after the other; fast for transposed
  /// sources too.
  void readRows(int64_t n, int64_t count,
                llvm::MutableArrayRef<float> out) const;

  /// The source's bytes when they are the weight's values in row-major order
  /// and in the weight's own format, so that a row-major weight can be copied
  /// as it is; empty otherwise.
  llvm::ArrayRef<char> getVerbatim() const { return verbatim; }

private:
  enum class Element { F32, F16, BF16, F64 };

  float get(int64_t index) const;

  llvm::ArrayRef<char> bytes, verbatim;
  int64_t rows = 1, columns = 0;
  Element element = Element::F32;
  bool splat = false, transposed = false;
};

} // namespace effc::eff

#endif // EFFC_DIALECT_EFF_WEIGHTSOURCE_H
