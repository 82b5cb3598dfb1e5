//===- InterpreterTest.cpp - calls, sequences, errors ---------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Model.h"

namespace effc::reference {

static bool contains(const std::string &text, const char *part) {
  return text.find(part) != std::string::npos;
}

static const char kIdentity[] = "func.func @main(%x: tensor<2xf32>) -> "
                                "tensor<2xf32> { return %x : tensor<2xf32> }";

TEST(InterpreterTest, WrongInputsAreErrors) {
  Model model(kIdentity);
  EXPECT_TRUE(contains(model.fail({}), "takes 1 inputs, got 0"));
  EXPECT_TRUE(
      contains(model.fail({tensor<double>({3}, {1, 2, 3})}), "another shape"));
  EXPECT_TRUE(contains(model.fail({Tensor<double>::fromIntegers({2}, {1, 2})}),
                       "has integers, floats are needed"));
  EXPECT_TRUE(contains(model.fail({tensor<double>({2}, {1, 2, 3})}),
                       "another number of elements"));
  EXPECT_TRUE(contains(model.fail({}, {}, "nowhere"), "no function 'nowhere'"));
}

TEST(InterpreterTest, UnknownOpsAreNamed) {
  Model model(R"(
    func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {
      %y = arith.bitcast %x : tensor<2xf32> to tensor<2xi32>
      %z = math.ctpop %y : tensor<2xi32>
      %w = arith.bitcast %z : tensor<2xi32> to tensor<2xf32>
      return %w : tensor<2xf32>
    })");
  std::string message = model.fail({tensor<double>({2}, {1, 2})});
  EXPECT_TRUE(contains(message, "EFF0620")) << message;
  EXPECT_TRUE(contains(message, "math.ctpop")) << message;
}

TEST(InterpreterTest, BitsOfFloatsAreIntegers) {
  Model model(R"(
    func.func @main(%x: tensor<3xf32>) -> (tensor<3xi32>, tensor<3xf32>) {
      %y = arith.bitcast %x : tensor<3xf32> to tensor<3xi32>
      %z = arith.bitcast %y : tensor<3xi32> to tensor<3xf32>
      return %y, %z : tensor<3xi32>, tensor<3xf32>
    })");
  auto results = model.run<double>({tensor<double>({3}, {1, -2, 0})});
  EXPECT_EQ(results[0].integers,
            (std::vector<int64_t>{0x3f800000, -0x40000000, 0}));
  EXPECT_EQ(results[1].floats, (std::vector<double>{1, -2, 0}));
}

TEST(InterpreterTest, FunctionsWithoutBodyOrWithBranchesAreErrors) {
  Model external("func.func private @main(tensor<2xf32>) -> tensor<2xf32>");
  EXPECT_TRUE(
      contains(external.fail({tensor<double>({2}, {1, 2})}), "has no body"));
  Model weightArgument("func.func @main(%w: !eff.weight<2, f32>) { return }");
  EXPECT_TRUE(contains(weightArgument.fail({tensor<double>({2}, {1, 2})}),
                       "is not a tensor"));
}

TEST(InterpreterTest, CallsOtherFunctions) {
  Model model(R"(
    func.func private @double(%x: tensor<2xf32>) -> tensor<2xf32> {
      %y = arith.addf %x, %x : tensor<2xf32>
      return %y : tensor<2xf32>
    }
    func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {
      %y = call @double(%x) : (tensor<2xf32>) -> tensor<2xf32>
      %z = call @double(%y) : (tensor<2xf32>) -> tensor<2xf32>
      return %z : tensor<2xf32>
    })");
  expectNear(model.run<double>({tensor<double>({2}, {1, 2})})[0].floats, {4, 8},
             0);
}

static const char kStateful[] = R"(
  eff.weight @w : !eff.weight<1x2, f32> = dense<1.0> : tensor<1x2xf32>
  eff.state @s : !eff.state<conv, 1x1, f32>
  eff.cache @c : !eff.cache<1x1, capacity = 4, f32>
  func.func @main(%x: tensor<2x1x1xf32>) -> tensor<2x1x1xf32>
      attributes {eff.entry = #eff.entry<decode, batch = 2, tokens = 1>} {
    %w = eff.use @w : !eff.weight<1x2, f32>
    %s = eff.use @s : !eff.state<conv, 1x1, f32>
    %c = eff.use @c : !eff.cache<1x1, capacity = 4, f32>
    %y = eff.causal_conv1d %x, %w, %s : tensor<2x1x1xf32>, !eff.weight<1x2, f32>, !eff.state<conv, 1x1, f32>
    eff.cache_append %y, %c : tensor<2x1x1xf32>, !eff.cache<1x1, capacity = 4, f32>
    return %y : tensor<2x1x1xf32>
  })";

TEST(InterpreterTest, RowsAreIndependent) {
  Model model(kStateful);
  Sequence<double> a = model.get<double>().createSequence(), b = a;
  EXPECT_EQ(a.buffers.at("s").size(), 1u);
  EXPECT_TRUE(a.buffers.at("c").empty());
  model.run<double>({tensor<double>({2, 1, 1}, {1, 10})}, {{&a, 1}, {&b, 1}});
  // The rows change places and keep their states.
  auto y = model
               .run<double>({tensor<double>({2, 1, 1}, {20, 2})},
                            {{&b, 1}, {&a, 1}})[0]
               .floats;
  expectNear(y, {30, 3}, 0);
  EXPECT_EQ(a.buffers.at("c"), (Values{1, 3}));
  EXPECT_EQ(b.buffers.at("c"), (Values{10, 30}));
}

TEST(InterpreterTest, AllTokensOfAnEntryPointAreValidByDefault) {
  Model model(kStateful);
  Sequence<double> a = model.get<double>().createSequence(), b = a;
  model.run<double>({tensor<double>({2, 1, 1}, {1, 10})}, {{&a}, {&b}});
  EXPECT_EQ(a.length, 1);
  EXPECT_EQ(b.length, 1);
}

TEST(InterpreterTest, ARowWithoutValidTokensIsLeftAlone) {
  Model model(kStateful);
  Sequence<double> a = model.get<double>().createSequence(), b = a;
  model.run<double>({tensor<double>({2, 1, 1}, {1, 10})}, {{&a, 1}, {&b, 1}});
  Sequence<double> before = b;
  model.run<double>({tensor<double>({2, 1, 1}, {1, 10})}, {{&a, 1}, {&b, 0}});
  EXPECT_EQ(b.length, before.length);
  EXPECT_EQ(b.buffers, before.buffers);
}

TEST(InterpreterTest, MissingOrForeignSequencesAreErrors) {
  Model model(kStateful);
  auto inputs = std::vector<Tensor<double>>{tensor<double>({2, 1, 1}, {1, 10})};
  Sequence<double> a = model.get<double>().createSequence(), foreign;
  EXPECT_TRUE(contains(model.fail(inputs), "no sequence for batch row 0"));
  EXPECT_TRUE(contains(model.fail(inputs, {{&a, 1}, {}}),
                       "no sequence for batch row 1"));
  EXPECT_TRUE(contains(model.fail(inputs, {{&a, 1}}), "the call has 1 rows"));
  EXPECT_TRUE(
      contains(model.fail(inputs, {{&a, 1}, {&foreign, 1}}), "another model"));
  EXPECT_TRUE(foreign.buffers.empty());
  // The same names, other sizes; and a cache without the tokens it should hold.
  foreign.buffers = {{"c", {}}, {"s", {}}};
  EXPECT_TRUE(
      contains(model.fail(inputs, {{&a, 1}, {&foreign, 1}}), "another model"));
  Sequence<double> forgetful = a;
  forgetful.length = 1;
  EXPECT_TRUE(contains(model.fail(inputs, {{&a, 1}, {&forgetful, 1}}),
                       "another model"));
  Sequence<double> b = a;
  EXPECT_TRUE(contains(model.fail(inputs, {{&a, 1}, {&b, 2}}),
                       "more tokens are valid"));
  // None of the failed calls has left a trace.
  EXPECT_EQ(a.buffers, model.get<double>().createSequence().buffers);
}

TEST(InterpreterTest, WeightWithoutValuesIsAnError) {
  Model model(R"(
    eff.weight @w : !eff.weight<2, f32>
    func.func @main() -> tensor<2xf32> {
      %w = eff.use @w : !eff.weight<2, f32>
      %t = eff.read %w : !eff.weight<2, f32> -> tensor<2xf32>
      return %t : tensor<2xf32>
    })");
  EXPECT_TRUE(contains(model.fail({}), "weight 'w' has no values"));
}

} // namespace effc::reference
