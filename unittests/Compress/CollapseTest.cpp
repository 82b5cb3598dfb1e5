//===- CollapseTest.cpp - one scan in place of many -----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Compress/Collapse.h"

#include "TestUtils.h"

#include <numeric>

using namespace effc::compress;
using namespace effc::compress::test;

namespace {

const CollapseVariant kVariants[] = {
    CollapseVariant::Post, CollapseVariant::Dir, CollapseVariant::Pre};

/// A scan and the memory it reads.
template <typename T> struct Scan {
  ScanInputs<T> in;
  std::vector<T> u, dt, bias, a, b, c, d;

  Scan(Random &random, int64_t length, int64_t directions, int64_t channels,
       int64_t states) {
    in.length = length;
    in.directions = directions;
    in.channels = channels;
    in.states = states;
    int64_t w = in.width();
    u = normal<T>(random, length * w);
    dt = normal<T>(random, length * w);
    bias = normal<T>(random, w);
    a = normal<T>(random, w * states);
    for (T &value : a)
      value = -std::exp(value);
    b = normal<T>(random, length * directions * states);
    c = normal<T>(random, length * directions * states);
    d = normal<T>(random, w);
    bind();
  }
  Scan(const Scan &other)
      : in(other.in), u(other.u), dt(other.dt), bias(other.bias), a(other.a),
        b(other.b), c(other.c), d(other.d) {
    bind();
  }
  void bind() {
    in.u = u;
    in.dt = dt;
    in.bias = bias;
    in.a = a;
    in.b = b;
    in.c = c;
    in.d = d;
  }
  std::vector<T> run() const { return get(scan(in)); }
  std::vector<T> runCollapsed(CollapseVariant variant,
                              bool factored = true) const {
    auto collapsed = get(collapse(in, variant, factored));
    auto s = scanCollapsed(collapsed);
    return get(broadcastCollapsed(in, collapsed, Span<const T>(s)));
  }
};

/// Random extents: odd lengths, up to 16 states, 1, 2 or 4 directions.
template <typename T = double> Scan<T> randomScan(Random &random) {
  const int64_t directions[] = {1, 2, 4};
  return Scan<T>(random, 2 * between(random, 0, 20) + 1,
                 directions[between(random, 0, 2)], between(random, 1, 9),
                 between(random, 1, 16));
}

TEST(Collapse, VMeanbaInvariant2_EqualChannelsCollapseExactly) {
  Random random(1);
  for (int trial = 0; trial < 10; ++trial) {
    auto scan = randomScan(random);
    int64_t w = scan.in.width(), n = scan.in.states, k = scan.in.directions;
    for (int64_t l = 0; l < scan.in.length; ++l) {
      for (int64_t c = 1; c < w; ++c) {
        scan.u[l * w + c] = scan.u[l * w];
        scan.dt[l * w + c] = scan.dt[l * w];
      }
      for (int64_t d = 1; d < k; ++d)
        for (int64_t j = 0; j < n; ++j) {
          scan.b[(l * k + d) * n + j] = scan.b[l * k * n + j];
          scan.c[(l * k + d) * n + j] = scan.c[l * k * n + j];
        }
    }
    for (int64_t c = 1; c < w; ++c) {
      scan.bias[c] = scan.bias[0];
      scan.d[c] = scan.d[0];
      for (int64_t j = 0; j < n; ++j)
        scan.a[c * n + j] = scan.a[j];
    }
    auto wanted = scan.run();
    for (CollapseVariant variant : kVariants)
      EXPECT_LT(relativeDifference(scan.runCollapsed(variant), wanted), 1e-12);
    Uniformity uniformity = get(measureUniformity(scan.in));
    EXPECT_LT(uniformity.decayRms + uniformity.inputRms + uniformity.cRms,
              1e-12);
  }
}

TEST(Collapse, UniformityMeasuresDeviations) {
  // Two channels, one position: decays exp(-1), exp(-3) with delta = 1.
  Random random(2);
  Scan<double> scan(random, 1, 1, 2, 1);
  scan.bias = {0, 0};
  scan.dt = {std::log(std::exp(1.0) - 1), std::log(std::exp(1.0) - 1)};
  scan.a = {-1, -3};
  scan.u = {2, 4};
  scan.b = {0.5};
  scan.bind();
  Uniformity u = get(measureUniformity(scan.in));
  double half = (std::exp(-1) - std::exp(-3)) / 2;
  EXPECT_NEAR(u.decayAbs, half, 1e-12);
  EXPECT_NEAR(u.decayRms, half, 1e-12);
  EXPECT_NEAR(u.inputAbs, 0.5, 1e-12);
  EXPECT_NEAR(u.inputRms, 0.5, 1e-12);
  EXPECT_EQ(u.cAbs, 0);
}

template <typename T> void testFactored(double tolerance) {
  Random random(3);
  for (int trial = 0; trial < 10; ++trial) {
    auto scan = randomScan<T>(random);
    int64_t w = scan.in.width(), n = scan.in.states, k = scan.in.directions;
    for (CollapseVariant variant :
         {CollapseVariant::Post, CollapseVariant::Dir}) {
      auto factored = get(collapse(scan.in, variant)),
           literal = get(collapse(scan.in, variant, /*factored=*/false));
      EXPECT_LT(relativeDifference(factored.input, literal.input), tolerance);
      EXPECT_EQ(factored.decay, literal.decay);
      EXPECT_EQ(factored.c, literal.c);
    }
    // And against means written out.
    auto post = get(collapse(scan.in, CollapseVariant::Post));
    for (int64_t l = 0; l < scan.in.length; ++l)
      for (int64_t j = 0; j < n; ++j) {
        double a = 0, b = 0, c = 0;
        for (int64_t ch = 0; ch < w; ++ch) {
          double delta =
              std::log1p(std::exp(double(scan.dt[l * w + ch] + scan.bias[ch])));
          int64_t at = (l * k + ch / scan.in.channels) * n + j;
          a += std::exp(delta * scan.a[ch * n + j]) / double(w);
          b += delta * scan.b[at] * scan.u[l * w + ch] / double(w);
          c += scan.c[at] / double(w);
        }
        ASSERT_NEAR(post.decay[l * n + j], a, tolerance * 10);
        ASSERT_NEAR(post.input[l * n + j], b, tolerance * 10);
        ASSERT_NEAR(post.c[l * n + j], c, tolerance * 10);
      }
  }
}
TEST(Collapse, VMeanbaInvariant3_FactoredMeansF64) {
  testFactored<double>(1e-14);
}
TEST(Collapse, VMeanbaInvariant3_FactoredMeansF32) {
  testFactored<float>(1e-6);
}

TEST(Collapse, VMeanbaInvariant4_BlockedScanIsTheSequentialOne) {
  Random random(4);
  for (int64_t length : {1, 49, 196, 3136, 16384})
    for (int64_t block : {1, 2, 32, 100, 1024}) {
      CollapsedScan<double> scan;
      scan.length = length;
      scan.scans = between(random, 1, 2);
      scan.states = between(random, 1, 3);
      int64_t size = length * scan.scans * scan.states;
      scan.input = normal<double>(random, size);
      scan.c = normal<double>(random, size);
      scan.decay = normal<double>(random, size);
      for (double &value : scan.decay)
        value = 1 / (1 + std::exp(value));
      EXPECT_LT(
          relativeDifference(scanCollapsed(scan, block), scanCollapsed(scan)),
          1e-12)
          << length << " " << block;
    }
}

TEST(Collapse, VMeanbaInvariant5_ChannelOrderDoesNotMatter) {
  Random random(5);
  for (int trial = 0; trial < 10; ++trial) {
    auto scan = randomScan(random);
    int64_t e = scan.in.channels, n = scan.in.states;
    Permutation order, inDirection = Permutation::sorting(normal(random, e));
    for (int64_t k = 0; k < scan.in.directions; ++k)
      order = order.joined(inDirection);
    int64_t w = scan.in.width();
    Scan<double> permuted = scan;
    for (auto *values : {&permuted.u, &permuted.dt})
      EXPECT_OK(order.applyToColumns(view(*values, scan.in.length, w)));
    EXPECT_OK(order.apply(Span<double>(permuted.bias)));
    EXPECT_OK(order.applyToRows(view(permuted.a, w, n)));
    for (CollapseVariant variant : kVariants)
      EXPECT_LT(
          relativeDifference(scanCollapsed(get(collapse(permuted.in, variant))),
                             scanCollapsed(get(collapse(scan.in, variant)))),
          1e-11);
  }
}

//===----------------------------------------------------------------------===//
// Images
//===----------------------------------------------------------------------===//

TEST(Collapse, ScanOrdersOfAnImage) {
  auto orders = get(scanOrders(4, 2, 3));
  EXPECT_TRUE(orders[0].isIdentity());
  EXPECT_EQ(orders[1], get(Permutation::create({0, 3, 1, 4, 2, 5})));
  EXPECT_EQ(orders[2], get(Permutation::create({5, 4, 3, 2, 1, 0})));
  EXPECT_EQ(orders[3], get(Permutation::create({5, 2, 4, 1, 3, 0})));
}

TEST(Collapse, VMeanbaInvariant6_MergeAndBroadcastCommute) {
  Random random(6);
  for (int64_t directions : {1, 2, 4}) {
    int64_t h = between(random, 1, 7), w = between(random, 1, 7), e = 5;
    auto orders = get(scanOrders(directions, h, w));
    auto s = normal<double>(random, h * w * directions);
    std::vector<double> wide;
    for (double value : s)
      wide.insert(wide.end(), e, value);
    auto narrow = get(crossMerge(constView(s, h * w, directions), orders));
    auto merged =
        get(crossMerge(constView(wide, h * w, directions * e), orders));
    for (int64_t l = 0; l < h * w; ++l)
      for (int64_t c = 0; c < e; ++c)
        EXPECT_EQ(merged[l * e + c], narrow[l]);
    // Scan and merge visit each pixel once in each direction.
    auto x = normal<double>(random, h * w * e);
    auto u = get(crossScan(constView(x, h * w, e), orders));
    auto sum = get(crossMerge(constView(u, h * w, directions * e), orders));
    for (double &value : sum)
      value /= double(directions);
    EXPECT_LT(relativeDifference(sum, x), 1e-14);
  }
}

enum class Norm { Layer, Rms, None, Sigmoid, GateBeforeLayer };

template <typename T>
std::vector<T> normalize(std::vector<T> v, int64_t channels, Norm norm,
                         const std::vector<T> &weight,
                         const std::vector<T> &bias,
                         const std::vector<T> &gate) {
  int64_t rows = v.size() / channels;
  if (norm == Norm::GateBeforeLayer)
    for (size_t i = 0; i < v.size(); ++i)
      v[i] *= gate[i];
  for (int64_t r = 0; r < rows; ++r) {
    T *x = &v[r * channels];
    T mean = 0, square = 0;
    if (norm == Norm::Layer || norm == Norm::GateBeforeLayer)
      mean = std::accumulate(x, x + channels, T(0)) / T(channels);
    for (int64_t c = 0; c < channels; ++c)
      square += (x[c] - mean) * (x[c] - mean) / T(channels);
    for (int64_t c = 0; c < channels; ++c) {
      if (norm == Norm::Sigmoid)
        x[c] = 1 / (1 + std::exp(-x[c]));
      else if (norm != Norm::None)
        x[c] = (x[c] - mean) / std::sqrt(square + T(1e-5)) * weight[c] +
               (norm == Norm::Rms ? T(0) : bias[c]);
    }
  }
  return v;
}

/// A layer on an image, literal and scan-free, behind a norm.
template <typename T>
double cancellationError(CollapseVariant variant, Norm norm, Random &random) {
  int64_t h = between(random, 2, 7), w = between(random, 2, 7),
          e = between(random, 8, 24), directions = 1 << between(random, 0, 2);
  auto orders = get(scanOrders(directions, h, w));
  Scan<T> scan(random, h * w, directions, e, between(random, 1, 4));
  auto x = normal<T>(random, h * w * e);
  scan.u = get(crossScan(constView(x, h * w, e), orders));
  scan.bind();
  auto ys = scan.runCollapsed(variant);
  auto y = get(crossMerge(constView(ys, h * w, directions * e), orders));
  auto closed = get(scanFree(constView(x, h * w, e), Span<const T>(scan.d)));
  // In front of the norm they are not alike, so the norm has something to
  // cancel.
  EXPECT_GT(relativeDifference(y, closed), 1e-3);
  auto weight = normal<T>(random, e), bias = normal<T>(random, e),
       gate = normal<T>(random, h * w * e);
  return relativeDifference(normalize(y, e, norm, weight, bias, gate),
                            normalize(closed, e, norm, weight, bias, gate));
}

TEST(Collapse, VMeanbaInvariant7_LayerNormCancelsTheScan) {
  Random random(7);
  for (int trial = 0; trial < 20; ++trial)
    for (CollapseVariant variant :
         {CollapseVariant::Post, CollapseVariant::Dir}) {
      EXPECT_LT(cancellationError<double>(variant, Norm::Layer, random), 1e-12);
      EXPECT_LT(cancellationError<float>(variant, Norm::Layer, random), 1e-4);
    }
}

TEST(Collapse, VMeanbaInvariant7_OtherNormsDoNotCancel) {
  Random random(8);
  for (Norm norm :
       {Norm::Rms, Norm::None, Norm::Sigmoid, Norm::GateBeforeLayer})
    for (CollapseVariant variant :
         {CollapseVariant::Post, CollapseVariant::Dir})
      EXPECT_GT(cancellationError<double>(variant, norm, random), 1e-3)
          << int(norm);
}

TEST(Collapse, PreVariantIsConstantOverChannels) {
  Random random(9);
  auto scan = randomScan(random);
  auto y = scan.runCollapsed(CollapseVariant::Pre);
  for (int64_t l = 0; l < scan.in.length; ++l)
    for (int64_t c = 1; c < scan.in.width(); ++c)
      EXPECT_EQ(y[l * scan.in.width() + c], y[l * scan.in.width()]);
}

//===----------------------------------------------------------------------===//
// Language models
//===----------------------------------------------------------------------===//

TEST(Collapse, Mamba2IsTheFormPerDirection) {
  Random random(10);
  int64_t length = 9, groups = 2, perGroup = 3, dim = 4, n = 5;
  int64_t heads = groups * perGroup, channels = heads * dim;
  auto x = normal<double>(random, length * channels),
       dt = normal<double>(random, length * heads),
       aLog = normal<double>(random, heads);
  Scan<double> scan(random, length, groups, perGroup * dim, n);
  scan.u = x;
  std::fill(scan.bias.begin(), scan.bias.end(), 0.0);
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t l = 0; l < length; ++l)
      scan.dt[l * channels + c] = dt[l * heads + c / dim];
    for (int64_t j = 0; j < n; ++j)
      scan.a[c * n + j] = -std::exp(aLog[c / dim]);
  }
  scan.bind();
  auto collapsed = get(collapse(scan.in, CollapseVariant::Dir));
  ASSERT_EQ(collapsed.scans, groups);
  for (int64_t l = 0; l < length; ++l)
    for (int64_t g = 0; g < groups; ++g) {
      double decay = 0, mean = 0;
      for (int64_t h = g * perGroup; h < (g + 1) * perGroup; ++h) {
        double delta = std::log1p(std::exp(dt[l * heads + h]));
        decay += std::exp(-delta * std::exp(aLog[h])) / double(perGroup);
        for (int64_t p = 0; p < dim; ++p)
          mean +=
              delta * x[l * channels + h * dim + p] / double(perGroup * dim);
      }
      for (int64_t j = 0; j < n; ++j) {
        int64_t at = (l * groups + g) * n + j;
        EXPECT_NEAR(collapsed.decay[at], decay, 1e-13);
        EXPECT_NEAR(collapsed.input[at], mean * scan.b[at], 1e-13);
        EXPECT_NEAR(collapsed.c[at], scan.c[at], 1e-13);
      }
    }
}

TEST(Collapse, BadInputsAreErrors) {
  Random random(11);
  Scan<double> good(random, 4, 2, 3, 2);
  auto check = [&](auto change) {
    Scan<double> bad = good;
    change(bad);
    EXPECT_ERROR(scan(bad.in), "EFF0410");
    EXPECT_ERROR(collapse(bad.in, CollapseVariant::Post), "EFF0410");
    EXPECT_ERROR(measureUniformity(bad.in), "EFF0410");
  };
  check([](auto &s) { s.in.length = 0; });
  check([](auto &s) { s.in.length = 5; });
  check([](auto &s) { s.in.directions = 1; });
  check([](auto &s) { s.in.states = -2; });
  check([](auto &s) { s.in.bias = Span<const double>(s.bias.data(), 1); });
  check([](auto &s) { s.in.d = {}; });
  auto collapsed = get(collapse(good.in, CollapseVariant::Dir));
  std::vector<double> s(3);
  EXPECT_ERROR(broadcastCollapsed(good.in, collapsed, Span<const double>(s)),
               "EFF0410");
  EXPECT_ERROR(scanOrders(3, 2, 2), "EFF0410");
  EXPECT_ERROR(scanOrders(2, 0, 2), "EFF0410");
  auto orders = get(scanOrders(2, 2, 2));
  EXPECT_ERROR(crossScan(constView(s, 3, 1), orders), "EFF0410");
  EXPECT_ERROR(crossMerge(constView(s, 3, 1), orders), "EFF0410");
  EXPECT_ERROR(crossScan(constView(s, 3, 1), {}), "EFF0410");
  std::vector<double> odd(4);
  EXPECT_ERROR(crossMerge(constView(odd, 4, 1), orders), "EFF0410");
  EXPECT_ERROR(scanFree(constView(odd, 2, 2), Span<const double>(s)),
               "EFF0410");
}

} // namespace
