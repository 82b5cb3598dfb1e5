//===- Samples.h - what a calibration runs a model on -----------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_CALIBRATE_SAMPLES_H
#define EFFC_LIB_CALIBRATE_SAMPLES_H

#include "effc/Calibrate/Calibrate.h"
#include "effrt/engine.h"

namespace effc {

/// The samples of a file, for one model.
class Samples {
public:
  virtual ~Samples() = default;
  /// Reads the file for a model of which `manifest` says the entry points, the
  /// vocabulary, the capacity and the configuration. It must outlive the
  /// samples.
  static llvm::Expected<std::unique_ptr<Samples>>
  read(const CalibrateOptions &options, const effrt::Manifest &manifest);

  virtual int64_t count() const = 0;
  /// Runs sample `index` in sequence 0, from the beginning.
  virtual effrt::Status run(effrt::Engine &engine, int64_t index) = 0;
  /// One line for the calibration: what the samples are.
  std::string description;
};

} // namespace effc

#endif // EFFC_LIB_CALIBRATE_SAMPLES_H
