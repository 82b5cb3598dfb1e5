//===- Inspect.cpp - what an ONNX file says about itself ------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Pipelines/Inspect.h"
#include "Frontend.h"

#include "effc/Conversion/OnnxToEff/FileStates.h"
#include "effc/Dialect/ONNX/Onnx.h"
#include "effc/Pipelines/Registration.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <map>

using namespace mlir;
using namespace effc;

static StringRef nameOf(func::FuncOp main, unsigned i) {
  auto name = main.getArgAttrOfType<StringAttr>(i, "onnx.name");
  return name ? name.getValue() : StringRef();
}

/// "batch x 2 x past x 16, f32".
static std::string typeText(func::FuncOp main, unsigned i) {
  auto type = dyn_cast<RankedTensorType>(main.getArgument(i).getType());
  if (!type)
    return "unknown";
  auto dims = main.getArgAttrOfType<ArrayAttr>(i, "onnx.dims");
  std::string text;
  llvm::raw_string_ostream os(text);
  for (int64_t axis = 0; axis < type.getRank(); ++axis) {
    os << (axis ? " x " : "");
    auto symbol = dims && axis < int64_t(dims.size())
                      ? dyn_cast<StringAttr>(dims[axis])
                      : StringAttr();
    if (!type.isDynamicDim(axis))
      os << type.getDimSize(axis);
    else
      os << (symbol ? symbol.getValue() : "?");
  }
  os << ", " << type.getElementType();
  return text;
}

static std::string roleOf(StringRef input, int64_t axis) {
  bool ids = input == "input_ids" || input == "ids" || input == "tokens" ||
             input == "position_ids" || input == "token_type_ids";
  bool past = input.starts_with("past") || input.starts_with("cache_params");
  if (axis == 0)
    return "batch";
  if (ids && axis == 1)
    return "tokens";
  if (input == "attention_mask" && axis == 1)
    return "past and tokens";
  if (past && axis == 2)
    return "past";
  return "";
}

/// What stands in the way of a number, in one line.
static std::string reasonOf(llvm::Error error) {
  std::string text;
  llvm::handleAllErrors(
      std::move(error),
      [&](const UserError &e) {
        text = (e.where.empty() ? "" : "at " + e.where + ": ") + e.what +
               (e.why.empty() ? "" : " (" + e.why + ")");
      },
      [&](const llvm::ErrorInfoBase &e) { text = e.message(); });
  return text;
}

llvm::Expected<FileInfo> effc::inspectFile(const std::string &path,
                                           const ImportOptions &import) {
  DialectRegistry registry;
  registerDialects(registry);
  MLIRContext context(registry);
  context.printOpOnDiagnostic(false);
  auto module = importOnnx(context, path, import);
  if (!module)
    return module.takeError();
  auto main = (*module)->lookupSymbol<func::FuncOp>("main");
  FileInfo info;
  if (!main)
    return info;
  for (const StatePair &pair : findStates(main)) {
    FileState state;
    state.past = nameOf(main, pair.input).str();
    auto present =
        main.getResultAttrOfType<StringAttr>(pair.output, "onnx.name");
    state.present = present ? present.str() : "";
    state.kind = pair.kind;
    state.layer = pair.layer;
    state.type = typeText(main, pair.input);
    info.states.push_back(std::move(state));
  }
  std::map<std::string, FileSymbol> symbols;
  for (unsigned i = 0; i < main.getNumArguments(); ++i) {
    auto dims = main.getArgAttrOfType<ArrayAttr>(i, "onnx.dims");
    if (!dims)
      continue;
    for (auto [axis, dim] : llvm::enumerate(dims)) {
      auto text = dyn_cast<StringAttr>(dim);
      if (!text || text.getValue().empty())
        continue;
      FileSymbol &symbol = symbols[text.str()];
      symbol.name = text.str();
      if (symbol.role.empty())
        symbol.role = roleOf(nameOf(main, i), int64_t(axis));
      symbol.uses.push_back((nameOf(main, i) + "[" + Twine(axis) + "]").str());
    }
  }
  // Two numbers for each symbol that can be told what it is.
  CompileOptions options;
  CompileObserver quiet;
  CompileResult result;
  Frontend frontend(context, options, quiet, result);
  std::string fixed;
  auto tokens = frontend.lengthOf(**module, fixed);
  if (!tokens)
    llvm::consumeError(tokens.takeError());
  for (auto &[name, symbol] : symbols) {
    if (symbol.role == "tokens" && tokens && *tokens > 0)
      symbol.fixed = "the graph works with " + std::to_string(*tokens) +
                     " alone: " + fixed;
    if (symbol.role == "batch" && tokens) {
      RaiseOptions entry;
      entry.batch = 2;
      entry.tokens = *tokens > 0 ? *tokens : 7;
      auto two = frontend.bind(**module, entry);
      if (!two)
        symbol.fixed = reasonOf(two.takeError());
    }
    info.symbols.push_back(std::move(symbol));
  }
  return info;
}
