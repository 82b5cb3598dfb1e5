//===- Import.cpp - ONNX files to the onnx dialect ------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Frontend/ONNX/Import.h"
#include "GraphBuilder.h"
#include "effc/Dialect/ONNX/Onnx.h"
#include "effc/Support/Error.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Verifier.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace effc;
using namespace effc::onnx;

static llvm::Expected<OwningOpRef<ModuleOp>>
import(MLIRContext &context, const std::shared_ptr<MappedFile> &file,
       StringRef name, ModelDirectory *directory,
       const ModelDirectory::Warning &warn, const ImportOptions &options) {
  context.loadDialect<OnnxDialect, func::FuncDialect>();
  auto parsed = parseModel(file->getData(), name);
  if (!parsed)
    return parsed.takeError();
  auto functions = FunctionTable::create((*parsed)->model, options);
  if (!functions)
    return functions.takeError();
  TensorReader tensors(&context, file, directory, options.maxWeightBytes, warn);
  GraphBuilder builder(&context, **parsed, tensors, *functions);
  auto module = builder.build();
  if (!module)
    return module.takeError();
  // What the checks above let through must still be a module; otherwise say so
  // instead of going on.
  std::string reason;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    reason = diagnostic.str();
    return success();
  });
  if (failed(verify(**module)))
    return makeError(ErrorCode::BadGraph, "the graph is not well formed", name,
                     reason);
  return module;
}

/// What onnxruntime-genai's configuration beside the model says about shapes:
/// `onnx.genai`.
static void readGenaiConfig(ModuleOp module, StringRef modelPath) {
  llvm::SmallString<256> path(llvm::sys::path::parent_path(modelPath));
  llvm::sys::path::append(path, "genai_config.json");
  auto file = openModel(path, 1 << 20);
  if (!file) {
    llvm::consumeError(file.takeError());
    return;
  }
  ArrayRef<char> data = (*file)->getData();
  auto json = llvm::json::parse(StringRef(data.data(), data.size()));
  if (!json) {
    llvm::consumeError(json.takeError());
    return;
  }
  const llvm::json::Object *root = json->getAsObject();
  const llvm::json::Object *model = root ? root->getObject("model") : nullptr;
  if (!model)
    return;
  Builder b(module.getContext());
  SmallVector<NamedAttribute> entries;
  auto take = [&](const llvm::json::Object *from, StringRef key) {
    if (!from)
      return;
    if (auto number = from->getInteger(key))
      entries.push_back(b.getNamedAttr(key, b.getI64IntegerAttr(*number)));
  };
  take(model, "context_length");
  take(model, "vocab_size");
  for (StringRef key : {"head_size", "hidden_size", "num_attention_heads",
                        "num_key_value_heads", "num_hidden_layers"})
    take(model->getObject("decoder"), key);
  module->setAttr("onnx.genai", b.getDictionaryAttr(entries));
}

llvm::Expected<OwningOpRef<ModuleOp>>
effc::importOnnx(MLIRContext &context, StringRef path,
                 const ImportOptions &options) {
  auto file = openModel(path, options.maxModelBytes);
  if (!file)
    return file.takeError();
  ModelDirectory::Warning warn = [&](const Twine &text) {
    emitWarning(NameLoc::get(StringAttr::get(&context, path))) << text;
  };
  auto directory = ModelDirectory::open(path, options.strictPaths, warn);
  if (!directory)
    return directory.takeError();
  auto module = import(context, *file, path, &*directory, warn, options);
  if (module)
    readGenaiConfig(**module, path);
  return module;
}

llvm::Expected<OwningOpRef<ModuleOp>>
effc::importOnnxBuffer(MLIRContext &context, ArrayRef<char> bytes,
                       const ImportOptions &options) {
  return import(context, MappedFile::copy(bytes), "memory", nullptr, {},
                options);
}
