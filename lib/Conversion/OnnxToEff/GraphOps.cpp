//===- GraphOps.cpp - composite operators by their definitions ------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "GraphOps.h"
#include "effc/Dialect/Eff/Rounding.h"

#include <cmath>

using namespace mlir;
using namespace effc;
using namespace effc::raise;
using onnx::HostTensor;

namespace {
/// A node under evaluation. Operands are null where absent.
struct Eval {
  onnx::NodeOp node;
  ArrayRef<const HostTensor *> in;
  SmallVectorImpl<HostTensor> &out;

  const HostTensor *operand(unsigned i) const {
    return i < in.size() ? in[i] : nullptr;
  }
  HostTensor *result(unsigned i) {
    return i < out.size() && out[i].elementType ? &out[i] : nullptr;
  }
};
using EvalFn = bool (*)(Eval &);
} // namespace

static double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// RMSNorm of rows of `size`.
static void rms(const std::vector<double> &x, const std::vector<double> &w,
                double eps, int64_t size, std::vector<double> &y) {
  for (size_t at = 0; at < x.size(); at += size) {
    double sum = 0;
    for (int64_t i = 0; i < size; ++i)
      sum += x[at + i] * x[at + i];
    double scale = 1 / std::sqrt(sum / size + eps);
    for (int64_t i = 0; i < size; ++i)
      y[at + i] = x[at + i] * scale * w[i % w.size()];
  }
}

static bool simplifiedNorm(Eval &e) {
  rms(e.in[0]->floats, e.in[1]->floats, e.node.getFloat("epsilon", 1e-5f),
      e.in[0]->shape.back(), e.out[0].floats);
  return true;
}

static bool skipSimplifiedNorm(Eval &e) {
  std::vector<double> sum = e.in[0]->floats;
  for (size_t i = 0; i < sum.size(); ++i) {
    sum[i] += e.in[1]->floats[i];
    if (e.operand(3))
      sum[i] += e.operand(3)->floats[i % e.operand(3)->floats.size()];
  }
  rms(sum, e.in[2]->floats, e.node.getFloat("epsilon", 1e-12f),
      e.in[0]->shape.back(), e.out[0].floats);
  if (HostTensor *s = e.result(3))
    s->floats = sum;
  return true;
}

static bool gatedNorm(Eval &e) {
  const std::vector<double> &x = e.in[0]->floats, &z = e.in[1]->floats,
                            &w = e.in[2]->floats;
  int64_t features = e.in[0]->shape.back(),
          group = e.node.getInt("group_size", features);
  bool before = e.node.getInt("norm_before_gate", 0) != 0;
  double eps = e.node.getFloat("epsilon", 1e-5f);
  std::vector<double> h = x;
  if (!before)
    for (size_t i = 0; i < h.size(); ++i)
      h[i] *= z[i] * sigmoid(z[i]);
  rms(h, {1.0}, eps, group, e.out[0].floats);
  for (size_t i = 0; i < h.size(); ++i)
    e.out[0].floats[i] *= w[i % features] * (before ? z[i] * sigmoid(z[i]) : 1);
  return true;
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// Rotates pairs of one head in place.
static void rotate(double *x, const double *cos, const double *sin,
                   int64_t pairs, bool interleaved) {
  for (int64_t i = 0; i < pairs; ++i) {
    double &a = x[interleaved ? 2 * i : i],
           &b = x[interleaved ? 2 * i + 1 : i + pairs];
    double p = a * cos[i] - b * sin[i], q = b * cos[i] + a * sin[i];
    a = p;
    b = q;
  }
}

static bool rotaryEmbedding(Eval &e) {
  const HostTensor &x = *e.in[0], &cos = *e.in[1], &sin = *e.in[2];
  if (e.operand(3) || cos.rank() != 3)
    return false;
  bool byHeads = x.rank() == 4;
  int64_t tokens = byHeads ? x.shape[2] : x.shape[1], pairs = cos.shape[2];
  int64_t heads = byHeads ? x.shape[1] : e.node.getInt("num_heads", 0),
          batch = x.shape[0];
  if (heads == 0)
    return false;
  int64_t width = x.size() / (batch * tokens * heads);
  e.out[0].floats = x.floats;
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t h = 0; h < heads; ++h) {
        int64_t at = (byHeads ? (b * heads + h) * tokens + t
                              : (b * tokens + t) * heads + h) *
                     width;
        int64_t row = (b * tokens + t) * pairs;
        rotate(&e.out[0].floats[at], &cos.floats[row], &sin.floats[row], pairs,
               e.node.getInt("interleaved", 0) != 0);
      }
  return true;
}

namespace {
/// `[batch][heads][tokens][width]`
struct Heads {
  int64_t batch = 0, heads = 0, tokens = 0, width = 0;
  std::vector<double> data;
  double &at(int64_t b, int64_t h, int64_t t, int64_t i) {
    return data[((b * heads + h) * tokens + t) * width + i];
  }
};
} // namespace

static Heads toHeads(const HostTensor &x, int64_t heads) {
  if (x.rank() == 4)
    return {x.shape[0], x.shape[1], x.shape[2], x.shape[3], x.floats};
  Heads out{x.shape[0], heads, x.shape[1], x.shape[2] / heads,
            std::vector<double>(x.size())};
  for (int64_t b = 0; b < out.batch; ++b)
    for (int64_t t = 0; t < out.tokens; ++t)
      for (int64_t h = 0; h < heads; ++h)
        for (int64_t i = 0; i < out.width; ++i)
          out.at(b, h, t, i) =
              x.floats[((b * out.tokens + t) * heads + h) * out.width + i];
  return out;
}

static Heads append(Heads past, Heads fresh) {
  Heads out{
      fresh.batch, fresh.heads, past.tokens + fresh.tokens, fresh.width, {}};
  out.data.resize(out.batch * out.heads * out.tokens * out.width);
  for (int64_t b = 0; b < out.batch; ++b)
    for (int64_t h = 0; h < out.heads; ++h)
      for (int64_t t = 0; t < out.tokens; ++t)
        for (int64_t i = 0; i < out.width; ++i)
          out.at(b, h, t, i) = t < past.tokens
                                   ? past.at(b, h, t, i)
                                   : fresh.at(b, h, t - past.tokens, i);
  return out;
}

/// softmax(softcap(scale q k) + bias) v; `bias(b, h, t, j)` is -inf for keys
/// that are not seen.
static Heads
attend(Heads q, Heads k, Heads v, double scale, double softcap,
       function_ref<double(int64_t, int64_t, int64_t, int64_t)> bias) {
  Heads out{q.batch, q.heads, q.tokens, v.width,
            std::vector<double>(q.batch * q.heads * q.tokens * v.width)};
  std::vector<double> s(k.tokens);
  for (int64_t b = 0; b < q.batch; ++b)
    for (int64_t h = 0; h < q.heads; ++h)
      for (int64_t t = 0; t < q.tokens; ++t) {
        int64_t g = h * k.heads / q.heads;
        double top = -HUGE_VAL, sum = 0;
        for (int64_t j = 0; j < k.tokens; ++j) {
          double dot = 0;
          for (int64_t i = 0; i < q.width; ++i)
            dot += q.at(b, h, t, i) * k.at(b, g, j, i);
          dot *= scale;
          if (softcap > 0)
            dot = softcap * std::tanh(dot / softcap);
          s[j] = dot + bias(b, h, t, j);
          top = std::max(top, s[j]);
        }
        if (top == -HUGE_VAL)
          continue;
        for (double &x : s)
          sum += x = std::exp(x - top);
        for (int64_t j = 0; j < k.tokens; ++j)
          for (int64_t i = 0; i < v.width; ++i)
            out.at(b, h, t, i) += s[j] / sum * v.at(b, g, j, i);
      }
  return out;
}

static void store(Heads &heads, HostTensor &to) {
  if (to.rank() == 4) {
    to.floats = heads.data;
    return;
  }
  for (int64_t b = 0; b < heads.batch; ++b)
    for (int64_t t = 0; t < heads.tokens; ++t)
      for (int64_t h = 0; h < heads.heads; ++h)
        for (int64_t i = 0; i < heads.width; ++i)
          to.floats[((b * heads.tokens + t) * heads.heads + h) * heads.width +
                    i] = heads.at(b, h, t, i);
}

static bool attention(Eval &e) {
  Heads q = toHeads(*e.in[0], e.node.getInt("q_num_heads", 0));
  Heads k = toHeads(*e.in[1], e.node.getInt("kv_num_heads", 0)),
        v = toHeads(*e.in[2], e.node.getInt("kv_num_heads", 0));
  const HostTensor *mask = e.operand(3);
  if (e.operand(6))
    return false;
  int64_t past = 0;
  if (e.operand(4)) {
    past = e.operand(4)->shape[2];
    k = append(toHeads(*e.operand(4), 0), k);
    v = append(toHeads(*e.operand(5), 0), v);
  }
  double scale = e.node.getFloat("scale", 0);
  if (scale == 0)
    scale = 1 / std::sqrt(static_cast<double>(q.width));
  bool causal = e.node.getInt("is_causal", 0) != 0;
  Heads y = attend(q, k, v, scale, e.node.getFloat("softcap", 0),
                   [&](int64_t b, int64_t h, int64_t t, int64_t j) {
                     double value = causal && j > t + past ? -HUGE_VAL : 0;
                     if (!mask)
                       return value;
                     SmallVector<int64_t> at{b, h, t, j};
                     int64_t index = 0, rank = mask->rank();
                     for (int64_t d = 0; d < rank; ++d)
                       index = index * mask->shape[d] +
                               (mask->shape[d] == 1 ? 0 : at[4 - rank + d]);
                     return value + (mask->isFloat()     ? mask->floats[index]
                                     : mask->ints[index] ? 0
                                                         : -HUGE_VAL);
                   });
  store(y, e.out[0]);
  for (auto [i, present] : {std::pair(1u, &k), std::pair(2u, &v)})
    if (HostTensor *r = e.result(i))
      r->floats = present->data;
  return true;
}

/// A quantised cache of GroupQueryAttention: integers by positive scales, one
/// or one for each head and feature.
namespace {
struct CacheCodes {
  int64_t bits = 0;
  const HostTensor *scales = nullptr;

  float scaleOf(const Heads &x, int64_t h, int64_t i) const {
    return static_cast<float>(
        scales->floats[scales->size() == 1 ? 0 : h * x.width + i]);
  }
  /// What the integers of a past stand for.
  Heads read(const HostTensor &past, int64_t width) const {
    Heads out{past.shape[0], past.shape[1], past.shape[2], width, {}};
    out.data.resize(out.batch * out.heads * out.tokens * width);
    for (size_t at = 0; at < out.data.size(); ++at) {
      int64_t i = at % width, h = at / width / out.tokens % out.heads;
      int64_t code =
          bits == 4
              ? (past.ints[at / width * (width / 2) + i / 2] >> i % 2 * 4 &
                 15) -
                    8
              : past.ints[at];
      out.data[at] = code * double(scaleOf(out, h, i));
    }
    return out;
  }
  void round(Heads &x) const {
    for (size_t at = 0; at < x.data.size(); ++at) {
      float scale = scaleOf(x, at / x.width / x.tokens % x.heads, at % x.width);
      x.data[at] = eff::roundCache(float(x.data[at]), scale, bits) *
                   static_cast<double>(scale);
    }
  }
  void write(const Heads &x, HostTensor &to) const {
    for (size_t at = 0; at < x.data.size(); ++at) {
      int64_t i = at % x.width;
      float scale = scaleOf(x, at / x.width / x.tokens % x.heads, i);
      int64_t code = std::llround(x.data[at] / scale);
      if (bits == 8) {
        to.ints[at] = code;
        continue;
      }
      int64_t &byte = to.ints[at / x.width * (x.width / 2) + i / 2];
      byte = i % 2 ? byte | (code + 8) << 4 : code + 8;
    }
  }
};
} // namespace

static bool groupQueryAttention(Eval &e) {
  int64_t heads = e.node.getInt("num_heads", 0),
          kvHeads = e.node.getInt("kv_num_heads", 0);
  if (!e.operand(3) || !e.operand(4))
    return false;
  const HostTensor &packed = *e.in[0], &pastKey = *e.in[3],
                   &pastValue = *e.in[4];
  int64_t batch = packed.shape[0], tokens = packed.shape[1],
          past = pastKey.shape[2];
  Heads q, k, v;
  if (e.operand(1)) {
    q = toHeads(packed, heads);
    k = toHeads(*e.operand(1), kvHeads);
    v = toHeads(*e.operand(2), kvHeads);
  } else {
    Heads all = toHeads(packed, heads + 2 * kvHeads);
    auto part = [&](int64_t from, int64_t count) {
      Heads p{batch, count, tokens, all.width,
              std::vector<double>(batch * count * tokens * all.width)};
      for (int64_t b = 0; b < batch; ++b)
        for (int64_t h = 0; h < count; ++h)
          for (int64_t t = 0; t < tokens; ++t)
            for (int64_t i = 0; i < all.width; ++i)
              p.at(b, h, t, i) = all.at(b, from + h, t, i);
      return p;
    };
    q = part(0, heads);
    k = part(heads, kvHeads);
    v = part(heads + kvHeads, kvHeads);
  }
  int64_t width = q.width;
  CacheCodes keys, values;
  StringRef quantised = e.node.getString("k_quant_type", "NONE");
  if (!quantised.empty() && quantised != "NONE") {
    keys = {e.node.getInt("kv_cache_bit_width", 0), e.operand(12)};
    values = {keys.bits, e.operand(13)};
    auto fits = [&](const HostTensor *scales) {
      return scales && scales->isFloat() &&
             (scales->size() == 1 || scales->size() == kvHeads * width);
    };
    if ((keys.bits != 8 && keys.bits != 4) || !fits(keys.scales) ||
        !fits(values.scales) || pastKey.isFloat() || pastValue.isFloat() ||
        pastKey.shape[3] * 8 != width * keys.bits ||
        pastValue.shape != pastKey.shape)
      return false;
  }
  if (e.node.getInt("do_rotary", 0)) {
    const HostTensor &cos = *e.in[7], &sin = *e.in[8];
    int64_t pairs = cos.shape[1];
    if (past + tokens > cos.shape[0] || sin.shape != cos.shape ||
        2 * pairs > width)
      return false;
    for (Heads *x : {&q, &k})
      for (int64_t b = 0; b < batch; ++b)
        for (int64_t h = 0; h < x->heads; ++h)
          for (int64_t t = 0; t < tokens; ++t)
            rotate(&x->at(b, h, t, 0), &cos.floats[(past + t) * pairs],
                   &sin.floats[(past + t) * pairs], pairs,
                   e.node.getInt("rotary_interleaved", 0) != 0);
  }
  if (keys.bits) {
    keys.round(k);
    values.round(v);
    k = append(keys.read(pastKey, width), k);
    v = append(values.read(pastValue, width), v);
  } else {
    k = append(toHeads(pastKey, 0), k);
    v = append(toHeads(pastValue, 0), v);
  }
  double scale = e.node.getFloat("scale", 0);
  if (scale == 0)
    scale = 1 / std::sqrt(static_cast<double>(width));
  int64_t window = e.node.getInt("local_window_size", -1);
  Heads y =
      attend(q, k, v, scale, e.node.getFloat("softcap", 0),
             [&](int64_t, int64_t, int64_t t, int64_t j) {
               int64_t i = past + t;
               return j > i || (window > 0 && j <= i - window) ? -HUGE_VAL : 0;
             });
  store(y, e.out[0]);
  for (auto [i, present, codes] :
       {std::tuple(1u, &k, &keys), std::tuple(2u, &v, &values)})
    if (HostTensor *r = e.result(i)) {
      if (codes->bits)
        codes->write(*present, *r);
      else
        r->floats = present->data;
    }
  return true;
}

//===----------------------------------------------------------------------===//
// Scans
//===----------------------------------------------------------------------===//

static bool causalConv(Eval &e) {
  const HostTensor &x = *e.in[0], &w = *e.in[1], *bias = e.operand(2),
                   &past = *e.in[3];
  int64_t batch = x.shape[0], channels = x.shape[1], tokens = x.shape[2],
          k = w.shape[2];
  bool silu = e.node.getString("activation", e.node.getDomain() == "ai.effc"
                                                 ? "silu"
                                                 : "none") != "none";
  if (e.node.getInt("channels_last", 0) != 0)
    return false;
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t c = 0; c < channels; ++c) {
      std::vector<double> line;
      for (int64_t i = 0; i < k - 1; ++i)
        line.push_back(past.floats[(b * channels + c) * (k - 1) + i]);
      for (int64_t t = 0; t < tokens; ++t)
        line.push_back(x.floats[(b * channels + c) * tokens + t]);
      for (int64_t t = 0; t < tokens; ++t) {
        double acc = bias ? bias->floats[c] : 0;
        for (int64_t j = 0; j < k; ++j)
          acc += w.floats[c * k + j] * line[t + j];
        e.out[0].floats[(b * channels + c) * tokens + t] =
            silu ? acc * sigmoid(acc) : acc;
      }
      if (HostTensor *present = e.result(1))
        for (int64_t i = 0; i < k - 1; ++i)
          present->floats[(b * channels + c) * (k - 1) + i] = line[tokens + i];
    }
  return true;
}

static bool selectiveScan(Eval &e) {
  const HostTensor &u = *e.in[0], &dt = *e.in[1], &a = *e.in[2], &bm = *e.in[3],
                   &cm = *e.in[4];
  int64_t batch = u.shape[0], tokens = u.shape[1], channels = u.shape[2],
          groups = bm.shape[2], n = bm.shape[3];
  std::vector<double> h = e.in[5]->floats;
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t d = 0; d < channels; ++d) {
        int64_t at = (b * tokens + t) * channels + d, g = d * groups / channels;
        double y = 0;
        for (int64_t i = 0; i < n; ++i) {
          double &s = h[(b * channels + d) * n + i];
          int64_t bc = ((b * tokens + t) * groups + g) * n + i;
          s = std::exp(dt.floats[at] * a.floats[d * n + i]) * s +
              dt.floats[at] * u.floats[at] * bm.floats[bc];
          y += s * cm.floats[bc];
        }
        e.out[0].floats[at] = y;
      }
  if (HostTensor *present = e.result(1))
    present->floats = h;
  return true;
}

static bool ssdScan(Eval &e) {
  const HostTensor &x = *e.in[0], &dt = *e.in[1], &a = *e.in[2], &bm = *e.in[3],
                   &cm = *e.in[4];
  int64_t batch = x.shape[0], tokens = x.shape[1], heads = x.shape[2],
          p = x.shape[3];
  int64_t groups = bm.shape[2], n = bm.shape[3];
  std::vector<double> s = e.in[5]->floats;
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t h = 0; h < heads; ++h) {
        double step = dt.floats[(b * tokens + t) * heads + h],
               keep = std::exp(step * a.floats[h]);
        int64_t bc = ((b * tokens + t) * groups + h * groups / heads) * n;
        for (int64_t i = 0; i < p; ++i) {
          int64_t at = ((b * tokens + t) * heads + h) * p + i;
          double y = 0;
          for (int64_t j = 0; j < n; ++j) {
            double &v = s[((b * heads + h) * p + i) * n + j];
            v = keep * v + step * x.floats[at] * bm.floats[bc + j];
            y += v * cm.floats[bc + j];
          }
          e.out[0].floats[at] = y;
        }
      }
  if (HostTensor *present = e.result(1))
    present->floats = s;
  return true;
}

static bool linearAttention(Eval &e) {
  StringRef rule = e.node.getString("update_rule", "gated_delta");
  int64_t heads = e.node.getInt("kv_num_heads", 0);
  if ((rule != "gated" && rule != "linear") ||
      e.node.getInt("q_num_heads", 0) != heads || heads == 0 || !e.operand(3))
    return false;
  const HostTensor &q = *e.in[0], &k = *e.in[1], &v = *e.in[2],
                   *decay = e.operand(4);
  int64_t batch = q.shape[0], tokens = q.shape[1], dk = k.shape[2] / heads,
          dv = v.shape[2] / heads;
  bool perKey = decay && decay->shape[2] != heads;
  double scale = e.node.getFloat("scale", 0);
  if (scale == 0)
    scale = 1 / std::sqrt(static_cast<double>(dk));
  std::vector<double> s = e.in[3]->floats;
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t h = 0; h < heads; ++h) {
        int64_t row = (b * tokens + t) * heads + h;
        for (int64_t j = 0; j < dv; ++j) {
          double o = 0;
          for (int64_t i = 0; i < dk; ++i) {
            double g = decay ? decay->floats[perKey ? row * dk + i : row] : 0;
            double &state = s[((b * heads + h) * dk + i) * dv + j];
            state = std::exp(g) * state +
                    k.floats[row * dk + i] * v.floats[row * dv + j];
            o += q.floats[row * dk + i] * state;
          }
          e.out[0].floats[row * dv + j] = scale * o;
        }
      }
  if (HostTensor *present = e.result(1))
    present->floats = s;
  return true;
}

static EvalFn find(onnx::NodeOp n) {
  if (n.is("Attention"))
    return attention;
  if (n.is("RotaryEmbedding"))
    return rotaryEmbedding;
  if (n.is("LinearAttention") || n.is("LinearAttention", "com.microsoft"))
    return linearAttention;
  if (n.is("CausalConv1d", "ai.effc") || n.is("CausalConvWithState") ||
      n.is("CausalConvWithState", "com.microsoft"))
    return causalConv;
  if (n.is("SelectiveScan", "ai.effc"))
    return selectiveScan;
  if (n.is("SSDScan", "ai.effc"))
    return ssdScan;
  if (n.is("GatedRMSNorm", "ai.effc"))
    return gatedNorm;
  if (n.is("GroupQueryAttention", "com.microsoft"))
    return groupQueryAttention;
  if (n.is("SimplifiedLayerNormalization") ||
      n.is("SimplifiedLayerNormalization", "com.microsoft"))
    return simplifiedNorm;
  if (n.is("SkipSimplifiedLayerNormalization", "com.microsoft"))
    return skipSimplifiedNorm;
  return nullptr;
}

bool effc::raise::evaluateComposite(onnx::NodeOp node,
                                    ArrayRef<const HostTensor *> operands,
                                    SmallVectorImpl<HostTensor> &results) {
  EvalFn function = find(node);
  Eval eval{node, operands, results};
  return function && function(eval);
}
