//===- RotateTest.cpp - rotations that cancel -----------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "RunPasses.h"
#include "effc/Compress/Hadamard.h"
#include "effc/Dialect/Eff/WeightValues.h"

using namespace mlir;
using namespace effc::eff;
using effc::compress::Direction;
using effc::compress::HadamardPlan;

namespace effc::reference {
namespace {

/// Numbers of few bits, so that products with them stay exact in f32.
Values coarse(int64_t count, uint64_t seed) {
  Values values = noise(count, seed);
  for (double &value : values)
    value = std::round(value * 4) / 4;
  return values;
}

/// A model of two blocks `x += W_down (gate(n) * up(n)) + b` with a norm each,
/// then rows, a norm and a head that is not tied.
std::string gatedModel(int64_t d, int64_t e) {
  std::string D = std::to_string(d), E = std::to_string(e), text;
  std::string wide = E + "x" + D, back = D + "x" + E;
  text += weight("embed", "32x" + D, coarse(32 * d, 1));
  text += weight("head", "32x" + D, coarse(32 * d, 2));
  for (std::string l : {"0", "1"}) {
    uint64_t seed = 10 + l[0];
    text += weight("norm" + l, D, coarse(d, seed));
    text += weight("gate" + l, wide, coarse(d * e, seed + 1));
    text += weight("up" + l, wide, coarse(d * e, seed + 2));
    text += weight("down" + l, back, coarse(d * e, seed + 3));
    text += weight("bias" + l, D, coarse(d, seed + 4));
  }
  text += weight("last", D, coarse(d, 3));
  text += "func.func @main(%ids: tensor<1x3xi32>) -> tensor<3x32xf32> "
          "attributes {eff.entry = #eff.entry<forward, batch = 1, tokens = "
          "3>} {\n";
  auto f32 = [](const std::string &shape) {
    return "!eff.weight<" + shape + ", f32>";
  };
  std::string x = "tensor<1x3x" + D + "xf32>", h = "tensor<1x3x" + E + "xf32>";
  text += use("embed", f32("32x" + D)) + use("head", f32("32x" + D)) +
          use("last", f32(D));
  text += "%x0 = eff.embed %ids, %embed : tensor<1x3xi32>, " + f32("32x" + D) +
          " -> " + x + "\n";
  for (std::string l : {"0", "1"}) {
    std::string next = l == "0" ? "%x1" : "%x2";
    text += use("norm" + l, f32(D)) + use("gate" + l, f32(wide)) +
            use("up" + l, f32(wide)) + use("down" + l, f32(back)) +
            use("bias" + l, f32(D));
    text += "%n" + l + " = eff.rms_norm %x" + l + ", %norm" + l +
            " {eps = 1.0e-5 : f32} : " + x + ", " + f32(D) + "\n";
    for (std::string part : {"gate", "up"})
      text += "%" + part + "v" + l + " = eff.linear %n" + l + ", %" + part + l +
              " : " + x + ", " + f32(wide) + " -> " + h + "\n";
    text +=
        "%p" + l + " = arith.mulf %gatev" + l + ", %upv" + l + " : " + h + "\n";
    if (l == "0") {
      // The bias in the epilogue, and beside it in the other block.
      text += "%d0 = eff.linear %p0, %down0 extras(%bias0 : " + f32(D) +
              ") epilogue {\n^bb0(%acc: f32, %b: f32):\n%s = arith.addf %acc, "
              "%b : f32\neff.yield %s : f32\n} : " +
              h + ", " + f32(back) + " -> " + x + "\n";
    } else {
      text += "%d = eff.linear %p1, %down1 : " + h + ", " + f32(back) + " -> " +
              x + "\n";
      text += "%r = eff.read %bias1 : " + f32(D) + " -> tensor<" + D +
              "xf32>\n%em = tensor.empty() : " + x +
              "\n%bc = linalg.broadcast ins(%r : tensor<" + D +
              "xf32>) outs(%em : " + x + ") dimensions = [0, 1]\n";
      text += "%d1 = arith.addf %d, %bc : " + x + "\n";
    }
    text += next + " = arith.addf %x" + l + ", %d" + l + " : " + x + "\n";
  }
  std::string rows = "tensor<3x" + D + "xf32>";
  text += "%half = arith.constant dense<0.5> : " + x + "\n";
  text += "%x3 = arith.mulf %x2, %half : " + x + "\n";
  text += "%rows = eff.select_rows %x3 : " + x + " -> " + rows + "\n";
  text += "%n = eff.rms_norm %rows, %last {eps = 1.0e-5 : f32} : " + rows +
          ", " + f32(D) + "\n";
  text += "%y = eff.linear %n, %head : " + rows + ", " + f32("32x" + D) +
          " -> tensor<3x32xf32>\nreturn %y : tensor<3x32xf32>\n}\n";
  return text;
}

template <typename T> std::vector<T> logits(ModuleOp module) {
  Interpreter<T> interpreter(module);
  auto outputs = interpreter.run(
      "main", {Tensor<T>::fromIntegers({1, 3}, {5, 17, 30})}, {}, true);
  if (outputs)
    return outputs->front().floats;
  ADD_FAILURE() << llvm::toString(outputs.takeError());
  return {};
}

int64_t count(ModuleOp module, bool transposed) {
  int64_t count = 0;
  module.walk(
      [&](HadamardOp op) { count += op.getTransposed() == transposed; });
  return count;
}

struct Sizes {
  int64_t d, e;
};
void PrintTo(const Sizes &sizes, std::ostream *os) {
  *os << sizes.d << "x" << sizes.e;
}
class RotateSizes : public testing::TestWithParam<Sizes> {};

// quamba.md 5.1 and quamba2.md 5.2. Rotated weights are rounded to f32, an
// error of 2^-24 for each, which sums of some dozens hardly enlarge; where the
// order is a power of four and the numbers have few bits, nothing is rounded.
TEST_P(RotateSizes, RotationCancels) {
  auto [d, e] = GetParam();
  Model model(gatedModel(d, e));
  Values expected = logits<double>(*model.module);
  bool exact = d == 64 && e == 256;
  for (const char *options :
       {"residual=true", "online=true", "residual=true online=true"}) {
    OwningOpRef<ModuleOp> rotated = model.module->clone();
    ASSERT_TRUE(
        runPasses(*rotated, std::string("eff-rotate{") + options + "}"));
    expectNear(logits<double>(*rotated), expected, exact ? 1e-12 : 2e-6);
    expectNear(logits<float>(*rotated), expected, 1e-5);
    bool online = llvm::StringRef(options).contains("online");
    EXPECT_EQ(count(*rotated, false), online ? 2 : 0);
    EXPECT_EQ(count(*rotated, true), 0);
    // Without bases the model is the same.
    ASSERT_TRUE(runPasses(*rotated, "eff-erase-bases"));
    expectNear(logits<double>(*rotated), expected, exact ? 1e-12 : 2e-6);
    EXPECT_EQ(print(*rotated).find("basis"), std::string::npos);
  }
}
INSTANTIATE_TEST_SUITE_P(
    Orders, RotateSizes,
    // 2^m; 12, 20, 28 and 40 times 2^m; blocks for odd factors.
    testing::Values(Sizes{64, 256}, Sizes{32, 96}, Sizes{24, 40}, Sizes{40, 80},
                    Sizes{56, 112}, Sizes{20, 28}, Sizes{12, 160},
                    Sizes{36, 44}, Sizes{6, 10}),
    [](const auto &info) {
      return std::to_string(info.param.d) + "x" + std::to_string(info.param.e);
    });

/// The weights that read online rotations with H in place of H^T.
void transposeOnline(ModuleOp module) {
  for (WeightOp op : module.getOps<WeightOp>()) {
    BasisAttr basis = op.getType().getInputs();
    if (!op.getSymName().starts_with("down") || !basis)
      continue;
    auto values = WeightValues::read(op);
    ASSERT_TRUE(bool(values));
    auto plan = HadamardPlan::createBlockDiagonal(basis.getHadamard());
    ASSERT_TRUE(bool(plan));
    compress::MatrixView<float> view(values->getValues().data(),
                                     values->getRows(), values->getColumns());
    for (int i = 0; i < 2; ++i)
      ASSERT_TRUE(bool(rotateInputs(*plan, view, Direction::Transposed)));
    WeightValues::replace(op, std::move(*values));
  }
}

// quamba.md 5.1: orders of 20, 28 and 40 times 2^m are not symmetric.
TEST(Rotate, TransposedMatrixFails) {
  for (int64_t e : {64, 96, 40, 80, 112}) {
    Model model(gatedModel(16, e));
    Values expected = logits<double>(*model.module);
    ASSERT_TRUE(runPasses(*model.module, "eff-rotate{online=true}"));
    transposeOnline(*model.module);
    Values actual = logits<double>(*model.module);
    double error = 0, largest = 0;
    for (size_t i = 0; i < actual.size(); ++i) {
      error = std::max(error, std::fabs(actual[i] - expected[i]));
      largest = std::max(largest, std::fabs(expected[i]));
    }
    bool symmetric = e == 64 || e == 96;
    EXPECT_EQ(error < 1e-5 * largest, symmetric) << e;
    EXPECT_EQ(error > 0.05 * largest, !symmetric) << e;
  }
}

// Epilogues that hold the bias, the residual, a constant factor and the gate.
TEST(Rotate, FusedEpiloguesCancelToo) {
  Model model(gatedModel(16, 24));
  Values expected = logits<double>(*model.module);
  ASSERT_TRUE(runPasses(*model.module,
                        "func.func(eff-fuse-epilogue),canonicalize,"
                        "eff-rotate{residual=true online=true}"));
  int64_t fused = 0;
  model.module->walk([&](LinearOp op) { fused += op.hasEpilogue(); });
  EXPECT_EQ(fused, 4);
  EXPECT_EQ(count(*model.module, false), 2);
  expectNear(logits<double>(*model.module), expected, 2e-6);
}

// quamba.md 5.2, for the op: H e_i is column i of the matrix, lengths stay, and
// the transposed rotation goes back.
TEST(Rotate, FastTransformEqualsDense) {
  for (int64_t n : {8, 24, 40, 56, 80, 36}) {
    std::string size = std::to_string(n),
                x = "tensor<" + size + "x" + size + "xf32";
    std::string h = x + ", #eff.basis<hadamard = " + size + ">>";
    Model model("func.func @main(%x: " + x + ">) -> (" + h + ", " + x +
                ">) {\n%y = eff.hadamard %x : " + x + "> -> " + h +
                "\n%z = eff.hadamard %y {transposed} : " + h + " -> " + x +
                ">\nreturn %y, %z : " + h + ", " + x + ">\n}\n");
    Values identity(n * n);
    for (int64_t i = 0; i < n; ++i)
      identity[i * n + i] = 1;
    auto results = model.run<double>({tensor<double>({n, n}, identity)});
    auto plan = HadamardPlan::createBlockDiagonal(n);
    ASSERT_TRUE(bool(plan));
    for (int64_t i = 0; i < n; ++i) {
      double length = 0;
      for (int64_t j = 0; j < n; ++j) {
        double y = results[0].floats[i * n + j];
        EXPECT_NEAR(y, plan->at(j, i), 1e-14);
        length += y * y;
      }
      EXPECT_NEAR(length, 1, 1e-13);
    }
    expectNear(results[1].floats, identity, 1e-13);
  }
}

TEST(Rotate, NormsMoveIntoMatricesAndBecomeOnes) {
  Model model(gatedModel(16, 32));
  ASSERT_TRUE(runPasses(*model.module, "eff-rotate{residual=true}"));
  int64_t norms = 0;
  for (WeightOp op : model.module->getOps<WeightOp>()) {
    if (!op.getSymName().starts_with("norm") && op.getSymName() != "last")
      continue;
    auto values = WeightValues::read(op);
    ASSERT_TRUE(bool(values));
    EXPECT_EQ(values->getValues().vec(), std::vector<float>(16, 1));
    ++norms;
  }
  EXPECT_EQ(norms, 3);
}

TEST(Rotate, SameBytesForAnyNumberOfThreads) {
  std::string texts[2];
  for (int i = 0; i < 2; ++i) {
    Model model(gatedModel(24, 56));
    ASSERT_TRUE(runPasses(*model.module,
                          "eff-rotate{residual=true online=true threads=" +
                              std::to_string(1 + 2 * i) + "}"));
    texts[i] = print(*model.module);
  }
  EXPECT_EQ(texts[0], texts[1]);
}

//===----------------------------------------------------------------------===//
// Whole models
//===----------------------------------------------------------------------===//

struct Case {
  const char *file, *options;
  /// Rotations at run time of one entry point: forward, transposed.
  int64_t forward, transposed;
};
void PrintTo(const Case &c, std::ostream *os) {
  *os << c.file << " " << c.options;
}
class RotateModel : public testing::TestWithParam<Case> {};

// The models store bf16; the rotated weights are their rotated values in f32.
TEST_P(RotateModel, LogitsStay) {
  const Case &c = GetParam();
  MLIRContext context;
  auto model = raise(context, c.file);
  if (!model)
    GTEST_SKIP() << c.file << " is not there";
  auto expected = runModel<double>(**model);
  auto single = runModel<float>(**model);
  ASSERT_TRUE(runPasses(**model, std::string("eff-rotate{") + c.options +
                                     "},canonicalize,cse"));
  for (func::FuncOp entry : (*model)->getOps<func::FuncOp>()) {
    int64_t forward = 0, transposed = 0;
    entry.walk(
        [&](HadamardOp op) { ++(op.getTransposed() ? transposed : forward); });
    EXPECT_EQ(forward, c.forward) << entry.getName().str();
    EXPECT_EQ(transposed, c.transposed) << entry.getName().str();
  }
  ASSERT_EQ(expected.size(), 2u);
  auto actual = runModel<double>(**model);
  auto actualSingle = runModel<float>(**model);
  for (size_t i = 0; i < expected.size(); ++i) {
    expectNear(actual[i], expected[i], 5e-6);
    // f32 sums differ in their order, in every layer.
    expectNear(actualSingle[i], Values(single[i].begin(), single[i].end()),
               1e-4);
  }
}
INSTANTIATE_TEST_SUITE_P(
    Models, RotateModel,
    testing::Values(Case{"llama-tiny", "residual=true", 1, 1},
                    Case{"llama-tiny", "online=true", 4, 0},
                    Case{"llama-tiny",
                         "residual=true online=true attention=true", 9, 1},
                    Case{"mamba-tiny", "residual=true online=true", 5, 1},
                    Case{"mamba2-tiny", "residual=true online=true", 5, 1},
                    Case{"mamba2-16m", "residual=true online=true", 13, 1}),
    [](const auto &info) { return "Case" + std::to_string(info.index); });

} // namespace
} // namespace effc::reference
