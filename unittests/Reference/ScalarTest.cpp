//===- ScalarTest.cpp - arith and math ops, element by element ------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Model.h"

#include <functional>
#include <limits>

namespace effc::reference {

/// Runs one op over tensors and compares with a function of doubles.
static void checkFloat(const std::string &op, int operands,
                       const std::function<double(double, double, double)> &f,
                       double shift = 0) {
  constexpr int64_t count = 64;
  std::string arguments, names;
  std::vector<Tensor<double>> inputs;
  std::vector<Tensor<float>> singles;
  std::vector<Values> values;
  for (int i = 0; i < operands; ++i) {
    std::string name = "%x" + std::to_string(i);
    arguments += (i ? ", " : "") + name + ": tensor<64xf32>";
    names += (i ? ", " : "") + name;
    values.push_back(noise(count, 10 + i));
    for (double &value : values.back())
      value += shift;
    inputs.push_back(tensor<double>({count}, values.back()));
    singles.push_back(tensor<float>({count}, values.back()));
  }
  values.resize(3, Values(count));
  Model model("func.func @main(" + arguments +
              ") -> tensor<64xf32> {\n%y = " + op + " " + names +
              " : tensor<64xf32>\nreturn %y : tensor<64xf32>\n}");
  Values expected;
  for (int64_t i = 0; i < count; ++i)
    expected.push_back(f(values[0][i], values[1][i], values[2][i]));
  SCOPED_TRACE(op);
  expectNear(model.run<double>(inputs)[0].floats, expected, 1e-15);
  expectNear(model.run<float>(singles)[0].floats, expected, 1e-6);
}

TEST(ScalarTest, Arithmetic) {
  checkFloat("arith.addf", 2, [](double a, double b, double) { return a + b; });
  checkFloat("arith.subf", 2, [](double a, double b, double) { return a - b; });
  checkFloat("arith.mulf", 2, [](double a, double b, double) { return a * b; });
  checkFloat(
      "arith.divf", 2, [](double a, double b, double) { return a / b; }, 2);
  checkFloat(
      "arith.remf", 2,
      [](double a, double b, double) { return a - b * std::trunc(a / b); }, 2);
  checkFloat("arith.negf", 1, [](double a, double, double) { return -a; });
  for (const char *name : {"arith.maximumf", "arith.maxnumf"})
    checkFloat(name, 2,
               [](double a, double b, double) { return a > b ? a : b; });
  for (const char *name : {"arith.minimumf", "arith.minnumf"})
    checkFloat(name, 2,
               [](double a, double b, double) { return a < b ? a : b; });
}

TEST(ScalarTest, Exponentials) {
  checkFloat("math.exp", 1,
             [](double a, double, double) { return std::exp(a); });
  checkFloat("math.exp2", 1, [](double a, double, double) {
    return std::exp(a * std::log(2.0));
  });
  checkFloat("math.expm1", 1,
             [](double a, double, double) { return std::expm1(a); });
  checkFloat(
      "math.log", 1, [](double a, double, double) { return std::log(a); }, 2);
  checkFloat(
      "math.log2", 1,
      [](double a, double, double) { return std::log(a) / std::log(2.0); }, 2);
  checkFloat(
      "math.log10", 1,
      [](double a, double, double) { return std::log(a) / std::log(10.0); }, 2);
  checkFloat(
      "math.log1p", 1, [](double a, double, double) { return std::log1p(a); },
      1);
  checkFloat(
      "math.powf", 2,
      [](double a, double b, double) { return std::exp(b * std::log(a)); }, 2);
  checkFloat(
      "math.sqrt", 1, [](double a, double, double) { return std::sqrt(a); }, 2);
  checkFloat(
      "math.rsqrt", 1,
      [](double a, double, double) { return 1 / std::sqrt(a); }, 2);
  checkFloat(
      "math.cbrt", 1,
      [](double a, double, double) { return std::exp(std::log(a) / 3); }, 2);
  checkFloat("math.erf", 1,
             [](double a, double, double) { return std::erf(a); });
  checkFloat("math.erfc", 1,
             [](double a, double, double) { return 1 - std::erf(a); });
}

TEST(ScalarTest, Trigonometry) {
  checkFloat("math.sin", 1,
             [](double a, double, double) { return std::sin(a); });
  checkFloat("math.cos", 1,
             [](double a, double, double) { return std::cos(a); });
  checkFloat("math.tan", 1, [](double a, double, double) {
    return std::sin(a) / std::cos(a);
  });
  checkFloat("math.asin", 1,
             [](double a, double, double) { return std::asin(a); });
  checkFloat("math.acos", 1,
             [](double a, double, double) { return std::acos(a); });
  checkFloat("math.atan", 1,
             [](double a, double, double) { return std::atan(a); });
  checkFloat(
      "math.atan2", 2,
      [](double a, double b, double) { return std::atan(a / b); }, 2);
  checkFloat("math.sinh", 1,
             [](double a, double, double) { return std::sinh(a); });
  checkFloat("math.cosh", 1,
             [](double a, double, double) { return std::cosh(a); });
  checkFloat("math.tanh", 1, [](double a, double, double) {
    return std::sinh(a) / std::cosh(a);
  });
  checkFloat("math.asinh", 1,
             [](double a, double, double) { return std::asinh(a); });
  checkFloat(
      "math.acosh", 1, [](double a, double, double) { return std::acosh(a); },
      3);
  checkFloat("math.atanh", 1, [](double a, double, double) {
    return 0.5 * std::log((1 + a) / (1 - a));
  });
}

TEST(ScalarTest, Rounding) {
  checkFloat("math.absf", 1,
             [](double a, double, double) { return a < 0 ? -a : a; });
  checkFloat("math.floor", 1,
             [](double a, double, double) { return a < 0 ? -1.0 : 0.0; });
  checkFloat("math.ceil", 1,
             [](double a, double, double) { return a > 0 ? 1.0 : 0.0; });
  checkFloat(
      "math.trunc", 1,
      [](double a, double, double) { return a < 3 ? 2.0 : 3.0; }, 3);
  checkFloat("math.round", 1, [](double a, double, double) {
    return std::fabs(a) < 0.5 ? 0 : a > 0 ? 1 : -1;
  });
  checkFloat("math.roundeven", 1, [](double a, double, double) {
    return std::fabs(a) <= 0.5 ? 0 : a > 0 ? 1 : -1;
  });
  checkFloat("math.copysign", 2, [](double a, double b, double) {
    return std::signbit(b) ? -std::fabs(a) : std::fabs(a);
  });
  checkFloat("math.fma", 3,
             [](double a, double b, double c) { return a * b + c; });
}

/// Runs a body over `%a, %b: tensor<Nxi32>` and returns its i32 result.
static std::vector<int64_t> integers(const std::string &body,
                                     std::vector<int64_t> a,
                                     std::vector<int64_t> b) {
  std::string t = "tensor<" + std::to_string(a.size()) + "xi32>";
  std::string text = body;
  for (size_t at; (at = text.find('$')) != std::string::npos;)
    text.replace(at, 1, std::to_string(a.size()));
  Model model("func.func @main(%a: " + t + ", %b: " + t + ") -> " + t + " {\n" +
              text + "\nreturn %y : " + t + "\n}");
  int64_t size = a.size();
  return model
      .run<double>({Tensor<double>::fromIntegers({size}, a),
                    Tensor<double>::fromIntegers({size}, b)})[0]
      .integers;
}

TEST(ScalarTest, Integers) {
  auto op = [](const std::string &name, std::vector<int64_t> a,
               std::vector<int64_t> b) {
    return integers("%y = arith." + name + " %a, %b : tensor<$xi32>", a, b);
  };
  using V = std::vector<int64_t>;
  EXPECT_EQ(op("addi", {2147483647, 1}, {1, 2}), (V{-2147483648, 3}));
  EXPECT_EQ(op("subi", {1, -2147483648}, {2, 1}), (V{-1, 2147483647}));
  EXPECT_EQ(op("muli", {65536, -3}, {65536, 5}), (V{0, -15}));
  EXPECT_EQ(op("divsi", {-7, 7}, {2, 0}), (V{-3, 0}));
  EXPECT_EQ(op("divui", {-2, 7}, {2, 2}), (V{2147483647, 3}));
  EXPECT_EQ(op("floordivsi", {-7, 7}, {2, 2}), (V{-4, 3}));
  EXPECT_EQ(op("ceildivsi", {-7, 7}, {2, 2}), (V{-3, 4}));
  EXPECT_EQ(op("remsi", {-7, 7}, {2, -2}), (V{-1, 1}));
  EXPECT_EQ(op("remui", {-1, 7}, {10, 4}), (V{5, 3}));
  EXPECT_EQ(op("andi", {12, -1}, {10, 5}), (V{8, 5}));
  EXPECT_EQ(op("ori", {12, 1}, {10, 4}), (V{14, 5}));
  EXPECT_EQ(op("xori", {12, -1}, {10, 0}), (V{6, -1}));
  EXPECT_EQ(op("shli", {1, 3}, {31, 1}), (V{-2147483648, 6}));
  EXPECT_EQ(op("shrsi", {-8, 8}, {1, 1}), (V{-4, 4}));
  EXPECT_EQ(op("shrui", {-8, 8}, {1, 1}), (V{2147483644, 4}));
  EXPECT_EQ(op("maxsi", {-1, 3}, {2, 1}), (V{2, 3}));
  EXPECT_EQ(op("minsi", {-1, 3}, {2, 1}), (V{-1, 1}));
  EXPECT_EQ(op("maxui", {-1, 3}, {2, 1}), (V{-1, 3}));
  EXPECT_EQ(op("minui", {-1, 3}, {2, 1}), (V{2, 1}));
}

TEST(ScalarTest, ConversionsAndSelection) {
  using V = std::vector<int64_t>;
  EXPECT_EQ(integers(R"(
      %n = arith.trunci %a : tensor<$xi32> to tensor<$xi8>
      %y = arith.extsi %n : tensor<$xi8> to tensor<$xi32>)",
                     {200, -1}, {0, 0}),
            (V{-56, -1}));
  EXPECT_EQ(integers(R"(
      %n = arith.trunci %a : tensor<$xi32> to tensor<$xi8>
      %y = arith.extui %n : tensor<$xi8> to tensor<$xi32>)",
                     {200, -1}, {0, 0}),
            (V{200, 255}));
  EXPECT_EQ(integers(R"(
      %f = arith.sitofp %a : tensor<$xi32> to tensor<$xf32>
      %g = arith.uitofp %b : tensor<$xi32> to tensor<$xf32>
      %s = arith.addf %f, %g : tensor<$xf32>
      %h = math.floor %s : tensor<$xf32>
      %y = arith.fptosi %h : tensor<$xf32> to tensor<$xi32>)",
                     {-5, 7}, {2, 3}),
            (V{-3, 10}));
  EXPECT_EQ(integers(R"(
      %c = arith.cmpi slt, %a, %b : tensor<$xi32>
      %y = arith.select %c, %a, %b : tensor<$xi1>, tensor<$xi32>)",
                     {-1, 4}, {2, 3}),
            (V{-1, 3}));
  EXPECT_EQ(integers(R"(
      %c = arith.cmpi ult, %a, %b : tensor<$xi32>
      %y = arith.extsi %c : tensor<$xi1> to tensor<$xi32>)",
                     {-1, 2}, {2, 3}),
            (V{0, -1}));
}

TEST(ScalarTest, FloatComparisonsAndNan) {
  auto count = [](const std::string &predicate) {
    Model model("func.func @main(%a: tensor<3xf32>, %b: tensor<3xf32>) -> "
                "tensor<3xi1> {\n%y = arith.cmpf " +
                predicate +
                ", %a, %b : tensor<3xf32>\nreturn %y : tensor<3xi1>\n}");
    return model
        .run<double>({tensor<double>({3}, {1, 2, NAN}),
                      tensor<double>({3}, {2, 2, 2})})[0]
        .integers;
  };
  using V = std::vector<int64_t>;
  EXPECT_EQ(count("olt"), (V{1, 0, 0}));
  EXPECT_EQ(count("ole"), (V{1, 1, 0}));
  EXPECT_EQ(count("oeq"), (V{0, 1, 0}));
  EXPECT_EQ(count("one"), (V{1, 0, 0}));
  EXPECT_EQ(count("ogt"), (V{0, 0, 0}));
  EXPECT_EQ(count("oge"), (V{0, 1, 0}));
  EXPECT_EQ(count("ord"), (V{1, 1, 0}));
  EXPECT_EQ(count("ult"), (V{1, 0, 1}));
  EXPECT_EQ(count("ule"), (V{1, 1, 1}));
  EXPECT_EQ(count("ueq"), (V{0, 1, 1}));
  EXPECT_EQ(count("une"), (V{1, 0, 1}));
  EXPECT_EQ(count("ugt"), (V{0, 0, 1}));
  EXPECT_EQ(count("uge"), (V{0, 1, 1}));
  EXPECT_EQ(count("uno"), (V{0, 0, 1}));
}

TEST(ScalarTest, MaximumPassesNanAndMaxnumDoesNot) {
  Model model(R"(
    func.func @main(%a: tensor<2xf32>, %b: tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>) {
      %y = arith.maximumf %a, %b : tensor<2xf32>
      %z = arith.maxnumf %a, %b : tensor<2xf32>
      return %y, %z : tensor<2xf32>, tensor<2xf32>
    })");
  auto outputs = model.run<float>(
      {tensor<float>({2}, {NAN, 1}), tensor<float>({2}, {1, NAN})});
  EXPECT_TRUE(std::isnan(outputs[0].floats[0]) &&
              std::isnan(outputs[0].floats[1]));
  EXPECT_EQ(outputs[1].floats, (std::vector<float>{1, 1}));
}

TEST(ScalarTest, HalfTypesRound) {
  Model model(R"(
    func.func @main(%a: tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>) {
      %b = arith.truncf %a : tensor<2xf32> to tensor<2xbf16>
      %c = arith.extf %b : tensor<2xbf16> to tensor<2xf32>
      %d = arith.truncf %a : tensor<2xf32> to tensor<2xf16>
      %e = arith.extf %d : tensor<2xf16> to tensor<2xf32>
      return %c, %e : tensor<2xf32>, tensor<2xf32>
    })");
  auto outputs = model.run<double>({tensor<double>({2}, {1.0 / 3, 1.001})});
  expectNear(outputs[0].floats, {0.333984375, 1.0}, 0);
  expectNear(outputs[1].floats, {0.333251953125, 1.0009765625}, 0);
}

TEST(ScalarTest, Classification) {
  Model model(R"(
    func.func @main(%a: tensor<3xf32>) -> (tensor<3xi1>, tensor<3xi1>, tensor<3xi1>) {
      %n = math.isnan %a : tensor<3xf32>
      %i = math.isinf %a : tensor<3xf32>
      %f = math.isfinite %a : tensor<3xf32>
      return %n, %i, %f : tensor<3xi1>, tensor<3xi1>, tensor<3xi1>
    })");
  auto outputs = model.run<double>({tensor<double>({3}, {NAN, -INFINITY, 1})});
  EXPECT_EQ(outputs[0].integers, (std::vector<int64_t>{1, 0, 0}));
  EXPECT_EQ(outputs[1].integers, (std::vector<int64_t>{0, 1, 0}));
  EXPECT_EQ(outputs[2].integers, (std::vector<int64_t>{0, 0, 1}));
}

} // namespace effc::reference
