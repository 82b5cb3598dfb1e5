//===- RecurrenceRegion.cpp - regions that compute a scan -----------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Recurrence.h"

#include "effc/Frontend/ONNX/Eval.h"

#include <queue>

using namespace mlir;
using namespace effc;
using namespace effc::raise;

/// Values behind the first possible result that are tried too: y, y reshaped,
/// y with the skip, cut to its length.
static constexpr unsigned mostResults = 12;
/// Steps from an anchor to its exponential.
static constexpr unsigned mostSteps = 12;

StringRef effc::raise::describe(ScanForm form) {
  switch (form) {
  case ScanForm::Unrolled:
    return "F1 unrolled loop";
  case ScanForm::Tree:
    return "F2 associative scan";
  case ScanForm::Chunks:
    return "F3 products of chunks";
  case ScanForm::Scan:
    return "F4 Scan";
  case ScanForm::CumulativeSum:
    return "F5 cumulative sums";
  case ScanForm::Step:
    return "F6 single step";
  }
  return "";
}

RegionFinder::RegionFinder(Graph &graph) : graph(graph) {
  unsigned i = 0;
  for (Operation &op : graph.main.getBody().front())
    order[&op] = i++;
}

/// Nodes that give some of their operand's elements, or repeat or add zeros.
static bool isMove(onnx::NodeOp node) {
  if (!node || !node.getDomain().empty())
    return false;
  StringRef t = node.getOpType();
  return t == "Transpose" || t == "Reshape" || t == "Expand" || t == "Pad" ||
         t == "Squeeze" || t == "Unsqueeze" || t == "Flatten" || t == "Tile" ||
         t == "Identity" || t == "Cast";
}

//===----------------------------------------------------------------------===//
// Anchors
//===----------------------------------------------------------------------===//

/// Whether an exponential reads `v` through sums and moves.
bool RegionFinder::reads(Value v, unsigned depth) {
  for (Operation *user : v.getUsers()) {
    auto node = dyn_cast<onnx::NodeOp>(user);
    if (!node || !node.getDomain().empty())
      continue;
    if (node.is("Exp"))
      return true;
    bool through = isMove(node) || node.is("CumSum") || node.is("Where") ||
                   node.is("Slice") || node.is("Gather") || node.is("Sub") ||
                   node.is("Neg");
    if (through && depth > 0 && reads(node->getResult(0), depth - 1))
      return true;
  }
  return false;
}

std::vector<onnx::NodeOp> RegionFinder::anchors() {
  std::vector<onnx::NodeOp> out;
  for (auto node : graph.main.getBody().front().getOps<onnx::NodeOp>()) {
    if (!node.is("Mul") && !node.is("Einsum") && !node.is("MatMul"))
      continue;
    Value x = node.getInput(0), y = node.getInput(1);
    if (!x || !y || node->getNumOperands() != 2 || !Graph::isFloat(x))
      continue;
    bool first = graph.isConstant(x);
    if (first == graph.isConstant(y) ||
        numElements(Graph::shape(first ? x : y)) < 2 ||
        !reads(node->getResult(0), mostSteps))
      continue;
    auto numbers = graph.numbers(first ? x : y);
    bool decays = numbers &&
                  llvm::all_of(*numbers, [](double a) { return a <= 0; }) &&
                  llvm::any_of(*numbers, [](double a) { return a < 0; });
    if (decays)
      out.push_back(node);
  }
  return out;
}

//===----------------------------------------------------------------------===//
// Closing
//===----------------------------------------------------------------------===//

static int64_t bytesOf(Value v) {
  auto type = dyn_cast<RankedTensorType>(v.getType());
  if (!type || !type.hasStaticShape())
    return 0;
  return type.getNumElements() * onnx::storedBytes(type.getElementType());
}

static bool isTensorOfFloats(Value v) {
  auto type = dyn_cast<RankedTensorType>(v.getType());
  return type && type.hasStaticShape() && isa<FloatType>(type.getElementType());
}

bool RegionFinder::regions(onnx::NodeOp anchor,
                           function_ref<bool(const ClosedRegion &)> accept,
                           const std::optional<unsigned> &only) {
  ClosedRegion seed;
  seed.anchor = anchor;
  bool first = graph.isConstant(anchor.getInput(0));
  seed.a = anchor.getInput(first ? 0 : 1);
  seed.step = anchor.getInput(first ? 1 : 0);
  // The nodes behind the anchor in their order. Whenever one value alone has
  // uses left, everything before it leaves through it.
  using Entry = std::pair<unsigned, Operation *>;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<Entry>> queue;
  llvm::DenseSet<Operation *> seen;
  llvm::DenseMap<Value, unsigned> open; // uses that are not done
  SmallVector<Operation *> inner;
  auto visit = [&](Operation *op) {
    if (seen.insert(op).second)
      queue.push({order.lookup(op), op});
  };
  // Whether nothing but the graph's results reads a value, through moves.
  std::function<bool(Operation *, unsigned)> returns = [&](Operation *user,
                                                           unsigned depth) {
    if (user->hasTrait<OpTrait::IsTerminator>())
      return true;
    auto node = dyn_cast<onnx::NodeOp>(user);
    return node && depth > 0 && (isMove(node) || node.is("Concat")) &&
           llvm::all_of(node->getUsers(), [&](Operation *next) {
             return returns(next, depth - 1);
           });
  };
  auto finish = [&](Operation *op) {
    inner.push_back(op);
    for (Value operand : op->getOperands())
      if (auto it = open.find(operand); it != open.end() && --it->second == 0)
        open.erase(it);
    for (Value result : op->getResults()) {
      unsigned uses = 0;
      for (Operation *user : result.getUsers()) {
        if (returns(user, 6)) {
          if (!llvm::is_contained(seed.escapes, result))
            seed.escapes.push_back(result);
          continue;
        }
        ++uses;
        visit(user);
      }
      if (uses)
        open[result] = uses;
    }
  };
  finish(anchor);
  unsigned tried = 0, place = 0;
  while (!queue.empty() && tried < mostResults) {
    Operation *op = queue.top().second;
    queue.pop();
    if (op->getNumRegions() || op->getBlock() != anchor->getBlock())
      return false;
    finish(op);
    // The graph's own result is no user in the block.
    bool last = open.empty() && queue.empty();
    if (open.size() != 1 && !last)
      continue;
    Value result = last ? op->getResult(0) : open.begin()->first;
    if (result.getDefiningOp() != op || !isTensorOfFloats(result) ||
        inner.size() < 4)
      continue;
    bool counted = false;
    for (bool throughSlices : {false, true}) {
      unsigned at = 2 * place + throughSlices;
      if (only && *only != at)
        continue;
      ClosedRegion candidate = seed;
      candidate.result = result;
      candidate.place = at;
      auto region = close(std::move(candidate), inner, throughSlices);
      if (!region)
        continue;
      counted = true;
      if (accept(*region))
        return true;
      if (!region->hasSlices)
        break; // it would be the same again
    }
    if (only && *only / 2 <= place)
      return false;
    ++place;
    tried += counted;
  }
  return false;
}

ScanForm RegionFinder::classify(const ClosedRegion &region, int64_t tokens) {
  bool cumulative = false, divides = false, strided = false;
  for (Operation *op : region.nodes) {
    auto node = cast<onnx::NodeOp>(op);
    cumulative |= node.is("CumSum");
    divides |= node.is("Div") || node.is("Reciprocal");
    if (node.is("Slice"))
      if (auto steps = node.getInput(4)
                           ? onnx::HostTensor::read(
                                 node.getInput(4)
                                     .getDefiningOp<onnx::ConstantOp>()
                                     .getValue())
                           : FailureOr<onnx::HostTensor>(failure());
          succeeded(steps))
        strided |= llvm::any_of(steps->ints, [](int64_t s) { return s > 1; });
  }
  return cumulative    ? (divides ? ScanForm::CumulativeSum : ScanForm::Chunks)
         : strided     ? ScanForm::Tree
         : tokens == 1 ? ScanForm::Step
                       : ScanForm::Unrolled;
}

std::optional<ClosedRegion> RegionFinder::close(ClosedRegion region,
                                                ArrayRef<Operation *> inner,
                                                bool throughSlices) {
  // What leads to the result of what lies behind the anchor.
  llvm::DenseSet<Operation *> within(inner.begin(), inner.end());
  llvm::DenseSet<Operation *> needed;
  SmallVector<Operation *> work{region.result.getDefiningOp()};
  for (Value v : region.escapes)
    if (v != region.result)
      work.push_back(v.getDefiningOp());
  while (!work.empty()) {
    Operation *op = work.pop_back_val();
    if (!needed.insert(op).second)
      continue;
    for (Value operand : op->getOperands())
      if (Operation *from = operand.getDefiningOp();
          from && within.contains(from))
        work.push_back(from);
  }
  int64_t full = 0;
  for (Operation *op : inner)
    if (needed.contains(op) && cast<onnx::NodeOp>(op).is("Exp"))
      full = std::max(full, numElements(Graph::shape(op->getResult(0))));
  if (full == 0 || !needed.contains(region.anchor))
    return std::nullopt;

  // What outside only prepares: products as large as all states, and moves.
  llvm::DenseSet<Operation *> outside;
  // Products of leaves; a projection of one by a constant is a value of its
  // own.
  auto isProduct = [&](onnx::NodeOp node) {
    if (node.is("MatMul") || node.is("Einsum"))
      return llvm::none_of(node.getInputs(),
                           [&](Value x) { return graph.isConstant(x); });
    return node.is("Mul") || node.is("ReduceSum");
  };
  // Whether a value is computed from leaves alone, by moves and products.
  std::function<bool(Value, unsigned)> derived = [&](Value v, unsigned depth) {
    if (isa<NoneType>(v.getType()) || region.leaves.contains(v) ||
        graph.isConstant(v))
      return true;
    auto node = v.getDefiningOp<onnx::NodeOp>();
    return node && depth > 0 && (isMove(node) || isProduct(node)) &&
           llvm::all_of(node.getInputs(),
                        [&](Value x) { return derived(x, depth - 1); });
  };
  auto isShared = [&](Value v) {
    auto node = v.getDefiningOp<onnx::NodeOp>();
    if (!node || !isProduct(node))
      return false;
    // dt * u, where u need not be known yet.
    if (node.is("Mul") && llvm::any_of(node.getInputs(), [&](Value x) {
          while (!region.leaves.contains(x)) {
            auto from = x.getDefiningOp<onnx::NodeOp>();
            if (!isMove(from))
              return false;
            x = from.getInput(0);
          }
          return true;
        }))
      return true;
    return llvm::all_of(node.getInputs(),
                        [&](Value x) { return derived(x, 8); });
  };
  std::function<bool(Value)> collect = [&](Value v) {
    auto node = v.getDefiningOp<onnx::NodeOp>();
    if (isa<NoneType>(v.getType()) || v.getDefiningOp<onnx::ConstantOp>() ||
        (node && (within.contains(node) || outside.contains(node))))
      return true;
    if (!node) {
      region.leaves.insert(v);
      return true;
    }
    bool constant = graph.isConstant(v);
    bool large = numElements(Graph::shape(v)) >= full;
    bool pick = node.is("Gather") && !isa<BlockArgument>(node.getInput(0)) &&
                graph.isConstant(node.getInput(1)) &&
                !graph.isConstant(node.getInput(0));
    if (node.is("Slice")) {
      region.hasSlices = true;
      ArrayRef<int64_t> from = Graph::shape(node.getInput(0)),
                        to = Graph::shape(v);
      pick = throughSlices && numElements(from) >= full;
      for (auto [f, t] : llvm::zip_equal(from, to))
        pick |= t == 1 && f > 1;
    }
    bool expand = constant || isMove(node) || pick;
    if (!expand && large)
      expand = node.is("Mul") || node.is("Concat") || node.is("Einsum") ||
               node.is("MatMul") || node.is("ReduceSum");
    if (!node.getDomain().empty() || (!expand && node->getNumRegions()))
      return false;
    if (!expand) {
      region.leaves.insert(v);
      return true;
    }
    outside.insert(node);
    return llvm::all_of(node.getInputs(), collect);
  };
  auto operandsOf = [&](Operation *op) {
    return llvm::all_of(op->getOperands(), [&](Value v) { return collect(v); });
  };
  for (Operation *op : inner)
    if (needed.contains(op) && !operandsOf(op))
      return std::nullopt;
  // dt * u is one value in some files and two in others.
  for (bool changed = true; changed;) {
    changed = false;
    for (Value leaf : region.leaves) {
      if (!isShared(leaf))
        continue;
      region.leaves.remove(leaf);
      outside.insert(leaf.getDefiningOp());
      if (!operandsOf(leaf.getDefiningOp()))
        return std::nullopt;
      changed = true;
      break;
    }
  }
  if (region.leaves.empty() || region.leaves.size() > 8)
    return std::nullopt;

  // In the order of the block.
  SmallVector<Operation *> nodes(outside.begin(), outside.end());
  for (Operation *op : inner)
    if (needed.contains(op))
      nodes.push_back(op);
  llvm::sort(nodes, [&](Operation *a, Operation *b) {
    return order.lookup(a) < order.lookup(b);
  });
  region.nodes.insert(nodes.begin(), nodes.end());
  for (Operation *op : nodes) {
    if (!onnx::canEvaluate(cast<onnx::NodeOp>(op)))
      return std::nullopt;
    for (Value v : op->getResults())
      region.bytes += bytesOf(v);
  }
  // The leaves under the step widths.
  SmallVector<Value> values{region.step};
  llvm::DenseSet<Value> seen;
  while (!values.empty()) {
    Value v = values.pop_back_val();
    if (!seen.insert(v).second)
      continue;
    if (region.leaves.contains(v)) {
      region.steps.insert(v);
      continue;
    }
    if (Operation *op = v.getDefiningOp(); op && region.nodes.contains(op))
      llvm::append_range(values, op->getOperands());
  }
  if (region.steps.size() != 1)
    return std::nullopt;
  region.form = classify(region, 0);
  return region;
}
