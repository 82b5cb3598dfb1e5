//===- Quantization.cpp - Q, DQ and operators on quantised tensors --------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Convolutions.h"
#include "Products.h"
#include "Quantized.h"

#include <cmath>

using namespace mlir;

namespace effc::lower {

/// A scale or zero point so that it broadcasts to `shape`: one number, one for
/// each index of `axis`, or one for each block along it. Null when it does not
/// fit.
static Value spread(Lowering &l, Value p, ArrayRef<int64_t> shape, int64_t axis,
                    int64_t block) {
  if (!p)
    return {};
  ArrayRef<int64_t> own = Lowering::shape(p);
  int64_t rank = int64_t(shape.size());
  if (product(own) == 1)
    return l.reshape(p, {});
  auto normal = normalAxis(axis, rank);
  if (!normal)
    return {};
  if (own.size() == 1 && block == 0) {
    SmallVector<int64_t> line(rank, 1);
    line[*normal] = own[0];
    return own[0] == shape[*normal] ? l.reshape(p, line) : Value();
  }
  if (int64_t(own.size()) != rank || block <= 0 ||
      own[*normal] * block < shape[*normal])
    return {};
  SmallVector<int64_t> apart(own), repeated, whole(own);
  apart.insert(apart.begin() + *normal + 1, 1);
  repeated = apart;
  repeated[*normal + 1] = block;
  whole[*normal] *= block;
  Value full = l.reshape(l.broadcast(l.reshape(p, apart), repeated), whole);
  full = l.sliceAxis(full, *normal, 0, shape[*normal]);
  return Lowering::shape(full) == shape ? full : Value();
}

Value toQuantized(const Expr &e, Value x, Value zero, Type element,
                  bool isUnsigned) {
  Value y = e.op<math::RoundEvenOp>(x);
  if (zero)
    y = e.add(y, zero);
  unsigned width = element.getIntOrFloatBitWidth();
  if (width < 8) {
    double low = isUnsigned ? 0 : -std::ldexp(1.0, int(width) - 1);
    y = e.max(y, e.constant(y.getType(), low));
    y = e.min(y,
              e.constant(y.getType(), low + std::ldexp(1.0, int(width)) - 1));
  }
  return e.cast(y, element, false, isUnsigned);
}

/// Scales and zero points of QuantizeLinear and DequantizeLinear, as far as
/// the first operand reaches; `zero` may be null.
struct Steps {
  Value scale, zero;
};

static FailureOr<Steps> steps(Lowering &l) {
  ArrayRef<int64_t> shape = Lowering::shape(l.in(0));
  int64_t axis = l.node.getInt("axis", 1),
          block = l.node.getInt("block_size", 0);
  Steps s{spread(l, l.in(1), shape, axis, block),
          spread(l, l.in(2), shape, axis, block)};
  if (!s.scale || (l.in(2) && !s.zero))
    return failure();
  return s;
}

static Results quantizeLinear(Lowering &l) {
  FailureOr<Steps> s = steps(l);
  if (failed(s))
    return failure();
  auto [scale, zero] = *s;
  Value x = l.in(0);
  ArrayRef<int64_t> shape = Lowering::shape(x);
  Type real = l.b.getF32Type(), element = l.out().getElementType();
  bool isUnsigned = l.isResultUnsigned(0);
  x = l.cast(x, real, l.isUnsigned(0));
  scale = l.cast(scale, real);
  if (auto target = dyn_cast<FloatType>(
          getElementTypeOrSelf(l.node->getResult(0).getType()))) {
    double largest =
        APFloat::getLargest(target.getFloatSemantics()).convertToDouble();
    bool saturate = l.node.getInt("saturate", 1) || target.getWidth() < 8;
    return one(
        l.map(shape, element, {x, scale}, [&](const Expr &e, ValueRange v) {
          Value y = e.div(v[0], v[1]);
          if (saturate) {
            y = e.min(y, e.constant(y.getType(), largest));
            y = e.max(y, e.constant(y.getType(), -largest));
          }
          return e.cast(e.cast(y, target), element);
        }));
  }
  if (!zero)
    zero = l.filled({}, real, 0);
  else
    zero = l.cast(zero, real, isUnsigned);
  return one(
      l.map(shape, element, {x, scale, zero}, [&](const Expr &e, ValueRange v) {
        return toQuantized(e, e.div(v[0], v[1]), v[2], element, isUnsigned);
      }));
}

static Results dequantizeLinear(Lowering &l) {
  FailureOr<Steps> s = steps(l);
  if (failed(s))
    return failure();
  auto [scale, zero] = *s;
  Value x = l.in(0);
  ArrayRef<int64_t> shape = Lowering::shape(x);
  Type real = l.b.getF32Type();
  bool isUnsigned = l.isUnsigned(0);
  x = l.cast(x, real, isUnsigned);
  scale = l.cast(scale, real);
  if (zero) {
    zero = l.cast(zero, real, isUnsigned);
    x = l.map(shape, real, {x, zero},
              [](const Expr &e, ValueRange v) { return e.sub(v[0], v[1]); });
  }
  x = l.map(shape, real, {x, scale},
            [](const Expr &e, ValueRange v) { return e.mul(v[0], v[1]); });
  return one(l.cast(x, l.out().getElementType()));
}

static Results dynamicQuantizeLinear(Lowering &l) {
  Value x = l.widened(l.in(0));
  SmallVector<int64_t> all;
  for (int64_t i = 0; i < Lowering::rank(x); ++i)
    all.push_back(i);
  // The range always holds 0.
  Value low = l.reduce(x, all, 0, false, [](const Expr &e, ValueRange v) {
    return e.min(v[1], v[0]);
  });
  Value high = l.reduce(x, all, 0, false, [](const Expr &e, ValueRange v) {
    return e.max(v[1], v[0]);
  });
  Value scale = l.map(high, low, [](const Expr &e, ValueRange v) {
    return e.div(e.sub(v[0], v[1]), e.constant(v[0].getType(), 255));
  });
  // All zero: any scale will do.
  Value divisor = l.map(scale, [](const Expr &e, ValueRange v) {
    Value isZero = e.compare(Compare::EQ, v[0], e.constant(v[0].getType(), 0));
    return e.select(isZero, e.constant(v[0].getType(), 1), v[0]);
  });
  Value zero = l.map(low, divisor, [](const Expr &e, ValueRange v) {
    Value y = e.div(e.neg(v[0]), v[1]);
    y = e.min(e.max(y, e.constant(y.getType(), 0)),
              e.constant(y.getType(), 255));
    return e.op<math::RoundEvenOp>(y);
  });
  Type byte = l.b.getI8Type();
  Value y = l.map(byte, {x, divisor, zero}, [&](const Expr &e, ValueRange v) {
    return toQuantized(e, e.div(v[0], v[1]), v[2], byte, true);
  });
  return SmallVector<Value>{y, l.cast(scale, l.out(1).getElementType()),
                            l.cast(zero, byte, false, true)};
}

Value centered(Lowering &l, unsigned x, unsigned zero, bool column) {
  Type i32 = l.b.getI32Type();
  Value value = l.cast(l.in(x), i32, l.isUnsigned(x));
  Value offset = l.in(zero);
  if (!offset)
    return value;
  offset = l.cast(offset, i32, l.isUnsigned(zero));
  if (product(Lowering::shape(offset)) == 1)
    offset = l.reshape(offset, {});
  else if (column && Lowering::rank(offset) == 1)
    offset = l.reshape(offset, {Lowering::shape(offset)[0], 1});
  return l.map(Lowering::shape(value), i32, {value, offset},
               [](const Expr &e, ValueRange v) { return e.sub(v[0], v[1]); });
}

static Results matMulInteger(Lowering &l) {
  Value a = centered(l, 0, 2, true), b = centered(l, 1, 3, false);
  if (!a || !b)
    return failure();
  return one(matmul(l, a, b, l.b.getI32Type()));
}

static Results convInteger(Lowering &l) {
  Value x = centered(l, 0, 2, true), w = l.in(1);
  Type i32 = l.b.getI32Type();
  w = l.cast(w, i32, l.isUnsigned(1));
  if (Value zero = l.in(3)) {
    zero = l.cast(zero, i32, l.isUnsigned(3));
    zero = spread(l, zero, Lowering::shape(w), 0, 0);
    if (!zero)
      return failure();
    w = l.map(w, zero,
              [](const Expr &e, ValueRange v) { return e.sub(v[0], v[1]); });
  }
  if (!x || !w)
    return failure();
  return one(convolution(l, x, w, i32));
}

/// Sums of products of quantised numbers to the result's scale. `line` gives
/// per-channel scales a place.
static Results requantized(Lowering &l, Value sums, Value scaleA, Value scaleB,
                           Value scale, Value zero) {
  Type real = l.b.getF32Type(), element = l.out().getElementType();
  bool isUnsigned = l.isResultUnsigned(0);
  if (product(Lowering::shape(scale)) != 1 ||
      (zero && product(Lowering::shape(zero)) != 1))
    return failure();
  scale = l.cast(l.reshape(scale, {}), real);
  zero = zero ? l.cast(l.reshape(zero, {}), real, isUnsigned)
              : l.filled({}, real, 0);
  Value factor =
      l.map(real, {l.cast(scaleA, real), l.cast(scaleB, real), scale},
            [](const Expr &e, ValueRange v) {
              return e.div(e.mul(v[0], v[1]), v[2]);
            });
  if (!factor)
    return failure();
  return one(l.map(
      Lowering::shape(sums), element, {l.cast(sums, real), factor, zero},
      [&](const Expr &e, ValueRange v) {
        return toQuantized(e, e.mul(v[0], v[1]), v[2], element, isUnsigned);
      }));
}

/// One number without dimensions; vectors as they are.
static Value scalarOrVector(Lowering &l, Value x, bool column) {
  if (product(Lowering::shape(x)) == 1)
    return l.reshape(x, {});
  if (column && Lowering::rank(x) == 1)
    return l.reshape(x, {Lowering::shape(x)[0], 1});
  return x;
}

static Results qLinearMatMul(Lowering &l) {
  Value a = centered(l, 0, 2, true), b = centered(l, 3, 5, false);
  if (!a || !b)
    return failure();
  Value sums = matmul(l, a, b, l.b.getI32Type());
  if (!sums)
    return failure();
  return requantized(l, sums, scalarOrVector(l, l.in(1), true),
                     scalarOrVector(l, l.in(4), false), l.in(6), l.in(7));
}

static Results qLinearConv(Lowering &l) {
  Value x = centered(l, 0, 2, true);
  Type i32 = l.b.getI32Type();
  Value w = l.cast(l.in(3), i32, l.isUnsigned(3));
  Value zero = l.in(5) ? spread(l, l.cast(l.in(5), i32, l.isUnsigned(5)),
                                Lowering::shape(w), 0, 0)
                       : Value();
  if (!x || (l.in(5) && !zero))
    return failure();
  if (zero)
    w = l.map(w, zero,
              [](const Expr &e, ValueRange v) { return e.sub(v[0], v[1]); });
  Value sums = addChannelBias(l, convolution(l, x, w, i32), l.in(8));
  if (!sums)
    return failure();
  Value scale = spread(l, l.in(4), Lowering::shape(sums), 1, 0);
  if (!scale)
    return failure();
  return requantized(l, sums, l.reshape(l.in(1), {}), scale, l.in(6), l.in(7));
}

void addQuantization(Table &t) {
  t["QuantizeLinear"] = quantizeLinear;
  t["DequantizeLinear"] = dequantizeLinear;
  t["com.microsoft.QuantizeLinear"] = quantizeLinear;
  t["com.microsoft.DequantizeLinear"] = dequantizeLinear;
  t["DynamicQuantizeLinear"] = dynamicQuantizeLinear;
  t["MatMulInteger"] = matMulInteger;
  t["ConvInteger"] = convInteger;
  t["QLinearMatMul"] = qLinearMatMul;
  t["QLinearConv"] = qLinearConv;
  addQuantizedOps(t);
}

} // namespace effc::lower
