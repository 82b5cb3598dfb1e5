//===- StateTest.cpp - scans on int8 states -------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "ScanCase.h"

#include "effc/Compress/State.h"

using namespace effc;

namespace {

Scan stateOf(int64_t format, bool stochastic, int64_t residual) {
  Scan scan;
  scan.format = format;
  scan.stochastic = stochastic;
  scan.residual = residual;
  return scan;
}

const Scan kStates[] = {
    stateOf(2, false, 0), stateOf(1, false, 0), stateOf(2, true, 0),
    stateOf(1, true, 4),  stateOf(2, false, 4), stateOf(1, false, 8),
    stateOf(2, false, 8),
};

// One token: y comes from the state before it is rounded, so it is as exact as
// with a state of floats.
TEST(StateTest, OneTokenOfMamba2) {
  Call call(3, 1, {7, 0, 100000}, {1, 0, 1}, {2, 0, 1});
  for (const Scan &scan : kStates) {
    ScanCase::ssd(3, 64, 16, 1, call, scan).checkAll();
    if (scan.stochastic || scan.residual == 4)
      ScanCase::ssd(2, 36, 7, 2, call, scan).checkAll();
  }
}

TEST(StateTest, OneTokenOfMamba1) {
  Call call(3, 1, {7, 0, 100000}, {1, 0, 1}, {2, 0, 1});
  for (const Scan &scan : kStates)
    ScanCase::ssm(33, scan.residual ? 5 : 16, 3, call, scan).checkAll();
}

// Everything of the 8-bit recipes at once.
TEST(StateTest, IntegerActivations) {
  Call call(2, 1, {7, 3}, {1, 1}, {1, 0});
  Scan scan = stateOf(2, false, 0);
  scan.softplus = true;
  scan.codes = "utbcz";
  scan.each = true;
  ScanCase::ssd(4, 64, 128, 2, call, scan).checkAll();
  ScanCase::ssm(64, 16, 1, call, scan).checkAll();
}

TEST(StateTest, ChunkEqualsSteps) {
  for (const Scan &scan : kStates) {
    ScanCase::ssd(2, 64, 16, 1, Call(1, 19), scan).checkChunkEqualsSteps();
    ScanCase::ssm(40, 6, 1, Call(1, 5), scan).checkChunkEqualsSteps();
  }
}

// Rounded once for a call: y is as exact as with a state of floats, whatever
// the number of tokens; sequences without a valid token keep their states.
TEST(StateTest, RoundedOnceForACall) {
  Call call(3, 19, {7, 0, 100000}, {19, 0, 6}, {2, 0, 1});
  for (Scan scan : {stateOf(2, false, 0), stateOf(1, true, 4)}) {
    scan.once = true;
    ScanCase::ssd(3, 64, 16, 1, call, scan).checkAll();
    ScanCase::ssd(2, 36, 7, 2, call, scan).checkAll();
  }
}

TEST(StateTest, RoundedOnceForACallOfMamba1) {
  Call call(3, 19, {7, 0, 100000}, {19, 0, 6}, {2, 0, 1});
  for (Scan scan : {stateOf(2, false, 0), stateOf(1, true, 4)}) {
    scan.once = true;
    ScanCase::ssm(33, scan.residual ? 5 : 16, 3, call, scan).checkAll();
  }
}

TEST(StateTest, RoundedOnceWithIntegerActivations) {
  Call call(2, 70, {7, 3}, {70, 33}, {1, 0});
  Scan scan = stateOf(2, false, 0);
  scan.once = scan.softplus = scan.each = true;
  scan.codes = "utbcz";
  ScanCase::ssd(2, 64, 64, 2, call, scan).checkAll();
  ScanCase::ssm(48, 16, 1, call, scan).checkAll();
}

/// A scan of one head of `p` channels whose values are known exactly.
class ExactScan {
public:
  ExactScan(const Scan &scan, int64_t p, int64_t n, int64_t tokens = 1)
      : scan(scan), p(p), n(n), tokens(tokens), x(tokens * p * 4),
        dt(tokens * 4), a(4), b(tokens * n * 4), c(tokens * n * 4),
        y(tokens * p * 4), scales(n * p * 4) {
    auto align = [](int64_t bytes) { return (bytes + 63) / 64 * 64; };
    residualAt = align(n * p);
    int64_t rest = scan.residual == 4   ? (n + 1) / 2 * p
                   : scan.residual == 8 ? n * p
                                        : 0;
    scaleAt = residualAt + align(rest);
    state = Buffer(scaleAt + (scan.format == 2 ? align(p * 4) : 0));
    std::memset(state.as<char>(), 0, state.size());
    std::fill_n(c.as(), tokens * n, 1.0f);
    constants = {{"batch", 1},
                 {"tokens", tokens},
                 {"heads", 1},
                 {"head_dim", p},
                 {"n", n},
                 {"groups", 1},
                 {"chunk", 64},
                 {"ldx", p},
                 {"lddt", 1},
                 {"ldb", n},
                 {"ldc", n},
                 {"ldy", p},
                 {"state_format", scan.format},
                 {"state_rounding", scan.stochastic},
                 {"state_residual", scan.residual},
                 {"state_once", scan.once}};
  }

  void load(const X86Machine &machine) {
    KernelSpec spec;
    spec.family = "ssd_scan";
    for (auto [name, value] : constants)
      spec.set(name, value);
    kernel.emplace(llvm::cantFail(LoadedKernel::load(spec, machine)));
  }
  void step(int32_t past, float timeStep, float decay) {
    std::fill_n(dt.as(), tokens, timeStep);
    a.as()[0] = decay;
    void *operands[14] = {x.as<void>(),     dt.as<void>(),    a.as<void>(),
                          b.as<void>(),     c.as<void>(),     nullptr,
                          state.as<void>(), y.as<void>(),     nullptr,
                          nullptr,          nullptr,          nullptr,
                          nullptr,          scales.as<void>()};
    (*kernel)(operands, Call(1, tokens, {past}).call);
  }

  int code(int64_t i, int64_t channel) const {
    return state.as<int8_t>()[i * p + channel];
  }
  int residual(int64_t i, int64_t channel) const {
    const int8_t *at = state.as<int8_t>() + residualAt;
    if (scan.residual != 4)
      return scan.residual ? at[i * p + channel] : 0;
    int byte = static_cast<uint8_t>(at[i / 2 * p + channel]);
    int half = i % 2 ? byte >> 4 : byte & 15;
    return half >= 8 ? half - 16 : half;
  }

  Scan scan;
  int64_t p, n, tokens, residualAt, scaleAt;
  Buffer x, dt, a, b, c, y, scales, state;
  kernels::naive::Constants constants;
  std::optional<LoadedKernel> kernel;
};

/// The state of a scan as lib/Compress has it.
static compress::StateFormat formatOf(const Scan &scan) {
  compress::StateFormat format;
  format.scaling = scan.format == 2 ? compress::StateScaling::Dynamic
                                    : compress::StateScaling::Static;
  format.rounding = scan.stochastic ? compress::StateRounding::Stochastic
                                    : compress::StateRounding::Nearest;
  format.residualBits = static_cast<int>(scan.residual);
  return format;
}

// The same integers as the reference, for every format: a decay of 1 or 0 and
// inputs without rounding leave no room for other differences.
TEST(StateTest, EqualsReferenceBitForBit) {
  int64_t p = 20, n = 11;
  for (const Scan &scan : kStates)
    for (const X86Machine &machine : machines()) {
      SCOPED_TRACE(machine.name());
      ExactScan s(scan, p, n);
      s.load(machine);
      std::vector<float> scales;
      for (int64_t i = 0; i < p * n; ++i)
        scales.push_back(0.004f + 0.0001f * static_cast<float>(i));
      auto reference = compress::Int8State::create(
          formatOf(scan), p, n,
          scan.format == 1 ? scales : std::vector<float>());
      ASSERT_TRUE(static_cast<bool>(reference));
      for (int64_t i = 0; i < n; ++i)
        for (int64_t channel = 0; channel < p; ++channel)
          s.scales.as()[i * p + channel] = scales[channel * n + i];
      for (int32_t t = 0; t < 12; ++t) {
        std::vector<float> x = randomFloats(p, 100 + t);
        std::copy(x.begin(), x.end(), s.x.as());
        for (int64_t i = 0; i < n; ++i)
          s.b.as()[i] =
              std::ldexp(i % 2 ? 1.0f : -1.0f, static_cast<int>(i % 4) - 2);
        // Ever smaller inputs, then one that forgets.
        float input = t == 9 ? 1.0f : std::ldexp(1.0f, -t);
        s.step(t, input, t == 9 ? -300.0f : 0.0f);
        for (int64_t channel = 0; channel < p; ++channel) {
          std::vector<float> in(n), c(n, 1.0f), decay(1, t == 9 ? 0.0f : 1.0f);
          for (int64_t i = 0; i < n; ++i)
            in[i] = x[channel] * input * s.b.as()[i];
          float y = reference->update(channel, decay, in, c, t);
          EXPECT_NEAR(s.y.as()[channel], y, 1e-5);
          for (int64_t i = 0; i < n; ++i) {
            ASSERT_EQ(s.code(i, channel), reference->getQ()[channel * n + i])
                << "token " << t << " channel " << channel << " state " << i;
            if (scan.residual)
              ASSERT_EQ(s.residual(i, channel),
                        reference->getResiduals()[channel * n + i]);
          }
          if (scan.format == 2) {
            float scale;
            std::memcpy(&scale, s.state.as<char>() + s.scaleAt + channel * 4,
                        4);
            ASSERT_EQ(scale, reference->getScale(channel, 0));
          }
        }
      }
    }
}

// A call of several tokens that rounds once gives the integers of their sum.
TEST(StateTest, RoundedOnceEqualsReferenceBitForBit) {
  int64_t p = 20, n = 11, tokens = 5;
  for (Scan scan :
       {stateOf(2, false, 0), stateOf(1, false, 0), stateOf(2, true, 4)})
    for (const X86Machine &machine : machines()) {
      SCOPED_TRACE(machine.name());
      scan.once = true;
      ExactScan s(scan, p, n, tokens);
      s.load(machine);
      std::fill_n(s.scales.as(), n * p, 0.031f);
      auto reference = compress::Int8State::create(
          formatOf(scan), p, n,
          scan.format == 1 ? std::vector<float>(1, 0.031f)
                           : std::vector<float>());
      ASSERT_TRUE(static_cast<bool>(reference));
      for (int32_t call = 0; call < 3; ++call) {
        std::vector<float> x = randomFloats(tokens * p, 200 + call);
        std::copy(x.begin(), x.end(), s.x.as());
        for (int64_t i = 0; i < tokens * n; ++i)
          s.b.as()[i] =
              std::ldexp(i % 2 ? 1.0f : -1.0f, static_cast<int>(i % 4) - 2);
        s.step(static_cast<int32_t>(call * tokens), 1.0f, 0.0f);
        for (int64_t channel = 0; channel < p; ++channel) {
          std::vector<float> h(n);
          reference->load(channel, h);
          for (int64_t t = 0; t < tokens; ++t)
            for (int64_t i = 0; i < n; ++i)
              h[i] += x[t * p + channel] * s.b.as()[t * n + i];
          reference->store(channel, h, call * tokens + tokens - 1);
          for (int64_t i = 0; i < n; ++i) {
            ASSERT_EQ(s.code(i, channel), reference->getQ()[channel * n + i])
                << "call " << call << " channel " << channel << " state " << i;
            if (scan.residual)
              ASSERT_EQ(s.residual(i, channel),
                        reference->getResiduals()[channel * n + i]);
          }
        }
      }
    }
}

// Without input, rounding to nearest has levels that never decay; stochastic
// rounding has none, and a residual lowers them.
TEST(StateTest, StuckStates) {
  int64_t p = 16, n = 4;
  double decay = 0.99;
  auto lastCodes = [&](const Scan &scan) {
    ExactScan s(scan, p, n);
    s.load(machines().back());
    std::fill_n(s.scales.as(), n * p, 0.01f);
    std::fill_n(s.x.as(), p, 1.0f);
    std::fill_n(s.b.as(), n, 1.0f);
    s.step(0, 1.0f, 0.0f); // an impulse: the code 100
    std::fill_n(s.x.as(), p, 0.0f);
    for (int32_t t = 1; t <= 3000; ++t)
      s.step(t, 1.0f, static_cast<float>(std::log(decay)));
    double sum = 0;
    for (int64_t i = 0; i < n * p; ++i)
      sum += s.code(i / p, i % p);
    return sum / static_cast<double>(n * p);
  };
  EXPECT_EQ(lastCodes(stateOf(1, false, 0)), compress::stuckLevel(decay, 100));
  EXPECT_LT(lastCodes(stateOf(1, true, 0)), 2);
  EXPECT_LE(lastCodes(stateOf(1, false, 4)),
            compress::stuckLevel(decay, 1600) / 16 + 1);
  EXPECT_EQ(lastCodes(stateOf(1, false, 8)), 0);
}

// Values that are no numbers, and states that are all zero.
TEST(StateTest, ExtremeValues) {
  int64_t p = 16, n = 4;
  for (const Scan &scan : kStates)
    for (const X86Machine &machine : machines()) {
      ExactScan s(scan, p, n);
      s.load(machine);
      std::fill_n(s.scales.as(), n * p, 0.01f);
      std::fill_n(s.x.as(), p, 0.0f);
      std::fill_n(s.b.as(), n, 1.0f);
      s.step(0, 1.0f, 0.0f);
      for (int64_t i = 0; i < n * p; ++i)
        EXPECT_EQ(s.code(i / p, i % p), 0);
      // Saturates, never wraps.
      for (int64_t channel = 0; channel < p; ++channel)
        s.x.as()[channel] = channel % 2 ? 1e30f : -1e30f;
      s.step(1, 1.0f, 0.0f);
      for (int64_t i = 0; i < n * p; ++i)
        EXPECT_GE(s.code(i / p, i % p) * (i % 2 ? 1 : -1), 127);
      s.x.as()[3] = NAN;
      s.step(2, 1.0f, 0.0f);
      for (int64_t i = 0; i < n; ++i)
        EXPECT_EQ(s.code(i, 3), 0);
    }
}

} // namespace
