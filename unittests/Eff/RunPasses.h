//===- RunPasses.h - what tests of passes share -----------------*- C++ -*-===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#ifndef EFFC_UNITTESTS_EFF_RUNPASSES_H
#define EFFC_UNITTESTS_EFF_RUNPASSES_H

#include "Model.h"
#include "effc/Pipelines/Compile.h"
#include "effc/Pipelines/Registration.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "llvm/Support/FileSystem.h"

namespace effc::reference {

/// Runs a pipeline as effc-opt reads it; the verifier runs behind each pass.
inline bool runPasses(mlir::ModuleOp module, const std::string &pipeline) {
  static bool registered = (registerPasses(), true);
  (void)registered;
  mlir::DialectRegistry registry;
  registerDialects(registry);
  module.getContext()->appendDialectRegistry(registry);
  mlir::PassManager pm(module.getContext());
  return succeeded(mlir::parsePassPipeline(pipeline, pm)) &&
         succeeded(pm.run(module));
}

/// With all values.
inline std::string print(mlir::ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream(text) << module;
  return text;
}

/// A model of examples/models with entry points for one token and for four;
/// null when it is not there or cannot be raised, which is a failure.
inline std::optional<mlir::OwningOpRef<mlir::ModuleOp>>
raise(mlir::MLIRContext &context, const std::string &name) {
  CompileOptions options;
  options.input = EFFC_SOURCE_DIR "/examples/models/" + name + ".onnx";
  options.prefill = {4};
  options.maxLength = 64;
  if (!llvm::sys::fs::exists(options.input))
    return std::nullopt;
  mlir::DialectRegistry registry;
  registerDialects(registry);
  context.appendDialectRegistry(registry);
  auto model = raiseModel(context, options);
  if (model)
    return std::move(*model);
  ADD_FAILURE() << llvm::toString(model.takeError());
  return std::nullopt;
}

/// All logits of four tokens, then those of the next one.
template <typename T>
std::vector<std::vector<T>> runModel(mlir::ModuleOp module) {
  Interpreter<T> interpreter(module);
  Sequence<T> sequence = interpreter.createSequence();
  std::vector<std::vector<T>> logits;
  for (auto [entry, ids] : {std::pair<const char *, std::vector<int64_t>>{
                                "prefill_b1_t4", {3, 141, 59, 26}},
                            {"decode_b1", {535}}}) {
    auto outputs = interpreter.run(
        entry, {Tensor<T>::fromIntegers({1, int64_t(ids.size())}, ids)},
        {{&sequence, -1}}, /*allLogits=*/true);
    if (!outputs) {
      ADD_FAILURE() << llvm::toString(outputs.takeError());
      return logits;
    }
    logits.push_back(outputs->front().floats);
  }
  return logits;
}

} // namespace effc::reference

#endif // EFFC_UNITTESTS_EFF_RUNPASSES_H
