//===- RecurrenceCache.h - equal layers are looked at once ------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CONVERSION_ONNXTOEFF_RECURRENCECACHE_H
#define EFFC_LIB_CONVERSION_ONNXTOEFF_RECURRENCECACHE_H

#include "Recurrence.h"

#include "llvm/ADT/StringMap.h"

namespace effc::raise {

/// What was found about regions, by their nodes, types and wiring. A region
/// that is the same but for its weights plays the same roles.
class RegionCache {
public:
  explicit RegionCache(Graph &graph) : graph(graph) {}

  struct Answer {
    std::optional<ScanRoles> roles;
    std::string why;
  };
  /// What an equal region was found to be, with the values of this one.
  std::optional<Answer> lookup(const ClosedRegion &region);
  void remember(const ClosedRegion &region,
                const std::optional<ScanRoles> &roles, llvm::StringRef why);
  /// A digest that regions share which are the same but for their weights.
  std::string textOf(const ClosedRegion &region) {
    llvm::SmallVector<Value> constants;
    return textOf(region, constants);
  }

private:
  struct Known {
    Answer answer; ///< of the region that was computed
    llvm::SmallVector<Value> leaves;
    llvm::SmallVector<Value> escapes;
    llvm::SmallVector<Value> constants; ///< tables of floats, in their order
    int64_t skip = -1;                  ///< which of the constants is D
  };
  std::string textOf(const ClosedRegion &region,
                     llvm::SmallVectorImpl<Value> &constants);

  Graph &graph;
  llvm::StringMap<Known> known;
};

} // namespace effc::raise

#endif // EFFC_LIB_CONVERSION_ONNXTOEFF_RECURRENCECACHE_H
