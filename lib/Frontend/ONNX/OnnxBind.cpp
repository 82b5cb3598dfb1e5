//===- OnnxBind.cpp - give dimensions their numbers -----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "DimExpr.h"
#include "effc/Frontend/ONNX/HostTensor.h"
#include "effc/Frontend/ONNX/Passes.h"
#include "effc/Support/Error.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <map>

namespace effc {
#define GEN_PASS_DEF_ONNXBINDPASS
#include "effc/Frontend/ONNX/Passes.h.inc"
} // namespace effc

using namespace mlir;
using namespace effc;
using namespace effc::onnx;

namespace {

/// What an argument is for.
enum class Role {
  Ids,          // [batch, tokens, ...]
  Mask,         // [batch, past + tokens]
  Positions,    // [batch, tokens] or [tokens]
  KeyValue,     // [batch, heads, past, head size]
  State,        // [batch, ...]
  Image,        // [batch, ...]
  UseCache,     // a boolean
  LogitsToKeep, // a number; 0 keeps all
  Other
};

/// What a dimension of an argument counts.
enum class Axis { Batch, Tokens, Past, Total, HeadSize, Unknown };

Role roleOf(StringRef name) {
  auto any = [&](std::initializer_list<StringRef> names) {
    return llvm::is_contained(names, name);
  };
  if (any({"input_ids", "inputs_embeds", "token_type_ids", "decoder_input_ids",
           "ids", "tokens"}))
    return Role::Ids;
  if (any({"attention_mask", "decoder_attention_mask"}))
    return Role::Mask;
  if (any({"position_ids", "cache_position"}))
    return Role::Positions;
  if (name == "use_cache_branch")
    return Role::UseCache;
  if (any({"num_logits_to_keep", "logits_to_keep"}))
    return Role::LogitsToKeep;
  if (any({"pixel_values", "images"}))
    return Role::Image;
  bool past =
      name.starts_with("past") || name.starts_with("cache_params.past.");
  if (past && (name.ends_with(".key") || name.ends_with(".value") ||
               name.contains(".key.") || name.contains(".value.")))
    return Role::KeyValue;
  return past ? Role::State : Role::Other;
}

Axis axisOf(Role role, int64_t axis, int64_t rank) {
  switch (role) {
  case Role::Ids:
    return axis == 0 ? Axis::Batch : axis == 1 ? Axis::Tokens : Axis::Unknown;
  case Role::Mask:
    if (rank != 2)
      return axis == 0 ? Axis::Batch : Axis::Unknown;
    return axis == 0 ? Axis::Batch : Axis::Total;
  case Role::Positions:
    return axis == rank - 1                ? Axis::Tokens
           : axis == rank - 2 && rank == 2 ? Axis::Batch
                                           : Axis::Unknown;
  case Role::KeyValue:
    if (rank != 4)
      return axis == 0 ? Axis::Batch : Axis::Unknown;
    return axis == 0   ? Axis::Batch
           : axis == 2 ? Axis::Past
           : axis == 3 ? Axis::HeadSize
                       : Axis::Unknown;
  case Role::State:
  case Role::Image:
    return axis == 0 ? Axis::Batch : Axis::Unknown;
  default:
    return Axis::Unknown;
  }
}

/// Names that exporters give to symbols, for arguments that tell nothing by
/// their own names.
Axis axisOfSymbol(StringRef symbol) {
  std::string lower = symbol.lower();
  StringRef name = lower;
  auto any = [&](std::initializer_list<StringRef> names) {
    return llvm::is_contained(names, name);
  };
  if (any({"batch", "batch_size", "bt", "b"}))
    return Axis::Batch;
  if (any({"seq", "sequence", "seq_len", "seq_length", "sequence_length",
           "tokens", "num_tokens", "decoder_sequence_length", "l", "t"}))
    return Axis::Tokens;
  if (any({"past", "past_len", "past_length", "past_seq_len",
           "past_sequence_length", "past_decoder_sequence_length"}))
    return Axis::Past;
  if (any({"total", "total_len", "total_length", "total_seq_len",
           "total_sequence_length", "kv_len"}))
    return Axis::Total;
  if (any({"kv_cache_dim", "head_size", "head_dim"}))
    return Axis::HeadSize;
  return Axis::Unknown;
}

struct OnnxBindPass : public effc::impl::OnnxBindPassBase<OnnxBindPass> {
  using OnnxBindPassBase::OnnxBindPassBase;

  void runOnOperation() override;

private:
  struct Argument {
    unsigned index;
    StringRef name;
    Role role;
    RankedTensorType type; // null when the argument has no rank
    ArrayAttr dims;        // null when the file gives none
  };

  FailureOr<Symbols> givenSymbols();
  SmallVector<Argument> arguments();
  void readFixedSizes(ArrayRef<Argument> args, const Symbols &given);
  void bindSymbols(ArrayRef<Argument> args, Symbols &symbols);
  std::optional<int64_t> sizeOf(Axis axis);
  std::optional<int64_t> headSize();
  FailureOr<RankedTensorType> staticType(const Argument &argument,
                                         const Symbols &symbols);
  /// The constant that replaces an argument; null when it stays.
  ElementsAttr constantFor(const Argument &argument, RankedTensorType type);

  func::FuncOp function;
  /// Whether the graph has caches or states.
  bool stateful = false;
};

/// The text of dimension `i` where it is a symbol or expression; empty
/// otherwise.
StringRef symbolAt(ArrayAttr dims, int64_t i) {
  if (!dims || i >= int64_t(dims.size()))
    return {};
  auto text = dyn_cast<StringAttr>(dims[i]);
  return text ? text.getValue() : StringRef();
}

FailureOr<Symbols> OnnxBindPass::givenSymbols() {
  Symbols symbols;
  for (const std::string &entry : dims) {
    auto [name, value] = StringRef(entry).rsplit('=');
    int64_t number;
    if (name.empty() || value.getAsInteger(10, number) || number < 0) {
      auto d = emitUserError(getOperation().getLoc(), ErrorCode::BadOption,
                             "'" + entry + "' does not give a dimension");
      noteTry(d, "write NAME=VALUE with a number of at least 0");
      return failure();
    }
    symbols[name] = number;
  }
  if (batch < 1 || tokens < 1 || past < 0) {
    emitUserError(getOperation().getLoc(), ErrorCode::BadOption,
                  "batch and tokens must be at least 1, past at least 0");
    return failure();
  }
  return symbols;
}

SmallVector<OnnxBindPass::Argument> OnnxBindPass::arguments() {
  SmallVector<Argument> result;
  for (unsigned i = 0; i < function.getNumArguments(); ++i) {
    auto name = function.getArgAttrOfType<StringAttr>(i, "onnx.name");
    StringRef text = name ? name.getValue() : StringRef();
    result.push_back(
        {i, text, roleOf(text),
         dyn_cast<RankedTensorType>(function.getArgument(i).getType()),
         function.getArgAttrOfType<ArrayAttr>(i, "onnx.dims")});
  }
  return result;
}

/// Sizes that the file or `dims` fixes replace those of the options.
void OnnxBindPass::readFixedSizes(ArrayRef<Argument> args,
                                  const Symbols &given) {
  std::map<Axis, int64_t> fixed;
  for (const Argument &arg : args) {
    stateful |= arg.role == Role::KeyValue || arg.role == Role::State;
    for (int64_t i = 0, e = arg.type ? arg.type.getRank() : 0; i < e; ++i) {
      auto symbol = given.find(symbolAt(arg.dims, i));
      if (!arg.type.isDynamicDim(i))
        fixed.try_emplace(axisOf(arg.role, i, e), arg.type.getDimSize(i));
      else if (symbol != given.end())
        fixed.try_emplace(axisOf(arg.role, i, e), symbol->second);
    }
  }
  // Without caches and states there is nothing before the call.
  if (!stateful)
    fixed[Axis::Past] = 0;
  auto replace = [&](Axis axis, Option<int64_t> &option, StringRef name) {
    auto it = fixed.find(axis);
    if (it == fixed.end() || it->second == option)
      return;
    if (axis != Axis::Past || stateful)
      emitWarning(getOperation().getLoc())
          << "the model fixes " << name << " at " << it->second;
    option = it->second;
  };
  replace(Axis::Batch, batch, "batch");
  replace(Axis::Tokens, tokens, "tokens");
  replace(Axis::Past, past, "past");
}

std::optional<int64_t> OnnxBindPass::headSize() {
  ModuleOp module = getOperation();
  if (auto genai = module->getAttrOfType<DictionaryAttr>("onnx.genai"))
    if (auto size = genai.getAs<IntegerAttr>("head_size"))
      return size.getInt();
  // The tables of GroupQueryAttention hold half a head; without them, packed q,
  // k, v tell its size.
  std::optional<int64_t> found;
  function.walk([&](NodeOp node) {
    if (!node.is("GroupQueryAttention", "com.microsoft"))
      return WalkResult::advance();
    if (Value table = node.getInput(7))
      if (auto type = dyn_cast<RankedTensorType>(table.getType()))
        if (type.getRank() == 2 && !type.isDynamicDim(1)) {
          found = 2 * type.getDimSize(1);
          return WalkResult::interrupt();
        }
    int64_t heads =
        node.getInt("num_heads", 0) + 2 * node.getInt("kv_num_heads", 0);
    Value packed = node.getInput(0);
    auto matmul = packed ? packed.getDefiningOp<NodeOp>() : NodeOp();
    if (!node.getInput(1) && matmul && heads > 0) {
      int64_t width = matmul.getInt("N", 0);
      if (matmul.is("MatMul"))
        if (auto type =
                dyn_cast<RankedTensorType>(matmul.getInput(1).getType()))
          width = type.getRank() == 2 ? type.getDimSize(1) : 0;
      if (width > 0 && width % heads == 0) {
        found = width / heads;
        return WalkResult::interrupt();
      }
    }
    return WalkResult::advance();
  });
  return found;
}

std::optional<int64_t> OnnxBindPass::sizeOf(Axis axis) {
  switch (axis) {
  case Axis::Batch:
    return batch;
  case Axis::Tokens:
    return tokens;
  case Axis::Past:
    return past;
  case Axis::Total:
    return past + tokens;
  case Axis::HeadSize:
    return headSize();
  case Axis::Unknown:
    return std::nullopt;
  }
  return std::nullopt;
}

void OnnxBindPass::bindSymbols(ArrayRef<Argument> args, Symbols &symbols) {
  auto bind = [&](StringRef symbol, Axis axis) {
    if (isSymbol(symbol) && !symbols.count(symbol))
      if (auto size = sizeOf(axis))
        symbols[symbol] = *size;
  };
  // Ids first: a mask may share their symbols.
  for (bool ids : {true, false})
    for (const Argument &arg : args)
      for (int64_t i = 0, e = arg.type ? arg.type.getRank() : 0; i < e; ++i)
        if ((arg.role == Role::Ids) == ids)
          bind(symbolAt(arg.dims, i), axisOf(arg.role, i, e));
  for (const Argument &arg : args)
    for (int64_t i = 0, e = arg.type ? arg.type.getRank() : 0; i < e; ++i)
      bind(symbolAt(arg.dims, i), axisOfSymbol(symbolAt(arg.dims, i)));
}

FailureOr<RankedTensorType> OnnxBindPass::staticType(const Argument &arg,
                                                     const Symbols &symbols) {
  auto refuse = [&](const Twine &what, const Twine &hint) -> LogicalResult {
    auto d =
        emitUserError(NameLoc::get(StringAttr::get(&getContext(), arg.name),
                                   function.getLoc()),
                      ErrorCode::DynamicShape, what);
    noteTry(d, hint);
    return failure();
  };
  if (!arg.type)
    return refuse("the input '" + arg.name + "' has no declared shape",
                  "export the model with a shape for it");
  SmallVector<int64_t> shape(arg.type.getShape());
  for (auto [i, size] : llvm::enumerate(shape)) {
    if (!ShapedType::isDynamic(size))
      continue;
    StringRef text = symbolAt(arg.dims, i);
    std::string unknown;
    std::optional<int64_t> value, byRole;
    if (!isSymbol(text))
      byRole = sizeOf(axisOf(arg.role, i, shape.size()));
    // Exporters declare the mask as "past + 1" although its graph takes any
    // length.
    if (arg.role == Role::Mask || arg.role == Role::Positions)
      value = byRole;
    if (!value && !text.empty())
      value = evaluateDim(text, symbols, &unknown);
    if (!value)
      value = byRole;
    if (!value && text.empty())
      return refuse("dimension " + Twine(i) + " of the input '" + arg.name +
                        "' is not known and has no name",
                    "export the model with a fixed or named dimension");
    if (!value)
      return refuse("the dimension '" + unknown + "' of the input '" +
                        arg.name + "' is not known",
                    "give it with --dim " + Twine(unknown) + "=VALUE");
    if (*value < 0)
      return refuse("the dimension '" + text + "' of the input '" + arg.name +
                        "' becomes " + Twine(*value),
                    "change the values that it is computed from");
    size = *value;
  }
  int64_t count = 1;
  for (int64_t size : shape)
    if (size != 0 && count > (int64_t(1) << 48) / size)
      return refuse("the input '" + arg.name + "' is too large",
                    "use smaller dimensions");
    else
      count *= std::max<int64_t>(size, 1);
  return RankedTensorType::get(shape, arg.type.getElementType());
}

ElementsAttr OnnxBindPass::constantFor(const Argument &arg,
                                       RankedTensorType type) {
  Type element = type.getElementType();
  // Only these are written out, and only as long as some batch of tokens: an
  // input may claim any size.
  constexpr int64_t most = int64_t(1) << 24;
  bool isKnown = arg.role == Role::Mask || arg.role == Role::Positions ||
                 arg.role == Role::UseCache || arg.role == Role::LogitsToKeep;
  if (!isKnown || !isa<IntegerType, FloatType>(element) ||
      type.getNumElements() > most)
    return {};
  HostTensor value(element, type.getShape());
  auto set = [&](int64_t i, int64_t number) {
    if (value.isFloat())
      value.floats[i] = double(number);
    else
      value.ints[i] = number;
  };
  switch (arg.role) {
  case Role::Mask:
    if (type.getRank() != 2 || (keepMask && !stateful))
      return {};
    for (int64_t i = 0; i < value.size(); ++i)
      set(i, 1);
    break;
  case Role::Positions:
    if (type.getRank() == 0 || type.getShape().back() != tokens)
      return {};
    for (int64_t i = 0; i < value.size(); ++i)
      set(i, past + i % tokens);
    break;
  case Role::UseCache:
    for (int64_t i = 0; i < value.size(); ++i)
      set(i, 1);
    break;
  case Role::LogitsToKeep:
    if (value.size() > 1)
      return {};
    break;
  default:
    return {};
  }
  return value.write();
}

void OnnxBindPass::runOnOperation() {
  ModuleOp module = getOperation();
  function = module.lookupSymbol<func::FuncOp>("main");
  if (!function || function.isExternal()) {
    emitUserError(module.getLoc(), ErrorCode::BadGraph,
                  "the module has no function @main");
    return signalPassFailure();
  }
  auto given = givenSymbols();
  if (failed(given))
    return signalPassFailure();
  Symbols symbols = *given;
  SmallVector<Argument> args = arguments();
  readFixedSizes(args, symbols);
  bindSymbols(args, symbols);

  OpBuilder b(function.getBody());
  llvm::BitVector gone(function.getNumArguments());
  SmallVector<Attribute> folded;
  SmallVector<Type> types;
  for (const Argument &arg : args) {
    auto type = staticType(arg, symbols);
    if (failed(type))
      return signalPassFailure();
    Value value = function.getArgument(arg.index);
    value.setType(*type);
    ElementsAttr constant = constantFor(arg, *type);
    if (!constant) {
      types.push_back(*type);
      continue;
    }
    auto op = ConstantOp::create(b, value.getLoc(), *type, b.getStringAttr(""),
                                 constant);
    value.replaceAllUsesWith(op);
    gone.set(arg.index);
    folded.push_back(b.getStringAttr(arg.name));
    types.push_back(*type);
  }
  function.setFunctionType(
      b.getFunctionType(types, function.getFunctionType().getResults()));
  if (failed(function.eraseArguments(gone)))
    return signalPassFailure();
  // A result may be an argument.
  auto *terminator = function.getBody().front().getTerminator();
  function.setFunctionType(b.getFunctionType(
      function.getFunctionType().getInputs(), terminator->getOperandTypes()));

  std::map<std::string, int64_t> bound{
      {"batch", batch}, {"tokens", tokens}, {"past", past}};
  for (const auto &[name, value] : symbols)
    bound.try_emplace(name.str(), value);
  SmallVector<NamedAttribute> entries;
  for (const auto &[name, value] : bound)
    entries.push_back(b.getNamedAttr(name, b.getI64IntegerAttr(value)));
  module->setAttr("onnx.bound", b.getDictionaryAttr(entries));
  module->setAttr("onnx.folded_inputs", b.getArrayAttr(folded));
}

} // namespace
