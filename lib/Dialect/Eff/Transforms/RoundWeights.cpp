//===- RoundWeights.cpp - rounding with error feedback --------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "RoundWeights.h"

#include "effc/Calibrate/GptqWeights.h"

using namespace effc;
using namespace effc::eff;

llvm::Expected<std::vector<RoundedWeight>>
effc::eff::roundWithFeedback(llvm::ArrayRef<WeightOp> weights,
                             const Statistics &statistics) {
  std::vector<GptqTask> tasks;
  for (WeightOp op : weights)
    if (const compress::Observer *hessian =
            statistics.getHessian(("linear:@" + op.getSymName() + ":in").str()))
      tasks.push_back({op, hessian});
  if (tasks.empty())
    return std::vector<RoundedWeight>();
  auto *dialect = weights[0]->getContext()->getLoadedDialect<EffDialect>();
  GptqWeightsOptions options;
  if (dialect->progress)
    options.progress = [dialect](llvm::StringRef, double done, double total) {
      // In hundredths of the work.
      dialect->progress("rounding weights", uint64_t(100 * done / total), 100);
    };
  llvm::Expected<std::vector<GptqReport>> reports = gptqWeights(tasks, options);
  if (!reports)
    return reports.takeError();
  std::vector<RoundedWeight> rounded;
  for (const GptqReport &report : *reports)
    rounded.push_back({report.weight, report.error, report.roundedError});
  return rounded;
}
