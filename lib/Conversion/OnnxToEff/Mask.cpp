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

std::optional<MaskMeaning> effc::raise::readMask(Graph &g, Value mask,
                                                 bool causal, int64_t offset,
                                                 ArrayRef<int64_t> scores,
                                                 int64_t past,
                                                 std::string &reason) {
  int64_t tokens = scores[2], total = scores[3];
  std::vector<char> seen(tokens * total, 1);
  if (mask) {
    auto numbers = g.numbers(mask);
    if (!numbers) {
      reason = "the attention mask is not constant";
      return std::nullopt;
    }
    SmallVector<int64_t> shape(Graph::shape(mask));
    while (shape.size() < 4)
      shape.insert(shape.begin(), 1);
    for (unsigned i = 0; i < 4; ++i)
      if (shape.size() != 4 || (shape[i] != 1 && shape[i] != scores[i])) {
        reason = "the attention mask does not have the shape of the scores";
        return std::nullopt;
      }
    bool additive = Graph::isFloat(mask);
    auto at = [&](int64_t b, int64_t h, int64_t t, int64_t j) {
      int64_t index = 0;
      for (auto [d, i] :
           llvm::zip_equal(shape, SmallVector<int64_t>{b, h, t, j}))
        index = index * d + (d == 1 ? 0 : i);
      return (*numbers)[index];
    };
    for (int64_t b = 0; b < shape[0]; ++b)
      for (int64_t h = 0; h < shape[1]; ++h)
        for (int64_t t = 0; t < tokens; ++t)
          for (int64_t j = 0; j < total; ++j) {
            double x = at(b, h, t, j);
            // What is added to hide a key is at least 1e4, to leave it nothing.
            if (additive && x != 0 && !(x <= -1e4)) {
              reason = "the attention mask is a bias, not a choice of keys";
              return std::nullopt;
            }
            char sees = additive ? x == 0 : x != 0;
            char &slot = seen[t * total + j];
            if (b == 0 && h == 0)
              slot = sees;
            else if (slot != sees) {
              reason = "the attention mask differs between rows of the batch "
                       "or heads";
              return std::nullopt;
            }
          }
  }
  if (causal)
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t j = t + offset + 1; j < total; ++j)
        seen[t * total + j] = 0;

  if (llvm::all_of(seen, [](char c) { return c; }))
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
