//===- Pooling.cpp - windows of maxima and means --------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Lowering.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"

#include <cmath>

using namespace mlir;

namespace effc::lower {

/// Folds each window of a tensor [N, C, D..]; what lies outside is `initial`.
static Value overWindows(Lowering &l, Value x, const Windows &w, double initial,
                         ScalarFn fn) {
  int64_t spatial = int64_t(w.kernel.size());
  SmallVector<int64_t> low(2, 0), high(2, 0);
  ArrayRef<int64_t> sizes = Lowering::shape(x).drop_front(2);
  for (int64_t i = 0; i < spatial; ++i) {
    // The last window may hang over more than the padding.
    int64_t reach =
        (w.out[i] - 1) * w.strides[i] + (w.kernel[i] - 1) * w.dilations[i] + 1;
    low.push_back(w.low[i]);
    high.push_back(std::max<int64_t>(0, reach - sizes[i] - w.low[i]));
  }
  SmallVector<int64_t> shape(Lowering::shape(x).take_front(2));
  llvm::append_range(shape, w.out);
  Type element = Lowering::elementOf(x);
  x = l.pad(x, low, high, initial);
  int64_t outer = spatial + 2, loops = outer + spatial;
  SmallVector<AffineExpr> in{l.dim(0), l.dim(1)}, window,
      result{l.dim(0), l.dim(1)};
  for (int64_t i = 0; i < spatial; ++i) {
    in.push_back(l.dim(2 + i) * w.strides[i] +
                 l.dim(outer + i) * w.dilations[i]);
    window.push_back(l.dim(outer + i));
    result.push_back(l.dim(2 + i));
  }
  MLIRContext *context = l.b.getContext();
  SmallVector<AffineMap> maps{AffineMap::get(loops, 0, in, context),
                              AffineMap::get(loops, 0, window, context),
                              AffineMap::get(loops, 0, result, context)};
  SmallVector<utils::IteratorType> iterators(outer,
                                             utils::IteratorType::parallel);
  iterators.append(spatial, utils::IteratorType::reduction);
  Value first = l.filled(shape, element, initial);
  Value extents = l.empty(w.kernel, element);
  return linalg::GenericOp::create(
             l.b, l.loc, TypeRange(first.getType()), ValueRange{x, extents},
             ValueRange(first), maps, iterators,
             [&](OpBuilder &inner, Location where, ValueRange args) {
               linalg::YieldOp::create(
                   inner, where, fn(Expr(inner, where), {args[0], args[2]}));
             })
      .getResult(0);
}

static std::optional<Windows> windowsOf(Lowering &l) {
  auto kernel = l.node.getInts("kernel_shape");
  if (!kernel || Lowering::rank(l.in(0)) < 3)
    return std::nullopt;
  auto windows =
      Windows::of(l, Lowering::shape(l.in(0)).drop_front(2), *kernel);
  if (!windows ||
      l.out().getShape().drop_front(2) != ArrayRef<int64_t>(windows->out))
    return std::nullopt;
  return windows;
}

static double lowest(Value x, bool isUnsigned) {
  if (Lowering::isFloat(x))
    return -HUGE_VAL;
  unsigned width = Lowering::elementOf(x).getIntOrFloatBitWidth();
  return isUnsigned ? 0 : -std::ldexp(1.0, int(width) - 1);
}

/// Where the largest element of each window is, as an offset into the whole
/// tensor.
static Value largestPlaces(Lowering &l, Value x, const Windows &w,
                           bool columnMajor) {
  int64_t spatial = int64_t(w.kernel.size());
  SmallVector<int64_t> shape(Lowering::shape(x).take_front(2));
  llvm::append_range(shape, w.out);
  ArrayRef<int64_t> sizes = Lowering::shape(x);
  bool isUnsigned = l.isUnsigned(0);
  Type index = l.b.getI64Type(), element = Lowering::elementOf(x);
  return l.fold(
      shape, w.kernel,
      {l.filled(shape, element, lowest(x, isUnsigned)),
       l.filled(shape, index, -1)},
      [&](const Expr &e, ValueRange i, ValueRange acc) {
        SmallVector<Value> at{i[0], i[1]};
        Value inside;
        for (int64_t d = 0; d < spatial; ++d) {
          Value place =
              e.add(e.mul(i[2 + d], e.index(w.strides[d])),
                    e.mul(i[2 + spatial + d], e.index(w.dilations[d])));
          place = e.sub(place, e.index(w.low[d]));
          Value zero = e.index(0), size = e.index(sizes[2 + d]);
          Value within = e.both(e.compare(Compare::GE, place, zero),
                                e.compare(Compare::LT, place, size));
          inside = inside ? e.both(inside, within) : within;
          at.push_back(e.select(within, place, zero));
        }
        Value offset = e.add(e.mul(at[0], e.index(sizes[1])), at[1]);
        for (int64_t d = 0; d < spatial; ++d)
          offset = e.mul(offset, e.index(sizes[2 + d]));
        Value stride = e.index(1);
        for (int64_t n = 0; n < spatial; ++n) {
          int64_t d = columnMajor ? n : spatial - 1 - n;
          offset = e.add(offset, e.mul(at[2 + d], stride));
          stride = e.mul(stride, e.index(sizes[2 + d]));
        }
        Value candidate = e.extract(x, at);
        Value first = e.compare(Compare::LT, acc[1], e.constant(index, 0));
        Value better = e.compare(Compare::GT, candidate, acc[0], isUnsigned);
        better = e.both(inside, e.op<arith::OrIOp>(first, better));
        Value place = e.op<arith::IndexCastOp>(index, offset);
        return SmallVector<Value>{e.select(better, candidate, acc[0]),
                                  e.select(better, place, acc[1])};
      })[1];
}

static Results maxPool(Lowering &l) {
  auto w = windowsOf(l);
  if (!w)
    return failure();
  bool isUnsigned = l.isUnsigned(0);
  Value x = l.in(0);
  SmallVector<Value> results{overWindows(l, x, *w, lowest(x, isUnsigned),
                                         [&](const Expr &e, ValueRange v) {
                                           return e.max(v[1], v[0], isUnsigned);
                                         })};
  if (l.out(1))
    results.push_back(
        largestPlaces(l, x, *w, l.node.getInt("storage_order", 0)));
  return results;
}

/// How many elements each window has: of the input, or of it with its padding.
static Value windowSizes(Lowering &l, const Windows &w, ArrayRef<int64_t> sizes,
                         bool withPadding, Type element) {
  SmallVector<double> counts{1};
  for (size_t i = 0; i < w.out.size(); ++i) {
    SmallVector<double> next;
    for (double count : counts)
      for (int64_t o = 0; o < w.out[i]; ++o) {
        int64_t inside = 0;
        for (int64_t k = 0; k < w.kernel[i]; ++k) {
          int64_t at = o * w.strides[i] + k * w.dilations[i] - w.low[i];
          int64_t begin = withPadding ? -w.low[i] : 0;
          int64_t end = sizes[i] + (withPadding ? w.high[i] : 0);
          inside += at >= begin && at < end;
        }
        next.push_back(count * double(std::max<int64_t>(inside, 1)));
      }
    counts = std::move(next);
  }
  return l.tensor(w.out, element, counts);
}

static Results averagePool(Lowering &l) {
  auto w = windowsOf(l);
  if (!w || !Lowering::isFloat(l.in(0)))
    return failure();
  Value x = l.widened(l.in(0));
  Value y = overWindows(l, x, *w, 0, [](const Expr &e, ValueRange v) {
    return e.add(v[1], v[0]);
  });
  Value counts = windowSizes(l, *w, Lowering::shape(x).drop_front(2),
                             l.node.getInt("count_include_pad", 0),
                             Lowering::elementOf(x));
  y = l.map(y, counts,
            [](const Expr &e, ValueRange v) { return e.div(v[0], v[1]); });
  return one(l.cast(y, l.out().getElementType()));
}

/// `|x|^p`.
static Value power(const Expr &e, Value x, double p) {
  if (p == 1)
    return e.abs(x);
  if (p == 2)
    return e.mul(x, x);
  return e.op<math::PowFOp>(e.abs(x), e.constant(x.getType(), p));
}
static Value root(const Expr &e, Value x, double p) {
  if (p == 1)
    return x;
  if (p == 2)
    return e.sqrt(x);
  return e.op<math::PowFOp>(x, e.constant(x.getType(), 1 / p));
}

static Results lpPool(Lowering &l) {
  auto w = windowsOf(l);
  double p = double(l.node.getInt("p", 2));
  if (!w || !Lowering::isFloat(l.in(0)) || p < 1)
    return failure();
  Value x = l.map(l.widened(l.in(0)), [&](const Expr &e, ValueRange v) {
    return power(e, v[0], p);
  });
  Value y = overWindows(l, x, *w, 0, [](const Expr &e, ValueRange v) {
    return e.add(v[1], v[0]);
  });
  y = l.map(y, [&](const Expr &e, ValueRange v) { return root(e, v[0], p); });
  return one(l.cast(y, l.out().getElementType()));
}

enum class Global { Average, Max, Lp };

template <Global how> static Results globalPool(Lowering &l) {
  Value x = l.in(0);
  if (Lowering::rank(x) < 3 || !Lowering::isFloat(x))
    return failure();
  SmallVector<int64_t> axes;
  for (int64_t i = 2; i < Lowering::rank(x); ++i)
    axes.push_back(i);
  double count = double(product(Lowering::shape(x).drop_front(2)));
  double p = double(l.node.getInt("p", 2));
  Value y = l.widened(x);
  if (how == Global::Max)
    y = l.reduce(y, axes, -HUGE_VAL, true,
                 [](const Expr &e, ValueRange v) { return e.max(v[1], v[0]); });
  if (how == Global::Average) {
    y = l.sum(y, axes, true);
    y = l.map(y, [&](const Expr &e, ValueRange v) {
      return e.scale(v[0], 1 / count);
    });
  }
  if (how == Global::Lp) {
    y = l.map(y,
              [&](const Expr &e, ValueRange v) { return power(e, v[0], p); });
    y = l.sum(y, axes, true);
    y = l.map(y, [&](const Expr &e, ValueRange v) { return root(e, v[0], p); });
  }
  return one(l.cast(y, Lowering::elementOf(x)));
}

void addPooling(Table &t) {
  t["MaxPool"] = maxPool;
  t["AveragePool"] = averagePool;
  t["LpPool"] = lpPool;
  t["GlobalAveragePool"] = globalPool<Global::Average>;
  t["GlobalMaxPool"] = globalPool<Global::Max>;
  t["GlobalLpPool"] = globalPool<Global::Lp>;
}

} // namespace effc::lower
