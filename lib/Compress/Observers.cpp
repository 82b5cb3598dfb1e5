//===- Observers.cpp - statistics of values during calibration ------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Compress/Observers.h"

#include "ObserverArchive.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace effc::compress {

static const std::pair<ObserverKind, const char *> kNames[] = {
    {ObserverKind::AbsMax, "abs-max"},
    {ObserverKind::ChannelAbsMax, "channel-abs-max"},
    {ObserverKind::GroupAbsMax, "group-abs-max"},
    {ObserverKind::RunningAbsMax, "running-abs-max"},
    {ObserverKind::RunningPercentile, "running-percentile"},
    {ObserverKind::HistogramPercentile, "histogram-percentile"},
    {ObserverKind::ChannelMean, "channel-mean"},
    {ObserverKind::ChannelMeanMax, "channel-mean-max"},
    {ObserverKind::Hessian, "hessian"},
};

const char *getName(ObserverKind kind) {
  for (auto &[value, name] : kNames)
    if (value == kind)
      return name;
  return "unknown";
}

Result<ObserverKind> parseObserverKind(const std::string &name) {
  std::string known;
  for (auto &[kind, text] : kNames) {
    if (name == text)
      return kind;
    known += (known.empty() ? "" : ", ") + std::string(text);
  }
  return badSetting("unknown observer '" + name + "'", "known are " + known);
}

bool ObserverSettings::operator==(const ObserverSettings &other) const {
  return kind == other.kind && channels == other.channels &&
         group == other.group && alpha == other.alpha && sigma == other.sigma;
}

//===----------------------------------------------------------------------===//
// What all observers share
//===----------------------------------------------------------------------===//

Status Observer::observe(MatrixView<const float> x,
                         const ParallelFor &parallel) {
  if (!x.isValid() || x.cols != settings.channels)
    return badShape("a value of " + std::to_string(x.cols) +
                    " channels does not fit an observer of " +
                    std::to_string(settings.channels));
  if (!allFinite(x))
    return badValues("an observed value is not finite");
  add(x, parallel);
  openRows += x.rows;
  return Status::success();
}

Status Observer::endSample() {
  if (openRows == 0)
    return Status::success();
  rows += openRows;
  openRows = 0;
  ++samples;
  return finishSample();
}

Result<std::vector<float>>
Observer::getValues(const ParallelFor &parallel) const {
  if (samples == 0)
    return badValues("an observer has seen no sample");
  return compute(parallel);
}

Result<std::vector<float>> Observer::getScales() const {
  if (settings.kind == ObserverKind::ChannelMean ||
      settings.kind == ObserverKind::ChannelMeanMax ||
      settings.kind == ObserverKind::Hessian)
    return badSetting(std::string("an observer of kind ") +
                      getName(settings.kind) + " gives no scales");
  Result<std::vector<float>> values = getValues();
  if (values)
    for (float &value : *values)
      value = std::max(value / 127, 1e-6f);
  return values;
}

//===----------------------------------------------------------------------===//
// The kinds
//===----------------------------------------------------------------------===//

namespace {

/// AbsMax, ChannelAbsMax and GroupAbsMax: `width` channels share a maximum.
class MaxObserver : public Observer {
public:
  MaxObserver(int64_t channels, int64_t width)
      : width(width), maxima((channels + width - 1) / width) {}

  void add(MatrixView<const float> x, const ParallelFor &) override {
    for (int64_t i = 0; i < x.rows; ++i) {
      const float *row = x.row(i);
      if (width == 1) {
        for (int64_t j = 0; j < x.cols; ++j)
          maxima[j] = std::max(maxima[j], std::fabs(row[j]));
        continue;
      }
      for (int64_t j = 0; j < x.cols; j += width) {
        float max = maxima[j / width];
        for (int64_t k = j; k < std::min(j + width, x.cols); ++k)
          max = std::max(max, std::fabs(row[k]));
        maxima[j / width] = max;
      }
    }
  }
  Result<std::vector<float>> compute(const ParallelFor &) const override {
    return maxima;
  }
  void visit(ObserverArchive &archive) override {
    archive.array("max", maxima);
  }
  bool isConsistent() const override {
    return int64_t(maxima.size()) == (settings.channels + width - 1) / width;
  }

private:
  int64_t width;
  std::vector<float> maxima;
};

class RunningMaxObserver : public Observer {
public:
  void add(MatrixView<const float> x, const ParallelFor &) override {
    for (int64_t i = 0; i < x.rows; ++i)
      for (int64_t j = 0; j < x.cols; ++j)
        open = std::max(open, std::fabs(x(i, j)));
  }
  Status finishSample() override {
    double &mean = average[0];
    mean = samples == 1 ? open : mean + settings.sigma * (open - mean);
    open = 0;
    return Status::success();
  }
  Result<std::vector<float>> compute(const ParallelFor &) const override {
    return std::vector<float>{float(average[0])};
  }
  void visit(ObserverArchive &archive) override {
    archive.array("average", average);
  }
  bool isConsistent() const override { return average.size() == 1; }

private:
  float open = 0;
  std::vector<double> average = {0};
};

class RunningPercentileObserver : public Observer {
public:
  void add(MatrixView<const float> x, const ParallelFor &) override {
    for (int64_t i = 0; i < x.rows; ++i)
      open.insert(open.end(), x.row(i), x.row(i) + x.cols);
  }
  Status finishSample() override {
    RunningPercentile running;
    running.alpha = settings.alpha;
    running.sigma = settings.sigma;
    running.samples = samples - 1;
    running.value = average[0];
    Status status = running.add(open);
    average[0] = running.value;
    open.clear();
    return status;
  }
  Result<std::vector<float>> compute(const ParallelFor &) const override {
    return std::vector<float>{float(average[0])};
  }
  void visit(ObserverArchive &archive) override {
    archive.array("average", average);
  }
  bool isConsistent() const override { return average.size() == 1; }

private:
  std::vector<float> open;
  std::vector<double> average = {0};
};

/// Counts |x| by exponent and the first 8 bits of the mantissa: the bins are
/// the same for all data, so neither the order of the samples nor their range
/// matters.
class HistogramObserver : public Observer {
public:
  HistogramObserver() : counts(kBins) {}

  void add(MatrixView<const float> x, const ParallelFor &) override {
    for (int64_t i = 0; i < x.rows; ++i)
      for (int64_t j = 0; j < x.cols; ++j) {
        float value = x(i, j);
        uint32_t bits;
        std::memcpy(&bits, &value, sizeof bits);
        ++counts[(bits & 0x7fffffff) >> kShift];
      }
  }
  Result<std::vector<float>> compute(const ParallelFor &) const override {
    uint64_t total = 0;
    for (uint64_t count : counts)
      total += count;
    // The values of a bin are taken to lie evenly between its ends.
    double position = settings.alpha * double(total - 1);
    uint64_t before = 0;
    for (uint32_t bin = 0; bin < kBins; ++bin) {
      uint64_t count = counts[bin];
      if (count && position < double(before + count)) {
        double inside = (position - double(before) + 0.5) / double(count);
        double low = edge(bin), high = edge(bin + 1);
        return std::vector<float>{
            float(low + (high - low) * std::min(inside, 1.0))};
      }
      before += count;
    }
    return badValues("a histogram is empty");
  }
  void visit(ObserverArchive &archive) override {
    archive.array("counts", counts);
  }
  bool isConsistent() const override {
    if (counts.size() != kBins)
      return false;
    uint64_t total = 0;
    for (uint64_t count : counts)
      total += count;
    return total == uint64_t(rows) * uint64_t(settings.channels);
  }

private:
  static constexpr int kShift = 15;
  /// Up to the largest finite value.
  static constexpr uint32_t kBins = 0x7f800000u >> kShift;
  static double edge(uint32_t bin) {
    uint32_t bits = bin << kShift;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return std::isfinite(value) ? value : 3.4028234663852886e38;
  }
  std::vector<uint64_t> counts;
};

class MeanObserver : public Observer {
public:
  explicit MeanObserver(int64_t channels) : sums(channels) {}

  void add(MatrixView<const float> x, const ParallelFor &) override {
    for (int64_t i = 0; i < x.rows; ++i)
      for (int64_t j = 0; j < x.cols; ++j)
        sums[j] += x(i, j);
  }
  Result<std::vector<float>> compute(const ParallelFor &) const override {
    std::vector<float> means(sums.size());
    for (size_t j = 0; j < sums.size(); ++j)
      means[j] = float(sums[j] / double(rows));
    return means;
  }
  void visit(ObserverArchive &archive) override { archive.array("sum", sums); }
  bool isConsistent() const override {
    return int64_t(sums.size()) == settings.channels;
  }

private:
  std::vector<double> sums;
};

class MeanMaxObserver : public Observer {
public:
  explicit MeanMaxObserver(int64_t channels)
      : maxima(channels), open(channels) {}

  void add(MatrixView<const float> x, const ParallelFor &) override {
    for (int64_t i = 0; i < x.rows; ++i)
      for (int64_t j = 0; j < x.cols; ++j)
        open[j] += std::fabs(x(i, j));
    openCount += x.rows;
  }
  Status finishSample() override {
    for (size_t j = 0; j < open.size(); ++j) {
      maxima[j] = std::max(maxima[j], float(open[j] / double(openCount)));
      open[j] = 0;
    }
    openCount = 0;
    return Status::success();
  }
  Result<std::vector<float>> compute(const ParallelFor &) const override {
    return maxima;
  }
  void visit(ObserverArchive &archive) override {
    archive.array("max", maxima);
  }
  bool isConsistent() const override {
    return int64_t(maxima.size()) == settings.channels;
  }

private:
  std::vector<float> maxima;
  std::vector<double> open;
  int64_t openCount = 0;
};

} // namespace

class HessianObserver : public Observer {
public:
  explicit HessianObserver(compress::Hessian hessian)
      : hessian(std::move(hessian)) {}

  void add(MatrixView<const float> x, const ParallelFor &parallel) override {
    // The number of channels was checked.
    if (Status status = hessian.add(x, parallel); !status)
      failure = status;
  }
  Status finishSample() override { return failure; }
  Result<std::vector<float>>
  compute(const ParallelFor &parallel) const override {
    return hessian.getMatrix(parallel);
  }
  void visit(ObserverArchive &archive) override {
    archive.array("sum", hessian.sum);
    archive.array("pending", hessian.pending);
    hessian.rows = rows;
  }
  bool isConsistent() const override {
    int64_t n = settings.channels;
    return int64_t(hessian.sum.size()) == n * n &&
           int64_t(hessian.pending.size()) == rows % Hessian::kChunk * n;
  }

private:
  using Hessian = compress::Hessian;
  Hessian hessian;
  Status failure;
};

Result<std::unique_ptr<Observer>>
Observer::create(const ObserverSettings &settings) {
  int64_t channels = settings.channels;
  if (channels < 1 || channels > int64_t(1) << 32)
    return badShape("an observer of " + std::to_string(channels) + " channels");
  if (!(settings.alpha >= 0 && settings.alpha <= 1))
    return badSetting("a percentile outside [0, 1]");
  if (!(settings.sigma > 0 && settings.sigma <= 1))
    return badSetting("a running mean needs a weight in (0, 1]");
  if (settings.group < 1)
    return badSetting("a group of " + std::to_string(settings.group) +
                      " channels");
  std::unique_ptr<Observer> result;
  switch (settings.kind) {
  case ObserverKind::AbsMax:
    result = std::make_unique<MaxObserver>(channels, channels);
    break;
  case ObserverKind::ChannelAbsMax:
    result = std::make_unique<MaxObserver>(channels, 1);
    break;
  case ObserverKind::GroupAbsMax:
    result = std::make_unique<MaxObserver>(channels, settings.group);
    break;
  case ObserverKind::RunningAbsMax:
    result = std::make_unique<RunningMaxObserver>();
    break;
  case ObserverKind::RunningPercentile:
    result = std::make_unique<RunningPercentileObserver>();
    break;
  case ObserverKind::HistogramPercentile:
    result = std::make_unique<HistogramObserver>();
    break;
  case ObserverKind::ChannelMean:
    result = std::make_unique<MeanObserver>(channels);
    break;
  case ObserverKind::ChannelMeanMax:
    result = std::make_unique<MeanMaxObserver>(channels);
    break;
  case ObserverKind::Hessian: {
    Result<compress::Hessian> hessian = compress::Hessian::create(channels);
    if (!hessian)
      return hessian.takeError();
    result = std::make_unique<HessianObserver>(hessian.take());
    break;
  }
  }
  if (!result)
    return badSetting("unknown kind of observer");
  result->settings = settings;
  return result;
}

} // namespace effc::compress
