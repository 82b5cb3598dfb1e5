//===- OutputDivergence.cpp - how far two models' outputs are apart -------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Calibrate/ChoosePrecision.h"

#include "ObservedModel.h"
#include "Samples.h"
#include "effc/Artifact/KernelCache.h"
#include "effc/Support/Error.h"

#include "llvm/Support/MathExtras.h"

#include <algorithm>
#include <cmath>

using namespace mlir;
using namespace effc;

/// Values of the float model that are kept: 128 MiB.
static constexpr int64_t kMostValues = int64_t(1) << 25;

/// log(softmax(x)).
static void logSoftmax(const float *x, int64_t count, float *out) {
  float largest = *std::max_element(x, x + count);
  double sum = 0;
  for (int64_t i = 0; i < count; ++i)
    sum += std::exp(x[i] - largest);
  float shift = largest + float(std::log(sum));
  for (int64_t i = 0; i < count; ++i)
    out[i] = x[i] - shift;
}

llvm::Error OutputDivergence::run(
    ModuleOp model,
    const std::function<void(size_t, const float *, int64_t)> &use,
    const std::function<void(size_t, int64_t)> &prepare) const {
  llvm::Expected<ObservedModel> observed =
      ObservedModel::create(model, samples);
  if (!observed)
    return observed.takeError();
  llvm::Expected<std::unique_ptr<Samples>> read =
      Samples::read(samples, observed->getManifest());
  if (!read)
    return read.takeError();
  if (llvm::Error error = observed->compile(samples))
    return error;
  effrt::Engine &engine = observed->getEngine();
  auto parallel = compress::onThreads(unsigned(engine.threads()));
  int64_t count = (*read)->count(), stride = 0, seen = 0;
  size_t kept = 0;
  engine.setOutputListener([&](const effrt::CallOutputs &call) {
    const effrt::TensorInfo &info = call.entry->outputs[0];
    int64_t width = info.shape.back();
    int64_t rows = int64_t(info.elements()) / width / call.entry->batch;
    bool isForward = call.entry->kind == EFF_ENTRY_FORWARD;
    if (!isForward)
      rows = call.valid[0];
    if (stride == 0)
      stride = std::max<int64_t>(
          1, int64_t(llvm::divideCeil(
                 uint64_t(count) *
                     uint64_t(isForward ? rows : samples.sampleTokens) *
                     uint64_t(width),
                 uint64_t(kMostValues))));
    auto *data = static_cast<const float *>(call.data[0]);
    // Rows of the samples that are multiples of the stride.
    int64_t first = (stride - seen % stride) % stride;
    int64_t chosen = first < rows ? (rows - 1 - first) / stride + 1 : 0;
    prepare(kept + size_t(chosen), width);
    parallel(chosen, [&](int64_t i) {
      use(kept + size_t(i), data + (first + i * stride) * width, width);
    });
    kept += size_t(chosen);
    seen += rows;
  });
  for (int64_t i = 0; i < count; ++i)
    if (effrt::Status status = (*read)->run(engine, i); !status)
      return toError(status.error(), "sample " + llvm::Twine(i));
  return llvm::Error::success();
}

llvm::Expected<OutputDivergence>
OutputDivergence::create(ModuleOp model, const CalibrateOptions &samples) {
  OutputDivergence divergence;
  divergence.samples = samples;
  divergence.samples.defaults = false;
  divergence.samples.observe.clear();
  if (!divergence.samples.kernels)
    divergence.samples.kernels = std::make_shared<KernelCache>();
  llvm::Error error = divergence.run(
      model,
      [&](size_t row, const float *logits, int64_t classes) {
        logSoftmax(logits, classes,
                   divergence.expected.data() + row * size_t(classes));
      },
      [&](size_t rows, int64_t classes) {
        divergence.classes = classes;
        divergence.expected.resize(rows * size_t(classes));
      });
  if (error)
    return std::move(error);
  if (divergence.classes < 2 || divergence.expected.empty())
    return makeError(ErrorCode::CannotCalibrate,
                     "the model's output has no classes to compare", "", "",
                     "give formats of layers with --precision FILE");
  return divergence;
}

llvm::Expected<double> OutputDivergence::measure(ModuleOp changed) const {
  std::vector<double> rows(expected.size() / size_t(classes));
  llvm::Error error = run(
      changed,
      [&](size_t row, const float *logits, int64_t width) {
        std::vector<float> q(static_cast<size_t>(width));
        logSoftmax(logits, width, q.data());
        const float *p = expected.data() + row * size_t(width);
        double sum = 0;
        for (int64_t i = 0; i < width; ++i)
          sum += std::exp(p[i]) * (p[i] - q[size_t(i)]);
        rows[row] = sum;
      },
      [](size_t, int64_t) {});
  if (error)
    return std::move(error);
  double sum = 0;
  for (double row : rows)
    sum += row;
  // Below zero by rounding alone.
  return std::max(sum / double(rows.size()), 0.0);
}
