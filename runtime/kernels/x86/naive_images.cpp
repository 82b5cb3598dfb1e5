//===- naive_images.cpp - images and collapsed scans in plain loops -------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "runtime/kernels/x86/naive_step.h"

#include <vector>

namespace kernels::naive {

static int64_t pixelOf(const Step &s, int64_t k, int64_t l) {
  int64_t h = s.c("height"), w = s.c("width"), at = k < 2 ? l : h * w - 1 - l;
  return k % 2 == 0 ? at : at % h * w + at / h;
}

static void depthwise(const Step &s) {
  int64_t h = s.c("height"), w = s.c("width"), kh = s.c("kh"), kw = s.c("kw");
  for (int64_t r = 0; r < s.c("batch") * h * w; ++r)
    for (int64_t c = 0; c < s.c("channels"); ++c) {
      double y = s.op<float>(2) ? s.op<float>(2)[c] : 0;
      for (int64_t u = 0; u < kh; ++u)
        for (int64_t v = 0; v < kw; ++v) {
          int64_t i = r / w % h + u - kh / 2, j = r % w + v - kw / 2;
          if (i < 0 || i >= h || j < 0 || j >= w)
            continue;
          int64_t from = (r / (h * w) * h + i) * w + j;
          y += static_cast<double>(s.op<float>(1)[(c * kh + u) * kw + v]) *
               s.op<float>(0)[from * s.c("ldx") + c];
        }
      s.op<float>(3)[r * s.c("ldy") + c] =
          static_cast<float>(s.c("silu") ? silu(y) : y);
    }
}

static void crossScan(const Step &s) {
  int64_t pixels = s.c("height") * s.c("width"), d = s.c("d");
  for (int64_t r = 0; r < s.c("batch") * pixels; ++r)
    for (int64_t k = 0; k < s.c("directions"); ++k)
      for (int64_t i = 0; i < d; ++i) {
        int64_t from = r / pixels * pixels + pixelOf(s, k, r % pixels);
        s.op<float>(4)[r * s.c("ldy") + k * d + i] =
            s.op<float>(static_cast<int>(k))[from * s.c("ldx") + i];
      }
}

static void crossMerge(const Step &s) {
  int64_t pixels = s.c("height") * s.c("width"), d = s.c("d");
  for (int64_t b = 0; b < s.c("batch"); ++b)
    for (int64_t i = 0; i < d; ++i) {
      std::vector<float> y(pixels);
      for (int64_t k = 0; k < s.c("directions"); ++k)
        for (int64_t l = 0; l < pixels; ++l)
          y[pixelOf(s, k, l)] +=
              s.op<float>(0)[(b * pixels + l) * s.c("ldx") + k * d + i];
      for (int64_t p = 0; p < pixels; ++p)
        s.op<float>(1)[(b * pixels + p) * s.c("ldy") + i] = y[p];
    }
}

static void collapse(const Step &s) {
  int64_t channels = s.c("channels"), n = s.c("n"), groups = s.c("groups"),
          scans = s.c("scans"), heads = s.c("heads"),
          units = heads ? heads : channels;
  for (int64_t r = 0; r < s.c("rows"); ++r)
    for (int64_t j = 0; j < scans; ++j)
      for (int64_t i = 0; i < n; ++i) {
        double decay = 0, in = 0, out = 0;
        for (int64_t e = 0; e < channels / scans; ++e) {
          int64_t d = j * (channels / scans) + e, unit = d * units / channels,
                  g = d * groups / channels;
          double dt = s.op<float>(1)[r * s.c("lddt") + unit];
          decay += std::exp(dt * s.op<float>(2)[heads ? unit : d * n + i]);
          in += dt * s.op<float>(0)[r * s.c("ldu") + d] *
                s.op<float>(3)[r * s.c("ldb") + g * n + i];
          out += s.op<float>(4)[r * s.c("ldc") + g * n + i];
        }
        double share = static_cast<double>(scans) / channels;
        int64_t at = (r * scans + j) * n + i;
        s.op<float>(5)[at] = static_cast<float>(decay * share);
        s.op<float>(6)[at] = static_cast<float>(in * share);
        s.op<float>(7)[at] = static_cast<float>(out * share);
      }
}

static void collapsedScan(const Step &s) {
  int64_t n = s.c("n"), scans = s.c("scans"), tokens = s.c("tokens");
  for (int64_t b = 0; b < s.c("batch"); ++b)
    for (int64_t j = 0; j < scans; ++j) {
      float *state = s.op<float>(3) ? s.slot(3, b, n * scans) : nullptr;
      std::vector<double> h(n);
      for (int64_t i = 0; state && i < n; ++i)
        h[i] = state[i * scans + j];
      int64_t valid = state ? s.call.valid[b] : tokens;
      for (int64_t t = 0; t < tokens; ++t) {
        double y = 0;
        for (int64_t i = 0; t < valid && i < n; ++i) {
          int64_t at = ((b * tokens + t) * scans + j) * n + i;
          h[i] = s.op<float>(0)[at] * h[i] + s.op<float>(1)[at];
          y += s.op<float>(2)[at] * h[i];
        }
        s.op<float>(4)[(b * tokens + t) * scans + j] = static_cast<float>(y);
      }
      for (int64_t i = 0; state && i < n; ++i)
        state[i * scans + j] = static_cast<float>(h[i]);
    }
}

static void expand(const Step &s) {
  int64_t channels = s.c("channels"), scans = s.c("scans");
  for (int64_t r = 0; r < s.c("rows"); ++r)
    for (int64_t d = 0; d < channels; ++d) {
      double y = s.op<float>(0)[r * scans + d * scans / channels];
      if (s.op<float>(1))
        y += static_cast<double>(s.op<float>(2)[d]) *
             s.op<float>(1)[r * s.c("ldu") + d];
      if (s.op<float>(3))
        y *= silu(s.op<float>(3)[r * s.c("ldz") + d]);
      s.op<float>(4)[r * s.c("ldy") + d] = static_cast<float>(y);
    }
}

bool runImage(const std::string &family, const Step &s) {
  if (family == "depthwise_conv2d")
    depthwise(s);
  else if (family == "cross_scan")
    crossScan(s);
  else if (family == "cross_merge")
    crossMerge(s);
  else if (family == "collapse_channels")
    collapse(s);
  else if (family == "collapsed_scan")
    collapsedScan(s);
  else if (family == "expand_channels")
    expand(s);
  else
    return false;
  return true;
}

} // namespace kernels::naive
