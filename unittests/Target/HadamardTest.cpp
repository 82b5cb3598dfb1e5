//===- HadamardTest.cpp - rotations, and norms that round to int8 ---------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "KernelTest.h"

#include "effc/Compress/Hadamard.h"
#include "runtime/kernels/x86/hadamard.h"

#include <cmath>
#include <cstring>

using namespace effc;

namespace {

template <int K> void expectSigns() {
  constexpr kernels::Signs<K> signs = kernels::makeSigns<K>(),
                              transposed = signs.transposed();
  compress::SignMatrix expected = *compress::baseMatrix(K);
  for (int i = 0; i < K; ++i)
    for (int j = 0; j < K; ++j) {
      EXPECT_EQ(signs.minus[i] >> j & 1, expected(i, j) < 0) << i << ' ' << j;
      EXPECT_EQ(transposed.minus[j] >> i & 1, expected(i, j) < 0);
    }
}

TEST(HadamardTest, BaseMatricesAreThoseOfTheCompressor) {
  expectSigns<12>();
  expectSigns<20>();
  expectSigns<28>();
  expectSigns<40>();
}

struct Shape {
  int64_t base, log2, blocks;
};
// Every base, runs below and above one vector, odd and even numbers of stages.
constexpr Shape kShapes[] = {{1, 0, 3},  {1, 3, 5},  {1, 7, 1},
                             {1, 8, 3},  {12, 2, 1}, {12, 6, 1},
                             {20, 5, 1}, {28, 4, 1}, {40, 1, 1}};

TEST(HadamardTest, EqualToTheCompressor) {
  int64_t rows = 3;
  for (auto [base, log2, blocks] : kShapes)
    for (bool transposed : {false, true}) {
      // Symmetric ones need no second run.
      if (transposed && base <= 12)
        continue;
      int64_t d = blocks * (base << log2), ldx = d + 3, ldy = d + 1;
      Buffer x = randomFloats((rows - 1) * ldx + d, 1),
             y(((rows - 1) * ldy + d) * 4);
      Case c;
      c.family = "hadamard";
      c.constants = {{"rows", rows},     {"d", d},
                     {"ldx", ldx},       {"ldy", ldy},
                     {"base", base},     {"log2", log2},
                     {"blocks", blocks}, {"transposed", transposed}};
      c.operands = {&x, &y, nullptr};
      c.outputs = {1};
      check(c, Call(1, 1));
    }
}

TEST(HadamardTest, Codes) {
  int64_t rows = 3;
  for (auto [base, log2, blocks] : {Shape{1, 6, 1}, {12, 4, 1}, {20, 2, 2}})
    for (int64_t quant : {1, 2})
      for (bool each : {false, true}) {
        if (each && quant == 2)
          continue;
        int64_t d = blocks * (base << log2), ldy = d + 5;
        std::vector<float> scales = randomFloats(each ? d : rows, 3, 0.02f);
        scales[0] = 0.01f;
        Buffer x = randomFloats(rows * d, 1), y((rows - 1) * ldy + d),
               scale = scales;
        Case c;
        c.family = "hadamard";
        c.constants = {
            {"rows", rows},     {"d", d},         {"ldx", d},
            {"ldy", ldy},       {"base", base},   {"log2", log2},
            {"blocks", blocks}, {"quant", quant}, {"oscale_each", each}};
        c.operands = {&x, &y, &scale};
        c.outputs = {1};
        if (quant == 2)
          c.outputs.push_back(2);
        c.codes = {1};
        check(c, Call(1, 1));
      }
}

/// A norm without codes, and what it becomes with them.
struct NormCase {
  std::string family;
  kernels::naive::Constants constants;
  std::vector<const Buffer *> operands;
  size_t result;
  int64_t rows, d;
};

KernelSpec specOf(const std::string &family,
                  const kernels::naive::Constants &constants) {
  Case c;
  c.family = family;
  c.constants = constants;
  return effc::specOf(c);
}

/// Codes of a norm are those of its own f32 result, rotated and rounded as the
/// compressor does it, bit for bit.
void expectCodesOfOwnFloats(const NormCase &n, int64_t quant, bool each,
                            Shape rotation) {
  Call call(1, 1);
  std::vector<float> scales = randomFloats(each ? n.d : n.rows, 21, 0.05f);
  for (float &s : scales)
    s = std::fabs(s) + 0.005f;
  kernels::naive::Constants constants = n.constants;
  constants["quant"] = quant;
  constants["oscale_each"] = each;
  if (rotation.base) {
    constants["hadamard"] = 1;
    constants["base"] = rotation.base;
    constants["log2"] = rotation.log2;
    constants["blocks"] = rotation.blocks;
  }
  int64_t ldy = constants["ldy"];
  for (const X86Machine &machine : machines()) {
    LoadedKernel plain = llvm::cantFail(LoadedKernel::load(
                     specOf(n.family, n.constants), machine)),
                 coded = llvm::cantFail(
                     LoadedKernel::load(specOf(n.family, constants), machine));
    SCOPED_TRACE(specOf(n.family, constants).str() + machine.name());
    Buffer floats(((n.rows - 1) * ldy + n.d) * 4),
        got((n.rows - 1) * ldy + n.d), expected = got.clone(), scale = scales,
                                       expectedScale = scales;
    std::vector<void *> operands;
    for (const Buffer *b : n.operands)
      operands.push_back(b ? b->as<void>() : nullptr);
    operands[n.result] = floats.as<void>();
    plain(operands.data(), call.call);
    operands[n.result] = got.as<void>();
    operands[n.result + 1] = scale.as<void>();
    coded(operands.data(), call.call, 1, 2);
    coded(operands.data(), call.call, 0, 2);
    // One block of no elements' rotation leaves a row as it is.
    kernels::naive::Constants store = constants;
    store["ldx"] = ldy;
    if (!rotation.base)
      store["base"] = 1, store["log2"] = 0, store["blocks"] = n.d;
    void *again[] = {floats.as<void>(), expected.as<void>(),
                     expectedScale.as<void>()};
    ASSERT_TRUE(kernels::naive::run("hadamard", store, again, call.call));
    for (int64_t r = 0; r < n.rows; ++r)
      EXPECT_EQ(std::memcmp(got.as<char>() + r * ldy,
                            expected.as<char>() + r * ldy, n.d),
                0)
          << "row " << r;
    EXPECT_EQ(scale.get(), expectedScale.get());
    EXPECT_TRUE(got.tailIntact());
  }
}

TEST(NormCodesTest, RmsNormAndLayerNorm) {
  int64_t rows = 3;
  for (auto [d, group] : {std::pair<int64_t, int64_t>{96, 96}, {70, 35}}) {
    Buffer x = randomFloats(rows * (d + 3), 1), w = randomFloats(d, 2),
           bias = randomFloats(d, 3);
    NormCase rms = {"rms_norm",
                    {{"rows", rows},
                     {"d", d},
                     {"ldx", d + 3},
                     {"ldy", d + 1},
                     {"group", group},
                     {"eps_bits", bitsOf(1e-5f)}},
                    {&x, &w, nullptr, nullptr},
                    2,
                    rows,
                    d};
    NormCase layer = {"layer_norm",
                      {{"rows", rows},
                       {"d", d},
                       {"ldx", d + 3},
                       {"ldy", d + 1},
                       {"eps_bits", bitsOf(1e-5f)}},
                      {&x, &w, &bias, nullptr, nullptr},
                      3,
                      rows,
                      d};
    for (const NormCase &n : {rms, layer}) {
      expectCodesOfOwnFloats(n, 1, false, {0, 0, 0});
      expectCodesOfOwnFloats(n, 1, true, {0, 0, 0});
      expectCodesOfOwnFloats(n, 2, false, {0, 0, 0});
    }
  }
}

TEST(NormCodesTest, GatedNorm) {
  int64_t rows = 2;
  for (auto [d, group] : {std::pair<int64_t, int64_t>{192, 192}, {80, 40}})
    for (bool codes : {false, true}) {
      Buffer x = randomFloats(rows * d, 1), w = randomFloats(d, 2),
             z = randomFloats(rows * (d + 2), 4, 3),
             zscale = randomFloats(d, 5, 0.05f);
      Buffer zcodes(rows * (d + 2));
      for (int64_t i = 0; i < zcodes.size(); ++i)
        zcodes.as<int8_t>()[i] = static_cast<int8_t>(i * 37 - 128);
      NormCase n = {"gated_norm",
                    {{"rows", rows},
                     {"d", d},
                     {"ldx", d},
                     {"ldz", d + 2},
                     {"ldy", d + 1},
                     {"group", group},
                     {"norm_before_gate", codes},
                     {"eps_bits", bitsOf(1e-5f)},
                     {"z_i8", codes},
                     {"zscale_each", codes}},
                    {&x, codes ? &zcodes : &z, &w, nullptr, nullptr,
                     codes ? &zscale : nullptr},
                    3,
                    rows,
                    d};
      expectCodesOfOwnFloats(n, 1, codes, {0, 0, 0});
      expectCodesOfOwnFloats(n, 2, false, {0, 0, 0});
      Shape rotation = d == 192 ? Shape{12, 4, 1} : Shape{20, 2, 1};
      expectCodesOfOwnFloats(n, 2, false, rotation);
      expectCodesOfOwnFloats(n, 1, codes, rotation);
    }
}

// The gate as codes, within the tolerance of the f32 norm.
TEST(NormCodesTest, GateOfCodes) {
  int64_t rows = 2, d = 70;
  for (bool each : {false, true}) {
    Buffer x = randomFloats(rows * d, 1), w = randomFloats(d, 2),
           z(rows * (d + 2)), zscale = randomFloats(d, 5, 0.05f),
           y(rows * d * 4);
    for (int64_t i = 0; i < z.size(); ++i)
      z.as<int8_t>()[i] = static_cast<int8_t>(i * 37 - 128);
    Case c;
    c.family = "gated_norm";
    c.constants = {{"rows", rows},
                   {"d", d},
                   {"ldx", d},
                   {"ldz", d + 2},
                   {"ldy", d},
                   {"group", d},
                   {"z_i8", 1},
                   {"zscale_each", each},
                   {"eps_bits", bitsOf(1e-5f)}};
    c.operands = {&x, &z, &w, &y, nullptr, &zscale};
    c.outputs = {3};
    c.absolute = 2e-6;
    c.relative = 1e-5;
    check(c, Call(1, 1));
  }
}

} // namespace
