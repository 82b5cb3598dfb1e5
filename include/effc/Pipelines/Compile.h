//===- Compile.h - from an ONNX file to a model file ------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// The way of a model as a library: import, one raised function per entry
/// point, compression, plan, model file. Each level can be stopped at and
/// dumped. The driver is a thin layer of flags over this.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_PIPELINES_COMPILE_H
#define EFFC_PIPELINES_COMPILE_H

#include "effc/Artifact/ModelWriter.h"
#include "effc/Conversion/OnnxToEff/RaiseScans.h"
#include "effc/Frontend/ONNX/Import.h"
#include "effc/Target/X86/X86Machine.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/Error.h"

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace effc {

/// Where a compilation can stop, in order.
enum class Stage { Onnx, Eff, Plan, LLVM, Objects, File };
/// "onnx", "eff", ...; nullopt for a word that names none.
std::optional<Stage> parseStage(llvm::StringRef name);

struct CompileOptions {
  std::string input;  ///< the .onnx file
  std::string output; ///< the model file; for Objects a directory
  /// The runner that the model is appended to, for an executable; empty: a
  /// model file.
  std::string runner;
  /// One variant of the code for each; the first is the best.
  std::vector<X86Machine> targets;

  /// Format of the weights: none, f32, bf16, w8a16, w8a8-dynamic, w4a16.
  std::string quant = "none";
  /// Columns that share a scale with w4a16.
  int64_t group = 128;
  /// A known recipe or a file with one, instead of `quant`.
  std::string recipe;
  /// A JSON file with formats of layers, or a budget to choose them within
  /// (PrecisionBudget), for recipes that quantise.
  std::string precision;
  /// Samples for recipes that calibrate, see CalibrateOptions.
  struct {
    std::string samples;
    int64_t count = 128, tokens = 512;
    /// Where calibrations are read from, or written to.
    std::string load, save;
  } calibration;

  /// Sequences that decode together; each gives an entry point.
  std::vector<int64_t> batches{1};
  /// Tokens of a prefill call; each gives an entry point for one sequence.
  std::vector<int64_t> prefill{16, 128, 512};
  /// Capacity of the caches in tokens; 0 takes the model's own, or 2048.
  int64_t maxLength = 0;
  /// Values of dimensions, as NAME=VALUE. A model without states gets an entry
  /// point for each combination where a name has several values.
  std::vector<std::string> dims;
  /// Pairs of state names that the rules of naming do not find: past, present.
  std::vector<std::pair<std::string, std::string>> statePairs;
  /// Free a number of tokens that the file fixes, and a batch of one.
  bool relaxSequence = false;
  /// Make the states of scans that start at zero the model's: it generates.
  bool addStates = false;
  /// Treat weights that the file holds as integers like floats of their values.
  bool requantize = false;
  /// Leave pasts as inputs and presents as outputs, as the file has them: the
  /// model runs forward and keeps nothing between calls.
  bool statesAsTensors = false;
  /// Compile scans that are not recognised however large they are.
  bool allowLiteralScan = false;
  /// Take scans that are written as cumulative sums with a division.
  bool raiseCumulativeSums = false;
  /// Compare what was raised with the graph of the file on random numbers.
  bool verifyRaise = false;
  /// tokenizer.json; empty: MODEL.tokenizer.json or tokenizer.json beside the
  /// model, if there.
  std::string tokenizer;

  ImportOptions import;
  /// Threads; 0: one for each core that may be used.
  unsigned jobs = 0;
  Stage stopAfter = Stage::File;
  /// A directory for the IR after each level; empty: none.
  std::string dumpDir;
};

/// One decision of a pass, with its numbers.
struct Decision {
  std::string pass, name, where, kind;
  std::vector<std::pair<std::string, std::string>> values;
};

/// What --verify-raise found.
struct VerifiedEntry {
  std::string name;
  double results = 0, states = 0; ///< largest relative differences
};

struct StageTime {
  std::string name;
  double seconds = 0;
};

struct CompileResult {
  /// The IR of the level where the compilation stopped; empty after a file.
  std::string text;
  /// What was written.
  ModelReport report;
  /// Sorted by pass, place and name.
  std::vector<Decision> decisions;
  std::vector<StageTime> times;
  /// Scans and convolutions that the file spells out.
  std::vector<ScanReport> scans;
  std::vector<VerifiedEntry> verified;
};

/// What the compilation tells while it runs; any part may be missing.
struct CompileObserver {
  /// A stage begins, or goes on: `done` of `total` items (0 of 0 when there is
  /// nothing to count). From one thread at a time.
  std::function<void(llvm::StringRef stage, uint64_t done, uint64_t total)>
      progress;
  std::function<void(const std::string &text)> warning;
};

/// Compiles a model, or stops at a level. Errors are UserErrors; nothing is
/// left behind on failure.
llvm::Expected<CompileResult>
compileModel(const CompileOptions &options,
             const CompileObserver &observer = {});

/// The raised model, one function per entry point, before compression: what the
/// reference interpreter runs. The context must have effc's dialects
/// (registerDialects).
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>>
raiseModel(mlir::MLIRContext &context, const CompileOptions &options,
           const CompileObserver &observer = {});

/// The text of the tokenizer that belongs to a model: `options.tokenizer` or a
/// file beside the model; empty when there is none.
llvm::Expected<std::string> findTokenizer(const CompileOptions &options);

} // namespace effc

#endif // EFFC_PIPELINES_COMPILE_H
