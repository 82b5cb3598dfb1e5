//===- Statistics.cpp - what calibration has seen, for passes -------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Statistics.h"
#include "effc/Support/Error.h"

#include <algorithm>

using namespace effc;
using namespace effc::eff;
using compress::ObserverKind;

llvm::StringRef effc::eff::getSymbolOf(mlir::Value resource) {
  auto use = resource ? resource.getDefiningOp<UseOp>() : UseOp();
  return use ? use.getSymbol() : llvm::StringRef();
}

std::string effc::eff::getObservedName(llvm::StringRef kind,
                                       mlir::Value resource,
                                       llvm::StringRef port) {
  return (kind + ":@" + getSymbolOf(resource) + ":" + port).str();
}

float effc::eff::scaleFor(float max) { return std::max(max / 127, 1e-6f); }

llvm::Expected<Statistics> Statistics::load(llvm::StringRef path) {
  if (path.empty())
    return makeError(ErrorCode::BadOption, "static scales need calibration", {},
                     "no calibration was given",
                     "give a text or images with --calib FILE");
  auto loaded = compress::Calibration::load(path.str());
  if (!loaded) {
    const effrt::Error &error = loaded.error();
    return makeError(ErrorCode::BadOption, error.what, path, error.why,
                     error.tryThis);
  }
  Statistics statistics;
  statistics.path = path.str();
  statistics.calibration = std::move(*loaded);
  return statistics;
}

const compress::Observer *
Statistics::find(llvm::StringRef name,
                 llvm::ArrayRef<ObserverKind> kinds) const {
  for (ObserverKind kind : kinds)
    if (const compress::Observer *observer =
            calibration.find((name + "/" + compress::getName(kind)).str()))
      return observer;
  return nullptr;
}

static llvm::Error notObserved(llvm::StringRef name, llvm::StringRef path,
                               const llvm::Twine &why) {
  return makeError(ErrorCode::BadOption,
                   "the calibration lacks the value '" + name + "'", path, why,
                   "calibrate this model anew");
}

llvm::Expected<std::vector<float>>
Statistics::getChannelMax(llvm::StringRef name, int64_t channels) const {
  const compress::Observer *observer = find(name, ObserverKind::ChannelAbsMax);
  if (!observer)
    return notObserved(name, path, "it was not observed");
  auto values = observer->getValues();
  if (!values)
    return notObserved(name, path, values.error().what);
  if (int64_t(values->size()) != channels)
    return notObserved(name, path,
                       "it has " + llvm::Twine(values->size()) +
                           " channels there, " + llvm::Twine(channels) +
                           " here");
  return std::move(*values);
}

llvm::Expected<float> Statistics::getRange(llvm::StringRef name) const {
  const compress::Observer *observer = find(
      name, {ObserverKind::RunningPercentile, ObserverKind::HistogramPercentile,
             ObserverKind::AbsMax, ObserverKind::ChannelAbsMax});
  if (!observer)
    return notObserved(name, path, "it was not observed");
  auto values = observer->getValues();
  if (!values)
    return notObserved(name, path, values.error().what);
  return *std::max_element(values->begin(), values->end());
}

const compress::Observer *Statistics::getHessian(llvm::StringRef name) const {
  return find(name, ObserverKind::Hessian);
}
