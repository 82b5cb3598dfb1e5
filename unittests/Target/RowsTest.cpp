//===- RowsTest.cpp - kernels that work on rows alone
//-----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "KernelTest.h"

#include "effc/Target/PackWeight.h"
#include "mlir/IR/MLIRContext.h"

#include <cmath>
#include <cstring>

using namespace effc;

namespace {

/// Floats with room for `rows` rows of `ld`, the last one of `d`.
Buffer rowsOf(int64_t rows, int64_t ld, int64_t d, uint64_t seed,
              float scale = 1) {
  return Buffer(randomFloats((rows - 1) * ld + d, seed, scale));
}

TEST(NormTest, RmsNorm) {
  struct {
    int64_t rows, d, group;
  } shapes[] = {
      {1, 64, 64}, {5, 200, 200}, {7, 96, 24}, {2, 130, 65}, {3, 7, 7}};
  for (auto [rows, d, group] : shapes) {
    Buffer x = rowsOf(rows, d + 3, d, 1), w = randomFloats(group, 2),
           y(((rows - 1) * (d + 5) + d) * 4);
    Case c;
    c.family = "rms_norm";
    c.constants = {{"rows", rows},   {"d", d},
                   {"ldx", d + 3},   {"ldy", d + 5},
                   {"group", group}, {"eps_bits", bitsOf(1e-5f)}};
    c.operands = {&x, &w, &y, nullptr};
    c.outputs = {2};
    c.absolute = 1e-6;
    c.relative = 1e-5;
    check(c, Call(1, 1));
  }
}

TEST(NormTest, RowsOfTheCall) {
  int64_t d = 40;
  Buffer x = rowsOf(6, d, d, 1), w = randomFloats(d, 2), y(6 * d * 4);
  Case c;
  c.family = "rms_norm";
  c.constants = {{"rows", 0}, {"d", d},     {"ldx", d},
                 {"ldy", d},  {"group", d}, {"eps_bits", bitsOf(1e-6f)}};
  c.operands = {&x, &w, &y, nullptr};
  c.outputs = {2};
  c.relative = 1e-5;
  c.absolute = 1e-6;
  check(c, Call(2, 3));
  check(c, Call(2, 3, {}, {}, {}, /*allLogits=*/true));
}

TEST(NormTest, LayerNorm) {
  for (bool biased : {false, true})
    for (int64_t d : {192, 65, 3}) {
      Buffer x = rowsOf(4, d, d, 3, 5), w = randomFloats(d, 4),
             bias = randomFloats(d, 5), y(4 * d * 4);
      Case c;
      c.family = "layer_norm";
      c.constants = {{"rows", 4},
                     {"d", d},
                     {"ldx", d},
                     {"ldy", d},
                     {"eps_bits", bitsOf(1e-12f)}};
      c.operands = {&x, &w, biased ? &bias : nullptr, &y, nullptr};
      c.outputs = {3};
      c.absolute = 2e-6;
      c.relative = 1e-5;
      check(c, Call(1, 1));
    }
}

TEST(NormTest, GatedNorm) {
  for (int64_t before : {0, 1})
    for (auto [d, group] : {std::pair<int64_t, int64_t>{96, 96}, {100, 25}}) {
      Buffer x = rowsOf(3, d, d, 6), z = rowsOf(3, d + 9, d, 7, 4),
             w = randomFloats(d, 8), y(3 * d * 4);
      Case c;
      c.family = "gated_norm";
      c.constants = {{"rows", 3},
                     {"d", d},
                     {"ldx", d},
                     {"ldz", d + 9},
                     {"ldy", d},
                     {"group", group},
                     {"norm_before_gate", before},
                     {"eps_bits", bitsOf(1e-5f)}};
      c.operands = {&x, &z, &w, &y, nullptr, nullptr};
      c.outputs = {3};
      c.absolute = 2e-6;
      c.relative = 1e-5;
      check(c, Call(1, 1));
    }
}

TEST(EmbedTest, EveryFormat) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<eff::EffDialect>();
  int64_t vocab = 37, d = 45, group = 16, rows = 6;
  std::vector<float> table = randomFloats(vocab * d, 10);
  table[3] = 1e-6f; // subnormal as f16
  mlir::Attribute f32 = mlir::TypeAttr::get(mlir::Float32Type::get(&context));
  mlir::Attribute bf16 = mlir::TypeAttr::get(mlir::BFloat16Type::get(&context));
  mlir::Attribute f16 = mlir::TypeAttr::get(mlir::Float16Type::get(&context));
  mlir::Attribute formats[] = {f32,
                               bf16,
                               f16,
                               f32,
                               bf16,
                               f16,
                               eff::Int8Attr::get(&context),
                               eff::Int4Attr::get(&context, group),
                               eff::Int8Attr::get(&context, group, true),
                               eff::Int4Attr::get(&context, group, true)};
  for (int64_t number = 0; number < 10; ++number) {
    // The last two have zero points.
    bool zeros = number >= 8;
    int64_t format = zeros ? number - 2 : number;
    eff::Layout layout = format < 3 ? eff::Layout::RowMajor
                                    : eff::getKernelLayout(formats[number]);
    auto type =
        eff::WeightType::get(&context, {vocab, d}, formats[number], layout);
    std::vector<int8_t> q(vocab * d);
    std::vector<float> points(vocab * ((d + group - 1) / group));
    for (size_t i = 0; i < q.size(); ++i)
      q[i] = static_cast<int8_t>(i % 16 - 8);
    for (size_t i = 0; i < points.size(); ++i)
      points[i] = static_cast<float>(i % 13) - 6;
    eff::QuantizedValues integers;
    if (zeros)
      integers = {q, points, points};
    Buffer w(type.getPackedBytes());
    auto read = [&](int64_t n, int64_t count,
                    llvm::MutableArrayRef<float> out) {
      std::copy(table.begin() + n * d, table.begin() + (n + count) * d,
                out.begin());
    };
    llvm::cantFail(
        packWeight(type, RowSource{read, {}, integers},
                   {w.as<uint8_t>(), static_cast<size_t>(w.size())}));
    Buffer ids(rows * 4), y(((rows - 1) * (d + 2) + d) * 4);
    for (int64_t i = 0; i < rows; ++i)
      ids.as<int32_t>()[i] = i == 0 ? vocab - 1 : i == 1 ? 0 : i * 7 % vocab;
    Case c;
    c.family = "embed";
    c.constants = {{"rows", rows},     {"d", d},
                   {"vocab", vocab},   {"ldy", d + 2},
                   {"format", format}, {"group", type.getGroup()},
                   {"zeros", zeros}};
    c.operands = {&ids, &w, &y};
    c.outputs = {2};
    check(c, Call(1, 1));
  }
}

TEST(MoveTest, EmbedPositions) {
  int64_t d = 21, vocab = 12, tokens = 4;
  Buffer w = randomFloats(vocab * d, 3), y((2 * tokens * d) * 4), none(4);
  Case c;
  c.family = "embed";
  c.constants = {{"rows", 2 * tokens}, {"d", d},           {"vocab", vocab},
                 {"ldy", d},           {"tokens", tokens}, {"first", 2}};
  c.operands = {&none, &w, &y};
  c.outputs = {2};
  // The second sequence ends behind the table.
  check(c, Call(2, tokens, {3, 7}));
}

TEST(MoveTest, Patchify) {
  Buffer x = randomFloats(2 * 3 * 8 * 12, 11), y(2 * 3 * 8 * 12 * 4);
  for (auto [ph, pw] : {std::pair<int64_t, int64_t>{4, 4}, {2, 3}, {8, 12}}) {
    Case c;
    c.family = "patchify";
    c.constants = {{"batch", 2},  {"channels", 3}, {"height", 8},
                   {"width", 12}, {"ph", ph},      {"pw", pw}};
    c.operands = {&x, &y};
    c.outputs = {1};
    check(c, Call(2, 1));
  }
}

TEST(MoveTest, SelectAndCopyRows) {
  int64_t d = 21;
  Buffer x = rowsOf(12, d + 1, d, 12), y((11 * (d + 4) + d) * 4);
  Case c;
  c.family = "select_rows";
  c.constants = {
      {"batch", 3}, {"tokens", 4}, {"d", d}, {"ldx", d + 1}, {"ldy", d + 4}};
  c.operands = {&x, &y};
  c.outputs = {1};
  check(c, Call(3, 4, {}, {4, 1, 0}));
  check(c, Call(3, 4, {}, {4, 1, 0}, {}, /*allLogits=*/true));
  c.family = "copy_rows";
  c.constants = {{"rows", 12}, {"d", d}, {"ldx", d + 1}, {"ldy", d + 4}};
  check(c, Call(3, 4));
}

TEST(SampleTest, LowestOfTheLargest) {
  int64_t vocab = 1003, rows = 4;
  std::vector<float> logits = randomFloats(rows * vocab, 13);
  logits[17] = logits[900] = 2;                    // two in different lanes
  logits[vocab + 5] = logits[vocab + 5 + 160] = 2; // two in the same lane
  logits[2 * vocab + vocab - 1] = 2; // the last of a partial vector
  std::fill(logits.begin() + 3 * vocab, logits.end(), -INFINITY);
  Buffer x = logits, ids(rows * 4);
  Case c;
  c.family = "sample";
  c.constants = {{"rows", rows}, {"vocab", vocab}, {"ld", vocab}};
  c.operands = {&x, &ids};
  c.outputs = {1};
  check(c, Call(1, 1));
}

} // namespace
