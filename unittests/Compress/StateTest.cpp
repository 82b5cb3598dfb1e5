//===- StateTest.cpp - recurrent states as 8-bit integers -----------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Compress/State.h"

#include "effc/Compress/Quantize.h"

#include "TestUtils.h"

using namespace effc::compress;
using namespace effc::compress::test;

namespace {

StateFormat formatOf(StateScaling scaling, StateRounding rounding,
                     int residualBits = 0) {
  StateFormat format;
  format.scaling = scaling;
  format.rounding = rounding;
  format.residualBits = residualBits;
  return format;
}
const StateFormat kNearest =
    formatOf(StateScaling::Static, StateRounding::Nearest);

/// Total stored integer, in units of scale / 2^bits.
int64_t total(const Int8State &state, int64_t i) {
  int bits = state.getFormat().residualBits;
  return int64_t(state.getQ()[i]) * (1 << bits) +
         (bits ? state.getResiduals()[i] : 0);
}

// Known answers of Random123.
TEST(State, PhiloxIsPhilox) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}),
            (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c,
                                     0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
                   {0xffffffff, 0xffffffff}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6,
                                     0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                   {0xa4093822, 0x299f31d0}),
            (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420,
                                     0x24126ea1}));
}

TEST(State, StoredValuesAreWithinHalfAUnit) {
  Random random(1);
  for (int bits : {0, 1, 4, 8})
    for (StateScaling scaling : {StateScaling::Static, StateScaling::Dynamic}) {
      int64_t rows = 6, n = between(random, 1, 40);
      std::vector<float> scales(rows, 4.0f / 127);
      Int8State state = get(Int8State::create(
          formatOf(scaling, StateRounding::Nearest, bits), rows, n,
          scaling == StateScaling::Static ? Span<const float>(scales)
                                          : Span<const float>()));
      for (int64_t r = 0; r < rows; ++r) {
        auto values = normal(random, n), loaded = values;
        state.store(r, values, 0);
        state.load(r, Span<float>(loaded));
        for (int64_t j = 0; j < n; ++j)
          ASSERT_LE(std::fabs(values[j] - loaded[j]),
                    state.getScale(r, j) * 0.5002f / float(1 << bits));
      }
    }
}

TEST(State, NearestIsThePlainFormatBitForBit) {
  Random random(2);
  auto values = normal(random, 64, 2);
  float scale = 2.0f / 127;
  Int8State state =
      get(Int8State::create(kNearest, 1, 64, Span<const float>(&scale, 1)));
  state.store(0, values, 7);
  for (int64_t j = 0; j < 64; ++j)
    EXPECT_EQ(state.getQ()[j], quantizeInt8(values[j], scale));
}

TEST(State, Quamba2_RangesSaturate) {
  float scale = 1;
  for (int bits : {0, 1, 4, 8})
    for (StateRounding rounding :
         {StateRounding::Nearest, StateRounding::Stochastic}) {
      Int8State state =
          get(Int8State::create(formatOf(StateScaling::Static, rounding, bits),
                                1, 3, Span<const float>(&scale, 1)));
      std::vector<float> values = {1e9f, -1e9f, NAN};
      state.store(0, values, 0);
      EXPECT_EQ(state.getQ()[0], 127);
      EXPECT_EQ(state.getQ()[1], -128);
      EXPECT_EQ(state.getQ()[2], 0);
    }
}

TEST(State, StochasticRoundingIsUnbiasedAndRepeatable) {
  float scale = 1;
  auto format = formatOf(StateScaling::Static, StateRounding::Stochastic);
  Int8State state =
      get(Int8State::create(format, 1, 1, Span<const float>(&scale, 1)));
  for (float value : {0.25f, -3.7f, 10.0f, 99.5f}) {
    double sum = 0;
    for (uint64_t step = 0; step < 20000; ++step) {
      state.store(0, Span<const float>(&value, 1), step);
      int8_t q = state.getQ()[0];
      ASSERT_TRUE(q == int(std::floor(value)) || q == int(std::ceil(value)));
      sum += q;
      state.store(0, Span<const float>(&value, 1), step);
      ASSERT_EQ(q, state.getQ()[0]);
    }
    // Five standard deviations of a mean of 20000 bits.
    EXPECT_NEAR(sum / 20000, value, 5 * 0.5 / std::sqrt(20000.0));
  }
  // Rows, elements, steps and seeds have numbers of their own.
  format.seed = 1;
  Int8State a =
      get(Int8State::create(format, 2, 64, Span<const float>(&scale, 1)));
  format.seed = 2;
  Int8State b =
      get(Int8State::create(format, 2, 64, Span<const float>(&scale, 1)));
  std::vector<float> half(64, 0.5f);
  for (Int8State *s : {&a, &b})
    for (int64_t row : {0, 1})
      s->store(row, half, 3);
  auto bits = [](Span<const int8_t> q, int64_t row) {
    return std::vector<int8_t>(q.begin() + row * 64, q.begin() + row * 64 + 64);
  };
  EXPECT_NE(bits(a.getQ(), 0), bits(a.getQ(), 1));
  EXPECT_NE(bits(a.getQ(), 0), bits(b.getQ(), 0));
  auto before = bits(a.getQ(), 0);
  a.store(0, half, 4);
  EXPECT_NE(bits(a.getQ(), 0), before);
}

TEST(State, Quamba2Invariant8_RoundingAtEachStepStaysInItsBound) {
  Random random(3);
  // Relative RMS errors that the specification's simulation gave, the scale
  // just fitting each element's range.
  struct Case {
    float decay;
    double wanted;
  };
  for (auto [decay, wanted] :
       {Case{0.9f, 0.019}, {0.99f, 0.05}, {0.999f, 0.13}}) {
    int64_t n = 64, steps = 6000;
    std::vector<float> exact(n), c(n), loaded(n), scales(n);
    // The stationary deviation is 1.
    double drive = std::sqrt(1 - double(decay) * decay);
    std::vector<std::vector<float>> inputs;
    for (int64_t t = 0; t < steps; ++t) {
      inputs.push_back(normal(random, n, drive));
      for (int64_t j = 0; j < n; ++j) {
        exact[j] = decay * exact[j] + inputs[t][j];
        scales[j] = std::max(scales[j], std::fabs(exact[j]) / 127);
      }
    }
    Int8State state = get(Int8State::create(kNearest, 1, n, scales));
    std::fill(exact.begin(), exact.end(), 0.0f);
    double error = 0, power = 0, noise = 0;
    for (int64_t t = 0; t < steps; ++t) {
      state.update(0, Span<const float>(&decay, 1), inputs[t], c, t);
      state.load(0, Span<float>(loaded));
      for (int64_t j = 0; j < n; ++j) {
        exact[j] = decay * exact[j] + inputs[t][j];
        double d = double(loaded[j]) - exact[j];
        // Each step adds half a unit at most, and past steps decay.
        ASSERT_LE(std::fabs(d), scales[j] / 2 / (1 - double(decay)) * 1.001);
        if (t > steps / 2) {
          error += d * d;
          power += double(exact[j]) * exact[j];
          noise += double(scales[j]) * scales[j] / 12 / (drive * drive);
        }
      }
    }
    double relative = std::sqrt(error / power);
    RecordProperty("relative_rms_" + std::to_string(decay),
                   std::to_string(relative));
    EXPECT_NEAR(relative / wanted, 1, 0.35) << decay << ": " << relative;
    // Rounding errors of different steps are nearly independent.
    EXPECT_NEAR(relative / std::sqrt(noise / power), 1, 0.25) << decay;
  }
}

//===----------------------------------------------------------------------===//
// Section 5.9: an impulse, then zeros
//===----------------------------------------------------------------------===//

/// The stored integer after 3000 steps without input from q = 100.
std::vector<int64_t> decayFrom100(const StateFormat &format, float decay,
                                  int64_t n = 1) {
  float scale = 1;
  std::vector<float> scales;
  if (format.scaling == StateScaling::Static)
    scales.push_back(scale);
  Int8State state = get(Int8State::create(format, 1, n, scales));
  std::vector<float> values(n, 100.0f), zeros(n);
  state.store(0, values, 0);
  for (uint64_t step = 1; step <= 3000; ++step)
    state.update(0, Span<const float>(&decay, 1), zeros, zeros, step);
  std::vector<int64_t> result(n);
  for (int64_t j = 0; j < n; ++j)
    result[j] = total(state, j);
  return result;
}

TEST(State, Quamba2Invariant9_NearestSticks) {
  struct Case {
    float decay;
    int64_t level;
  };
  for (auto [decay, level] : {Case{0.9f, 4}, {0.99f, 50}, {0.999f, 100}}) {
    EXPECT_EQ(decayFrom100(kNearest, decay)[0], level);
    EXPECT_EQ(stuckLevel(decay, 100), level);
  }
  EXPECT_EQ(stuckLevel(0.4, 100), 0);
  EXPECT_EQ(stuckLevel(0.999), 500);
}

TEST(State, Quamba2Invariant9_StochasticRoundingDecays) {
  auto format = formatOf(StateScaling::Static, StateRounding::Stochastic);
  for (float decay : {0.9f, 0.99f}) {
    for (int64_t q : decayFrom100(format, decay, 64))
      EXPECT_EQ(q, 0) << decay;
  }
  // 100 * 0.999^3000 = 4.97 on average.
  double sum = 0;
  auto last = decayFrom100(format, 0.999f, 256);
  for (int64_t q : last)
    sum += double(q) / 256;
  EXPECT_NEAR(sum, 100 * std::pow(0.999, 3000), 2.5);
}

TEST(State, Quamba2Invariant9_ResidualsLowerTheLevel) {
  for (int bits : {1, 4, 8})
    for (float decay : {0.9f, 0.99f, 0.999f}) {
      auto format =
          formatOf(StateScaling::Static, StateRounding::Nearest, bits);
      int64_t stuck = decayFrom100(format, decay)[0];
      int64_t level = stuckLevel(decay, 100 << bits);
      // Either it sticks or it has not come down to the level yet.
      double expected = 100 * std::pow(double(decay), 3000) * (1 << bits);
      EXPECT_GE(double(stuck), 0.98 * std::max(double(level), expected) - 1)
          << bits << " " << decay;
      EXPECT_LE(double(stuck), double(level) + 1.1 * expected + 1)
          << bits << " " << decay;
    }
  // A residual that is itself rounded at random leaves neither a level nor much
  // noise.
  auto both = formatOf(StateScaling::Static, StateRounding::Stochastic, 4);
  double sum = 0, square = 0, expected = 100 * std::pow(0.999, 3000);
  for (int64_t t : decayFrom100(both, 0.999f, 256)) {
    double q = double(t) / 16;
    sum += q / 256;
    square += (q - expected) * (q - expected) / 256;
  }
  EXPECT_NEAR(sum, expected, 0.2);
  EXPECT_LT(std::sqrt(square), 1.5);
}

TEST(State, Quamba2Invariant9_DynamicScalesDecayWithTheirRow) {
  // One decay for the row (Mamba-2): the scale carries it, the integers stay.
  float decay = 0.999f;
  auto format = formatOf(StateScaling::Dynamic, StateRounding::Nearest);
  Int8State state = get(Int8State::create(format, 1, 3));
  std::vector<float> values = {100, 50, -25}, zeros(3), loaded(3);
  state.store(0, values, 0);
  for (uint64_t step = 1; step <= 3000; ++step)
    state.update(0, Span<const float>(&decay, 1), zeros, zeros, step);
  state.load(0, Span<float>(loaded));
  for (int64_t j = 0; j < 3; ++j)
    EXPECT_NEAR(loaded[j] / (values[j] * std::pow(0.999, 3000)), 1, 0.02);

  // Decays of their own (Mamba-1): a fast element beside one that is kept alive
  // sticks as before.
  std::vector<float> decays = {0, 0.999f}, input = {100, 0}, start = {100, 90},
                     c(2), now(2);
  Int8State mixed = get(Int8State::create(format, 1, 2));
  mixed.store(0, start, 0);
  for (uint64_t step = 1; step <= 3000; ++step)
    mixed.update(0, decays, input, c, step);
  mixed.load(0, Span<float>(now));
  EXPECT_NEAR(now[1], 90, 1);
}

TEST(State, UpdateReadsBeforeItRounds) {
  float scale = 1, decay = 0.5f;
  Int8State state =
      get(Int8State::create(kNearest, 1, 2, Span<const float>(&scale, 1)));
  std::vector<float> start = {10, 20}, input = {0.25f, 0}, c = {1, 2};
  state.store(0, start, 0);
  // 5.25 and 10, of which 5.25 is stored as 5.
  EXPECT_EQ(state.update(0, Span<const float>(&decay, 1), input, c, 1), 25.25f);
  EXPECT_EQ(state.getQ()[0], 5);
  std::vector<float> decays = {0, 1};
  EXPECT_EQ(state.update(0, decays, input, c, 2), 20.25f);
}

TEST(State, QuambaInvariant5_PrefillHandsItsStateOver) {
  Random random(4);
  // With the exact state kept, prefill and then decode is one run; with 8 bits
  // they differ by one rounding, decayed.
  int64_t n = 16, prefill = 50, decode = 30;
  float decay = 0.95f;
  std::vector<float> exact(n), zeros(n), loaded(n);
  std::vector<std::vector<float>> inputs;
  float largest = 0;
  for (int64_t t = 0; t < prefill + decode; ++t) {
    inputs.push_back(normal(random, n));
    for (int64_t j = 0; j < n; ++j) {
      exact[j] = decay * exact[j] + inputs[t][j];
      largest = std::max(largest, std::fabs(exact[j]));
    }
  }
  float scale = largest / 127;
  Int8State state =
      get(Int8State::create(kNearest, 1, n, Span<const float>(&scale, 1)));
  std::vector<float> s(n);
  for (int64_t t = 0; t < prefill; ++t)
    for (int64_t j = 0; j < n; ++j)
      s[j] = decay * s[j] + inputs[t][j];
  state.store(0, s, 0);
  for (int64_t t = prefill; t < prefill + decode; ++t)
    state.update(0, Span<const float>(&decay, 1), inputs[t], zeros, t);
  state.load(0, Span<float>(loaded));
  for (int64_t j = 0; j < n; ++j)
    EXPECT_LE(std::fabs(loaded[j] - exact[j]),
              scale / 2 / (1 - double(decay)) * 1.001);
}

TEST(State, QuambaInvariant6_ConvolutionHandsItsStateOver) {
  Random random(5);
  for (int64_t length : {1, 2, 3, 4, 5, 33}) {
    int64_t channels = 5, width = 4;
    std::vector<int8_t> x((length + 1) * channels);
    for (int8_t &value : x)
      value = int8_t(between(random, -128, 127));
    auto state = get(convState({x.data(), length, channels}, width));
    for (int64_t i = 0; i < width; ++i)
      for (int64_t c = 0; c < channels; ++c) {
        int64_t from = length - width + i;
        EXPECT_EQ(state[i * channels + c],
                  from < 0 ? 0 : x[from * channels + c]);
      }
    // One more token: the state of the longer prefix.
    EXPECT_OK(pushConvState({state.data(), width, channels},
                            {&x[length * channels], size_t(channels)}));
    EXPECT_EQ(state, get(convState({x.data(), length + 1, channels}, width)));
  }
}

TEST(State, SizesAndBytes) {
  auto format = formatOf(StateScaling::Dynamic, StateRounding::Nearest, 4);
  EXPECT_EQ(get(Int8State::create(format, 8, 64)).getBytes(),
            8 * 64 + 8 * 32 + 8 * 4);
  float one = 1;
  EXPECT_EQ(get(Int8State::create(kNearest, 8, 64, Span<const float>(&one, 1)))
                .getBytes(),
            8 * 64);
  std::vector<float> scales(12);
  for (int i = 0; i < 12; ++i)
    scales[i] = float(i + 1);
  Int8State full = get(Int8State::create(kNearest, 3, 4, scales));
  EXPECT_EQ(full.getScale(2, 1), 10);
  Int8State perRow =
      get(Int8State::create(kNearest, 12, 4, Span<const float>(scales)));
  EXPECT_EQ(perRow.getScale(2, 1), 3);
}

TEST(State, BadInputsAreErrors) {
  std::vector<float> two = {1, 1}, zero = {0}, nan = {NAN};
  EXPECT_ERROR(Int8State::create(kNearest, 0, 4, two), "EFF0410");
  EXPECT_ERROR(Int8State::create(kNearest, 3, 4, two), "EFF0410");
  EXPECT_ERROR(Int8State::create(kNearest, 3, 4, {}), "EFF0410");
  EXPECT_ERROR(Int8State::create(kNearest, 3, 4, zero), "EFF0412");
  EXPECT_ERROR(Int8State::create(kNearest, 3, 4, nan), "EFF0412");
  auto dynamic = formatOf(StateScaling::Dynamic, StateRounding::Nearest);
  EXPECT_ERROR(Int8State::create(dynamic, 2, 4, two), "EFF0411");
  dynamic.residualBits = 9;
  EXPECT_ERROR(Int8State::create(dynamic, 2, 4), "EFF0411");
  std::vector<int8_t> x(12);
  EXPECT_ERROR(convState({x.data(), 3, 4}, 0), "EFF0410");
  EXPECT_ERROR(convState({x.data(), 3, 4, 2}, 4), "EFF0410");
  EXPECT_ERROR(pushConvState({x.data(), 3, 4}, {x.data(), 3}), "EFF0410");
  EXPECT_ERROR(pushConvState({x.data(), 0, 4}, {x.data(), 4}), "EFF0410");
  dynamic.residualBits = -1;
  EXPECT_ERROR(Int8State::create(dynamic, 2, 4), "EFF0411");
}

} // namespace
