//===- json.h - checked access to a parsed tokenizer.json -------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFRT_SRC_TEXT_JSON_H
#define EFFRT_SRC_TEXT_JSON_H

#include "codes.h"
#include "effrt/support.h"

#include <nlohmann/json.hpp>

#include <functional>
#include <string>
#include <string_view>

namespace effrt {

using Json = nlohmann::json;

/// A value and where it stands in the file ("model.merges[3]"). Every access
/// is checked; a value of the wrong type is an Error, never an exception.
class JsonRef {
public:
  JsonRef(const Json &value, std::string path)
      : value_(&value), path_(std::move(path)) {}

  const Json &value() const { return *value_; }
  const std::string &path() const { return path_; }
  bool isNull() const { return value_->is_null(); }

  /// A member; null where there is none.
  JsonRef get(std::string_view key) const;
  JsonRef at(size_t index) const;

  Result<std::string> text() const;
  Result<uint32_t> number() const;
  /// `fallback` where the value is null or missing.
  Result<bool> flagOr(bool fallback) const;
  Status isArray() const;
  Status isObject() const;

  /// "expects `what`, found a number".
  Error wrongType(std::string_view what) const;
  Error fault(std::string why) const;
  Error unsupported(std::string what) const;

private:
  const Json *value_;
  std::string path_;
};

/// Calls `add(component, type)` for a component of the tokenizer, an object
/// with a "type"; for one of type "Sequence" for each of its member `list`, in
/// their order. Null is no component.
Status eachComponent(
    const JsonRef &json, std::string_view list,
    const std::function<Status(const JsonRef &, const std::string &)> &add);

} // namespace effrt

#endif // EFFRT_SRC_TEXT_JSON_H
