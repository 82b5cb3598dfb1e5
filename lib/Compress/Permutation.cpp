//===- Permutation.cpp - checked permutations -----------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Compress/Permutation.h"

#include <numeric>

namespace effc::compress {

Result<Permutation> Permutation::create(std::vector<int64_t> indices) {
  std::vector<bool> seen(indices.size());
  for (int64_t index : indices) {
    if (index < 0 || index >= int64_t(indices.size()))
      return badShape("index " + std::to_string(index) +
                      " is outside a permutation of " +
                      std::to_string(indices.size()));
    if (seen[index])
      return badShape("index " + std::to_string(index) +
                      " occurs twice in a permutation");
    seen[index] = true;
  }
  Permutation result;
  result.indices = std::move(indices);
  return result;
}

Permutation Permutation::identity(int64_t size) {
  Permutation result;
  result.indices.resize(size);
  std::iota(result.indices.begin(), result.indices.end(), 0);
  return result;
}

Permutation Permutation::sorting(Span<const float> values, bool descending) {
  Permutation result = identity(values.size());
  // Ties by index: a stable order without std::stable_sort's deprecated buffer.
  std::sort(
      result.indices.begin(), result.indices.end(), [&](int64_t a, int64_t b) {
        if (values[a] != values[b])
          return descending ? values[a] > values[b] : values[a] < values[b];
        return a < b;
      });
  return result;
}

bool Permutation::isIdentity() const {
  for (int64_t i = 0; i < size(); ++i)
    if (indices[i] != i)
      return false;
  return true;
}

Permutation Permutation::inverse() const {
  Permutation result;
  result.indices.resize(size());
  for (int64_t i = 0; i < size(); ++i)
    result.indices[indices[i]] = i;
  return result;
}

Result<Permutation> Permutation::after(const Permutation &first) const {
  if (first.size() != size())
    return sizeError(first.size());
  Permutation result;
  result.indices.resize(size());
  for (int64_t i = 0; i < size(); ++i)
    result.indices[i] = first.indices[indices[i]];
  return result;
}

Permutation Permutation::joined(const Permutation &next) const {
  Permutation result = *this;
  for (int64_t index : next.indices)
    result.indices.push_back(size() + index);
  return result;
}

Permutation Permutation::expanded(int64_t width) const {
  Permutation result;
  result.indices.reserve(size() * width);
  for (int64_t index : indices)
    for (int64_t j = 0; j < width; ++j)
      result.indices.push_back(index * width + j);
  return result;
}

Error Permutation::sizeError(int64_t other) const {
  return badShape("a permutation of " + std::to_string(size()) +
                  " elements cannot be applied to " + std::to_string(other));
}

} // namespace effc::compress
