//===- Reductions.cpp - Reduce*, ArgMax, CumSum ---------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Lowering.h"

#include <cmath>
#include <limits>

using namespace mlir;

namespace effc::lower {

enum class Reduce {
  Sum,
  Mean,
  Max,
  Min,
  Prod,
  L1,
  L2,
  LogSum,
  LogSumExp,
  SumSquare
};

/// The axes of a Reduce node; nullopt when unknown or wrong.
static std::optional<SmallVector<int64_t>> getAxes(Lowering &l) {
  int64_t rank = Lowering::rank(l.in(0));
  auto axes = l.intsFrom("axes", 1);
  if (l.in(1) && !axes)
    return std::nullopt;
  if (axes && !axes->empty())
    return normalAxes(*axes, rank);
  SmallVector<int64_t> all;
  if (!l.node.getInt("noop_with_empty_axes", 0))
    for (int64_t i = 0; i < rank; ++i)
      all.push_back(i);
  return all;
}

/// The number that does not change a maximum (or a minimum).
static double extreme(Value x, bool isUnsigned, bool largest) {
  Type element = Lowering::elementOf(x);
  if (isa<FloatType>(element))
    return largest ? HUGE_VAL : -HUGE_VAL;
  unsigned width = element.getIntOrFloatBitWidth();
  if (isUnsigned)
    // All ones, as a signed number.
    return largest ? -1 : 0;
  return largest ? std::ldexp(1.0, int(width) - 1)
                 : -std::ldexp(1.0, int(width) - 1);
}

template <Reduce how> static Results reduction(Lowering &l) {
  Value x = l.in(0);
  auto axes = getAxes(l);
  if (!axes)
    return failure();
  bool keep = l.node.getInt("keepdims", 1), isUnsigned = l.isUnsigned(0);
  Type element = Lowering::elementOf(x);
  bool isFloat = Lowering::isFloat(x);
  auto each = [&](ScalarFn fn) { x = l.map(x, fn); };
  auto add = [&] { x = l.sum(x, *axes, keep); };
  if (how == Reduce::Max || how == Reduce::Min) {
    bool isMax = how == Reduce::Max;
    unsigned width = element.getIntOrFloatBitWidth();
    double initial = extreme(x, isUnsigned, !isMax);
    // 2^(w-1) is one more than the largest signed number.
    if (!isFloat && !isUnsigned && !isMax && width < 64)
      initial -= 1;
    x = l.reduce(x, *axes, initial, keep, [&](const Expr &e, ValueRange v) {
      return isMax ? e.max(v[1], v[0], isUnsigned)
                   : e.min(v[1], v[0], isUnsigned);
    });
    return one(x);
  }
  x = l.widened(x);
  if (!isFloat &&
      (how == Reduce::L2 || how == Reduce::LogSum || how == Reduce::LogSumExp))
    x = l.cast(x, l.b.getF64Type(), isUnsigned);
  switch (how) {
  case Reduce::Sum:
    add();
    break;
  case Reduce::Mean: {
    double count = 1;
    for (int64_t axis : *axes)
      count *= double(Lowering::shape(x)[axis]);
    add();
    each([&](const Expr &e, ValueRange v) {
      return e.div(v[0], e.constant(v[0].getType(), count), isUnsigned);
    });
    break;
  }
  case Reduce::Prod:
    x = l.reduce(x, *axes, 1, keep,
                 [](const Expr &e, ValueRange v) { return e.mul(v[1], v[0]); });
    break;
  case Reduce::L1:
    if (!isUnsigned)
      each([](const Expr &e, ValueRange v) { return e.abs(v[0]); });
    add();
    break;
  case Reduce::L2:
  case Reduce::SumSquare:
    each([](const Expr &e, ValueRange v) { return e.mul(v[0], v[0]); });
    add();
    if (how == Reduce::L2)
      each([](const Expr &e, ValueRange v) { return e.sqrt(v[0]); });
    break;
  case Reduce::LogSum:
    add();
    each([](const Expr &e, ValueRange v) { return e.op<math::LogOp>(v[0]); });
    break;
  case Reduce::LogSumExp: {
    // The largest element is taken out, unless it is infinite.
    Value most =
        l.reduce(x, *axes, -HUGE_VAL, true,
                 [](const Expr &e, ValueRange v) { return e.max(v[1], v[0]); });
    most = l.map(most, [](const Expr &e, ValueRange v) {
      Value infinite = e.compare(Compare::EQ, e.abs(v[0]),
                                 e.constant(v[0].getType(), HUGE_VAL));
      return e.select(infinite, e.constant(v[0].getType(), 0), v[0]);
    });
    x = l.map(x, most, [](const Expr &e, ValueRange v) {
      return e.exp(e.sub(v[0], v[1]));
    });
    add();
    x = l.map(x, l.reshape(most, Lowering::shape(x)),
              [](const Expr &e, ValueRange v) {
                return e.add(e.op<math::LogOp>(v[0]), v[1]);
              });
    break;
  }
  default:
    return failure();
  }
  return one(l.cast(x, element, false, isUnsigned));
}

template <bool isMax> static Results argument(Lowering &l) {
  Value x = l.in(0);
  int64_t rank = Lowering::rank(x);
  auto axis = normalAxis(l.node.getInt("axis", 0), rank);
  if (!axis || Lowering::shape(x)[*axis] == 0)
    return failure();
  bool isUnsigned = l.isUnsigned(0),
       last = l.node.getInt("select_last_index", 0);
  SmallVector<int64_t> shape(Lowering::shape(x)), origin(rank, 0);
  int64_t size = shape[*axis];
  shape.erase(shape.begin() + *axis);
  Type index = l.b.getI64Type();
  // From the first element on, a better one takes over.
  Value first = l.reshape(l.sliceAxis(x, *axis, 0, 1), shape);
  SmallVector<Value> found =
      l.fold(shape, {size}, {first, l.filled(shape, index, 0)},
             [&](const Expr &e, ValueRange i, ValueRange acc) {
               SmallVector<Value> at(i.drop_back());
               at.insert(at.begin() + *axis, i.back());
               Value candidate = e.extract(x, at);
               Compare how = isMax ? (last ? Compare::GE : Compare::GT)
                                   : (last ? Compare::LE : Compare::LT);
               Value better = e.compare(how, candidate, acc[0], isUnsigned);
               Value position = e.op<arith::IndexCastOp>(index, i.back());
               return SmallVector<Value>{e.select(better, candidate, acc[0]),
                                         e.select(better, position, acc[1])};
             });
  Value result = found[1];
  if (l.node.getInt("keepdims", 1)) {
    shape.insert(shape.begin() + *axis, 1);
    result = l.reshape(result, shape);
  }
  return one(result);
}

/// Sums (or products) of all elements up to each: in log2(n) steps of doubled
/// distance.
static Value scan(Lowering &l, Value x, int64_t axis, bool exclusive,
                  bool reverse, double neutral, ScalarFn fn) {
  int64_t size = Lowering::shape(x)[axis], rank = Lowering::rank(x);
  if (size == 0)
    return x;
  // `x` moved by `by` elements, filled with the neutral element.
  auto moved = [&](Value value, int64_t by) {
    SmallVector<int64_t> low(rank, 0), high(rank, 0);
    (reverse ? high : low)[axis] = by;
    Value kept = l.sliceAxis(value, axis, reverse ? by : 0, size - by);
    return l.pad(kept, low, high, neutral);
  };
  if (exclusive)
    x = moved(x, 1);
  for (int64_t distance = 1; distance < size; distance *= 2)
    x = l.map(x, moved(x, distance), fn);
  return x;
}

template <bool isSum> static Results cumulative(Lowering &l) {
  auto axes = l.ints(1);
  if (!axes || axes->size() != 1)
    return failure();
  auto axis = normalAxis((*axes)[0], Lowering::rank(l.in(0)));
  if (!axis)
    return failure();
  Value x = l.widened(l.in(0));
  x = scan(l, x, *axis, l.node.getInt("exclusive", 0),
           l.node.getInt("reverse", 0), isSum ? 0 : 1,
           [](const Expr &e, ValueRange v) {
             return isSum ? e.add(v[0], v[1]) : e.mul(v[0], v[1]);
           });
  return one(l.cast(x, Lowering::elementOf(l.in(0))));
}

void addReductions(Table &t) {
  t["ReduceSum"] = reduction<Reduce::Sum>;
  t["ReduceMean"] = reduction<Reduce::Mean>;
  t["ReduceMax"] = reduction<Reduce::Max>;
  t["ReduceMin"] = reduction<Reduce::Min>;
  t["ReduceProd"] = reduction<Reduce::Prod>;
  t["ReduceL1"] = reduction<Reduce::L1>;
  t["ReduceL2"] = reduction<Reduce::L2>;
  t["ReduceLogSum"] = reduction<Reduce::LogSum>;
  t["ReduceLogSumExp"] = reduction<Reduce::LogSumExp>;
  t["ReduceSumSquare"] = reduction<Reduce::SumSquare>;
  t["ArgMax"] = argument<true>;
  t["ArgMin"] = argument<false>;
  t["CumSum"] = cumulative<true>;
  t["CumProd"] = cumulative<false>;
}

} // namespace effc::lower
