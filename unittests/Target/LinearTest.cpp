//===- LinearTest.cpp - linears over ragged shapes
//--------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "KernelTest.h"

#include "effc/Target/PackWeight.h"
#include "mlir/IR/MLIRContext.h"

#include <cmath>
#include <cstring>
#include <gtest/gtest-spi.h>

using namespace effc;

namespace {

bool hasInt4(llvm::StringRef family) { return family.contains("_i4"); }
bool hasInt8Activations(llvm::StringRef family) {
  return family.ends_with("a8");
}

/// Roundings of a linear on int8 activations.
struct Rounding {
  bool staticScale = false;
  int64_t quant = 0;
  bool each = false;
  /// Weights and activations with zero points.
  bool zeros = false, asymmetric = false;
};

class LinearTest : public testing::Test {
protected:
  LinearTest() : context(mlir::MLIRContext::Threading::DISABLED) {
    context.loadDialect<eff::EffDialect>();
  }

  /// The type of a packed [n, k] weight of a family.
  eff::WeightType typeOf(const std::string &family, int64_t n, int64_t k,
                         int64_t group, bool zeros = false) {
    mlir::Attribute format;
    if (family == "linear_f32")
      format = mlir::TypeAttr::get(mlir::Float32Type::get(&context));
    else if (family == "linear_bf16")
      format = mlir::TypeAttr::get(mlir::BFloat16Type::get(&context));
    else if (family == "linear_f16")
      format = mlir::TypeAttr::get(mlir::Float16Type::get(&context));
    else if (family == "linear_f8")
      format = eff::Float8Attr::get(&context, float8);
    else if (hasInt4(family))
      format = eff::Int4Attr::get(&context, group, zeros);
    else
      format = eff::Int8Attr::get(&context, group, zeros);
    return eff::WeightType::get(&context, {n, k}, format,
                                eff::getKernelLayout(format));
  }

  Buffer pack(eff::WeightType type, const std::vector<float> &values) {
    Buffer packed(type.getPackedBytes());
    int64_t k = type.getShape()[1];
    auto read = [&](int64_t n, int64_t count,
                    llvm::MutableArrayRef<float> out) {
      std::copy(values.begin() + n * k, values.begin() + (n + count) * k,
                out.begin());
    };
    llvm::cantFail(packWeight(
        type, RowSource{read},
        {packed.as<uint8_t>(), static_cast<size_t>(packed.size())}, 2));
    return packed;
  }

  /// Integers with zero points, integers too unless `halves`.
  Buffer packIntegers(eff::WeightType type, bool halves) {
    int64_t n = type.getShape()[0], k = type.getShape()[1],
            low = type.isInt4() ? -8 : -128;
    std::vector<int8_t> q(n * k);
    for (int64_t i = 0; i < n * k; ++i)
      q[i] = static_cast<int8_t>(low + i * 37 % (-2 * low));
    int64_t count = n * type.getGroupCount();
    std::vector<float> scales = randomFloats(count, 21, 0.1f), zeros(count);
    for (int64_t i = 0; i < count; ++i)
      zeros[i] = static_cast<float>(low + i * 11 % (-2 * low)) +
                 (halves ? 0.5f : 0.0f);
    Buffer packed(type.getPackedBytes());
    auto read = [](int64_t, int64_t, llvm::MutableArrayRef<float>) {};
    llvm::cantFail(packWeight(
        type, RowSource{read, {}, {q, scales, zeros}},
        {packed.as<uint8_t>(), static_cast<size_t>(packed.size())}, 2));
    return packed;
  }

  /// All finite 8-bit floats, and scales.
  Buffer packFloats8(eff::WeightType type) {
    int64_t n = type.getShape()[0], k = type.getShape()[1];
    std::vector<int8_t> q(n * k);
    for (int64_t i = 0; i < n * k; ++i) {
      int bits = static_cast<int>(i * 37 + i / 256) & 255;
      bool finite = float8 == eff::Float8Kind::E5M2 ? (bits & 0x7c) != 0x7c
                                                    : (bits & 0x7f) != 0x7f;
      q[i] = static_cast<int8_t>(finite ? bits : 0x81);
    }
    std::vector<float> scales = randomFloats(n, 21, 0.1f);
    Buffer packed(type.getPackedBytes());
    auto read = [](int64_t, int64_t, llvm::MutableArrayRef<float>) {};
    llvm::cantFail(packWeight(
        type, RowSource{read, {}, {q, scales}},
        {packed.as<uint8_t>(), static_cast<size_t>(packed.size())}, 2));
    return packed;
  }

  struct Shape {
    int64_t rows, n, k, padx, pady, group;
  };
  struct Fusion {
    std::string text;
    kernels::naive::Epilogue naive;
    std::vector<const Buffer *> extras;
    kernels::naive::Constants constants;
  };

  /// Rounds rows to int8; whatever stands behind k in a row is no zero.
  static void quantize(const Buffer &x, int64_t ldx, int64_t rows, int64_t k,
                       int64_t ldq, Buffer &q, Buffer &scale) {
    std::memset(q.as<char>(), 0x5b, q.size());
    std::vector<int8_t> codes(rows * k);
    void *operands[] = {x.as<void>(), codes.data(), scale.as<void>()};
    ASSERT_TRUE(kernels::naive::run(
        "quantize_rows", {{"rows", rows}, {"k", k}, {"ldx", ldx}, {"ldq", k}},
        operands, Call(1, 1).call));
    for (int64_t r = 0; r < rows; ++r)
      std::memcpy(q.as<int8_t>() + r * ldq, codes.data() + r * k, k);
  }

  void run(const std::string &family, Shape s, const Fusion &fusion,
           const Call &call, bool dynamicRows = false, Rounding rounding = {}) {
    bool quantized = hasInt8Activations(family);
    int64_t ldx = s.k + s.padx, ldy = s.n + s.pady;
    Buffer x = randomFloats(s.rows * ldx, 1),
           y((s.rows - 1) * ldy * (rounding.quant ? 1 : 4) +
             s.n * (rounding.quant ? 1 : 4)),
           q((s.rows - 1) * ldx + s.k), scale(s.rows * 4);
    bool isInt8 = llvm::StringRef(family).starts_with("linear_i8");
    int64_t group = isInt8 && !rounding.zeros ? 0 : s.group;
    auto type = typeOf(family, s.n, s.k, group, rounding.zeros);
    Buffer w = type.getFloat8() ? packFloats8(type)
               : rounding.zeros ? packIntegers(type, /*halves=*/!quantized)
                                : pack(type, randomFloats(s.n * s.k, 2));
    std::vector<float> oscales = randomFloats(rounding.each ? s.n : 1, 12);
    for (float &f : oscales)
      f = 0.01f + 0.02f * std::fabs(f);
    Buffer oscale = oscales;
    Case c;
    c.family = family;
    c.constants = {{"rows", dynamicRows ? 0 : s.rows},
                   {"n", s.n},
                   {"k", s.k},
                   {"ldy", ldy}};
    c.constants["extras"] = fusion.extras.size();
    c.constants[quantized ? "ldq" : "ldx"] = ldx;
    if (hasInt4(family) || (isInt8 && !quantized))
      c.constants["group"] = group;
    c.constants["zeros"] = rounding.zeros;
    if (!type.isInteger())
      c.constants.erase("zeros");
    if (type.getFloat8())
      c.constants["format"] = static_cast<int64_t>(float8);
    c.constants.insert(fusion.constants.begin(), fusion.constants.end());
    c.operands = {&x, &w, &y};
    c.outputs = {2};
    if (quantized) {
      quantize(x, ldx, s.rows, s.k, ldx, q, scale);
      if (rounding.asymmetric) {
        scale = std::vector<float>{0.05f, -17};
        c.constants["asymmetric"] = 1;
      }
      c.constants["static_scale"] = rounding.staticScale;
      c.constants["quant"] = rounding.quant;
      c.constants["oscale_each"] = rounding.each;
      c.operands = {&q, &scale, &w, &y, rounding.quant ? &oscale : nullptr};
      c.outputs = {3};
      if (rounding.quant)
        c.codes = {3};
      c.steps = hasInt4(family);
      // Sums are integers; without an epilogue nothing is left to differ in.
      c.exact = fusion.text.empty();
    }
    for (const Buffer *extra : fusion.extras)
      c.operands.push_back(extra);
    c.epilogue = fusion.text;
    c.naiveEpilogue = fusion.naive;
    std::vector<void *> pointers;
    for (const Buffer *operand : c.operands)
      pointers.push_back(operand ? operand->as<void>() : nullptr);
    double magnitude = kernels::naive::largestMagnitude(
        family, c.constants, pointers.data(), call.call);
    // One rounding of 2^-24 of a partial sum for each k; they add up like a
    // random walk.
    c.absolute = 4 * std::sqrt(static_cast<double>(s.k)) * std::ldexp(1, -24) *
                 magnitude;
    c.relative = 1e-6;
    check(c, call);
  }

  mlir::MLIRContext context;
  eff::Float8Kind float8 = eff::Float8Kind::E4M3FN;
};

TEST_F(LinearTest, Floats8) {
  for (auto kind : {eff::Float8Kind::E4M3FN, eff::Float8Kind::E5M2}) {
    float8 = kind;
    for (Shape s : {Shape{1, 33, 19, 0, 0, 0},
                    {2, 16, 8, 5, 3, 0},
                    {5, 100, 77, 3, 7, 0},
                    {33, 65, 64, 0, 31, 0}})
      run("linear_f8", s, {}, Call(1, 1));
  }
}

// Zero points, of weights and of activations, and groups of int8.
TEST_F(LinearTest, ZeroPoints) {
  Rounding zeros, both;
  zeros.zeros = both.zeros = true;
  both.asymmetric = both.staticScale = true;
  for (Shape s : {Shape{1, 33, 19, 0, 0, 8}, {5, 50, 77, 3, 7, 32}}) {
    run("linear_i4", s, {}, Call(1, 1), false, zeros);
    run("linear_i8", s, {}, Call(1, 1), false, zeros);
    run("linear_i4a8", s, {}, Call(1, 1), false, zeros);
    s.group = 0;
    run("linear_i8", s, {}, Call(1, 1), false, zeros);
    run("linear_i8a8", s, {}, Call(1, 1), false, both);
    both.zeros = !both.zeros;
  }
}

const char *const kFamilies[] = {"linear_f32", "linear_bf16", "linear_f16",
                                 "linear_i8",  "linear_i8a8", "linear_i4",
                                 "linear_i4a8"};

// Columns and depth that are no multiple of a panel or a step, rows below and
// above one register tile.
TEST_F(LinearTest, RaggedShapes) {
  for (const char *family : kFamilies) {
    run(family, {1, 33, 19, 0, 0, 8}, {}, Call(1, 1));
    run(family, {2, 16, 8, 5, 3, 8}, {}, Call(1, 1));
    run(family, {5, 100, 77, 3, 7, 32}, {}, Call(1, 1));
    run(family, {13, 47, 130, 1, 1, 64}, {}, Call(1, 1));
    run(family, {33, 65, 64, 0, 31, 64}, {}, Call(1, 1));
  }
}

TEST_F(LinearTest, EveryHeightOfATile) {
  for (int64_t rows = 3; rows <= 12; ++rows)
    run("linear_bf16", {rows, 70, 41, 2, 2, 0}, {}, Call(1, 1));
  for (int64_t rows : {6, 12, 24})
    run("linear_i8a8", {rows, 70, 41, 2, 2, 0}, {}, Call(1, 1));
  for (int64_t rows : {3, 4, 17})
    for (const char *family : {"linear_i4", "linear_i4a8"})
      run(family, {rows, 70, 141, 2, 2, 32}, {}, Call(1, 1));
}

// Results rounded to int8 behind the epilogue, by one scale or one for each
// column, from activations of one scale or one for each row.
TEST_F(LinearTest, ResultsAsCodes) {
  int64_t n = 37;
  Buffer bias = randomFloats(n, 3);
  Fusion relu;
  relu.text = R"(func.func @eff_epilogue(%acc: f32, %b: f32) -> f32 {
    %0 = arith.maximumf %acc, %b : f32
    return %0 : f32
  })";
  relu.naive = [&](double acc, int64_t, int64_t c) {
    return std::max(acc, static_cast<double>(bias.as()[c]));
  };
  relu.extras = {&bias};
  relu.constants = {{"extra0_ld", 0}};
  for (const char *family : {"linear_i8a8", "linear_i4a8"})
    for (bool each : {false, true}) {
      run(family, {5, n, 43, 0, 3, 16}, relu, Call(1, 1), false,
          {each, 1, each});
      run(family, {1, n, 128, 5, 0, 64}, {}, Call(1, 1), false,
          {!each, 1, each});
    }
}

// Codes are read a little further than they go, where results may lie that
// other tiles and threads write: these do not count.
TEST_F(LinearTest, ResultsRightBehindTheCodes) {
  int64_t rows = 2, n = 200, k = 14;
  Buffer x = randomFloats(rows * k, 7), q(rows * k), scale(rows * 4);
  quantize(x, k, rows, k, k, q, scale);
  for (const char *family : {"linear_i8a8", "linear_i4a8"}) {
    Buffer w = pack(typeOf(family, n, k, hasInt4(family) ? 8 : 0),
                    randomFloats(n * k, 8));
    KernelSpec spec;
    spec.family = family;
    for (auto [name, value] : {std::pair<const char *, int64_t>{"rows", rows},
                               {"n", n},
                               {"k", k},
                               {"ldq", k},
                               {"ldy", n}})
      spec.set(name, value);
    if (hasInt4(family))
      spec.set("group", 8);
    for (const X86Machine &machine : machines()) {
      LoadedKernel kernel = llvm::cantFail(LoadedKernel::load(spec, machine));
      Buffer apart(rows * n * 4), joined(rows * k + rows * n * 4);
      std::memcpy(joined.as<char>(), q.as<char>(), rows * k);
      void *operands[] = {q.as<void>(), scale.as<void>(), w.as<void>(),
                          apart.as<void>(), nullptr};
      kernel(operands, Call(1, 1).call);
      operands[0] = joined.as<void>();
      operands[3] = joined.as<char>() + rows * k;
      kernel(operands, Call(1, 1).call);
      EXPECT_EQ(std::memcmp(operands[3], apart.as<void>(), apart.size()), 0)
          << family << ' ' << machine.name();
    }
  }
}

// Activations of very different size in one group: what is small beside the
// largest of its group is as exact as in sums of f32.
TEST_F(LinearTest, OutliersKeepSmallActivations) {
  int64_t n = 16, k = 64;
  std::vector<float> weights(n * k, 1.0f), values = randomFloats(k, 31, 1e-3f);
  for (int64_t c = 0; c < n; ++c)
    weights[c * k] = 0; // nothing of the outlier
  values[0] = 100;
  Buffer w = pack(typeOf("linear_i4", n, k, 64), weights), x = values, y(n * 4);
  Case c;
  c.family = "linear_i4";
  c.constants = {{"rows", 1}, {"n", n},   {"k", k},
                 {"ldx", k},  {"ldy", n}, {"group", 64}};
  c.operands = {&x, &w, &y};
  c.outputs = {2};
  c.absolute = 100 * std::ldexp(1, -24) * std::sqrt(static_cast<double>(k));
  check(c, Call(1, 1));
}

TEST_F(LinearTest, NotFiniteStaysNotFinite) {
  int64_t n = 16, k = 48;
  Buffer w = pack(typeOf("linear_i4", n, k, 16), randomFloats(n * k, 2));
  for (float bad : {INFINITY, -INFINITY, NAN}) {
    std::vector<float> values = randomFloats(k, 5);
    values[20] = bad;
    Buffer x = values;
    for (const X86Machine &machine : machines()) {
      Buffer y(n * 4);
      KernelSpec spec;
      spec.family = "linear_i4";
      for (auto [name, value] : {std::pair<const char *, int64_t>{"rows", 1},
                                 {"n", n},
                                 {"k", k},
                                 {"ldx", k},
                                 {"ldy", n},
                                 {"group", 16}})
        spec.set(name, value);
      LoadedKernel kernel = llvm::cantFail(LoadedKernel::load(spec, machine));
      void *operands[] = {x.as<void>(), w.as<void>(), y.as<void>(), nullptr};
      kernel(operands, Call(1, 1).call);
      for (float v : y.get())
        EXPECT_FALSE(std::isfinite(v)) << machine.name() << ' ' << bad;
    }
  }
}

TEST_F(LinearTest, RowsOfTheCall) {
  for (const char *family : kFamilies)
    for (int32_t rows : {1, 7, 23})
      run(family, {rows, 50, 40, 0, 0, 8}, {},
          Call(1, rows, {}, {}, {}, /*allLogits=*/true), /*dynamicRows=*/true);
}

/// A vector and a tensor as extras: acc + bias + residual.
TEST_F(LinearTest, BiasAndResidual) {
  int64_t rows = 5, n = 35, ld = 40;
  Buffer bias = randomFloats(n, 3),
         residual = randomFloats((rows - 1) * ld + n, 4);
  Fusion fusion;
  fusion.text = R"(func.func @eff_epilogue(%acc: f32, %b: f32, %r: f32) -> f32 {
    %0 = arith.addf %acc, %b : f32
    %1 = arith.addf %0, %r : f32
    return %1 : f32
  })";
  fusion.naive = [&](double acc, int64_t r, int64_t c) {
    return acc + bias.as()[c] + residual.as()[r * ld + c];
  };
  fusion.extras = {&bias, &residual};
  fusion.constants = {{"extra0_ld", 0}, {"extra1_ld", ld}};
  for (const char *family : kFamilies)
    run(family, {rows, n, 24, 0, 5, 8}, fusion, Call(1, 1));
}

TEST_F(LinearTest, SiluTimesUp) {
  int64_t rows = 3, n = 48;
  Buffer up = randomFloats(rows * n, 5, 3);
  Fusion fusion;
  fusion.text = R"(func.func @eff_epilogue(%acc: f32, %up: f32) -> f32 {
    %one = arith.constant 1.0 : f32
    %neg = arith.negf %acc : f32
    %e = math.exp %neg : f32
    %d = arith.addf %e, %one : f32
    %s = arith.divf %acc, %d : f32
    %y = arith.mulf %s, %up : f32
    return %y : f32
  })";
  fusion.naive = [&](double acc, int64_t r, int64_t c) {
    return acc / (1 + std::exp(-acc)) * up.as()[r * n + c];
  };
  fusion.extras = {&up};
  fusion.constants = {{"extra0_ld", n}};
  run("linear_bf16", {rows, n, 33, 0, 0, 0}, fusion, Call(1, 1));
}

TEST_F(LinearTest, GeluByErf) {
  Fusion fusion;
  fusion.text = R"(func.func @eff_epilogue(%acc: f32) -> f32 {
    %h = arith.constant 0.5 : f32
    %one = arith.constant 1.0 : f32
    %r = arith.constant 0.707106769 : f32
    %x = arith.mulf %acc, %r : f32
    %e = math.erf %x : f32
    %s = arith.addf %e, %one : f32
    %t = arith.mulf %acc, %s : f32
    %y = arith.mulf %t, %h : f32
    return %y : f32
  })";
  fusion.naive = [](double acc, int64_t, int64_t) {
    return 0.5 * acc * (1 + std::erf(acc * std::sqrt(0.5)));
  };
  run("linear_f32", {4, 40, 20, 0, 0, 0}, fusion, Call(1, 1));
}

// softplus(acc + b), as Mamba computes its time steps, with a clamp and a
// comparison.
TEST_F(LinearTest, SoftplusWithSelect) {
  int64_t n = 24;
  Buffer bias = randomFloats(n, 6, 30);
  Fusion fusion;
  fusion.text = R"(func.func @eff_epilogue(%acc: f32, %b: f32) -> f32 {
    %limit = arith.constant 20.0 : f32
    %x = arith.addf %acc, %b : f32
    %e = math.exp %x : f32
    %l = math.log1p %e : f32
    %c = arith.cmpf ogt, %x, %limit : f32
    %y = arith.select %c, %x, %l : f32
    return %y : f32
  })";
  fusion.naive = [&](double acc, int64_t, int64_t c) {
    return std::log1p(std::exp(acc + bias.as()[c]));
  };
  fusion.extras = {&bias};
  fusion.constants = {{"extra0_ld", 0}};
  run("linear_i8", {2, n, 36, 0, 0, 0}, fusion, Call(1, 1));
}

// What the other tests rely on: a wrong value is a failure.
TEST_F(LinearTest, WrongValuesAreSeen) {
  Fusion fusion;
  fusion.naive = [](double acc, int64_t row, int64_t col) {
    return row == 1 && col == 4 ? acc + 0.01 : acc;
  };
  testing::TestPartResultArray failures;
  {
    testing::ScopedFakeTestPartResultReporter reporter(
        testing::ScopedFakeTestPartResultReporter::
            INTERCEPT_ONLY_CURRENT_THREAD,
        &failures);
    run("linear_f32", {2, 5, 4, 0, 0, 0}, fusion, Call(1, 1));
  }
  EXPECT_EQ(failures.size(), static_cast<int>(machines().size()));
}

// A row's result does not depend on how many rows there are, nor on the tile
// that it falls into.
TEST_F(LinearTest, RowsAreIndependent) {
  for (const char *family : kFamilies) {
    int64_t rows = 14, n = 40, k = 50, group = 16, ldq = 52;
    bool quantized = hasInt8Activations(family);
    Buffer x = randomFloats(rows * k, 7), q(rows * ldq), scale(rows * 4);
    Buffer w = pack(typeOf(family, n, k, hasInt4(family) ? group : 0),
                    randomFloats(n * k, 8));
    Call call(1, 1);
    quantize(x, k, rows, k, ldq, q, scale);
    KernelSpec spec;
    spec.family = family;
    spec.set("n", n);
    spec.set("k", k);
    spec.set("ldy", n);
    spec.set(quantized ? "ldq" : "ldx", quantized ? ldq : k);
    if (hasInt4(family))
      spec.set("group", group);
    // The first result of targets whose bits must be equal.
    std::map<bool, std::vector<float>> first;
    for (const X86Machine &machine : machines()) {
      Buffer together(rows * n * 4), alone(rows * n * 4);
      spec.set("rows", rows);
      LoadedKernel all = llvm::cantFail(LoadedKernel::load(spec, machine));
      spec.set("rows", 1);
      LoadedKernel one = llvm::cantFail(LoadedKernel::load(spec, machine));
      auto apply = [&](const LoadedKernel &kernel, int64_t row, float *y) {
        void *operands[4] = {x.as() + row * k, w.as<void>(), y + row * n,
                             nullptr};
        void *integer[5] = {q.as<int8_t>() + row * ldq, scale.as() + row,
                            w.as<void>(), y + row * n, nullptr};
        kernel(quantized ? integer : operands, call.call);
      };
      apply(all, 0, together.as());
      for (int64_t row = 0; row < rows; ++row)
        apply(one, row, alone.as());
      EXPECT_EQ(together.get(), alone.get()) << family << ' ' << machine.name();
      // Every target with fused multiply-add gives the same bits; linear_i4
      // has a form of its own for AVX-512 without integer dot products.
      if (!machine.has(EFF_FEATURE_X86_64_V3))
        continue;
      bool integer = spec.family != "linear_i4" ||
                     !machine.has(EFF_FEATURE_X86_64_V4) ||
                     machine.has(EFF_FEATURE_AVX512_VNNI);
      if (first[integer].empty())
        first[integer] = together.get();
      EXPECT_EQ(together.get(), first[integer])
          << family << ' ' << machine.name();
    }
  }
}

} // namespace
