//===- EvalElementwise.cpp - elementwise nodes ----------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "EvalImpl.h"

#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/StringMap.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace effc::onnx;

namespace {

using Unary = double (*)(double);
using FloatBinary = double (*)(double, double);
using IntBinary = int64_t (*)(int64_t, int64_t);

constexpr double sqrtHalf = 0.70710678118654752440;

double sign(double x) { return std::isnan(x) ? x : (x > 0) - (x < 0); }
double softplus(double x) {
  return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
}
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

const llvm::StringMap<Unary> &unaries() {
  static const llvm::StringMap<Unary> table = {
      {"Abs", [](double x) { return std::fabs(x); }},
      {"Acos", [](double x) { return std::acos(x); }},
      {"Acosh", [](double x) { return std::acosh(x); }},
      {"Asin", [](double x) { return std::asin(x); }},
      {"Asinh", [](double x) { return std::asinh(x); }},
      {"Atan", [](double x) { return std::atan(x); }},
      {"Atanh", [](double x) { return std::atanh(x); }},
      {"Ceil", [](double x) { return std::ceil(x); }},
      {"Cos", [](double x) { return std::cos(x); }},
      {"Cosh", [](double x) { return std::cosh(x); }},
      {"Erf", [](double x) { return std::erf(x); }},
      {"Exp", [](double x) { return std::exp(x); }},
      {"Floor", [](double x) { return std::floor(x); }},
      {"HardSwish",
       [](double x) { return x * std::fmax(0, std::fmin(1, x / 6 + 0.5)); }},
      {"Log", [](double x) { return std::log(x); }},
      {"Mish", [](double x) { return x * std::tanh(softplus(x)); }},
      {"Neg", [](double x) { return -x; }},
      {"Reciprocal", [](double x) { return 1 / x; }},
      {"Relu", [](double x) { return x > 0 || std::isnan(x) ? x : 0; }},
      {"Round", [](double x) { return std::nearbyint(x); }},
      {"Sigmoid", sigmoid},
      {"Sign", sign},
      {"Sin", [](double x) { return std::sin(x); }},
      {"Sinh", [](double x) { return std::sinh(x); }},
      {"Softplus", softplus},
      {"Softsign", [](double x) { return x / (1 + std::fabs(x)); }},
      {"Sqrt", [](double x) { return std::sqrt(x); }},
      {"Tan", [](double x) { return std::tan(x); }},
      {"Tanh", [](double x) { return std::tanh(x); }},
  };
  return table;
}

bool unary(Evaluation &e, Unary f) {
  const HostTensor &x = *e.in[0];
  HostTensor &y = e.out[0];
  if (x.isFloat()) {
    for (size_t i = 0; i < x.floats.size(); ++i)
      y.floats[i] = f(x.floats[i]);
    return true;
  }
  StringRef name = e.op.getOpType();
  bool exact =
      name == "Abs" || name == "Neg" || name == "Sign" || name == "Relu";
  if (!exact || y.isFloat())
    return false;
  for (size_t i = 0; i < x.ints.size(); ++i) {
    int64_t v = x.ints[i], s = x.isUnsigned() ? v != 0 : (v > 0) - (v < 0);
    y.ints[i] = name == "Abs"    ? (s < 0 ? int64_t(-uint64_t(v)) : v)
                : name == "Neg"  ? int64_t(-uint64_t(v))
                : name == "Sign" ? s
                                 : (s > 0 ? v : 0);
  }
  return true;
}

/// Activations with parameters.
bool parametric(Evaluation &e) {
  const HostTensor &x = *e.in[0];
  if (!x.isFloat())
    return false;
  StringRef name = e.op.getOpType();
  auto alpha = [&](float otherwise) {
    return double(e.op.getFloat("alpha", otherwise));
  };
  std::function<double(double)> f;
  if (name == "LeakyRelu") {
    f = [a = alpha(0.01f)](double v) { return v < 0 ? a * v : v; };
  } else if (name == "Elu") {
    f = [a = alpha(1)](double v) { return v < 0 ? a * std::expm1(v) : v; };
  } else if (name == "Celu") {
    f = [a = alpha(1)](double v) {
      return std::fmax(0, v) + std::fmin(0, a * std::expm1(v / a));
    };
  } else if (name == "Selu") {
    f = [a = alpha(1.67326319217681884765625f),
         g = double(e.op.getFloat("gamma", 1.05070102214813232421875f))](
            double v) { return v > 0 ? g * v : g * a * std::expm1(v); };
  } else if (name == "HardSigmoid") {
    f = [a = alpha(0.2f), b = double(e.op.getFloat("beta", 0.5f))](double v) {
      return std::fmax(0, std::fmin(1, a * v + b));
    };
  } else if (name == "ThresholdedRelu") {
    f = [a = alpha(1)](double v) { return v > a ? v : 0; };
  } else if (name == "Swish") {
    f = [a = alpha(1)](double v) { return v * sigmoid(a * v); };
  } else if (name == "Shrink") {
    f = [b = double(e.op.getFloat("bias", 0)),
         l = double(e.op.getFloat("lambd", 0.5f))](double v) {
      return v < -l ? v + b : v > l ? v - b : 0;
    };
  } else if (name == "Gelu") {
    if (e.op.getString("approximate", "none") == "tanh")
      f = [](double v) {
        return 0.5 * v *
               (1 +
                std::tanh(0.79788456080286535588 * (v + 0.044715 * v * v * v)));
      };
    else
      f = [](double v) { return 0.5 * v * (1 + std::erf(v * sqrtHalf)); };
  } else {
    return false;
  }
  for (size_t i = 0; i < x.floats.size(); ++i)
    e.out[0].floats[i] = f(x.floats[i]);
  return true;
}

/// Runs `f(a, b)` over two operands of one kind of number.
template <typename T, typename F>
void broadcastTwo(Evaluation &e, const std::vector<T> &a,
                  const std::vector<T> &b, F f) {
  const HostTensor &y = e.out[0];
  std::array<Shape, 2> strides = {broadcastStrides(e.in[0]->shape, y.shape),
                                  broadcastStrides(e.in[1]->shape, y.shape)};
  forEach<2>(y.shape, strides,
             [&](int64_t i, const std::array<int64_t, 2> &at) {
               f(i, a[at[0]], b[at[1]]);
             });
}

double floatArithmetic(StringRef name, double a, double b) {
  if (name == "Add")
    return a + b;
  if (name == "Sub")
    return a - b;
  if (name == "Mul")
    return a * b;
  if (name == "Div")
    return a / b;
  if (name == "Max")
    return std::isnan(a) || std::isnan(b) ? NAN : std::fmax(a, b);
  if (name == "Min")
    return std::isnan(a) || std::isnan(b) ? NAN : std::fmin(a, b);
  return a < 0 ? a * b : a; // PRelu
}

/// Division rounds toward zero; nullopt for a division by zero.
std::optional<int64_t> intArithmetic(StringRef name, int64_t a, int64_t b,
                                     bool isUnsigned) {
  uint64_t ua = a, ub = b;
  if (name == "Add")
    return int64_t(ua + ub);
  if (name == "Sub")
    return int64_t(ua - ub);
  if (name == "Mul")
    return int64_t(ua * ub);
  if (name == "Max")
    return isUnsigned ? int64_t(std::max(ua, ub)) : std::max(a, b);
  if (name == "Min")
    return isUnsigned ? int64_t(std::min(ua, ub)) : std::min(a, b);
  if (name == "PRelu")
    return !isUnsigned && a < 0 ? int64_t(ua * ub) : a;
  if (name == "Div") {
    if (b == 0)
      return std::nullopt;
    if (isUnsigned)
      return int64_t(ua / ub);
    return b == -1 ? int64_t(-ua) : a / b;
  }
  return std::nullopt;
}

bool arithmetic(Evaluation &e) {
  StringRef name = e.op.getOpType();
  if (e.in.size() == 1) {
    e.out[0] = *e.in[0];
    return name == "Max" || name == "Min";
  }
  const HostTensor &a = *e.in[0], &b = *e.in[1];
  HostTensor &y = e.out[0];
  if (e.in.size() != 2 || a.isFloat() != b.isFloat())
    return false;
  if (a.isFloat()) {
    auto run = [&](auto f) {
      broadcastTwo(e, a.floats, b.floats, [&](int64_t i, double u, double v) {
        y.floats[i] = f(u, v);
      });
    };
    if (name == "Add")
      run([](double u, double v) { return u + v; });
    else if (name == "Mul")
      run([](double u, double v) { return u * v; });
    else
      run([&](double u, double v) { return floatArithmetic(name, u, v); });
    return true;
  }
  bool ok = true;
  broadcastTwo(e, a.ints, b.ints, [&](int64_t i, int64_t u, int64_t v) {
    auto value = intArithmetic(name, u, v, a.isUnsigned());
    ok &= value.has_value();
    y.ints[i] = value.value_or(0);
  });
  return ok;
}

bool mod(Evaluation &e) {
  const HostTensor &a = *e.in[0], &b = *e.in[1];
  HostTensor &y = e.out[0];
  bool c = e.op.getInt("fmod", 0) != 0;
  if (a.isFloat()) {
    broadcastTwo(e, a.floats, b.floats, [&](int64_t i, double u, double v) {
      double r = std::fmod(u, v);
      y.floats[i] = !c && r != 0 && (r < 0) != (v < 0) ? r + v : r;
    });
    return true;
  }
  bool ok = true;
  broadcastTwo(e, a.ints, b.ints, [&](int64_t i, int64_t u, int64_t v) {
    if (v == 0) {
      ok = false;
      return;
    }
    if (a.isUnsigned()) {
      y.ints[i] = int64_t(uint64_t(u) % uint64_t(v));
      return;
    }
    int64_t r = v == -1 ? 0 : u % v;
    y.ints[i] = !c && r != 0 && (r < 0) != (v < 0) ? r + v : r;
  });
  return ok;
}

int64_t intPower(int64_t base, int64_t exponent) {
  uint64_t result = 1, factor = base;
  if (exponent < 0)
    return base == 1 ? 1 : base == -1 ? (exponent % 2 ? -1 : 1) : 0;
  for (; exponent; exponent >>= 1, factor *= factor)
    if (exponent & 1)
      result *= factor;
  return int64_t(result);
}

/// The operands may have different types; the result has the base's.
bool power(Evaluation &e) {
  const HostTensor &a = *e.in[0], &b = *e.in[1];
  HostTensor &y = e.out[0];
  std::array<Shape, 2> strides = {broadcastStrides(a.shape, y.shape),
                                  broadcastStrides(b.shape, y.shape)};
  forEach<2>(
      y.shape, strides, [&](int64_t i, const std::array<int64_t, 2> &at) {
        if (y.isFloat())
          y.floats[i] = std::pow(a.number(at[0]), b.number(at[1]));
        else if (!b.isFloat())
          y.ints[i] = intPower(a.ints[at[0]], b.ints[at[1]]);
        else
          y.ints[i] = int64_t(std::pow(a.number(at[0]), b.floats[at[1]]));
      });
  return true;
}

bool comparison(Evaluation &e) {
  StringRef name = e.op.getOpType();
  const HostTensor &a = *e.in[0], &b = *e.in[1];
  HostTensor &y = e.out[0];
  if (a.isFloat() != b.isFloat())
    return false;
  auto test = [&](auto u, auto v) {
    return name == "Equal"            ? u == v
           : name == "Greater"        ? u > v
           : name == "Less"           ? u < v
           : name == "GreaterOrEqual" ? u >= v
                                      : u <= v;
  };
  if (a.isFloat())
    broadcastTwo(e, a.floats, b.floats, [&](int64_t i, double u, double v) {
      y.ints[i] = test(u, v);
    });
  else if (a.isUnsigned())
    broadcastTwo(e, a.ints, b.ints, [&](int64_t i, int64_t u, int64_t v) {
      y.ints[i] = test(uint64_t(u), uint64_t(v));
    });
  else
    broadcastTwo(e, a.ints, b.ints, [&](int64_t i, int64_t u, int64_t v) {
      y.ints[i] = test(u, v);
    });
  return true;
}

bool bits(Evaluation &e) {
  StringRef name = e.op.getOpType();
  const HostTensor &a = *e.in[0], &b = *e.in[1];
  HostTensor &y = e.out[0];
  if (a.isFloat() || b.isFloat())
    return false;
  bool left = e.op.getString("direction", "LEFT") == "LEFT";
  unsigned width = a.elementType.getIntOrFloatBitWidth();
  broadcastTwo(e, a.ints, b.ints, [&](int64_t i, int64_t u, int64_t v) {
    if (name == "BitShift")
      y.ints[i] = uint64_t(v) >= width ? 0
                  : left               ? int64_t(uint64_t(u) << v)
                                       : int64_t(uint64_t(u) >> v);
    else
      y.ints[i] = name.ends_with("And")   ? u & v
                  : name.ends_with("Xor") ? u ^ v
                                          : u | v;
  });
  return true;
}

bool where(Evaluation &e) {
  HostTensor &y = e.out[0];
  std::array<Shape, 3> strides;
  for (unsigned k = 0; k < 3; ++k)
    strides[k] = broadcastStrides(e.in[k]->shape, y.shape);
  forEach<3>(y.shape, strides,
             [&](int64_t i, const std::array<int64_t, 3> &at) {
               bool yes = e.in[0]->ints[at[0]] != 0;
               copyElement(*e.in[yes ? 1 : 2], at[yes ? 1 : 2], y, i);
             });
  return true;
}

/// Truncates; what does not fit takes the nearest value, NaN takes 0.
int64_t toInteger(double value, Type type) {
  unsigned width = type.getIntOrFloatBitWidth();
  if (std::isnan(value))
    return 0;
  value = std::trunc(value);
  if (type.isUnsignedInteger()) {
    if (value <= 0)
      return width == 64 || value > -1 ? 0 : int64_t(std::fmax(value, -9.2e18));
    return value >= 18446744073709551615.0 ? -1 : int64_t(uint64_t(value));
  }
  if (value >= 9223372036854775807.0)
    return std::numeric_limits<int64_t>::max();
  return value <= -9223372036854775808.0 ? std::numeric_limits<int64_t>::min()
                                         : int64_t(value);
}

/// The power of two that f8E8M0FNU holds for a number: above it unless `mode`
/// says otherwise.
double toExponent(double value, StringRef mode, bool saturate) {
  if (!(std::fabs(value) > 0))
    return std::isnan(value) || !saturate ? NAN : std::ldexp(1, -127);
  int exponent;
  double fraction = std::frexp(std::fabs(value), &exponent); // in [0.5, 1)
  bool up =
      mode == "nearest" ? fraction >= 0.75 : mode != "down" && fraction > 0.5;
  exponent += up ? 0 : -1;
  if (std::isinf(value) || exponent > 127)
    return saturate ? std::ldexp(1, 127) : NAN;
  if (exponent < -127)
    return saturate ? std::ldexp(1, -127) : NAN;
  return std::ldexp(1, exponent);
}

bool cast(Evaluation &e) {
  const HostTensor &x = *e.in[0];
  HostTensor &y = e.out[0];
  int64_t n = x.size();
  if (isa<Float8E8M0FNUType>(y.elementType)) {
    StringRef mode = e.op.getString("round_mode", "up");
    for (int64_t i = 0; i < n; ++i)
      y.floats[i] = toExponent(x.number(i), mode, e.op.getInt("saturate", 1));
    return true;
  }
  if (auto type = dyn_cast<FloatType>(y.elementType)) {
    double limit = 0;
    // Small floats saturate unless told otherwise.
    if (type.getWidth() <= 8 && e.op.getInt("saturate", 1)) {
      llvm::APFloat largest =
          llvm::APFloat::getLargest(type.getFloatSemantics());
      bool losesInfo = false;
      largest.convert(llvm::APFloat::IEEEdouble(), llvm::APFloat::rmTowardZero,
                      &losesInfo);
      limit = largest.convertToDouble();
    }
    for (int64_t i = 0; i < n; ++i) {
      double value = x.number(i);
      y.floats[i] = limit > 0 && !std::isnan(value)
                        ? std::fmin(std::fmax(value, -limit), limit)
                        : value;
    }
    return true;
  }
  bool toBool = y.elementType.isInteger(1);
  for (int64_t i = 0; i < n; ++i)
    y.ints[i] = toBool        ? x.number(i) != 0
                : x.isFloat() ? toInteger(x.floats[i], y.elementType)
                              : x.ints[i];
  return true;
}

bool clip(Evaluation &e) {
  const HostTensor &x = *e.in[0];
  const HostTensor *low = e.operand(1), *high = e.operand(2);
  HostTensor &y = e.out[0];
  for (const HostTensor *bound : {low, high})
    if (bound && (bound->size() != 1 || bound->isFloat() != x.isFloat()))
      return false;
  for (int64_t i = 0; i < x.size(); ++i) {
    if (x.isFloat()) {
      double v = x.floats[i];
      if (low && v < low->floats[0])
        v = low->floats[0];
      if (high && v > high->floats[0])
        v = high->floats[0];
      y.floats[i] = v;
      continue;
    }
    int64_t v = x.ints[i];
    auto less = [&](int64_t a, int64_t b) {
      return x.isUnsigned() ? uint64_t(a) < uint64_t(b) : a < b;
    };
    if (low && less(v, low->ints[0]))
      v = low->ints[0];
    if (high && less(high->ints[0], v))
      v = high->ints[0];
    y.ints[i] = v;
  }
  return true;
}

bool classify(Evaluation &e) {
  const HostTensor &x = *e.in[0];
  bool nan = e.op.is("IsNaN");
  bool negative = e.op.getInt("detect_negative", 1),
       positive = e.op.getInt("detect_positive", 1);
  for (int64_t i = 0; i < x.size(); ++i) {
    double v = x.number(i);
    e.out[0].ints[i] =
        nan ? std::isnan(v) : std::isinf(v) && (v < 0 ? negative : positive);
  }
  return true;
}

bool invert(Evaluation &e) {
  const HostTensor &x = *e.in[0];
  if (x.isFloat())
    return false;
  for (int64_t i = 0; i < x.size(); ++i)
    e.out[0].ints[i] = e.op.is("Not") ? x.ints[i] == 0 : ~x.ints[i];
  return true;
}

} // namespace

EvalFn effc::onnx::findElementwiseEval(StringRef name) {
  auto found = unaries().find(name);
  if (found != unaries().end())
    return [f = found->second](Evaluation &e) { return unary(e, f); };
  static const llvm::StringMap<bool (*)(Evaluation &)> table = {
      {"LeakyRelu", parametric},
      {"Elu", parametric},
      {"Celu", parametric},
      {"Selu", parametric},
      {"HardSigmoid", parametric},
      {"ThresholdedRelu", parametric},
      {"Swish", parametric},
      {"Shrink", parametric},
      {"Gelu", parametric},
      {"Add", arithmetic},
      {"Sub", arithmetic},
      {"Mul", arithmetic},
      {"Div", arithmetic},
      {"Max", arithmetic},
      {"Min", arithmetic},
      {"PRelu", arithmetic},
      {"Mod", mod},
      {"Pow", power},
      {"Equal", comparison},
      {"Greater", comparison},
      {"GreaterOrEqual", comparison},
      {"Less", comparison},
      {"LessOrEqual", comparison},
      {"And", bits},
      {"Or", bits},
      {"Xor", bits},
      {"BitwiseAnd", bits},
      {"BitwiseOr", bits},
      {"BitwiseXor", bits},
      {"BitShift", bits},
      {"Where", where},
      {"Cast", cast},
      {"Clip", clip},
      {"IsNaN", classify},
      {"IsInf", classify},
      {"Not", invert},
      {"BitwiseNot", invert},
  };
  auto it = table.find(name);
  return it == table.end() ? EvalFn() : EvalFn(it->second);
}
