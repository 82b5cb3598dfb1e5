//===- Permutation.h - checked permutations ---------------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// A permutation in gather form: `(P x)[i] = x[P[i]]`. Only a true permutation
/// can be made.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_COMPRESS_PERMUTATION_H
#define EFFC_COMPRESS_PERMUTATION_H

#include "effc/Compress/Support.h"

#include <algorithm>

namespace effc::compress {

class Permutation {
public:
  /// Of no elements.
  Permutation() = default;
  /// An error unless each index below the size occurs once.
  static Result<Permutation> create(std::vector<int64_t> indices);
  static Permutation identity(int64_t size);
  /// Sorts the values ascending (or descending); equal values keep their order.
  static Permutation sorting(Span<const float> values, bool descending = false);

  int64_t size() const { return indices.size(); }
  int64_t operator[](int64_t i) const { return indices[i]; }
  Span<const int64_t> getIndices() const { return indices; }
  bool isIdentity() const;
  bool operator==(const Permutation &other) const {
    return indices == other.indices;
  }

  Permutation inverse() const;
  /// This one after `first`: `(P.after(Q)) x = P (Q x)`. An error if the sizes
  /// differ.
  Result<Permutation> after(const Permutation &first) const;
  /// This one, and after its elements those of `next`.
  Permutation joined(const Permutation &next) const;
  /// Each element becomes a run of `width` elements that stay together.
  Permutation expanded(int64_t width) const;

  template <typename T> Status apply(Span<T> x) const {
    if (int64_t(x.size()) != size())
      return sizeError(x.size());
    std::vector<T> copy(x.begin(), x.end());
    for (int64_t i = 0; i < size(); ++i)
      x[i] = copy[indices[i]];
    return Status::success();
  }
  /// Row i becomes row P[i].
  template <typename T> Status applyToRows(MatrixView<T> w) const {
    if (!w.isValid() || w.rows != size())
      return sizeError(w.rows);
    std::vector<T> copy(w.rows * w.cols);
    for (int64_t i = 0; i < w.rows; ++i)
      std::copy_n(w.row(i), w.cols, copy.data() + i * w.cols);
    for (int64_t i = 0; i < w.rows; ++i)
      std::copy_n(copy.data() + indices[i] * w.cols, w.cols, w.row(i));
    return Status::success();
  }
  /// Column j becomes column P[j].
  template <typename T> Status applyToColumns(MatrixView<T> w) const {
    if (!w.isValid() || w.cols != size())
      return sizeError(w.cols);
    std::vector<T> copy(w.cols);
    for (int64_t i = 0; i < w.rows; ++i) {
      std::copy_n(w.row(i), w.cols, copy.data());
      for (int64_t j = 0; j < w.cols; ++j)
        w(i, j) = copy[indices[j]];
    }
    return Status::success();
  }

private:
  Error sizeError(int64_t size) const;
  std::vector<int64_t> indices;
};

} // namespace effc::compress

#endif // EFFC_COMPRESS_PERMUTATION_H
