//===- Losses.cpp - losses of classifiers ---------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Indexing.h"
#include "Products.h"

using namespace mlir;

namespace effc::lower {

/// `-weight[target] x[n, target, d..]`, 0 for the ignored class; then the sum,
/// the weighted mean, or as it is.
static Value negativeLogLikelihood(Lowering &l, Value x, Value target,
                                   Value weight) {
  ArrayRef<int64_t> sx = Lowering::shape(x), shape = Lowering::shape(target);
  if (!x || !target || isa<FloatType>(Lowering::elementOf(target)) ||
      sx.size() < 2 || shape.size() + 1 != sx.size() || sx[1] == 0)
    return {};
  int64_t classes = sx[1], ignored = l.node.getInt("ignore_index", 0);
  bool canIgnore = l.node->hasAttr("ignore_index");
  Type element = Lowering::elementOf(x);
  auto classOf = [&](const Expr &e, ValueRange i) {
    return position(e, e.extract(target, i), classes);
  };
  auto unlessIgnored = [&](const Expr &e, ValueRange i, Value value) {
    if (!canIgnore)
      return value;
    Value raw = e.extract(target, i);
    Value is = e.compare(Compare::EQ, raw, e.integer(raw.getType(), ignored));
    return e.select(is, e.constant(element, 0), value);
  };
  Value weights = l.generate(shape, element, [&](const Expr &e, ValueRange i) {
    Value w = weight ? e.cast(e.extract(weight, classOf(e, i)), element)
                     : e.constant(element, 1);
    return unlessIgnored(e, i, w);
  });
  Value losses = l.generate(shape, element, [&](const Expr &e, ValueRange i) {
    SmallVector<Value> at(i);
    at.insert(at.begin() + 1, classOf(e, i));
    return unlessIgnored(e, i,
                         e.neg(e.mul(e.extract(x, at), e.extract(weights, i))));
  });
  StringRef how = l.node.getString("reduction", "mean");
  if (how == "none")
    return losses;
  SmallVector<int64_t> all;
  for (size_t i = 0; i < shape.size(); ++i)
    all.push_back(int64_t(i));
  Value sum = l.sum(losses, all, false);
  if (how == "sum")
    return sum;
  return l.map(sum, l.sum(weights, all, false),
               [](const Expr &e, ValueRange v) { return e.div(v[0], v[1]); });
}

static Results nllLoss(Lowering &l) {
  if (!Lowering::isFloat(l.in(0)))
    return failure();
  Value y = negativeLogLikelihood(l, l.widened(l.in(0)), l.in(1), l.in(2));
  return y ? one(l.cast(y, l.out().getElementType())) : Results(failure());
}

static Results softmaxCrossEntropy(Lowering &l) {
  Value x = l.in(0);
  if (!Lowering::isFloat(x) || Lowering::rank(x) < 2)
    return failure();
  Value logs = logSoftmax(l, l.widened(x), 1);
  Value y = negativeLogLikelihood(l, logs, l.in(1), l.in(2));
  if (!y)
    return failure();
  SmallVector<Value> results{l.cast(y, l.out().getElementType())};
  if (l.out(1))
    results.push_back(l.cast(logs, l.out(1).getElementType()));
  return results;
}

void addLosses(Table &t) {
  t["NegativeLogLikelihoodLoss"] = nllLoss;
  t["SoftmaxCrossEntropyLoss"] = softmaxCrossEntropy;
}

} // namespace effc::lower
