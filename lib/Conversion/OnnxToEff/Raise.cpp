//===- Raise.cpp - from the onnx dialect to the eff dialect ---------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Config.h"
#include "Emitter.h"
#include "EmptyTensors.h"
#include "Heads.h"

#include "effc/Conversion/OnnxToLinalg/Lower.h"
#include "effc/Support/Error.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/OperationSupport.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;
using namespace effc;
using namespace effc::raise;

std::string effc::entryName(const RaiseOptions &o) {
  if (!o.entryName.empty())
    return o.entryName;
  std::string batch = "_b" + std::to_string(o.batch);
  switch (o.kind) {
  case eff::EntryKind::Decode:
    return "decode" + batch;
  case eff::EntryKind::Prefill:
    return "prefill" + batch + "_t" + std::to_string(o.tokens);
  case eff::EntryKind::Forward:
    return "forward" + batch;
  }
  return "main";
}

namespace {
class Raiser {
public:
  Raiser(ModuleOp onnxModule, func::FuncOp main, ModuleOp effModule,
         const RaiseOptions &options)
      : onnxModule(onnxModule), effModule(effModule), options(options),
        graph(main, options) {
    addAttentionPatterns(patterns);
    addScanPatterns(patterns);
    addScanBodyPatterns(patterns);
    addScanLoopPatterns(patterns);
    addLinearAttentionPatterns(patterns);
    addNormPatterns(patterns);
    addRopePatterns(patterns);
    addImagePatterns(patterns);
    addActivationPatterns(patterns);
    addQuantizedPatterns(patterns);
    addLinearPatterns(patterns);
    addElementwisePatterns(patterns);
    addShapePatterns(patterns);
    addLiteralPatterns(literalPatterns);
    patterns.insert(patterns.end(), literalPatterns.begin(),
                    literalPatterns.end());
  }

  FailureOr<func::FuncOp> run();

private:
  LogicalResult checkStatic();
  void chooseResults();
  LogicalResult select();
  void matchNeeded(llvm::DenseSet<Operation *> &needed,
                   SmallVectorImpl<onnx::NodeOp> &unsupported);
  LogicalResult reportUnsupported(ArrayRef<onnx::NodeOp> nodes);
  LogicalResult checkStates();
  FailureOr<func::FuncOp> emit();
  LogicalResult emitResults(Emitter &emitter);
  LogicalResult describeModel(Emitter &emitter);
  void need(Value v, llvm::DenseSet<Operation *> &needed);

  ModuleOp onnxModule, effModule;
  const RaiseOptions &options;
  Graph graph;
  Config config;
  std::vector<RaisePattern> patterns, literalPatterns;
  llvm::DenseMap<Operation *, Match> matches;
  SmallVector<unsigned> results;
  /// Token ids in, one vector of logits for each token out.
  bool causal = false;
  int64_t vocab = 0;
};
} // namespace

//===----------------------------------------------------------------------===//
// Before
//===----------------------------------------------------------------------===//

static bool isStatic(Type type) {
  auto shaped = dyn_cast<ShapedType>(type);
  return isa<NoneType>(type) || (shaped && shaped.hasStaticShape());
}

/// Operators that only composite patterns take.
static bool isComposite(onnx::NodeOp node) {
  static constexpr StringLiteral standard[] = {
      "Attention", "CausalConvWithState", "LinearAttention", "RotaryEmbedding",
      "SimplifiedLayerNormalization"};
  static constexpr StringLiteral contributed[] = {
      "CausalConvWithState",
      "DynamicQuantizeMatMul",
      "GatedRMSNorm",
      "GatherBlockQuantized",
      "GroupQueryAttention",
      "LinearAttention",
      "RotaryEmbedding",
      "SkipLayerNormalization",
      "QuickGelu",
      "SimplifiedLayerNormalization",
      "SkipSimplifiedLayerNormalization"};
  StringRef type = node.getOpType(), domain = node.getDomain();
  return domain.empty()              ? llvm::is_contained(standard, type)
         : domain == "com.microsoft" ? llvm::is_contained(contributed, type)
                                     : domain == "ai.effc";
}

/// Why a node whose operands have shapes has none itself.
static std::string describeOpenShape(onnx::NodeOp node) {
  std::string numbers;
  for (auto [i, v] : llvm::enumerate(node->getOperands())) {
    auto type = dyn_cast<ShapedType>(v.getType());
    if (!type || !type.getElementType().isInteger(64) || type.getRank() > 1 ||
        v.getDefiningOp<onnx::ConstantOp>())
      continue;
    numbers += (numbers.empty() ? "operand " : ", ") + std::to_string(i);
  }
  return numbers.empty() ? "it depends on the numbers that go in"
                         : "its " + numbers +
                               " holds sizes or positions and is no constant";
}

LogicalResult Raiser::checkStatic() {
  // Results of operators that nothing takes have no shape, unless the graph
  // says so: those are named as well.
  SmallVector<onnx::NodeOp> unsupported;
  bool isOpen = false;
  Operation *dynamic = nullptr;
  for (Operation &op : graph.main.getBody().front().without_terminator()) {
    auto node = dyn_cast<onnx::NodeOp>(op);
    bool isKnown = llvm::all_of(op.getResultTypes(), isStatic);
    if (node && !hasLinalgLowering(node) && !isComposite(node)) {
      unsupported.push_back(node);
      isOpen |= !isKnown;
    } else if (!isKnown && !dynamic &&
               llvm::all_of(op.getOperandTypes(), isStatic)) {
      dynamic = &op;
    }
  }
  if (isOpen)
    return reportUnsupported(unsupported);
  bool arguments = llvm::all_of(graph.main.getArgumentTypes(), isStatic);
  if (!dynamic && arguments)
    return success();
  auto node = dyn_cast_or_null<onnx::NodeOp>(dynamic);
  std::string what = dynamic ? "the shape of a value is known only when it runs"
                             : "an input has no static shape";
  if (node)
    what = ("the shape of a result of '" + node.getOpType() + "' (opset " +
            Twine(node.getSince()) + ") is known only when it runs")
               .str();
  auto d = emitUserError(dynamic ? dynamic->getLoc() : graph.main.getLoc(),
                         ErrorCode::DynamicShape, what);
  if (node) {
    noteWhy(d, describeOpenShape(node));
    noteTry(d, "export the model with constant sizes here, or fold what "
               "computes them first (onnxsim); open dimensions of inputs get "
               "theirs from --dim NAME=VALUE");
  } else {
    noteTry(d, defaultHint(ErrorCode::DynamicShape));
  }
  return failure();
}

static StringRef resultName(func::FuncOp main, unsigned i) {
  auto name = main.getResultAttrOfType<StringAttr>(i, "onnx.name");
  return name ? name.getValue() : StringRef();
}

/// Which results the entry function gives: all that are no states; of a
/// language model, the logits alone.
void Raiser::chooseResults() {
  auto ret = cast<func::ReturnOp>(graph.main.getBody().front().getTerminator());
  for (unsigned i = 0; i < ret.getNumOperands(); ++i) {
    bool isPresent = llvm::any_of(graph.states, [&](auto &s) {
      return s->presentName == resultName(graph.main, i);
    });
    if (!isPresent)
      results.push_back(i);
  }
  if (options.kind == eff::EntryKind::Forward)
    return;
  for (unsigned i : results) {
    Value v = ret.getOperand(i);
    ArrayRef<int64_t> shape = Graph::shape(v);
    bool hasIds = llvm::any_of(graph.main.getArguments(), [&](BlockArgument a) {
      return !graph.isState(a) && Graph::elementType(a).isIntOrIndex() &&
             Graph::shape(a) ==
                 ArrayRef<int64_t>{options.batch, options.tokens};
    });
    if (hasIds && Graph::isFloat(v) && shape.size() == 3 &&
        shape[0] == options.batch && shape[1] == options.tokens &&
        (results.size() == 1 || resultName(graph.main, i) == "logits")) {
      causal = true;
      vocab = shape[2];
      results = {i};
      return;
    }
  }
}

//===----------------------------------------------------------------------===//
// Selection
//===----------------------------------------------------------------------===//

void Raiser::need(Value v, llvm::DenseSet<Operation *> &needed) {
  Value base = graph.view(v).base;
  if (!graph.isConstant(base))
    if (Operation *op = base.getDefiningOp())
      needed.insert(op);
}

/// Finds a match for each needed node that has none yet, from the end to the
/// beginning.
void Raiser::matchNeeded(llvm::DenseSet<Operation *> &needed,
                         SmallVectorImpl<onnx::NodeOp> &unsupported) {
  for (Operation &op : llvm::reverse(graph.main.getBody().front())) {
    auto node = dyn_cast<onnx::NodeOp>(op);
    if (!node || !needed.contains(&op) || matches.count(&op))
      continue;
    std::optional<Match> match;
    bool isDouble = Graph::isDouble(node);
    for (RaisePattern pattern : isDouble ? literalPatterns : patterns)
      if ((match = pattern(graph, node)))
        break;
    if (!match) {
      unsupported.push_back(node);
      match.emplace(); // go on to find the others
      for (Value v : node.getInputs())
        if (!isa<NoneType>(v.getType()))
          match->needs.push_back(v);
    }
    for (Value v : match->needs)
      need(v, needed);
    matches[&op] = std::move(*match);
  }
}

LogicalResult Raiser::select() {
  llvm::DenseSet<Operation *> needed;
  auto ret = cast<func::ReturnOp>(graph.main.getBody().front().getTerminator());
  for (unsigned i : results)
    need(ret.getOperand(i), needed);
  SmallVector<onnx::NodeOp> unsupported;
  matchNeeded(needed, unsupported);
  // States that no result depends on are kept all the same, by the op that
  // makes them.
  llvm::DenseSet<State *> owned;
  for (auto &[op, match] : matches)
    owned.insert(match.states.begin(), match.states.end());
  for (auto &state : graph.states) {
    auto node = state->present ? state->present.getDefiningOp<onnx::NodeOp>()
                               : onnx::NodeOp();
    if (!owned.contains(state.get()) && node && node->getNumResults() > 1)
      needed.insert(node);
  }
  matchNeeded(needed, unsupported);
  if (unsupported.empty())
    return success();
  llvm::sort(unsupported, [](onnx::NodeOp a, onnx::NodeOp b) {
    return a->isBeforeInBlock(b);
  });
  return reportUnsupported(unsupported);
}

LogicalResult Raiser::reportUnsupported(ArrayRef<onnx::NodeOp> nodes) {
  struct Kind {
    onnx::NodeOp first;
    unsigned count = 0;
  };
  llvm::MapVector<StringRef, Kind> kinds;
  std::vector<std::string> names;
  names.reserve(nodes.size());
  for (onnx::NodeOp node : nodes) {
    StringRef domain =
        node.getDomain().empty() ? StringRef("ai.onnx") : node.getDomain();
    names.push_back(
        (domain + "::" + node.getOpType() + " (" + Twine(node.getSince()) + ")")
            .str());
    Kind &kind = kinds[names.back()];
    if (kind.count++ == 0)
      kind.first = node;
  }
  auto d = emitUserError(graph.main.getLoc(), ErrorCode::UnsupportedOps,
                         "no lowering for " + Twine(kinds.size()) +
                             (kinds.size() == 1 ? " operator" : " operators"));
  for (auto &[name, kind] : kinds) {
    std::string text = (name + ", " + Twine(kind.count) +
                        (kind.count == 1 ? " node: " : " nodes, first: ") +
                        kind.first.getNodeName())
                           .str();
    if (std::string reason = graph.reason(kind.first); !reason.empty())
      text += " (" + reason + ")";
    noteWhy(d, text);
  }
  noteTry(d, "export with the operators as functions "
             "(docs/importing.md#functions), or --stop-after=onnx to look at "
             "the graph");
  return failure();
}

/// A state belongs to the op that was raised for it; nothing else may read it
/// as if it were an input.
LogicalResult Raiser::checkStates() {
  llvm::DenseSet<State *> owned;
  llvm::DenseSet<Value> read;
  for (auto &[op, match] : matches) {
    owned.insert(match.states.begin(), match.states.end());
    for (Value v : match.needs)
      read.insert(graph.view(v).base);
  }
  for (auto &state : graph.states) {
    bool asInput = state->past && read.contains(state->past);
    if (!asInput && (owned.contains(state.get()) || !state->past ||
                     state->past.use_empty()))
      continue;
    auto d =
        emitUserError(graph.main.getLoc(), ErrorCode::BadState,
                      asInput ? "the state '" + Twine(state->pastName) +
                                    "' is read as if it were an input"
                              : "no op that effc recognises owns the state '" +
                                    Twine(state->pastName) + "'");
    for (auto &[op, reason] : graph.reasons) {
      auto node = cast<onnx::NodeOp>(op);
      noteWhy(d, node.getOpType() + " " + node.getNodeName() + ": " + reason);
    }
    noteTry(d, Twine(defaultHint(ErrorCode::BadState)) +
                   "; --states-as-tensors leaves states to the caller");
    return failure();
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Emission
//===----------------------------------------------------------------------===//

/// Node locations of what a match replaces, as one.
static Location fuse(MLIRContext *context, ArrayRef<Operation *> covers) {
  SmallVector<Location> locations;
  for (Operation *op : covers)
    if (op)
      locations.push_back(op->getLoc());
  return locations.size() == 1 ? locations[0]
                               : FusedLoc::get(context, locations);
}

/// Integers of 2 to 7 bits; bools have a byte already.
static bool isPartOfByte(Type element) {
  return element.isInteger() && element.getIntOrFloatBitWidth() > 1 &&
         element.getIntOrFloatBitWidth() < 8;
}

FailureOr<func::FuncOp> Raiser::emit() {
  MLIRContext *context = effModule.getContext();
  auto function = func::FuncOp::create(graph.main.getLoc(), entryName(options),
                                       FunctionType::get(context, {}, {}));
  effModule.push_back(function);
  Block *block = function.addEntryBlock();
  Emitter emitter(graph, effModule, function);
  int64_t capacity = config.maxLength > 0 ? config.maxLength : 2048;
  // A window that masks bound to a short past cannot show never matters for
  // sequences that fit into it.
  if (config.window > 0 && !graph.windowed)
    capacity = std::min(capacity, config.window);
  if (graph.mostTokens > 0)
    capacity = std::min(capacity, graph.mostTokens);
  emitter.capacity =
      options.maxLength > 0 ? std::min(capacity, options.maxLength) : capacity;

  // Arguments: everything that a raised op reads and that is no state.
  llvm::DenseSet<Value> read;
  auto markRead = [&](Value v) { read.insert(graph.view(v).base); };
  for (auto &[op, match] : matches)
    for (Value v : match.needs)
      markRead(v);
  auto ret = cast<func::ReturnOp>(graph.main.getBody().front().getTerminator());
  for (unsigned i : results)
    markRead(ret.getOperand(i));
  SmallVector<Attribute> names;
  SmallVector<bool> unsignedInputs;
  for (BlockArgument arg : graph.main.getArguments()) {
    if (graph.isState(arg) || !read.contains(arg))
      continue;
    Type element = Emitter::elementType(Graph::elementType(arg));
    bool ids = element.isInteger(64) && Graph::rank(arg) == 2 &&
               options.kind != eff::EntryKind::Forward;
    Type type = RankedTensorType::get(
        Graph::shape(arg), ids ? IntegerType::get(context, 32) : element);
    // Integers below a byte come in a byte each.
    bool isPart = isPartOfByte(element);
    Value given = block->addArgument(
        isPart ? RankedTensorType::get(Graph::shape(arg),
                                       IntegerType::get(context, 8))
               : type,
        arg.getLoc());
    auto name = graph.main.getArgAttrOfType<StringAttr>(arg.getArgNumber(),
                                                        "onnx.name");
    names.push_back(name ? name : StringAttr::get(context, "input"));
    unsignedInputs.push_back(Graph::elementType(arg).isUnsignedInteger());
    emitter.define(arg, isPart ? arith::TruncIOp::create(
                                     emitter.builder, arg.getLoc(), type, given)
                                     .getResult()
                               : given);
  }

  for (Operation &op : graph.main.getBody().front()) {
    auto it = matches.find(&op);
    if (it == matches.end())
      continue;
    emitter.loc = fuse(context, it->second.covers);
    if (failed(it->second.emit(emitter)))
      return failure();
  }
  if (failed(emitResults(emitter)) || failed(describeModel(emitter)))
    return failure();
  for (auto [i, name] : llvm::enumerate(names)) {
    function.setArgAttr(i, "eff.name", name);
    if (unsignedInputs[i])
      function.setArgAttr(i, "eff.unsigned", UnitAttr::get(context));
  }
  return function;
}

LogicalResult Raiser::emitResults(Emitter &emitter) {
  auto ret = cast<func::ReturnOp>(graph.main.getBody().front().getTerminator());
  func::FuncOp function = emitter.function;
  SmallVector<Value> values;
  for (unsigned i : results) {
    emitter.loc = ret.getOperand(i).getLoc();
    Value v = ret.getOperand(i), t;
    if (causal)
      t = selectRows(emitter.builder, emitter.tensor(v), options.batch,
                     options.tokens);
    if (causal && !t)
      return emitter.error(
          "the logits are not computed row by row from the last hidden states");
    if (!t)
      t = emitter.tensor(v);
    if (!t)
      return failure();
    auto type = cast<RankedTensorType>(t.getType());
    if (isPartOfByte(type.getElementType())) {
      Type bytes = type.clone(emitter.builder.getI8Type());
      t = Graph::elementType(v).isUnsignedInteger()
              ? arith::ExtUIOp::create(emitter.builder, emitter.loc, bytes, t)
                    .getResult()
              : arith::ExtSIOp::create(emitter.builder, emitter.loc, bytes, t)
                    .getResult();
    }
    values.push_back(t);
  }
  auto end = func::ReturnOp::create(emitter.builder, emitter.loc, values);
  removeEmptyTensors(function);
  values = llvm::to_vector(end.getOperands());
  // What the head was before rows were selected, and whatever else nothing
  // reads.
  bool changed = true;
  while (changed) {
    changed = false;
    for (Operation &op :
         llvm::make_early_inc_range(llvm::reverse(function.getBody().front())))
      if (isOpTriviallyDead(&op)) {
        op.erase();
        changed = true;
      }
  }
  function.setType(FunctionType::get(effModule.getContext(),
                                     function.getBody().getArgumentTypes(),
                                     ValueRange(values).getTypes()));
  for (auto [at, i] : llvm::enumerate(results)) {
    function.setResultAttr(
        at, "eff.name",
        StringAttr::get(effModule.getContext(), resultName(graph.main, i)));
    if (Graph::elementType(ret.getOperand(i)).isUnsignedInteger())
      function.setResultAttr(at, "eff.unsigned",
                             UnitAttr::get(effModule.getContext()));
  }
  return success();
}

static StringRef guessArchitecture(func::FuncOp function) {
  bool ssd = false, ssm = false, rope = false, patches = false;
  function.walk([&](Operation *op) {
    ssd |= isa<eff::SsdScanOp>(op);
    ssm |= isa<eff::SsmScanOp>(op);
    rope |= isa<eff::RopeOp>(op);
    patches |= isa<eff::Conv2DOp>(op);
  });
  return ssd       ? "mamba2"
         : ssm     ? patches ? "vmamba" : "mamba"
         : rope    ? "llama"
         : patches ? "vit"
                   : "generic";
}

LogicalResult Raiser::describeModel(Emitter &emitter) {
  MLIRContext *context = effModule.getContext();
  func::FuncOp function = emitter.function;
  function->setAttr(eff::EffDialect::kEntryAttr,
                    eff::EntryAttr::get(context, options.kind, options.batch,
                                        options.tokens));
  eff::ModelKind kind =
      causal ? eff::ModelKind::CausalLM : eff::ModelKind::Generic;
  FunctionType type = function.getFunctionType();
  if (!causal && type.getNumInputs() == 1 && type.getNumResults() == 1 &&
      cast<ShapedType>(type.getInput(0)).getRank() == 4 &&
      cast<ShapedType>(type.getResult(0)).getRank() == 2)
    kind = eff::ModelKind::ImageClassifier;
  std::string arch = config.modelType.empty()
                         ? guessArchitecture(function).str()
                         : config.modelType;
  bool caches = !effModule.getBody()->getOps<eff::CacheOp>().empty();
  auto model = eff::ModelAttr::get(context, kind, arch, vocab,
                                   caches ? emitter.capacity : 0);
  Attribute existing = effModule->getAttr(eff::EffDialect::kModelAttr);
  if (existing && existing != model) {
    std::string text;
    llvm::raw_string_ostream(text)
        << "one is " << existing << ", the other " << model;
    auto d = emitUserError(function.getLoc(), ErrorCode::CannotRaise,
                           "two entry points disagree about the model");
    noteWhy(d, text);
    noteTry(d, "raise all entry points from the same file and with the same "
               "maximal length");
    return failure();
  }
  effModule->setAttr(eff::EffDialect::kModelAttr, model);
  if (!config.text.empty())
    effModule->setAttr("eff.config", StringAttr::get(context, config.text));
  return success();
}

FailureOr<func::FuncOp> Raiser::run() {
  config = readConfig(onnxModule, options.genaiConfig);
  graph.ropeTheta = config.ropeTheta;
  trustDeclaredShapes(graph.main);
  if (failed(checkStatic()) || failed(graph.pairStates()))
    return failure();
  chooseResults();
  if (failed(select()) || failed(checkStates()))
    return failure();
  return emit();
}

//===----------------------------------------------------------------------===//
// Entry points
//===----------------------------------------------------------------------===//

FailureOr<func::FuncOp> effc::raiseToEff(ModuleOp onnxModule,
                                         ModuleOp effModule,
                                         const RaiseOptions &options) {
  MLIRContext *context = onnxModule.getContext();
  context->loadDialect<eff::EffDialect, arith::ArithDialect, func::FuncDialect,
                       linalg::LinalgDialect, math::MathDialect,
                       scf::SCFDialect, tensor::TensorDialect>();
  auto main = onnxModule.lookupSymbol<func::FuncOp>("main");
  if (!main || main.isExternal()) {
    auto d = emitUserError(onnxModule.getLoc(), ErrorCode::BadGraph,
                           "the module has no graph");
    noteWhy(d, "raising reads a function @main of the onnx dialect");
    return failure();
  }
  std::string name = entryName(options);
  if (effModule.lookupSymbol(name)) {
    emitUserError(main.getLoc(), ErrorCode::BadOption,
                  "the entry point '" + name + "' exists already");
    return failure();
  }
  // A failure leaves the module as it was.
  llvm::DenseSet<Operation *> before;
  for (Operation &op : *effModule.getBody())
    before.insert(&op);
  DictionaryAttr attributes = effModule->getAttrDictionary();
  Raiser raiser(onnxModule, main, effModule, options);
  FailureOr<func::FuncOp> result = raiser.run();
  if (succeeded(result) && succeeded(verify(*result)))
    return result;
  for (Operation &op :
       llvm::make_early_inc_range(llvm::reverse(*effModule.getBody())))
    if (!before.contains(&op))
      op.erase();
  effModule->setAttrs(attributes);
  return failure();
}

bool effc::sameEntry(func::FuncOp a, func::FuncOp b) {
  return a.getFunctionType() == b.getFunctionType() &&
         OperationEquivalence::isRegionEquivalentTo(
             &a.getBody(), &b.getBody(),
             OperationEquivalence::Flags::IgnoreLocations);
}

LogicalResult effc::checkPastIsGone(func::FuncOp entry, ModuleOp other,
                                    const RaiseOptions &options) {
  // With the symbols of the first: a constant of other values becomes another
  // symbol.
  OwningOpRef<ModuleOp> scratch = entry->getParentOfType<ModuleOp>().clone();
  scratch->lookupSymbol(entry.getName())->erase();
  RaiseOptions again = options;
  again.entryName = entry.getName().str();
  FailureOr<func::FuncOp> second = raiseToEff(other, *scratch, again);
  if (failed(second))
    return failure();
  if (sameEntry(entry, *second))
    return success();
  // The first op that differs says where.
  Location where = entry.getLoc();
  std::string what = "the number of operations";
  for (auto [a, b] :
       llvm::zip(entry.getBody().front(), second->getBody().front())) {
    if (a.getName() == b.getName() &&
        a.getAttrDictionary() == b.getAttrDictionary() &&
        a.getResultTypes() == b.getResultTypes())
      continue;
    where = a.getLoc();
    what = a.getName().getStringRef().str();
    if (auto use = dyn_cast<eff::UseOp>(a))
      what = "the constant '" + use.getSymbol().str() + "'";
    break;
  }
  auto d = emitUserError(where, ErrorCode::CannotRaise,
                         "the model computes with the position in a way that "
                         "effc does not recognise");
  noteWhy(d, what + " depends on the number of tokens before the call, which "
                    "is not known at compile time");
  noteTry(d, defaultHint(ErrorCode::CannotRaise));
  return failure();
}
