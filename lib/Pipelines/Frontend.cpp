//===- Frontend.cpp - from a file's graph to entry points -----------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Frontend.h"
#include "ErrorCatcher.h"

#include "effc/Conversion/OnnxToEff/Verify.h"
#include "effc/Dialect/ONNX/Onnx.h"
#include "effc/Frontend/ONNX/Passes.h"
#include "effc/Pipelines/Lower.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringExtras.h"

#include <cmath>
#include <set>

using namespace mlir;
using namespace effc;

/// Tokens that a graph of any length is looked at with: a number that few
/// models have as a size of anything else.
static constexpr int64_t probeTokens = 7;
/// Lengths that show the windows of attention, the first that the graph takes.
static constexpr int64_t longPasts[] = {8191, 1023, 127};
/// An unrecognised scan above this is refused: nodes, and bytes of its values.
static constexpr int64_t mostLiteralNodes = 20000;
static constexpr int64_t mostLiteralBytes = int64_t(1) << 30;
/// Combinations of sizes that a model may be compiled for.
static constexpr size_t mostEntries = 64;

//===----------------------------------------------------------------------===//
// Arguments
//===----------------------------------------------------------------------===//

static StringRef argumentName(func::FuncOp main, unsigned i) {
  auto name = main.getArgAttrOfType<StringAttr>(i, "onnx.name");
  return name ? name.getValue() : StringRef();
}

static bool isIds(StringRef name) {
  return name == "input_ids" || name == "ids" || name == "tokens";
}

/// The argument of token ids; nullopt when there is none of two dimensions.
static std::optional<unsigned> idsOf(func::FuncOp main) {
  for (unsigned i = 0; i < main.getNumArguments(); ++i) {
    auto type = dyn_cast<RankedTensorType>(main.getArgument(i).getType());
    if (isIds(argumentName(main, i)) && type && type.getRank() == 2)
      return i;
  }
  return std::nullopt;
}

/// What the file calls dimension `axis` of an argument, and the size when it
/// is fixed.
static std::string dimName(func::FuncOp main, unsigned i, int64_t axis) {
  auto dims = main.getArgAttrOfType<ArrayAttr>(i, "onnx.dims");
  auto text = dims && axis < int64_t(dims.size())
                  ? dyn_cast<StringAttr>(dims[axis])
                  : StringAttr();
  return text ? text.str() : "";
}

/// Every choice of one value for each name, in the order given.
static std::vector<std::vector<std::string>>
combineDims(ArrayRef<std::string> dims) {
  llvm::MapVector<StringRef, SmallVector<std::string>> values;
  for (const std::string &dim : dims)
    if (auto &known = values[StringRef(dim).rsplit('=').first];
        !llvm::is_contained(known, dim))
      known.push_back(dim);
  std::vector<std::vector<std::string>> combinations(1);
  for (const auto &[name, choices] : values) {
    std::vector<std::vector<std::string>> longer;
    for (const std::vector<std::string> &combination : combinations)
      for (const std::string &choice : choices) {
        if (longer.size() > mostEntries)
          return longer;
        longer.push_back(combination);
        longer.back().push_back(choice);
      }
    combinations = std::move(longer);
  }
  return combinations;
}

/// `forward_b1_height32_width64`: a name of its own for each size.
static std::string nameOfSizes(int64_t batch, ArrayRef<std::string> dims) {
  std::string name = "forward_b" + std::to_string(batch);
  for (const std::string &dim : dims) {
    name += '_';
    llvm::copy_if(dim, std::back_inserter(name),
                  [](char c) { return llvm::isAlnum(c) || c == '_'; });
  }
  return name;
}

llvm::Expected<std::vector<RaiseOptions>>
Frontend::chooseEntries(ModuleOp onnx) const {
  // A model that takes token ids and keeps states generates; everything else
  // goes forward.
  bool ids = false, states = false;
  if (auto main = onnx.lookupSymbol<func::FuncOp>("main"))
    for (unsigned i = 0; i < main.getNumArguments(); ++i) {
      StringRef name = argumentName(main, i);
      ids |= isIds(name);
      states |=
          name.starts_with("past") || name.starts_with("cache_params.past");
    }
  states |= !options.statePairs.empty();
  std::vector<RaiseOptions> entries;
  auto add = [&](eff::EntryKind kind, int64_t batch, int64_t tokens,
                 const std::vector<std::string> &dims) {
    RaiseOptions entry;
    entry.dims = dims;
    entry.kind = kind;
    entry.batch = batch;
    entry.tokens = tokens;
    // With one token in the cache, the first row of a position table is that of
    // position 1. Without states nothing comes before the call.
    entry.past = states ? 1 : 0;
    entry.maxLength = options.maxLength;
    entry.statePairs = options.statePairs;
    entries.push_back(entry);
  };
  bool generates = ids && states && !options.statesAsTensors;
  std::vector<std::vector<std::string>> sizes = combineDims(options.dims);
  if (sizes.size() > (generates ? 1 : mostEntries))
    return makeError(ErrorCode::BadOption, "too many sizes of dimensions", {},
                     generates ? "a model that generates has one size for each"
                               : "at most " + std::to_string(mostEntries) +
                                     " combinations become entry points",
                     "give fewer values with --dim");
  for (int64_t batch : options.batches)
    for (const std::vector<std::string> &dims : sizes) {
      add(generates ? eff::EntryKind::Decode : eff::EntryKind::Forward, batch,
          generates || fixedTokens == 0 ? 1 : fixedTokens, dims);
      if (sizes.size() > 1)
        entries.back().entryName = nameOfSizes(batch, dims);
    }
  if (generates && !decodeOnly)
    for (int64_t tokens : options.prefill)
      if (options.maxLength == 0 || tokens <= options.maxLength)
        add(eff::EntryKind::Prefill, 1, tokens, sizes.front());
  return entries;
}

//===----------------------------------------------------------------------===//
// Binding
//===----------------------------------------------------------------------===//

llvm::Expected<OwningOpRef<ModuleOp>>
Frontend::tryBind(ModuleOp onnx, int64_t batch, int64_t tokens, int64_t past,
                  ArrayRef<std::string> dims, bool keepMask) {
  OwningOpRef<ModuleOp> bound = onnx.clone();
  PassManager pm(&context);
  OnnxBindPassOptions bind;
  bind.batch = batch;
  bind.tokens = tokens;
  bind.past = past;
  bind.keepMask = keepMask;
  bind.dims.assign(dims.begin(), dims.end());
  pm.addPass(createOnnxBindPass(bind));
  pm.addPass(createOnnxSimplifyPass());
  if (llvm::Error error =
          runPasses(pm, *bound, "simplifying the graph", observer.warning))
    return std::move(error);
  return bound;
}

llvm::Expected<OwningOpRef<ModuleOp>>
Frontend::bind(ModuleOp onnx, const RaiseOptions &entry) {
  // What goes forward once may be padded; what generates has its lengths from
  // the runtime.
  bool keepMask = entry.kind == eff::EntryKind::Forward;
  auto bound = tryBind(onnx, entry.batch, entry.tokens, entry.past, entry.dims,
                       keepMask);
  if (bound || entry.batch == 1)
    return bound;
  // A batch that the file calls free and that works for one alone.
  llvm::Error error = bound.takeError();
  auto single =
      tryBind(onnx, 1, entry.tokens, entry.past, entry.dims, keepMask);
  if (!single) {
    llvm::consumeError(single.takeError());
    return std::move(error);
  }
  auto main = onnx.lookupSymbol<func::FuncOp>("main");
  std::string symbol;
  for (unsigned i = 0; i < main.getNumArguments() && symbol.empty(); ++i)
    symbol = dimName(main, i, 0);
  if (symbol.empty())
    return std::move(error);
  UserError named(ErrorCode::DishonestSymbol, "");
  llvm::handleAllErrors(std::move(error), [&](const UserError &e) {
    named = UserError(
        ErrorCode::DishonestSymbol,
        "the file declares the dimension '" + symbol +
            "' as free, but its graph is right for 1 alone",
        e.where,
        "with " + std::to_string(entry.batch) + ": " + e.what +
            (e.why.empty() ? "" : " (" + e.why + ")"),
        "export with an example batch of 2 or more, compile with --batch 1, or "
        "let --relax-seq free a model of scans");
  });
  return llvm::make_error<UserError>(std::move(named));
}

std::map<std::string, int64_t> Frontend::findWindows(ModuleOp onnx,
                                                     RaiseOptions entry) {
  std::map<std::string, int64_t> windows;
  auto main = onnx.lookupSymbol<func::FuncOp>("main");
  bool hasMasks = false;
  if (main)
    main.walk([&](onnx::NodeOp node) {
      hasMasks |= node.is("Softmax") || node.is("Attention");
    });
  if (!hasMasks || entry.kind == eff::EntryKind::Forward)
    return windows;
  entry.batch = entry.tokens = 1;
  entry.kind = eff::EntryKind::Decode;
  CompileObserver quiet;
  CompileResult ignored;
  Frontend probe(context, options, quiet, ignored);
  probe.mayHaveScans = mayHaveScans;
  for (int64_t past : longPasts) {
    if (options.maxLength > 0 && past >= options.maxLength)
      past = options.maxLength - 1;
    entry.past = past;
    auto bound = probe.bind(onnx, entry);
    if (!bound) { // a table of positions ends before
      llvm::consumeError(bound.takeError());
      continue;
    }
    if (llvm::Error error = probe.raiseScansOf(**bound)) {
      llvm::consumeError(std::move(error));
      continue;
    }
    OwningOpRef<ModuleOp> raised = ModuleOp::create(onnx.getLoc());
    ErrorCatcher errors(context, nullptr);
    auto function = raiseToEff(**bound, *raised, entry);
    if (failed(function)) {
      llvm::consumeError(errors.take("looking for windows"));
      continue;
    }
    function->walk([&](eff::AttentionOp attention) {
      auto use = attention.getKey().getDefiningOp<eff::UseOp>();
      Operation *cache = use ? raised->lookupSymbol(use.getSymbol()) : nullptr;
      auto name =
          cache ? cache->getAttrOfType<StringAttr>("eff.past") : StringAttr();
      if (name && attention.getWindow() > 0)
        windows[name.str()] = attention.getWindow();
    });
    break;
  }
  return windows;
}

/// Numbers of tokens that a graph may have been exported with: sizes that its
/// results declare, operands of long Concats, sizes in its Reshapes.
static std::set<int64_t> likelyLengths(func::FuncOp main) {
  std::set<int64_t> out;
  for (unsigned i = 0; i < main.getNumResults(); ++i)
    if (auto dims = main.getResultAttrOfType<ArrayAttr>(i, "onnx.dims"))
      for (Attribute dim : dims)
        if (auto size = dyn_cast<IntegerAttr>(dim))
          out.insert(size.getInt());
  main.walk([&](onnx::NodeOp node) {
    if (node.is("Concat") && node->getNumOperands() >= 2)
      out.insert(node->getNumOperands());
    if (!node.is("Reshape") && !node.is("Slice") && !node.is("Expand"))
      return;
    for (Value v : node.getInputs().drop_front())
      if (auto constant = v.getDefiningOp<onnx::ConstantOp>())
        if (auto elements = dyn_cast<DenseElementsAttr>(constant.getValue());
            elements && elements.getElementType().isInteger(64))
          for (const APInt &x : elements.getValues<APInt>())
            out.insert(x.getSExtValue());
  });
  while (!out.empty() && *out.begin() < 1)
    out.erase(out.begin());
  while (!out.empty() && *out.rbegin() > 4096)
    out.erase(std::prev(out.end()));
  return out;
}

/// Binds to one sequence of a length that the graph takes.
llvm::Expected<OwningOpRef<ModuleOp>> Frontend::bindAnyLength(ModuleOp onnx,
                                                              int64_t &tokens) {
  auto main = onnx.lookupSymbol<func::FuncOp>("main");
  auto ids = idsOf(main);
  auto type = ids ? cast<RankedTensorType>(main.getArgument(*ids).getType())
                  : RankedTensorType();
  if (type && !type.isDynamicDim(1)) {
    tokens = fixedTokens = type.getDimSize(1);
    return tryBind(onnx, 1, tokens, 1);
  }
  tokens = probeTokens;
  auto bound = tryBind(onnx, 1, tokens, 1);
  if (bound || !ids)
    return bound;
  llvm::Error error = bound.takeError();
  std::string where;
  error = llvm::handleErrors(std::move(error), [&](const UserError &e) {
    where = e.where;
    return llvm::make_error<UserError>(e);
  });
  unsigned tried = 0;
  CompileObserver quiet;
  for (int64_t length : likelyLengths(main)) {
    if (++tried > 64)
      break;
    auto fixed =
        Frontend(context, options, quiet, result).tryBind(onnx, 1, length, 1);
    if (!fixed) {
      llvm::consumeError(fixed.takeError());
      continue;
    }
    llvm::consumeError(std::move(error));
    tokens = fixedTokens = length;
    fixedBy = where;
    if (observer.warning && !options.relaxSequence)
      observer.warning("the file declares the dimension '" +
                       dimName(main, *ids, 1) + "' as free, but '" + where +
                       "' fixes it at " + std::to_string(length) +
                       ": compiled for that length; --relax-seq frees it");
    return fixed;
  }
  return std::move(error);
}

//===----------------------------------------------------------------------===//
// Scans
//===----------------------------------------------------------------------===//

llvm::Expected<int64_t> Frontend::lengthOf(ModuleOp onnx, std::string &why) {
  fixedTokens = 0;
  int64_t tokens;
  auto bound = bindAnyLength(onnx, tokens);
  if (!bound)
    return bound.takeError();
  why = fixedBy.empty() ? "" : "'" + fixedBy + "' fixes it";
  return fixedTokens;
}

static std::string mebibytes(int64_t bytes) {
  return std::to_string(bytes >> 20) + " MiB";
}

llvm::Error Frontend::raiseScansOf(ModuleOp bound) {
  if (!mayHaveScans)
    return llvm::Error::success();
  RaiseScansOptions scans;
  scans.cumulativeSums = options.raiseCumulativeSums;
  std::vector<ScanReport> found = raiseScans(bound, scans);
  if (result.scans.empty())
    result.scans = found;
  for (const ScanReport &r : found) {
    bool large = r.nodes > mostLiteralNodes || r.bytes > mostLiteralBytes;
    if (r.why.empty() || !large || options.allowLiteralScan)
      continue;
    return makeError(
        ErrorCode::LiteralScan,
        "a scan was not recognised and is too large to compute as written",
        r.anchor,
        r.why + "; as written it takes " + std::to_string(r.nodes) +
            " nodes and " + mebibytes(r.bytes) +
            " of values in each call, where the scan keeps one state",
        defaultHint(ErrorCode::LiteralScan));
  }
  return llvm::Error::success();
}

static double differenceOf(ArrayRef<double> have, ArrayRef<double> want) {
  double largest = 1e-30, worst = 0;
  for (auto [x, y] : llvm::zip(have, want)) {
    largest = std::max(largest, std::abs(y));
    worst = std::isfinite(x) ? std::max(worst, std::abs(x - y)) : HUGE_VAL;
  }
  return worst / largest;
}

/// The first result of both graphs on the same tokens: all of them in a batch
/// of two, and fewer in one of one.
llvm::Error Frontend::checkRelaxed(ModuleOp literal, ModuleOp relaxed,
                                   int64_t tokens) {
  auto main = literal.lookupSymbol<func::FuncOp>("main");
  if (main.getNumArguments() != 1 || main.getNumResults() < 1)
    return llvm::Error::success();
  auto idAt = [](int64_t i) { return (37 * i + 11) % 97; };
  auto inputsOf = [&](func::FuncOp f, int64_t length) {
    std::vector<onnx::HostTensor> inputs;
    for (BlockArgument arg : f.getArguments()) {
      auto type = cast<RankedTensorType>(arg.getType());
      onnx::HostTensor t(type.getElementType(), type.getShape());
      for (auto [i, x] : llvm::enumerate(t.ints))
        x = idAt(int64_t(i) % length + (int64_t(i) < length ? 0 : 500));
      inputs.push_back(std::move(t));
    }
    return inputs;
  };
  auto expected = evaluateGraph(main, inputsOf(main, tokens));
  if (!expected) { // quantised weights, say: the scans alone were checked
    llvm::consumeError(expected.takeError());
    return llvm::Error::success();
  }
  const onnx::HostTensor &want = expected->front();
  for (auto [batch, length] :
       {std::pair<int64_t, int64_t>{2, tokens},
        std::pair<int64_t, int64_t>{1, std::max<int64_t>(tokens - 2, 1)}}) {
    auto bound = tryBind(relaxed, batch, length, 1);
    if (!bound)
      return bound.takeError();
    auto f = (*bound)->lookupSymbol<func::FuncOp>("main");
    auto found = evaluateGraph(f, inputsOf(f, length));
    if (!found)
      return found.takeError();
    const onnx::HostTensor &have = found->front();
    size_t count = want.floats.size() / size_t(tokens) * size_t(length);
    if (have.floats.size() < count || want.rank() < 2 ||
        want.shape[1] != tokens)
      return makeError(ErrorCode::FixedLength,
                       "the first result has no tokens in dimension 1");
    double error = differenceOf(ArrayRef(have.floats).take_front(count),
                                ArrayRef(want.floats).take_front(count));
    if (!(error < 1e-4))
      return makeError(ErrorCode::FixedLength,
                       "the graph with a free number of tokens computes "
                       "something else",
                       "",
                       "the difference is " + std::to_string(error) +
                           " with a batch of " + std::to_string(batch) +
                           " and " + std::to_string(length) + " tokens");
    result.verified.push_back({"relaxed to batch " + std::to_string(batch) +
                                   ", tokens " + std::to_string(length),
                               error, 0});
  }
  return llvm::Error::success();
}

static bool hasOwnStates(func::FuncOp main) {
  for (unsigned i = 0; i < main.getNumArguments(); ++i)
    if (argumentName(main, i).starts_with("past_states."))
      return true;
  return false;
}

llvm::Expected<OwningOpRef<ModuleOp>>
Frontend::prepare(OwningOpRef<ModuleOp> onnx) {
  auto main = onnx->lookupSymbol<func::FuncOp>("main");
  bool wants = options.relaxSequence || options.addStates;
  if (main)
    main.walk([&](onnx::NodeOp node) { mayHaveScans |= node.is("Exp"); });
  if (!main || !idsOf(main) || (!mayHaveScans && !wants))
    return std::move(onnx);
  bool hadStates = hasOwnStates(main);
  int64_t tokens;
  auto bound = bindAnyLength(*onnx, tokens);
  if (!bound) {
    if (wants || fixedTokens)
      return bound.takeError();
    llvm::consumeError(bound.takeError()); // entry points say it better
    return std::move(onnx);
  }
  OwningOpRef<ModuleOp> literal;
  if (wants)
    literal = (*bound)->clone();
  RaiseScansOptions scans;
  scans.cumulativeSums = options.raiseCumulativeSums;
  result.scans = raiseScans(**bound, scans);
  bool anyScan = llvm::any_of(
      result.scans, [](const ScanReport &r) { return r.why.empty(); });
  auto boundMain = (*bound)->lookupSymbol<func::FuncOp>("main");
  bool converted = !hadStates && hasOwnStates(boundMain);
  if (!converted && !wants)
    return std::move(onnx);
  if (!anyScan && wants && fixedTokens == 0)
    return std::move(onnx); // nothing to free, nothing to add
  if (fixedTokens > 1 && options.addStates && !options.relaxSequence)
    return makeError(
        ErrorCode::FixedLength,
        "the file fixes the number of tokens at " + std::to_string(fixedTokens),
        argumentName(main, *idsOf(main)),
        "a model with states takes one token at a time too", "add --relax-seq");
  RelaxOptions relax;
  relax.states = options.addStates || converted;
  {
    ErrorCatcher errors(context, observer.warning);
    if (failed(relaxGraph(**bound, relax)))
      return errors.take("freeing the number of tokens");
  }
  if (literal && !converted)
    if (llvm::Error error = checkRelaxed(*literal, **bound, tokens))
      return std::move(error);
  decodeOnly = converted && !options.relaxSequence && fixedTokens == 1;
  if (options.relaxSequence)
    fixedTokens = 0;
  if (Attribute metadata = (*onnx)->getAttr("onnx.metadata"))
    (**bound)->setAttr("onnx.metadata", metadata);
  return std::move(*bound);
}
