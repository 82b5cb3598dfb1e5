//===- ImageTest.cpp - kernels of images and collapsed scans --------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "KernelTest.h"

#include <algorithm>

using namespace effc;

namespace {

struct Size {
  int64_t batch, height, width;
  int64_t rows() const { return batch * height * width; }
};

TEST(ImageTest, DepthwiseConvolution) {
  struct {
    Size size;
    int64_t channels, kh, kw;
    bool silu, biased;
  } cases[] = {{{1, 16, 16}, 32, 3, 3, true, true},
               {{2, 5, 7}, 19, 3, 3, false, true},
               {{1, 1, 4}, 16, 3, 5, true, false},
               {{1, 9, 3}, 5, 7, 7, false, false},
               {{3, 2, 2}, 40, 1, 3, true, true}};
  for (auto [size, channels, kh, kw, silu, biased] : cases) {
    int64_t ldx = channels + 3, ldy = channels + 1;
    Buffer x = randomFloats((size.rows() - 1) * ldx + channels, 1),
           w = randomFloats(channels * kh * kw, 2),
           bias = randomFloats(channels, 3),
           y(((size.rows() - 1) * ldy + channels) * 4);
    Case c;
    c.family = "depthwise_conv2d";
    c.constants = {{"batch", size.batch},
                   {"channels", channels},
                   {"height", size.height},
                   {"width", size.width},
                   {"kh", kh},
                   {"kw", kw},
                   {"ldx", ldx},
                   {"ldy", ldy},
                   {"silu", silu}};
    c.operands = {&x, &w, biased ? &bias : nullptr, &y};
    c.outputs = {3};
    c.absolute = 1e-5; // 49 terms of magnitude 1 in f32
    check(c, Call(1, 1));
  }
}

TEST(ImageTest, ScanOrdersMoveExactly) {
  for (int64_t directions : {1, 2, 4})
    for (Size size : {Size{1, 4, 4}, Size{2, 3, 5}, Size{1, 1, 7}})
      for (int64_t d : {16, 21}) {
        Buffer x0 = randomFloats(size.rows() * d, 1),
               x1 = randomFloats(size.rows() * d, 2),
               x2 = randomFloats(size.rows() * d, 3),
               x3 = randomFloats(size.rows() * d, 4),
               y(size.rows() * directions * d * 4);
        Case c;
        c.family = "cross_scan";
        c.constants = {{"batch", size.batch},
                       {"directions", directions},
                       {"height", size.height},
                       {"width", size.width},
                       {"d", d},
                       {"ldx", d},
                       {"ldy", directions * d}};
        c.operands = {&x0, directions > 1 ? &x1 : nullptr,
                      directions > 2 ? &x2 : nullptr,
                      directions > 2 ? &x3 : nullptr, &y};
        c.outputs = {4};
        check(c, Call(1, 1));
      }
}

TEST(ImageTest, MergeSumsInTheOrderOfDirections) {
  for (int64_t directions : {1, 2, 4})
    for (Size size : {Size{1, 4, 4}, Size{2, 3, 5}}) {
      int64_t d = 19;
      Buffer x = randomFloats(size.rows() * directions * d, 5),
             y(size.rows() * d * 4);
      Case c;
      c.family = "cross_merge";
      c.constants = {{"batch", size.batch},
                     {"directions", directions},
                     {"height", size.height},
                     {"width", size.width},
                     {"d", d},
                     {"ldx", directions * d},
                     {"ldy", d}};
      c.operands = {&x, &y};
      c.outputs = {1};
      check(c, Call(1, 1));
    }
}

std::vector<float> positive(std::vector<float> values) {
  for (float &v : values)
    v = std::abs(v);
  return values;
}

TEST(CollapseKernelTest, MeansOfADiscretisedScan) {
  struct {
    int64_t rows, channels, n, groups, scans, heads;
  } cases[] = {{5, 64, 16, 4, 1, 0}, {5, 64, 16, 4, 4, 0},
               {3, 60, 5, 2, 1, 0},  {1, 7, 1, 1, 1, 0},
               {4, 96, 20, 2, 2, 6}, {2, 48, 16, 1, 1, 3}};
  for (auto [rows, channels, n, groups, scans, heads] : cases) {
    int64_t units = heads ? heads : channels;
    std::vector<float> decay =
        positive(randomFloats(heads ? heads : channels * n, 3, 4));
    for (float &v : decay)
      v = -v;
    Buffer x = randomFloats(rows * channels, 1),
           dt = positive(randomFloats(rows * units, 2)), a = decay,
           b = randomFloats(rows * groups * n, 4),
           cc = randomFloats(rows * groups * n, 5), y0(rows * scans * n * 4),
           y1(rows * scans * n * 4), y2(rows * scans * n * 4);
    Case c;
    c.family = "collapse_channels";
    c.constants = {
        {"rows", rows},     {"channels", channels}, {"n", n},
        {"groups", groups}, {"scans", scans},       {"heads", heads},
        {"ldu", channels},  {"lddt", units},        {"ldb", groups * n},
        {"ldc", groups * n}};
    c.operands = {&x, &dt, &a, &b, &cc, &y0, &y1, &y2};
    c.outputs = {5, 6, 7};
    c.absolute = 1e-6; // means of at most 96 terms of magnitude 1 in f32
    c.relative = 1e-5;
    check(c, Call(1, 1));
  }
}

/// Lengths that are no multiple of anything, with and without a state.
TEST(CollapseKernelTest, ScanIsTheRecurrence) {
  for (int64_t tokens : {1, 49, 196, 1000})
    for (int64_t n : {1, 5, 16, 33})
      for (bool kept : {false, true}) {
        int64_t batch = 2, scans = 3, count = batch * tokens * scans * n;
        Buffer decay = positive(randomFloats(count, 1, 0.95f)),
               in = randomFloats(count, 2), out = randomFloats(count, 3),
               state = randomFloats(batch * n * scans, 4),
               y(batch * tokens * scans * 4);
        Case c;
        c.family = "collapsed_scan";
        c.constants = {
            {"batch", batch}, {"tokens", tokens}, {"n", n}, {"scans", scans}};
        c.operands = {&decay, &in, &out, kept ? &state : nullptr, &y};
        c.outputs = {4};
        if (kept)
          c.outputs.push_back(3);
        c.absolute = 1e-5 * n;
        int32_t valid = int32_t(tokens) - (tokens > 1);
        check(c, Call(2, int32_t(tokens), {0, 0}, {valid, int32_t(tokens)},
                      {1, 0}));
      }
}

TEST(CollapseKernelTest, ExpandAddsSkipsAndGates) {
  for (int64_t scans : {1, 4})
    for (bool skip : {false, true})
      for (bool gated : {false, true}) {
        int64_t rows = 5, channels = scans * 21;
        Buffer s = randomFloats(rows * scans, 1),
               u = randomFloats(rows * channels, 2),
               d = randomFloats(channels, 3),
               z = randomFloats(rows * (channels + 2), 4),
               y(rows * channels * 4);
        Case c;
        c.family = "expand_channels";
        c.constants = {{"rows", rows},
                       {"channels", channels},
                       {"scans", scans},
                       {"ldu", skip ? channels : 0},
                       {"ldz", gated ? channels + 2 : 0},
                       {"ldy", channels}};
        c.operands = {&s, skip ? &u : nullptr, skip ? &d : nullptr,
                      gated ? &z : nullptr, &y};
        c.outputs = {4};
        c.absolute = 1e-6;
        c.relative = 1e-5;
        check(c, Call(1, 1));
      }
}

} // namespace
