//===- Indexing.cpp - reading at computed places --------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Indexing.h"

using namespace mlir;

namespace effc::lower {

Value position(const Expr &e, Value raw, int64_t size) {
  Value index = raw.getType().isIndex() ? raw : e.toIndex(raw);
  Value zero = e.index(0);
  index = e.select(e.compare(Compare::LT, index, zero),
                   e.add(index, e.index(size)), index);
  return e.max(e.min(index, e.index(size - 1)), zero);
}

static SmallVector<Value> part(ValueRange values, size_t begin, size_t count) {
  return SmallVector<Value>(values.slice(begin, count));
}

static Results gather(Lowering &l) {
  Value x = l.in(0), indices = l.in(1);
  int64_t rank = Lowering::rank(x), inner = Lowering::rank(indices);
  auto axis = normalAxis(l.node.getInt("axis", 0), rank);
  if (!axis)
    return failure();
  int64_t size = Lowering::shape(x)[*axis];
  SmallVector<int64_t> shape(Lowering::shape(x));
  shape.erase(shape.begin() + *axis);
  shape.insert(shape.begin() + *axis, Lowering::shape(indices).begin(),
               Lowering::shape(indices).end());
  if (product(shape) == 0)
    return one(l.empty(shape, Lowering::elementOf(x)));
  if (size == 0)
    return failure();
  // Known indices in a row are a slice.
  if (auto known = l.constant(1); known && !known->isFloat()) {
    std::vector<int64_t> &at = known->ints;
    bool row = true;
    for (size_t i = 0; i < at.size(); ++i) {
      at[i] += at[i] < 0 ? size : 0;
      if (at[i] < 0 || at[i] >= size)
        return failure();
      row &= at[i] == at[0] + int64_t(i);
    }
    if (row)
      return one(
          l.reshape(l.sliceAxis(x, *axis, at[0], int64_t(at.size())), shape));
  }
  return one(l.generate(shape, Lowering::elementOf(x),
                        [&](const Expr &e, ValueRange i) {
                          Value raw = e.extract(indices, part(i, *axis, inner));
                          SmallVector<Value> at(i.take_front(*axis));
                          at.push_back(position(e, raw, size));
                          llvm::append_range(at, i.drop_front(*axis + inner));
                          return e.extract(x, at);
                        }));
}

static Results gatherElements(Lowering &l) {
  Value x = l.in(0), indices = l.in(1);
  auto axis = normalAxis(l.node.getInt("axis", 0), Lowering::rank(x));
  if (!axis || Lowering::rank(indices) != Lowering::rank(x))
    return failure();
  ArrayRef<int64_t> shape = Lowering::shape(indices),
                    sizes = Lowering::shape(x);
  for (size_t i = 0; i < shape.size(); ++i)
    if (sizes[i] == 0 || (int64_t(i) != *axis && shape[i] > sizes[i]))
      return failure();
  return one(l.generate(
      shape, Lowering::elementOf(x), [&](const Expr &e, ValueRange i) {
        SmallVector<Value> at(i);
        at[*axis] = position(e, e.extract(indices, i), sizes[*axis]);
        return e.extract(x, at);
      }));
}

static Results gatherNd(Lowering &l) {
  Value x = l.in(0), indices = l.in(1);
  int64_t batch = l.node.getInt("batch_dims", 0);
  ArrayRef<int64_t> sizes = Lowering::shape(x),
                    places = Lowering::shape(indices);
  if (places.empty() || batch < 0 || batch >= int64_t(places.size()))
    return failure();
  int64_t depth = places.back(), lead = int64_t(places.size()) - 1;
  if (batch + depth > int64_t(sizes.size()))
    return failure();
  SmallVector<int64_t> shape(places.drop_back());
  llvm::append_range(shape, sizes.drop_front(batch + depth));
  if (llvm::is_contained(sizes, 0))
    return failure();
  return one(l.generate(shape, Lowering::elementOf(x),
                        [&](const Expr &e, ValueRange i) {
                          SmallVector<Value> place = part(i, 0, lead);
                          SmallVector<Value> at = part(i, 0, batch);
                          for (int64_t d = 0; d < depth; ++d) {
                            place.push_back(e.index(d));
                            at.push_back(position(e, e.extract(indices, place),
                                                  sizes[batch + d]));
                            place.pop_back();
                          }
                          llvm::append_range(at, i.drop_front(lead));
                          return e.extract(x, at);
                        }));
}

/// com.microsoft.GatherBlockQuantized's siblings are not here; OneHot:
/// `values[1]` at the index along a new axis.
static Results oneHot(Lowering &l) {
  Value indices = l.in(0), values = l.in(2);
  auto depth = l.constant(1);
  int64_t rank = Lowering::rank(indices);
  auto axis = normalAxis(l.node.getInt("axis", -1), rank + 1);
  if (!axis || !depth || depth->size() != 1 || Lowering::rank(values) != 1 ||
      Lowering::shape(values)[0] != 2)
    return failure();
  int64_t size = int64_t(depth->number(0));
  Type integer = l.b.getI64Type();
  indices = l.cast(indices, integer, l.isUnsigned(0));
  SmallVector<int64_t> shape(Lowering::shape(indices));
  shape.insert(shape.begin() + *axis, size);
  return one(l.generate(
      shape, Lowering::elementOf(values), [&](const Expr &e, ValueRange i) {
        SmallVector<Value> at(i);
        at.erase(at.begin() + *axis);
        Value index = e.extract(indices, at);
        Value negative = e.compare(Compare::LT, index, e.constant(integer, 0));
        index = e.select(negative, e.plus(index, double(size)), index);
        Value here = e.compare(Compare::EQ, e.toIndex(index), i[*axis]);
        return e.select(here, e.extract(values, e.index(1)),
                        e.extract(values, e.index(0)));
      }));
}

static Results trilu(Lowering &l) {
  Value x = l.in(0);
  int64_t rank = Lowering::rank(x), k = 0;
  if (rank < 2 || l.isUnknown(1))
    return failure();
  if (auto given = l.constant(1)) {
    if (given->size() != 1)
      return failure();
    k = given->ints[0];
  }
  bool upper = l.node.getInt("upper", 1);
  int64_t rows = Lowering::shape(x)[rank - 2],
          columns = Lowering::shape(x)[rank - 1];
  SmallVector<double> kept;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      kept.push_back(upper ? c >= r + k : c <= r + k);
  Value mask = l.tensor({rows, columns}, l.b.getI1Type(), kept);
  return one(
      l.map(Lowering::elementOf(x), {x, mask}, [](const Expr &e, ValueRange v) {
        return e.select(v[1], v[0], e.constant(v[0].getType(), 0));
      }));
}

static Results reverseSequence(Lowering &l) {
  Value x = l.in(0), lengths = l.in(1);
  int64_t batch = l.node.getInt("batch_axis", 1),
          time = l.node.getInt("time_axis", 0);
  int64_t rank = Lowering::rank(x);
  if (batch < 0 || time < 0 || batch >= rank || time >= rank || batch == time)
    return failure();
  int64_t size = Lowering::shape(x)[time];
  return one(l.generate(
      Lowering::shape(x), Lowering::elementOf(x),
      [&](const Expr &e, ValueRange i) {
        Value length = e.toIndex(e.extract(lengths, i[batch]));
        Value turned = e.sub(e.sub(length, e.index(1)), i[time]);
        Value inside = e.compare(Compare::LT, i[time], length);
        SmallVector<Value> at(i);
        at[time] = position(e, e.select(inside, turned, i[time]), size);
        return e.extract(x, at);
      }));
}

/// Keeps what a condition, known at compile time, says.
static Results compress(Lowering &l) {
  Value x = l.in(0);
  auto condition = l.constant(1);
  if (!condition || condition->isFloat())
    return failure();
  int64_t axis = 0;
  if (l.node->hasAttr("axis")) {
    auto given = normalAxis(l.node.getInt("axis", 0), Lowering::rank(x));
    if (!given)
      return failure();
    axis = *given;
  } else {
    x = l.reshape(x, {product(Lowering::shape(x))});
  }
  SmallVector<Value> parts;
  for (int64_t i = 0; i < std::min(condition->size(), Lowering::shape(x)[axis]);
       ++i)
    if (condition->ints[i])
      parts.push_back(l.sliceAxis(x, axis, i, 1));
  return parts.empty() ? one(l.sliceAxis(x, axis, 0, 0))
                       : one(l.concat(parts, axis));
}

//===----------------------------------------------------------------------===//
// Order
//===----------------------------------------------------------------------===//

/// The k best along an axis, best first. An element's rank is the number of
/// better ones; equal ones count by index.
static Results topK(Lowering &l) {
  Value x = l.in(0);
  int64_t rank = Lowering::rank(x);
  auto axis = normalAxis(l.node.getInt("axis", -1), rank);
  if (!axis || rank == 0)
    return failure();
  // Each element is compared with each other.
  constexpr int64_t largestRow = 8192;
  int64_t size = Lowering::shape(x)[*axis];
  if (size == 0 || size > largestRow)
    return failure();
  bool largest = l.node.getInt("largest", 1), isUnsigned = l.isUnsigned(0);
  Type index = l.b.getI64Type();
  ArrayRef<int64_t> shape = Lowering::shape(x);
  Value ranks =
      l.fold(shape, {size}, {l.filled(shape, index, 0)},
             [&](const Expr &e, ValueRange i, ValueRange acc) {
               Value self = e.extract(x, i.drop_back());
               SmallVector<Value> at(i.drop_back());
               at[*axis] = i.back();
               Value other = e.extract(x, at);
               Value better = e.compare(largest ? Compare::GT : Compare::LT,
                                        other, self, isUnsigned);
               Value before =
                   e.both(e.compare(Compare::EQ, other, self),
                          e.compare(Compare::LT, i.back(), i[*axis]));
               Value counts = e.op<arith::OrIOp>(better, before);
               return SmallVector<Value>{e.add(acc[0], e.cast(counts, index))};
             })[0];
  ArrayRef<int64_t> shapeOut = l.out().getShape();
  return Results(l.fold(
      shapeOut, {size},
      {l.filled(shapeOut, Lowering::elementOf(x), 0),
       l.filled(shapeOut, index, 0)},
      [&](const Expr &e, ValueRange i, ValueRange acc) {
        SmallVector<Value> at(i.drop_back());
        at[*axis] = i.back();
        Value wanted = e.op<arith::IndexCastOp>(index, i[*axis]);
        Value here = e.compare(Compare::EQ, e.extract(ranks, at), wanted);
        Value position = e.op<arith::IndexCastOp>(index, i.back());
        return SmallVector<Value>{e.select(here, e.extract(x, at), acc[0]),
                                  e.select(here, position, acc[1])};
      }));
}

void addIndexing(Table &t) {
  t["Gather"] = gather;
  t["GatherElements"] = gatherElements;
  t["GatherND"] = gatherNd;
  t["OneHot"] = oneHot;
  t["Trilu"] = trilu;
  t["ReverseSequence"] = reverseSequence;
  t["Compress"] = compress;
  t["TopK"] = topK;
}

} // namespace effc::lower
