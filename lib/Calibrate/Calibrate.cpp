//===- Calibrate.cpp - statistics of a model's values on samples ----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Calibrate/Calibrate.h"

#include "ObservedModel.h"
#include "Samples.h"
#include "effc/Support/Error.h"

#include "llvm/ADT/StringExtras.h"

using namespace effc;
using compress::Observer;
using compress::ObserverKind;

namespace {

/// Gives what an engine computes to the observers.
class Recorder {
public:
  Recorder(const ObservedModel &model, effrt::Engine &engine)
      : model(model), engine(engine),
        parallel(compress::onThreads(unsigned(engine.threads()))) {}

  effrt::Status prepare(compress::Calibration &calibration) {
    for (const ObservedValue &value : model.getValues())
      if (effrt::Status status =
              add(calibration, value.watches, value.output, "");
          !status)
        return status;
    for (const ObservedState &state : model.getStates())
      if (effrt::Status status =
              add(calibration, state.watches, 0, state.symbol);
          !status)
        return status;
    return effrt::Status::success();
  }

  /// What a call has computed. The first error is kept.
  void record(const effrt::CallOutputs &call) {
    if (!failure)
      return;
    std::vector<Task> small, large;
    for (Sink &sink : sinks) {
      if (!sink.state.empty()) {
        addState(sink, small);
        continue;
      }
      bool isLarge = sink.observer->getSettings().kind == ObserverKind::Hessian;
      (isLarge ? large : small).push_back(slice(sink, call));
    }
    run(small, /*inside=*/false);
    // Few matrices share the threads among themselves best from the inside.
    run(large, /*inside=*/large.size() < 4 * size_t(engine.threads()));
  }

  /// A sample has ended, for all observers.
  effrt::Status endSample() {
    if (!failure)
      return failure;
    std::vector<effrt::Status> results(sinks.size());
    parallel(int64_t(sinks.size()),
             [&](int64_t i) { results[i] = sinks[i].observer->endSample(); });
    for (size_t i = 0; i < sinks.size() && failure; ++i)
      note(sinks[i], results[i]);
    return failure;
  }

private:
  struct Sink {
    Observer *observer;
    std::string name;
    unsigned output;
    std::string state;
  };
  struct Task {
    Sink *sink;
    std::vector<compress::MatrixView<const float>> parts;
  };

  effrt::Status add(compress::Calibration &calibration,
                    const std::vector<Watch> &watches, unsigned output,
                    const std::string &state) {
    for (const Watch &watch : watches) {
      ObserverKind kind = watch.settings.kind;
      std::string name = observerName(watch.names[0], kind);
      auto observer = calibration.add(name, watch.settings);
      if (!observer)
        return observer.takeError();
      for (size_t i = 1; i < watch.names.size(); ++i)
        if (effrt::Status status =
                calibration.addAlias(observerName(watch.names[i], kind), name);
            !status)
          return status;
      sinks.push_back({*observer, watch.names[0], output, state});
    }
    return effrt::Status::success();
  }

  /// The rows of a value that mean something.
  Task slice(Sink &sink, const effrt::CallOutputs &call) {
    const effrt::EntryInfo &entry = *call.entry;
    auto *data = static_cast<const float *>(call.data[sink.output]);
    int64_t channels = sink.observer->getSettings().channels;
    int64_t rows = int64_t(entry.outputs[sink.output].elements()) / channels;
    int64_t perRow = rows / entry.batch;
    Task task{&sink, {}};
    if (entry.kind == EFF_ENTRY_FORWARD) {
      // One sample is in the first place of the batch.
      task.parts.push_back({data, perRow, channels});
      return task;
    }
    for (int32_t b = 0; b < entry.batch; ++b)
      if (call.valid[b] > 0)
        task.parts.push_back(
            {data + b * perRow * channels, call.valid[b], channels});
    return task;
  }

  /// The state of the first sequence, as the call has left it.
  void addState(Sink &sink, std::vector<Task> &tasks) {
    auto state = engine.state(0, sink.state);
    if (!state)
      return note(sink, effrt::Status(state.takeError()));
    int64_t channels = sink.observer->getSettings().channels;
    tasks.push_back(
        {&sink, {{static_cast<const float *>(state->data), 1, channels}}});
  }

  void run(std::vector<Task> &tasks, bool inside) {
    std::vector<effrt::Status> results(tasks.size());
    auto body = [&](int64_t i) {
      for (auto &part : tasks[i].parts)
        if (results[i])
          results[i] = tasks[i].sink->observer->observe(
              part, inside ? parallel : compress::serial());
    };
    (inside ? compress::serial() : parallel)(int64_t(tasks.size()), body);
    for (size_t i = 0; i < tasks.size() && failure; ++i)
      note(*tasks[i].sink, results[i]);
  }

  void note(const Sink &sink, const effrt::Status &status) {
    if (status)
      return;
    effrt::Error error = status.error();
    if (error.where.empty())
      error.where = sink.name;
    failure = error;
  }

  const ObservedModel &model;
  effrt::Engine &engine;
  compress::ParallelFor parallel;
  std::vector<Sink> sinks;
  effrt::Status failure;
};

llvm::Error checkOptions(const CalibrateOptions &options) {
  if (options.sampleCount < 1 || options.sampleTokens < 1)
    return makeError(ErrorCode::BadOption,
                     "a calibration needs at least one sample of one token");
  return llvm::Error::success();
}

} // namespace

llvm::Error effc::toError(const effrt::Error &error, const llvm::Twine &where) {
  unsigned number = 0;
  llvm::StringRef code = error.code;
  if (!code.consume_front("EFF") || code.getAsInteger(10, number))
    number = unsigned(ErrorCode::CodeGen);
  return llvm::make_error<UserError>(ErrorCode(number), error.what,
                                     error.where.empty() ? where.str()
                                                         : error.where,
                                     error.why, error.tryThis);
}

std::string effc::observerName(llvm::StringRef value, ObserverKind kind) {
  return (value + "/" + compress::getName(kind)).str();
}

const Observer *effc::findObserver(const compress::Calibration &calibration,
                                   llvm::StringRef value, ObserverKind kind) {
  return calibration.find(observerName(value, kind));
}

llvm::Expected<ObserveRequest> effc::parseObserveRequest(llvm::StringRef text) {
  auto [pattern, rest] = text.split('=');
  if (pattern.empty() || rest.empty())
    return makeError(ErrorCode::BadOption,
                     "--observe needs PATTERN=KIND, not '" + text + "'");
  ObserveRequest request;
  request.pattern = pattern.str();
  llvm::SmallVector<llvm::StringRef> words;
  rest.split(words, ':');
  auto kind = compress::parseObserverKind(words[0].str());
  if (!kind)
    return toError(kind.error());
  request.settings.kind = *kind;
  for (llvm::StringRef word : llvm::drop_begin(words)) {
    auto [key, value] = word.split('=');
    double number = 0;
    bool isNumber = !value.getAsDouble(number);
    if (isNumber && key == "alpha" && number >= 0 && number <= 1)
      request.settings.alpha = number;
    else if (isNumber && key == "sigma" && number > 0 && number <= 1)
      request.settings.sigma = number;
    else if (isNumber && key == "group" && number >= 1 && number <= 1e9)
      request.settings.group = int64_t(number);
    else
      return makeError(ErrorCode::BadOption,
                       "'" + word + "' is no option of an observer", "",
                       "alpha is from 0 to 1, sigma above 0 up to 1, group at "
                       "least 1");
  }
  return request;
}

llvm::Expected<compress::Calibration>
effc::calibrate(mlir::ModuleOp module, const CalibrateOptions &options) {
  if (llvm::Error error = checkOptions(options))
    return std::move(error);
  llvm::Expected<ObservedModel> model = ObservedModel::create(module, options);
  if (!model)
    return model.takeError();
  // Bad samples should not cost the time of a compilation.
  llvm::Expected<std::unique_ptr<Samples>> samples =
      Samples::read(options, model->getManifest());
  if (!samples)
    return samples.takeError();
  if (llvm::Error error = model->compile(options))
    return std::move(error);
  effrt::Engine &engine = model->getEngine();

  compress::Calibration calibration;
  calibration.fingerprint = fingerprintModel(module);
  calibration.description = (*samples)->description;
  Recorder recorder(*model, engine);
  if (effrt::Status status = recorder.prepare(calibration); !status)
    return toError(status.error());
  engine.setOutputListener(
      [&](const effrt::CallOutputs &call) { recorder.record(call); });
  int64_t count = (*samples)->count();
  for (int64_t i = 0; i < count; ++i) {
    if (options.progress)
      options.progress("calibrating", uint64_t(i), uint64_t(count));
    effrt::Status status = (*samples)->run(engine, i);
    if (status)
      status = recorder.endSample();
    if (!status)
      return toError(status.error(), "sample " + llvm::Twine(i));
  }
  if (options.progress)
    options.progress("calibrating", uint64_t(count), uint64_t(count));
  return calibration;
}

llvm::Expected<compress::Calibration>
effc::loadCalibration(const std::string &path, mlir::ModuleOp model) {
  auto calibration = compress::Calibration::load(path);
  if (!calibration)
    return toError(calibration.error(), path);
  if (effrt::Status status = calibration->checkModel(fingerprintModel(model));
      !status)
    return toError(status.error(), path);
  return calibration.take();
}

llvm::Error effc::saveCalibration(const compress::Calibration &calibration,
                                  const std::string &path) {
  if (effrt::Status status = calibration.save(path); !status)
    return toError(status.error(), path);
  return llvm::Error::success();
}
