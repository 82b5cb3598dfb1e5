//===- NodeBuilder.cpp - new nodes in an onnx graph -----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "NodeBuilder.h"

#include "effc/Frontend/ONNX/HostTensor.h"

using namespace mlir;
using namespace effc;
using namespace effc::raise;

onnx::NodeOp NodeBuilder::node(StringRef type, ArrayRef<Value> operands,
                               ArrayRef<Type> results,
                               ArrayRef<NamedAttribute> attributes,
                               StringRef domain) {
  auto op = onnx::NodeOp::create(
      b, loc, results, operands, b.getStringAttr(type), b.getStringAttr(domain),
      b.getI64IntegerAttr(domain.empty() ? 18 : 1), b.getStrArrayAttr({}), 0);
  for (NamedAttribute a : attributes)
    op->setAttr(a.getName(), a.getValue());
  return op;
}

Value NodeBuilder::ints(ArrayRef<int64_t> values) {
  auto type = RankedTensorType::get({int64_t(values.size())}, b.getI64Type());
  return onnx::ConstantOp::create(b, loc, type, b.getStringAttr(""),
                                  DenseElementsAttr::get(type, values));
}

Value NodeBuilder::zeros(ArrayRef<int64_t> shape, Type element) {
  auto type = RankedTensorType::get(shape, element);
  return onnx::ConstantOp::create(
      b, loc, type, b.getStringAttr(""),
      DenseElementsAttr::get(type, b.getZeroAttr(element)));
}

Value NodeBuilder::reshape(Value v, ArrayRef<int64_t> shape) {
  if (Graph::shape(v) == shape)
    return v;
  return node("Reshape", {v, ints(shape)},
              {RankedTensorType::get(shape, Graph::elementType(v))})
      ->getResult(0);
}

Value NodeBuilder::transpose(Value v, ArrayRef<int64_t> perm) {
  bool same = true;
  SmallVector<int64_t> shape;
  for (auto [i, p] : llvm::enumerate(perm)) {
    same &= int64_t(i) == p;
    shape.push_back(Graph::shape(v)[p]);
  }
  if (same)
    return v;
  return node("Transpose", {v},
              {RankedTensorType::get(shape, Graph::elementType(v))},
              {b.getNamedAttr("perm", b.getDenseI64ArrayAttr(perm))})
      ->getResult(0);
}

namespace {
/// The factors of a view that move through memory, in the view's order, and
/// their ranks in the order of the memory.
struct Factors {
  SmallVector<int64_t> sizes;  ///< in the view's order
  SmallVector<int64_t> perm;   ///< place in memory of each
  SmallVector<int64_t> memory; ///< sizes in the order of the memory
};
} // namespace

static Factors factorsOf(const View &view) {
  SmallVector<Factor> list;
  for (const auto &dim : view.dims.dims)
    for (Factor f : dim)
      if (f.stride != 0)
        list.push_back(f);
  SmallVector<unsigned> byStride(list.size());
  for (unsigned i = 0; i < list.size(); ++i)
    byStride[i] = i;
  llvm::sort(byStride, [&](unsigned a, unsigned c) {
    return std::make_pair(-list[a].stride, a) <
           std::make_pair(-list[c].stride, c);
  });
  Factors out;
  out.perm.resize(list.size());
  for (auto [place, i] : llvm::enumerate(byStride)) {
    out.perm[i] = place;
    out.memory.push_back(list[i].size);
  }
  for (Factor f : list)
    out.sizes.push_back(f.size);
  return out;
}

/// The permutation that brings `from` to `to` where they differ in the places
/// of dimensions of one element alone.
static std::optional<SmallVector<int64_t>>
unitPermutation(ArrayRef<int64_t> from, ArrayRef<int64_t> to) {
  SmallVector<int64_t> units, others, perm;
  for (auto [i, d] : llvm::enumerate(from))
    (d == 1 ? units : others).push_back(i);
  size_t unit = 0, other = 0;
  for (int64_t d : to) {
    if (d == 1 ? unit == units.size()
               : other == others.size() || from[others[other]] != d)
      return std::nullopt;
    perm.push_back(d == 1 ? units[unit++] : others[other++]);
  }
  return from.size() == to.size() ? std::optional(perm) : std::nullopt;
}

Value NodeBuilder::reorder(Value v, ArrayRef<int64_t> shape) {
  if (auto perm = unitPermutation(Graph::shape(v), shape))
    return transpose(v, *perm);
  return reshape(v, shape);
}

/// The order of the dimensions of `shape` in which a view shows their elements
/// one after the other, dimensions of one element first; nullopt when the view
/// cuts a dimension.
static std::optional<SmallVector<int64_t>>
dimensionOrder(const View &view, ArrayRef<int64_t> shape) {
  SmallVector<Factor> list;
  for (const auto &dim : view.dims.dims)
    for (Factor f : dim)
      if (f.stride != 0)
        list.push_back(f);
  SmallVector<int64_t> perm;
  int64_t stride = 1;
  SmallVector<int64_t> strides(shape.size());
  for (size_t i = shape.size(); i-- > 0; stride *= shape[i])
    strides[i] = stride;
  for (auto [i, d] : llvm::enumerate(shape))
    if (d == 1)
      perm.push_back(i);
  for (Factor f : list) {
    int64_t rest = f.size;
    for (size_t i = 0; i < shape.size(); ++i) {
      bool inside = shape[i] != 1 && strides[i] >= f.stride &&
                    strides[i] < f.stride * f.size;
      if (!inside)
        continue;
      if (strides[i] * shape[i] > f.stride * f.size || rest % shape[i] != 0)
        return std::nullopt;
      rest /= shape[i];
      perm.push_back(i);
    }
    if (rest != 1)
      return std::nullopt;
  }
  return perm.size() == shape.size() ? std::optional(perm) : std::nullopt;
}

static SmallVector<int64_t> permuted(ArrayRef<int64_t> shape,
                                     ArrayRef<int64_t> perm) {
  SmallVector<int64_t> out;
  for (int64_t p : perm)
    out.push_back(shape[p]);
  return out;
}

static SmallVector<int64_t> inverseOf(ArrayRef<int64_t> perm) {
  SmallVector<int64_t> inverse(perm.size());
  for (auto [i, p] : llvm::enumerate(perm))
    inverse[p] = i;
  return inverse;
}

Value NodeBuilder::tensor(const View &view) {
  SmallVector<int64_t> shape = view.dims.shape();
  Factors f = factorsOf(view);
  if (llvm::is_sorted(f.perm))
    return reorder(view.base, shape);
  if (auto perm = dimensionOrder(view, Graph::shape(view.base)))
    return reshape(transpose(view.base, *perm), shape);
  return reshape(transpose(reshape(view.base, f.memory), f.perm), shape);
}

Value NodeBuilder::underlying(Value v, const View &view,
                              ArrayRef<int64_t> shape) {
  Factors f = factorsOf(view);
  if (llvm::is_sorted(f.perm))
    return reorder(v, shape);
  if (auto perm = dimensionOrder(view, shape))
    return transpose(reshape(v, permuted(shape, *perm)), inverseOf(*perm));
  return reshape(transpose(reshape(v, f.sizes), inverseOf(f.perm)), shape);
}
