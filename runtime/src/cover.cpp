//===- cover.cpp - covering a prompt with chunks --------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effrt/engine.h"

#include <algorithm>
#include <limits>

namespace effrt {

std::vector<int> coverTokens(const std::vector<Chunk> &chunks, int count) {
  std::vector<int> used;
  if (chunks.empty() || count <= 0)
    return used;
  const Chunk &longest = *std::max_element(
      chunks.begin(), chunks.end(),
      [](const Chunk &a, const Chunk &b) { return a.tokens < b.tokens; });
  // The cheapest cover of a long prompt begins with the longest chunk, as long
  // as that is the cheapest for a token; the rest is small enough to try all.
  const Chunk &best = *std::min_element(
      chunks.begin(), chunks.end(), [](const Chunk &a, const Chunk &b) {
        return a.cost * b.tokens < b.cost * a.tokens;
      });
  int direct = std::max(4 * longest.tokens, 1024);
  for (; count > direct; count -= best.tokens)
    used.push_back(best.tokens);

  // cost[n]: the cheapest cover of n tokens, that begins with choice[n].
  std::vector<double> cost(size_t(count) + 1,
                           std::numeric_limits<double>::infinity());
  std::vector<int> choice(size_t(count) + 1, 0);
  cost[0] = 0;
  for (int n = 1; n <= count; ++n)
    for (const Chunk &chunk : chunks) {
      double sum = chunk.cost + cost[size_t(std::max(n - chunk.tokens, 0))];
      // Of equal covers the one with the longest chunks.
      if (sum < cost[size_t(n)] ||
          (sum == cost[size_t(n)] && chunk.tokens > choice[size_t(n)])) {
        cost[size_t(n)] = sum;
        choice[size_t(n)] = chunk.tokens;
      }
    }
  for (int left = count; left > 0; left -= choice[size_t(left)])
    used.push_back(choice[size_t(left)]);
  std::sort(used.begin(), used.end(), std::greater<int>());
  return used;
}

} // namespace effrt
