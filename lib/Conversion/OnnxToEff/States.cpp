//===- States.cpp - pairing past and present ------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Graph.h"

#include "effc/Support/Error.h"

#include "llvm/ADT/SmallBitVector.h"
#include "llvm/ADT/StringSwitch.h"

#include <map>

using namespace mlir;
using namespace effc;
using namespace effc::raise;

namespace {
/// What a state's name says.
struct StateName {
  int64_t layer;
  std::string part;
  bool operator<(const StateName &o) const {
    return std::tie(layer, part) < std::tie(o.layer, o.part);
  }
};

/// Names in the wild: `{}` is the layer, `*` the part.
constexpr llvm::StringLiteral pastNames[] = {
    "past_key_values.{}.*", "past_states.{}.*", "past.{}.*", "past_*.{}",
    "cache_params.past.*.{}"};
constexpr llvm::StringLiteral presentNames[] = {
    "present.{}.*", "present_states.{}.*", "present_key_values.{}.*",
    "present_*.{}", "cache_params.present.*.{}"};

/// The one name of each part.
std::string partOf(StringRef name) {
  return llvm::StringSwitch<std::string>(name)
      .Case("key", "key")
      .Case("value", "value")
      .Cases({"conv", "conv_state"}, "conv")
      .Cases({"ssm", "ssm_state", "recurrent", "recurrent_state"}, "ssm")
      .Default("");
}

std::optional<StateName> match(StringRef name, StringRef pattern) {
  StateName out{-1, ""};
  while (!pattern.empty()) {
    if (pattern.consume_front("{}")) {
      size_t digits = name.find_first_not_of("0123456789");
      if (digits == 0 || name.take_front(digits).getAsInteger(10, out.layer))
        return std::nullopt;
      name = name.substr(digits);
    } else if (pattern.consume_front("*")) {
      size_t end =
          pattern.empty() ? StringRef::npos : name.find(pattern.front());
      out.part = partOf(name.take_front(end));
      if (out.part.empty())
        return std::nullopt;
      name = name.substr(end);
    } else {
      if (name.empty() || name.front() != pattern.front())
        return std::nullopt;
      name = name.drop_front();
      pattern = pattern.drop_front();
    }
  }
  return name.empty() ? std::optional(out) : std::nullopt;
}

template <size_t N>
std::optional<StateName> match(StringRef name,
                               const llvm::StringLiteral (&patterns)[N]) {
  for (StringRef pattern : patterns)
    if (auto found = match(name, pattern))
      return found;
  return std::nullopt;
}

/// The operand that carries the state into an op whose result `present` carries
/// it out, or null.
Value stateOperand(onnx::NodeOp node, Value present) {
  auto slot = [&](unsigned result, unsigned operand) {
    return node->getNumResults() > result && node->getResult(result) == present
               ? node.getInput(operand)
               : Value();
  };
  if (node.is("Concat") && node->getNumOperands() == 2)
    return node.getInput(0);
  if (node.is("Slice")) // the last columns of Concat(past, x)
    if (auto concat = node.getInput(0).getDefiningOp<onnx::NodeOp>();
        concat && concat.is("Concat"))
      return concat.getInput(0);
  if (node.is("Attention"))
    return node->getResult(0) == present ? Value()
           : slot(1, 4)                  ? slot(1, 4)
                                         : slot(2, 5);
  if (node.is("GroupQueryAttention", "com.microsoft"))
    return slot(1, 3) ? slot(1, 3) : slot(2, 4);
  if (node.is("Scan")) { // its first results are its states, which its first
                         // operands start
    unsigned result = cast<OpResult>(present).getResultNumber();
    int64_t scanned = node.getInt("num_scan_inputs", 0);
    return result + scanned < node->getNumOperands() ? node.getInput(result)
                                                     : Value();
  }
  StringRef type = node.getOpType();
  return llvm::StringSwitch<Value>(type)
      .Case("LinearAttention", slot(1, 3))
      .Cases({"CausalConvWithState", "CausalConv1d"}, slot(1, 3))
      .Cases({"SelectiveScan", "SSDScan"}, slot(1, 5))
      .Default(Value());
}

std::string nameOfArg(func::FuncOp main, unsigned i) {
  auto name = main.getArgAttrOfType<StringAttr>(i, "onnx.name");
  return name ? name.str() : "";
}

std::string nameOfResult(func::FuncOp main, unsigned i) {
  auto name = main.getResultAttrOfType<StringAttr>(i, "onnx.name");
  return name ? name.str() : "";
}
} // namespace

LogicalResult Graph::pairStates() {
  // Tensors in, tensors out: what a past was is an input, what a present is a
  // result.
  if (options.kind == eff::EntryKind::Forward)
    return success();
  auto ret = cast<func::ReturnOp>(main.getBody().front().getTerminator());
  unsigned inputs = main.getNumArguments(), outputs = ret.getNumOperands();
  std::map<std::string, unsigned> outputByName;
  std::map<StateName, SmallVector<unsigned>> outputByMeaning;
  for (unsigned i = 0; i < outputs; ++i) {
    std::string name = nameOfResult(main, i);
    outputByName[name] = i;
    if (auto meaning = match(name, presentNames))
      outputByMeaning[*meaning].push_back(i);
  }
  auto bad = [&](const Twine &what) {
    return emitUserError(main.getLoc(), ErrorCode::BadState, what);
  };

  llvm::SmallBitVector takenInput(inputs), takenOutput(outputs);
  auto pair = [&](unsigned in, unsigned out, const StateName &meaning) {
    takenInput.set(in);
    takenOutput.set(out);
    auto state = std::make_unique<State>();
    state->past = main.getArgument(in);
    state->present = strip(ret.getOperand(out));
    state->pastName = nameOfArg(main, in);
    state->presentName = nameOfResult(main, out);
    state->part = meaning.part;
    state->layer = meaning.layer;
    states.push_back(std::move(state));
  };

  // 1. What the user says.
  for (const auto &[past, present] : options.statePairs) {
    unsigned in = 0;
    while (in < inputs && nameOfArg(main, in) != past)
      ++in;
    auto out = outputByName.find(present);
    if (in == inputs || out == outputByName.end()) {
      std::string names;
      for (unsigned i = 0; i < (in == inputs ? inputs : outputs); ++i)
        names += (i ? ", " : "") +
                 (in == inputs ? nameOfArg(main, i) : nameOfResult(main, i));
      auto d = bad("no " + Twine(in == inputs ? "input" : "output") +
                   " is named '" + (in == inputs ? past : present) + "'");
      noteWhy(d, "the " + Twine(in == inputs ? "inputs" : "outputs") + " are " +
                     names);
      return failure();
    }
    auto meaning = match(past, pastNames);
    pair(in, out->second, meaning ? *meaning : StateName{-1, ""});
  }
  // 2. Names.
  for (unsigned in = 0; in < inputs; ++in) {
    auto meaning = match(nameOfArg(main, in), pastNames);
    if (!meaning || takenInput[in])
      continue;
    SmallVector<unsigned> candidates;
    for (unsigned out : outputByMeaning[*meaning])
      if (!takenOutput[out])
        candidates.push_back(out);
    if (candidates.size() > 1) {
      auto d = bad("the past input '" + Twine(nameOfArg(main, in)) +
                   "' has several presents");
      std::string names;
      for (unsigned out : candidates)
        names += (names.empty() ? "" : ", ") + nameOfResult(main, out);
      noteWhy(d, "candidates: " + names);
      noteTry(d, defaultHint(ErrorCode::BadState));
      return failure();
    }
    if (candidates.size() == 1)
      pair(in, candidates[0], *meaning);
  }
  // 3. The flow of data.
  for (unsigned out = 0; out < outputs; ++out) {
    if (takenOutput[out])
      continue;
    Value present = strip(ret.getOperand(out));
    auto node = present.getDefiningOp<onnx::NodeOp>();
    Value from = node ? stateOperand(node, present) : Value();
    auto arg = from ? dyn_cast<BlockArgument>(strip(from)) : BlockArgument();
    if (!arg ||
        Graph::elementType(arg) != Graph::elementType(ret.getOperand(out)))
      continue;
    unsigned in = arg.getArgNumber();
    if (takenInput[in]) {
      auto d = bad("the input '" + Twine(nameOfArg(main, in)) +
                   "' seems to be the past of two outputs");
      std::string names = nameOfResult(main, out);
      for (auto &state : states)
        if (state->past == arg)
          names = state->presentName + ", " + names;
      noteWhy(d, "candidates: " + names);
      noteTry(d, defaultHint(ErrorCode::BadState));
      return failure();
    }
    auto meaning = match(nameOfArg(main, in), pastNames);
    pair(in, out, meaning ? *meaning : StateName{-1, ""});
  }
  // An input with a state's name and no present is a mistake worth naming.
  for (unsigned in = 0; in < inputs; ++in) {
    if (takenInput[in] || !match(nameOfArg(main, in), pastNames) ||
        main.getArgument(in).use_empty())
      continue;
    auto d = bad("the past input '" + Twine(nameOfArg(main, in)) +
                 "' has no present output");
    std::string names;
    for (unsigned out = 0; out < outputs; ++out)
      if (!takenOutput[out])
        names += (names.empty() ? "" : ", ") + nameOfResult(main, out);
    noteWhy(d, names.empty() ? "every output belongs to another input"
                             : "outputs without a past: " + Twine(names));
    noteTry(d, defaultHint(ErrorCode::BadState));
    return failure();
  }
  return success();
}

bool Graph::isState(Value v) {
  Value arg = strip(v);
  return llvm::any_of(states,
                      [&](auto &s) { return s->past && s->past == arg; });
}

State *Graph::state(Value past, Value present, StringRef part) {
  Value from = strip(past), to = present ? strip(present) : Value();
  for (auto &s : states) {
    if (s->past != from)
      continue;
    if (s->present && to && s->present != to) {
      Operation *op = to.getDefiningOp();
      note(op, "'" + s->pastName + "' is read here, but its present '" +
                   s->presentName + "' is made elsewhere");
      return nullptr;
    }
    if (s->part.empty())
      s->part = part;
    return s.get();
  }
  // A graph without this input: zeros, which is how every state starts.
  if (!isConstant(past))
    return nullptr;
  for (auto &s : states)
    if (!s->past && s->present == to)
      return s.get();
  auto values = numbers(past);
  if (!values || llvm::any_of(*values, [](double x) { return x != 0; }))
    return nullptr;
  auto s = std::make_unique<State>();
  s->present = to;
  s->part = part;
  states.push_back(std::move(s));
  return states.back().get();
}
