//===- naive.cpp - kernel families in plain loops
//---------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "runtime/kernels/x86/naive_step.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace kernels::naive {

namespace {

double halfToDouble(uint16_t h) {
  int exponent = h >> 10 & 31, mantissa = h & 0x3ff;
  double sign = h & 0x8000 ? -1 : 1;
  if (exponent == 31)
    return mantissa ? NAN : sign * INFINITY;
  return sign * (exponent ? std::ldexp(1024 + mantissa, exponent - 25)
                          : std::ldexp(mantissa, -24));
}
double bf16ToDouble(uint16_t h) {
  uint32_t u = static_cast<uint32_t>(h) << 16;
  float f;
  std::memcpy(&f, &u, 4);
  return f;
}

double float8ToDouble(uint8_t b, bool e5m2) {
  int mantissaBits = e5m2 ? 2 : 3, bias = e5m2 ? 15 : 7;
  int exponent = (b & 0x7f) >> mantissaBits,
      mantissa = b & ((1 << mantissaBits) - 1);
  double sign = b & 0x80 ? -1 : 1;
  if (e5m2 && exponent == 31)
    return mantissa ? NAN : sign * INFINITY;
  if (!e5m2 && (b & 0x7f) == 0x7f)
    return NAN;
  int one = exponent ? 1 << mantissaBits : 0;
  return sign * std::ldexp(one + mantissa,
                           (exponent ? exponent : 1) - bias - mantissaBits);
}

/// Element (n, k) of a packed weight in the format that embed numbers; 8 and 9
/// are e4m3fn and e5m2.
double weight(const void *w, int64_t format, int64_t n, int64_t k, int64_t rows,
              int64_t columns, int64_t group, bool zeros) {
  const auto *bytes = static_cast<const uint8_t *>(w);
  auto f32 = [&](int64_t at) {
    float f;
    std::memcpy(&f, bytes + at, 4);
    return static_cast<double>(f);
  };
  auto u16 = [&](int64_t at) {
    uint16_t h;
    std::memcpy(&h, bytes + at, 2);
    return h;
  };
  int64_t panels = (rows + 15) / 16;
  switch (format) {
  case 0:
    return f32((n * columns + k) * 4);
  case 1:
    return bf16ToDouble(u16((n * columns + k) * 2));
  case 2:
    return halfToDouble(u16((n * columns + k) * 2));
  case 3:
    return f32(((n / 16 * columns + k) * 16 + n % 16) * 4);
  case 4:
  case 5: {
    int64_t at = ((n / 32 * columns + k) * 16 + n % 16) * 4 + n % 32 / 16 * 2;
    return format == 4 ? bf16ToDouble(u16(at)) : halfToDouble(u16(at));
  }
  default: {
    int64_t depth = format == 7 ? 8 : 4, steps = (columns + depth - 1) / depth;
    group = group ? group : columns;
    int64_t groups = (columns + group - 1) / group;
    int64_t at = ((n / 16 * steps + k / depth) * 16 + n % 16) * 4 + k % 4;
    int q = static_cast<int8_t>(bytes[at]);
    if (format == 7) {
      q = bytes[at] >> k % 8 / 4 * 4 & 15;
      q = q >= 8 ? q - 16 : q;
    }
    int64_t scale =
        panels * steps * 64 + ((n / 16 * groups + k / group) * 16 + n % 16) * 4;
    if (format > 7)
      return float8ToDouble(bytes[at], format == 9) * f32(scale);
    return (q - (zeros ? f32(scale + panels * groups * 64) : 0)) * f32(scale);
  }
  }
}

int64_t formatOf(const std::string &family) {
  return family == "linear_f32"    ? 3
         : family == "linear_bf16" ? 4
         : family == "linear_f16"  ? 5
         : family == "linear_i4"   ? 7
         : family == "linear_f8"   ? 8
                                   : 6;
}

/// Integers (n, k) of packed weights, and the scale that belongs to them.
struct Integers {
  const Step &s;
  const uint8_t *w;
  bool four;

  int64_t panels() const { return (s.c("n") + 15) / 16; }
  int at(int64_t n, int64_t k) const {
    int64_t depth = four ? 8 : 4, steps = (s.c("k") + depth - 1) / depth;
    const uint8_t *dword = w + ((n / 16 * steps + k / depth) * 16 + n % 16) * 4;
    if (!four)
      return static_cast<int8_t>(dword[k % 4]);
    int q = dword[k % 4] >> k % 8 / 4 * 4 & 15;
    return q >= 8 ? q - 16 : q;
  }
  int64_t groups() const {
    return four ? (s.c("k") + s.c("group") - 1) / s.c("group") : 1;
  }
  /// `part` 0: the scale, 1: the zero point.
  float scale(int64_t n, int64_t k, int64_t part = 0) const {
    int64_t depth = four ? 8 : 4, steps = (s.c("k") + depth - 1) / depth;
    int64_t group = four ? s.c("group") : s.c("k");
    int64_t index =
        ((panels() * part + n / 16) * groups() + k / group) * 16 + n % 16;
    float f;
    std::memcpy(&f, w + panels() * steps * 64 + index * 4, 4);
    return f;
  }
  float zero(int64_t n, int64_t k) const {
    return s.c("zeros") ? scale(n, k, 1) : 0;
  }
};

/// int8 activations: sums of each group of k in integers, their combination in
/// f32 as the kernels do it.
void integerLinear(const Step &s, bool four, const Epilogue &epilogue,
                   double *largest) {
  Integers w = {s, s.op<uint8_t>(2), four};
  int64_t n = s.c("n"), k = s.c("k"), group = four ? s.c("group") : k;
  for (int64_t r = 0; r < s.rows(); ++r) {
    float scale = s.op<float>(1)[s.c("static_scale") ? 0 : r];
    int offset = s.c("asymmetric") ? static_cast<int>(s.op<float>(1)[1]) : 0;
    for (int64_t c = 0; c < n; ++c) {
      float total = 0;
      double magnitude = 0;
      for (int64_t g = 0; g < k; g += group) {
        int32_t sum = 0, total8 = 0;
        float zero = w.zero(c, g);
        for (int64_t i = g; i < std::min(k, g + group); ++i) {
          int32_t x = s.op<int8_t>(0)[r * s.c("ldq") + i] - offset;
          int32_t product =
              x * (w.at(c, i) - (four ? 0 : static_cast<int>(zero)));
          sum += product;
          total8 += x;
          magnitude +=
              std::fabs(1.0 * scale * w.scale(c, g) * product) +
              (four ? std::fabs(1.0 * scale * w.scale(c, g) * zero * x) : 0);
        }
        auto rounded = static_cast<float>(sum);
        if (four && s.c("zeros"))
          rounded = std::fma(-zero, static_cast<float>(total8), rounded);
        total = four ? std::fma(rounded, w.scale(c, g), total)
                     : scale * w.scale(c, 0) * rounded;
      }
      if (four)
        total *= scale;
      if (largest) {
        *largest = std::max(*largest, magnitude);
        continue;
      }
      float y = epilogue ? static_cast<float>(epilogue(total, r, c)) : total;
      if (s.c("quant"))
        s.op<int8_t>(3)[r * s.c("ldy") + c] =
            toInt8(y, s.op<float>(4)[s.c("oscale_each") ? c : 0]);
      else
        s.op<float>(3)[r * s.c("ldy") + c] = y;
    }
  }
}

void linear(const Step &s, const std::string &family, const Epilogue &epilogue,
            double *largest = nullptr) {
  if (family == "linear_i8a8" || family == "linear_i4a8")
    return integerLinear(s, family == "linear_i4a8", epilogue, largest);
  int64_t n = s.c("n"), k = s.c("k");
  float *y = s.op<float>(2);
  for (int64_t r = 0; r < s.rows(); ++r)
    for (int64_t c = 0; c < n; ++c) {
      double sum = 0, magnitude = 0;
      for (int64_t i = 0; i < k; ++i) {
        auto get = [&](bool zeros) {
          return weight(s.operands[1], formatOf(family) + s.c("format"), c, i,
                        n, k, s.c("group"), zeros);
        };
        double x = s.op<float>(0)[r * s.c("ldx") + i], w = get(s.c("zeros"));
        sum += x * w;
        magnitude +=
            std::fabs(x) * (std::fabs(w - get(false)) + std::fabs(get(false)));
      }
      if (largest) {
        *largest = std::max(*largest, magnitude);
        continue;
      }
      y[r * s.c("ldy") + c] =
          static_cast<float>(epilogue ? epilogue(sum, r, c) : sum);
    }
}

void embed(const Step &s) {
  for (int64_t r = 0; r < s.rows(); ++r) {
    int64_t tokens = s.c("tokens");
    int64_t id =
        tokens ? std::min(s.call.past[r / tokens] + r % tokens + s.c("first"),
                          s.c("vocab") - 1)
               : s.op<int32_t>(0)[r];
    for (int64_t i = 0; i < s.c("d"); ++i)
      s.op<float>(2)[r * s.c("ldy") + i] = static_cast<float>(
          weight(s.operands[1], s.c("format"), id, i, s.c("vocab"), s.c("d"),
                 s.c("group"), s.c("zeros")));
  }
}

void patchify(const Step &s) {
  int64_t ch = s.c("channels"), h = s.c("height"), w = s.c("width"),
          ph = s.c("ph"), pw = s.c("pw"), gw = w / pw;
  float *y = s.op<float>(1);
  for (int64_t b = 0; b < s.c("batch"); ++b)
    for (int64_t p = 0; p < h / ph * gw; ++p)
      for (int64_t i = 0; i < ch; ++i)
        for (int64_t u = 0; u < ph; ++u)
          for (int64_t v = 0; v < pw; ++v)
            *y++ = s.op<float>(
                0)[((b * ch + i) * h + p / gw * ph + u) * w + p % gw * pw + v];
}

void norm(const Step &s, const std::string &family) {
  bool layer = family == "layer_norm", gated = family == "gated_norm";
  int64_t d = s.c("d"), group = layer ? d : s.c("group");
  const float *w = s.op<float>(gated ? 2 : 1);
  const float *bias = layer ? s.op<float>(2) : nullptr;
  int result = layer || gated ? 3 : 2;
  std::vector<float> row(d);
  for (int64_t r = 0; r < s.rows(); ++r) {
    for (int64_t g = 0; g < d; g += group) {
      std::vector<double> x(group), gate(group, 1);
      double mean = 0, square = 0;
      for (int64_t i = 0; i < group; ++i) {
        x[i] = s.op<float>(0)[r * s.c("ldx") + g + i];
        if (gated)
          gate[i] = silu(s.activation("z", 1, 5, r, g + i));
        if (gated && !s.c("norm_before_gate"))
          x[i] *= gate[i];
        mean += x[i] / group;
      }
      if (!layer)
        mean = 0;
      for (double v : x)
        square += (v - mean) * (v - mean) / group;
      double factor = 1 / std::sqrt(square + s.bits("eps_bits"));
      for (int64_t i = 0; i < group; ++i) {
        double y = (x[i] - mean) * factor * w[gated ? g + i : i];
        if (gated && s.c("norm_before_gate"))
          y *= gate[i];
        row[g + i] = static_cast<float>(y + (bias ? bias[i] : 0));
      }
    }
    if (s.c("hadamard"))
      rotate(s, row.data());
    storeRow(s, row.data(), d, r, result, result + 1);
  }
}

void rope(const Step &s) {
  int64_t heads = s.c("heads"), d = s.c("head_dim"), half = s.c("half");
  for (int64_t b = 0; b < s.c("batch"); ++b)
    for (int64_t t = 0; t < s.c("tokens"); ++t)
      for (int64_t h = 0; h < heads; ++h) {
        int64_t r = b * s.c("tokens") + t;
        const float *x = s.op<float>(0) + r * s.c("ldx") + h * d;
        float *y = s.op<float>(2) + r * s.c("ldy") + h * d;
        for (int64_t i = 0; i < d; ++i)
          y[i] = x[i];
        for (int64_t i = 0; i < half; ++i) {
          float angle =
              static_cast<float>(s.call.past[b] + t) * s.op<float>(1)[i];
          double c =
              s.bits("scale_bits") * std::cos(static_cast<double>(angle));
          double n =
              s.bits("scale_bits") * std::sin(static_cast<double>(angle));
          int64_t a = s.c("interleaved") ? 2 * i : i,
                  e = s.c("interleaved") ? 2 * i + 1 : i + half;
          double x1 = x[a], x2 = x[e];
          y[a] = static_cast<float>(x1 * c - x2 * n);
          y[e] = static_cast<float>(x2 * c + x1 * n);
        }
      }
}

void copyRow(const Step &s, int64_t from, int64_t to) {
  std::memcpy(s.op<float>(1) + to * s.c("ldy"),
              s.op<float>(0) + from * s.c("ldx"), s.c("d") * 4);
}
void selectRows(const Step &s) {
  if (s.call.all_logits)
    for (int64_t r = 0; r < s.c("batch") * s.c("tokens"); ++r)
      copyRow(s, r, r);
  else
    for (int64_t b = 0; b < s.c("batch"); ++b)
      copyRow(s, b * s.c("tokens") + std::max(s.call.valid[b] - 1, 0), b);
}
void sample(const Step &s) {
  for (int64_t r = 0; r < s.rows(); ++r) {
    const float *x = s.op<float>(0) + r * s.c("ld");
    s.op<int32_t>(1)[r] =
        static_cast<int32_t>(std::max_element(x, x + s.c("vocab")) - x);
  }
}

} // namespace

bool run(const std::string &family, const Constants &constants,
         void *const *operands, const eff_call &call,
         const Epilogue &epilogue) {
  Step s(constants, operands, call);
  if (family.rfind("linear_", 0) == 0)
    linear(s, family, epilogue);
  else if (family == "quantize_rows")
    quantizeRows(s);
  else if (family == "quantize_static")
    quantizeStatic(s);
  else if (family == "tensor_scale")
    tensorScale(s);
  else if (family == "dequantize_rows")
    dequantizeRows(s);
  else if (family == "embed")
    embed(s);
  else if (family == "patchify")
    patchify(s);
  else if (family == "hadamard")
    hadamard(s);
  else if (family == "rms_norm" || family == "layer_norm" ||
           family == "gated_norm")
    norm(s, family);
  else if (family == "rope")
    rope(s);
  else if (family == "select_rows")
    selectRows(s);
  else if (family == "sample")
    sample(s);
  else if (family == "copy_rows")
    for (int64_t r = 0; r < s.rows(); ++r)
      copyRow(s, r, r);
  else
    return runMixer(family, s) || runImage(family, s);
  return true;
}

double largestMagnitude(const std::string &family, const Constants &constants,
                        void *const *operands, const eff_call &call) {
  double largest = 0;
  linear(Step(constants, operands, call), family, nullptr, &largest);
  return largest;
}

} // namespace kernels::naive
