//===- Products.cpp - matrix products and Einsum --------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Products.h"

using namespace mlir;

namespace effc::lower {

Value matmul(Lowering &l, Value a, Value b, Type element) {
  if (Lowering::rank(a) == 0 || Lowering::rank(b) == 0)
    return {};
  bool vectorA = Lowering::rank(a) == 1, vectorB = Lowering::rank(b) == 1;
  if (vectorA)
    a = l.reshape(a, {1, Lowering::shape(a)[0]});
  if (vectorB)
    b = l.reshape(b, {Lowering::shape(b)[0], 1});
  ArrayRef<int64_t> sa = Lowering::shape(a), sb = Lowering::shape(b);
  int64_t k = sa.back();
  if (sb[sb.size() - 2] != k)
    return {};
  auto batch = broadcastShapes({sa.drop_back(2), sb.drop_back(2)});
  if (!batch)
    return {};
  int64_t lead = int64_t(batch->size());
  SmallVector<int64_t> shape(*batch);
  shape.append({sa[sa.size() - 2], sb.back()});
  // Loops: batch.., m, n, k. Repeated dimensions of 1 disappear from the
  // factors.
  auto factor = [&](Value x, AffineExpr row, AffineExpr column) {
    Factor result;
    ArrayRef<int64_t> own = Lowering::shape(x);
    SmallVector<int64_t> kept;
    int64_t ownLead = int64_t(own.size()) - 2;
    for (int64_t i = 0; i < ownLead; ++i) {
      int64_t loop = lead - ownLead + i;
      if (own[i] == 1 && (*batch)[loop] != 1)
        continue;
      kept.push_back(own[i]);
      result.indices.push_back(l.dim(loop));
    }
    kept.append({own[ownLead], own[ownLead + 1]});
    result.indices.append({row, column});
    result.tensor = l.reshape(x, kept);
    return result;
  };
  AffineExpr m = l.dim(lead), n = l.dim(lead + 1), inner = l.dim(lead + 2);
  Value y = l.contract(shape, {k}, {factor(a, m, inner), factor(b, inner, n)},
                       element);
  if (vectorB)
    shape.pop_back();
  if (vectorA)
    shape.erase(shape.begin() + lead);
  return l.reshape(y, shape);
}

static Results matMul(Lowering &l) {
  return one(matmul(l, l.in(0), l.in(1), l.out().getElementType()));
}

static Results gemm(Lowering &l) {
  Value a = l.in(0), b = l.in(1), c = l.in(2);
  if (Lowering::rank(a) != 2 || Lowering::rank(b) != 2)
    return failure();
  bool transA = l.node.getInt("transA", 0), transB = l.node.getInt("transB", 0);
  double alpha = l.node.getFloat("alpha", 1.0f);
  double beta = l.node.getFloat("beta", 1.0f);
  Type element = l.out().getElementType();
  int64_t k = Lowering::shape(a)[transA ? 0 : 1];
  if (Lowering::shape(b)[transB ? 1 : 0] != k ||
      (!isa<FloatType>(element) &&
       (alpha != int64_t(alpha) || beta != int64_t(beta))))
    return failure();
  Factor left{a, {l.dim(0), l.dim(2)}}, right{b, {l.dim(2), l.dim(1)}};
  if (transA)
    std::swap(left.indices[0], left.indices[1]);
  if (transB)
    std::swap(right.indices[0], right.indices[1]);
  // Small floats stay f32 until everything is added.
  auto small = dyn_cast<FloatType>(element);
  Type sum = small && small.getWidth() < 32 ? l.b.getF32Type() : element;
  ArrayRef<int64_t> shape = l.out().getShape();
  Value y = l.contract(
      {Lowering::shape(a)[transA ? 1 : 0], Lowering::shape(b)[transB ? 0 : 1]},
      {k}, {left, right}, sum);
  auto scaled = [&](Value x, double factor) {
    if (factor == 1)
      return x;
    return l.map(
        x, [&](const Expr &e, ValueRange v) { return e.scale(v[0], factor); });
  };
  y = scaled(y, alpha);
  if (c && beta != 0) {
    // Version 6 and before: `broadcast` from the last dimension, as numpy.
    c = scaled(l.cast(c, sum), beta);
    y = l.map(shape, sum, {y, c},
              [](const Expr &e, ValueRange v) { return e.add(v[0], v[1]); });
  }
  return y ? one(l.cast(y, element)) : Results(failure());
}

//===----------------------------------------------------------------------===//
// Einsum
//===----------------------------------------------------------------------===//

/// One side's letters; the ellipsis is '.'.
static std::string letters(StringRef term) {
  std::string result;
  for (size_t i = 0; i < term.size(); ++i) {
    if (term[i] == ' ')
      continue;
    if (term[i] == '.')
      i += 2;
    result.push_back(term[i]);
  }
  return result;
}

static Results einsum(Lowering &l) {
  auto [inputs, output] = l.node.getString("equation", "").split("->");
  SmallVector<StringRef> parts;
  inputs.split(parts, ',');
  if (parts.size() != l.numInputs() || llvm::is_contained(l.operands, Value()))
    return failure();
  SmallVector<std::string> terms;
  for (StringRef part : parts)
    terms.push_back(letters(part));

  // Sizes by letter; the dimensions of the ellipsis are the letters \1, \2, ..
  // from the front.
  int64_t ellipsis = 0;
  for (auto [i, term] : llvm::enumerate(terms))
    if (StringRef(term).contains('.'))
      ellipsis = std::max<int64_t>(ellipsis, Lowering::rank(l.in(i)) -
                                                 int64_t(term.size()) + 1);
  if (ellipsis > 20)
    return failure();
  auto expand = [&](const std::string &term, int64_t dims) {
    std::string result;
    for (char c : term)
      if (c == '.')
        for (int64_t i = ellipsis - dims; i < ellipsis; ++i)
          result.push_back(char(i + 1));
      else
        result.push_back(c);
    return result;
  };
  std::map<char, int64_t> sizes, uses;
  for (auto [i, term] : llvm::enumerate(terms)) {
    ArrayRef<int64_t> shape = Lowering::shape(l.in(i));
    term = expand(term, int64_t(shape.size()) - int64_t(term.size()) + 1);
    if (term.size() != shape.size())
      return failure();
    for (auto [letter, size] : llvm::zip(term, shape)) {
      int64_t &known = sizes.emplace(letter, size).first->second;
      ++uses[letter];
      if (known == 1)
        known = size;
      else if (size != 1 && size != known)
        return failure();
    }
  }
  std::string result;
  if (l.node.getString("equation", "").contains("->")) {
    result = expand(letters(output), ellipsis);
  } else {
    // The ellipsis, then letters that occur once, in order.
    result = expand(".", ellipsis);
    for (auto [letter, count] : uses)
      if (count == 1 && letter > 20)
        result.push_back(letter);
  }
  std::map<char, unsigned> loops;
  SmallVector<int64_t> shape, reduced;
  for (char letter : result) {
    if (!sizes.count(letter) || loops.count(letter))
      return failure();
    unsigned loop = loops.size();
    loops[letter] = loop;
    shape.push_back(sizes[letter]);
  }
  for (auto [letter, size] : sizes)
    if (!loops.count(letter)) {
      unsigned loop = loops.size();
      loops[letter] = loop;
      reduced.push_back(size);
    }
  SmallVector<Factor> factors;
  for (auto [i, term] : llvm::enumerate(terms)) {
    Factor factor;
    SmallVector<int64_t> kept;
    for (auto [letter, size] : llvm::zip(term, Lowering::shape(l.in(i)))) {
      if (size == 1 && sizes[letter] != 1)
        continue;
      kept.push_back(size);
      factor.indices.push_back(l.dim(loops[letter]));
    }
    factor.tensor = l.reshape(l.in(i), kept);
    factors.push_back(std::move(factor));
  }
  return one(l.contract(shape, reduced, factors, l.out().getElementType()));
}

void addProducts(Table &t) {
  t["MatMul"] = matMul;
  t["Gemm"] = gemm;
  t["Einsum"] = einsum;
}

} // namespace effc::lower
