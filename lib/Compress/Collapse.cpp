//===- Collapse.cpp - one scan in place of many ---------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Compress/Collapse.h"

#include <cmath>

namespace effc::compress {

template <typename T> static T softplus(T x) {
  return x > 20 ? x : std::log1p(std::exp(x));
}

template <typename T> Status ScanInputs<T>::check() const {
  if (length < 1 || directions < 1 || channels < 1 || states < 1)
    return badShape("a scan has an extent that is not positive");
  auto is = [](Span<const T> span, int64_t size) {
    return int64_t(span.size()) == size;
  };
  int64_t w = width();
  if (!is(u, length * w) || !is(dt, length * w) ||
      !(bias.empty() || is(bias, w)) || !is(a, w * states) ||
      !is(b, length * directions * states) ||
      !is(c, length * directions * states) || !is(d, w))
    return badShape("a scan's operands do not fit its extents");
  return Status::success();
}

template <typename T>
static T delta(const ScanInputs<T> &in, int64_t l, int64_t channel) {
  T raw = in.dt[l * in.width() + channel];
  return softplus(in.bias.empty() ? raw : raw + in.bias[channel]);
}

template <typename T> Result<std::vector<T>> scan(const ScanInputs<T> &in) {
  if (Status status = in.check(); !status)
    return status;
  int64_t w = in.width(), n = in.states;
  std::vector<T> h(w * n), y(in.length * w);
  for (int64_t l = 0; l < in.length; ++l)
    for (int64_t c = 0; c < w; ++c) {
      int64_t k = c / in.channels;
      const T *b = &in.b[(l * in.directions + k) * n];
      const T *read = &in.c[(l * in.directions + k) * n];
      T step = delta(in, l, c), u = in.u[l * w + c], sum = in.d[c] * u;
      for (int64_t j = 0; j < n; ++j) {
        T &state = h[c * n + j];
        state = std::exp(step * in.a[c * n + j]) * state + step * b[j] * u;
        sum += read[j] * state;
      }
      y[l * w + c] = sum;
    }
  return y;
}

/// a, b and C averaged over the channels [from, to) at one position; `scale` is
/// 1 / their number.
template <typename T>
static void average(const ScanInputs<T> &in, int64_t l, int64_t from,
                    int64_t to, bool factored, T *decay, T *input, T *c) {
  int64_t w = in.width(), n = in.states;
  T scale = T(1) / T(to - from);
  for (int64_t channel = from; channel < to; ++channel) {
    T step = delta(in, l, channel);
    for (int64_t j = 0; j < n; ++j)
      decay[j] += scale * std::exp(step * in.a[channel * n + j]);
  }
  for (int64_t k = from / in.channels; k * in.channels < to; ++k) {
    const T *b = &in.b[(l * in.directions + k) * n];
    T share = scale * T(in.channels), mean = 0;
    for (int64_t e = 0; e < in.channels; ++e) {
      int64_t channel = k * in.channels + e;
      T product = delta(in, l, channel) * in.u[l * w + channel];
      mean += product;
      if (!factored)
        for (int64_t j = 0; j < n; ++j)
          input[j] += scale * (product * b[j]);
    }
    for (int64_t j = 0; j < n; ++j) {
      if (factored)
        input[j] += scale * mean * b[j];
      c[j] += share * in.c[(l * in.directions + k) * n + j];
    }
  }
}

/// The scan of the averaged operands.
template <typename T>
static void averageFirst(const ScanInputs<T> &in, CollapsedScan<T> &out) {
  int64_t w = in.width(), n = in.states;
  std::vector<T> a(n);
  T bias = 0;
  for (int64_t c = 0; c < w; ++c) {
    for (int64_t j = 0; j < n; ++j)
      a[j] += in.a[c * n + j] / T(w);
    if (!in.bias.empty())
      bias += in.bias[c] / T(w);
  }
  for (int64_t l = 0; l < in.length; ++l) {
    T raw = 0, u = 0;
    for (int64_t c = 0; c < w; ++c) {
      raw += in.dt[l * w + c] / T(w);
      u += in.u[l * w + c] / T(w);
    }
    T step = softplus(raw + bias);
    for (int64_t j = 0; j < n; ++j) {
      T b = 0, c = 0;
      for (int64_t k = 0; k < in.directions; ++k) {
        b += in.b[(l * in.directions + k) * n + j] / T(in.directions);
        c += in.c[(l * in.directions + k) * n + j] / T(in.directions);
      }
      out.decay[l * n + j] = std::exp(step * a[j]);
      out.input[l * n + j] = step * b * u;
      out.c[l * n + j] = c;
    }
  }
}

template <typename T>
Result<CollapsedScan<T>> collapse(const ScanInputs<T> &in,
                                  CollapseVariant variant, bool factored) {
  if (Status status = in.check(); !status)
    return status;
  CollapsedScan<T> out;
  out.variant = variant;
  out.length = in.length;
  out.scans = variant == CollapseVariant::Dir ? in.directions : 1;
  out.states = in.states;
  int64_t total = in.length * out.scans * in.states;
  out.decay.resize(total);
  out.input.resize(total);
  out.c.resize(total);
  if (variant == CollapseVariant::Pre) {
    averageFirst(in, out);
    return out;
  }
  int64_t each = in.width() / out.scans;
  for (int64_t l = 0; l < in.length; ++l)
    for (int64_t s = 0; s < out.scans; ++s) {
      int64_t at = (l * out.scans + s) * in.states;
      average(in, l, s * each, (s + 1) * each, factored, &out.decay[at],
              &out.input[at], &out.c[at]);
    }
  return out;
}

template <typename T>
std::vector<T> scanCollapsed(const CollapsedScan<T> &x, int64_t block) {
  int64_t n = x.states;
  std::vector<T> s(x.length * x.scans);
  for (int64_t scan = 0; scan < x.scans; ++scan)
    for (int64_t j = 0; j < n; ++j) {
      auto at = [&](int64_t l) { return (l * x.scans + scan) * n + j; };
      T h = 0;
      if (block <= 0) {
        for (int64_t l = 0; l < x.length; ++l) {
          h = x.decay[at(l)] * h + x.input[at(l)];
          s[l * x.scans + scan] += x.c[at(l)] * h;
        }
        continue;
      }
      // Within a block by doubling: after the round of `step` each element
      // holds the product of 2 step elements.
      std::vector<T> a(block), b(block);
      for (int64_t start = 0; start < x.length; start += block) {
        for (int64_t i = 0; i < block; ++i) {
          bool inside = start + i < x.length;
          a[i] = inside ? x.decay[at(start + i)] : T(1);
          b[i] = inside ? x.input[at(start + i)] : T(0);
        }
        for (int64_t step = 1; step < block; step *= 2)
          for (int64_t i = block - 1; i >= step; --i) {
            b[i] = a[i] * b[i - step] + b[i];
            a[i] *= a[i - step];
          }
        for (int64_t i = 0; i < block && start + i < x.length; ++i)
          s[(start + i) * x.scans + scan] +=
              x.c[at(start + i)] * (a[i] * h + b[i]);
        h = a[block - 1] * h + b[block - 1];
      }
    }
  return s;
}

template <typename T>
Result<std::vector<T>> broadcastCollapsed(const ScanInputs<T> &in,
                                          const CollapsedScan<T> &collapsed,
                                          Span<const T> s) {
  if (Status status = in.check(); !status)
    return status;
  if (collapsed.length != in.length ||
      (collapsed.scans != 1 && collapsed.scans != in.directions) ||
      int64_t(s.size()) != in.length * collapsed.scans)
    return badShape("a collapsed scan does not fit the scan that it replaces");
  int64_t w = in.width();
  std::vector<T> y(in.length * w);
  T meanD = 0;
  for (T d : in.d)
    meanD += d / T(w);
  for (int64_t l = 0; l < in.length; ++l) {
    T meanU = 0;
    for (int64_t c = 0; c < w; ++c)
      meanU += in.u[l * w + c] / T(w);
    for (int64_t c = 0; c < w; ++c) {
      int64_t scan = collapsed.scans == 1 ? 0 : c / in.channels;
      T skip = collapsed.variant == CollapseVariant::Pre
                   ? meanD * meanU
                   : in.d[c] * in.u[l * w + c];
      y[l * w + c] = s[l * collapsed.scans + scan] + skip;
    }
  }
  return y;
}

template <typename T>
Result<Uniformity> measureUniformity(const ScanInputs<T> &in) {
  Result<CollapsedScan<T>> mean = collapse(in, CollapseVariant::Post);
  if (!mean)
    return mean.takeError();
  int64_t w = in.width(), n = in.states;
  Uniformity sum;
  double decaySquare = 0, inputSquare = 0, cSquare = 0;
  for (int64_t l = 0; l < in.length; ++l) {
    for (int64_t c = 0; c < w; ++c) {
      T step = delta(in, l, c);
      const T *b = &in.b[(l * in.directions + c / in.channels) * n];
      for (int64_t j = 0; j < n; ++j) {
        double da = std::exp(step * in.a[c * n + j]) - mean->decay[l * n + j];
        double db = step * b[j] * in.u[l * w + c] - mean->input[l * n + j];
        sum.decayAbs += std::fabs(da);
        sum.inputAbs += std::fabs(db);
        decaySquare += da * da;
        inputSquare += db * db;
      }
    }
    for (int64_t k = 0; k < in.directions; ++k)
      for (int64_t j = 0; j < n; ++j) {
        double dc = in.c[(l * in.directions + k) * n + j] - mean->c[l * n + j];
        sum.cAbs += std::fabs(dc);
        cSquare += dc * dc;
      }
  }
  double elements = double(in.length) * double(w) * double(n);
  double cElements = double(in.length) * double(in.directions) * double(n);
  sum.decayAbs /= elements;
  sum.inputAbs /= elements;
  sum.cAbs /= cElements;
  sum.decayRms = std::sqrt(decaySquare / elements);
  sum.inputRms = std::sqrt(inputSquare / elements);
  sum.cRms = std::sqrt(cSquare / cElements);
  return sum;
}

//===----------------------------------------------------------------------===//
// Scans of images
//===----------------------------------------------------------------------===//

Result<std::vector<Permutation>> scanOrders(int64_t directions, int64_t height,
                                            int64_t width) {
  if (height < 1 || width < 1 ||
      (directions != 1 && directions != 2 && directions != 4))
    return badShape("no scan of " + std::to_string(height) + " x " +
                        std::to_string(width) + " in " +
                        std::to_string(directions) + " directions",
                    "1, 2 and 4 directions are known");
  std::vector<Permutation> orders;
  for (int64_t k = 0; k < directions; ++k) {
    std::vector<int64_t> order(height * width);
    for (int64_t l = 0; l < height * width; ++l) {
      int64_t at = k < 2 ? l : height * width - 1 - l;
      order[l] = k % 2 == 0 ? at : at % height * width + at / height;
    }
    Result<Permutation> permutation = Permutation::create(std::move(order));
    if (!permutation)
      return permutation.takeError();
    orders.push_back(permutation.take());
  }
  return orders;
}

static Status checkOrders(int64_t length,
                          const std::vector<Permutation> &orders) {
  if (orders.empty())
    return badShape("an image's scan needs a direction");
  for (const Permutation &order : orders)
    if (order.size() != length)
      return badShape("the order of " + std::to_string(order.size()) +
                      " pixels does not fit " + std::to_string(length));
  return Status::success();
}

template <typename T>
Result<std::vector<T>> crossScan(MatrixView<const T> x,
                                 const std::vector<Permutation> &orders) {
  if (!x.isValid())
    return badShape("a matrix view has no valid extents");
  if (Status status = checkOrders(x.rows, orders); !status)
    return status;
  std::vector<T> u(x.rows * x.cols * orders.size());
  auto to = u.begin();
  for (int64_t l = 0; l < x.rows; ++l)
    for (const Permutation &order : orders)
      to = std::copy_n(x.row(order[l]), x.cols, to);
  return u;
}

template <typename T>
Result<std::vector<T>> crossMerge(MatrixView<const T> ys,
                                  const std::vector<Permutation> &orders) {
  if (Status status = checkOrders(ys.rows, orders); !status)
    return status;
  int64_t directions = orders.size(), channels = ys.cols / directions;
  if (!ys.isValid() || ys.cols % directions != 0)
    return badShape(std::to_string(ys.cols) + " channels are not " +
                    std::to_string(directions) + " directions");
  std::vector<T> y(ys.rows * channels);
  for (int64_t l = 0; l < ys.rows; ++l)
    for (int64_t k = 0; k < directions; ++k)
      for (int64_t e = 0; e < channels; ++e)
        y[orders[k][l] * channels + e] += ys(l, k * channels + e);
  return y;
}

template <typename T>
Result<std::vector<T>> scanFree(MatrixView<const T> x, Span<const T> d) {
  if (!x.isValid() || x.cols < 1 || d.empty() ||
      int64_t(d.size()) % x.cols != 0)
    return badShape(std::to_string(d.size()) + " skip weights do not fit " +
                    std::to_string(x.cols) + " channels");
  std::vector<T> factor(x.cols), y(x.rows * x.cols);
  for (size_t i = 0; i < d.size(); ++i)
    factor[int64_t(i) % x.cols] += d[i];
  for (int64_t l = 0; l < x.rows; ++l)
    for (int64_t e = 0; e < x.cols; ++e)
      y[l * x.cols + e] = x(l, e) * factor[e];
  return y;
}

#define EFFC_INSTANTIATE(T)                                                    \
  template struct ScanInputs<T>;                                               \
  template Result<std::vector<T>> scan(const ScanInputs<T> &);                 \
  template Result<CollapsedScan<T>> collapse(const ScanInputs<T> &,            \
                                             CollapseVariant, bool);           \
  template std::vector<T> scanCollapsed(const CollapsedScan<T> &, int64_t);    \
  template Result<std::vector<T>> broadcastCollapsed(                          \
      const ScanInputs<T> &, const CollapsedScan<T> &, Span<const T>);         \
  template Result<Uniformity> measureUniformity(const ScanInputs<T> &);        \
  template Result<std::vector<T>> crossScan(MatrixView<const T>,               \
                                            const std::vector<Permutation> &); \
  template Result<std::vector<T>> crossMerge(                                  \
      MatrixView<const T>, const std::vector<Permutation> &);                  \
  template Result<std::vector<T>> scanFree(MatrixView<const T>, Span<const T>);
EFFC_INSTANTIATE(float)
EFFC_INSTANTIATE(double)

} // namespace effc::compress
