//===- ObserversTest.cpp - statistics of values during calibration --------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Compress/Observers.h"

#include "TestUtils.h"

#include <filesystem>
#include <fstream>

using namespace effc::compress;
using namespace effc::compress::test;

namespace {

const ObserverKind kKinds[] = {
    ObserverKind::AbsMax,
    ObserverKind::ChannelAbsMax,
    ObserverKind::GroupAbsMax,
    ObserverKind::RunningAbsMax,
    ObserverKind::RunningPercentile,
    ObserverKind::HistogramPercentile,
    ObserverKind::ChannelMean,
    ObserverKind::ChannelMeanMax,
    ObserverKind::Hessian,
};

ObserverSettings settingsOf(ObserverKind kind, int64_t channels,
                            double alpha = 0.99) {
  ObserverSettings settings;
  settings.kind = kind;
  settings.channels = channels;
  settings.group = 3;
  settings.alpha = alpha;
  settings.sigma = 0.25;
  return settings;
}

/// Samples of different lengths.
std::vector<std::vector<float>> samplesOf(Random &random, int64_t channels) {
  std::vector<std::vector<float>> samples;
  for (int i = 0; i < 5; ++i)
    samples.push_back(
        normal(random, channels * between(random, 1, 200), 1 + i));
  return samples;
}

void feed(Observer &observer, const std::vector<float> &sample, int64_t piece) {
  int64_t channels = observer.getSettings().channels,
          rows = sample.size() / channels;
  for (int64_t t = 0; t < rows; t += piece)
    EXPECT_OK(observer.observe(
        {&sample[t * channels], std::min(piece, rows - t), channels}));
  EXPECT_OK(observer.endSample());
}

std::vector<float> valuesOf(ObserverKind kind, int64_t channels,
                            const std::vector<std::vector<float>> &samples,
                            double alpha = 0.99) {
  auto observer = get(Observer::create(settingsOf(kind, channels, alpha)));
  for (const auto &sample : samples)
    feed(*observer, sample, 64);
  return get(observer->getValues());
}

TEST(Observers, Maxima) {
  Random random(1);
  int64_t channels = 8;
  auto samples = samplesOf(random, channels);
  std::vector<float> all(1), each(channels), groups(3);
  for (const auto &sample : samples)
    for (size_t i = 0; i < sample.size(); ++i) {
      float x = std::fabs(sample[i]);
      int64_t c = int64_t(i) % channels;
      all[0] = std::max(all[0], x);
      each[c] = std::max(each[c], x);
      groups[c / 3] = std::max(groups[c / 3], x);
    }
  EXPECT_EQ(valuesOf(ObserverKind::AbsMax, channels, samples), all);
  EXPECT_EQ(valuesOf(ObserverKind::ChannelAbsMax, channels, samples), each);
  EXPECT_EQ(valuesOf(ObserverKind::GroupAbsMax, channels, samples), groups);
}

TEST(Observers, MovingAverages) {
  Random random(2);
  int64_t channels = 8;
  auto samples = samplesOf(random, channels);
  double mean = 0;
  RunningPercentile running;
  running.alpha = 0.99;
  running.sigma = 0.25;
  for (size_t i = 0; i < samples.size(); ++i) {
    double max = get(absQuantile(samples[i], 1));
    mean = i == 0 ? max : mean + 0.25 * (max - mean);
    EXPECT_OK(running.add(samples[i]));
  }
  EXPECT_EQ(valuesOf(ObserverKind::RunningAbsMax, channels, samples)[0],
            float(mean));
  EXPECT_EQ(valuesOf(ObserverKind::RunningPercentile, channels, samples)[0],
            float(running.value));
  // With alpha = 1 the two are one.
  EXPECT_EQ(valuesOf(ObserverKind::RunningPercentile, channels, samples, 1)[0],
            float(mean));
}

TEST(Observers, HistogramIsWithinItsBin) {
  Random random(3);
  int64_t channels = 8;
  auto samples = samplesOf(random, channels);
  samples[0].assign(samples[0].size(), 0.0f);
  std::vector<float> all;
  for (const auto &sample : samples)
    all.insert(all.end(), sample.begin(), sample.end());
  for (double alpha : {0.0, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    float exact = get(absQuantile(all, alpha));
    float near = valuesOf(ObserverKind::HistogramPercentile, channels, samples,
                          alpha)[0];
    // A bin is 1/256 wide; neighbours may lie in neighbouring bins when there
    // are few values.
    EXPECT_NEAR(near, exact, exact * (alpha < 0.999 ? 0.005 : 0.08) + 1e-30)
        << alpha;
  }
  auto reversed = samples;
  std::reverse(reversed.begin(), reversed.end());
  EXPECT_EQ(valuesOf(ObserverKind::HistogramPercentile, channels, samples),
            valuesOf(ObserverKind::HistogramPercentile, channels, reversed));
}

TEST(Observers, Means) {
  Random random(4);
  int64_t channels = 5;
  auto samples = samplesOf(random, channels);
  std::vector<float> mean(channels), meanMax(channels);
  for (int64_t c = 0; c < channels; ++c) {
    double sum = 0, rows = 0;
    for (const auto &sample : samples) {
      double size = 0, count = 0;
      for (size_t i = c; i < sample.size(); i += channels) {
        sum += sample[i];
        size += std::fabs(sample[i]);
        ++count;
      }
      rows += count;
      meanMax[c] = std::max(meanMax[c], float(size / count));
    }
    mean[c] = float(sum / rows);
  }
  EXPECT_EQ(valuesOf(ObserverKind::ChannelMean, channels, samples), mean);
  EXPECT_EQ(valuesOf(ObserverKind::ChannelMeanMax, channels, samples), meanMax);
}

TEST(Observers, HessianIsTheHessian) {
  Random random(5);
  int64_t channels = 7;
  auto samples = samplesOf(random, channels);
  Hessian hessian = get(Hessian::create(channels));
  for (const auto &sample : samples)
    EXPECT_OK(
        hessian.add(constView(sample, sample.size() / channels, channels)));
  EXPECT_EQ(valuesOf(ObserverKind::Hessian, channels, samples),
            get(hessian.getMatrix()));
}

TEST(Observers, PiecesOfASampleDoNotMatter) {
  Random random(6);
  int64_t channels = 6;
  auto samples = samplesOf(random, channels);
  for (ObserverKind kind : kKinds) {
    std::vector<float> first;
    for (int64_t piece : {1, 17, 1000}) {
      auto observer = get(Observer::create(settingsOf(kind, channels)));
      for (const auto &sample : samples)
        feed(*observer, sample, piece);
      auto values = get(observer->getValues());
      if (first.empty())
        first = values;
      EXPECT_EQ(values, first) << getName(kind);
      EXPECT_EQ(observer->getSamples(), 5);
    }
  }
}

TEST(Observers, ScalesHaveAFloor) {
  auto observer =
      get(Observer::create(settingsOf(ObserverKind::ChannelAbsMax, 2)));
  std::vector<float> x = {0, -254};
  feed(*observer, x, 1);
  EXPECT_EQ(get(observer->getScales()), (std::vector<float>{1e-6f, 2}));
}

TEST(Observers, NamesRoundTrip) {
  for (ObserverKind kind : kKinds)
    EXPECT_EQ(get(parseObserverKind(getName(kind))), kind);
  auto unknown = parseObserverKind("max");
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(unknown.error().why.find("abs-max"), std::string::npos);
}

TEST(Observers, BadInputsAreErrors) {
  EXPECT_ERROR(Observer::create(settingsOf(ObserverKind::AbsMax, 0)),
               "EFF0410");
  EXPECT_ERROR(Observer::create(settingsOf(ObserverKind::Hessian, 1 << 20)),
               "EFF0410");
  EXPECT_ERROR(
      Observer::create(settingsOf(ObserverKind::RunningPercentile, 1, 2)),
      "EFF0411");
  auto settings = settingsOf(ObserverKind::GroupAbsMax, 4);
  settings.group = 0;
  EXPECT_ERROR(Observer::create(settings), "EFF0411");
  settings.group = 1;
  settings.sigma = 0;
  EXPECT_ERROR(Observer::create(settings), "EFF0411");
  for (ObserverKind kind : kKinds) {
    auto observer = get(Observer::create(settingsOf(kind, 4)));
    std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 8};
    EXPECT_ERROR(observer->observe(constView(x, 4, 2)), "EFF0410");
    // A sample without rows is none.
    EXPECT_OK(observer->endSample());
    EXPECT_ERROR(observer->getValues(), "EFF0412");
    EXPECT_OK(observer->observe(constView(x, 2, 4)));
    // Nothing is seen of rows that are not finite.
    x[5] = INFINITY;
    EXPECT_ERROR(observer->observe(constView(x, 2, 4)), "EFF0412");
    EXPECT_OK(observer->endSample());
    EXPECT_EQ(observer->getRows(), 2);
    for (float value : get(observer->getValues()))
      EXPECT_TRUE(std::isfinite(value));
  }
  auto hessian = get(Observer::create(settingsOf(ObserverKind::Hessian, 2)));
  EXPECT_ERROR(hessian->getScales(), "EFF0411");
}

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

/// A calibration with one observer of each kind that has seen the samples.
Calibration calibrate(const std::vector<std::vector<float>> &samples,
                      int64_t channels) {
  Calibration calibration;
  calibration.fingerprint = "0123";
  calibration.description = "five samples";
  for (ObserverKind kind : kKinds) {
    Observer *observer = get(calibration.add(
        getName(kind), settingsOf(kind, channels, 0.987654321)));
    for (const auto &sample : samples)
      feed(*observer, sample, 50);
  }
  return calibration;
}

std::string temporary(const char *name) {
  return testing::TempDir() + "effc-calibration-" + name;
}

TEST(Calibration, SaveAndLoadKeepEveryBit) {
  Random random(7);
  int64_t channels = 9;
  auto samples = samplesOf(random, channels);
  Calibration saved = calibrate(samples, channels);
  std::string path = temporary("round-trip.json");
  EXPECT_OK(saved.save(path));
  Calibration loaded = get(Calibration::load(path));
  EXPECT_EQ(loaded.fingerprint, "0123");
  EXPECT_EQ(loaded.description, "five samples");
  ASSERT_EQ(loaded.getAll().size(), saved.getAll().size());
  auto more = samplesOf(random, channels);
  for (ObserverKind kind : kKinds) {
    Observer *a = saved.find(getName(kind)), *b = loaded.find(getName(kind));
    ASSERT_TRUE(a && b);
    EXPECT_TRUE(a->getSettings() == b->getSettings());
    EXPECT_EQ(a->getRows(), b->getRows());
    EXPECT_EQ(a->getSamples(), b->getSamples());
    EXPECT_EQ(get(a->getValues()), get(b->getValues())) << getName(kind);
    // Both go on from where they are in the same way.
    for (const auto &sample : more) {
      feed(*a, sample, 10);
      feed(*b, sample, 33);
    }
    EXPECT_EQ(get(a->getValues()), get(b->getValues())) << getName(kind);
  }
  // Twice the same files.
  auto first = get(calibrate(samples, channels).serialize("a"));
  auto second = get(calibrate(samples, channels).serialize("a"));
  EXPECT_EQ(first.json, second.json);
  EXPECT_EQ(first.arrays, second.arrays);
  auto again = get(
      get(Calibration::deserialize(first.json, first.arrays)).serialize("a"));
  EXPECT_EQ(first.json, again.json);
  EXPECT_EQ(first.arrays, again.arrays);
  std::filesystem::remove(path);
  std::filesystem::remove(path + ".bin");
}

TEST(Calibration, AnotherModelIsNoticed) {
  Calibration calibration;
  calibration.fingerprint = "a";
  EXPECT_OK(calibration.checkModel("a"));
  EXPECT_ERROR(calibration.checkModel("b"), "EFF0413");
}

TEST(Calibration, DamageIsNoticed) {
  Random random(8);
  auto files = get(calibrate(samplesOf(random, 4), 4).serialize("x.bin"));
  EXPECT_TRUE(Calibration::deserialize(files.json, files.arrays).ok());
  auto arrays = files.arrays;
  arrays[arrays.size() / 2] ^= 1;
  EXPECT_ERROR(Calibration::deserialize(files.json, arrays), "EFF0414");
  arrays = files.arrays.substr(1);
  EXPECT_ERROR(Calibration::deserialize(files.json, arrays), "EFF0414");
  for (const char *text : {"", "{", "[]", "{}", "{\"format\": 3}",
                           "{\"format\": \"effc-calibration\"}"})
    EXPECT_ERROR(Calibration::deserialize(text, files.arrays), "EFF0414");
  // Cut anywhere, or with any one word replaced, it is an error or it is still
  // a calibration; never a crash.
  for (size_t cut = 0; cut < files.json.size() - 2; cut += 7)
    EXPECT_ERROR(
        Calibration::deserialize(files.json.substr(0, cut), files.arrays),
        "EFF0414");
  struct Change {
    const char *from, *to;
  };
  for (auto [from, to] : {Change{"\"version\": 1", "\"version\": 2"},
                          {"\"version\": 1", "\"version\": \"1\""},
                          {"\"channels\": 4", "\"channels\": 1000000000"},
                          {"\"channels\": 4", "\"channels\": 3"},
                          {"\"rows\"", "\"row\""},
                          {"\"type\": \"f64\"", "\"type\": \"u64\""},
                          {"\"offset\": ", "\"offset\": -1"},
                          {"\"offset\": ", "\"offset\": 1844674407370955"},
                          {"\"count\": ", "\"count\": 1234567890123"},
                          {"\"samples\": 5", "\"samples\": -5"},
                          {"\"arrays\": {", "\"arrays\": 3, \"other\": {"}}) {
    std::string text = files.json;
    // The file's own fields come first, then those of an observer whose arrays
    // depend on them.
    size_t at = text.find(from);
    if (at > text.find("\"observers\""))
      at = text.find(from, text.find("\"channel-mean\": {"));
    ASSERT_NE(at, std::string::npos) << from;
    SCOPED_TRACE(to);
    text.replace(at, strlen(from), to);
    EXPECT_ERROR(Calibration::deserialize(text, files.arrays), "EFF0414");
  }
  // Each observer's channels in turn.
  for (size_t at = 0;
       (at = files.json.find("\"channels\": 4", at)) != std::string::npos;
       ++at) {
    std::string text = files.json;
    text.replace(at, 13, "\"channels\": 60000");
    auto result = Calibration::deserialize(text, files.arrays);
    if (!result.ok()) {
      EXPECT_EQ(result.error().code, "EFF0414");
    }
  }
  EXPECT_ERROR(Calibration::load("/nonexistent/file"), "EFF0101");
  EXPECT_ERROR(Calibration().save("/nonexistent/file"), "EFF0103");
}

TEST(Calibration, OpenSamplesAndTakenNamesAreErrors) {
  Calibration calibration;
  Observer *observer =
      get(calibration.add("x", settingsOf(ObserverKind::AbsMax, 1)));
  EXPECT_ERROR(calibration.add("x", settingsOf(ObserverKind::AbsMax, 1)),
               "EFF0411");
  float one = 1;
  EXPECT_OK(observer->observe({&one, 1, 1}));
  EXPECT_ERROR(calibration.serialize("b"), "EFF0411");
  EXPECT_OK(observer->endSample());
  EXPECT_TRUE(calibration.serialize("b").ok());
  EXPECT_EQ(calibration.find("y"), nullptr);
}

TEST(Calibration, FingerprintDependsOnEveryByteNotOnThePieces) {
  Random random(9);
  std::string bytes(1000, 0);
  for (char &byte : bytes)
    byte = char(between(random, 0, 255));
  auto hashOf = [](const std::string &text, size_t piece) {
    Fingerprint fingerprint;
    for (size_t i = 0; i < text.size(); i += piece)
      fingerprint.update(text.data() + i, std::min(piece, text.size() - i));
    return fingerprint.hex();
  };
  std::string whole = hashOf(bytes, 1000);
  EXPECT_EQ(whole.size(), 32u);
  for (size_t piece : {1, 3, 15, 16, 17, 100})
    EXPECT_EQ(hashOf(bytes, piece), whole);
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string changed = bytes;
    changed[i] ^= char(1 << (i % 8));
    EXPECT_NE(hashOf(changed, 64), whole);
  }
  EXPECT_NE(hashOf(bytes.substr(0, 999), 64), whole);
  EXPECT_NE(hashOf(bytes + std::string(1, 0), 64), whole);
  Fingerprint a, b;
  a.updateText("ab");
  a.updateText("c");
  b.updateText("a");
  b.updateText("bc");
  EXPECT_NE(a.hex(), b.hex());
}

} // namespace
