//===- Cluster.h - sort and cluster heads and channels ----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Groups the channels of a state-space block by magnitude, so that each group
/// can have a scale of its own: channels are sorted inside each head, heads are
/// clustered inside each state-space group, channels are clustered inside each
/// cluster of heads. The order that results is a permutation of heads inside
/// their group and of channels inside their head, which commutes with the
/// block.
///
/// Clusters are contiguous in the sorted order and found by dynamic
/// programming: the optimum, with no seed and no iteration.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_COMPRESS_CLUSTER_H
#define EFFC_COMPRESS_CLUSTER_H

#include "effc/Compress/Permutation.h"

namespace effc::compress {

/// What a partition of sorted values minimises, over its intervals I:
enum class Objective {
  Noise, ///< sum of |I| max(I)^2: the rounding noise when each interval has one
         ///< scale
  KMeans,  ///< sum of (x - mean(I))^2
  Minimax, ///< the largest max(I) / min(I)
};

/// Splits `count` ordered points into `parts` non-empty intervals of least
/// total cost (or least largest cost). Returns the ends, ascending; the last is
/// `count`. On ties the earliest split wins.
Result<std::vector<int64_t>>
partition(int64_t count, int64_t parts,
          const std::function<double(int64_t first, int64_t end)> &cost,
          bool largest = false);
/// The same for values in ascending order.
Result<std::vector<int64_t>>
partitionSorted(Span<const float> values, int64_t parts, Objective objective);

struct ClusterOptions {
  int64_t headClusters = 4, channelClusters = 4;
  Objective objective = Objective::Noise;
};

/// The order and the clusters. Positions are those after the permutation.
struct Clustering {
  int64_t groups = 0, heads = 0, headDim = 0;
  int64_t headClusters = 0, channelClusters = 0;
  Permutation headOrder;    ///< of `heads`
  Permutation channelOrder; ///< of `heads * headDim`
  /// [groups][headClusters]: where each cluster of heads ends, counted inside
  /// the group.
  std::vector<int64_t> headEnds;
  /// [groups][headClusters][channelClusters]: where each cluster of channels
  /// ends inside a head.
  std::vector<int64_t> channelEnds;

  int64_t getNumScales() const {
    return groups * headClusters * channelClusters;
  }
  /// Which scale serves channel `p` of head `h`: an index below getNumScales().
  int64_t scaleIndex(int64_t head, int64_t channel) const;
  /// Checks the tables: orders stay inside their group and head, ends ascend to
  /// the full counts.
  Status verify() const;
};

/// `magnitudes` holds one value for each channel, `heads * headDim` in all, not
/// permuted.
/// The largest |x| of a channel serves better than its mean |x|: it is what
/// scales must cover.
Result<Clustering> sortAndCluster(Span<const float> magnitudes, int64_t groups,
                                  int64_t heads, int64_t headDim,
                                  const ClusterOptions &options = {});

/// One scale for each cluster, max / 127 and at least 1e-6. `maxima` holds one
/// value for each channel, permuted.
Result<std::vector<float>> clusterScales(const Clustering &clustering,
                                         Span<const float> maxima);
/// State scales [groups][headClusters][channelClusters][n] from the maxima
/// [heads][headDim][n], permuted.
Result<std::vector<float>> stateScales(const Clustering &clustering,
                                       Span<const float> maxima, int64_t n);

/// Scales of clusters [..][n] as one for each element of a state [heads *
/// headDim][n], as Int8State takes them.
Result<std::vector<float>> expandScales(const Clustering &clustering,
                                        Span<const float> scales, int64_t n);

/// Order of Mamba-2's in_proj rows [z | x | B | C | dt]; B and C keep theirs
/// (groups * stateSize rows each).
Permutation inProjOrder(const Clustering &clustering, int64_t stateSize);
/// Order of the convolution's channels [x | B | C].
Permutation convOrder(const Clustering &clustering, int64_t stateSize);

} // namespace effc::compress

#endif // EFFC_COMPRESS_CLUSTER_H
