//===- WeightValues.h - changes the values of a weight ----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Passes that change values work on one weight at a time: read it whole,
/// change it, put it back. Memory stays bounded by that one weight: large
/// values live in an unlinked temporary file that is mapped ($TMPDIR, else
/// /var/tmp), and the pages that nobody reads leave memory.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_DIALECT_EFF_WEIGHTVALUES_H
#define EFFC_DIALECT_EFF_WEIGHTVALUES_H

#include "effc/Dialect/Eff/Eff.h"

#include "mlir/IR/AsmState.h"
#include "llvm/Support/Error.h"

namespace effc::eff {

/// Bytes that become the data of a resource; they start at a multiple of 64.
/// What is not put into an attribute is freed.
class ValueBuffer {
public:
  /// From this size on the bytes are those of a temporary file.
  static constexpr size_t kMapped = size_t(16) << 20;

  /// Zeros. Fails when the temporary file cannot be made or the disk is full.
  static llvm::Expected<ValueBuffer> create(size_t bytes,
                                            size_t limit = kMapped);

  template <typename T> llvm::MutableArrayRef<T> as() {
    llvm::MutableArrayRef<char> data = blob.getMutableData();
    return {reinterpret_cast<T *>(data.data()), data.size() / sizeof(T)};
  }
  /// The elements of a tensor, in row-major order. Few of them are written out
  /// in the attribute, more become a resource of that name (a taken name gets a
  /// number). Few equal ones are one element there, unless `all` are kept.
  static mlir::ElementsAttr toAttr(ValueBuffer buffer,
                                   mlir::RankedTensorType type,
                                   llvm::StringRef name, bool all = false);

private:
  mlir::AsmResourceBlob blob;
  bool mapped = false;
};

/// A weight's values as f32, `[rows][columns]`, to be read and changed. A
/// weight that is not 2-d is one row.
class WeightValues {
public:
  /// Of integers that a pass or the file has chosen, `scales * (quantized -
  /// zeros)`; else the source.
  /// The weight's format does not round them. Fails when they are absent.
  static llvm::Expected<WeightValues> read(WeightOp op);

  int64_t getRows() const { return rows; }
  int64_t getColumns() const { return columns; }
  llvm::MutableArrayRef<float> getValues() { return buffer.as<float>(); }
  llvm::MutableArrayRef<float> getRow(int64_t n) {
    return getValues().slice(n * columns, columns);
  }

  /// Makes these the values of a weight of the same shape: an f32 source, not
  /// transposed, without integers of its own. Type and uses stay.
  static void replace(WeightOp op, WeightValues values);

private:
  ValueBuffer buffer;
  int64_t rows = 0, columns = 0;
};

/// Replaces a weight's values by one value, for ones and zeros.
void fillWeight(WeightOp op, float value);

/// Gives a weight of format #eff.int8 or #eff.int4 its integers `[n, k]`,
/// scales `[n]` or `[n, ceil(k / group)]`, and zero points, as many, if the
/// format has them (EffSymbolOps.td, C4). The source stays, but is not read any
/// more. Fails when sizes do not fit the type or a temporary file cannot be
/// made.
llvm::Error setQuantizedValues(WeightOp op, llvm::ArrayRef<int8_t> quantized,
                               llvm::ArrayRef<float> scales,
                               llvm::ArrayRef<float> zeros = {});

/// Declares a weight vector `[n]` of f32 behind `after`, with a name of its own
/// that begins with `name`.
llvm::Expected<WeightOp> createWeightVector(mlir::SymbolTable &symbols,
                                            mlir::Operation *after,
                                            llvm::StringRef name,
                                            llvm::ArrayRef<float> values);

} // namespace effc::eff

#endif // EFFC_DIALECT_EFF_WEIGHTVALUES_H
