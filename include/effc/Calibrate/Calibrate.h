//===- Calibrate.h - statistics of a model's values on samples --*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Runs the compiled float model on samples and observes values inside it. A
/// value has a name that is the same for all entry points, runs and passes: the
/// kind of an op that makes or takes it, the symbol of that op's main resource,
/// and its part there:
///
///   linear:@W:in|out      conv:@STATE:in|out       norm:@W:in|out|gate
///   ssm:@STATE:u|dt|b|c|z|out                      ssd:@STATE:x|dt|b|c|out
///   embed:@W:out          conv2d:@W:out            cache:@CACHE:in
///   attention:@CACHE:q|out   (@CACHE: the keys')   hadamard:@W:in
///   state:@STATE          (after each call, of at most 128 tokens)
///
/// dt is what a scan takes before its bias and softplus, also when these are
/// still ops of their own. hadamard:@W:in is the value before the rotation that
/// feeds the linear of W, linear:@W:in the one after it. A resource that
/// several ops of one entry point use names the second one's values with "+1"
/// behind the symbol, and so on. One value can have several names; it is
/// observed once.
///
/// Only f32 values are observed, as rows of their last dimension, and only rows
/// of tokens that mean something: no padding.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_CALIBRATE_CALIBRATE_H
#define EFFC_CALIBRATE_CALIBRATE_H

#include "effc/Compress/Observers.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace effc {

class KernelCache;

/// What to observe: values whose names match a pattern with `*` and `?`.
struct ObserveRequest {
  std::string pattern;
  /// `channels` is filled in.
  compress::ObserverSettings settings;
  /// It is no error if no value matches.
  bool optional = false;
};

/// "PATTERN=KIND", the kind with options behind it:
/// "ssm:*:u=running-percentile:alpha=0.9999:sigma=0.01",
/// "linear:*:in=group-abs-max:group=64".
llvm::Expected<ObserveRequest> parseObserveRequest(llvm::StringRef text);

/// How a text is cut into samples.
enum class SampleCut {
  Windows,  ///< consecutive runs of sampleTokens tokens of the whole text
  Documents ///< parts between blank lines, at most sampleTokens tokens of each
};

struct CalibrateOptions {
  /// Text, .npz with images [n, h, w, c] uint8 or with arrays named as the
  /// model's inputs, .npz ("ids") or .npy of token ids [n, length].
  std::string samples;
  /// At most so many samples, spread evenly over what the file has.
  int64_t sampleCount = 128;
  /// Tokens of a sample; fewer when the model holds fewer.
  int64_t sampleTokens = 512;
  SampleCut cut = SampleCut::Windows;
  /// Text of tokenizer.json; needed for text.
  std::string tokenizer;

  /// Observe channel-abs-max of all values but states.
  bool defaults = true;
  /// The last request wins among those of one kind that match a value.
  std::vector<ObserveRequest> observe;

  /// Largest chunk of a prompt that is run at once, in tokens.
  int64_t maxTokens = 512;
  /// Threads; 0: one for each core that may be used. The result does not depend
  /// on it.
  unsigned threads = 0;
  /// Kernels of models that ran before; may be null.
  std::shared_ptr<KernelCache> kernels;
  /// Non-zero stops the calibration.
  const std::atomic<int> *interrupt = nullptr;
  /// A stage begins or goes on: `done` of `total` (0 of 0: nothing to count).
  std::function<void(llvm::StringRef stage, uint64_t done, uint64_t total)>
      progress;
  std::function<void(const std::string &text)> warning;
};

/// Observes a model: a module of raised functions, one for each entry point, as
/// raiseModel gives it or rewritten by passes of compression. The module is not
/// changed. Errors are UserErrors.
llvm::Expected<compress::Calibration>
calibrate(mlir::ModuleOp model, const CalibrateOptions &options);

/// The observer of a value; null when it was not observed in that way. `value`
/// is any of the value's names.
const compress::Observer *findObserver(const compress::Calibration &calibration,
                                       llvm::StringRef value,
                                       compress::ObserverKind kind);
/// What calibrations call it: "VALUE/KIND".
std::string observerName(llvm::StringRef value, compress::ObserverKind kind);

/// A hash of all that a model computes with: weights, states and the ops of the
/// eff dialect with their settings, but not the batch sizes and lengths of its
/// entry points.
std::string fingerprintModel(mlir::ModuleOp model);

/// Loads a calibration and checks that it was taken from this model (EFF0413).
llvm::Expected<compress::Calibration> loadCalibration(const std::string &path,
                                                      mlir::ModuleOp model);
llvm::Error saveCalibration(const compress::Calibration &calibration,
                            const std::string &path);

/// A value of a function with all its names, the first op's first.
struct NamedValue {
  mlir::Value value;
  std::vector<std::string> names;
};
/// The values that can be observed, in the order of the ops.
std::vector<NamedValue> nameValues(mlir::func::FuncOp func);

/// An error of the runtime or of compress as an llvm::Error; `where` stands in
/// when it has none.
llvm::Error toError(const effrt::Error &error, const llvm::Twine &where = {});

} // namespace effc

#endif // EFFC_CALIBRATE_CALIBRATE_H
