//===- RoundWeights.cpp - rounding with error feedback --------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "RoundWeights.h"

#include "effc/Compress/Gptq.h"
#include "effc/Dialect/Eff/WeightValues.h"
#include "effc/Support/Error.h"

#include <thread>

using namespace effc;
using namespace effc::eff;
using compress::MatrixView;

static compress::ParallelFor onAllThreads() {
  return compress::onThreads(std::max(1u, std::thread::hardware_concurrency()));
}

static llvm::Error fromCompress(WeightOp op, const effrt::Error &error) {
  return makeError(ErrorCode::CannotQuantize,
                   "the weight '" + op.getSymName() + "' cannot be rounded", {},
                   error.what + (error.why.empty() ? "" : ": " + error.why),
                   error.tryThis.empty()
                       ? "calibrate on more text, or leave gptq out"
                       : error.tryThis);
}

/// The format of a weight as the mathematics knows it.
static compress::WeightFormat getFormat(WeightType type) {
  compress::WeightFormat format;
  format.bits = type.getElementBits();
  format.granularity = type.getGroup() ? compress::Granularity::Group
                                       : compress::Granularity::Row;
  format.group = type.getGroup();
  format.rule = type.getGroup() ? compress::ScaleRule::Exact
                                : compress::ScaleRule::Symmetric;
  return format;
}

static llvm::Expected<RoundedWeight> roundOne(WeightOp op,
                                              llvm::ArrayRef<float> hessian) {
  llvm::Expected<WeightValues> values = WeightValues::read(op);
  if (!values)
    return values.takeError();
  int64_t n = values->getRows(), k = values->getColumns();
  compress::ParallelFor parallel = onAllThreads();
  compress::GptqOptions options;
  options.format = getFormat(op.getType());
  MatrixView<const float> w(values->getValues().data(), n, k);
  MatrixView<const float> h(hessian.data(), k, k);
  auto result = compress::gptq(w, h, options, parallel);
  if (!result)
    return fromCompress(op, result.error());
  std::vector<float> rounded = result->weights.dequantize();
  auto error = compress::outputError(
      w, MatrixView<const float>(rounded.data(), n, k), h, parallel);
  if (!error)
    return fromCompress(op, error.error());
  if (llvm::Error failed =
          setQuantizedValues(op, result->weights.q, result->weights.scales))
    return std::move(failed);
  return RoundedWeight{op, *error};
}

llvm::Expected<std::vector<RoundedWeight>>
effc::eff::roundWithFeedback(llvm::ArrayRef<WeightOp> weights,
                             const Statistics &statistics) {
  std::vector<RoundedWeight> rounded;
  for (WeightOp op : weights) {
    std::string name = ("linear:@" + op.getSymName() + ":in").str();
    const compress::Observer *observer = statistics.getHessian(name);
    if (!observer)
      continue;
    auto hessian = observer->getValues(onAllThreads());
    if (!hessian)
      return fromCompress(op, hessian.error());
    int64_t k = op.getType().getShape()[1];
    if (int64_t(hessian->size()) != k * k)
      return makeError(ErrorCode::StaleCalibration,
                       "the calibration does not fit the weight '" +
                           op.getSymName() + "'",
                       name, "it saw another number of inputs");
    llvm::Expected<RoundedWeight> one = roundOne(op, *hessian);
    if (!one)
      return one.takeError();
    rounded.push_back(*one);
    auto *dialect = op->getContext()->getLoadedDialect<EffDialect>();
    if (dialect->progress)
      dialect->progress("rounding weights", rounded.size(), weights.size());
  }
  return rounded;
}
