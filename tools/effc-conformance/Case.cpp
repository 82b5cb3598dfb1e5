//===- Case.cpp - imports, lowers, runs and compares one case -------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Levels.h"
#include "effc/Frontend/ONNX/Import.h"
#include "effc/Frontend/ONNX/Passes.h"
#include "effc/Support/Error.h"

#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"

using namespace mlir;

namespace effc::conformance {

llvm::StringRef name(Status status) {
  static constexpr const char *names[] = {"wrong",       "crashed", "timed-out",
                                          "unsupported", "folded",  "passed"};
  return names[int(status)];
}

namespace {

struct DataSet {
  HostTensors inputs, outputs;
};

/// Which inputs are constants: none, one that may be a shape, all of this kind,
/// all.
struct Binding {
  enum Kind { None, One, ShapeLike, All } kind;
  unsigned input = 0;
};

/// Whether an input may be what a node must know at compile time: shapes, axes,
/// bounds and the like are small lists of integers; some operators have floats
/// in such places.
bool isShapeLike(const onnx::HostTensor &input, Value argument) {
  if (input.rank() > 1 || input.size() > 64)
    return false;
  if (!input.isFloat())
    return true;
  return llvm::all_of(argument.getUses(), [](OpOperand &use) {
    auto node = dyn_cast<onnx::NodeOp>(use.getOwner());
    return node &&
           (node.is("Resize") || node.is("Upsample") ||
            (node.is("OneHot") && use.getOperandNumber() == 1)) &&
           use.getOperandNumber() > 0;
  });
}

std::string toText(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

void describe(ModuleOp module, Outcome &outcome) {
  module.walk([&](onnx::NodeOp node) {
    std::string name = node.getOpType().str();
    if (!node.getDomain().empty())
      name = (node.getDomain() + "." + name).str();
    outcome.ops.insert(name);
    if (node.getDomain().empty())
      outcome.versions.insert(std::to_string(node.getSince()));
  });
  auto main = module.lookupSymbol<func::FuncOp>("main");
  auto add = [&](TypeRange types) {
    for (Type type : types)
      outcome.types.insert(toText(getElementTypeOrSelf(type)));
  };
  add(main.getArgumentTypes());
  add(main.getResultTypes());
}

llvm::Expected<HostTensors> readAll(MLIRContext &context,
                                    const std::string &folder,
                                    const std::string &kind) {
  HostTensors tensors;
  for (unsigned i = 0;; ++i) {
    std::string path = folder + "/" + kind + "_" + std::to_string(i) + ".pb";
    if (!llvm::sys::fs::exists(path))
      return tensors;
    auto tensor = readTensor(context, path);
    if (!tensor)
      return tensor.takeError();
    tensors.push_back(std::move(*tensor));
  }
}

/// Forgets all shapes that the file declares.
void forgetShapes(func::FuncOp main) {
  auto forget = [](Value value) {
    if (auto type = dyn_cast<TensorType>(value.getType()))
      value.setType(UnrankedTensorType::get(type.getElementType()));
  };
  main.walk([&](onnx::NodeOp node) {
    llvm::for_each(node.getResults(), forget);
    for (Region &region : node.getSubgraphs())
      llvm::for_each(region.getArguments(), forget);
  });
  for (unsigned i = 0; i < main.getNumResults(); ++i)
    main.removeResultAttr(i, StringAttr::get(main.getContext(), "onnx.dims"));
  llvm::for_each(main.getArguments(), forget);
  main.setFunctionType(FunctionType::get(
      main.getContext(), main.getBody().getArgumentTypes(),
      main.getBody().front().getTerminator()->getOperandTypes()));
}

/// Numbers that count up from 0 to 1, for an input of static shape.
std::optional<onnx::HostTensor> countUp(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || !tensor.hasStaticShape() ||
      !isa<FloatType>(tensor.getElementType()))
    return std::nullopt;
  onnx::HostTensor values(tensor.getElementType(), tensor.getShape());
  for (auto [i, value] : llvm::enumerate(values.floats))
    value = float(double(i) / double(values.floats.size()));
  return values;
}

/// Gives the arguments the shapes of the data. Some become constants, which the
/// front end then folds.
void bindInputs(func::FuncOp main, const DataSet &data, Binding binding,
                SmallVectorImpl<unsigned> &kept, Outcome &outcome) {
  OpBuilder builder(main.getBody());
  llvm::BitVector gone(main.getNumArguments());
  SmallVector<Type> types;
  for (auto [i, input] : llvm::enumerate(data.inputs)) {
    BlockArgument argument = main.getArgument(i);
    argument.setType(input.getType());
    types.push_back(input.getType());
    bool constant =
        binding.kind == Binding::All ||
        (binding.kind == Binding::ShapeLike && isShapeLike(input, argument)) ||
        (binding.kind == Binding::One && binding.input == i);
    if (!constant) {
      kept.push_back(i);
      continue;
    }
    auto name = main.getArgAttrOfType<StringAttr>(i, "onnx.name");
    outcome.boundInputs.push_back(name ? name.str() : std::to_string(i));
    argument.replaceAllUsesWith(onnx::ConstantOp::create(
        builder, main.getLoc(), input.getType(),
        name ? name : builder.getStringAttr(""), input.write()));
    gone.set(i);
  }
  main.setFunctionType(builder.getFunctionType(types, main.getResultTypes()));
  if (gone.any())
    (void)main.eraseArguments(gone).succeeded();
}

/// Collects diagnostics as one text.
class Diagnostics {
public:
  explicit Diagnostics(MLIRContext &context)
      : handler(&context, [this](Diagnostic &diagnostic) {
          if (diagnostic.getSeverity() != DiagnosticSeverity::Error)
            return;
          if (!text.empty())
            text += "; ";
          text += diagnostic.str();
          for (Diagnostic &note : diagnostic.getNotes())
            text += ": " + note.str();
        }) {}
  std::string text;

private:
  ScopedDiagnosticHandler handler;
};

/// One attempt with one data set.
Status attempt(MLIRContext &context, const CaseFiles &files,
               const std::string &set, Binding binding, Level level, Way way,
               Outcome &outcome) {
  Diagnostics diagnostics(context);
  outcome.boundInputs.clear();
  outcome.shapeLike.clear();
  auto refuse = [&](std::string reason) {
    outcome.reason = reason.empty() ? diagnostics.text : std::move(reason);
    return Status::Unsupported;
  };
  auto module = importOnnx(context, files.model);
  if (!module)
    return refuse(llvm::toString(module.takeError()));
  if (outcome.ops.empty())
    describe(**module, outcome);
  auto main = (*module)->lookupSymbol<func::FuncOp>("main");
  DataSet data;
  if (files.lightOutput.empty()) {
    auto inputs = readAll(context, set, "input");
    if (!inputs)
      return refuse(llvm::toString(inputs.takeError()));
    auto outputs = readAll(context, set, "output");
    if (!outputs)
      return refuse(llvm::toString(outputs.takeError()));
    data.inputs = std::move(*inputs);
    data.outputs = std::move(*outputs);
  } else {
    for (Type type : main.getArgumentTypes()) {
      auto input = countUp(type);
      if (!input)
        return refuse("an input has no static shape");
      data.inputs.push_back(std::move(*input));
    }
    auto output = readTensor(context, files.lightOutput);
    if (!output)
      return refuse(llvm::toString(output.takeError()));
    data.outputs.push_back(std::move(*output));
  }

  if (data.inputs.size() != main.getNumArguments())
    return refuse("the data set has another number of inputs than the model");
  for (auto [i, input] : llvm::enumerate(data.inputs))
    if (isShapeLike(input, main.getArgument(i)))
      outcome.shapeLike.push_back(unsigned(i));
  SmallVector<unsigned> kept;
  if (way == Way::Dynamic)
    forgetShapes(main);
  bindInputs(main, data, binding, kept, outcome);
  PassManager bind(&context);
  bind.addPass(createOnnxSimplifyPass());
  if (failed(bind.run(**module)))
    return refuse({});
  // What inference found; its element types tell signed from unsigned.
  SmallVector<Type> elements;
  for (Value value : main.getBody().front().getTerminator()->getOperands())
    elements.push_back(getElementTypeOrSelf(value.getType()));
  if (elements.size() != data.outputs.size())
    return refuse("the data set has another number of outputs than the model");
  HostTensors arguments;
  for (unsigned i : kept)
    arguments.push_back(data.inputs[i]);
  auto actual = runGraph(level, **module, arguments, elements);
  if (!actual)
    return refuse(
        diagnostics.text.empty()
            ? llvm::toString(actual.takeError())
            : (llvm::consumeError(actual.takeError()), diagnostics.text));
  for (auto [i, pair] : llvm::enumerate(llvm::zip(*actual, data.outputs))) {
    std::string difference =
        compare(std::get<0>(pair), std::get<1>(pair), files.tolerance);
    if (difference.empty())
      continue;
    outcome.reason = "output " + std::to_string(i) + ": " + difference;
    return Status::Wrong;
  }
  outcome.reason.clear();
  // Nothing was left to run.
  if (!outcome.boundInputs.empty() && kept.empty())
    return Status::Folded;
  return Status::Passed;
}

} // namespace

/// One data set, with more and more of the inputs known at compile time:
/// operands such as shapes and axes may be inputs of the graph.
static Status runSet(MLIRContext &context, const CaseFiles &files,
                     const std::string &set, Level level, Way way,
                     Outcome &outcome) {
  if (way == Way::Constants) {
    Status status =
        attempt(context, files, set, {Binding::All}, level, way, outcome);
    return status == Status::Folded ? Status::Passed : status;
  }
  Outcome first = outcome;
  Status status =
      attempt(context, files, set, {Binding::None}, level, way, first);
  outcome = first;
  std::vector<Binding> more;
  for (unsigned input : first.shapeLike)
    more.push_back({Binding::One, input});
  more.push_back({Binding::ShapeLike});
  more.push_back({Binding::All});
  if (first.ops.empty())
    more.clear();
  for (Binding binding : more) {
    if (status != Status::Unsupported)
      break;
    Outcome tried = first;
    status = attempt(context, files, set, binding, level, way, tried);
    if (status == Status::Unsupported) {
      // With what can be known at compile time: this says most.
      if (binding.kind == Binding::ShapeLike && !first.shapeLike.empty())
        outcome.reason = first.reason = tried.reason;
      continue;
    }
    outcome = tried;
    // Why inputs had to be known.
    if (status == Status::Folded)
      outcome.reason = first.reason;
  }
  return status;
}

Outcome runCase(const CaseFiles &files, Level level, Way way) {
  Outcome outcome;
  outcome.status = Status::Unsupported;
  MLIRContext context(MLIRContext::Threading::DISABLED);
  for (const std::string &model : files.refused) {
    Diagnostics diagnostics(context);
    auto module = importOnnx(context, model);
    PassManager simplify(&context);
    simplify.addPass(createOnnxSimplifyPass());
    bool isRefused = !module || failed(simplify.run(**module));
    if (!module)
      llvm::consumeError(module.takeError());
    if (isRefused)
      continue;
    outcome.status = Status::Wrong;
    outcome.reason = model + " is not refused";
    return outcome;
  }
  std::vector<std::string> sets = files.sets;
  if (!files.lightOutput.empty())
    sets = {""};
  outcome.reason = "there is no data";
  for (auto [k, set] : llvm::enumerate(sets)) {
    Status status = runSet(context, files, set, level, way, outcome);
    if (files.mayRefuse && status == Status::Unsupported)
      status = Status::Passed;
    // One case has passed when all of its data sets have.
    outcome.status = k == 0 ? status : std::min(outcome.status, status);
    if (outcome.status < Status::Folded)
      return outcome;
  }
  return outcome;
}

} // namespace effc::conformance
