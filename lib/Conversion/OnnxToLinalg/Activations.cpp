//===- Activations.cpp - activation functions -----------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Lowering.h"

using namespace mlir;

namespace effc::lower {

/// Elementwise on one float operand; 16-bit floats are computed in f32.
static Results activation(Lowering &l, ScalarFn fn) {
  Value x = l.in(0);
  if (!Lowering::isFloat(x))
    return failure();
  Value y = l.map(l.widened(x), fn);
  return one(l.cast(y, Lowering::elementOf(x)));
}

template <Value (*fn)(const Expr &, Value)>
static Results activation(Lowering &l) {
  return activation(l, [](const Expr &e, ValueRange v) { return fn(e, v[0]); });
}

static Value sigmoid(const Expr &e, Value x) { return e.sigmoid(x); }
static Value softplus(const Expr &e, Value x) { return e.softplus(x); }
static Value softsign(const Expr &e, Value x) {
  return e.div(x, e.plus(e.abs(x), 1));
}
static Value mish(const Expr &e, Value x) {
  return e.mul(x, e.op<math::TanhOp>(e.softplus(x)));
}
static Value hardSwish(const Expr &e, Value x) {
  Value gate = e.plus(e.scale(x, 1.0 / 6), 0.5);
  gate = e.max(gate, e.constant(x.getType(), 0));
  return e.mul(x, e.min(gate, e.constant(x.getType(), 1)));
}

/// `x / 2 * (1 + erf(x / sqrt 2))`.
static Value geluErf(const Expr &e, Value x) {
  Value inner = e.op<math::ErfOp>(e.scale(x, 0.70710678118654752440));
  return e.mul(e.scale(x, 0.5), e.plus(inner, 1));
}
/// `x / 2 * (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`.
static Value geluTanh(const Expr &e, Value x) {
  Value cube = e.mul(e.mul(x, x), x);
  Value inner = e.add(x, e.scale(cube, 0.044715));
  inner = e.op<math::TanhOp>(e.scale(inner, 0.79788456080286535588));
  return e.mul(e.scale(x, 0.5), e.plus(inner, 1));
}

static Results gelu(Lowering &l) {
  if (l.node.getString("approximate", "none") == "tanh")
    return activation<geluTanh>(l);
  return activation<geluErf>(l);
}

/// com.microsoft: a bias is added first.
template <Value (*fn)(const Expr &, Value)> static Results biased(Lowering &l) {
  Value x = l.in(0);
  if (!Lowering::isFloat(x))
    return failure();
  Value bias = l.in(1);
  Value y = l.widened(x);
  if (bias)
    y = l.map(y, l.widened(bias),
              [](const Expr &e, ValueRange v) { return e.add(v[0], v[1]); });
  if (!y)
    return failure();
  y = l.map(y, [](const Expr &e, ValueRange v) { return fn(e, v[0]); });
  return one(l.cast(y, Lowering::elementOf(x)));
}

static Results relu(Lowering &l) {
  if (l.isUnsigned(0))
    return one(l.in(0));
  return one(l.map(l.in(0), [](const Expr &e, ValueRange v) {
    return e.max(v[0], e.constant(v[0].getType(), 0));
  }));
}

static Results leakyRelu(Lowering &l) {
  double alpha = l.node.getFloat("alpha", 0.01f);
  return activation(l, [&](const Expr &e, ValueRange v) {
    Value negative =
        e.compare(Compare::LT, v[0], e.constant(v[0].getType(), 0));
    return e.select(negative, e.scale(v[0], alpha), v[0]);
  });
}

static Results thresholdedRelu(Lowering &l) {
  double alpha = l.node.getFloat("alpha", 1.0f);
  return activation(l, [&](const Expr &e, ValueRange v) {
    Value above =
        e.compare(Compare::GT, v[0], e.constant(v[0].getType(), alpha));
    return e.select(above, v[0], e.constant(v[0].getType(), 0));
  });
}

/// `x > 0 ? gain x : gain alpha (exp(x / width) - 1)`.
static Results exponential(Lowering &l, double gain, double alpha,
                           double width) {
  return activation(l, [&](const Expr &e, ValueRange v) {
    Value x = v[0];
    Value negative = e.plus(e.exp(e.scale(x, 1 / width)), -1);
    Value positive = e.compare(Compare::GT, x, e.constant(x.getType(), 0));
    return e.select(positive, e.scale(x, gain),
                    e.scale(negative, gain * alpha));
  });
}

static Results elu(Lowering &l) {
  return exponential(l, 1, l.node.getFloat("alpha", 1.0f), 1);
}
static Results selu(Lowering &l) {
  return exponential(l, l.node.getFloat("gamma", 1.05070102214813232421875f),
                     l.node.getFloat("alpha", 1.67326319217681884765625f), 1);
}
static Results celu(Lowering &l) {
  double alpha = l.node.getFloat("alpha", 1.0f);
  return alpha == 0 ? Results(failure()) : exponential(l, 1, alpha, alpha);
}

static Results hardSigmoid(Lowering &l) {
  double alpha = l.node.getFloat("alpha", 0.2f);
  double beta = l.node.getFloat("beta", 0.5f);
  return activation(l, [&](const Expr &e, ValueRange v) {
    Value y = e.plus(e.scale(v[0], alpha), beta);
    y = e.min(y, e.constant(y.getType(), 1));
    return e.max(y, e.constant(y.getType(), 0));
  });
}

static Results shrink(Lowering &l) {
  double bias = l.node.getFloat("bias", 0.0f);
  double lambda = l.node.getFloat("lambd", 0.5f);
  return one(l.map(l.in(0), [&](const Expr &e, ValueRange v) {
    Type type = v[0].getType();
    Value below = e.compare(Compare::LT, v[0], e.constant(type, -lambda));
    Value above = e.compare(Compare::GT, v[0], e.constant(type, lambda));
    Value high = e.select(above, e.plus(v[0], -bias), e.constant(type, 0));
    return e.select(below, e.plus(v[0], bias), high);
  }));
}

/// `x sigmoid(alpha x)`.
static Results swish(Lowering &l, double alpha) {
  return activation(l, [&](const Expr &e, ValueRange v) {
    Value inner = alpha == 1 ? v[0] : e.scale(v[0], alpha);
    return e.mul(v[0], e.sigmoid(inner));
  });
}

/// `swish(gate) up`: two operands, or the halves of the last dimension.
static Results swiglu(Lowering &l) {
  Value gate = l.in(0), up = l.in(1);
  if (!Lowering::isFloat(gate))
    return failure();
  if (!up) {
    int64_t last = Lowering::rank(gate) - 1;
    std::optional<int64_t> axis =
        normalAxis(l.node.getInt("axis", -1), last + 1);
    if (!axis || Lowering::shape(gate)[*axis] % 2)
      return failure();
    int64_t half = Lowering::shape(gate)[*axis] / 2;
    up = l.sliceAxis(gate, *axis, half, half);
    gate = l.sliceAxis(gate, *axis, 0, half);
  }
  double alpha = l.node.getFloat("alpha", 1.0f);
  Value y =
      l.map(l.widened(gate), l.widened(up), [&](const Expr &e, ValueRange v) {
        Value inner = alpha == 1 ? v[0] : e.scale(v[0], alpha);
        return e.mul(e.mul(v[0], e.sigmoid(inner)), v[1]);
      });
  if (!y)
    return failure();
  return one(l.cast(y, l.out().getElementType()));
}

void addActivations(Table &t) {
  t["Relu"] = relu;
  t["LeakyRelu"] = leakyRelu;
  t["ThresholdedRelu"] = thresholdedRelu;
  t["Elu"] = elu;
  t["Selu"] = selu;
  t["Celu"] = celu;
  t["Sigmoid"] = activation<sigmoid>;
  t["HardSigmoid"] = hardSigmoid;
  t["HardSwish"] = activation<hardSwish>;
  t["Softplus"] = activation<softplus>;
  t["Softsign"] = activation<softsign>;
  t["Mish"] = activation<mish>;
  t["Shrink"] = shrink;
  t["Gelu"] = gelu;
  t["Swish"] = [](Lowering &l) {
    return swish(l, l.node.getFloat("alpha", 1.0f));
  };
  t["SwiGLU"] = swiglu;
  t["com.microsoft.Gelu"] = biased<geluErf>;
  t["com.microsoft.BiasGelu"] = biased<geluErf>;
  t["com.microsoft.FastGelu"] = biased<geluTanh>;
  t["com.microsoft.QuickGelu"] = [](Lowering &l) {
    return swish(l, l.node.getFloat("alpha", 1.702f));
  };
}

} // namespace effc::lower
