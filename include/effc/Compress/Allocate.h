//===- Allocate.h - the best choices within a budget ------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Each of some items takes one of its options; an option has an error and a
/// cost. Wanted is the least sum of errors whose sum of costs stays within a
/// budget (the multiple-choice knapsack). Found by dynamic programming over
/// items: for each prefix of the items the frontier of (cost, error) that no
/// other choice beats in both. The frontier does not depend on the budget, so a
/// larger budget never has a larger error.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_COMPRESS_ALLOCATE_H
#define EFFC_COMPRESS_ALLOCATE_H

#include "effc/Compress/Support.h"

namespace effc::compress {

struct AllocationOption {
  double error = 0; ///< at least 0
  int64_t cost = 0; ///< at least 0, at most 2^52
};

struct Allocation {
  /// For each item the index of its option.
  std::vector<size_t> chosen;
  double error = 0;
  int64_t cost = 0;
};

/// Points that a frontier keeps. Sums of the costs of equal layers meet in few
/// points, so models stay far below; a longer frontier keeps the cheapest and
/// best points and of the others those of least error in equal ranges of cost,
/// and then the result may miss the optimum by one range.
constexpr size_t kMostFrontierPoints = size_t(1) << 14;

/// The best choice within `budget`. Equal choices: the one with the earlier
/// options. An error if no choice is within the budget (EFF0405: it says the
/// least cost), an item has no option or an error is not a finite number.
Result<Allocation>
allocate(const std::vector<std::vector<AllocationOption>> &items,
         int64_t budget, size_t mostPoints = kMostFrontierPoints);

} // namespace effc::compress

#endif // EFFC_COMPRESS_ALLOCATE_H
