//===- ClusterTest.cpp - sort and cluster heads and channels --------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Compress/Cluster.h"

#include "Mamba2Block.h"

#include "effc/Compress/Hadamard.h"
#include "effc/Compress/Quantize.h"

using namespace effc::compress;
using namespace effc::compress::test;

namespace {

/// The least cost over all partitions, by trying them all.
double exhaustive(const std::vector<float> &x, size_t first, int64_t parts,
                  Objective objective) {
  if (parts == 0)
    return first == x.size() ? 0 : INFINITY;
  double best = INFINITY;
  for (size_t end = first + 1; end <= x.size(); ++end) {
    double n = double(end - first), cost = 0, sum = 0;
    for (size_t i = first; i < end; ++i)
      sum += x[i];
    switch (objective) {
    case Objective::Noise:
      cost = n * x[end - 1] * x[end - 1];
      break;
    case Objective::KMeans:
      for (size_t i = first; i < end; ++i)
        cost += (x[i] - sum / n) * (x[i] - sum / n);
      break;
    case Objective::Minimax:
      cost = x[end - 1] / x[first];
      break;
    }
    double rest = exhaustive(x, end, parts - 1, objective);
    best = std::min(best, objective == Objective::Minimax ? std::max(cost, rest)
                                                          : cost + rest);
  }
  return best;
}

double costOf(const std::vector<float> &x, const std::vector<int64_t> &ends,
              Objective objective) {
  double total = 0;
  int64_t first = 0;
  for (int64_t end : ends) {
    std::vector<float> part(x.begin() + first, x.begin() + end);
    double cost = exhaustive(part, 0, 1, objective);
    total =
        objective == Objective::Minimax ? std::max(total, cost) : total + cost;
    first = end;
  }
  return total;
}

TEST(Cluster, PartitionIsOptimal) {
  Random random(1);
  for (Objective objective :
       {Objective::Noise, Objective::KMeans, Objective::Minimax})
    for (int trial = 0; trial < 30; ++trial) {
      int64_t n = between(random, 1, 11), parts = between(random, 1, n);
      auto x = normal(random, n);
      for (float &value : x)
        value = std::exp(value);
      std::sort(x.begin(), x.end());
      auto ends = get(partitionSorted(x, parts, objective));
      ASSERT_EQ(int64_t(ends.size()), parts);
      ASSERT_EQ(ends.back(), n);
      double best = exhaustive(x, 0, parts, objective);
      EXPECT_NEAR(costOf(x, ends, objective), best, 1e-6 * (1 + best));
    }
}

TEST(Cluster, PartitionFindsClustersThatAreThere) {
  std::vector<float> x = {1, 1.1f, 1.2f, 5, 5.1f, 30, 31, 32, 33, 200};
  for (Objective objective : {Objective::KMeans, Objective::Minimax})
    EXPECT_EQ(get(partitionSorted(x, 4, objective)),
              (std::vector<int64_t>{3, 5, 9, 10}));
  // Equal values, and zeros: any split is as good, the earliest is taken.
  std::vector<float> zeros(5);
  for (Objective objective :
       {Objective::Noise, Objective::KMeans, Objective::Minimax})
    EXPECT_EQ(get(partitionSorted(zeros, 3, objective)),
              (std::vector<int64_t>{1, 2, 5}));
}

std::vector<float> logNormal(Random &random, int64_t size, double sigma) {
  auto values = normal(random, size, sigma);
  for (float &value : values)
    value = std::exp(value);
  return values;
}

TEST(Cluster, Quamba2Invariant4_EveryChannelHasOneScale) {
  Random random(2);
  for (int trial = 0; trial < 30; ++trial) {
    ClusterOptions options;
    options.headClusters = between(random, 1, 4);
    options.channelClusters = between(random, 1, 5);
    options.objective = Objective(trial % 3);
    int64_t groups = between(random, 1, 3),
            heads = groups * between(random, options.headClusters, 9),
            dim = between(random, options.channelClusters, 20);
    auto magnitudes = logNormal(random, heads * dim, 2);
    Clustering c = get(sortAndCluster(magnitudes, groups, heads, dim, options));
    EXPECT_OK(c.verify());
    int64_t perGroup = heads / groups;
    std::vector<int64_t> seen(c.getNumScales());
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t p = 0; p < dim; ++p) {
        int64_t index = c.scaleIndex(h, p);
        ASSERT_GE(index, 0);
        ASSERT_LT(index, c.getNumScales());
        // Of its own group.
        ASSERT_EQ(index / (c.headClusters * c.channelClusters), h / perGroup);
        ++seen[index];
        // Sorted inside the head.
        if (p > 0) {
          ASSERT_GE(magnitudes[c.channelOrder[h * dim + p]],
                    magnitudes[c.channelOrder[h * dim + p - 1]]);
        }
      }
    for (int64_t count : seen)
      EXPECT_GT(count, 0);
    // At the boundaries: the last channel of a cluster and the first of the
    // next.
    for (int64_t g = 0; g < groups; ++g)
      for (int64_t hc = 0, head = 0; hc < c.headClusters; ++hc) {
        int64_t cluster = g * c.headClusters + hc;
        for (int64_t cc = 0; cc + 1 < c.channelClusters; ++cc) {
          int64_t end = c.channelEnds[cluster * c.channelClusters + cc];
          int64_t h = g * perGroup + head;
          EXPECT_EQ(c.scaleIndex(h, end - 1) + 1, c.scaleIndex(h, end));
        }
        head = c.headEnds[cluster];
      }
    // The same data give the same clusters.
    Clustering again =
        get(sortAndCluster(magnitudes, groups, heads, dim, options));
    EXPECT_EQ(again.channelOrder, c.channelOrder);
    EXPECT_EQ(again.channelEnds, c.channelEnds);
  }
}

/// Quantises x [tokens][channels], permuted, with the clusters' scales.
std::vector<float> quantizeClustered(const std::vector<float> &x,
                                     const Clustering &c,
                                     const std::vector<float> &scales,
                                     std::vector<int8_t> &q) {
  int64_t channels = c.heads * c.headDim;
  std::vector<float> result(x.size());
  q.resize(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    int64_t channel = int64_t(i) % channels;
    float scale =
        scales[c.scaleIndex(channel / c.headDim, channel % c.headDim)];
    q[i] = quantizeInt8(x[i], scale);
    result[i] = float(q[i]) * scale;
  }
  return result;
}

struct Activations {
  int64_t groups = 2, heads = 24, dim = 32, tokens = 64;
  std::vector<float> x, magnitudes, maxima;

  Activations(Random &random, double sigma) {
    int64_t channels = heads * dim;
    auto gains = logNormal(random, channels, sigma);
    x = normal(random, tokens * channels);
    magnitudes.resize(channels);
    maxima.resize(channels);
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t c = 0; c < channels; ++c) {
        float &value = x[t * channels + c];
        value *= gains[c];
        magnitudes[c] += std::fabs(value) / float(tokens);
        maxima[c] = std::max(maxima[c], std::fabs(value));
      }
  }
  void permute(const Clustering &c) {
    EXPECT_OK(c.channelOrder.applyToColumns(view(x, tokens, heads * dim)));
    EXPECT_OK(c.channelOrder.apply(Span<float>(maxima)));
  }
};

TEST(Cluster, Quamba2Invariant5_EqualScalesAreThePerTensorFormat) {
  Random random(3);
  Activations data(random, 1);
  Clustering c =
      get(sortAndCluster(data.magnitudes, data.groups, data.heads, data.dim));
  float scale = *std::max_element(data.maxima.begin(), data.maxima.end()) / 127;
  data.permute(c);
  std::vector<int8_t> q, perTensor(data.x.size());
  quantizeClustered(data.x, c, std::vector<float>(c.getNumScales(), scale), q);
  quantizeWith(data.x, scale, perTensor.data());
  EXPECT_EQ(q, perTensor);
  // One cluster of each kind is per group.
  ClusterOptions one;
  one.headClusters = one.channelClusters = 1;
  Clustering single =
      get(sortAndCluster(data.magnitudes, 1, data.heads, data.dim, one));
  Activations copy = data;
  EXPECT_EQ(get(clusterScales(single, copy.maxima)), std::vector<float>{scale});
}

// Section 9: log-normal magnitudes with sigma 2.
TEST(Cluster, GroupedScalesGainTenDecibels) {
  Random random(4);
  const Activations original(random, 2);
  for (Objective objective :
       {Objective::Noise, Objective::KMeans, Objective::Minimax}) {
    Activations data = original;
    ClusterOptions options;
    options.objective = objective;
    Clustering c = get(sortAndCluster(data.magnitudes, data.groups, data.heads,
                                      data.dim, options));
    data.permute(c);
    std::vector<int8_t> q;
    auto grouped =
        quantizeClustered(data.x, c, get(clusterScales(c, data.maxima)), q);
    float scale =
        *std::max_element(data.maxima.begin(), data.maxima.end()) / 127;
    std::vector<float> perTensor(data.x.size());
    for (size_t i = 0; i < data.x.size(); ++i)
      perTensor[i] = float(quantizeInt8(data.x[i], scale)) * scale;
    double gain = get(sqnr(data.x, grouped)) - get(sqnr(data.x, perTensor));
    // The noise of the channels relative to each channel's own power, which is
    // what the next layer feels once a norm or a weight has evened them out,
    // gains far more than the plain ratio.
    double weighted = 0;
    int64_t channels = data.heads * data.dim;
    for (int64_t channel = 0; channel < channels; ++channel) {
      double before = 1e-12, after = 1e-12;
      for (int64_t t = 0; t < data.tokens; ++t) {
        size_t i = t * channels + channel;
        before += std::pow(double(data.x[i]) - perTensor[i], 2);
        after += std::pow(double(data.x[i]) - grouped[i], 2);
      }
      weighted += 10 * std::log10(before / after) / double(channels);
    }
    RecordProperty("gain_db_" + std::to_string(int(objective)),
                   std::to_string(gain));
    RecordProperty("per_channel_gain_db_" + std::to_string(int(objective)),
                   std::to_string(weighted));
    EXPECT_GE(gain, 10) << int(objective);
    EXPECT_GE(weighted, 10) << int(objective);
  }
}

TEST(Cluster, MoreClustersNeverHurtTheNoiseObjective) {
  Random random(5);
  Activations data(random, 2);
  double last = -INFINITY;
  for (int64_t count : {1, 2, 4, 8}) {
    ClusterOptions options;
    options.headClusters = options.channelClusters = count;
    Clustering c = get(sortAndCluster(data.maxima, data.groups, data.heads,
                                      data.dim, options));
    Activations copy = data;
    copy.permute(c);
    std::vector<int8_t> q;
    auto grouped =
        quantizeClustered(copy.x, c, get(clusterScales(c, copy.maxima)), q);
    double quality = get(sqnr(copy.x, grouped));
    EXPECT_GT(quality, last);
    last = quality;
  }
}

TEST(Cluster, StateScalesCoverTheirMaxima) {
  Random random(6);
  int64_t heads = 8, dim = 6, n = 5;
  auto magnitudes = logNormal(random, heads * dim, 1);
  Clustering c = get(sortAndCluster(magnitudes, 2, heads, dim));
  auto maxima = logNormal(random, heads * dim * n, 1);
  auto scales = get(stateScales(c, maxima, n));
  EXPECT_EQ(int64_t(scales.size()), c.getNumScales() * n);
  std::vector<float> needed(scales.size());
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t p = 0; p < dim; ++p)
      for (int64_t j = 0; j < n; ++j) {
        float &need = needed[c.scaleIndex(h, p) * n + j];
        need = std::max(need, maxima[(h * dim + p) * n + j] / 127);
      }
  EXPECT_EQ(scales, needed);
  auto expanded = get(expandScales(c, scales, n));
  ASSERT_EQ(expanded.size(), maxima.size());
  for (size_t i = 0; i < maxima.size(); ++i)
    EXPECT_GE(expanded[i], maxima[i] / 127);
  EXPECT_EQ(expanded[(3 * dim + 2) * n + 1],
            scales[c.scaleIndex(3, 2) * n + 1]);
  EXPECT_ERROR(expandScales(c, maxima, n), "EFF0410");
  EXPECT_EQ(get(clusterScales(c, std::vector<float>(heads * dim))),
            std::vector<float>(c.getNumScales(), 1e-6f));
}

//===----------------------------------------------------------------------===//
// The block
//===----------------------------------------------------------------------===//

/// Moves everything that a permutation of heads and channels moves.
void reorder(Mamba2Block &block, const Clustering &c) {
  int64_t channels = block.heads * block.headDim;
  EXPECT_OK(inProjOrder(c, block.states)
                .applyToRows(view(block.inProj, block.inRows(), block.width)));
  EXPECT_OK(convOrder(c, block.states)
                .applyToRows(view(block.conv, block.convChannels(), 4)));
  EXPECT_OK(convOrder(c, block.states).apply(Span<double>(block.convBias)));
  for (auto *values : {&block.aLog, &block.d, &block.dtBias})
    EXPECT_OK(c.headOrder.apply(Span<double>(*values)));
  EXPECT_OK(c.channelOrder.apply(Span<double>(block.norm)));
  EXPECT_OK(c.channelOrder.applyToColumns(
      view(block.outProj, block.width, channels)));
}

TEST(Cluster, Quamba2Invariant1_PermutationLeavesTheBlock) {
  Random random(7);
  for (int trial = 0; trial < 6; ++trial) {
    int64_t groups = between(random, 1, 2);
    Mamba2Block block(random, groups, groups * between(random, 4, 6), 8,
                      between(random, 3, 6));
    auto x = normal<double>(random, 13 * block.width);
    std::vector<double> state, permutedState;
    auto wanted = block.run(x, &state);
    auto magnitudes = logNormal(random, block.heads * block.headDim, 1);
    Clustering c =
        get(sortAndCluster(magnitudes, groups, block.heads, block.headDim));
    Mamba2Block permuted = block;
    reorder(permuted, c);
    EXPECT_LT(relativeDifference(permuted.run(x, &permutedState), wanted),
              1e-12);
    // S'[h', p'] = S[h, p].
    EXPECT_OK(c.channelOrder.applyToRows(
        view(state, block.heads * block.headDim, block.states)));
    EXPECT_LT(relativeDifference(permutedState, state), 1e-12);
  }
}

TEST(Cluster, Quamba2Invariant1_CrossingGroupsFails) {
  Random random(8);
  Mamba2Block block(random, 2, 8, 4, 5);
  auto x = normal<double>(random, 9 * block.width);
  auto wanted = block.run(x);
  Clustering c = get(sortAndCluster(logNormal(random, 32, 1), 2, 8, 4));
  // Swap a head of the first group with one of the second.
  std::vector<int64_t> heads(8);
  for (int64_t h = 0; h < 8; ++h)
    heads[h] = c.headOrder[h];
  std::swap(heads[0], heads[7]);
  std::vector<int64_t> channels;
  for (int64_t head : heads)
    for (int64_t p = 0; p < 4; ++p)
      channels.push_back(head * 4 + p);
  c.headOrder = get(Permutation::create(heads));
  c.channelOrder = get(Permutation::create(channels));
  EXPECT_ERROR(c.verify(), "EFF0410");
  EXPECT_ERROR(clusterScales(c, std::vector<float>(32)), "EFF0410");
  reorder(block, c);
  EXPECT_GT(relativeDifference(block.run(x), wanted), 1e-2);
}

TEST(Cluster, Quamba2Invariant3_PermuteThenFoldIsTheFoldOfThePermuted) {
  Random random(9);
  int64_t rows = 12, cols = 40;
  HadamardPlan plan = get(HadamardPlan::create(cols));
  auto w = normal<double>(random, rows * cols),
       o = normal<double>(random, cols);
  auto wanted = multiply(o, w, cols, rows);
  Permutation p = Permutation::sorting(normal(random, cols));
  auto permuted = w, permutedO = o;
  EXPECT_OK(p.applyToColumns(view(permuted, rows, cols)));
  EXPECT_OK(p.apply(Span<double>(permutedO)));
  transform(plan, permutedO.data());
  auto folded = permuted;
  EXPECT_OK(rotateInputs(plan, view(folded, rows, cols)));
  EXPECT_LT(relativeDifference(multiply(permutedO, folded, cols, rows), wanted),
            1e-12);
  // The other order is wrong: after the fold, columns are no channels any more.
  auto wrong = w;
  EXPECT_OK(rotateInputs(plan, view(wrong, rows, cols)));
  EXPECT_OK(p.applyToColumns(view(wrong, rows, cols)));
  EXPECT_GT(relativeDifference(multiply(permutedO, wrong, cols, rows), wanted),
            0.1);
}

TEST(Cluster, BadInputsAreErrors) {
  std::vector<float> m(32, 1.0f);
  EXPECT_ERROR(sortAndCluster(m, 3, 8, 4), "EFF0410");
  EXPECT_ERROR(sortAndCluster(m, 0, 8, 4), "EFF0410");
  EXPECT_ERROR(sortAndCluster(m, 2, 8, 5), "EFF0410");
  EXPECT_ERROR(sortAndCluster(m, 4, 8, 4), "EFF0411");
  ClusterOptions options;
  options.channelClusters = 5;
  EXPECT_ERROR(sortAndCluster(m, 1, 8, 4, options), "EFF0411");
  options.channelClusters = 0;
  EXPECT_ERROR(sortAndCluster(m, 1, 8, 4, options), "EFF0411");
  auto bad = m;
  bad[3] = std::nanf("");
  EXPECT_ERROR(sortAndCluster(bad, 1, 8, 4), "EFF0412");
  bad[3] = -1;
  EXPECT_ERROR(sortAndCluster(bad, 1, 8, 4), "EFF0412");

  EXPECT_ERROR(partitionSorted(m, 0, Objective::KMeans), "EFF0410");
  EXPECT_ERROR(partitionSorted(m, 33, Objective::KMeans), "EFF0410");
  EXPECT_ERROR(partitionSorted({}, 1, Objective::KMeans), "EFF0410");
  std::vector<float> descending = {2, 1};
  EXPECT_ERROR(partitionSorted(descending, 1, Objective::Noise), "EFF0412");
  std::vector<float> negative = {-2, 1};
  EXPECT_ERROR(partitionSorted(negative, 1, Objective::Minimax), "EFF0412");

  Clustering c = get(sortAndCluster(m, 2, 8, 4));
  EXPECT_ERROR(clusterScales(c, std::vector<float>(31)), "EFF0410");
  EXPECT_ERROR(stateScales(c, m, 0), "EFF0410");
  EXPECT_ERROR(clusterScales(c, std::vector<float>(32, -1.0f)), "EFF0412");
  Clustering broken = c;
  broken.headEnds[1] = broken.headEnds[0];
  EXPECT_ERROR(broken.verify(), "EFF0410");
  broken = c;
  broken.channelEnds.back() = 3;
  EXPECT_ERROR(broken.verify(), "EFF0410");
  broken = c;
  broken.channelOrder = Permutation::identity(31);
  EXPECT_ERROR(broken.verify(), "EFF0410");
}

} // namespace
