//===- ScanRegion.cpp - a Scan and the products that feed it --------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "ScanRegion.h"
#include "Recurrence.h"

#include "effc/Frontend/ONNX/Eval.h"

#include <cmath>

using namespace mlir;
using namespace effc;
using namespace effc::raise;
using onnx::HostTensor;

/// Steps that are evaluated: the body is the same in each.
static constexpr int64_t mostSteps = 3;
/// Most numbers of states that are evaluated in one run.
static constexpr int64_t mostElements = int64_t(1) << 24;

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

static bool isZero(std::optional<SmallVector<int64_t>> list) {
  return !list || llvm::all_of(*list, [](int64_t x) { return x == 0; });
}

std::optional<std::string> ScanRegion::read() {
  int64_t scanned = scan.getInt("num_scan_inputs", 0);
  if (scan.getSince() < 9 || scan.getSubgraphs().size() != 1 || scanned < 1 ||
      int64_t(scan->getNumOperands()) != scanned + 1 ||
      scan->getNumResults() != 2 || !scan.getOutput(1))
    return "it does not carry one state and collect one result";
  if (!isZero(scan.getInts("scan_input_directions")) ||
      !isZero(scan.getInts("scan_output_directions")))
    return "it does not run forward";
  Block &body = scan.getSubgraphs().front().front();
  if (int64_t(body.getNumArguments()) != scanned + 1 ||
      body.getTerminator()->getNumOperands() != 2)
    return "its body does not fit it";
  for (Value v : body.getTerminator()->getOperands()) {
    auto type = dyn_cast<RankedTensorType>(v.getType());
    if (!type || !type.hasStaticShape())
      return "its body has no static shape";
  }
  for (Value v : scan.getInputs())
    if (!Graph::isFloat(v))
      return "it scans what are no floats";
  stateShape.assign(Graph::shape(scan.getInput(0)));
  resultShape.assign(Graph::shape(body.getTerminator()->getOperand(1)));
  if (stateShape.size() < 3 || resultShape.empty() ||
      resultShape[0] != stateShape[0])
    return "its state and its result have no batch dimension";
  batch = stateShape[0];
  auto of = [&](StringRef name, unsigned i) {
    auto list = scan.getInts(name);
    return list && i < list->size() ? (*list)[i] : 0;
  };
  for (int64_t i = 0; i < scanned; ++i) {
    Value v = scan.getInput(i + 1);
    int64_t axis = of("scan_input_axes", i), rank = Graph::rank(v);
    axes.push_back(axis < 0 ? axis + rank : axis);
    tokens = Graph::shape(v)[axes.back()];
    if (Graph::rank(body.getArgument(i + 1)) != rank - 1)
      return "its body does not fit it";
  }
  resultAxis = of("scan_output_axes", 0);
  if (resultAxis < 0)
    resultAxis += int64_t(resultShape.size()) + 1;
  steps = std::min(tokens, mostSteps);
  if (tokens < 1 || numElements(stateShape) * steps > mostElements)
    return "its state is too large to check what it computes";
  if (!capture(body))
    return "its body reads values from outside that are not constant";
  for (int64_t i = 0; i < scanned; ++i)
    collect(scan.getInput(i + 1), false);
  // dt * u is one value in some files and two in others.
  bool changed = true;
  while (changed) {
    changed = false;
    for (Value leaf : leaves) {
      auto mul = graph.node(leaf, "Mul");
      bool shared = mul && llvm::any_of(mul.getInputs(), [&](Value v) {
                      return leaves.contains(graph.view(v).base);
                    });
      if (!shared)
        continue;
      leaves.remove(leaf);
      expanded.insert(leaf);
      for (Value v : mul.getInputs())
        collect(v, false);
      changed = true;
      break;
    }
  }
  for (auto [i, leaf] : llvm::enumerate(leaves))
    ids[leaf] = i + 1;
  return std::nullopt;
}

/// Reads what the body takes from outside or holds itself as constants.
bool ScanRegion::capture(Block &body) {
  for (Operation &op : body.without_terminator()) {
    for (Value v : op.getOperands()) {
      bool inner = isa<BlockArgument>(v) ? v.getParentBlock() == &body
                                         : v.getDefiningOp<onnx::NodeOp>() &&
                                               v.getParentBlock() == &body;
      if (inner || isa<NoneType>(v.getType()) || captured.count(v))
        continue;
      if (auto constant = v.getDefiningOp<onnx::ConstantOp>()) {
        auto t = HostTensor::read(constant.getValue());
        if (failed(t))
          return false;
        if (t->isFloat())
          constants.insert(v);
        captured[v] = std::move(*t);
        continue;
      }
      auto elements = graph.isConstant(v) && Graph::isFloat(v)
                          ? graph.numbers(v)
                          : std::nullopt;
      if (!elements)
        return false;
      HostTensor t(Graph::elementType(v), Graph::shape(v));
      t.floats = std::move(*elements);
      constants.insert(v);
      captured[v] = std::move(t);
    }
  }
  return true;
}

/// Whether a node is part of the region. What is as large as all states is; so
/// is an exponential with its scaling by a constant.
bool ScanRegion::expand(onnx::NodeOp node, bool exponent) {
  if (!node || !node.getDomain().empty())
    return false;
  bool full = numElements(Graph::shape(node->getResult(0))) >=
              numElements(stateShape) * tokens;
  if (node.is("Exp"))
    return true;
  if (node.is("Neg"))
    return full || exponent;
  bool scaled = exponent && llvm::any_of(node.getInputs(), [&](Value v) {
                  return graph.isConstant(v);
                });
  return node.is("Mul") && (full || scaled);
}

void ScanRegion::collect(Value v, bool exponent) {
  Value from = graph.view(v).base;
  if (graph.isConstant(from)) {
    constants.insert(v);
    return;
  }
  auto node = from.getDefiningOp<onnx::NodeOp>();
  if (!expand(node, exponent)) {
    leaves.insert(from);
    return;
  }
  if (!expanded.insert(from).second)
    return;
  bool scaled = node.is("Mul") && llvm::any_of(node.getInputs(), [&](Value x) {
                  return graph.isConstant(x);
                });
  for (Value x : node.getInputs())
    collect(x, node.is("Exp") || (exponent && !scaled));
}

int64_t ScanRegion::numNodes() {
  auto body = scan.getSubgraphs().front().getOps<onnx::NodeOp>();
  return int64_t(expanded.size()) + std::distance(body.begin(), body.end());
}

std::vector<View> ScanRegion::placements(Value leaf) const {
  return placeTokens(leaf, batch, tokens);
}

//===----------------------------------------------------------------------===//
// Evaluating
//===----------------------------------------------------------------------===//

static int64_t offsetOf(const Strided &dims, ArrayRef<int64_t> index) {
  int64_t offset = 0;
  for (auto [factors, at] : llvm::zip_equal(dims.dims, index)) {
    int64_t rest = at;
    for (Factor f : llvm::reverse(factors)) {
      offset += rest % f.size * f.stride;
      rest /= f.size;
    }
  }
  return offset;
}

double ScanRegion::base(Value v, int64_t offset) {
  if (graph.isConstant(v)) {
    auto [it, isNew] = numbers.try_emplace(v);
    if (isNew)
      it->second = graph.numbers(v).value_or(std::vector<double>());
    return offset < int64_t(it->second.size()) ? it->second[offset] : NAN;
  }
  if (!expanded.contains(v)) {
    NumberRange r = v == specialLeaf ? special : range;
    return double(float(r.low + (r.high - r.low) *
                                    randomAt(seed, ids.lookup(v), offset)));
  }
  auto node = v.getDefiningOp<onnx::NodeOp>();
  ArrayRef<int64_t> shape = Graph::shape(v);
  SmallVector<int64_t> index(shape.size());
  for (size_t d = shape.size(); d-- > 0; offset /= shape[d])
    index[d] = offset % shape[d];
  double x = element(node.getInput(0), index);
  return node.is("Exp")   ? std::exp(x)
         : node.is("Neg") ? -x
                          : x * element(node.getInput(1), index);
}

double ScanRegion::element(Value v, ArrayRef<int64_t> index) {
  ArrayRef<int64_t> shape = Graph::shape(v);
  SmallVector<int64_t> at(index.take_back(shape.size()));
  for (auto [i, d] : llvm::zip_equal(at, shape))
    if (d == 1)
      i = 0;
  View w = graph.view(v);
  return base(w.base, offsetOf(w.dims, at));
}

std::vector<double> ScanRegion::values(const View &placed) {
  int64_t count = placed.dims.size(2);
  std::vector<double> out;
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t t = 0; t < steps; ++t)
      for (int64_t i = 0; i < count; ++i)
        out.push_back(base(placed.base, offsetOf(placed.dims, {b, t, i})));
  return out;
}

std::optional<ScanRegion::Trace> ScanRegion::run(uint64_t newSeed,
                                                 NumberRange all, Value one,
                                                 NumberRange ofOne) {
  seed = newSeed;
  range = all;
  specialLeaf = one;
  special = ofOne;
  Block &body = scan.getSubgraphs().front().front();
  Trace trace;
  HostTensor state(Graph::elementType(body.getArgument(0)), stateShape);
  for (auto [i, x] : llvm::enumerate(state.floats))
    x = range.low + (range.high - range.low) * randomAt(seed, 0, i);
  state.round();
  trace.states.push_back(state.floats);
  for (int64_t t = 0; t < steps; ++t) {
    llvm::DenseMap<Value, HostTensor> env;
    env[body.getArgument(0)] = state;
    for (auto [i, axis] : llvm::enumerate(axes)) {
      Value v = scan.getInput(i + 1), argument = body.getArgument(i + 1);
      HostTensor slice(Graph::elementType(argument), Graph::shape(argument));
      SmallVector<int64_t> index(slice.shape.size(), 0);
      for (double &x : slice.floats) {
        SmallVector<int64_t> outer(index);
        outer.insert(outer.begin() + axis, t);
        x = element(v, outer);
        for (size_t d = index.size(); d-- > 0 && ++index[d] == slice.shape[d];)
          index[d] = 0;
      }
      slice.round();
      env[argument] = std::move(slice);
    }
    for (Operation &op : body.without_terminator()) {
      auto node = dyn_cast<onnx::NodeOp>(op);
      if (!node)
        continue;
      SmallVector<const HostTensor *> operands;
      for (Value v : node.getInputs()) {
        auto it = env.find(v);
        auto outer = captured.find(v);
        operands.push_back(it != env.end()           ? &it->second
                           : outer != captured.end() ? &outer->second
                                                     : nullptr);
      }
      auto results = onnx::canEvaluate(node)
                         ? onnx::evaluate(node, operands)
                         : std::optional<SmallVector<HostTensor>>();
      if (!results)
        return std::nullopt;
      for (auto [v, r] : llvm::zip_equal(node.getOutputs(), *results))
        env[v] = std::move(r);
    }
    Operation *yield = body.getTerminator();
    auto next = env.find(yield->getOperand(0)),
         result = env.find(yield->getOperand(1));
    if (next == env.end() || result == env.end() ||
        ArrayRef(next->second.shape) != ArrayRef(stateShape) ||
        !next->second.isFloat() || !result->second.isFloat())
      return std::nullopt;
    trace.states.push_back(next->second.floats);
    trace.results.push_back(result->second.floats);
    state = next->second;
  }
  return trace;
}
