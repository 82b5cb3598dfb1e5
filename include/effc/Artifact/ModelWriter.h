//===- ModelWriter.h - from plans to a model file ---------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Compiles the kernels of a module of the plan dialect, links them with the
/// tables of effrt.h and streams the weights behind them. The file appears
/// under its name when it is whole, or not at all. Equal modules and options
/// give equal bytes, whatever `jobs` is.
///
//===----------------------------------------------------------------------===//

#ifndef EFFC_ARTIFACT_MODELWRITER_H
#define EFFC_ARTIFACT_MODELWRITER_H

#include "effc/Artifact/KernelCache.h"
#include "effc/Target/X86/X86Machine.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace effc {

/// What of the work is done, for a progress bar.
struct WriteProgress {
  enum Stage { Kernels, Link, Weights } stage;
  /// Kernels, or bytes of weights.
  uint64_t done, total;
};

struct WriteOptions {
  /// What to compile for, best first; at least one.
  std::vector<X86Machine> targets;
  /// The file to write.
  std::string output;
  /// Path of the runner; when set, the output is that program with the model at
  /// its end.
  std::string runner;
  /// Text of tokenizer.json; empty: none.
  std::string tokenizer;
  /// Further members of the manifest ("chat_template", "generation", "recipe")
  /// and of its "model" ("name", "config").
  llvm::json::Object manifest, model;
  /// Files that the module was made from; their names, sizes and hashes go into
  /// the manifest.
  std::vector<std::string> sources;
  /// Threads; 0: one for each processor.
  unsigned jobs = 0;
  /// Kernels of models written before; may be null.
  std::shared_ptr<KernelCache> kernels;
  /// Called from one thread at a time.
  std::function<void(const WriteProgress &)> progress;
};

struct EntryReport {
  std::string name;
  int64_t batch, tokens, steps;
  uint64_t arenaBytes, flops, integerOps, bytes;
};

struct KernelReport {
  std::string name, family, spec, target;
  /// Of the object file.
  uint64_t bytes;
};

/// What was written, for tables and --json.
struct ModelReport {
  std::vector<EntryReport> entries;
  std::vector<KernelReport> kernels;
  /// Packed bytes of the weights by format ("bf16", "int8", "int4 g128").
  std::map<std::string, uint64_t> bytesByFormat;
  uint64_t parameters = 0;
  uint64_t codeBytes = 0, weightBytes = 0, fileBytes = 0;
  double kernelSeconds = 0, linkSeconds = 0, weightSeconds = 0;
  /// One sentence each: weights that are not finite.
  std::vector<std::string> warnings;
};

/// Writes the model file of a module whose programs have their arenas.
llvm::Expected<ModelReport> writeModel(mlir::ModuleOp module,
                                       const WriteOptions &options);

/// How far the code of a module is shown instead.
enum class CodeText { LLVMIR, Assembly };

/// The code of all kernels of a module for one target, as text.
llvm::Expected<std::string> printCode(mlir::ModuleOp module,
                                      const X86Machine &target, CodeText kind);

/// Writes one relocatable object for each kernel and target, and one for the
/// tables, into a directory.
llvm::Error writeObjects(mlir::ModuleOp module, const WriteOptions &options,
                         llvm::StringRef directory);

} // namespace effc

#endif // EFFC_ARTIFACT_MODELWRITER_H
