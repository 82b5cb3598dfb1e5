//===- Norms.cpp - softmax and normalisations -----------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Products.h"

#include <cmath>

using namespace mlir;

namespace effc::lower {

//===----------------------------------------------------------------------===//
// Softmax
//===----------------------------------------------------------------------===//

static Value difference(Lowering &l, Value x, Value y) {
  return l.map(x, y,
               [](const Expr &e, ValueRange v) { return e.sub(v[0], v[1]); });
}

static Value largest(Lowering &l, Value x, ArrayRef<int64_t> axes) {
  return l.reduce(x, axes, -HUGE_VAL, true, [](const Expr &e, ValueRange v) {
    return e.max(v[1], v[0]);
  });
}

Value softmax(Lowering &l, Value x, int64_t axis, bool zeroRows) {
  Value most = largest(l, x, {axis});
  if (zeroRows)
    // A row of minus infinity has nothing to subtract.
    most = l.map(most, [](const Expr &e, ValueRange v) {
      Value minus = e.constant(v[0].getType(), -HUGE_VAL);
      return e.select(e.compare(Compare::EQ, v[0], minus),
                      e.constant(v[0].getType(), 0), v[0]);
    });
  Value y = l.map(difference(l, x, most),
                  [](const Expr &e, ValueRange v) { return e.exp(v[0]); });
  Value sum = l.sum(y, {axis}, true);
  if (zeroRows)
    sum = l.map(sum, [](const Expr &e, ValueRange v) {
      Value zero = e.constant(v[0].getType(), 0);
      return e.select(e.compare(Compare::EQ, v[0], zero),
                      e.constant(v[0].getType(), 1), v[0]);
    });
  return l.map(y, sum,
               [](const Expr &e, ValueRange v) { return e.div(v[0], v[1]); });
}

Value logSoftmax(Lowering &l, Value x, int64_t axis) {
  Value y = difference(l, x, largest(l, x, {axis}));
  Value powers =
      l.map(y, [](const Expr &e, ValueRange v) { return e.exp(v[0]); });
  Value logs =
      l.map(l.sum(powers, {axis}, true), [](const Expr &e, ValueRange v) {
        return e.op<math::LogOp>(v[0]);
      });
  return difference(l, y, logs);
}

/// 1 at the first of the largest elements.
static Value hardmax(Lowering &l, Value x, int64_t axis) {
  SmallVector<int64_t> shape(Lowering::shape(x));
  int64_t size = shape[axis];
  Value most = largest(l, x, {axis});
  SmallVector<double> numbers;
  for (int64_t i = 0; i < size; ++i)
    numbers.push_back(double(i));
  SmallVector<int64_t> line(shape.size(), 1);
  line[axis] = size;
  Type index = l.b.getI64Type();
  Value positions = l.tensor(line, index, numbers);
  Value candidates =
      l.map(index, {x, most, positions}, [&](const Expr &e, ValueRange v) {
        return e.select(e.compare(Compare::EQ, v[0], v[1]), v[2],
                        e.constant(v[2].getType(), double(size)));
      });
  Value first =
      l.reduce(candidates, {axis}, double(size), true,
               [](const Expr &e, ValueRange v) { return e.min(v[1], v[0]); });
  Type element = Lowering::elementOf(x);
  return l.map(element, {positions, first}, [&](const Expr &e, ValueRange v) {
    Value is = e.compare(Compare::EQ, v[0], v[1]);
    return e.cast(is, element);
  });
}

template <Value (*fn)(Lowering &, Value, int64_t)>
static Results alongAxis(Lowering &l) {
  Value x = l.in(0);
  if (!Lowering::isFloat(x))
    return failure();
  int64_t rank = Lowering::rank(x);
  // Before version 13 everything from `axis` on is one dimension.
  bool flattens = l.since() < 13;
  auto axis = normalAxis(l.node.getInt("axis", flattens ? 1 : -1),
                         std::max<int64_t>(rank, 1));
  if (flattens && l.node.getInt("axis", 1) == rank)
    axis = rank;
  if (!axis)
    return failure();
  Value y = l.widened(x);
  if (flattens || rank == 0) {
    ArrayRef<int64_t> shape = Lowering::shape(x);
    int64_t rows = product(shape.take_front(*axis));
    y = l.reshape(y, {rows, product(shape.drop_front(*axis))});
    axis = 1;
  }
  y = l.reshape(fn(l, y, *axis), Lowering::shape(x));
  return one(l.cast(y, Lowering::elementOf(x)));
}

static Value plainSoftmax(Lowering &l, Value x, int64_t axis) {
  return softmax(l, x, axis);
}

//===----------------------------------------------------------------------===//
// Normalisations
//===----------------------------------------------------------------------===//

static Value average(Lowering &l, Value x, ArrayRef<int64_t> axes) {
  double count = 1;
  for (int64_t axis : axes)
    count *= double(Lowering::shape(x)[axis]);
  return l.map(l.sum(x, axes, true), [&](const Expr &e, ValueRange v) {
    return e.scale(v[0], 1 / count);
  });
}

Value normalized(Lowering &l, Value x, ArrayRef<int64_t> axes, double epsilon,
                 bool center, Value *mean, Value *inverse) {
  Value y = x;
  if (center) {
    Value middle = average(l, x, axes);
    if (mean)
      *mean = middle;
    y = difference(l, x, middle);
  }
  Value squares =
      l.map(y, [](const Expr &e, ValueRange v) { return e.mul(v[0], v[0]); });
  Value factor =
      l.map(average(l, squares, axes), [&](const Expr &e, ValueRange v) {
        Value one = e.constant(v[0].getType(), 1);
        return e.div(one, e.sqrt(e.plus(v[0], epsilon)));
      });
  if (inverse)
    *inverse = factor;
  return l.map(y, factor,
               [](const Expr &e, ValueRange v) { return e.mul(v[0], v[1]); });
}

Value affine(Lowering &l, Value x, Value scale, Value bias) {
  ArrayRef<int64_t> shape = Lowering::shape(x);
  Type element = Lowering::elementOf(x);
  if (scale)
    x = l.map(shape, element, {x, l.cast(scale, element)},
              [](const Expr &e, ValueRange v) { return e.mul(v[0], v[1]); });
  if (bias && x)
    x = l.map(Lowering::shape(x), element, {x, l.cast(bias, element)},
              [](const Expr &e, ValueRange v) { return e.add(v[0], v[1]); });
  return x;
}

static SmallVector<int64_t> from(int64_t axis, int64_t rank) {
  SmallVector<int64_t> axes;
  for (; axis < rank; ++axis)
    axes.push_back(axis);
  return axes;
}

static Results layerNorm(Lowering &l, bool center) {
  Value x = l.in(0);
  if (!Lowering::isFloat(x))
    return failure();
  auto axis = normalAxis(l.node.getInt("axis", -1), Lowering::rank(x));
  if (!axis)
    return failure();
  Value mean, inverse;
  Value y =
      normalized(l, l.widened(x), from(*axis, Lowering::rank(x)),
                 l.node.getFloat("epsilon", 1e-5f), center, &mean, &inverse);
  y = affine(l, y, l.in(1), l.in(2));
  if (!y)
    return failure();
  SmallVector<Value> results(3);
  results[0] = l.cast(y, l.out().getElementType());
  if (l.out(1))
    results[1] = l.cast(center ? mean : inverse, l.out(1).getElementType());
  if (l.out(2))
    results[2] = l.cast(inverse, l.out(2).getElementType());
  return results;
}

/// com.microsoft.Skip(Simplified)LayerNormalization: the sum of both inputs
/// (and a bias) is normalised, and is result 3.
static Results skipNorm(Lowering &l, bool center) {
  Value x = l.in(0);
  unsigned gamma = 2, beta = center ? 3 : 99, bias = center ? 4 : 3;
  if (!Lowering::isFloat(x) || !l.in(1) || l.out(1) || l.out(2))
    return failure();
  Value sum = affine(l, l.widened(x), {}, l.in(1));
  if (l.in(bias) && sum)
    sum = affine(l, sum, {}, l.in(bias));
  if (!sum)
    return failure();
  Value y = normalized(l, sum, {Lowering::rank(x) - 1},
                       l.node.getFloat("epsilon", 1e-12f), center);
  y = affine(l, y, l.in(gamma), l.in(beta));
  if (!y)
    return failure();
  SmallVector<Value> results{l.cast(y, l.out().getElementType()), {}, {}, {}};
  if (l.out(3))
    results[3] = l.cast(sum, l.out(3).getElementType());
  return results;
}

/// A vector as [C, 1, 1, ..] for a tensor [N, C, D1, D2, ..].
static Value perChannel(Lowering &l, Value vector, int64_t rank) {
  if (!vector || Lowering::rank(vector) != 1)
    return {};
  SmallVector<int64_t> shape(rank - 1, 1);
  shape[0] = Lowering::shape(vector)[0];
  return l.reshape(vector, shape);
}

static Results batchNorm(Lowering &l) {
  Value x = l.in(0);
  int64_t rank = Lowering::rank(x);
  if (rank < 2 || !Lowering::isFloat(x) || l.node.getInt("spatial", 1) == 0)
    return failure();
  bool training = l.node.getInt("training_mode", 0);
  double epsilon = l.node.getFloat("epsilon", 1e-5f);
  Value wideX = l.widened(x);
  Type element = Lowering::elementOf(wideX);
  Value scale = perChannel(l, l.in(1), rank),
        bias = perChannel(l, l.in(2), rank);
  Value mean = perChannel(l, l.in(3), rank), var = perChannel(l, l.in(4), rank);
  if (!scale || !bias || !mean || !var)
    return failure();
  mean = l.cast(mean, element);
  var = l.cast(var, element);
  SmallVector<Value> results(5);
  if (training) {
    SmallVector<int64_t> axes{0};
    axes.append(from(2, rank));
    Value current = average(l, wideX, axes);
    Value centered = difference(l, wideX, current);
    Value squares = l.map(centered, [](const Expr &e, ValueRange v) {
      return e.mul(v[0], v[0]);
    });
    Value variance = average(l, squares, axes);
    double momentum = l.node.getFloat("momentum", 0.9f);
    for (auto [i, old, now] :
         {std::tuple(1u, mean, current), std::tuple(2u, var, variance)}) {
      Value flat = l.reshape(now, Lowering::shape(old));
      Value running = l.map(old, flat, [&](const Expr &e, ValueRange v) {
        return e.add(e.scale(v[0], momentum), e.scale(v[1], 1 - momentum));
      });
      if (RankedTensorType type = l.out(i))
        results[i] =
            l.reshape(l.cast(running, type.getElementType()), type.getShape());
      (i == 1 ? mean : var) = flat;
    }
  }
  Value factor = l.map(var, [&](const Expr &e, ValueRange v) {
    Value one = e.constant(v[0].getType(), 1);
    return e.div(one, e.sqrt(e.plus(v[0], epsilon)));
  });
  Value y =
      l.map(difference(l, wideX, mean), factor,
            [](const Expr &e, ValueRange v) { return e.mul(v[0], v[1]); });
  y = affine(l, y, scale, bias);
  if (!y)
    return failure();
  results[0] = l.cast(y, l.out().getElementType());
  return results;
}

static Results instanceNorm(Lowering &l) {
  Value x = l.in(0);
  int64_t rank = Lowering::rank(x);
  if (rank < 3 || !Lowering::isFloat(x))
    return failure();
  Value scale = perChannel(l, l.in(1), rank),
        bias = perChannel(l, l.in(2), rank);
  if (!scale || !bias)
    return failure();
  Value y = normalized(l, l.widened(x), from(2, rank),
                       l.node.getFloat("epsilon", 1e-5f), true);
  y = affine(l, y, scale, bias);
  return y ? one(l.cast(y, l.out().getElementType())) : Results(failure());
}

static Results groupNorm(Lowering &l) {
  Value x = l.in(0);
  int64_t rank = Lowering::rank(x), groups = l.node.getInt("num_groups", 0);
  if (rank < 2 || !Lowering::isFloat(x) || groups <= 0)
    return failure();
  ArrayRef<int64_t> shape = Lowering::shape(x);
  int64_t channels = shape[1];
  if (channels % groups)
    return failure();
  SmallVector<int64_t> split{shape[0], groups,
                             product(shape.drop_front()) / groups};
  Value y = normalized(l, l.reshape(l.widened(x), split), {2},
                       l.node.getFloat("epsilon", 1e-5f), true);
  // Before version 21 scale and bias are one for each group.
  bool perGroup = l.since() < 21;
  Value scale = perChannel(l, l.in(1), perGroup ? 3 : rank);
  Value bias = perChannel(l, l.in(2), perGroup ? 3 : rank);
  if (!scale || !bias)
    return failure();
  if (perGroup)
    y = affine(l, y, scale, bias);
  y = y ? l.reshape(y, shape) : y;
  if (!perGroup && y)
    y = affine(l, y, scale, bias);
  return y ? one(l.cast(y, l.out().getElementType())) : Results(failure());
}

static Results meanVarianceNorm(Lowering &l) {
  Value x = l.in(0);
  if (!Lowering::isFloat(x))
    return failure();
  auto axes =
      normalAxes(l.node.getInts("axes").value_or(SmallVector<int64_t>{0, 2, 3}),
                 Lowering::rank(x));
  if (!axes)
    return failure();
  Value y = difference(l, l.widened(x), average(l, l.widened(x), *axes));
  Value squares =
      l.map(y, [](const Expr &e, ValueRange v) { return e.mul(v[0], v[0]); });
  y = l.map(y, average(l, squares, *axes), [](const Expr &e, ValueRange v) {
    return e.div(v[0], e.plus(e.sqrt(v[1]), 1e-9));
  });
  return one(l.cast(y, Lowering::elementOf(x)));
}

/// `x / ||x||_p`; a zero vector stays zero.
static Results lpNorm(Lowering &l) {
  Value x = l.in(0);
  auto axis = normalAxis(l.node.getInt("axis", -1), Lowering::rank(x));
  int64_t p = l.node.getInt("p", 2);
  if (!axis || !Lowering::isFloat(x) || (p != 1 && p != 2))
    return failure();
  Value y = l.widened(x);
  Value powers = l.map(y, [&](const Expr &e, ValueRange v) {
    return p == 1 ? e.abs(v[0]) : e.mul(v[0], v[0]);
  });
  Value norm = l.sum(powers, {*axis}, true);
  y = l.map(y, norm, [&](const Expr &e, ValueRange v) {
    Value length = p == 1 ? v[1] : e.sqrt(v[1]);
    Value zero = e.constant(length.getType(), 0);
    return e.select(e.compare(Compare::EQ, length, zero), zero,
                    e.div(v[0], length));
  });
  return one(l.cast(y, Lowering::elementOf(x)));
}

/// `x / (bias + alpha / size * sum of squares of `size` channels around)^beta`.
static Results localResponseNorm(Lowering &l) {
  Value x = l.in(0);
  int64_t rank = Lowering::rank(x), size = l.node.getInt("size", 0);
  if (rank < 3 || !Lowering::isFloat(x) || size <= 0)
    return failure();
  double alpha = l.node.getFloat("alpha", 1e-4f),
         beta = l.node.getFloat("beta", 0.75f);
  double bias = l.node.getFloat("bias", 1.0f);
  Value y = l.widened(x);
  Value squares =
      l.map(y, [](const Expr &e, ValueRange v) { return e.mul(v[0], v[0]); });
  SmallVector<int64_t> low(rank, 0), high(rank, 0);
  low[1] = (size - 1) / 2;
  high[1] = size - 1 - low[1];
  Value around = l.pad(squares, low, high, 0);
  Value sum;
  int64_t channels = Lowering::shape(x)[1];
  for (int64_t i = 0; i < size; ++i) {
    Value part = l.sliceAxis(around, 1, i, channels);
    sum = sum ? l.map(sum, part,
                      [](const Expr &e, ValueRange v) {
                        return e.add(v[0], v[1]);
                      })
              : part;
  }
  y = l.map(y, sum, [&](const Expr &e, ValueRange v) {
    Value base = e.plus(e.scale(v[1], alpha / double(size)), bias);
    return e.div(v[0],
                 e.op<math::PowFOp>(base, e.constant(base.getType(), beta)));
  });
  return one(l.cast(y, Lowering::elementOf(x)));
}

void addNorms(Table &t) {
  t["Softmax"] = alongAxis<plainSoftmax>;
  t["LogSoftmax"] = alongAxis<logSoftmax>;
  t["Hardmax"] = alongAxis<hardmax>;
  LowerFn layer = [](Lowering &l) { return layerNorm(l, true); };
  LowerFn rms = [](Lowering &l) { return layerNorm(l, false); };
  t["LayerNormalization"] = layer;
  t["RMSNormalization"] = rms;
  t["SimplifiedLayerNormalization"] = rms;
  t["com.microsoft.SimplifiedLayerNormalization"] = rms;
  t["com.microsoft.SkipLayerNormalization"] = [](Lowering &l) {
    return skipNorm(l, true);
  };
  t["com.microsoft.SkipSimplifiedLayerNormalization"] = [](Lowering &l) {
    return skipNorm(l, false);
  };
  t["BatchNormalization"] = batchNorm;
  t["InstanceNormalization"] = instanceNorm;
  t["GroupNormalization"] = groupNorm;
  t["MeanVarianceNormalization"] = meanVarianceNorm;
  t["LpNormalization"] = lpNorm;
  t["LRN"] = localResponseNorm;
}

} // namespace effc::lower
