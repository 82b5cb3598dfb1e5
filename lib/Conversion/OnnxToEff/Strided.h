//===- Strided.h - reshapes and transposes as strides -----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What Transpose, Reshape, Squeeze, Unsqueeze, Flatten and Expand do to a
/// tensor is a choice of strides over its elements in row-major order. Chains
/// of them compose, so two ways of writing the same layout become equal, a
/// transpose that is undone later disappears, and a repeated head is a stride
/// of zero.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_ONNXTOEFF_STRIDED_H
#define EFFC_LIB_CONVERSION_ONNXTOEFF_STRIDED_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/SmallVector.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace effc::raise {

/// A run of `size` steps, each `stride` elements of the base apart; stride 0
/// repeats.
struct Factor {
  int64_t size, stride;
  bool operator==(const Factor &o) const {
    return size == o.size && stride == o.stride;
  }
};

/// Each dimension is a list of factors, outermost first. Factors of size 1 are
/// left out and neighbours within a dimension that continue each other are
/// merged, so equal layouts compare equal.
class Strided {
public:
  Strided() = default;
  static Strided identity(llvm::ArrayRef<int64_t> shape);

  unsigned rank() const { return dims.size(); }
  int64_t size(unsigned dim) const;
  llvm::SmallVector<int64_t> shape() const;
  int64_t numElements() const;

  void transpose(llvm::ArrayRef<int64_t> perm);
  /// False, leaving the view as it was, when a new dimension would cut a run
  /// unevenly.
  bool reshape(llvm::ArrayRef<int64_t> shape);
  /// Repeats to `shape` by ONNX's (numpy's) rules.
  void expand(llvm::ArrayRef<int64_t> shape);
  /// The same view with every repetition left out.
  Strided withoutRepeats() const;

  /// This view of the elements that `inner` shows, as a view of inner's base.
  std::optional<Strided> compose(const Strided &inner) const;

  /// Every element of a base of `elements`, in its order.
  bool isIdentity(int64_t elements) const;
  /// Every element of a base of `elements` exactly once.
  bool isPermutation(int64_t elements) const;
  /// All factors in order, merged across dimensions where they continue each
  /// other.
  llvm::SmallVector<Factor> flat() const;
  /// The elements that the view shows, in its order; NaN for those beyond the
  /// end of `from`.
  std::vector<double> gather(llvm::ArrayRef<double> from) const;

  /// The element of the base that each element shows, in order.
  void visit(llvm::function_ref<void(int64_t)> fn) const;

  bool operator==(const Strided &o) const { return dims == o.dims; }
  bool operator!=(const Strided &o) const { return !(*this == o); }

  llvm::SmallVector<llvm::SmallVector<Factor, 2>, 4> dims;
};

int64_t numElements(llvm::ArrayRef<int64_t> shape);

} // namespace effc::raise

#endif // EFFC_LIB_CONVERSION_ONNXTOEFF_STRIDED_H
