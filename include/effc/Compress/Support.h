//===- Support.h - views, errors and loops of compression -------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// What the mathematics of compression is written in: views of row-major
/// memory, errors as values, and a parallel loop that the caller provides. This
/// library knows nothing of MLIR. Every result is the same for any number of
/// threads and on any x86-64 processor.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_COMPRESS_SUPPORT_H
#define EFFC_COMPRESS_SUPPORT_H

#include "effrt/support.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <vector>

namespace effc::compress {

using effrt::Error;
using effrt::Result;
using effrt::Status;

/// Elements that lie one after the other.
template <typename T> class Span {
public:
  Span() = default;
  Span(T *data, size_t size) : data_(data), size_(size) {}
  /// From a vector, or from a span of non-const elements.
  template <typename C, typename = std::enable_if_t<std::is_convertible_v<
                            decltype(std::declval<C &>().data()), T *>>>
  Span(C &&container) : data_(container.data()), size_(container.size()) {}

  T *data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T *begin() const { return data_; }
  T *end() const { return data_ + size_; }
  T &operator[](size_t i) const { return data_[i]; }

private:
  T *data_ = nullptr;
  size_t size_ = 0;
};

/// A row-major matrix; `stride` elements lie between the starts of two rows.
template <typename T> struct MatrixView {
  T *data = nullptr;
  int64_t rows = 0, cols = 0, stride = 0;

  MatrixView() = default;
  MatrixView(T *data, int64_t rows, int64_t cols)
      : data(data), rows(rows), cols(cols), stride(cols) {}
  MatrixView(T *data, int64_t rows, int64_t cols, int64_t stride)
      : data(data), rows(rows), cols(cols), stride(stride) {}
  /// A view of non-const elements is one of const elements.
  template <typename U,
            typename = std::enable_if_t<std::is_convertible_v<U *, T *>>>
  MatrixView(const MatrixView<U> &other)
      : data(other.data), rows(other.rows), cols(other.cols),
        stride(other.stride) {}

  T *row(int64_t i) const { return data + i * stride; }
  T &operator()(int64_t i, int64_t j) const { return data[i * stride + j]; }
  /// A view that memory can have: no negative extent, rows that do not overlap.
  bool isValid() const {
    return rows >= 0 && cols >= 0 && stride >= cols &&
           (data || rows == 0 || cols == 0);
  }
};

/// Calls the body once for each index below the count, in any order and on any
/// threads.
using ParallelFor =
    std::function<void(int64_t, const std::function<void(int64_t)> &)>;

/// One index after the other.
ParallelFor serial();
/// On up to `threads` threads, the caller's among them.
ParallelFor onThreads(unsigned threads);

/// A size or shape does not fit the transformation (EFF0410).
Error badShape(std::string what, std::string why = {});
/// A setting is out of its range (EFF0411).
Error badSetting(std::string what, std::string why = {});
/// Values are not finite, or there are none (EFF0412).
Error badValues(std::string what, std::string why = {});

/// False if any value is NaN or infinite.
bool allFinite(MatrixView<const float> values);

} // namespace effc::compress

#endif // EFFC_COMPRESS_SUPPORT_H
