//===- ElementwisePatterns.cpp - one element at a time --------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;
using namespace effc;
using namespace effc::raise;

using ScalarBuilder = Value (*)(OpBuilder &, Location, ValueRange);

template <typename Op> static Value op1(OpBuilder &b, Location l, ValueRange v) { return Op::create(b, l, v[0]); }
template <typename Op> static Value op2(OpBuilder &b, Location l, ValueRange v) { return Op::create(b, l, v[0], v[1]); }
template <arith::CmpFPredicate P> static Value cmpF(OpBuilder &b, Location l, ValueRange v) {
  return arith::CmpFOp::create(b, l, P, v[0], v[1]);
}
template <arith::CmpIPredicate P> static Value cmpI(OpBuilder &b, Location l, ValueRange v) {
  return arith::CmpIOp::create(b, l, P, v[0], v[1]);
}
static Value number(OpBuilder &b, Location l, Value like, double v) {
  return Emitter::constant(b, l, like.getType(), v);
}

static Value sigmoid(OpBuilder &b, Location l, ValueRange v) {
  Value e = math::ExpOp::create(b, l, arith::NegFOp::create(b, l, v[0])), one = number(b, l, v[0], 1);
  return arith::DivFOp::create(b, l, one, arith::AddFOp::create(b, l, one, e));
}
static Value reciprocal(OpBuilder &b, Location l, ValueRange v) {
  return arith::DivFOp::create(b, l, number(b, l, v[0], 1), v[0]);
}
static Value relu(OpBuilder &b, Location l, ValueRange v) {
  return arith::MaximumFOp::create(b, l, v[0], number(b, l, v[0], 0));
}
static Value isNaN(OpBuilder &b, Location l, ValueRange v) {
  return arith::CmpFOp::create(b, l, arith::CmpFPredicate::UNO, v[0], v[0]);
}
static Value logicalNot(OpBuilder &b, Location l, ValueRange v) {
  return arith::XOrIOp::create(b, l, v[0], number(b, l, v[0], 1));
}
static Value negI(OpBuilder &b, Location l, ValueRange v) {
  return arith::SubIOp::create(b, l, number(b, l, v[0], 0), v[0]);
}
static Value softsign(OpBuilder &b, Location l, ValueRange v) {
  Value d = arith::AddFOp::create(b, l, number(b, l, v[0], 1), math::AbsFOp::create(b, l, v[0]));
  return arith::DivFOp::create(b, l, v[0], d);
}
static Value sign(OpBuilder &b, Location l, ValueRange v) {
  Value zero = number(b, l, v[0], 0), one = number(b, l, v[0], 1), minus = number(b, l, v[0], -1);
  Value up = arith::CmpFOp::create(b, l, arith::CmpFPredicate::OGT, v[0], zero);
  Value down = arith::CmpFOp::create(b, l, arith::CmpFPredicate::OLT, v[0], zero);
  return arith::SelectOp::create(b, l, up, one, arith::SelectOp::create(b, l, down, minus, zero));
}
static Value mish(OpBuilder &b, Location l, ValueRange v) {
  return arith::MulFOp::create(b, l, v[0], math::TanhOp::create(b, l, emitSoftplus(b, l, v[0])));
}
static Value select(OpBuilder &b, Location l, ValueRange v) { return arith::SelectOp::create(b, l, v[0], v[1], v[2]); }
static Value power(OpBuilder &b, Location l, ValueRange v) { return math::PowFOp::create(b, l, v[0], v[1]); }
/// Modulo with the divisor's sign, as numpy's.
static Value modI(OpBuilder &b, Location l, ValueRange v) {
  Value r = arith::RemSIOp::create(b, l, v[0], v[1]), zero = number(b, l, v[0], 0);
  Value other = arith::CmpIOp::create(b, l, arith::CmpIPredicate::slt, arith::XOrIOp::create(b, l, r, v[1]), zero);
  Value some = arith::CmpIOp::create(b, l, arith::CmpIPredicate::ne, r, zero);
  Value fix = arith::AndIOp::create(b, l, other, some);
  return arith::SelectOp::create(b, l, fix, arith::AddIOp::create(b, l, r, v[1]), r);
}

namespace {
/// How an operator computes on floats, signed integers, unsigned ones and booleans; null where it cannot.
struct Elementwise {
  StringRef name;
  unsigned operands;
  ScalarBuilder onFloats, onInts, onUnsigned, onBools;
};
} // namespace

using F = arith::CmpFPredicate;
using I = arith::CmpIPredicate;
static const Elementwise table[] = {
    {"Abs", 1, op1<math::AbsFOp>, op1<math::AbsIOp>, nullptr, nullptr},
    {"Acos", 1, op1<math::AcosOp>, nullptr, nullptr, nullptr},
    {"Acosh", 1, op1<math::AcoshOp>, nullptr, nullptr, nullptr},
    {"Asin", 1, op1<math::AsinOp>, nullptr, nullptr, nullptr},
    {"Asinh", 1, op1<math::AsinhOp>, nullptr, nullptr, nullptr},
    {"Atan", 1, op1<math::AtanOp>, nullptr, nullptr, nullptr},
    {"Atanh", 1, op1<math::AtanhOp>, nullptr, nullptr, nullptr},
    {"Ceil", 1, op1<math::CeilOp>, nullptr, nullptr, nullptr},
    {"Cos", 1, op1<math::CosOp>, nullptr, nullptr, nullptr},
    {"Cosh", 1, op1<math::CoshOp>, nullptr, nullptr, nullptr},
    {"Erf", 1, op1<math::ErfOp>, nullptr, nullptr, nullptr},
    {"Exp", 1, op1<math::ExpOp>, nullptr, nullptr, nullptr},
    {"Floor", 1, op1<math::FloorOp>, nullptr, nullptr, nullptr},
    {"IsNaN", 1, isNaN, nullptr, nullptr, nullptr},
    {"Log", 1, op1<math::LogOp>, nullptr, nullptr, nullptr},
    {"Mish", 1, mish, nullptr, nullptr, nullptr},
    {"Neg", 1, op1<arith::NegFOp>, negI, nullptr, nullptr},
    {"Not", 1, nullptr, nullptr, nullptr, logicalNot},
    {"Reciprocal", 1, reciprocal, nullptr, nullptr, nullptr},
    {"Relu", 1, relu, nullptr, nullptr, nullptr},
    {"Round", 1, op1<math::RoundEvenOp>, nullptr, nullptr, nullptr},
    {"Sigmoid", 1, sigmoid, nullptr, nullptr, nullptr},
    {"Sign", 1, sign, nullptr, nullptr, nullptr},
    {"Sin", 1, op1<math::SinOp>, nullptr, nullptr, nullptr},
    {"Sinh", 1, op1<math::SinhOp>, nullptr, nullptr, nullptr},
    {"Softsign", 1, softsign, nullptr, nullptr, nullptr},
    {"Sqrt", 1, op1<math::SqrtOp>, nullptr, nullptr, nullptr},
    {"Tan", 1, op1<math::TanOp>, nullptr, nullptr, nullptr},
    {"Tanh", 1, op1<math::TanhOp>, nullptr, nullptr, nullptr},
    {"Add", 2, op2<arith::AddFOp>, op2<arith::AddIOp>, op2<arith::AddIOp>, nullptr},
    {"Sub", 2, op2<arith::SubFOp>, op2<arith::SubIOp>, op2<arith::SubIOp>, nullptr},
    {"Mul", 2, op2<arith::MulFOp>, op2<arith::MulIOp>, op2<arith::MulIOp>, nullptr},
    {"Div", 2, op2<arith::DivFOp>, op2<arith::DivSIOp>, op2<arith::DivUIOp>, nullptr},
    {"Pow", 2, power, nullptr, nullptr, nullptr},
    {"Mod", 2, op2<arith::RemFOp>, modI, op2<arith::RemUIOp>, nullptr},
    {"And", 2, nullptr, nullptr, nullptr, op2<arith::AndIOp>},
    {"Or", 2, nullptr, nullptr, nullptr, op2<arith::OrIOp>},
    {"Xor", 2, nullptr, nullptr, nullptr, op2<arith::XOrIOp>},
    {"Equal", 2, cmpF<F::OEQ>, cmpI<I::eq>, cmpI<I::eq>, cmpI<I::eq>},
    {"Greater", 2, cmpF<F::OGT>, cmpI<I::sgt>, cmpI<I::ugt>, nullptr},
    {"GreaterOrEqual", 2, cmpF<F::OGE>, cmpI<I::sge>, cmpI<I::uge>, nullptr},
    {"Less", 2, cmpF<F::OLT>, cmpI<I::slt>, cmpI<I::ult>, nullptr},
    {"LessOrEqual", 2, cmpF<F::OLE>, cmpI<I::sle>, cmpI<I::ule>, nullptr},
    // Any number of operands, two at a time.
    {"Max", 0, op2<arith::MaximumFOp>, op2<arith::MaxSIOp>, op2<arith::MaxUIOp>, nullptr},
    {"Min", 0, op2<arith::MinimumFOp>, op2<arith::MinSIOp>, op2<arith::MinUIOp>, nullptr},
    {"Sum", 0, op2<arith::AddFOp>, nullptr, nullptr, nullptr},
    {"Where", 3, select, select, select, select},
};

/// How an op computes on this element type.
static ScalarBuilder builderFor(const Elementwise &e, Type type) {
  if (isa<FloatType>(type))
    return e.onFloats;
  if (type.isInteger(1))
    return e.onBools;
  return type.isUnsignedInteger() ? e.onUnsigned : e.onInts;
}

static std::optional<Match> simple(Graph &g, onnx::NodeOp root) {
  if (!root.getDomain().empty() || root->getNumResults() != 1)
    return std::nullopt;
  auto entry = llvm::find_if(table, [&](const Elementwise &e) { return e.name == root.getOpType(); });
  if (entry == std::end(table) || root->getNumOperands() == 0 ||
      (entry->operands != 0 && root->getNumOperands() != entry->operands))
    return std::nullopt;
  SmallVector<Value> operands;
  for (unsigned i = 0; i < root->getNumOperands(); ++i) {
    if (!root.getInput(i))
      return std::nullopt;
    operands.push_back(root.getInput(i));
  }
  ScalarBuilder build = builderFor(*entry, Graph::elementType(operands.back()));
  // Mod of floats truncates only with fmod; integers with it keep the dividend's sign.
  if (root.is("Mod") && (root.getInt("fmod", 0) != 0) != Graph::isFloat(operands[0]))
    return std::nullopt;
  if (root.is("Pow") && Graph::elementType(operands[0]) != Graph::elementType(operands[1]))
    return std::nullopt;
  if (!build)
    return std::nullopt;
  Value out = root->getResult(0);
  bool fold = entry->operands == 0;
  bool square = root.is("Pow") && g.isScalar(operands[1], 2), root2 = root.is("Pow") && g.isScalar(operands[1], 0.5);
  bool cube = root.is("Pow") && g.isScalar(operands[1], 3);
  Match m;
  m.needs = operands;
  m.covers = {root};
  m.emit = [=](Emitter &e) {
    if (square || cube || root2) {
      e.map(out, {operands[0]}, [&](OpBuilder &b, Location l, ValueRange v) -> Value {
        if (root2)
          return math::SqrtOp::create(b, l, v[0]);
        Value s = arith::MulFOp::create(b, l, v[0], v[0]);
        return cube ? arith::MulFOp::create(b, l, s, v[0]) : s;
      });
    } else if (!fold) {
      e.map(out, operands, build);
    } else {
      e.map(out, operands, [&](OpBuilder &b, Location l, ValueRange v) {
        Value acc = v[0];
        for (Value x : v.drop_front())
          acc = build(b, l, ValueRange{acc, x});
        return acc;
      });
    }
    return success();
  };
  return m;
}

//===----------------------------------------------------------------------===//
// With attributes or bounds
//===----------------------------------------------------------------------===//

static std::optional<Match> parametric(Graph &g, onnx::NodeOp root) {
  Value x = root.getInput(0), out = root->getNumResults() == 1 ? root->getResult(0) : Value();
  if (!root.getDomain().empty() || !x || !out || !Graph::isFloat(x))
    return std::nullopt;
  double alpha = 0, beta = 0;
  enum { Leaky, Elu, Celu, HardSigmoid, HardSwish, Thresholded, Selu, Clip } kind;
  if (root.is("LeakyRelu")) {
    kind = Leaky;
    alpha = root.getFloat("alpha", 0.01f);
  } else if (root.is("Elu")) {
    kind = Elu;
    alpha = root.getFloat("alpha", 1.0f);
  } else if (root.is("Celu")) {
    kind = Celu;
    alpha = root.getFloat("alpha", 1.0f);
  } else if (root.is("Selu")) {
    kind = Selu;
    alpha = root.getFloat("alpha", 1.67326319217681884765625f);
    beta = root.getFloat("gamma", 1.05070102214813232421875f);
  } else if (root.is("HardSigmoid") || root.is("HardSwish")) {
    kind = root.is("HardSwish") ? HardSwish : HardSigmoid;
    alpha = kind == HardSwish ? 1.0 / 6 : root.getFloat("alpha", 0.2f);
    beta = root.getFloat("beta", 0.5f);
  } else if (root.is("ThresholdedRelu")) {
    kind = Thresholded;
    alpha = root.getFloat("alpha", 1.0f);
  } else if (root.is("Clip")) {
    kind = Clip;
    alpha = root.getFloat("min", std::numeric_limits<float>::lowest());
    beta = root.getFloat("max", std::numeric_limits<float>::max());
    for (unsigned i : {1u, 2u})
      if (Value bound = root.getInput(i)) {
        auto number = g.scalar(bound);
        if (!number)
          return std::nullopt;
        (i == 1 ? alpha : beta) = *number;
      }
  } else {
    return std::nullopt;
  }
  Match m;
  m.needs = {x};
  m.covers = {root};
  m.emit = [=](Emitter &e) {
    e.map(out, {x}, [&](OpBuilder &b, Location l, ValueRange v) -> Value {
      Value s = v[0], zero = number(b, l, s, 0), one = number(b, l, s, 1);
      auto mul = [&](Value p, double by) -> Value { return arith::MulFOp::create(b, l, p, number(b, l, s, by)); };
      auto max = [&](Value p, Value q) -> Value { return arith::MaximumFOp::create(b, l, p, q); };
      auto min = [&](Value p, Value q) -> Value { return arith::MinimumFOp::create(b, l, p, q); };
      auto positive = [&](Value p, Value yes, Value no) -> Value {
        Value c = arith::CmpFOp::create(b, l, F::OGT, p, zero);
        return arith::SelectOp::create(b, l, c, yes, no);
      };
      auto expm1 = [&](Value p) -> Value { return math::ExpM1Op::create(b, l, p); };
      switch (kind) {
      case Leaky:
        return positive(s, s, mul(s, alpha));
      case Elu:
        return positive(s, s, mul(expm1(s), alpha));
      case Celu:
        return positive(s, s, mul(expm1(mul(s, 1 / alpha)), alpha));
      case Selu:
        return mul(positive(s, s, mul(expm1(s), alpha)), beta);
      case Thresholded: {
        Value c = arith::CmpFOp::create(b, l, F::OGT, s, number(b, l, s, alpha));
        return arith::SelectOp::create(b, l, c, s, zero);
      }
      case Clip:
        return min(max(s, number(b, l, s, alpha)), number(b, l, s, beta));
      case HardSigmoid:
      case HardSwish: {
        Value h = max(zero, min(one, arith::AddFOp::create(b, l, mul(s, alpha), number(b, l, s, beta))));
        return kind == HardSwish ? arith::MulFOp::create(b, l, s, h).getResult() : h;
      }
      }
      return s;
    });
    return success();
  };
  return m;
}

static std::optional<Match> castOp(Graph &, onnx::NodeOp root) {
  if (!root.is("Cast") && !root.is("CastLike"))
    return std::nullopt;
  Value x = root.getInput(0), out = root->getResult(0);
  Type from = Graph::elementType(x), to = Graph::elementType(out);
  auto known = [](Type t) { return isa<FloatType>(t) || (isa<IntegerType>(t) && t.getIntOrFloatBitWidth() <= 64); };
  if (!known(from) || !known(to) || (isa<FloatType>(from) && isa<FloatType>(to)))
    return std::nullopt;
  Type target = Emitter::elementType(to);
  bool fromUnsigned = from.isUnsignedInteger() || from.isInteger(1), toUnsigned = to.isUnsignedInteger();
  Match m;
  m.needs = {x};
  m.covers = {root};
  m.emit = [=](Emitter &e) {
    e.map(out, {x}, [&](OpBuilder &b, Location l, ValueRange v) -> Value {
      Type type = target;
      if (auto shaped = dyn_cast<ShapedType>(v[0].getType()))
        type = shaped.clone(target);
      if (to.isInteger(1)) {
        Value zero = number(b, l, v[0], 0);
        if (isa<FloatType>(from))
          return arith::CmpFOp::create(b, l, F::UNE, v[0], zero);
        return arith::CmpIOp::create(b, l, I::ne, v[0], zero);
      }
      if (isa<FloatType>(from))
        return toUnsigned ? arith::FPToUIOp::create(b, l, type, v[0]).getResult()
                          : arith::FPToSIOp::create(b, l, type, v[0]).getResult();
      if (isa<FloatType>(to))
        return fromUnsigned ? arith::UIToFPOp::create(b, l, type, v[0]).getResult()
                            : arith::SIToFPOp::create(b, l, type, v[0]).getResult();
      unsigned a = from.getIntOrFloatBitWidth(), c = to.getIntOrFloatBitWidth();
      if (a == c)
        return v[0];
      if (a > c)
        return arith::TruncIOp::create(b, l, type, v[0]);
      return fromUnsigned ? arith::ExtUIOp::create(b, l, type, v[0]).getResult()
                          : arith::ExtSIOp::create(b, l, type, v[0]).getResult();
    });
    return success();
  };
  return m;
}

void effc::raise::addElementwisePatterns(std::vector<RaisePattern> &patterns) {
  patterns.insert(patterns.end(), {simple, parametric, castOp});
}
