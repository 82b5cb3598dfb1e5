//===- ActivationPatterns.cpp - SiLU, Softplus, GELU ----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Exporters spell activations out; each becomes one form, so that later passes
/// meet one.
///
//===----------------------------------------------------------------------===//

#include "Emitter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

#include <cmath>

using namespace mlir;
using namespace effc;
using namespace effc::raise;

/// x / (1 + exp(-alpha x))
Value effc::raise::emitSilu(OpBuilder &b, Location loc, Value x, double alpha) {
  Value ax = alpha == 1 ? x
                        : arith::MulFOp::create(
                              b, loc, x,
                              Emitter::constant(b, loc, x.getType(), alpha));
  Value e = math::ExpOp::create(b, loc, arith::NegFOp::create(b, loc, ax));
  Value one = Emitter::constant(b, loc, x.getType(), 1);
  return arith::DivFOp::create(b, loc, x,
                               arith::AddFOp::create(b, loc, one, e));
}

/// max(x, 0) + log1p(exp(-|x|)): log(1 + exp(x)) without overflow
Value effc::raise::emitSoftplus(OpBuilder &b, Location loc, Value x) {
  Value zero = Emitter::constant(b, loc, x.getType(), 0);
  Value e = math::ExpOp::create(
      b, loc, arith::NegFOp::create(b, loc, math::AbsFOp::create(b, loc, x)));
  return arith::AddFOp::create(b, loc,
                               arith::MaximumFOp::create(b, loc, x, zero),
                               math::Log1pOp::create(b, loc, e));
}

/// x / 2 * (1 + erf(x / sqrt 2))
static Value emitGelu(OpBuilder &b, Location loc, Value x) {
  auto number = [&](double v) {
    return Emitter::constant(b, loc, x.getType(), v);
  };
  Value erf = math::ErfOp::create(
      b, loc, arith::MulFOp::create(b, loc, x, number(M_SQRT1_2)));
  Value half = arith::MulFOp::create(b, loc, x, number(0.5));
  return arith::MulFOp::create(b, loc, half,
                               arith::AddFOp::create(b, loc, erf, number(1)));
}

/// x / 2 * (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
static Value emitGeluTanh(OpBuilder &b, Location loc, Value x) {
  auto number = [&](double v) {
    return Emitter::constant(b, loc, x.getType(), v);
  };
  Value square = arith::MulFOp::create(b, loc, x, x);
  Value inner = arith::AddFOp::create(
      b, loc, arith::MulFOp::create(b, loc, square, number(0.044715)),
      number(1));
  inner = arith::MulFOp::create(b, loc, arith::MulFOp::create(b, loc, inner, x),
                                number(0.7978845608028654));
  Value half = arith::MulFOp::create(b, loc, x, number(0.5));
  return arith::MulFOp::create(
      b, loc, half,
      arith::AddFOp::create(b, loc, math::TanhOp::create(b, loc, inner),
                            number(1)));
}

Value effc::raise::matchSilu(Graph &g, Value v,
                             SmallVectorImpl<Operation *> &covers) {
  if (auto node = g.node(v, "Swish"); node && node.getFloat("alpha", 1) == 1) {
    covers.push_back(node);
    return node.getInput(0);
  }
  auto mul = g.node(v, "Mul");
  auto pair = g.either(mul, [&](Value s) {
    auto sigmoid = g.node(s, "Sigmoid");
    if (!sigmoid)
      return false;
    Value other = s == mul.getInput(0) ? mul.getInput(1) : mul.getInput(0);
    return g.strip(sigmoid.getInput(0)) == g.strip(other);
  });
  if (!pair)
    return {};
  covers.push_back(mul);
  covers.push_back(g.anyNode(pair->first));
  return pair->second;
}

using Elementwise = Value (*)(OpBuilder &, Location, Value);

static Match unary(onnx::NodeOp root, Value x, Elementwise fn,
                   SmallVector<Operation *> covers) {
  Match m;
  m.needs = {x};
  m.covers = std::move(covers);
  Value out = root->getResult(0);
  m.emit = [=](Emitter &e) {
    e.map(out, {x}, [fn](OpBuilder &b, Location l, ValueRange v) {
      return fn(b, l, v[0]);
    });
    return success();
  };
  return m;
}

static Value plainSilu(OpBuilder &b, Location loc, Value x) {
  return emitSilu(b, loc, x);
}

static std::optional<Match> silu(Graph &g, onnx::NodeOp root) {
  SmallVector<Operation *> covers;
  Value x = matchSilu(g, root->getResult(0), covers);
  if (!x)
    return std::nullopt;
  return unary(root, x, plainSilu, std::move(covers));
}

/// Where(x > threshold, x, Softplus(x)), as PyTorch has it.
static std::optional<Match> thresholdSoftplus(Graph &g, onnx::NodeOp root) {
  auto greater =
      root.is("Where") ? g.node(root.getInput(0), "Greater") : onnx::NodeOp();
  auto softplus =
      greater ? g.node(root.getInput(2), "Softplus") : onnx::NodeOp();
  if (!softplus)
    return std::nullopt;
  Value x = g.strip(root.getInput(1));
  std::optional<double> threshold = g.scalar(greater.getInput(1));
  // From 17 on x and softplus(x) are one f32 number.
  if (g.strip(softplus.getInput(0)) != x || g.strip(greater.getInput(0)) != x ||
      !threshold || *threshold < 17)
    return std::nullopt;
  return unary(root, x, emitSoftplus, {greater, softplus, root});
}

/// The factors of a product tree whose inner products have no other use.
static void collectFactors(Graph &g, Value v, bool top,
                           SmallVectorImpl<Value> &factors,
                           SmallVectorImpl<Operation *> &covers) {
  auto mul = g.node(v, "Mul");
  if (!mul || (!top && !mul->getResult(0).hasOneUse())) {
    factors.push_back(g.strip(v));
    return;
  }
  covers.push_back(mul);
  collectFactors(g, mul.getInput(0), false, factors, covers);
  collectFactors(g, mul.getInput(1), false, factors, covers);
}

/// x * 0.5 * (1 + erf(x / sqrt 2)), the products in any order.
static std::optional<Match> erfGelu(Graph &g, onnx::NodeOp root) {
  if (!root.is("Mul"))
    return std::nullopt;
  SmallVector<Value> factors;
  SmallVector<Operation *> covers;
  collectFactors(g, root->getResult(0), true, factors, covers);
  Value x, inner;
  bool half = false;
  for (Value f : factors) {
    auto add = g.node(f, "Add");
    auto pair = g.either(
        add, [&](Value v) { return static_cast<bool>(g.node(v, "Erf")); });
    if (g.isScalar(f, 0.5) && !half) {
      half = true;
    } else if (pair && g.isScalar(pair->second, 1) && !inner) {
      auto erf = g.node(pair->first, "Erf");
      covers.push_back(add);
      covers.push_back(erf);
      inner = erf.getInput(0);
    } else if (!x) {
      x = f;
    } else {
      return std::nullopt;
    }
  }
  if (!x || !inner || !half)
    return std::nullopt;
  auto scaled = g.anyNode(inner);
  bool divided =
      scaled && scaled.is("Div") && g.isScalar(scaled.getInput(1), M_SQRT2);
  bool multiplied =
      scaled && scaled.is("Mul") && g.isScalar(scaled.getInput(1), M_SQRT1_2);
  if ((!divided && !multiplied) || g.strip(scaled.getInput(0)) != x)
    return std::nullopt;
  covers.push_back(scaled);
  return unary(root, x, emitGelu, std::move(covers));
}

static std::optional<Match> named(Graph &, onnx::NodeOp root) {
  Value x = root.getInput(0);
  if (!x || !Graph::isFloat(x))
    return std::nullopt;
  if (root.is("Softplus"))
    return unary(root, x, emitSoftplus, {root});
  if (root.is("Gelu") || root.is("Gelu", "com.microsoft"))
    return unary(root, x,
                 root.getString("approximate", "none") == "tanh" ? emitGeluTanh
                                                                 : emitGelu,
                 {root});
  if (root.is("FastGelu", "com.microsoft") && !root.getInput(1))
    return unary(root, x, emitGeluTanh, {root});
  if (!root.is("Swish") && !root.is("QuickGelu", "com.microsoft"))
    return std::nullopt;
  double alpha = root.getFloat("alpha", root.is("Swish") ? 1.0f : 1.702f);
  Match m;
  m.needs = {x};
  m.covers = {root};
  Value out = root->getResult(0);
  m.emit = [=](Emitter &e) {
    e.map(out, {x}, [alpha](OpBuilder &b, Location l, ValueRange v) {
      return emitSilu(b, l, v[0], alpha);
    });
    return success();
  };
  return m;
}

void effc::raise::addActivationPatterns(std::vector<RaisePattern> &patterns) {
  patterns.insert(patterns.end(), {silu, thresholdSoftplus, erfGelu, named});
}
