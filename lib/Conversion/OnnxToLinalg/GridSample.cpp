//===- GridSample.cpp - elements at places that a tensor names ------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// `y[n, c, o..] = x[n, c, at(grid[n, o.., :])]`: places from -1 to 1 along
/// each dimension, the last dimension first; between elements the nearest, or
/// sums of two or four neighbours a dimension.
///
//===----------------------------------------------------------------------===//

#include "Lowering.h"

using namespace mlir;

namespace effc::lower {

namespace {
/// An element along one dimension: where, in whole numbers, and its weight
/// (null: 1).
struct Tap {
  Value place, weight;
};

class GridSampling {
public:
  explicit GridSampling(Lowering &l) : l(l) {}
  Results lower();

private:
  bool read();
  Value sample(const Expr &e, ValueRange index) const;
  Value placeOf(const Expr &e, Value g, int64_t size) const;
  Value reflected(const Expr &e, Value at, int64_t size) const;
  SmallVector<Tap> tapsOf(const Expr &e, Value at) const;
  Value element(const Expr &e, ValueRange index, ArrayRef<Tap> taps) const;
  Value number(const Expr &e, double value) const {
    return e.constant(places, value);
  }

  Lowering &l;
  Value x, grid;
  Type places; // of coordinates
  int64_t spatial = 0;
  bool nearest = false, cubic = false, corners = false, zeros = false,
       reflect = false;
};
} // namespace

bool GridSampling::read() {
  x = l.in(0);
  grid = l.widened(l.in(1));
  spatial = Lowering::rank(x) - 2;
  if (spatial < 1 || Lowering::rank(grid) != spatial + 2 ||
      !Lowering::isFloat(grid) || Lowering::shape(grid).back() != spatial ||
      Lowering::shape(grid)[0] != Lowering::shape(x)[0] ||
      product(Lowering::shape(x)) == 0)
    return false;
  places = Lowering::elementOf(grid);
  StringRef mode = l.node.getString("mode", "linear"),
            padding = l.node.getString("padding_mode", "zeros");
  nearest = mode == "nearest";
  cubic = mode == "cubic" || mode == "bicubic";
  corners = l.node.getInt("align_corners", 0) != 0;
  zeros = padding == "zeros";
  reflect = padding == "reflection";
  bool linear = mode == "linear" || mode == "bilinear";
  return (nearest || cubic || linear) &&
         (zeros || reflect || padding == "border") &&
         (nearest || Lowering::isFloat(x));
}

/// A place in [-1, 1] as an index: the ends are the outer elements, or their
/// outer edges.
Value GridSampling::placeOf(const Expr &e, Value g, int64_t size) const {
  double half = 0.5 * double(corners ? size - 1 : size);
  return e.plus(e.scale(g, half), 0.5 * double(size - 1));
}

/// Back and forth between the ends.
Value GridSampling::reflected(const Expr &e, Value at, int64_t size) const {
  double low = corners ? 0 : -0.5,
         length = corners ? double(size - 1) : double(size);
  if (length == 0)
    return number(e, 0);
  Value distance = e.plus(at, -low);
  Value rounds = e.op<math::FloorOp>(e.scale(distance, 1 / (2 * length)));
  Value rest = e.sub(distance, e.scale(rounds, 2 * length));
  Value back = e.sub(number(e, 2 * length), rest);
  return e.plus(e.min(rest, back), low);
}

SmallVector<Tap> GridSampling::tapsOf(const Expr &e, Value at) const {
  if (nearest)
    return {{at, {}}};
  Value floor = e.op<math::FloorOp>(at), t = e.sub(at, floor);
  if (!cubic)
    return {{floor, e.sub(number(e, 1), t)}, {e.plus(floor, 1), t}};
  constexpr double a = -0.75;
  // Of elements at most one away, and at most two.
  auto near = [&](Value d) {
    Value inner = e.plus(e.scale(d, a + 2), -(a + 3));
    return e.plus(e.mul(e.mul(inner, d), d), 1);
  };
  auto far = [&](Value d) {
    Value inner = e.plus(e.mul(e.plus(e.scale(d, a), -5 * a), d), 8 * a);
    return e.plus(e.mul(inner, d), -4 * a);
  };
  return {{e.plus(floor, -1), far(e.plus(t, 1))},
          {floor, near(t)},
          {e.plus(floor, 1), near(e.sub(number(e, 1), t))},
          {e.plus(floor, 2), far(e.sub(number(e, 2), t))}};
}

/// The element at whole places, which may lie outside.
Value GridSampling::element(const Expr &e, ValueRange index,
                            ArrayRef<Tap> taps) const {
  SmallVector<Value> at{index[0], index[1]};
  Value inside;
  for (auto [d, tap] : llvm::enumerate(taps)) {
    int64_t size = Lowering::shape(x)[d + 2];
    Value place = reflect ? reflected(e, tap.place, size) : tap.place;
    if (zeros) {
      Value from = e.compare(Compare::GE, place, number(e, 0)),
            to = e.compare(Compare::LE, place, number(e, double(size - 1)));
      Value both = e.both(from, to);
      inside = inside ? e.both(inside, both) : both;
    }
    // Whatever a NaN becomes is inside too.
    Value whole = e.toIndex(e.cast(place, e.b.getI64Type()));
    at.push_back(e.max(e.min(whole, e.index(size - 1)), e.index(0)));
  }
  Value value = e.extract(x, at);
  if (inside)
    value =
        e.select(inside, value,
                 Lowering::isFloat(x) ? e.constant(Lowering::elementOf(x), 0)
                                      : e.integer(Lowering::elementOf(x), 0));
  return value;
}

Value GridSampling::sample(const Expr &e, ValueRange index) const {
  SmallVector<SmallVector<Tap>> all;
  for (int64_t d = 0; d < spatial; ++d) {
    int64_t size = Lowering::shape(x)[d + 2];
    SmallVector<Value> of{index[0]};
    llvm::append_range(of, index.drop_front(2));
    of.push_back(e.index(spatial - 1 - d));
    Value at = placeOf(e, e.extract(grid, of), size);
    if (nearest)
      at = e.op<math::RoundEvenOp>(at);
    if (reflect)
      at = reflected(e, at, size);
    else if (!zeros)
      at = e.max(e.min(at, number(e, double(size - 1))), number(e, 0));
    all.push_back(tapsOf(e, at));
  }
  // All combinations of one tap for each dimension.
  Value sum;
  size_t each = all[0].size(), count = 1;
  for (int64_t d = 0; d < spatial; ++d)
    count *= each;
  for (size_t k = 0; k < count; ++k) {
    SmallVector<Tap> taps;
    Value weight;
    size_t rest = k;
    for (int64_t d = 0; d < spatial; ++d, rest /= each) {
      taps.push_back(all[d][rest % each]);
      Value own = taps.back().weight;
      weight = weight && own ? e.mul(weight, own) : own;
    }
    Value value = element(e, index, taps);
    if (!weight)
      return value;
    value = e.mul(e.cast(value, places), weight);
    sum = sum ? e.add(sum, value) : value;
  }
  return e.cast(sum, Lowering::elementOf(x));
}

Results GridSampling::lower() {
  if (!read())
    return failure();
  SmallVector<int64_t> shape{Lowering::shape(x)[0], Lowering::shape(x)[1]};
  llvm::append_range(shape, Lowering::shape(grid).slice(1, spatial));
  return one(l.generate(
      shape, Lowering::elementOf(x),
      [&](const Expr &e, ValueRange index) { return sample(e, index); }));
}

static Results gridSample(Lowering &l) { return GridSampling(l).lower(); }

void addGridSample(Table &t) { t["GridSample"] = gridSample; }

} // namespace effc::lower
