//===- GptqWeights.cpp - GPTQ for the weights of a model ------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Calibrate/GptqWeights.h"
#include "effc/Dialect/Eff/Rounding.h"
#include "effc/Dialect/Eff/WeightValues.h"
#include "effc/Support/Error.h"

#include "llvm/ADT/MapVector.h"

#include <chrono>
#include <thread>

using namespace effc;
using compress::MatrixView;

namespace {

/// Rows that errors are measured on.
constexpr int64_t kMeasuredRows = 32;

llvm::Error wrap(const effrt::Error &error, llvm::StringRef weight) {
  unsigned number = 0;
  llvm::StringRef code = error.code;
  if (!code.consume_front("EFF") || code.getAsInteger(10, number))
    number = unsigned(ErrorCode::CodeGen);
  return llvm::make_error<UserError>(ErrorCode(number), error.what,
                                     error.where.empty() ? weight.str()
                                                         : error.where,
                                     error.why, error.tryThis);
}

compress::WeightFormat formatOf(eff::WeightType type,
                                const compress::ClipSearch &clip) {
  compress::WeightFormat format;
  format.clip = clip;
  if (int64_t group = type.getGroup()) {
    format.bits = 4;
    format.granularity = compress::Granularity::Group;
    format.group = group;
    // As eff rounds to the nearest.
    format.rule = compress::ScaleRule::Exact;
  }
  return format;
}

/// Some rows of a matrix, spread evenly.
MatrixView<const float> sampleRows(llvm::ArrayRef<float> w, int64_t rows,
                                   int64_t k) {
  int64_t count = std::min(rows, kMeasuredRows);
  return {w.data(), count, k, rows / count * k};
}

/// Each row as eff rounds it to the nearest.
std::vector<float> roundRows(MatrixView<const float> w, int64_t group) {
  int64_t k = w.cols, width = group ? group : k;
  std::vector<float> rounded(w.rows * k);
  std::vector<int8_t> q(width);
  for (int64_t n = 0; n < w.rows; ++n)
    for (int64_t at = 0; at < k; at += width) {
      llvm::ArrayRef<float> part(w.row(n) + at, std::min(width, k - at));
      float scale = group ? eff::roundInt4(part, q.data())
                          : eff::roundInt8(part, q.data());
      for (size_t i = 0; i < part.size(); ++i)
        rounded[n * k + at + i] = scale * q[i];
    }
  return rounded;
}

class Quantizer {
public:
  Quantizer(llvm::ArrayRef<GptqTask> tasks, const GptqWeightsOptions &options)
      : tasks(tasks), options(options), reports(tasks.size()) {
    unsigned threads =
        options.threads ? options.threads : std::thread::hardware_concurrency();
    parallel = compress::onThreads(std::max(threads, 1u));
  }

  llvm::Error run() {
    llvm::MapVector<const compress::Observer *, std::vector<size_t>> groups;
    for (size_t i = 0; i < tasks.size(); ++i) {
      if (llvm::Error error = check(tasks[i]))
        return error;
      groups[tasks[i].hessian].push_back(i);
    }
    for (auto &[hessian, members] : groups) {
      total += factorWork(hessian);
      for (size_t i : members)
        total += weightWork(i);
    }
    for (auto &[hessian, members] : groups)
      if (llvm::Error error = runGroup(*hessian, members))
        return error;
    if (options.progress)
      options.progress("", total, total);
    return llvm::Error::success();
  }

  std::vector<GptqReport> takeReports() { return std::move(reports); }

private:
  static llvm::Error check(const GptqTask &task) {
    eff::WeightOp op = task.weight;
    eff::WeightType type = op.getType();
    llvm::StringRef name = op.getSymName();
    if (type.getFloatFormat() || type.getShape().size() != 2)
      return makeError(ErrorCode::CannotQuantize,
                       "GPTQ needs a matrix of an integer format", name);
    if (!task.hessian ||
        task.hessian->getSettings().kind != compress::ObserverKind::Hessian)
      return makeError(ErrorCode::BadCompressionValues,
                       "no Hessian was observed for a weight", name, "",
                       "calibrate with --observe 'linear:*:in=hessian'");
    int64_t channels = task.hessian->getSettings().channels;
    if (channels != type.getShape()[1])
      return makeError(ErrorCode::BadCompressionShape,
                       "a Hessian does not fit its weight", name,
                       "it has " + llvm::Twine(channels) +
                           " channels, the weight " +
                           llvm::Twine(type.getShape()[1]) + " columns");
    return llvm::Error::success();
  }

  static double factorWork(const compress::Observer *hessian) {
    double k = double(hessian->getSettings().channels);
    return k * k * k;
  }
  double weightWork(size_t i) const {
    eff::WeightOp op = tasks[i].weight;
    llvm::ArrayRef<int64_t> shape = op.getType().getShape();
    // GPTQ itself, and three errors.
    double rows =
        double(shape[0]) / 2 + 3 * double(std::min(shape[0], kMeasuredRows));
    return rows * double(shape[1]) * double(shape[1]);
  }

  llvm::Error runGroup(const compress::Observer &hessian,
                       llvm::ArrayRef<size_t> members) {
    eff::WeightOp first = tasks[members[0]].weight;
    llvm::StringRef name = first.getSymName();
    tell(name);
    auto matrix = hessian.getValues(parallel);
    if (!matrix)
      return wrap(matrix.error(), name);
    int64_t k = hessian.getSettings().channels;
    MatrixView<const float> h(matrix->data(), k, k);
    // Weights of different formats do not share their order of columns.
    llvm::MapVector<int64_t, std::vector<size_t>> byGroup;
    for (size_t i : members) {
      eff::WeightOp op = tasks[i].weight;
      byGroup[op.getType().getGroup()].push_back(i);
    }
    done += factorWork(&hessian);
    for (auto &[group, indices] : byGroup) {
      compress::GptqOptions settings;
      settings.format = formatOf(
          eff::WeightOp(tasks[indices[0]].weight).getType(), options.clip);
      settings.damping = options.damping;
      settings.activationOrder = options.activationOrder && group == 0;
      auto factor = compress::GptqFactor::create(h, settings, parallel);
      if (!factor)
        return wrap(factor.error(), name);
      for (size_t i : indices) {
        tell(eff::WeightOp(tasks[i].weight).getSymName());
        if (llvm::Error error = quantize(i, *factor, settings.format, h))
          return error;
        done += weightWork(i);
      }
    }
    return llvm::Error::success();
  }

  llvm::Error quantize(size_t index, const compress::GptqFactor &factor,
                       const compress::WeightFormat &format,
                       MatrixView<const float> h) {
    auto start = std::chrono::steady_clock::now();
    eff::WeightOp op = tasks[index].weight;
    llvm::Expected<eff::WeightValues> values = eff::WeightValues::read(op);
    if (!values)
      return values.takeError();
    int64_t rows = values->getRows(), k = values->getColumns();
    llvm::ArrayRef<float> w = values->getValues();
    auto result = factor.quantize(MatrixView<const float>(w.data(), rows, k),
                                  format, parallel);
    if (!result)
      return wrap(result.error(), op.getSymName());
    GptqReport &report = reports[index];
    report.weight = op;
    report.deadColumns = result->deadColumns;
    report.usedDouble = result->usedDouble;
    std::vector<float> chosen = result->weights.dequantize();
    auto sample = sampleRows(w, rows, k);
    auto error =
        compress::outputError(sample, sampleRows(chosen, rows, k), h, parallel);
    if (!error)
      return wrap(error.error(), op.getSymName());
    report.error = *error;
    chosen = roundRows(sample, op.getType().getGroup());
    auto rounded = compress::outputError(
        sample, {chosen.data(), sample.rows, k}, h, parallel);
    if (!rounded)
      return wrap(rounded.error(), op.getSymName());
    report.roundedError = *rounded;
    if (llvm::Error error = eff::setQuantizedValues(op, result->weights.q,
                                                    result->weights.scales))
      return error;
    report.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
            .count();
    return llvm::Error::success();
  }

  void tell(llvm::StringRef weight) {
    if (options.progress)
      options.progress(weight, done, total);
  }

  llvm::ArrayRef<GptqTask> tasks;
  const GptqWeightsOptions &options;
  compress::ParallelFor parallel;
  std::vector<GptqReport> reports;
  double done = 0, total = 0;
};

} // namespace

llvm::Expected<std::vector<GptqReport>>
effc::gptqWeights(llvm::ArrayRef<GptqTask> tasks,
                  const GptqWeightsOptions &options) {
  Quantizer quantizer(tasks, options);
  if (llvm::Error error = quantizer.run())
    return std::move(error);
  return quantizer.takeReports();
}
