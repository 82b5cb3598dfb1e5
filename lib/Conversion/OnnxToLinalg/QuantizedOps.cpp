//===- QuantizedOps.cpp - com.microsoft's operators on integers -----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Operands are dequantised, the operator is computed in f32, the result is
/// quantised again; products of integers are exact in s32.
///
//===----------------------------------------------------------------------===//

#include "Products.h"
#include "Quantized.h"

#include <cmath>

using namespace mlir;

namespace effc::lower {

Value dequantized(Lowering &l, unsigned x, unsigned scale, unsigned zero) {
  for (unsigned i : {scale, zero})
    if (l.in(i) && product(Lowering::shape(l.in(i))) != 1)
      return {};
  if (!l.in(x) || !l.in(scale))
    return {};
  Type real = l.b.getF32Type();
  Value value = l.cast(l.in(x), real, l.isUnsigned(x));
  Value offset =
      l.in(zero) ? l.cast(l.reshape(l.in(zero), {}), real, l.isUnsigned(zero))
                 : l.filled({}, real, 0);
  return l.map(real, {value, offset, l.cast(l.reshape(l.in(scale), {}), real)},
               [](const Expr &e, ValueRange v) {
                 return e.mul(e.sub(v[0], v[1]), v[2]);
               });
}

Results quantized(Lowering &l, Value y, unsigned scale, unsigned zero) {
  if (!y || !l.in(scale) || product(Lowering::shape(l.in(scale))) != 1 ||
      (l.in(zero) && product(Lowering::shape(l.in(zero))) != 1))
    return failure();
  Type real = l.b.getF32Type(), element = l.out().getElementType();
  bool isUnsigned = l.isResultUnsigned(0);
  Value offset = l.in(zero)
                     ? l.cast(l.reshape(l.in(zero), {}), real, isUnsigned)
                     : l.filled({}, real, 0);
  return one(l.map(Lowering::shape(y), element,
                   {y, l.cast(l.reshape(l.in(scale), {}), real), offset},
                   [&](const Expr &e, ValueRange v) {
                     return toQuantized(e, e.div(v[0], v[1]), v[2], element,
                                        isUnsigned);
                   }));
}

/// QLinearAdd and QLinearMul: value, scale and zero point of both operands,
/// then scale and zero point of the result.
template <bool isAdd> static Results binary(Lowering &l) {
  Value a = dequantized(l, 0, 1, 2), b = dequantized(l, 3, 4, 5);
  if (!a || !b)
    return failure();
  return quantized(l,
                   l.map(a, b,
                         [](const Expr &e, ValueRange v) {
                           return isAdd ? e.add(v[0], v[1]) : e.mul(v[0], v[1]);
                         }),
                   6, 7);
}

static Results sigmoid(Lowering &l) {
  Value x = dequantized(l, 0, 1, 2);
  return quantized(
      l, l.map(x, [](const Expr &e, ValueRange v) { return e.sigmoid(v[0]); }),
      3, 4);
}

static Results leakyRelu(Lowering &l) {
  double alpha = l.node.getFloat("alpha", 0.01f);
  Value x = dequantized(l, 0, 1, 2);
  return quantized(l,
                   l.map(x,
                         [&](const Expr &e, ValueRange v) {
                           Value zero = e.constant(v[0].getType(), 0);
                           return e.select(e.compare(Compare::LT, v[0], zero),
                                           e.scale(v[0], alpha), v[0]);
                         }),
                   3, 4);
}

static Results globalAveragePool(Lowering &l) {
  Value x = dequantized(l, 0, 1, 2);
  int64_t rank = Lowering::rank(x), count = 1;
  if (rank < 3)
    return failure();
  bool last = l.node.getInt("channels_last", 0) != 0;
  SmallVector<int64_t> axes;
  for (int64_t d = 1; d < rank; ++d)
    if (d != (last ? rank - 1 : 1)) {
      axes.push_back(d);
      count *= Lowering::shape(x)[d];
    }
  if (count == 0)
    return failure();
  return quantized(l,
                   l.map(l.sum(x, axes, true),
                         [&](const Expr &e, ValueRange v) {
                           return e.scale(v[0], 1.0 / double(count));
                         }),
                   3, 4);
}

/// Before opset 13 softmax runs over all dimensions from `axis` on.
static Results softmaxOf(Lowering &l) {
  Value x = dequantized(l, 0, 1, 2);
  SmallVector<int64_t> shape(Lowering::shape(x));
  bool joins = l.node.getInt("opset", 13) < 13;
  auto axis =
      normalAxis(l.node.getInt("axis", joins ? 1 : -1), int64_t(shape.size()));
  if (!x || !axis)
    return failure();
  if (joins) {
    int64_t rows = product(ArrayRef<int64_t>(shape).take_front(*axis));
    int64_t columns = product(ArrayRef<int64_t>(shape).drop_front(*axis));
    x = l.reshape(softmax(l, l.reshape(x, {rows, columns}), 1), shape);
  } else {
    x = softmax(l, x, *axis);
  }
  return quantized(l, x, 3, 4);
}

/// Scale and zero point of the result, then value, scale and zero point of each
/// operand.
static Results concatenation(Lowering &l) {
  SmallVector<Value> parts;
  for (unsigned i = 2; i + 2 < l.numInputs(); i += 3) {
    parts.push_back(dequantized(l, i, i + 1, i + 2));
    if (!parts.back())
      return failure();
  }
  if (parts.empty() || l.numInputs() % 3 != 2)
    return failure();
  auto axis = normalAxis(l.node.getInt("axis", 0), Lowering::rank(parts[0]));
  return axis ? quantized(l, l.concat(parts, *axis), 0, 1) : Results(failure());
}

/// Sums of products in s32 as f32, by the scales of both operands; that of the
/// second may be one for each column.
static Value scaledSums(Lowering &l, Value sums, unsigned first,
                        unsigned second) {
  Type real = l.b.getF32Type();
  if (!sums || !l.in(first) || !l.in(second) ||
      product(Lowering::shape(l.in(first))) != 1)
    return {};
  Value s = l.cast(l.in(second), real);
  if (product(Lowering::shape(s)) == 1)
    s = l.reshape(s, {});
  Value factor =
      l.map(l.cast(l.reshape(l.in(first), {}), real), s,
            [](const Expr &e, ValueRange v) { return e.mul(v[0], v[1]); });
  return l.map(l.cast(sums, real), factor,
               [](const Expr &e, ValueRange v) { return e.mul(v[0], v[1]); });
}

static Results qGemm(Lowering &l) {
  Type i32 = l.b.getI32Type();
  bool transposed = l.node.getInt("transB", 0);
  Value a = centered(l, 0, 2, false), b = centered(l, 3, 5, transposed);
  if (!a || !b || Lowering::rank(a) != 2 || Lowering::rank(b) != 2)
    return failure();
  if (l.node.getInt("transA", 0))
    a = l.transpose(a, {1, 0});
  if (transposed)
    b = l.transpose(b, {1, 0});
  Value sums = matmul(l, a, b, i32);
  if (l.in(6))
    sums = l.map(sums, l.cast(l.in(6), i32),
                 [](const Expr &e, ValueRange v) { return e.add(v[0], v[1]); });
  Value y = scaledSums(l, sums, 1, 4);
  double alpha = l.node.getFloat("alpha", 1);
  y = l.map(y,
            [&](const Expr &e, ValueRange v) { return e.scale(v[0], alpha); });
  if (!y)
    return failure();
  return l.in(7) ? quantized(l, y, 7, 8)
                 : one(l.cast(y, l.out().getElementType()));
}

static Results matMulIntegerToFloat(Lowering &l) {
  Value a = centered(l, 0, 4, true), b = centered(l, 1, 5, false);
  if (!a || !b)
    return failure();
  Value y = scaledSums(l, matmul(l, a, b, l.b.getI32Type()), 2, 3);
  if (y && l.in(6))
    y = l.map(y, l.cast(l.in(6), l.b.getF32Type()),
              [](const Expr &e, ValueRange v) { return e.add(v[0], v[1]); });
  return y ? one(l.cast(y, l.out().getElementType())) : Results(failure());
}

/// QAttention: input, weight [D, 3 D'], bias, scales of both, mask [B, S] of
/// integers, zero points of both. Queries, keys and values lie side by side.
static Results qAttention(Lowering &l) {
  Type real = l.b.getF32Type();
  int64_t heads = l.node.getInt("num_heads", 0);
  Value x = centered(l, 0, 6, false), w = centered(l, 1, 7, false),
        mask = l.in(5);
  if (!x || !w || Lowering::rank(x) != 3 || Lowering::rank(w) != 2 ||
      heads < 1 || l.in(8) || l.node.getInt("unidirectional", 0) ||
      l.node.getInt("do_rotary", 0) || !l.in(2))
    return failure();
  int64_t batch = Lowering::shape(x)[0], tokens = Lowering::shape(x)[1],
          width = Lowering::shape(w)[1] / 3;
  if (width % heads || Lowering::shape(w)[1] % 3 ||
      (mask && Lowering::shape(mask) != ArrayRef<int64_t>{batch, tokens}))
    return failure();
  int64_t size = width / heads;
  Value qkv = scaledSums(l, matmul(l, x, w, l.b.getI32Type()), 3, 4);
  if (qkv)
    qkv = l.map(qkv, l.cast(l.in(2), real),
                [](const Expr &e, ValueRange v) { return e.add(v[0], v[1]); });
  if (!qkv)
    return failure();
  auto part = [&](int64_t i, ArrayRef<int64_t> perm) {
    Value p = l.reshape(l.sliceAxis(qkv, 2, i * width, width),
                        {batch, tokens, heads, size});
    return l.transpose(p, perm);
  };
  double scale = l.node.getFloat("scale", 0);
  if (scale == 0)
    scale = 1 / std::sqrt(double(size));
  Value scores = matmul(l, part(0, {0, 2, 1, 3}), part(1, {0, 2, 3, 1}), real);
  scores = l.map(scores, [&](const Expr &e, ValueRange v) {
    return e.scale(v[0], scale);
  });
  if (mask) {
    double low = l.node.getFloat("mask_filter_value", -10000.0f);
    Value added =
        l.map(real, {l.reshape(l.cast(mask, real), {batch, 1, 1, tokens})},
              [&](const Expr &e, ValueRange v) {
                Value masked =
                    e.compare(Compare::LE, v[0], e.constant(v[0].getType(), 0));
                return e.select(masked, e.constant(v[0].getType(), low),
                                e.constant(v[0].getType(), 0));
              });
    scores = l.map(scores, added, [](const Expr &e, ValueRange v) {
      return e.add(v[0], v[1]);
    });
  }
  Value y = matmul(l, softmax(l, scores, 3), part(2, {0, 2, 1, 3}), real);
  if (!y)
    return failure();
  y = l.reshape(l.transpose(y, {0, 2, 1, 3}), {batch, tokens, width});
  return one(l.cast(y, l.out().getElementType()));
}

void addQuantizedOps(Table &t) {
  t["com.microsoft.QLinearAdd"] = binary<true>;
  t["com.microsoft.QLinearMul"] = binary<false>;
  t["com.microsoft.QLinearSigmoid"] = sigmoid;
  t["com.microsoft.QLinearLeakyRelu"] = leakyRelu;
  t["com.microsoft.QLinearGlobalAveragePool"] = globalAveragePool;
  t["com.microsoft.QLinearSoftmax"] = softmaxOf;
  t["com.microsoft.QLinearConcat"] = concatenation;
  t["com.microsoft.QGemm"] = qGemm;
  t["com.microsoft.MatMulIntegerToFloat"] = matMulIntegerToFloat;
  t["com.microsoft.QAttention"] = qAttention;
}

} // namespace effc::lower
