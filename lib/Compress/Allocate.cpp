//===- Allocate.cpp - the best choices within a budget --------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Compress/Allocate.h"

#include "Codes.h"

#include <algorithm>
#include <cmath>

namespace effc::compress {

namespace {

/// A choice for the items so far: the best one of its cost.
struct Point {
  int64_t cost = 0;
  double error = 0;
  uint32_t previous = 0; ///< The point of the items before.
  uint32_t option = 0;
};
using Frontier = std::vector<Point>;

/// Ascending costs, falling errors.
void keepBest(Frontier &points) {
  std::sort(points.begin(), points.end(), [](const Point &a, const Point &b) {
    if (a.cost != b.cost)
      return a.cost < b.cost;
    if (a.error != b.error)
      return a.error < b.error;
    return a.previous != b.previous ? a.previous < b.previous
                                    : a.option < b.option;
  });
  Frontier best;
  for (const Point &point : points)
    if (best.empty() || point.error < best.back().error)
      best.push_back(point);
  points = std::move(best);
}

/// Of each range of costs the point of least error, which is its last; and the
/// cheapest of all.
void thin(Frontier &points, size_t most) {
  if (points.size() <= most)
    return;
  int64_t first = points.front().cost, span = points.back().cost - first;
  auto rangeOf = [&](const Point &point) {
    return int64_t(double(point.cost - first) / double(span) *
                   double(most - 2));
  };
  Frontier kept{points.front()};
  for (size_t i = 1; i < points.size(); ++i)
    if (i + 1 == points.size() || rangeOf(points[i + 1]) != rangeOf(points[i]))
      kept.push_back(points[i]);
  points = std::move(kept);
}

} // namespace

Result<Allocation>
allocate(const std::vector<std::vector<AllocationOption>> &items,
         int64_t budget, size_t mostPoints) {
  if (mostPoints < 4)
    return badSetting("a frontier needs at least 4 points");
  std::vector<Frontier> frontiers{{Point()}};
  for (const std::vector<AllocationOption> &options : items) {
    if (options.empty())
      return badSetting("an item has nothing to choose from");
    for (const AllocationOption &option : options)
      if (!std::isfinite(option.error) || option.error < 0 || option.cost < 0 ||
          option.cost > int64_t(1) << 52)
        return badValues("an error or cost of a choice is out of range");
    const Frontier &before = frontiers.back();
    Frontier points;
    points.reserve(before.size() * options.size());
    for (size_t p = 0; p < before.size(); ++p)
      for (size_t o = 0; o < options.size(); ++o)
        points.push_back({before[p].cost + options[o].cost,
                          before[p].error + options[o].error, uint32_t(p),
                          uint32_t(o)});
    keepBest(points);
    thin(points, mostPoints);
    frontiers.push_back(std::move(points));
  }

  const Frontier &all = frontiers.back();
  auto end = std::upper_bound(
      all.begin(), all.end(), budget,
      [](int64_t cost, const Point &point) { return cost < point.cost; });
  if (end == all.begin())
    return makeError(
        Code::BudgetTooSmall,
        "no choice is within a budget of " + std::to_string(budget),
        "the cheapest one needs " + std::to_string(all.front().cost));
  Allocation result;
  size_t at = size_t(end - all.begin()) - 1;
  result.error = all[at].error;
  result.cost = all[at].cost;
  result.chosen.resize(items.size());
  for (size_t i = items.size(); i > 0; --i) {
    const Point &point = frontiers[i][at];
    result.chosen[i - 1] = point.option;
    at = point.previous;
  }
  return result;
}

} // namespace effc::compress
