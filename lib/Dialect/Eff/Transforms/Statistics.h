//===- Statistics.h - what calibration has seen, for passes -----*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Passes name a value by the kind of an op and the symbol of its main
/// resource, as calibration does: `linear:@W:in`, `conv:@STATE:out`,
/// `ssm:@STATE:u`.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_LIB_DIALECT_EFF_TRANSFORMS_STATISTICS_H
#define EFFC_LIB_DIALECT_EFF_TRANSFORMS_STATISTICS_H

#include "effc/Compress/Observers.h"
#include "effc/Dialect/Eff/Eff.h"

namespace effc::eff {

/// The symbol that an `eff.use` names; empty for other values.
llvm::StringRef getSymbolOf(mlir::Value resource);
/// `KIND:@SYMBOL:PORT`, SYMBOL being what `resource` uses.
std::string getObservedName(llvm::StringRef kind, mlir::Value resource,
                            llvm::StringRef port);

class Statistics {
public:
  /// Reads a calibration file (Calibration::save).
  static llvm::Expected<Statistics> load(llvm::StringRef path);

  /// The largest magnitude of each channel. An error if it was not observed,
  /// or on another number of channels.
  llvm::Expected<std::vector<float>> getChannelMax(llvm::StringRef name,
                                                   int64_t channels) const;
  /// The largest magnitude over all channels; the running percentile instead
  /// when that was observed.
  llvm::Expected<float> getRange(llvm::StringRef name) const;
  /// The second moments of a linear's inputs, or nothing when they were not
  /// observed.
  const compress::Observer *getHessian(llvm::StringRef name) const;

private:
  const compress::Observer *
  find(llvm::StringRef name,
       llvm::ArrayRef<compress::ObserverKind> kinds) const;

  std::string path;
  compress::Calibration calibration;
};

/// max / 127, at least 1e-6: the scale that covers magnitudes up to `max`.
float scaleFor(float max);

} // namespace effc::eff

#endif // EFFC_LIB_DIALECT_EFF_TRANSFORMS_STATISTICS_H
