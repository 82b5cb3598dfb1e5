//===- QuantizeTest.cpp - rows to int8 and back ---------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "KernelTest.h"

#include "effc/Compress/Quantize.h"

#include <cmath>

using namespace effc;

namespace {

/// Rows that make ties likely, one of zeros, and values that are no numbers.
std::vector<float> awkwardRows(int64_t rows, int64_t ld, bool finite) {
  std::vector<float> values = randomFloats(rows * ld, 9, 3);
  std::fill(values.begin() + ld, values.begin() + 2 * ld, 0.0f);
  for (int64_t i = 0; i < ld; i += 2)
    values[2 * ld + i] = 0.5f * static_cast<float>(i % 9) - 2;
  values[2 * ld] = 127;
  if (!finite) {
    values[3 * ld] = NAN;
    values[3 * ld + 1] = INFINITY;
    values[3 * ld + 2] = -INFINITY;
  }
  return values;
}

TEST(QuantizeTest, RowsAreExact) {
  for (int64_t k : {64, 19, 3, 130})
    for (int64_t pad : {0, 1, 6}) {
      int64_t rows = 5, ldx = k + 2, ldq = k + pad;
      Buffer x = awkwardRows(rows, ldx, true), q(rows * ldq), scale(rows * 4);
      Case c;
      c.family = "quantize_rows";
      c.constants = {{"rows", rows}, {"k", k}, {"ldx", ldx}, {"ldq", ldq}};
      c.operands = {&x, &q, &scale};
      c.outputs = {1, 2};
      c.codes = {1};
      check(c, Call(1, 1));
      // And exactly what the compressor takes for it.
      Buffer codes = q.clone(), scales = scale.clone();
      void *operands[] = {x.as<void>(), codes.as<void>(), scales.as<void>()};
      ASSERT_TRUE(kernels::naive::run(c.family, c.constants, operands,
                                      Call(1, 1).call));
      for (int64_t r = 0; r < rows; ++r) {
        std::vector<int8_t> expected(k);
        EXPECT_EQ(
            compress::quantizeToken({x.as() + r * ldx, static_cast<size_t>(k)},
                                    expected.data()),
            scales.as()[r]);
        EXPECT_TRUE(std::equal(expected.begin(), expected.end(),
                               codes.as<int8_t>() + r * ldq));
      }
    }
}

TEST(QuantizeTest, StaticScales) {
  for (int64_t k : {64, 19, 3, 130})
    for (bool each : {false, true})
      for (int64_t rows : {1, 5}) {
        int64_t ldx = k + 2, ldq = k + 3;
        std::vector<float> values = awkwardRows(5, ldx, false),
                           scales = randomFloats(each ? k : 1, 4, 0.05f);
        scales[0] = std::fabs(scales[0]);
        if (each)
          scales[k / 2] = 0;
        Buffer x = values, scale = scales, q(rows * ldq);
        Case c;
        c.family = "quantize_static";
        c.constants = {{"rows", rows},
                       {"k", k},
                       {"ldx", ldx},
                       {"ldq", ldq},
                       {"scale_each", each}};
        c.operands = {&x, &scale, &q};
        c.outputs = {2};
        c.codes = {2};
        check(c, Call(1, 1));
        for (int64_t i = 0; i < 5 * ldx; ++i)
          for (float s : {scales[0], 0.0f})
            EXPECT_EQ(compress::quantizeInt8(values[i], s),
                      kernels::naive::toInt8(values[i], s));
      }
}

// One scale and zero point for all, and those that the range asks for.
TEST(QuantizeTest, ZeroPoints) {
  for (int64_t k : {64, 19, 3})
    for (int form : {0, 1, 2}) {
      int64_t rows = 5, ldx = k + 2, ldq = k + 3;
      std::vector<float> values = awkwardRows(rows, ldx, form > 0);
      for (float &v : values)
        v = form == 2 ? 0 : v;
      Buffer x = values, y(2 * 4), q(rows * ldq);
      Case c;
      if (form > 0) { // else values that are not finite
        c.family = "tensor_scale";
        c.constants = {{"rows", rows}, {"k", k}, {"ldx", ldx}};
        c.operands = {&x, &y};
        c.outputs = {1};
        check(c, Call(1, 1));
      }
      Buffer scale = std::vector<float>{0.04f, form == 0 ? -3.0f : 127.0f};
      c.family = "quantize_static";
      c.constants = {{"rows", rows},
                     {"k", k},
                     {"ldx", ldx},
                     {"ldq", ldq},
                     {"asymmetric", 1}};
      c.operands = {&x, &scale, &q};
      c.outputs = {2};
      c.codes = {2};
      check(c, Call(1, 1));
    }
}

TEST(QuantizeTest, RowsComeBackExactly) {
  for (int64_t k : {64, 19, 3, 130})
    for (int form : {0, 1, 2}) {
      int64_t ldq = k + 5, ldy = k + 2;
      Buffer q(4 * ldq + k), scale = randomFloats(form == 2 ? k : 5, 11, 2),
                             y((4 * ldy + k) * 4);
      for (int64_t i = 0; i < q.size(); ++i)
        q.as<int8_t>()[i] = static_cast<int8_t>(i * 37 - 128);
      Case c;
      c.family = "dequantize_rows";
      c.constants = {{"rows", 5},
                     {"k", k},
                     {"ldq", ldq},
                     {"ldy", ldy},
                     {"static_scale", form > 0},
                     {"scale_each", form == 2}};
      c.operands = {&q, &scale, &y};
      c.outputs = {2};
      check(c, Call(1, 1));
      c.constants["rows"] = 0;
      check(c, Call(5, 1));
    }
}

} // namespace
