//===- ElementwiseTest.cpp - arithmetic and casts -------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Run.h"

#include <cmath>
#include <limits>

using namespace effc::test;

/// A node with two operands and a result of these types.
static std::string binary(const std::string &op, const std::string &x,
                          const std::string &y, const std::string &z,
                          const std::string &attributes = "") {
  return "(%x: " + x + ", %y: " + y + ") -> " + z + " { %z = onnx.node \"" +
         op + "\"(%x, %y) since 18 {" + attributes + "} : (" + x + ", " + y +
         ") -> " + z + " return %z : " + z + " }";
}
static std::string unary(const std::string &op, const std::string &x,
                         const std::string &y,
                         const std::string &attributes = "") {
  return "(%x: " + x + ") -> " + y + " { %y = onnx.node \"" + op +
         "\"(%x) since 18 {" + attributes + "} : (" + x + ") -> " + y +
         " return %y : " + y + " }";
}

TEST(Elementwise, DividesIntegersTowardZero) {
  auto graph = binary("Div", "tensor<6xi32>", "tensor<6xi32>", "tensor<6xi32>");
  int64_t least = std::numeric_limits<int32_t>::min();
  Tensor y = runOne(graph, {integers({6}, {7, -7, 7, -7, least, 5}),
                            integers({6}, {2, 2, -2, -2, -1, 1})});
  // The overflowing quotient wraps.
  EXPECT_EQ(y.integers, (std::vector<int64_t>{3, -3, -3, 3, least, 5}));
}

TEST(Elementwise, DivisionByZeroHasSomeResult) {
  auto graph = binary("Div", "tensor<2xi64>", "tensor<2xi64>", "tensor<2xi64>");
  Tensor y = runOne(graph, {integers({2}, {7, 9}), integers({2}, {0, 3})});
  ASSERT_EQ(y.integers.size(), 2u);
  EXPECT_EQ(y.integers[1], 3);
}

TEST(Elementwise, ModHasTheDivisorsSignUnlessFmod) {
  Tensor x = integers({4}, {7, -7, 7, -7}), d = integers({4}, {3, 3, -3, -3});
  std::string type = "tensor<4xi64>";
  EXPECT_EQ(runOne(binary("Mod", type, type, type), {x, d}).integers,
            (std::vector<int64_t>{1, 2, -2, -1}));
  EXPECT_EQ(runOne(binary("Mod", type, type, type, "fmod = 1 : i64"), {x, d})
                .integers,
            (std::vector<int64_t>{1, -1, 1, -1}));
}

TEST(Elementwise, RaisesIntegersToPowers) {
  std::string type = "tensor<7xi64>";
  Tensor base = integers({7}, {3, -2, 0, -1, 2, 1, 5}),
         exponent = integers({7}, {13, 5, 0, 101, 62, -3, -1});
  EXPECT_EQ(
      runOne(binary("Pow", type, type, type), {base, exponent}).integers,
      (std::vector<int64_t>{1594323, -32, 1, -1, int64_t(1) << 62, 1, 0}));
}

TEST(Elementwise, ClipsAScalarBetweenBoundsOfOneElement) {
  std::string graph =
      "(%x: tensor<f32>, %low: tensor<1xf32>, %high: tensor<1xf32>) -> "
      "tensor<f32> { %y = onnx.node \"Clip\"(%x, %low, %high) since 13 {} : "
      "(tensor<f32>, tensor<1xf32>, tensor<1xf32>) -> tensor<f32> return %y : "
      "tensor<f32> }";
  for (auto [x, y] : {std::pair(5.0, 3.0), {-9.0, -2.0}, {0.5, 0.5}})
    EXPECT_EQ(
        runOne(graph, {floats({}, {x}), floats({1}, {-2}), floats({1}, {3})})
            .floats,
        (std::vector<double>{y}));
}

TEST(Elementwise, ShiftsBeyondTheWidthGiveZero) {
  std::string type = "tensor<3xui8>";
  Tensor x = integers({3}, {1, -1, 3}), by = integers({3}, {7, 4, 9});
  EXPECT_EQ(runOne(binary("BitShift", type, type, type, "direction = \"LEFT\""),
                   {x, by})
                .integers,
            (std::vector<int64_t>{-128, -16, 0}));
  EXPECT_EQ(
      runOne(binary("BitShift", type, type, type, "direction = \"RIGHT\""),
             {x, by})
          .integers,
      (std::vector<int64_t>{0, 15, 0}));
}

TEST(Elementwise, ComparesUnsignedNumbers) {
  Tensor x = integers({2}, {-1, 1}), y = integers({2}, {1, -1});
  EXPECT_EQ(runOne(binary("Greater", "tensor<2xui8>", "tensor<2xui8>",
                          "tensor<2xi1>"),
                   {x, y})
                .integers,
            (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(
      runOne(binary("Greater", "tensor<2xi8>", "tensor<2xi8>", "tensor<2xi1>"),
             {x, y})
          .integers,
      (std::vector<int64_t>{0, 1}));
}

TEST(Elementwise, NanIsUnequalAndWinsMaxima) {
  double nan = std::nan("");
  Tensor x = floats({2}, {nan, 1}), y = floats({2}, {nan, 1});
  EXPECT_EQ(
      runOne(binary("Equal", "tensor<2xf32>", "tensor<2xf32>", "tensor<2xi1>"),
             {x, y})
          .integers,
      (std::vector<int64_t>{0, 1}));
  Tensor most =
      runOne(binary("Max", "tensor<2xf32>", "tensor<2xf32>", "tensor<2xf32>"),
             {x, floats({2}, {5, 5})});
  ASSERT_EQ(most.floats.size(), 2u);
  EXPECT_TRUE(std::isnan(most.floats[0]));
  EXPECT_EQ(most.floats[1], 5);
}

TEST(Elementwise, CastsSaturate) {
  Tensor x = floats({6}, {300.9, -300.9, 1.9, -1.9, std::nan(""), HUGE_VAL});
  EXPECT_EQ(
      runOne(unary("Cast", "tensor<6xf32>", "tensor<6xi8>"), {x}).integers,
      (std::vector<int64_t>{127, -128, 1, -1, 0, 127}));
  // 255 as a signless byte is -1.
  EXPECT_EQ(
      runOne(unary("Cast", "tensor<6xf32>", "tensor<6xui8>"), {x}).integers,
      (std::vector<int64_t>{-1, 0, 1, 0, 0, -1}));
  EXPECT_EQ(
      runOne(unary("Cast", "tensor<6xf32>", "tensor<6xi1>"), {x}).integers,
      (std::vector<int64_t>{1, 1, 1, 1, 1, 1}));
  Tensor large = floats({2}, {1e20, -1e20});
  EXPECT_EQ(
      runOne(unary("Cast", "tensor<2xf32>", "tensor<2xi64>"), {large}).integers,
      (std::vector<int64_t>{std::numeric_limits<int64_t>::max(),
                            std::numeric_limits<int64_t>::min()}));
}

TEST(Elementwise, CastsBetweenIntegersWrap) {
  Tensor x = integers({3}, {300, -1, 128});
  EXPECT_EQ(
      runOne(unary("Cast", "tensor<3xi32>", "tensor<3xi8>"), {x}).integers,
      (std::vector<int64_t>{44, -1, -128}));
  // ui8 200 is stored as -56.
  EXPECT_EQ(runOne(unary("Cast", "tensor<1xui8>", "tensor<1xf32>"),
                   {integers({1}, {-56})})
                .floats,
            (std::vector<double>{200}));
}

TEST(Elementwise, CastsToSmallFloatsRound) {
  Tensor x = floats({3}, {1.00390625, 3.3, -1000});
  // bf16 keeps 8 bits: ties go to even.
  EXPECT_EQ(
      runOne(unary("Cast", "tensor<3xf32>", "tensor<3xbf16>"), {x}).floats,
      (std::vector<double>{1, 3.296875, -1000}));
  // f8E4M3FN ends at 448.
  EXPECT_EQ(
      runOne(unary("Cast", "tensor<3xf32>", "tensor<3xf8E4M3FN>"), {x}).floats,
      (std::vector<double>{1, 3.25, -448}));
}

TEST(Elementwise, ActivationsAreTheirDefinitions) {
  Tensor x = floats({5}, {-40, -1.5, 0, 0.7, 40});
  auto check = [&](const std::string &op, const std::string &attributes,
                   double (*f)(double), double tolerance) {
    SCOPED_TRACE(op);
    Tensor y =
        runOne(unary(op, "tensor<5xf32>", "tensor<5xf32>", attributes), {x});
    std::vector<double> expected;
    for (double value : x.floats)
      expected.push_back(f(value));
    expectNear(y, expected, tolerance);
  };
  check("Sigmoid", "", [](double v) { return 1 / (1 + std::exp(-v)); }, exact);
  check(
      "Softplus", "",
      [](double v) { return v > 30 ? v : std::log1p(std::exp(v)); }, exact);
  check(
      "Gelu", "",
      [](double v) { return v / 2 * (1 + std::erf(v / std::sqrt(2.0))); },
      f32Constants);
  check(
      "Mish", "",
      [](double v) {
        return v * std::tanh(v > 30 ? v : std::log1p(std::exp(v)));
      },
      exact);
  check(
      "HardSwish", "",
      [](double v) { return v * std::fmax(0, std::fmin(1, v / 6 + 0.5)); },
      f32Constants);
  check(
      "Swish", "alpha = 2.0 : f32",
      [](double v) { return v / (1 + std::exp(-2 * v)); }, exact);
  check(
      "Elu", "alpha = 0.5 : f32",
      [](double v) { return v > 0 ? v : 0.5 * (std::exp(v) - 1); }, exact);
  check(
      "Celu", "alpha = 2.0 : f32",
      [](double v) {
        return std::fmax(0, v) + std::fmin(0, 2 * (std::exp(v / 2) - 1));
      },
      exact);
  check(
      "LeakyRelu", "alpha = 0.1 : f32",
      [](double v) { return v < 0 ? 0.1 * v : v; }, f32Constants);
}

TEST(Elementwise, BroadcastsBothWays) {
  Tensor x = floats({2, 1}, {1, 2}), y = floats({3}, {10, 20, 30});
  Tensor z = runOne(
      binary("Add", "tensor<2x1xf32>", "tensor<3xf32>", "tensor<2x3xf32>"),
      {x, y});
  expectNear(z, {11, 21, 31, 12, 22, 32});
}
