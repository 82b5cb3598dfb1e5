//===- naive_mixers.cpp - token mixers in plain loops ---------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "runtime/kernels/x86/naive_state.h"

#include <algorithm>
#include <optional>
#include <vector>

namespace kernels::naive {

/// Bytes of the row of one token and head in a cache.
static int64_t cacheRow(const Step &s) {
  int64_t d = s.c("head_dim");
  if (s.c("cache_bits"))
    return d * s.c("cache_bits") / 8;
  return s.c("cache_i8") ? 4 + (d + 3) / 4 * 4 : 4 * d;
}

/// Element `i` of a row of integers by scales of the model.
static int cacheCode(const Step &s, const char *row, int64_t i) {
  if (s.c("cache_bits") == 8)
    return static_cast<int8_t>(row[i]);
  return (static_cast<uint8_t>(row[i / 2]) >> i % 2 * 4 & 15) - 8;
}
static void setCacheCode(const Step &s, char *row, int64_t i, float x,
                         float scale) {
  int half = s.c("cache_bits") == 8 ? 128 : 8;
  float q = std::nearbyint(x * (1 / scale));
  q = std::isnan(q) ? 0 : std::fmax(std::fmin(q, half - 1), -half);
  int code = static_cast<int>(q);
  if (half == 128) {
    row[i] = static_cast<char>(code);
    return;
  }
  int kept = static_cast<uint8_t>(row[i / 2]) & (i % 2 ? 15 : 240);
  row[i / 2] = static_cast<char>(kept | (code + 8) << i % 2 * 4);
}

static void cacheAppend(const Step &s) {
  int64_t heads = s.c("heads"), d = s.c("head_dim"), capacity = s.c("capacity");
  for (int64_t b = 0; b < s.c("batch"); ++b)
    for (int64_t t = 0; t < s.call.valid[b]; ++t)
      for (int64_t h = 0; h < heads; ++h) {
        const float *x =
            s.op<float>(0) + (b * s.c("tokens") + t) * s.c("ldx") + h * d;
        char *row = s.op<char>(1) + ((s.call.slot[b] * heads + h) * capacity +
                                     s.call.past[b] + t) *
                                        cacheRow(s);
        if (s.c("cache_bits")) {
          for (int64_t i = 0; i < d; ++i)
            setCacheCode(s, row, i, x[i], s.op<float>(2)[h * d + i]);
          continue;
        }
        if (!s.c("cache_i8")) {
          std::memcpy(row, x, d * 4);
          continue;
        }
        float scale = 0;
        for (int64_t i = 0; i < d; ++i)
          scale = std::fmax(scale, std::fabs(x[i]));
        scale = scale / 127 > 0 ? scale / 127 : 1;
        std::memcpy(row, &scale, 4);
        for (int64_t i = 0; i < d; ++i)
          row[4 + i] = static_cast<char>(quantized(x[i], scale));
      }
}

static void attention(const Step &s, bool cached) {
  int64_t heads = s.c("heads"), kv = s.c("kv_heads"), d = s.c("head_dim"),
          capacity = s.c("capacity");
  int64_t tokens = s.c("tokens"), window = s.c("window");
  double scale = s.bits("scale_bits"), cap = s.bits("softcap_bits");
  for (int64_t b = 0; b < s.c("batch"); ++b)
    for (int64_t t = 0; t < s.call.valid[b]; ++t)
      for (int64_t h = 0; h < heads; ++h) {
        int64_t g = h * kv / heads, past = cached ? s.call.past[b] : 0,
                i = past + t;
        auto element = [&](int operand, int64_t j, int64_t e) {
          if (cached) {
            const char *row =
                s.op<char>(operand) +
                ((s.call.slot[b] * kv + g) * capacity + j) * cacheRow(s);
            if (s.c("cache_bits"))
              return s.op<float>(operand + 3)[g * d + e] * cacheCode(s, row, e);
            float v;
            std::memcpy(&v, s.c("cache_i8") ? row : row + e * 4, 4);
            return s.c("cache_i8") ? v * static_cast<int8_t>(row[4 + e]) : v;
          }
          return s.op<float>(
              operand)[(b * tokens + j) * s.c(operand == 1 ? "ldk" : "ldv") +
                       g * d + e];
        };
        const float *q = s.op<float>(0) + (b * tokens + t) * s.c("ldq") + h * d;
        std::vector<double> p;
        std::vector<int64_t> seen;
        double largest = -INFINITY, total = 0;
        for (int64_t j = 0; j < past + s.call.valid[b]; ++j) {
          if ((s.c("causal") && j > i) || (window && j <= i - window))
            continue;
          double dot = 0;
          for (int64_t e = 0; e < d; ++e)
            dot += static_cast<double>(q[e]) * element(1, j, e);
          dot *= scale;
          if (cap > 0)
            dot = cap * std::tanh(dot / cap);
          if (int64_t batches = s.c("bias_batch")) {
            int64_t biasHeads = s.c("bias_heads"), rows = s.c("bias_tokens");
            int64_t at =
                (b % batches * biasHeads + (biasHeads > 1 ? h : 0)) * rows +
                (rows > 1 ? t : 0);
            double bias = s.op<float>(4)[at * tokens + j];
            if (std::isinf(bias) && bias < 0)
              continue;
            dot += bias;
          }
          p.push_back(dot);
          seen.push_back(j);
          largest = std::max(largest, dot);
        }
        for (double &v : p)
          total += v = std::exp(v - largest);
        for (int64_t e = 0; e < d; ++e) {
          double y = 0;
          for (size_t j = 0; j < p.size(); ++j)
            y += p[j] / total * element(2, seen[j], e);
          s.op<float>(3)[(b * tokens + t) * s.c("ldy") + h * d + e] =
              static_cast<float>(y);
        }
      }
}

static void conv1d(const Step &s) {
  int64_t channels = s.c("channels"), k = s.c("kernel"), tokens = s.c("tokens");
  bool codes = s.c("x_i8"), quant = s.c("quant");
  for (int64_t b = 0; b < s.c("batch"); ++b)
    for (int64_t c = 0; c < channels; ++c) {
      float scale = codes ? s.op<float>(5)[s.c("xscale_each") ? c : 0] : 1;
      float oscale = quant ? s.op<float>(6)[s.c("oscale_each") ? c : 0] : 1;
      int64_t state = s.call.slot[b] * (k - 1) * channels + c;
      std::vector<float> xp;
      auto read = [&](int operand, int64_t at) {
        xp.push_back(codes ? s.op<int8_t>(operand)[at]
                           : s.op<float>(operand)[at]);
      };
      auto write = [&](int operand, int64_t at, bool integer, double v) {
        if (integer)
          s.op<int8_t>(operand)[at] = static_cast<int8_t>(v);
        else
          s.op<float>(operand)[at] = static_cast<float>(v);
      };
      for (int64_t j = 0; j < k - 1; ++j)
        read(3, state + j * channels);
      for (int64_t t = 0; t < tokens; ++t)
        read(0, (b * tokens + t) * s.c("ldx") + c);
      for (int64_t t = 0; t < s.call.valid[b]; ++t) {
        double y = s.op<float>(2) ? s.op<float>(2)[c] : 0;
        for (int64_t j = 0; j < k; ++j)
          y += static_cast<double>(s.op<float>(1)[c * k + j]) * scale *
               xp[t + j];
        y = s.c("silu") ? silu(y) : y;
        write(4, (b * tokens + t) * s.c("ldy") + c, quant,
              quant ? quantized(static_cast<float>(y), oscale) : y);
      }
      for (int64_t j = 0; j < k - 1; ++j)
        write(3, state + j * channels, codes, xp[s.call.valid[b] + j]);
    }
}

static void ssmScan(const Step &s) {
  int64_t channels = s.c("channels"), n = s.c("n"), tokens = s.c("tokens"),
          groups = s.c("groups");
  bool each = s.c("state_format") && !s.c("state_once");
  for (int64_t b = 0; b < s.c("batch"); ++b) {
    // Without a state the scan starts at zero, and every token is valid.
    std::optional<State> state;
    if (s.op<void>(7))
      state.emplace(s, 7, 15, b, 1, n, channels);
    int64_t valid = state ? s.call.valid[b] : tokens;
    for (int64_t d = 0; d < channels; ++d) {
      std::vector<float> stored =
          state ? state->load(0, d) : std::vector<float>(n);
      std::vector<double> h(stored.begin(), stored.end());
      for (int64_t t = 0; t < valid; ++t) {
        int64_t r = b * tokens + t, g = d * groups / channels;
        double u = s.activation("u", 0, 10, r, d),
               dt = s.timeStep(1, 9, 11, r, d), y = 0;
        for (int64_t i = 0; i < n; ++i) {
          h[i] = std::exp(dt * s.op<float>(2)[d * n + i]) * h[i] +
                 dt * u * s.activation("b", 3, 12, r, g * n + i);
          y += h[i] * s.activation("c", 4, 13, r, g * n + i);
        }
        if (s.op<float>(5))
          y += s.op<float>(5)[d] * u;
        if (s.op<float>(6))
          y *= silu(s.activation("z", 6, 14, r, d));
        s.op<float>(8)[r * s.c("ldy") + d] = static_cast<float>(y);
        if (state && (each || t + 1 == valid)) {
          stored.assign(h.begin(), h.end());
          state->store(0, d, stored, s.call.past[b] + t);
          h.assign(stored.begin(), stored.end());
        }
      }
    }
  }
}

static void ssdScan(const Step &s) {
  int64_t heads = s.c("heads"), p = s.c("head_dim"), n = s.c("n"),
          tokens = s.c("tokens"), groups = s.c("groups");
  bool each = s.c("state_format") && !s.c("state_once");
  for (int64_t b = 0; b < s.c("batch"); ++b) {
    State state(s, 6, 13, b, heads, n, p);
    for (int64_t i = 0; i < heads; ++i)
      for (int64_t e = 0; e < p; ++e) {
        std::vector<float> stored = state.load(i, e);
        std::vector<double> h(stored.begin(), stored.end());
        for (int64_t t = 0; t < s.call.valid[b]; ++t) {
          int64_t r = b * tokens + t, g = i * groups / heads;
          double dt = s.timeStep(1, 8, 10, r, i),
                 a = std::exp(dt * s.op<float>(2)[i]),
                 x = s.activation("x", 0, 9, r, i * p + e), y = 0;
          for (int64_t m = 0; m < n; ++m) {
            h[m] = a * h[m] + dt * x * s.activation("b", 3, 11, r, g * n + m);
            y += h[m] * s.activation("c", 4, 12, r, g * n + m);
          }
          if (s.op<float>(5))
            y += s.op<float>(5)[i] * x;
          s.op<float>(7)[r * s.c("ldy") + i * p + e] = static_cast<float>(y);
          if (each || t + 1 == s.call.valid[b]) {
            stored.assign(h.begin(), h.end());
            state.store(i, e, stored, s.call.past[b] + t);
            h.assign(stored.begin(), stored.end());
          }
        }
      }
  }
}

bool runMixer(const std::string &family, const Step &s) {
  if (family == "cache_append")
    cacheAppend(s);
  else if (family == "attention" || family == "attention_cache")
    attention(s, family == "attention_cache");
  else if (family == "causal_conv1d")
    conv1d(s);
  else if (family == "ssm_scan")
    ssmScan(s);
  else if (family == "ssd_scan")
    ssdScan(s);
  else
    return false;
  return true;
}

} // namespace kernels::naive
