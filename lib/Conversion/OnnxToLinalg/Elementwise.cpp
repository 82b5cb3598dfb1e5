//===- Elementwise.cpp - arithmetic, comparisons, casts -------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Lowering.h"

#include <cmath>

using namespace mlir;

namespace effc::lower {

//===----------------------------------------------------------------------===//
// One operand
//===----------------------------------------------------------------------===//

using UnaryFn = Value (*)(const Expr &, Value);

template <UnaryFn fn> static Results unary(Lowering &l) {
  return one(
      l.map(l.in(0), [](const Expr &e, ValueRange v) { return fn(e, v[0]); }));
}
template <typename Op> static Value apply(const Expr &e, Value x) {
  return e.op<Op>(x);
}
/// An op on floats that has no meaning for integers but the identity.
template <typename Op> static Results rounding(Lowering &l) {
  return Lowering::isFloat(l.in(0)) ? unary<apply<Op>>(l) : one(l.in(0));
}
template <typename Op> static Results function(Lowering &l) {
  if (!Lowering::isFloat(l.in(0)))
    return failure();
  return unary<apply<Op>>(l);
}

static Results identity(Lowering &l) { return one(l.in(0)); }

static Results absolute(Lowering &l) {
  if (l.isUnsigned(0))
    return one(l.in(0));
  return one(
      l.map(l.in(0), [](const Expr &e, ValueRange v) { return e.abs(v[0]); }));
}

static Results sign(Lowering &l) {
  bool isUnsigned = l.isUnsigned(0);
  return one(l.map(l.in(0), [&](const Expr &e, ValueRange v) {
    Type type = v[0].getType();
    Value zero = e.constant(type, 0);
    // What is neither above nor below is 0 or NaN, and stays.
    Value rest = isUnsigned ? v[0]
                            : e.select(e.compare(Compare::LT, v[0], zero),
                                       e.constant(type, -1), v[0]);
    return e.select(e.compare(Compare::GT, v[0], zero, isUnsigned),
                    e.constant(type, 1), rest);
  }));
}

static Value reciprocal(const Expr &e, Value x) {
  return e.div(e.constant(x.getType(), 1), x);
}
static Value negation(const Expr &e, Value x) { return e.neg(x); }
static Value complement(const Expr &e, Value x) {
  return e.op<arith::XOrIOp>(x, e.integer(x.getType(), -1));
}

static Results isNan(Lowering &l) {
  if (!Lowering::isFloat(l.in(0)))
    return failure();
  return one(l.map(l.b.getI1Type(), {l.in(0)}, [](const Expr &e, ValueRange v) {
    return e.op<arith::CmpFOp>(arith::CmpFPredicate::UNO, v[0], v[0]);
  }));
}

static Results isInf(Lowering &l) {
  if (!Lowering::isFloat(l.in(0)))
    return failure();
  bool negative = l.node.getInt("detect_negative", 1);
  bool positive = l.node.getInt("detect_positive", 1);
  return one(
      l.map(l.b.getI1Type(), {l.in(0)}, [&](const Expr &e, ValueRange v) {
        Value x = v[0];
        Value infinity = e.constant(x.getType(), HUGE_VAL);
        Value minus = e.constant(x.getType(), -HUGE_VAL);
        Value above = e.compare(Compare::EQ, x, infinity);
        Value below = e.compare(Compare::EQ, x, minus);
        if (positive && negative)
          return e.op<arith::OrIOp>(above, below);
        if (positive || negative)
          return positive ? above : below;
        return e.constant(above.getType(), 0);
      }));
}

//===----------------------------------------------------------------------===//
// Two operands
//===----------------------------------------------------------------------===//

/// Operand 1 as versions before 7 align it: its dimensions start at `axis` of
/// operand 0.
static Value second(Lowering &l) {
  Value y = l.in(1);
  if (l.since() >= 7 || !l.node.getInt("broadcast", 0))
    return y;
  int64_t rank = Lowering::rank(l.in(0)), own = Lowering::rank(y);
  int64_t axis = l.node.getInt("axis", rank - own);
  if (axis < 0)
    axis += rank;
  SmallVector<int64_t> shape(Lowering::shape(y));
  if (axis < 0 || axis + own > rank)
    return {};
  shape.append(rank - own - axis, 1);
  return l.reshape(y, shape);
}

static Value binaryMap(Lowering &l, ScalarFn fn) {
  Value y = second(l);
  if (!y)
    return {};
  return l.map(l.out().getElementType(), {l.in(0), y}, fn);
}

static Results addition(Lowering &l) {
  return one(binaryMap(
      l, [](const Expr &e, ValueRange v) { return e.add(v[0], v[1]); }));
}
static Results subtraction(Lowering &l) {
  return one(binaryMap(
      l, [](const Expr &e, ValueRange v) { return e.sub(v[0], v[1]); }));
}
static Results multiplication(Lowering &l) {
  return one(binaryMap(
      l, [](const Expr &e, ValueRange v) { return e.mul(v[0], v[1]); }));
}
static Results division(Lowering &l) {
  bool isUnsigned = l.isUnsigned(0);
  return one(binaryMap(l, [&](const Expr &e, ValueRange v) {
    return e.div(v[0], v[1], isUnsigned);
  }));
}

static Results modulus(Lowering &l) {
  bool isUnsigned = l.isUnsigned(0);
  bool truncates = l.node.getInt("fmod", 0) != 0;
  return one(binaryMap(l, [&](const Expr &e, ValueRange v) {
    Value r = e.rem(v[0], v[1], isUnsigned);
    if (truncates || isUnsigned)
      return r;
    // The result has the divisor's sign.
    Value zero = e.constant(r.getType(), 0);
    Value differ = e.op<arith::XOrIOp>(e.compare(Compare::LT, r, zero),
                                       e.compare(Compare::LT, v[1], zero));
    Value off = e.both(e.compare(Compare::NE, r, zero), differ);
    return e.select(off, e.add(r, v[1]), r);
  }));
}

template <Compare how> static Results comparison(Lowering &l) {
  bool isUnsigned = l.isUnsigned(0);
  return one(binaryMap(l, [&](const Expr &e, ValueRange v) {
    return e.compare(how, v[0], v[1], isUnsigned);
  }));
}

template <typename Op> static Results bits(Lowering &l) {
  return one(binaryMap(
      l, [](const Expr &e, ValueRange v) { return e.op<Op>(v[0], v[1]); }));
}

static Results bitShift(Lowering &l) {
  bool left = l.node.getString("direction", "") == "LEFT";
  return one(binaryMap(l, [&](const Expr &e, ValueRange v) {
    int64_t width =
        getElementTypeOrSelf(v[0].getType()).getIntOrFloatBitWidth();
    Value limit = e.integer(v[1].getType(), width);
    Value inside = e.compare(Compare::LT, v[1], limit, true);
    Value zero = e.integer(v[0].getType(), 0);
    Value by = e.select(inside, v[1], zero);
    Value shifted =
        left ? e.op<arith::ShLIOp>(v[0], by) : e.op<arith::ShRUIOp>(v[0], by);
    return e.select(inside, shifted, zero);
  }));
}

/// `base ^ exponent` of integers, by squaring.
static Value integerPower(const Expr &e, Value base, Value exponent) {
  Type type = base.getType();
  // Beyond 63 only the parity matters: the base is 0, 1 or -1, or the power is
  // 0 modulo 2^64.
  Value one = e.integer(type, 1), zero = e.integer(type, 0);
  Value parity = e.both(exponent, one);
  Value large = e.compare(Compare::GT, exponent, e.integer(type, 63));
  Value bits = e.select(large, e.add(parity, e.integer(type, 62)), exponent);
  Value result = one, square = base;
  for (int bit = 0; bit < 6; ++bit) {
    Value set = e.compare(
        Compare::NE, e.both(bits, e.integer(type, int64_t(1) << bit)), zero);
    result = e.select(set, e.mul(result, square), result);
    if (bit < 5)
      square = e.mul(square, square);
  }
  // 1 / base^n truncates to 0 unless the base is 1 or -1.
  Value negative = e.compare(Compare::LT, exponent, zero);
  Value minusOne = e.integer(type, -1);
  Value ofMinusOne =
      e.select(e.compare(Compare::NE, parity, zero), minusOne, one);
  Value inverse = e.select(
      e.compare(Compare::EQ, base, one), one,
      e.select(e.compare(Compare::EQ, base, minusOne), ofMinusOne, zero));
  return e.select(negative, inverse, result);
}

static Results power(Lowering &l) {
  Type base = Lowering::elementOf(l.in(0));
  bool isUnsigned = l.isUnsigned(1);
  if (isa<FloatType>(base)) {
    // Small constant exponents need no logarithm.
    std::optional<onnx::HostTensor> exponent = l.constant(1);
    if (exponent && exponent->size() == 1 &&
        Lowering::rank(l.in(1)) <= Lowering::rank(l.in(0))) {
      double n = exponent->number(0);
      auto simple = [&](ScalarFn fn) { return one(l.map(l.in(0), fn)); };
      if (n == 1)
        return one(l.in(0));
      if (n == 2)
        return simple(
            [](const Expr &e, ValueRange v) { return e.mul(v[0], v[0]); });
      if (n == 3)
        return simple([](const Expr &e, ValueRange v) {
          return e.mul(e.mul(v[0], v[0]), v[0]);
        });
      if (n == 0.5)
        return simple([](const Expr &e, ValueRange v) { return e.sqrt(v[0]); });
      if (n == -1)
        return simple(
            [](const Expr &e, ValueRange v) { return reciprocal(e, v[0]); });
    }
    return one(binaryMap(l, [&](const Expr &e, ValueRange v) {
      return e.op<math::PowFOp>(v[0], e.cast(v[1], base, isUnsigned));
    }));
  }
  if (Lowering::isFloat(l.in(1))) {
    bool baseUnsigned = l.isUnsigned(0);
    return one(binaryMap(l, [&](const Expr &e, ValueRange v) {
      Type real = getElementTypeOrSelf(v[1].getType());
      if (real.getIntOrFloatBitWidth() < 32)
        real = e.b.getF32Type();
      Value x = e.cast(v[0], real, baseUnsigned);
      Value y = e.op<math::PowFOp>(x, e.cast(v[1], real));
      return e.cast(y, base, false, baseUnsigned);
    }));
  }
  return one(binaryMap(l, [&](const Expr &e, ValueRange v) {
    return integerPower(e, v[0], e.cast(v[1], base, isUnsigned));
  }));
}

//===----------------------------------------------------------------------===//
// Any number of operands
//===----------------------------------------------------------------------===//

enum class Many { Sum, Mean, Max, Min };

template <Many how> static Results variadic(Lowering &l) {
  if (l.numInputs() == 0)
    return failure();
  bool isUnsigned = l.isUnsigned(0);
  Value result = l.in(0);
  for (unsigned i = 1; i < l.numInputs() && result; ++i) {
    if (!l.in(i))
      return failure();
    result = l.map(Lowering::elementOf(result), {result, l.in(i)},
                   [&](const Expr &e, ValueRange v) {
                     if (how == Many::Max)
                       return e.max(v[0], v[1], isUnsigned);
                     if (how == Many::Min)
                       return e.min(v[0], v[1], isUnsigned);
                     return e.add(v[0], v[1]);
                   });
  }
  if (how == Many::Mean && result)
    result = l.map(result, [&](const Expr &e, ValueRange v) {
      return e.div(v[0], e.constant(v[0].getType(), l.numInputs()));
    });
  return one(result);
}

static Results where(Lowering &l) {
  return one(l.map(
      l.out().getElementType(), {l.in(0), l.in(1), l.in(2)},
      [](const Expr &e, ValueRange v) { return e.select(v[0], v[1], v[2]); }));
}

static Results clip(Lowering &l) {
  Value x = l.in(0);
  bool isUnsigned = l.isUnsigned(0);
  bool attributes = l.since() < 11;
  auto bound = [&](StringRef name, unsigned i) -> Value {
    if (!attributes)
      return l.in(i);
    if (!l.node->hasAttr(name))
      return {};
    return l.e.constant(RankedTensorType::get({}, Lowering::elementOf(x)),
                        l.node.getFloat(name, 0));
  };
  Value low = bound("min", 1), high = bound("max", 2);
  for (Value *limit : {&low, &high})
    if (*limit && Lowering::rank(*limit) > 0) {
      *limit = l.reshape(*limit, {});
      if (!*limit)
        return failure();
    }
  if (low)
    x = l.map(x, low, [&](const Expr &e, ValueRange v) {
      return e.max(v[0], v[1], isUnsigned);
    });
  if (high)
    x = l.map(x, high, [&](const Expr &e, ValueRange v) {
      return e.min(v[0], v[1], isUnsigned);
    });
  return one(x);
}

static Results prelu(Lowering &l) {
  Value slope = l.in(1);
  // Before version 7 the slope is one value for each channel.
  if (l.since() < 7 && Lowering::rank(slope) == 1 &&
      Lowering::rank(l.in(0)) > 1) {
    SmallVector<int64_t> shape(Lowering::rank(l.in(0)) - 1, 1);
    shape[0] = Lowering::shape(slope)[0];
    slope = l.reshape(slope, shape);
  }
  bool isUnsigned = l.isUnsigned(0);
  return one(l.map(l.in(0), slope, [&](const Expr &e, ValueRange v) {
    Value zero = e.constant(v[0].getType(), 0);
    return e.select(e.compare(Compare::LT, v[0], zero, isUnsigned),
                    e.mul(v[0], v[1]), v[0]);
  }));
}

/// Positive numbers as powers of two: `mode` is up, down or nearest.
static Value toPower(const Expr &e, Value x, StringRef mode, bool saturate) {
  Type type = x.getType();
  // The logarithm may be off near a power; one step either way mends it.
  Value below = e.op<math::Exp2Op>(e.op<math::FloorOp>(e.op<math::Log2Op>(x)));
  below =
      e.select(e.compare(Compare::GT, below, x), e.scale(below, 0.5), below);
  Value twice = e.scale(below, 2);
  below = e.select(e.compare(Compare::LE, twice, x), twice, below);
  Value above = e.scale(below, 2), result = below;
  Value exact = e.compare(Compare::EQ, below, x);
  if (mode == "up")
    result = e.select(exact, below, above);
  if (mode == "nearest")
    result = e.select(e.compare(Compare::LT, e.sub(x, below), e.sub(above, x)),
                      below, above);
  if (!saturate)
    return result;
  result = e.min(result, e.constant(type, 0x1p127));
  Value least = e.constant(type, 0x1p-127);
  return e.select(e.compare(Compare::GT, x, least), result,
                  e.select(e.compare(Compare::LE, x, least), least, x));
}

static Results cast(Lowering &l) {
  Type to = l.out().getElementType();
  bool fromUnsigned = l.isUnsigned(0), toUnsigned = l.isResultUnsigned(0);
  Value x = l.in(0);
  // Rounding to so few bits is part of the meaning, also where floats are wide.
  auto target =
      dyn_cast<FloatType>(getElementTypeOrSelf(l.node->getResult(0).getType()));
  if (!target || target.getWidth() > 8)
    return one(l.cast(x, to, fromUnsigned, toUnsigned));
  if (!Lowering::isFloat(x) ||
      Lowering::elementOf(x).getIntOrFloatBitWidth() < 32)
    x = l.cast(x, l.b.getF32Type(), fromUnsigned);
  bool saturate = l.node.getInt("saturate", 1) || target.getWidth() < 8;
  if (isa<Float8E8M0FNUType>(target)) {
    StringRef mode = l.node.getString("round_mode", "up");
    x = l.map(x, [&](const Expr &e, ValueRange v) {
      return toPower(e, v[0], mode, saturate);
    });
  } else if (saturate) {
    // A value beyond the range becomes its end; otherwise it would be infinity
    // or NaN.
    double largest =
        APFloat::getLargest(target.getFloatSemantics()).convertToDouble();
    x = l.map(x, [&](const Expr &e, ValueRange v) {
      Type type = v[0].getType();
      Value y = e.min(v[0], e.constant(type, largest));
      y = e.max(y, e.constant(type, -largest));
      if (target.getWidth() == 8)
        return y;
      // There is no NaN below 8 bits.
      Value ordered =
          e.op<arith::CmpFOp>(arith::CmpFPredicate::ORD, v[0], v[0]);
      return e.select(ordered, y, e.constant(type, -0.0));
    });
  }
  return one(l.cast(l.cast(x, target), to));
}

/// The same bits as another type of that width.
static Results bitCast(Lowering &l) {
  Value x = l.in(0);
  RankedTensorType to = l.out();
  Type from = Lowering::elementOf(x), element = to.getElementType();
  if (from == element)
    return one(x);
  if (from.isInteger(1)) // a byte that is 0 or 1
    return element.isInteger(8) ? one(l.cast(x, element, true))
                                : Results(failure());
  if (from.getIntOrFloatBitWidth() != element.getIntOrFloatBitWidth() ||
      element.isInteger(1))
    return failure();
  return one(l.e.op<arith::BitcastOp>(to, x));
}

void addElementwise(Table &t) {
  t["Identity"] = identity;
  t["Dropout"] = [](Lowering &l) -> Results {
    // Nothing is dropped at inference, nor with a ratio of 0; the mask is true
    // everywhere.
    std::optional<onnx::HostTensor> ratio = l.constant(1),
                                    training = l.constant(2);
    bool trains = l.in(2) && !(training && training->size() == 1 &&
                               training->number(0) == 0);
    bool drops = !(ratio && ratio->size() == 1 && ratio->number(0) == 0);
    if (trains && drops)
      return failure();
    SmallVector<Value> results{l.in(0)};
    if (RankedTensorType mask = l.out(1))
      results.push_back(l.e.constant(mask, 1));
    return results;
  };
  t["Abs"] = absolute;
  t["Neg"] = unary<negation>;
  t["Sign"] = sign;
  t["Reciprocal"] = unary<reciprocal>;
  t["Not"] = unary<complement>;
  t["BitwiseNot"] = unary<complement>;
  t["IsNaN"] = isNan;
  t["IsInf"] = isInf;
  t["Ceil"] = rounding<math::CeilOp>;
  t["Floor"] = rounding<math::FloorOp>;
  t["Round"] = rounding<math::RoundEvenOp>;
  t["Sqrt"] = function<math::SqrtOp>;
  t["Exp"] = function<math::ExpOp>;
  t["Log"] = function<math::LogOp>;
  t["Erf"] = function<math::ErfOp>;
  t["Sin"] = function<math::SinOp>;
  t["Cos"] = function<math::CosOp>;
  t["Tan"] = function<math::TanOp>;
  t["Asin"] = function<math::AsinOp>;
  t["Acos"] = function<math::AcosOp>;
  t["Atan"] = function<math::AtanOp>;
  t["Sinh"] = function<math::SinhOp>;
  t["Cosh"] = function<math::CoshOp>;
  t["Tanh"] = function<math::TanhOp>;
  t["Asinh"] = function<math::AsinhOp>;
  t["Acosh"] = function<math::AcoshOp>;
  t["Atanh"] = function<math::AtanhOp>;
  t["Add"] = addition;
  t["Sub"] = subtraction;
  t["Mul"] = multiplication;
  t["Div"] = division;
  t["Mod"] = modulus;
  t["Pow"] = power;
  t["And"] = bits<arith::AndIOp>;
  t["Or"] = bits<arith::OrIOp>;
  t["Xor"] = bits<arith::XOrIOp>;
  t["BitwiseAnd"] = bits<arith::AndIOp>;
  t["BitwiseOr"] = bits<arith::OrIOp>;
  t["BitwiseXor"] = bits<arith::XOrIOp>;
  t["BitShift"] = bitShift;
  t["Equal"] = comparison<Compare::EQ>;
  t["Less"] = comparison<Compare::LT>;
  t["LessOrEqual"] = comparison<Compare::LE>;
  t["Greater"] = comparison<Compare::GT>;
  t["GreaterOrEqual"] = comparison<Compare::GE>;
  t["Sum"] = variadic<Many::Sum>;
  t["Mean"] = variadic<Many::Mean>;
  t["Max"] = variadic<Many::Max>;
  t["Min"] = variadic<Many::Min>;
  t["Where"] = where;
  t["Clip"] = clip;
  t["PRelu"] = prelu;
  t["Cast"] = cast;
  t["BitCast"] = bitCast;
  t["CastLike"] = cast;
}

} // namespace effc::lower
