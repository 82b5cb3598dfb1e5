//===- InferContrib.cpp - types of contributed operators ------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Infer.h"
#include "Types.h"

#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace effc;
using namespace effc::onnx;

static void copyType(Inference &in, unsigned result, unsigned operand) {
  if (auto type = in.type(operand))
    in.set(result, type.getShape(), type.getElementType());
}

static LogicalResult first(Inference &in) {
  copyType(in, 0, 0);
  return success();
}

/// One operand for the result's shape, the states go through.
static LogicalResult scan(Inference &in) {
  copyType(in, 0, 0);
  copyType(in, 1, 5);
  return success();
}

static LogicalResult causalConv(Inference &in) {
  auto x = in.type(0), weight = in.type(1);
  if (!x || !weight)
    return success();
  copyType(in, 0, 0);
  if (in.has(3)) {
    copyType(in, 1, 3);
    return success();
  }
  // Without a past the state has the default form: the last K - 1 columns.
  if (x.getRank() == 3 && weight.getRank() == 3 &&
      in.op.getInt("state_window", 0) == 0 && !in.op.getInt("channels_last", 0))
    in.set(1,
           {x.getDimSize(0), x.getDimSize(1),
            (weight.getDimSize(2) - 1) * in.op.getInt("dilation", 1)},
           x.getElementType());
  return success();
}

/// q [B, T, Hq dk], k [B, T, Hkv dk], v [B, T, Hkv dv], state [B, Hkv, dk, dv].
static LogicalResult linearAttention(Inference &in) {
  auto q = in.type(0), k = in.type(1), v = in.type(2), state = in.type(3);
  if (!q || !k || !v)
    return success();
  int64_t qHeads = in.op.getInt("q_num_heads", 0),
          kvHeads = in.op.getInt("kv_num_heads", 0);
  if (state && state.getRank() >= 4)
    kvHeads = state.getDimSize(state.getRank() - 3);
  if (q.getRank() != 3 || k.getRank() != 3 || v.getRank() != 3)
    return in.mismatch("query, key and value must have three dimensions");
  if (kvHeads < 1 || v.getDimSize(2) % kvHeads)
    return in.mismatch("the widths are no multiples of the number of heads");
  int64_t valueWidth = v.getDimSize(2) / kvHeads;
  int64_t heads = std::max(qHeads, kvHeads);
  if (qHeads < 1 && k.getDimSize(2) % kvHeads == 0 && k.getDimSize(2) > 0)
    heads = std::max(kvHeads, q.getDimSize(2) / (k.getDimSize(2) / kvHeads));
  in.set(0, {q.getDimSize(0), q.getDimSize(1), heads * valueWidth},
         q.getElementType());
  if (in.has(3))
    copyType(in, 1, 3);
  else if (k.getDimSize(2) % kvHeads == 0 &&
           in.op.getInt("state_window", 0) == 0)
    in.set(1, {q.getDimSize(0), kvHeads, k.getDimSize(2) / kvHeads, valueWidth},
           q.getElementType());
  return success();
}

/// query (or packed q, k, v), key, value, past key, past value, lengths, total,
/// tables ...
static LogicalResult groupQuery(Inference &in) {
  auto q = in.type(0), past = in.type(3);
  int64_t heads = in.op.getInt("num_heads", 0),
          kvHeads = in.op.getInt("kv_num_heads", 0);
  if (!q || q.getRank() != 3 || heads < 1 || kvHeads < 1 ||
      (in.has(3) && !past))
    return success();
  int64_t all = in.has(1) ? heads : heads + 2 * kvHeads;
  if (q.getDimSize(2) % all)
    return in.mismatch("the width is no multiple of the number of heads");
  int64_t size = q.getDimSize(2) / all;
  in.set(0, {q.getDimSize(0), q.getDimSize(1), heads * size},
         q.getElementType());
  if (past && past.getRank() != 4)
    return in.mismatch("the caches must have four dimensions");
  // The total length says how long the caches are; a shared buffer may be
  // longer.
  int64_t length = (past ? past.getDimSize(2) : 0) + q.getDimSize(1);
  if (auto total = in.ints(6); total && total->size() == 1 && past)
    length = std::max((*total)[0], past.getDimSize(2));
  Type element = past ? past.getElementType() : q.getElementType();
  // Caches of 4 bits hold two features to a byte.
  StringRef quantised = in.op.getString("k_quant_type", "NONE");
  if (past && !quantised.empty() && quantised != "NONE" &&
      in.op.getInt("kv_cache_bit_width", 0) == 4)
    size = (size + 1) / 2;
  in.set(1, {q.getDimSize(0), kvHeads, length, size}, element);
  in.set(2, {q.getDimSize(0), kvHeads, length, size}, element);
  return success();
}

static LogicalResult skipNorm(Inference &in) {
  auto x = in.type(0);
  if (!x)
    return success();
  in.set(0, x.getShape(), x.getElementType());
  Shape stats(x.getShape());
  if (!stats.empty())
    stats.back() = 1;
  in.set(1, stats, Float32Type::get(in.op.getContext()));
  in.set(2, stats, Float32Type::get(in.op.getContext()));
  in.set(3, x.getShape(), x.getElementType());
  return success();
}

static LogicalResult simplifiedNorm(Inference &in) {
  auto x = in.type(0), scale = in.type(1);
  if (!x || !scale)
    return success();
  in.set(0, x.getShape(), scale.getElementType());
  Shape stats(x.getShape());
  if (!stats.empty())
    stats.back() = 1;
  in.set(1, stats, Float32Type::get(in.op.getContext()));
  return success();
}

static LogicalResult matMulNBits(Inference &in) {
  auto x = in.type(0);
  int64_t n = in.op.getInt("N", 0), k = in.op.getInt("K", 0);
  if (!x || x.getRank() < 1)
    return success();
  if (x.getShape().back() != k || n < 1)
    return in.mismatch("K is " + Twine(k) + ", N is " + Twine(n));
  Shape shape(x.getShape());
  shape.back() = n;
  in.set(0, shape, x.getElementType());
  return success();
}

static LogicalResult gatherQuantized(Inference &in) {
  auto data = in.type(0), indices = in.type(1), scales = in.type(2);
  if (!data || !indices || !scales || data.getRank() < 2)
    return success();
  auto axis = in.axis(in.op.getInt("gather_axis", 0), data.getRank());
  if (failed(axis))
    return failure();
  Shape whole(data.getShape());
  if (data.getElementType().getIntOrFloatBitWidth() == 8)
    whole.back() *= 8 / std::clamp<int64_t>(in.op.getInt("bits", 4), 1, 8);
  Shape shape(ArrayRef<int64_t>(whole).take_front(*axis));
  llvm::append_range(shape, indices.getShape());
  llvm::append_range(shape, ArrayRef<int64_t>(whole).drop_front(*axis + 1));
  in.set(0, shape, scales.getElementType());
  return success();
}

static LogicalResult fusedMatMul(Inference &in) {
  auto a = in.type(0), b = in.type(1);
  if (!a || !b || a.getRank() < 2 || b.getRank() < 2 ||
      in.op.getInt("transBatchA", 0) || in.op.getInt("transBatchB", 0))
    return success();
  Shape left(a.getShape()), right(b.getShape());
  if (in.op.getInt("transA", 0))
    std::swap(left[left.size() - 1], left[left.size() - 2]);
  if (in.op.getInt("transB", 0))
    std::swap(right[right.size() - 1], right[right.size() - 2]);
  auto batch = broadcast(ArrayRef<int64_t>(left).drop_back(2),
                         ArrayRef<int64_t>(right).drop_back(2));
  if (!batch || left.back() != right[right.size() - 2])
    return in.mismatch("the sizes do not fit");
  batch->push_back(left[left.size() - 2]);
  batch->push_back(right.back());
  in.set(0, *batch, a.getElementType());
  return success();
}

/// QLinearAdd, QLinearMul: a, its scale and zero point, b, ..., result's scale
/// and zero point.
static LogicalResult qLinearBinary(Inference &in) {
  auto a = in.type(0), b = in.type(3);
  if (!a || !b)
    return success();
  auto shape = broadcast(a.getShape(), b.getShape());
  if (!shape)
    return in.mismatch("the shapes do not broadcast");
  in.set(0, *shape, a.getElementType());
  return success();
}

/// Result's scale and zero point, then value, scale and zero point for each
/// operand.
static LogicalResult qLinearConcat(Inference &in) {
  auto zero = in.type(1), front = in.type(2);
  if (!zero || !front)
    return success();
  auto axis = in.axis(in.op.getInt("axis", 0), front.getRank());
  if (failed(axis))
    return failure();
  Shape shape(front.getShape());
  for (unsigned i = 5; i < in.op.getInputs().size(); i += 3) {
    auto type = in.type(i);
    if (!type)
      return success();
    if (type.getRank() != front.getRank())
      return in.mismatch("the ranks differ");
    shape[*axis] += type.getDimSize(*axis);
  }
  in.set(0, shape, zero.getElementType());
  return success();
}

static LogicalResult qGemm(Inference &in) {
  auto a = in.type(0), b = in.type(3), zero = in.type(8);
  if (!a || !b || a.getRank() != 2 || b.getRank() != 2)
    return success();
  bool ta = in.op.getInt("transA", 0), tb = in.op.getInt("transB", 0);
  if (a.getDimSize(ta ? 0 : 1) != b.getDimSize(tb ? 1 : 0))
    return in.mismatch("the inner sizes differ");
  in.set(0, {a.getDimSize(ta ? 1 : 0), b.getDimSize(tb ? 0 : 1)},
         zero ? zero.getElementType()
              : Type(Float32Type::get(in.op.getContext())));
  return success();
}

/// A [.., K], B [K, N]: floats.
static LogicalResult integerMatMul(Inference &in) {
  auto a = in.type(0), b = in.type(1);
  if (!a || !b || a.getRank() < 1 || b.getRank() != 2)
    return success();
  if (a.getShape().back() != b.getDimSize(0))
    return in.mismatch("the inner sizes differ");
  Shape shape(a.getShape());
  shape.back() = b.getDimSize(1);
  in.set(0, shape, Float32Type::get(in.op.getContext()));
  return success();
}

static LogicalResult quantize(Inference &in) {
  auto x = in.type(0), zero = in.type(2);
  if (x && zero)
    in.set(0, x.getShape(), zero.getElementType());
  return success();
}

static LogicalResult dequantize(Inference &in) {
  auto x = in.type(0), scale = in.type(1);
  if (x && scale)
    in.set(0, x.getShape(), scale.getElementType());
  return success();
}

/// a [B, T, H], bias [H], scale [H], optional b: decay and beta, both as a.
static LogicalResult gate(Inference &in) {
  copyType(in, 0, 0);
  copyType(in, 1, 0);
  return success();
}

/// com.microsoft.Attention: x [B, S, D], weights [D, 3 D'].
static LogicalResult packedAttention(Inference &in) {
  auto x = in.type(0), w = in.type(1), bias = in.type(2);
  if (!x || x.getRank() != 3 || in.op->hasAttr("qkv_hidden_sizes"))
    return success();
  int64_t width = w && w.getRank() == 2         ? w.getDimSize(1)
                  : bias && bias.getRank() == 1 ? bias.getDimSize(0)
                                                : 0;
  if (width < 3 || width % 3)
    return success();
  in.set(0, {x.getDimSize(0), x.getDimSize(1), width / 3}, x.getElementType());
  return success();
}

/// com.microsoft.QAttention: x [B, S, D], weights [D, 3 D'], bias of floats.
static LogicalResult quantizedAttention(Inference &in) {
  auto x = in.type(0), w = in.type(1), bias = in.type(2);
  if (!x || !w || !bias || x.getRank() != 3 || w.getRank() != 2 ||
      w.getDimSize(1) % 3 || in.op.getInput(8))
    return success();
  in.set(0, {x.getDimSize(0), x.getDimSize(1), w.getDimSize(1) / 3},
         bias.getElementType());
  return success();
}

static LogicalResult globalPool(Inference &in) {
  auto x = in.type(0);
  if (!x || x.getRank() < 3)
    return success();
  Shape shape(x.getRank(), 1);
  shape[0] = x.getDimSize(0);
  int64_t channels = in.op.getInt("channels_last", 0) ? x.getRank() - 1 : 1;
  shape[channels] = x.getDimSize(channels);
  in.set(0, shape, x.getElementType());
  return success();
}

static LogicalResult multiHead(Inference &in) {
  auto q = in.type(0), v = in.type(2);
  if (q && v && q.getRank() == 3 && v.getRank() == 3)
    in.set(0, {q.getDimSize(0), q.getDimSize(1), v.getDimSize(2)},
           q.getElementType());
  return success();
}

/// ids [B, S], segments, word, position, segment tables, ...
static LogicalResult embedNorm(Inference &in) {
  auto ids = in.type(0), words = in.type(2);
  if (!ids || !words || ids.getRank() != 2 || words.getRank() != 2)
    return success();
  Shape shape{ids.getDimSize(0), ids.getDimSize(1), words.getDimSize(1)};
  in.set(0, shape, words.getElementType());
  in.set(1, {ids.getDimSize(0)}, IntegerType::get(in.op.getContext(), 32));
  in.set(2, shape, words.getElementType());
  return success();
}

static InferFn microsoftRule(StringRef name) {
  return llvm::StringSwitch<InferFn>(name)
      .Cases({"BiasGelu", "FastGelu", "Gelu", "QuickGelu", "GatedRMSNorm",
              "RotaryEmbedding", "QLinearSoftmax", "QLinearSigmoid",
              "QLinearLeakyRelu"},
             first)
      .Case("QLinearGlobalAveragePool", globalPool)
      .Case("QAttention", quantizedAttention)
      .Case("GroupQueryAttention", groupQuery)
      .Cases({"SkipSimplifiedLayerNormalization", "SkipLayerNormalization"},
             skipNorm)
      .Case("SimplifiedLayerNormalization", simplifiedNorm)
      .Case("MatMulNBits", matMulNBits)
      .Case("GatherBlockQuantized", gatherQuantized)
      .Case("FusedMatMul", fusedMatMul)
      .Cases({"QLinearAdd", "QLinearMul"}, qLinearBinary)
      .Case("QLinearConcat", qLinearConcat)
      .Case("QGemm", qGemm)
      .Cases({"DynamicQuantizeMatMul", "MatMulIntegerToFloat"}, integerMatMul)
      .Case("QuantizeLinear", quantize)
      .Case("DequantizeLinear", dequantize)
      .Case("LinearAttention", linearAttention)
      .Case("CausalConvWithState", causalConv)
      .Case("LinearAttentionGate", gate)
      .Case("Attention", packedAttention)
      .Case("MultiHeadAttention", multiHead)
      .Case("EmbedLayerNormalization", embedNorm)
      .Default(nullptr);
}

InferFn onnx::findContribRule(NodeOp node) {
  StringRef name = node.getOpType(), domain = node.getDomain();
  if (domain == "com.microsoft")
    return microsoftRule(name);
  if (domain == "ai.effc")
    return llvm::StringSwitch<InferFn>(name)
        .Cases({"SelectiveScan", "SSDScan"}, scan)
        .Case("CausalConv1d", causalConv)
        .Case("GatedRMSNorm", first)
        .Default(nullptr);
  if (domain.empty())
    return llvm::StringSwitch<InferFn>(name)
        .Case("LinearAttention", linearAttention)
        .Case("CausalConvWithState", causalConv)
        .Default(nullptr);
  return nullptr;
}
