//===- Levels.cpp - ways to run a graph -----------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Levels.h"
#include "effc/Artifact/ModelWriter.h"
#include "effc/Conversion/EffToPlan/Passes.h"
#include "effc/Conversion/OnnxToEff/Raise.h"
#include "effc/Conversion/OnnxToLinalg/Lower.h"
#include "effc/Dialect/Eff/Transforms/Passes.h"
#include "effc/Dialect/Plan/Plan.h"
#include "effc/Dialect/Plan/Transforms/Passes.h"
#include "effc/Pipelines/Registration.h"
#include "effc/Reference/Interpreter.h"
#include "effc/Support/Error.h"
#include "effc/Target/Generic/Passes.h"
#include "effrt/engine.h"

#include "mlir/IR/OwningOpRef.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"

using namespace mlir;

namespace effc::conformance {

namespace {

//===----------------------------------------------------------------------===//
// Interpreted
//===----------------------------------------------------------------------===//

template <typename T>
reference::Tensor<T> toReference(const onnx::HostTensor &value) {
  reference::Tensor<T> tensor(value.shape, !value.isFloat());
  unsigned width = value.elementType.getIntOrFloatBitWidth();
  for (int64_t i = 0; i < value.size(); ++i)
    if (value.isFloat())
      tensor.floats[i] = T(value.floats[i]);
    else if (width == 1)
      tensor.integers[i] = value.ints[i];
    else
      tensor.integers[i] = llvm::SignExtend64(uint64_t(value.ints[i]), width);
  return tensor;
}

template <typename T>
onnx::HostTensor fromReference(const reference::Tensor<T> &value,
                               Type element) {
  onnx::HostTensor tensor(element, value.shape);
  if (tensor.isFloat())
    tensor.floats.assign(value.floats.begin(), value.floats.end());
  else
    tensor.ints.assign(value.integers.begin(), value.integers.end());
  tensor.round();
  return tensor;
}

template <typename T>
llvm::Expected<HostTensors> interpret(ModuleOp module, func::FuncOp function,
                                      ArrayRef<onnx::HostTensor> inputs,
                                      ArrayRef<Type> elements) {
  std::vector<reference::Tensor<T>> arguments;
  for (const onnx::HostTensor &input : inputs)
    arguments.push_back(toReference<T>(input));
  reference::Interpreter<T> interpreter(module);
  auto results = interpreter.run(function, arguments);
  if (!results)
    return results.takeError();
  HostTensors outputs;
  for (auto [result, element] : llvm::zip(*results, elements))
    outputs.push_back(fromReference<T>(result, element));
  return outputs;
}

bool usesDouble(ModuleOp module) {
  return module
      .walk([](Operation *op) {
        for (Type type : op->getResultTypes())
          if (getElementTypeOrSelf(type).isF64())
            return WalkResult::interrupt();
        return WalkResult::advance();
      })
      .wasInterrupted();
}

llvm::Error fail(const llvm::Twine &why) {
  return makeError(ErrorCode::CodeGen, why);
}

llvm::Expected<HostTensors> runLiteral(ModuleOp graph,
                                       ArrayRef<onnx::HostTensor> inputs,
                                       ArrayRef<Type> elements) {
  PassManager lower(graph.getContext());
  lower.addPass(createConvertOnnxToLinalgPass());
  if (failed(lower.run(graph)))
    return fail("the graph has no lowering");
  auto main = graph.lookupSymbol<func::FuncOp>("main");
  return usesDouble(graph) ? interpret<double>(graph, main, inputs, elements)
                           : interpret<float>(graph, main, inputs, elements);
}

//===----------------------------------------------------------------------===//
// Raised
//===----------------------------------------------------------------------===//

/// A graph's entry function, what it reads and what it gives.
struct Entry {
  OwningOpRef<ModuleOp> module;
  func::FuncOp function;
  /// For each argument, the index of the graph's input.
  SmallVector<unsigned> inputs;
};

llvm::Expected<Entry> raise(ModuleOp graph) {
  MLIRContext *context = graph.getContext();
  DialectRegistry registry;
  registerDialects(registry);
  context->appendDialectRegistry(registry);
  context->loadAllAvailableDialects();
  Entry entry;
  entry.module = ModuleOp::create(graph.getLoc());
  RaiseOptions options;
  options.kind = eff::EntryKind::Forward;
  auto function = raiseToEff(graph, *entry.module, options);
  if (failed(function))
    return fail("the graph cannot be raised");
  entry.function = *function;
  auto main = graph.lookupSymbol<func::FuncOp>("main");
  llvm::StringMap<unsigned> names;
  for (unsigned i = 0; i < main.getNumArguments(); ++i)
    if (auto name = main.getArgAttrOfType<StringAttr>(i, "onnx.name"))
      names[name.getValue()] = i;
  for (unsigned i = 0; i < entry.function.getNumArguments(); ++i) {
    auto name = entry.function.getArgAttrOfType<StringAttr>(i, "eff.name");
    auto found = name ? names.find(name.getValue()) : names.end();
    if (found == names.end())
      return fail("an argument of the entry point is no input of the graph");
    entry.inputs.push_back(found->second);
  }
  if (entry.function.getNumResults() != main.getNumResults())
    return fail("an output of the graph became a state");
  return std::move(entry);
}

llvm::Expected<HostTensors> runRaised(ModuleOp graph,
                                      ArrayRef<onnx::HostTensor> inputs,
                                      ArrayRef<Type> elements) {
  auto entry = raise(graph);
  if (!entry)
    return entry.takeError();
  HostTensors arguments;
  for (unsigned i : entry->inputs)
    arguments.push_back(inputs[i]);
  return usesDouble(*entry->module)
             ? interpret<double>(*entry->module, entry->function, arguments,
                                 elements)
             : interpret<float>(*entry->module, entry->function, arguments,
                                elements);
}

//===----------------------------------------------------------------------===//
// Compiled
//===----------------------------------------------------------------------===//

/// Bytes of a tensor as the model file takes them: signless elements of `type`,
/// floats mostly f32.
std::vector<char> toBytes(const onnx::HostTensor &value, Type type) {
  onnx::HostTensor copy(type, value.shape);
  if (copy.isFloat())
    copy.floats = value.floats;
  else
    copy.ints = value.ints;
  copy.round();
  auto bytes = onnx::ElementBytes::of(copy.write());
  return failed(bytes)
             ? std::vector<char>()
             : std::vector<char>(bytes->get().begin(), bytes->get().end());
}

llvm::Error compile(Entry &entry, const std::string &path) {
  PassManager passes(entry.module->getContext());
  passes.addNestedPass<func::FuncOp>(eff::createEffFuseDtPass());
  passes.addNestedPass<func::FuncOp>(eff::createEffFuseEpiloguePass());
  passes.addNestedPass<func::FuncOp>(createCanonicalizerPass());
  passes.addNestedPass<func::FuncOp>(createCSEPass());
  passes.addPass(eff::createEffAssignLayoutPass());
  passes.addPass(createConvertEffToPlanPass());
  passes.addPass(createPlanSizeGenericsPass());
  passes.addNestedPass<plan::ProgramOp>(plan::createPlanMemoryPass());
  if (failed(passes.run(*entry.module)))
    return fail("the graph cannot be planned");
  WriteOptions options;
  options.targets.push_back(X86Machine::host());
  options.output = path;
  options.jobs = 1;
  return writeModel(*entry.module, options).takeError();
}

llvm::Error asError(const effrt::Error &error) { return fail(error.format()); }

llvm::Expected<HostTensors> runCompiled(ModuleOp graph,
                                        ArrayRef<onnx::HostTensor> inputs,
                                        ArrayRef<Type> elements) {
  auto entry = raise(graph);
  if (!entry)
    return entry.takeError();
  // The function is gone after planning.
  std::vector<effrt::TensorView> given, wanted;
  std::vector<std::vector<char>> buffers;
  SmallVector<RankedTensorType> types;
  func::FuncOp function = entry->function;
  for (auto [i, from] : llvm::enumerate(entry->inputs)) {
    auto type = cast<RankedTensorType>(function.getArgument(i).getType());
    buffers.push_back(toBytes(inputs[from], type.getElementType()));
    given.push_back(
        {function.getArgAttrOfType<StringAttr>(i, "eff.name").str()});
  }
  for (unsigned i = 0; i < function.getNumResults(); ++i) {
    auto type = cast<RankedTensorType>(function.getResultTypes()[i]);
    types.push_back(type);
    buffers.emplace_back(size_t(type.getNumElements()) *
                         onnx::storedBytes(type.getElementType()));
    auto name = function.getResultAttrOfType<StringAttr>(i, "eff.name");
    wanted.push_back({name ? name.str() : ""});
  }
  for (auto [i, buffer] : llvm::enumerate(buffers)) {
    effrt::TensorView &view =
        i < given.size() ? given[i] : wanted[i - given.size()];
    view.data = buffer.data();
    view.bytes = buffer.size();
  }
  llvm::SmallString<128> path;
  if (std::error_code error =
          llvm::sys::fs::createTemporaryFile("conformance", "eff", path))
    return fail("no temporary file: " + error.message());
  llvm::FileRemover remover(path);
  if (llvm::Error error = compile(*entry, path.str().str()))
    return std::move(error);
  auto model = effrt::Model::open(path.str().str());
  if (!model)
    return asError(model.error());
  effrt::EngineOptions options;
  options.threads = 1;
  options.pin = false;
  auto engine = effrt::Engine::create(model.take(), options);
  if (!engine)
    return asError(engine.error());
  std::unique_ptr<effrt::Engine> running = engine.take();
  effrt::Status status = running->forward(given, wanted);
  if (!status.ok())
    return asError(status.error());
  HostTensors outputs;
  for (unsigned i = 0; i < types.size(); ++i) {
    auto value = onnx::HostTensor::read(
        onnx::makeElements(types[i], buffers[given.size() + i]));
    if (failed(value))
      return fail("an output has a type that cannot be read");
    onnx::HostTensor output(elements[i], value->shape);
    if (output.isFloat() != value->isFloat())
      return fail("an output has another kind of elements");
    output.floats = value->floats;
    output.ints = value->ints;
    output.round();
    outputs.push_back(std::move(output));
  }
  return outputs;
}

} // namespace

llvm::Expected<HostTensors> runGraph(Level level, ModuleOp graph,
                                     ArrayRef<onnx::HostTensor> inputs,
                                     ArrayRef<Type> elements) {
  switch (level) {
  case Level::Literal:
    return runLiteral(graph, inputs, elements);
  case Level::Raised:
    return runRaised(graph, inputs, elements);
  case Level::Compiled:
    return runCompiled(graph, inputs, elements);
  }
  return fail("no such level");
}

} // namespace effc::conformance
