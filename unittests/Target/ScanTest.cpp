//===- ScanTest.cpp - convolutions and state-space scans ------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "KernelTest.h"

#include <array>
#include <cmath>

using namespace effc;

namespace {

TEST(ConvTest, StatesAndPadding) {
  for (auto [channels, kernel] :
       {std::pair<int64_t, int64_t>{64, 4}, {40, 4}, {19, 3}, {7, 1}, {33, 8}})
    for (int64_t activation : {0, 1}) {
      Call call(3, 6, {}, {6, 2, 0}, {2, 0, 1});
      int64_t ld = channels + 3;
      Buffer x = rowsOf(18, ld, channels, 1),
             w = randomFloats(channels * kernel, 2),
             bias = randomFloats(channels, 3);
      Buffer state = randomFloats(3 * (kernel - 1) * channels, 4),
             y(rowBytes(18, ld, channels));
      Case c;
      c.family = "causal_conv1d";
      c.constants = {{"batch", 3},        {"tokens", 6}, {"channels", channels},
                     {"kernel", kernel},  {"ldx", ld},   {"ldy", ld},
                     {"silu", activation}};
      c.operands = {&x, &w, activation ? &bias : nullptr, &state, &y};
      c.outputs = {3, 4};
      c.absolute = 2e-6;
      c.compared = realTokens(call, 4, ld, channels);
      check(c, call);
    }
}

/// Time steps are positive and decays negative, as models have them.
std::vector<float> magnitudes(int64_t count, uint64_t seed, float scale) {
  std::vector<float> values = randomFloats(count, seed, scale);
  for (float &v : values)
    v = std::fabs(v);
  return values;
}
std::vector<float> negated(std::vector<float> values) {
  for (float &v : values)
    v = -v;
  return values;
}

/// What a test of a scan varies.
struct Scan {
  bool skip = true, gate = true;
  bool softplus = false; ///< and a bias
  std::string
      codes; ///< tensors that are int8: letters of u/x, dt as t, b, c, z
  bool each = false; ///< a scale for each column
};

/// Operands and constants of a scan of `rows` tokens.
class ScanCase {
public:
  ScanCase(const char *family, const Call &call, const Scan &scan)
      : call(call), scan(scan), rows(call.call.batch * call.call.tokens) {
    c.family = family;
    c.constants = {{"batch", call.call.batch},
                   {"tokens", call.call.tokens},
                   {"dt_softplus", scan.softplus}};
  }

  static ScanCase ssm(int64_t channels, int64_t n, int64_t groups,
                      const Call &call, const Scan &scan) {
    ScanCase s("ssm_scan", call, scan);
    s.c.constants.insert(
        {{"channels", channels}, {"n", n}, {"groups", groups}});
    s.buffers.resize(15);
    s.activation("u", 'u', 0, 10, channels, 1, 1);
    s.activation("dt", 't', 1, 11, channels, 2, 0.5f, !scan.softplus);
    s.activation("b", 'b', 3, 12, groups * n, 4, 1);
    s.activation("c", 'c', 4, 13, groups * n, 5, 1);
    s.buffers[2] = negated(magnitudes(channels * n, 3, 4));
    s.vector(5, channels, scan.skip);
    if (scan.gate)
      s.activation("z", 'z', 6, 14, channels, 7, 3);
    else
      s.c.constants["ldz"] = channels;
    s.buffers[7] = randomFloats(s.slots() * n * channels, 8);
    s.result(8, channels);
    s.vector(9, channels, scan.softplus);
    s.c.outputs = {7, 8};
    s.c.absolute = 1e-5;
    return s;
  }

  static ScanCase ssd(int64_t heads, int64_t p, int64_t n, int64_t groups,
                      const Call &call, const Scan &scan) {
    ScanCase s("ssd_scan", call, scan);
    s.c.constants.insert({{"heads", heads},
                          {"head_dim", p},
                          {"n", n},
                          {"groups", groups},
                          {"chunk", 64}});
    s.buffers.resize(13);
    s.activation("x", 'u', 0, 9, heads * p, 1, 1);
    s.activation("dt", 't', 1, 10, heads, 2, 0.5f, !scan.softplus);
    s.activation("b", 'b', 3, 11, groups * n, 4, 1);
    s.activation("c", 'c', 4, 12, groups * n, 5, 1);
    s.buffers[2] = negated(magnitudes(heads, 3, 4));
    s.vector(5, heads, scan.skip);
    s.buffers[6] = randomFloats(s.slots() * heads * n * p, 7);
    s.result(7, heads * p);
    s.vector(8, heads, scan.softplus);
    s.c.outputs = {6, 7};
    s.c.absolute = 2e-5;
    return s;
  }

  void checkAll() {
    finish();
    check(c, call);
  }
  void checkChunkEqualsSteps() {
    finish();
    expectChunkEqualsSteps(c, rowBytes, call.call.tokens, false);
  }

private:
  int64_t slots() const {
    return *std::max_element(call.slot.begin(), call.slot.end()) + 1;
  }
  /// A tensor of activations with rows that have some room between them.
  void activation(const std::string &name, char letter, int operand, int scales,
                  int64_t columns, uint64_t seed, float scale,
                  bool positive = false) {
    bool codes = scan.codes.find(letter) != std::string::npos;
    int64_t ld = columns + (codes ? 5 : 3), count = (rows - 1) * ld + columns;
    c.constants["ld" + name] = ld;
    std::vector<float> values = positive ? magnitudes(count, seed, scale)
                                         : randomFloats(count, seed, scale);
    rowBytes[operand] = codes ? ld : 4 * ld;
    if (!codes) {
      buffers[operand] = values;
      return;
    }
    c.constants[name + "_i8"] = 1;
    c.constants[name + "scale_each"] = scan.each;
    buffers[operand] = Buffer(count);
    for (int64_t i = 0; i < count; ++i)
      buffers[operand].as<int8_t>()[i] =
          static_cast<int8_t>(values[i] / scale * 127.5f);
    std::vector<float> factors =
        magnitudes(scan.each ? columns : 1, seed + 10, scale / 127);
    buffers[scales] = factors;
  }
  void vector(int operand, int64_t count, bool present) {
    if (present)
      buffers[operand] = randomFloats(count, 20 + operand);
  }
  void result(int operand, int64_t columns) {
    int64_t ld = columns + 3;
    c.constants["ldy"] = ld;
    buffers[operand] = Buffer(effc::rowBytes(rows, ld, columns));
    rowBytes[operand] = 4 * ld;
    resultOperand = operand;
    resultColumns = columns;
  }
  void finish() {
    c.compared =
        realTokens(call, resultOperand, c.constants["ldy"], resultColumns);
    c.operands.clear();
    for (const Buffer &buffer : buffers)
      c.operands.push_back(buffer.size() ? &buffer : nullptr);
  }

  const Call &call; ///< outlives the case
  Scan scan;
  int64_t rows, resultColumns = 0;
  int resultOperand = 0;
  Case c;
  std::vector<Buffer> buffers;
  std::map<int, int64_t> rowBytes;
};

/// Every tensor f32, then integers by tensor and by column, without and with
/// the model's time steps.
const Scan kScans[] = {
    {true, true, false, "", false},     {false, false, false, "", false},
    {true, false, true, "", false},     {false, true, true, "utbcz", true},
    {true, true, true, "utbcz", false}, {true, false, false, "ub", true},
    {false, true, false, "ctz", false},
};

TEST(SsmTest, StatesAndPadding) {
  Call call(2, 5, {}, {5, 3}, {1, 0});
  for (const Scan &scan : kScans)
    for (auto [channels, n, groups] : {std::array<int64_t, 3>{64, 16, 1},
                                       {40, 16, 2},
                                       {33, 5, 3},
                                       {16, 32, 1}})
      ScanCase::ssm(channels, n, groups, call, scan).checkAll();
}

TEST(SsmTest, ChunkEqualsSteps) {
  for (const Scan &scan : kScans)
    ScanCase::ssm(40, 16, 1, Call(1, 11), scan).checkChunkEqualsSteps();
}

TEST(SsdTest, StatesAndPadding) {
  for (const Scan &scan : kScans)
    for (auto [heads, p, n, groups, tokens] :
         {std::array<int64_t, 5>{4, 64, 32, 1, 5},
          {6, 20, 13, 2, 3},
          {2, 48, 16, 2, 70},
          {3, 33, 8, 1, 4}})
      ScanCase::ssd(
          heads, p, n, groups,
          Call(2, tokens, {}, {static_cast<int32_t>(tokens), 2}, {1, 0}), scan)
          .checkAll();
}

TEST(SsdTest, ChunkEqualsSteps) {
  for (const Scan &scan : kScans)
    ScanCase::ssd(2, 64, 16, 1, Call(1, 67), scan).checkChunkEqualsSteps();
}

// The rows of the smallest and the largest Mamba-2, and of one between.
TEST(SsdTest, ShapesOfModels) {
  Scan scan{true, false, true, "utbc", true};
  for (auto [heads, p, n, groups] : {std::array<int64_t, 4>{24, 64, 128, 1},
                                     {80, 64, 128, 1},
                                     {128, 64, 128, 8}})
    ScanCase::ssd(heads, p, n, groups, Call(1, 2), scan).checkAll();
}

TEST(SsdTest, LengthsOfChunks) {
  for (int64_t tokens : {1, 3, 4, 33, 63, 64, 65, 1024})
    for (int batch : {1, 2, 4})
      if (tokens * batch <= 1024)
        for (const char *codes : {"", "utbc"}) {
          std::vector<int32_t> valid(batch, static_cast<int32_t>(tokens));
          valid.back() = static_cast<int32_t>(tokens + 1) / 2;
          ScanCase::ssd(2, 32, 16, 1,
                        Call(batch, static_cast<int32_t>(tokens), {}, valid),
                        {true, false, true, codes, false})
              .checkAll();
        }
}

} // namespace
