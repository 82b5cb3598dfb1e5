//===- MathTest.cpp - elementary functions and epilogue ops
//-----------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
//
// A linear with k = 1 and weight 1 gives its epilogue to any value: so these
// tests run the functions as kernels do.
//
//===----------------------------------------------------------------------===//

#include "KernelTest.h"

#include <cmath>
#include <cstring>

using namespace effc;

namespace {

float fromKey(int64_t key) {
  auto bits = static_cast<int32_t>(key < 0 ? INT32_MIN - key : key);
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}
/// Order-preserving number of a float.
int64_t toKey(float x) {
  int32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits < 0 ? int64_t(INT32_MIN) - bits : bits;
}

/// Applies an epilogue body `%y = ... %x` to values.
std::vector<float> apply(const std::string &body,
                         const std::vector<float> &values,
                         const X86Machine &machine) {
  KernelSpec spec;
  spec.family = "linear_f32";
  for (auto [name, value] : {std::pair<const char *, int64_t>{"rows", 1},
                             {"n", int64_t(values.size())},
                             {"k", 1},
                             {"ldx", 1},
                             {"ldy", int64_t(values.size())},
                             {"extras", 0}})
    spec.set(name, value);
  spec.epilogue = "func.func @eff_epilogue(%x: f32) -> f32 {\n" + body +
                  "\nreturn %y : f32\n}";
  LoadedKernel kernel = llvm::cantFail(LoadedKernel::load(spec, machine));
  // The values are the weights of a panel16 layout, whose rows follow each
  // other when k is 1.
  std::vector<float> padded = values;
  padded.resize((values.size() + 15) / 16 * 16 + 16);
  Buffer w = padded, x = std::vector<float>{1.0f}, y(values.size() * 4);
  void *operands[] = {x.as<void>(), w.as<void>(), y.as<void>()};
  kernel(operands, Call(1, 1).call);
  return y.get();
}

struct Function {
  const char *op;
  double (*exact)(double);
  float low, high;
  double ulps;
};

TEST(MathTest, ErrorsInUlps) {
  const Function functions[] = {
      {"math.exp", std::exp, -87.3f, 88.7f, 1.3},
      {"math.exp2", std::exp2, -125.9f, 127.9f, 1.3},
      {"math.expm1", std::expm1, -100.0f, 88.7f, 2.4},
      {"math.log", std::log, 1.2e-38f, 3.4e38f, 1.0},
      {"math.log2", std::log2, 1.2e-38f, 3.4e38f, 1.5},
      {"math.log10", std::log10, 1.2e-38f, 3.4e38f, 2.2},
      {"math.log1p", std::log1p, -0.999999f, 3.4e38f, 2.6},
      {"math.tanh", std::tanh, -20.0f, 20.0f, 3.2},
      {"math.erf", std::erf, -10.0f, 10.0f, 6.2},
      {"math.sin", std::sin, -1e6f, 1e6f, 1.7},
      {"math.cos", std::cos, -1e6f, 1e6f, 1.7},
      {"math.sqrt", std::sqrt, 1.2e-38f, 3.4e38f, 0.51},
  };
  for (const Function &f : functions) {
    std::vector<float> values;
    int64_t low = toKey(f.low), high = toKey(f.high), count = 200000;
    for (int64_t i = 0; i <= count; ++i)
      values.push_back(fromKey(low + (high - low) / count * i));
    for (const X86Machine &machine : machines()) {
      std::vector<float> results =
          apply(std::string("%y = ") + f.op + " %x : f32", values, machine);
      double worst = 0, where = 0;
      for (size_t i = 0; i < values.size(); ++i) {
        double exact = f.exact(values[i]);
        if (std::fabs(exact) < 1.2e-38 || std::fabs(values[i]) < 1.2e-38)
          continue;
        double error =
            std::fabs(results[i] - exact) /
            std::ldexp(1.0, std::ilogb(static_cast<float>(exact)) - 23);
        if (!(error <= worst)) {
          worst = error;
          where = values[i];
        }
      }
      EXPECT_LE(worst, f.ulps)
          << f.op << '(' << where << ") on " << machine.name();
    }
  }
}

TEST(MathTest, Powers) {
  std::vector<float> values;
  for (int64_t i = 0; i <= 20000; ++i)
    values.push_back(fromKey(toKey(1.2e-38f) +
                             (toKey(3e38f) - toKey(1.2e-38f)) / 20000 * i));
  for (const char *exponent : {"2.0", "3.0", "0.5", "-1.5", "10.125"})
    for (const X86Machine &machine : machines()) {
      std::vector<float> results =
          apply(std::string("%e = arith.constant ") + exponent +
                    " : f32\n%y = math.powf %x, %e : f32",
                values, machine);
      for (size_t i = 0; i < values.size(); ++i) {
        auto exact = static_cast<float>(
            std::pow(static_cast<double>(values[i]), std::stod(exponent)));
        if (std::fabs(exact) < 1.2e-38f)
          continue;
        ASSERT_TRUE(exact == results[i] ||
                    std::fabs(results[i] - exact) <= 2.4e-7f * std::fabs(exact))
            << values[i] << "^" << exponent << " = " << results[i]
            << " instead of " << exact << " on " << machine.name();
      }
    }
}

TEST(MathTest, SpecialValues) {
  float inf = INFINITY;
  for (const X86Machine &machine : machines()) {
    auto expect = [&](const char *body, std::vector<float> values,
                      const std::vector<float> &expected) {
      std::vector<float> results = apply(body, values, machine);
      for (size_t i = 0; i < values.size(); ++i)
        EXPECT_TRUE(std::isnan(expected[i]) ? std::isnan(results[i])
                                            : results[i] == expected[i])
            << body << " of " << values[i] << " is " << results[i] << " on "
            << machine.name();
    };
    expect("%y = math.exp %x : f32", {inf, -inf, NAN, 0, 100, -200},
           {inf, 0, NAN, 1, inf, 0});
    expect("%y = math.log %x : f32", {inf, 0, NAN, 1, -1},
           {inf, -inf, NAN, 0, NAN});
    expect("%y = math.log1p %x : f32", {inf, 0, NAN, -1, -2},
           {inf, 0, NAN, -inf, NAN});
    expect("%y = math.tanh %x : f32", {inf, -inf, NAN, 0}, {1, -1, NAN, 0});
    expect("%y = math.erf %x : f32", {inf, -inf, NAN, 0}, {1, -1, NAN, 0});
    expect("%y = math.expm1 %x : f32", {inf, -inf, NAN, 0}, {inf, -1, NAN, 0});
    expect("%e = arith.constant 3.5 : f32\n%y = math.powf %x, %e : f32",
           {inf, 0, NAN, -1, 1}, {inf, 0, NAN, NAN, 1});
    expect("%z = arith.constant 0.0 : f32\n%y = arith.maximumf %x, %z : f32",
           {-1, 2, NAN}, {0, 2, NAN});
    expect("%y = math.roundeven %x : f32", {0.5f, 1.5f, -2.5f, 1e9f},
           {0, 2, -2, 1e9f});
    expect("%a = math.absf %x : f32\n%y = math.sqrt %a : f32", {-4, 9}, {2, 3});
    expect("%z = arith.constant 1.0 : f32\n%c = arith.cmpf ult, %x, %z : "
           "f32\n%n = arith.negf %x : f32\n"
           "%y = arith.select %c, %n, %x : f32",
           {0.5f, 2}, {-0.5f, 2});
  }
}

} // namespace
