//===- Lower.cpp - from raised functions to plans -------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Pipelines/Lower.h"

#include "ErrorCatcher.h"
#include "effc/Conversion/EffToPlan/Passes.h"
#include "effc/Dialect/Eff/Transforms/Passes.h"
#include "effc/Dialect/Plan/Transforms/Passes.h"
#include "effc/Target/Generic/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Transforms/Passes.h"

using namespace effc;
using namespace mlir;

ErrorCatcher::ErrorCatcher(MLIRContext &context, WarningHandler warn)
    : warn(std::move(warn)), handler(&context, [this](Diagnostic &diagnostic) {
        if (diagnostic.getSeverity() == DiagnosticSeverity::Error) {
          if (!error)
            error = fromDiagnostic(diagnostic);
        } else if (diagnostic.getSeverity() == DiagnosticSeverity::Warning &&
                   this->warn) {
          this->warn(diagnostic.str());
        }
        return success();
      }) {}

llvm::Error ErrorCatcher::take(llvm::StringRef doing) {
  if (!error)
    return makeError(ErrorCode::CodeGen,
                     "an internal step failed without a reason", doing);
  return llvm::make_error<UserError>(*error);
}

llvm::Error effc::runPasses(PassManager &pm, ModuleOp module,
                            llvm::StringRef doing, const WarningHandler &warn) {
  ErrorCatcher errors(*module.getContext(), warn);
  if (failed(pm.run(module)))
    return errors.take(doing);
  return llvm::Error::success();
}

llvm::Error effc::prepareForPlan(ModuleOp model, const WarningHandler &warn) {
  PassManager pm(model.getContext());
  pm.addPass(eff::createEffEraseBasesPass());
  pm.addNestedPass<func::FuncOp>(eff::createEffFuseEpiloguePass());
  pm.addNestedPass<func::FuncOp>(createCanonicalizerPass());
  pm.addNestedPass<func::FuncOp>(createCSEPass());
  pm.addPass(eff::createEffAssignLayoutPass());
  return runPasses(pm, model, "compressing the model", warn);
}

llvm::Error effc::lowerToPlan(ModuleOp model, const WarningHandler &warn) {
  PassManager pm(model.getContext());
  pm.addPass(createConvertEffToPlanPass());
  pm.addPass(createPlanSizeGenericsPass());
  pm.addNestedPass<plan::ProgramOp>(plan::createPlanMemoryPass());
  return runPasses(pm, model, "planning the model", warn);
}

StringRef effc::getMetadata(ModuleOp model, StringRef name) {
  auto metadata = model->getAttrOfType<DictionaryAttr>(kMetadataAttr);
  auto value = metadata ? metadata.getAs<StringAttr>(name) : StringAttr();
  return value ? value.getValue() : StringRef();
}

llvm::json::Object effc::parseObject(StringRef text) {
  if (llvm::Expected<llvm::json::Value> value = llvm::json::parse(text)) {
    if (llvm::json::Object *object = value->getAsObject())
      return std::move(*object);
  } else {
    llvm::consumeError(value.takeError());
  }
  return {};
}

llvm::json::Object effc::describeConfig(ModuleOp model) {
  auto text = model->getAttrOfType<StringAttr>("eff.config");
  llvm::json::Object config = parseObject(text ? text.getValue() : "{}");
  for (auto [from, to] : {std::pair{"effc.image_mean", "mean"},
                          {"effc.image_std", "std"},
                          {"effc.seq_len", "seq_len"}}) {
    if (llvm::Expected<llvm::json::Value> value =
            llvm::json::parse(getMetadata(model, from)))
      config[to] = std::move(*value);
    else
      llvm::consumeError(value.takeError());
  }
  return config;
}
