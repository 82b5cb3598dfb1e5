//===- Scatters.cpp - writing at computed places --------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Indexing.h"

using namespace mlir;

namespace effc::lower {

/// What an update does to the element that is there.
static Value combine(const Expr &e, StringRef how, Value old, Value update,
                     bool isUnsigned) {
  if (how == "add")
    return e.add(old, update);
  if (how == "mul")
    return e.mul(old, update);
  if (how == "max")
    return e.max(old, update, isUnsigned);
  if (how == "min")
    return e.min(old, update, isUnsigned);
  return update;
}

static bool isReduction(StringRef how) {
  return how == "none" || how == "add" || how == "mul" || how == "max" ||
         how == "min";
}

/// An index, counted from the front, not clamped: updates outside change
/// nothing.
static Value counted(const Expr &e, Value raw, int64_t size) {
  Value index = e.toIndex(raw);
  Value zero = e.index(0);
  return e.select(e.compare(Compare::LT, index, zero),
                  e.add(index, e.index(size)), index);
}

static Results scatterNd(Lowering &l) {
  Value x = l.in(0), indices = l.in(1), updates = l.in(2);
  StringRef how = l.node.getString("reduction", "none");
  ArrayRef<int64_t> sizes = Lowering::shape(x),
                    places = Lowering::shape(indices);
  if (places.empty() || places.back() > int64_t(sizes.size()) ||
      !isReduction(how))
    return failure();
  int64_t depth = places.back(), rows = product(places.drop_back());
  SmallVector<int64_t> flat{rows};
  llvm::append_range(flat, sizes.drop_front(depth));
  updates = l.reshape(updates, flat);
  if (!updates)
    return failure();
  // A few places that are known: one slice after the other.
  constexpr int64_t mostSlices = 64;
  auto known = l.constant(1);
  if (known && !known->isFloat() && how == "none" && rows <= mostSlices) {
    for (int64_t row = 0; row < rows; ++row) {
      SmallVector<int64_t> offsets(sizes.size(), 0), shape(sizes.size(), 1);
      for (int64_t d = 0; d < depth; ++d) {
        int64_t at = known->ints[row * depth + d];
        offsets[d] = at < 0 ? at + sizes[d] : at;
        if (offsets[d] < 0 || offsets[d] >= sizes[d])
          return failure();
      }
      std::copy(sizes.begin() + depth, sizes.end(), shape.begin() + depth);
      Value update = l.reshape(l.sliceAxis(updates, 0, row, 1), shape);
      x = l.insert(update, x, offsets);
    }
    return one(x);
  }
  indices = l.reshape(indices, {rows, depth});
  bool isUnsigned = l.isUnsigned(0);
  // Each element looks for its updates; the last one wins.
  return Results(l.fold(
      sizes, {rows}, {x}, [&](const Expr &e, ValueRange i, ValueRange acc) {
        Value row = i.back(), here;
        for (int64_t d = 0; d < depth; ++d) {
          Value raw = e.extract(indices, {row, e.index(d)});
          Value equal = e.compare(Compare::EQ, counted(e, raw, sizes[d]), i[d]);
          here = here ? e.both(here, equal) : equal;
        }
        SmallVector<Value> at{row};
        llvm::append_range(at, i.drop_back().drop_front(depth));
        Value update =
            combine(e, how, acc[0], e.extract(updates, at), isUnsigned);
        return SmallVector<Value>{here ? e.select(here, update, acc[0])
                                       : update};
      }));
}

static Results scatterElements(Lowering &l) {
  Value x = l.in(0), indices = l.in(1), updates = l.in(2);
  int64_t rank = Lowering::rank(x);
  auto axis = normalAxis(l.node.getInt("axis", 0), rank);
  StringRef how = l.node.getString("reduction", "none");
  ArrayRef<int64_t> sizes = Lowering::shape(x),
                    extents = Lowering::shape(indices);
  if (!axis || int64_t(extents.size()) != rank ||
      Lowering::shape(updates) != extents || !isReduction(how))
    return failure();
  if (llvm::is_contained(extents, 0))
    return one(x);
  bool isUnsigned = l.isUnsigned(0);
  return Results(l.fold(
      sizes, {extents[*axis]}, {x},
      [&](const Expr &e, ValueRange i, ValueRange acc) {
        Value here;
        SmallVector<Value> at;
        for (int64_t d = 0; d < rank; ++d) {
          if (d == *axis) {
            at.push_back(i.back());
            continue;
          }
          at.push_back(i[d]);
          if (extents[d] >= sizes[d])
            continue;
          // Updates may cover less than the tensor.
          Value covered = e.compare(Compare::LT, i[d], e.index(extents[d]));
          here = here ? e.both(here, covered) : covered;
          at.back() = e.min(i[d], e.index(extents[d] - 1));
        }
        Value index = counted(e, e.extract(indices, at), sizes[*axis]);
        Value equal = e.compare(Compare::EQ, index, i[*axis]);
        here = here ? e.both(here, equal) : equal;
        Value update =
            combine(e, how, acc[0], e.extract(updates, at), isUnsigned);
        return SmallVector<Value>{e.select(here, update, acc[0])};
      }));
}

/// Writes `update` into a cache from position `write_indices[batch]` on.
static Results tensorScatter(Lowering &l) {
  Value cache = l.in(0), update = l.in(1), places = l.in(2);
  int64_t rank = Lowering::rank(cache);
  auto axis = normalAxis(l.node.getInt("axis", -2), rank);
  bool circular = l.node.getString("mode", "linear") == "circular";
  if (!axis || *axis == 0 || Lowering::rank(update) != rank)
    return failure();
  int64_t size = Lowering::shape(cache)[*axis],
          count = Lowering::shape(update)[*axis];
  if (count == 0)
    return one(cache);
  return one(l.generate(
      Lowering::shape(cache), Lowering::elementOf(cache),
      [&](const Expr &e, ValueRange i) {
        Value offset = i[*axis];
        Value zero = e.index(0);
        if (places)
          offset = e.sub(offset, e.toIndex(e.extract(places, i[0])));
        if (circular) {
          offset = e.rem(offset, e.index(size));
          offset = e.select(e.compare(Compare::LT, offset, zero),
                            e.add(offset, e.index(size)), offset);
        }
        Value inside = e.both(e.compare(Compare::GE, offset, zero),
                              e.compare(Compare::LT, offset, e.index(count)));
        SmallVector<Value> at(i);
        at[*axis] = e.max(e.min(offset, e.index(count - 1)), zero);
        return e.select(inside, e.extract(update, at), e.extract(cache, i));
      }));
}

void addScatters(Table &t) {
  t["ScatterND"] = scatterNd;
  t["ScatterElements"] = scatterElements;
  t["Scatter"] = scatterElements;
  t["TensorScatter"] = tensorScatter;
}

} // namespace effc::lower
