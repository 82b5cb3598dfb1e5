//===- ScanCase.h - operands of scans for tests -----------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_UNITTESTS_TARGET_SCANCASE_H
#define EFFC_UNITTESTS_TARGET_SCANCASE_H

#include "KernelTest.h"
#include "runtime/kernels/x86/naive_state.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace effc {

/// Numbers from -127 to 127.
inline Buffer randomCodes(int64_t count, uint64_t seed) {
  Buffer buffer(count);
  std::vector<float> values = randomFloats(count, seed, 127.5f);
  for (int64_t i = 0; i < count; ++i)
    buffer.as<int8_t>()[i] = static_cast<int8_t>(values[i]);
  return buffer;
}

/// Time steps are positive and decays negative, as models have them.
inline std::vector<float> magnitudes(int64_t count, uint64_t seed,
                                     float scale) {
  std::vector<float> values = randomFloats(count, seed, scale);
  for (float &v : values)
    v = std::fabs(v);
  return values;
}
inline std::vector<float> negated(std::vector<float> values) {
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
  bool each = false;  ///< a scale for each column
  int64_t format = 0; ///< of the state: 0 f32, 1 static, 2 dynamic int8
  bool stochastic = false;
  int64_t residual = 0;
  bool once = false; ///< rounded after the last token of a call alone
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
    if (scan.format) {
      c.constants["state_format"] = scan.format;
      c.constants["state_rounding"] = scan.stochastic;
      c.constants["state_residual"] = scan.residual;
      c.constants["state_once"] = scan.once;
    }
  }

  static ScanCase ssm(int64_t channels, int64_t n, int64_t groups,
                      const Call &call, const Scan &scan) {
    ScanCase s("ssm_scan", call, scan);
    s.c.constants.insert(
        {{"channels", channels}, {"n", n}, {"groups", groups}});
    s.buffers.resize(16);
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
    s.state(7, 15, 1, n, channels);
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
    s.buffers.resize(14);
    s.activation("x", 'u', 0, 9, heads * p, 1, 1);
    s.activation("dt", 't', 1, 10, heads, 2, 0.5f, !scan.softplus);
    s.activation("b", 'b', 3, 11, groups * n, 4, 1);
    s.activation("c", 'c', 4, 12, groups * n, 5, 1);
    s.buffers[2] = negated(magnitudes(heads, 3, 4));
    s.vector(5, heads, scan.skip);
    s.state(6, 13, heads, n, p);
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
    expectChunkEqualsSteps(c, rowBytes, call.call.tokens, scan.format != 0);
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
  void state(int operand, int scales, int64_t blocks, int64_t n,
             int64_t width) {
    stateOperand = operand;
    elements = {blocks, n, width};
    int64_t count = blocks * n * width;
    if (!scan.format) {
      buffers[operand] = randomFloats(slots() * count, 8);
      return;
    }
    // Scales of states up to about 1.
    std::vector<float> factors =
        magnitudes(scan.format == 1 ? count : blocks * width, 9, 0.01f);
    for (float &factor : factors)
      factor += 0.001f;
    if (scan.format == 1)
      buffers[scales] = factors;
    int64_t residuals = scan.residual == 4 ? blocks * ((n + 1) / 2) * width
                        : scan.residual    ? count
                                           : 0;
    auto align = [](int64_t bytes) { return (bytes + 63) / 64 * 64; };
    int64_t scaleBytes = scan.format == 2 ? align(blocks * width * 4) : 0;
    int64_t slotBytes = align(count) + align(residuals) + scaleBytes;
    buffers[operand] = Buffer(slots() * slotBytes);
    for (int64_t slot = 0; slot < slots(); ++slot) {
      char *at = buffers[operand].as<char>() + slot * slotBytes;
      std::memcpy(at, randomCodes(count, 30 + slot).as<char>(), count);
      at += align(count);
      std::memcpy(at, randomCodes(residuals, 40 + slot).as<char>(), residuals);
      at += align(residuals);
      if (scan.format == 2)
        std::memcpy(at, factors.data(), factors.size() * 4);
    }
  }
  /// Integers may differ by one where a value lies close to a tie; scales by
  /// the rounding of sums.
  void compareStates(const Buffer &got, const Buffer &expected) {
    std::vector<void *> pointers;
    for (const Buffer &buffer : buffers)
      pointers.push_back(buffer.as<void>());
    int64_t different = 0, compared = 0;
    for (int64_t slot = 0; slot < slots(); ++slot) {
      int32_t where = static_cast<int32_t>(slot);
      eff_call one = call.call;
      one.slot = &where;
      auto load = [&](const Buffer &state, int64_t block, int64_t channel) {
        pointers[stateOperand] = state.as<void>();
        kernels::naive::Step step(c.constants, pointers.data(), one);
        return kernels::naive::State(step, stateOperand, scaleOperand(), 0,
                                     elements[0], elements[1], elements[2])
            .load(block, channel);
      };
      for (int64_t block = 0; block < elements[0]; ++block)
        for (int64_t channel = 0; channel < elements[2]; ++channel) {
          std::vector<float> g = load(got, block, channel),
                             e = load(expected, block, channel);
          float unit = 0.0111f / static_cast<float>(1 << scan.residual);
          if (scan.format == 2) {
            unit = 0;
            for (float v : e)
              unit = std::max(unit, std::fabs(v));
            unit *= 1.01f / 127 / static_cast<float>(1 << scan.residual);
          }
          for (size_t i = 0; i < g.size(); ++i, ++compared) {
            float difference = std::fabs(g[i] - e[i]);
            different += difference > unit * 0.1f + 2e-6f;
            ASSERT_LE(difference, unit + 2e-6f)
                << "slot " << slot << " block " << block << " channel "
                << channel << " state " << i << ": " << g[i] << " instead of "
                << e[i];
          }
        }
    }
    EXPECT_LE(different, compared / 500 + 1);
    EXPECT_TRUE(got.tailIntact());
  }
  int scaleOperand() const { return stateOperand == 7 ? 15 : 13; }
  void result(int operand, int64_t columns) {
    int64_t ld = columns + 3;
    c.constants["ldy"] = ld;
    buffers[operand] = Buffer(effc::rowBytes(rows, ld, columns));
    rowBytes[operand] = 4 * ld;
    resultOperand = operand;
    resultColumns = columns;
  }
  void finish() {
    if (scan.format)
      c.comparisons[stateOperand] = [this](const Buffer &got,
                                           const Buffer &expected) {
        compareStates(got, expected);
      };
    c.compared =
        realTokens(call, resultOperand, c.constants["ldy"], resultColumns);
    c.operands.clear();
    for (const Buffer &buffer : buffers)
      c.operands.push_back(buffer.size() ? &buffer : nullptr);
  }

  const Call &call; ///< outlives the case
  Scan scan;
  int64_t rows, resultColumns = 0;
  int resultOperand = 0, stateOperand = 0;
  std::array<int64_t, 3> elements = {}; ///< of the state: blocks, n, width
  Case c;
  std::vector<Buffer> buffers;
  std::map<int, int64_t> rowBytes;
};

} // namespace effc

#endif // EFFC_UNITTESTS_TARGET_SCANCASE_H
