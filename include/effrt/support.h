//===- support.h - errors as values for the effc runtime --------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Status and Result<T>: how every internal C++ interface of the runtime
/// reports failure. No exception crosses such an interface.
///
//===----------------------------------------------------------------------===//

#ifndef EFFRT_SUPPORT_H
#define EFFRT_SUPPORT_H

#include <cassert>
#include <optional>
#include <string>
#include <utility>

namespace effrt {

/// A failure as the user sees it. `code` is stable ("EFF0123"); `what` is one
/// line; the other parts may be empty.
struct Error {
  std::string code;
  std::string what;
  std::string where; ///< file, node, JSON path, ...
  std::string why;
  std::string tryThis;

  /// "error EFF0123: what" and one indented line for each part that is set.
  std::string format() const {
    std::string text = "error " + code + ": " + what;
    if (!where.empty())
      text += "\n  where: " + where;
    if (!why.empty())
      text += "\n  why: " + why;
    if (!tryThis.empty())
      text += "\n  try: " + tryThis;
    return text;
  }
};

inline Error makeError(std::string code, std::string what,
                       std::string where = {}, std::string why = {},
                       std::string tryThis = {}) {
  return Error{std::move(code), std::move(what), std::move(where),
               std::move(why), std::move(tryThis)};
}

/// Success, or an Error.
class [[nodiscard]] Status {
public:
  Status() = default;
  Status(Error error) : error_(std::move(error)) {}

  static Status success() { return Status(); }

  bool ok() const { return !error_; }
  explicit operator bool() const { return ok(); }

  /// The error; there must be one.
  const Error &error() const {
    assert(error_ && "no error in a successful Status");
    return *error_;
  }
  Error takeError() {
    assert(error_ && "no error in a successful Status");
    return std::move(*error_);
  }

private:
  std::optional<Error> error_;
};

/// A value, or the Error that kept it from being made.
template <typename T> class [[nodiscard]] Result {
public:
  Result(T value) : value_(std::move(value)) {}
  Result(Error error) : error_(std::move(error)) {}
  /// A failed Status converts; a successful one holds no value to give.
  Result(Status status) : error_(status.takeError()) {}

  bool ok() const { return value_.has_value(); }
  explicit operator bool() const { return ok(); }

  T &operator*() {
    assert(value_ && "no value in a failed Result");
    return *value_;
  }
  const T &operator*() const {
    assert(value_ && "no value in a failed Result");
    return *value_;
  }
  T *operator->() { return &**this; }
  const T *operator->() const { return &**this; }
  T take() {
    assert(value_ && "no value in a failed Result");
    return std::move(*value_);
  }

  /// The error; there must be one.
  const Error &error() const {
    assert(!value_ && "no error in a successful Result");
    return error_;
  }
  Error takeError() {
    assert(!value_ && "no error in a successful Result");
    return std::move(error_);
  }

private:
  std::optional<T> value_;
  Error error_;
};

} // namespace effrt

#endif // EFFRT_SUPPORT_H
