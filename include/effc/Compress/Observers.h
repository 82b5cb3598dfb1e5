//===- Observers.h - statistics of values during calibration ----*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// An observer sees the rows of one value, [tokens][channels], sample by
/// sample. What it has seen can be saved and loaded with not a bit changed, so
/// that calibration can be reused. Observers are deterministic; those marked
/// (o) depend on the order of the samples.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_COMPRESS_OBSERVERS_H
#define EFFC_COMPRESS_OBSERVERS_H

#include "effc/Compress/Hessian.h"
#include "effc/Compress/Quantize.h"

#include <map>
#include <memory>

namespace effc::compress {

enum class ObserverKind {
  AbsMax,              ///< max |x| over everything
  ChannelAbsMax,       ///< max |x| of each channel
  GroupAbsMax,         ///< max |x| of each run of `group` channels
  RunningAbsMax,       ///< (o) moving average over samples of max |x|
  RunningPercentile,   ///< (o) moving average over samples of the exact
                       ///< percentile of |x|
  HistogramPercentile, ///< percentile of |x| over everything, within 1/256 of
                       ///< its value
  ChannelMean,         ///< mean of each channel
  ChannelMeanMax, ///< for each channel the largest over samples of the sample's
                  ///< mean |x|
  Hessian,        ///< (2 / n) sum x x^T
};

/// "abs-max", "channel-abs-max", ...
const char *getName(ObserverKind kind);
/// An error that lists the names if there is no such kind.
Result<ObserverKind> parseObserverKind(const std::string &name);

struct ObserverSettings {
  ObserverKind kind = ObserverKind::AbsMax;
  int64_t channels = 1;
  int64_t group =
      128; ///< GroupAbsMax: channels of a group; the last may have fewer.
  double alpha = 0.99999; ///< Percentiles.
  double sigma = 0.01;    ///< Moving averages: the weight of a new sample.

  bool operator==(const ObserverSettings &other) const;
};

class ObserverArchive;

class Observer {
public:
  static Result<std::unique_ptr<Observer>>
  create(const ObserverSettings &settings);
  virtual ~Observer() = default;

  const ObserverSettings &getSettings() const { return settings; }
  int64_t getRows() const { return rows; }
  int64_t getSamples() const { return samples; }

  /// More rows of the current sample. An error if a value is not finite; then
  /// nothing has been seen of these rows.
  Status observe(MatrixView<const float> x,
                 const ParallelFor &parallel = serial());
  /// The current sample is complete. One without rows does not count.
  Status endSample();

  /// The statistic: one value, one for each channel or group, or the matrix. An
  /// error if no sample is complete.
  Result<std::vector<float>>
  getValues(const ParallelFor &parallel = serial()) const;
  /// getValues() / 127, at least 1e-6. Not for means and Hessians.
  Result<std::vector<float>> getScales() const;

protected:
  virtual void add(MatrixView<const float> x, const ParallelFor &parallel) = 0;
  virtual Status finishSample() { return Status::success(); }
  virtual Result<std::vector<float>>
  compute(const ParallelFor &parallel) const = 0;
  /// Visits all that must be kept between samples.
  virtual void visit(ObserverArchive &archive) = 0;
  /// Whether what was loaded is a state that the observer can have.
  virtual bool isConsistent() const = 0;

  ObserverSettings settings;
  int64_t rows = 0, samples = 0;

private:
  friend class Calibration;
  int64_t openRows = 0;
};

/// A hash of a model's bytes that changes when any of them does. Not a defence
/// against forgers.
class Fingerprint {
public:
  void update(const void *data, size_t size);
  /// Length first, so that neighbouring parts cannot trade bytes.
  void updateText(const std::string &text);
  /// 32 hex digits. More can be added afterwards.
  std::string hex() const;

private:
  void mix(uint64_t a, uint64_t b);
  uint64_t h1 = 0x243f6a8885a308d3, h2 = 0x13198a2e03707344, length = 0;
  unsigned char tail[16] = {};
};

/// Named observers and the model that they belong to. Kept as a readable JSON
/// text and one binary file that holds the arrays, little-endian.
class Calibration {
public:
  std::string fingerprint; ///< Of the model.
  std::string description; ///< What the samples were.

  /// An error if the name is taken.
  Result<Observer *> add(const std::string &name,
                         const ObserverSettings &settings);
  /// Another name for an observer; its name has to be there. An error if the
  /// alias is taken.
  Status addAlias(const std::string &alias, const std::string &name);
  /// By name or alias; null if there is none.
  const Observer *find(const std::string &name) const;
  Observer *find(const std::string &name);
  const std::map<std::string, std::unique_ptr<Observer>> &getAll() const {
    return observers;
  }
  /// From the alias to the observer's name.
  const std::map<std::string, std::string> &getAliases() const {
    return aliases;
  }

  /// An error if this calibration belongs to another model (EFF0413).
  Status checkModel(const std::string &fingerprint) const;

  struct Files {
    std::string json, arrays;
  };
  /// `arraysName` is what the JSON calls the other file. An error if a sample
  /// is open.
  Result<Files> serialize(const std::string &arraysName) const;
  /// Damaged or newer files are errors (EFF0414).
  static Result<Calibration> deserialize(const std::string &json,
                                         const std::string &arrays);
  /// Writes `path` and `path`.bin.
  Status save(const std::string &path) const;
  static Result<Calibration> load(const std::string &path);

private:
  std::map<std::string, std::unique_ptr<Observer>> observers;
  std::map<std::string, std::string> aliases;
};

} // namespace effc::compress

#endif // EFFC_COMPRESS_OBSERVERS_H
