//===- Convolutions.cpp - Conv and ConvTranspose --------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Convolutions.h"

using namespace mlir;

namespace effc::lower {

/// Pads spatial dimensions; negative numbers cut off.
static Value padSpatial(Lowering &l, Value x, ArrayRef<int64_t> low,
                        ArrayRef<int64_t> high) {
  SmallVector<int64_t> before(2, 0), after(2, 0), offsets(2, 0);
  SmallVector<int64_t> sizes(Lowering::shape(x));
  for (size_t i = 0; i < low.size(); ++i) {
    before.push_back(std::max<int64_t>(low[i], 0));
    after.push_back(std::max<int64_t>(high[i], 0));
    offsets.push_back(std::max<int64_t>(-low[i], 0));
    sizes[i + 2] -= offsets.back() + std::max<int64_t>(-high[i], 0);
    if (sizes[i + 2] < 0)
      return {};
  }
  return l.pad(l.slice(x, offsets, sizes), before, after, 0);
}

Value convolve(Lowering &l, Value x, Value w, int64_t groups,
               ArrayRef<int64_t> strides, ArrayRef<int64_t> dilations,
               ArrayRef<int64_t> out, Type element, bool transposed) {
  ArrayRef<int64_t> sx = Lowering::shape(x), sw = Lowering::shape(w);
  int64_t spatial = int64_t(sx.size()) - 2;
  int64_t channels = sx[1] / groups;
  auto allOnes = [](ArrayRef<int64_t> sizes) {
    return llvm::all_of(sizes, [](int64_t size) { return size == 1; });
  };
  // Without neighbours all pixels are one row.
  if (spatial > 1 && allOnes(sw.drop_front(2)) && allOnes(strides)) {
    int64_t pixels = product(out);
    Value y = convolve(l, l.reshape(x, {sx[0], sx[1], pixels}),
                       l.reshape(w, {sw[0], sw[1], 1}), groups, {1}, {1},
                       {pixels}, element, transposed);
    SmallVector<int64_t> shape{sx[0], Lowering::shape(y)[1]};
    llvm::append_range(shape, out);
    return l.reshape(y, shape);
  }
  // Filters are [M, C / groups, ..], transposed ones [C, M / groups, ..].
  int64_t filters = transposed ? sw[1] : sw[0] / groups;
  bool grouped = groups > 1;
  // Loops: n, [g,] m, o.., c, k...
  SmallVector<int64_t> shape{sx[0]}, reduced{channels};
  if (grouped)
    shape.push_back(groups);
  shape.push_back(filters);
  llvm::append_range(shape, out);
  llvm::append_range(reduced, sw.drop_front(2));
  unsigned g = 1, m = grouped ? 2 : 1, o = m + 1;
  unsigned c = unsigned(o + spatial), k = c + 1;

  Factor input, filter;
  SmallVector<int64_t> inputShape{sx[0]}, filterShape;
  input.indices = {l.dim(0)};
  if (grouped) {
    inputShape.push_back(groups);
    input.indices.push_back(l.dim(g));
    filterShape.push_back(groups);
    filter.indices.push_back(l.dim(g));
  }
  inputShape.push_back(channels);
  input.indices.push_back(l.dim(c));
  if (transposed) {
    filterShape.append({channels, filters});
    filter.indices.append({l.dim(c), l.dim(m)});
  } else {
    filterShape.append({filters, channels});
    filter.indices.append({l.dim(m), l.dim(c)});
  }
  for (int64_t i = 0; i < spatial; ++i) {
    inputShape.push_back(sx[i + 2]);
    input.indices.push_back(l.dim(o + i) * strides[i] +
                            l.dim(k + i) * dilations[i]);
    filterShape.push_back(sw[i + 2]);
    filter.indices.push_back(l.dim(k + i));
  }
  input.tensor = l.reshape(x, inputShape);
  filter.tensor = l.reshape(w, filterShape);
  Value y = l.contract(shape, reduced, {input, filter}, element);
  SmallVector<int64_t> result{sx[0], groups * filters};
  llvm::append_range(result, out);
  return l.reshape(y, result);
}

Value addChannelBias(Lowering &l, Value y, Value bias) {
  if (!bias || !y)
    return y;
  if (Lowering::rank(bias) != 1 ||
      Lowering::shape(bias)[0] != Lowering::shape(y)[1])
    return {};
  SmallVector<int64_t> shape(Lowering::rank(y) - 1, 1);
  shape[0] = Lowering::shape(bias)[0];
  bias = l.cast(l.reshape(bias, shape), Lowering::elementOf(y));
  return l.map(y, bias,
               [](const Expr &e, ValueRange v) { return e.add(v[0], v[1]); });
}

Value convolution(Lowering &l, Value x, Value w, Type element) {
  ArrayRef<int64_t> sx = Lowering::shape(x), sw = Lowering::shape(w);
  int64_t groups = l.node.getInt("group", 1);
  if (sx.size() < 3 || sw.size() != sx.size() || groups <= 0 ||
      sx[1] % groups || sw[0] % groups || sw[1] != sx[1] / groups)
    return {};
  auto window = Windows::of(l, sx.drop_front(2), sw.drop_front(2));
  if (!window)
    return {};
  x = padSpatial(l, x, window->low, window->high);
  return convolve(l, x, w, groups, window->strides, window->dilations,
                  window->out, element);
}

static Results conv(Lowering &l) {
  Type element = l.out().getElementType();
  auto small = dyn_cast<FloatType>(element);
  Type sum = small && small.getWidth() < 32 ? l.b.getF32Type() : element;
  Value y = addChannelBias(l, convolution(l, l.in(0), l.in(1), sum), l.in(2));
  return y ? one(l.cast(y, element)) : Results(failure());
}

static Results convTranspose(Lowering &l) {
  Value x = l.in(0), w = l.in(1);
  ArrayRef<int64_t> sx = Lowering::shape(x), sw = Lowering::shape(w);
  int64_t groups = l.node.getInt("group", 1), spatial = int64_t(sx.size()) - 2;
  if (spatial < 1 || sw.size() != sx.size() || groups <= 0 || sx[1] % groups ||
      sw[0] != sx[1])
    return failure();
  SmallVector<int64_t> ones(spatial, 1), zeros(spatial, 0),
      noPads(2 * spatial, 0);
  auto strides = l.node.getInts("strides").value_or(ones);
  auto dilations = l.node.getInts("dilations").value_or(ones);
  auto extra = l.node.getInts("output_padding").value_or(zeros);
  auto pads = l.node.getInts("pads").value_or(noPads);
  StringRef mode = l.node.getString("auto_pad", "NOTSET");
  RankedTensorType type = l.out();
  if (int64_t(strides.size()) != spatial ||
      int64_t(dilations.size()) != spatial ||
      int64_t(extra.size()) != spatial || int64_t(pads.size()) != 2 * spatial ||
      type.getRank() != spatial + 2)
    return failure();
  // Zeros between the elements, then a plain convolution with the filter turned
  // round.
  SmallVector<int64_t> spread{sx[0], sx[1]}, steps{1, 1}, low, high;
  SmallVector<int64_t> out(type.getShape().drop_front(2));
  bool givenShape = l.node->hasAttr("output_shape") || mode.starts_with("SAME");
  for (int64_t i = 0; i < spatial; ++i) {
    if (strides[i] <= 0 || dilations[i] <= 0 || sx[i + 2] == 0)
      return failure();
    int64_t reach = (sw[i + 2] - 1) * dilations[i];
    spread.push_back((sx[i + 2] - 1) * strides[i] + 1);
    steps.push_back(strides[i]);
    int64_t before = mode == "VALID" ? 0 : pads[i];
    if (givenShape) {
      int64_t total =
          std::max<int64_t>(0, spread.back() + reach + extra[i] - out[i]);
      before = mode == "SAME_UPPER" ? total / 2 : total - total / 2;
      if (!mode.starts_with("SAME"))
        before = total / 2;
    }
    low.push_back(reach - before);
    high.push_back(out[i] + reach - spread.back() - low.back());
  }
  // The filter turned round.
  Value turned =
      l.generate(sw, Lowering::elementOf(w), [&](const Expr &e, ValueRange i) {
        SmallVector<Value> at(i);
        for (int64_t d = 0; d < spatial; ++d)
          at[d + 2] = e.sub(e.index(sw[d + 2] - 1), i[d + 2]);
        return e.extract(w, at);
      });
  Value zero = l.filled(spread, Lowering::elementOf(x), 0);
  Value y = padSpatial(
      l, l.insert(x, zero, SmallVector<int64_t>(sx.size(), 0), steps), low,
      high);
  if (!y)
    return failure();
  Type element = type.getElementType();
  y = convolve(l, y, turned, groups, ones, dilations, out, element,
               /*transposed=*/true);
  return one(addChannelBias(l, y, l.in(2)));
}

void addConvolutions(Table &t) {
  t["Conv"] = conv;
  t["ConvTranspose"] = convTranspose;
}

} // namespace effc::lower
