//===- Mask.cpp - attention masks by their numbers ------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Mask.h"

#include <cmath>

using namespace mlir;
using namespace effc;
using namespace effc::raise;

std::optional<MaskMeaning> effc::raise::readMask(ArrayRef<double> bias,
                                                 ArrayRef<int64_t> shape,
                                                 bool causal, int64_t offset,
                                                 int64_t tokens, int64_t total,
                                                 int64_t past, int64_t window,
                                                 std::string &reason) {
  std::vector<char> seen(tokens * total, 1);
  for (size_t i = 0; i < bias.size(); ++i) {
    double x = bias[i];
    // What is added to hide a key is at least 1e4, to leave it nothing.
    if (x != 0 && !(x <= -1e4)) {
      reason = "the attention mask is a bias, not a choice of keys";
      return std::nullopt;
    }
    int64_t row = int64_t(i) / total, first = shape[2] == 1 ? tokens : 1;
    for (int64_t k = 0; k < first; ++k) {
      char &slot =
          seen[(shape[2] == 1 ? k : row % tokens) * total + int64_t(i) % total];
      if (row < shape[2])
        slot = x == 0;
      else if (slot != (x == 0)) {
        reason = "the attention mask differs between rows of the batch or "
                 "heads";
        return std::nullopt;
      }
    }
  }
  if (causal)
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t j = t + offset + 1; j < total; ++j)
        seen[t * total + j] = 0;

  bool open = llvm::all_of(seen, [](char c) { return c; });
  if (open && window == 0)
    return MaskMeaning{};
  MaskMeaning out{true, 0};
  auto matches = [&](int64_t window) {
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t j = 0; j < total; ++j) {
        int64_t i = past + t;
        bool sees = j <= i && (window == 0 || j > i - window);
        if (sees != static_cast<bool>(seen[t * total + j]))
          return false;
      }
    return true;
  };
  if (window > 0 && matches(window))
    return MaskMeaning{true, window};
  if (open)
    return MaskMeaning{};
  if (matches(0))
    return out;
  // The last query sees exactly its window.
  for (int64_t j = 0; j < total; ++j)
    out.window += seen[(tokens - 1) * total + j];
  if (out.window > 0 && matches(out.window))
    return out;
  reason = "the attention mask is neither causal, windowed nor open";
  return std::nullopt;
}
