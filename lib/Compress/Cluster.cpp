//===- Cluster.cpp - sort and cluster heads and channels ------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Compress/Cluster.h"

#include <cmath>
#include <limits>

namespace effc::compress {

//===----------------------------------------------------------------------===//
// Partitions of a line
//===----------------------------------------------------------------------===//

Result<std::vector<int64_t>>
partition(int64_t count, int64_t parts,
          const std::function<double(int64_t, int64_t)> &cost, bool largest) {
  if (parts < 1 || parts > count)
    return badShape(std::to_string(count) + " points cannot be split into " +
                    std::to_string(parts) + " non-empty clusters");
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  // best[p][e]: the first e points in p + 1 parts; from[p][e]: where the last
  // part starts.
  std::vector<std::vector<double>> best(
      parts, std::vector<double>(count + 1, kInfinity));
  std::vector<std::vector<int64_t>> from(parts,
                                         std::vector<int64_t>(count + 1, 0));
  for (int64_t first = 0; first < count; ++first)
    for (int64_t end = first + 1; end <= count; ++end) {
      double added = cost(first, end);
      for (int64_t p = 0; p < parts; ++p) {
        // `best[p - 1][first]` is final: it was reached from smaller `first`.
        double before =
            p == 0 ? (first == 0 ? 0 : kInfinity) : best[p - 1][first];
        if (before == kInfinity)
          continue;
        double total = largest ? std::max(before, added) : before + added;
        if (total < best[p][end]) {
          best[p][end] = total;
          from[p][end] = first;
        }
      }
    }
  if (best[parts - 1][count] == kInfinity)
    return badValues("no partition has a finite cost");
  std::vector<int64_t> ends(parts);
  for (int64_t p = parts - 1, end = count; p >= 0; --p) {
    ends[p] = end;
    end = from[p][end];
  }
  return ends;
}

Result<std::vector<int64_t>>
partitionSorted(Span<const float> values, int64_t parts, Objective objective) {
  int64_t count = values.size();
  if (!allFinite({values.data(), 1, count}))
    return badValues("values to cluster are not finite");
  for (int64_t i = 1; i < count; ++i)
    if (values[i] < values[i - 1])
      return badValues("values to cluster are not in ascending order");
  switch (objective) {
  case Objective::Noise:
    return partition(count, parts, [&](int64_t first, int64_t end) {
      double max =
          std::max(std::fabs(values[first]), std::fabs(values[end - 1]));
      return double(end - first) * max * max;
    });
  case Objective::KMeans: {
    // Relative to the middle value, which keeps the cancellation below
    // harmless.
    double center = count ? values[count / 2] : 0;
    std::vector<double> sum(count + 1), square(count + 1);
    for (int64_t i = 0; i < count; ++i) {
      double x = values[i] - center;
      sum[i + 1] = sum[i] + x;
      square[i + 1] = square[i] + x * x;
    }
    return partition(count, parts, [=](int64_t first, int64_t end) {
      double s = sum[end] - sum[first];
      double cost = square[end] - square[first] - s * s / double(end - first);
      return std::max(cost, 0.0);
    });
  }
  case Objective::Minimax:
    if (count && values[0] < 0)
      return badValues("ratios need values that are not negative");
    return partition(
        count, parts,
        [&](int64_t first, int64_t end) {
          double low = values[first], high = values[end - 1];
          return high == 0 ? 1.0 : high / std::max(low, 1e-9 * high);
        },
        /*largest=*/true);
  }
  return badSetting("unknown objective");
}

//===----------------------------------------------------------------------===//
// Heads and channels
//===----------------------------------------------------------------------===//

/// Splits heads, given as the rows of `v` in ascending order of their norms.
static Result<std::vector<int64_t>> splitHeads(MatrixView<const float> v,
                                               Span<const float> norms,
                                               int64_t parts,
                                               Objective objective) {
  if (objective != Objective::Noise)
    return partitionSorted(norms, parts, objective);
  // The noise if each position had a scale of its own: sum over positions of
  // |I| max_{h in I} v[h][p]^2. Intervals are asked for with a fixed start and
  // growing ends, so the maxima can be kept.
  std::vector<float> maxima;
  return partition(v.rows, parts, [&, v](int64_t first, int64_t end) {
    if (end == first + 1)
      maxima.assign(v.cols, 0.0f);
    double sum = 0;
    for (int64_t p = 0; p < v.cols; ++p) {
      maxima[p] = std::max(maxima[p], v(end - 1, p));
      sum += double(maxima[p]) * maxima[p];
    }
    return double(end - first) * sum;
  });
}

/// Splits the sorted positions of the heads of one cluster, the rows of `v`.
static Result<std::vector<int64_t>>
splitChannels(MatrixView<const float> v, int64_t parts, Objective objective) {
  if (objective != Objective::KMeans) {
    // The largest value at each position; it ascends as each row does.
    std::vector<float> profile(v.cols, 0.0f);
    for (int64_t h = 0; h < v.rows; ++h)
      for (int64_t p = 0; p < v.cols; ++p)
        profile[p] = std::max(profile[p], v(h, p));
    return partitionSorted(profile, parts, objective);
  }
  std::vector<double> sum;
  double square = 0;
  return partition(v.cols, parts, [&, v](int64_t first, int64_t end) {
    if (end == first + 1) {
      sum.assign(v.rows, 0.0);
      square = 0;
    }
    double cost = 0;
    for (int64_t h = 0; h < v.rows; ++h) {
      double x = v(h, end - 1);
      sum[h] += x;
      square += x * x;
      cost += sum[h] * sum[h];
    }
    return std::max(square - cost / double(end - first), 0.0);
  });
}

Result<Clustering> sortAndCluster(Span<const float> magnitudes, int64_t groups,
                                  int64_t heads, int64_t headDim,
                                  const ClusterOptions &options) {
  if (groups < 1 || heads < 1 || headDim < 1 || heads % groups != 0)
    return badShape(std::to_string(heads) + " heads cannot be divided into " +
                    std::to_string(groups) + " groups");
  if (int64_t(magnitudes.size()) != heads * headDim)
    return badShape(std::to_string(magnitudes.size()) +
                    " magnitudes do not fit " + std::to_string(heads) +
                    " heads of " + std::to_string(headDim) + " channels");
  int64_t perGroup = heads / groups;
  if (options.headClusters < 1 || options.headClusters > perGroup ||
      options.channelClusters < 1 || options.channelClusters > headDim)
    return badSetting(std::to_string(options.headClusters) + " x " +
                          std::to_string(options.channelClusters) +
                          " clusters do not fit " + std::to_string(perGroup) +
                          " heads of " + std::to_string(headDim) + " channels",
                      "each cluster needs a head and a channel");
  for (float magnitude : magnitudes)
    if (!std::isfinite(magnitude) || magnitude < 0)
      return badValues("magnitudes are not finite or negative");

  Clustering result;
  result.groups = groups;
  result.heads = heads;
  result.headDim = headDim;
  result.headClusters = options.headClusters;
  result.channelClusters = options.channelClusters;

  // Channels of each head, ascending, in the order of the original heads.
  std::vector<Permutation> inHead;
  std::vector<float> sorted(magnitudes.begin(), magnitudes.end()), norms(heads);
  for (int64_t h = 0; h < heads; ++h) {
    Span<float> values(&sorted[h * headDim], headDim);
    inHead.push_back(Permutation::sorting(values));
    if (Status status = inHead.back().apply(values); !status)
      return status;
    double square = 0;
    for (float value : values)
      square += double(value) * value;
    norms[h] = std::sqrt(square);
  }

  std::vector<int64_t> headOrder, channelOrder;
  for (int64_t g = 0; g < groups; ++g) {
    int64_t base = g * perGroup;
    Permutation order =
        Permutation::sorting(Span<const float>(&norms[base], perGroup));
    std::vector<float> rows(perGroup * headDim), ordered(perGroup);
    for (int64_t i = 0; i < perGroup; ++i) {
      int64_t head = base + order[i];
      headOrder.push_back(head);
      ordered[i] = norms[head];
      std::copy_n(&sorted[head * headDim], headDim, &rows[i * headDim]);
      for (int64_t p = 0; p < headDim; ++p)
        channelOrder.push_back(head * headDim + inHead[head][p]);
    }
    Result<std::vector<int64_t>> headEnds =
        splitHeads({rows.data(), perGroup, headDim}, ordered,
                   options.headClusters, options.objective);
    if (!headEnds)
      return headEnds.takeError();
    int64_t first = 0;
    for (int64_t end : *headEnds) {
      Result<std::vector<int64_t>> ends =
          splitChannels({&rows[first * headDim], end - first, headDim},
                        options.channelClusters, options.objective);
      if (!ends)
        return ends.takeError();
      result.headEnds.push_back(end);
      result.channelEnds.insert(result.channelEnds.end(), ends->begin(),
                                ends->end());
      first = end;
    }
  }
  Result<Permutation> headsAsPermutation =
      Permutation::create(std::move(headOrder));
  Result<Permutation> channelsAsPermutation =
      Permutation::create(std::move(channelOrder));
  if (!headsAsPermutation)
    return headsAsPermutation.takeError();
  if (!channelsAsPermutation)
    return channelsAsPermutation.takeError();
  result.headOrder = headsAsPermutation.take();
  result.channelOrder = channelsAsPermutation.take();
  return result;
}

int64_t Clustering::scaleIndex(int64_t head, int64_t channel) const {
  int64_t perGroup = heads / groups, group = head / perGroup;
  int64_t local = head % perGroup, cluster = 0, part = 0;
  const int64_t *ends = &headEnds[group * headClusters];
  while (ends[cluster] <= local)
    ++cluster;
  cluster += group * headClusters;
  ends = &channelEnds[cluster * channelClusters];
  while (ends[part] <= channel)
    ++part;
  return cluster * channelClusters + part;
}

Status Clustering::verify() const {
  if (groups < 1 || heads < 1 || headDim < 1 || heads % groups != 0 ||
      headClusters < 1 || channelClusters < 1)
    return badShape("a clustering's counts are not positive or do not divide");
  if (headOrder.size() != heads || channelOrder.size() != heads * headDim)
    return badShape("a clustering's orders do not have its sizes");
  int64_t perGroup = heads / groups;
  for (int64_t h = 0; h < heads; ++h) {
    if (headOrder[h] / perGroup != h / perGroup)
      return badShape("head " + std::to_string(headOrder[h]) +
                          " leaves its group",
                      "heads of one group share B and C");
    for (int64_t p = 0; p < headDim; ++p)
      if (channelOrder[h * headDim + p] / headDim != headOrder[h])
        return badShape("channel " +
                        std::to_string(channelOrder[h * headDim + p]) +
                        " leaves its head");
  }
  auto ascends = [](Span<const int64_t> ends, int64_t total) {
    int64_t last = 0;
    for (int64_t end : ends) {
      if (end <= last)
        return false;
      last = end;
    }
    return last == total;
  };
  if (int64_t(headEnds.size()) != groups * headClusters ||
      int64_t(channelEnds.size()) != getNumScales())
    return badShape("a clustering's tables do not have its sizes");
  for (int64_t g = 0; g < groups; ++g)
    if (!ascends({&headEnds[g * headClusters], size_t(headClusters)}, perGroup))
      return badShape("the heads' ranges do not ascend to " +
                      std::to_string(perGroup));
  for (int64_t c = 0; c < groups * headClusters; ++c)
    if (!ascends({&channelEnds[c * channelClusters], size_t(channelClusters)},
                 headDim))
      return badShape("the channels' ranges do not ascend to " +
                      std::to_string(headDim));
  return Status::success();
}

Result<std::vector<float>> stateScales(const Clustering &clustering,
                                       Span<const float> maxima, int64_t n) {
  if (Status status = clustering.verify(); !status)
    return status;
  int64_t heads = clustering.heads, headDim = clustering.headDim;
  if (n < 1 || int64_t(maxima.size()) != heads * headDim * n)
    return badShape(std::to_string(maxima.size()) + " maxima do not fit " +
                    std::to_string(heads) + " heads of " +
                    std::to_string(headDim) + " channels");
  std::vector<float> scales(clustering.getNumScales() * n, 1e-6f);
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t p = 0; p < headDim; ++p) {
      float *scale = &scales[clustering.scaleIndex(h, p) * n];
      const float *values = &maxima[(h * headDim + p) * n];
      for (int64_t j = 0; j < n; ++j) {
        if (!std::isfinite(values[j]) || values[j] < 0)
          return badValues("maxima are not finite or negative");
        scale[j] = std::max(scale[j], values[j] / 127);
      }
    }
  return scales;
}

Result<std::vector<float>> clusterScales(const Clustering &clustering,
                                         Span<const float> maxima) {
  return stateScales(clustering, maxima, 1);
}

Result<std::vector<float>> expandScales(const Clustering &clustering,
                                        Span<const float> scales, int64_t n) {
  if (Status status = clustering.verify(); !status)
    return status;
  if (n < 1 || int64_t(scales.size()) != clustering.getNumScales() * n)
    return badShape(std::to_string(scales.size()) + " scales do not fit " +
                    std::to_string(clustering.getNumScales()) + " clusters");
  std::vector<float> result;
  result.reserve(clustering.heads * clustering.headDim * n);
  for (int64_t h = 0; h < clustering.heads; ++h)
    for (int64_t p = 0; p < clustering.headDim; ++p) {
      const float *from = scales.data() + clustering.scaleIndex(h, p) * n;
      result.insert(result.end(), from, from + n);
    }
  return result;
}

Permutation inProjOrder(const Clustering &clustering, int64_t stateSize) {
  return clustering.channelOrder.joined(clustering.channelOrder)
      .joined(Permutation::identity(2 * clustering.groups * stateSize))
      .joined(clustering.headOrder);
}

Permutation convOrder(const Clustering &clustering, int64_t stateSize) {
  return clustering.channelOrder.joined(
      Permutation::identity(2 * clustering.groups * stateSize));
}

} // namespace effc::compress
