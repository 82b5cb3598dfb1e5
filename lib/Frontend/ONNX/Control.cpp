//===- Control.cpp - If, Loop, Scan and sequences -------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Simplify.h"

#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace effc;
using namespace effc::onnx;

/// The first element of a constant as an integer.
static std::optional<int64_t> scalar(Value value) {
  auto values = value ? constantInts(value) : std::nullopt;
  if (!values || values->size() != 1)
    return std::nullopt;
  return values->front();
}

/// The region of the graph attribute `name`; null when the node has none.
static Block *graphOf(NodeOp op, StringRef name) {
  for (auto [attr, region] : llvm::zip(op.getGraphs(), op.getSubgraphs()))
    if (cast<StringAttr>(attr).getValue() == name)
      return &region.front();
  return nullptr;
}

static Step malformed(NodeOp op, const Twine &why) {
  return failed(Inference(op).wrong(why)) ? Step::Error : Step::Kept;
}

Step Simplifier::visitControl(NodeOp op) {
  if (!op.getDomain().empty())
    return Step::Kept;
  if (op.is("If"))
    return visitIf(op);
  if (op.is("Loop"))
    return visitLoop(op);
  if (op.is("Scan"))
    return visitScan(op);
  if (op.getOpType().contains("Sequence"))
    return visitSequence(op);
  return Step::Kept;
}

/// Copies a block before `op` and simplifies the copy.
LogicalResult Simplifier::inlineBlock(NodeOp op, Block &block,
                                      ArrayRef<Value> arguments,
                                      SmallVectorImpl<Value> &results) {
  IRMapping map;
  map.map(block.getArguments(), arguments);
  Operation *before = op->getPrevNode();
  b.setInsertionPoint(op);
  for (Operation &inner : block.without_terminator())
    b.clone(inner, map);
  // Rewrites replace values, which the mapping does not follow: hold them as
  // operands while the copy is simplified.
  SmallVector<Value> values;
  for (Value value : block.getTerminator()->getOperands())
    values.push_back(map.lookupOrDefault(value));
  b.setInsertionPoint(op);
  auto hold = NodeOp::create(b, op.getLoc(), TypeRange(), values,
                             b.getStringAttr("Hold"), b.getStringAttr("effc"),
                             b.getI64IntegerAttr(1), b.getStrArrayAttr({}), 0);
  Operation *first = before ? before->getNextNode() : &op->getBlock()->front();
  LogicalResult result = runRange(first, hold);
  llvm::append_range(results, hold.getInputs());
  hold.erase();
  return result;
}

Step Simplifier::visitIf(NodeOp op) {
  Block *yes = graphOf(op, "then_branch"), *no = graphOf(op, "else_branch");
  if (!yes || !no || yes->getNumArguments() || no->getNumArguments() ||
      op.getInputs().empty())
    return malformed(op,
                     "it needs a condition and two branches without inputs");
  unsigned count = op.getOutputs().size();
  if (yes->getTerminator()->getNumOperands() < count ||
      no->getTerminator()->getNumOperands() < count)
    return malformed(op, "a branch has too few results");
  if (auto condition = scalar(op.getInput(0))) {
    SmallVector<Value> results;
    if (failed(inlineBlock(op, *condition ? *yes : *no, {}, results)))
      return Step::Error;
    return replace(op, results);
  }
  if (failed(run(*yes)) || failed(run(*no)))
    return Step::Error;
  for (unsigned i = 0; i < count; ++i) {
    Type type = yes->getTerminator()->getOperand(i).getType();
    if (type == no->getTerminator()->getOperand(i).getType() &&
        !isa<NoneType>(op.getOutputs()[i].getType()))
      op.getOutputs()[i].setType(type);
  }
  return Step::Kept;
}

static int64_t countOps(Block &block) {
  int64_t count = 0;
  block.walk([&](Operation *) { ++count; });
  return count;
}

/// Finds types inside and behind a Loop that stays, where its states keep their
/// types.
LogicalResult Simplifier::inferLoop(NodeOp op, Block &body) {
  auto scalarOf = [&](Type element) {
    return RankedTensorType::get({}, element);
  };
  body.getArgument(0).setType(scalarOf(b.getI64Type()));
  body.getArgument(1).setType(scalarOf(b.getI1Type()));
  for (unsigned i = 2; i < body.getNumArguments(); ++i) {
    RankedTensorType type = staticTypeOf(op.getInputs()[i]);
    if (!type)
      return success();
    body.getArgument(i).setType(type);
  }
  if (failed(run(body)))
    return failure();
  for (unsigned i = 2; i < body.getNumArguments(); ++i) {
    RankedTensorType type =
        staticTypeOf(body.getTerminator()->getOperand(i - 1));
    if (i - 2 < op.getOutputs().size() && op.getOutput(i - 2) &&
        type == body.getArgument(i).getType())
      op.getOutputs()[i - 2].setType(type);
  }
  return success();
}

/// Unrolls a loop whose trip count and conditions are constants; leaves any
/// other as it is.
Step Simplifier::visitLoop(NodeOp op) {
  Block *body = graphOf(op, "body");
  if (!body)
    return malformed(op, "it needs a body");
  unsigned carried = std::max<int>(int(op.getInputs().size()) - 2, 0);
  unsigned yields = body->getTerminator()->getNumOperands();
  if (body->getNumArguments() != carried + 2 || yields < carried + 1 ||
      op.getOutputs().size() > yields - 1)
    return malformed(op, "its body does not fit its operands and results");
  Value tripValue = op.getInput(0), conditionValue = op.getInput(1);
  std::optional<int64_t> trip = scalar(tripValue),
                         condition = scalar(conditionValue);
  if ((tripValue && !trip) || (conditionValue && !condition) ||
      (!tripValue && !conditionValue))
    return failed(inferLoop(op, *body)) ? Step::Error : Step::Kept;
  int64_t cost = countOps(*body);
  SmallVector<Value> state(op.getInputs().drop_front(2));
  SmallVector<SmallVector<Value>> stacked(yields - 1 - carried);
  bool goOn = condition.value_or(1) != 0;
  for (int64_t i = 0; goOn && (!trip || i < *trip); ++i) {
    unrollBudget -= cost;
    if (unrollBudget < 0)
      return Step::Kept;
    auto scalarType = RankedTensorType::get({}, b.getI64Type());
    SmallVector<Value> arguments{
        constant(op, DenseElementsAttr::get(scalarType, i)),
        constant(op, DenseElementsAttr::get(
                         RankedTensorType::get({}, b.getI1Type()), true))};
    llvm::append_range(arguments, state);
    SmallVector<Value> results;
    if (failed(inlineBlock(op, *body, arguments, results)))
      return Step::Error;
    std::optional<int64_t> next = scalar(results[0]);
    if (!next)
      return failed(inferLoop(op, *body)) ? Step::Error : Step::Kept;
    goOn = *next != 0;
    for (unsigned k = 0; k < carried; ++k)
      state[k] = results[1 + k];
    for (unsigned k = 0; k < stacked.size(); ++k)
      stacked[k].push_back(results[1 + carried + k]);
  }
  SmallVector<Value> results(state);
  for (auto &values : stacked) {
    if (values.empty() ||
        !llvm::all_of(values, [](Value v) { return staticTypeOf(v); }))
      return Step::Kept;
    SmallVector<Value> rows;
    for (Value value : values) {
      Shape shape(staticTypeOf(value).getShape());
      shape.insert(shape.begin(), 1);
      rows.push_back(
          make(op, "Reshape", {value, ints(op, shape)})->getResult(0));
    }
    NodeOp joined = make(op, "Concat", rows);
    joined->setAttr("axis", b.getI64IntegerAttr(0));
    results.push_back(joined->getResult(0));
  }
  results.resize(op.getOutputs().size());
  return replace(op, results);
}

/// A Scan of version 8 has a batch dimension: one of version 9 for each row.
/// The lengths of rows must be absent.
Step Simplifier::splitBatch(NodeOp op) {
  int64_t scans = op.getInt("num_scan_inputs", 0);
  int64_t inputs = op.getInputs().size();
  constexpr int64_t mostRows = 64;
  if (inputs < 2 || scans < 1 || op.getInput(0))
    return Step::Kept;
  RankedTensorType last = staticTypeOf(op.getInputs().back());
  if (!last || last.getRank() < 2 || last.getDimSize(0) < 1 ||
      last.getDimSize(0) > mostRows)
    return Step::Kept;
  SmallVector<SmallVector<Value>> rows(op.getOutputs().size());
  Type unknown = UnrankedTensorType::get(UnknownType::get(b.getContext()));
  auto scalarType = RankedTensorType::get({}, b.getI64Type());
  for (int64_t row = 0; row < last.getDimSize(0); ++row) {
    Value index = constant(op, DenseElementsAttr::get(scalarType, row));
    SmallVector<Value> operands;
    for (Value input : op.getInputs().drop_front()) {
      NodeOp part = make(op, "Gather", {input, index});
      part->setAttr("axis", b.getI64IntegerAttr(0));
      operands.push_back(part->getResult(0));
    }
    b.setInsertionPoint(op);
    auto copy = cast<NodeOp>(b.clone(*op.getOperation()));
    copy->setOperands(operands);
    copy.setSince(11);
    if (Attribute directions = copy->removeAttr("directions"))
      copy->setAttr("scan_input_directions", directions);
    for (auto [output, list] : llvm::zip(copy.getOutputs(), rows)) {
      if (isa<NoneType>(output.getType()))
        continue;
      output.setType(unknown);
      list.push_back(
          make(op, "Unsqueeze", {output, ints(op, {0})})->getResult(0));
    }
  }
  SmallVector<Value> results;
  for (ArrayRef<Value> list : rows) {
    results.push_back({});
    if (list.empty())
      continue;
    NodeOp joined = make(op, "Concat", list);
    joined->setAttr("axis", b.getI64IntegerAttr(0));
    results.back() = joined->getResult(0);
  }
  return replace(op, results);
}

/// Finds types inside and behind a Scan; it stays.
Step Simplifier::visitScan(NodeOp op) {
  Block *body = graphOf(op, "body");
  int64_t scans = op.getInt("num_scan_inputs", 0);
  int64_t inputs = op.getInputs().size();
  if (!body)
    return malformed(op, "it needs a body");
  if (op.getSince() < 9)
    return splitBatch(op);
  int64_t states = inputs - scans;
  int64_t yields = body->getTerminator()->getNumOperands();
  if (scans < 1 || states < 0 || int64_t(body->getNumArguments()) != inputs ||
      yields < states || int64_t(op.getOutputs().size()) > yields)
    return malformed(op, "its body does not fit its operands and results");
  auto axes = op.getInts("scan_input_axes").value_or(Shape(scans, 0));
  auto outAxes =
      op.getInts("scan_output_axes").value_or(Shape(yields - states, 0));
  if (int64_t(axes.size()) != scans ||
      int64_t(outAxes.size()) != yields - states)
    return malformed(op, "there must be one axis for each scanned value");
  int64_t length = -1;
  for (int64_t i = 0; i < inputs; ++i) {
    RankedTensorType type = staticTypeOf(op.getInputs()[i]);
    if (!type)
      return Step::Kept;
    if (i >= states) {
      Shape shape(type.getShape());
      auto axis = Inference(op).axis(axes[i - states], type.getRank());
      if (failed(axis))
        return Step::Error;
      if (length >= 0 && length != shape[*axis])
        return malformed(op, "the scanned values differ in length");
      length = shape[*axis];
      shape.erase(shape.begin() + *axis);
      type = RankedTensorType::get(shape, type.getElementType());
    }
    body->getArgument(i).setType(type);
  }
  if (failed(run(*body)))
    return Step::Error;
  for (int64_t i = 0; i < int64_t(op.getOutputs().size()); ++i) {
    Value inner = body->getTerminator()->getOperand(i);
    RankedTensorType type = staticTypeOf(inner);
    if (!type || !op.getOutput(i))
      continue;
    if (i < states) {
      if (type != op.getInputs()[i].getType())
        return malformed(op, "a state changes its type");
      op.getOutputs()[i].setType(type);
      continue;
    }
    Shape shape(type.getShape());
    auto axis = Inference(op).axis(outAxes[i - states], type.getRank() + 1);
    if (failed(axis))
      return Step::Error;
    shape.insert(shape.begin() + *axis, length);
    op.getOutputs()[i].setType(
        RankedTensorType::get(shape, type.getElementType()));
  }
  return Step::Kept;
}

/// Sequences exist during the walk only: what is taken out of them is what was
/// put in.
Step Simplifier::visitSequence(NodeOp op) {
  if (op.getOutputs().empty())
    return Step::Kept;
  Value result = op.getOutputs()[0];
  if (op.is("SequenceEmpty")) {
    sequences[result] = {};
    return Step::Kept;
  }
  if (op.is("SequenceConstruct")) {
    sequences[result] = llvm::to_vector(op.getInputs());
    return Step::Kept;
  }
  if (op.is("SplitToSequence"))
    return Step::Kept;
  auto known = op.getInputs().empty() ? sequences.end()
                                      : sequences.find(op.getInputs()[0]);
  if (known == sequences.end())
    return Step::Kept;
  SmallVector<Value> values = known->second;
  auto position = [&](unsigned operand, int64_t otherwise,
                      int64_t limit) -> std::optional<int64_t> {
    if (!op.getInput(operand))
      return otherwise;
    auto index = scalar(op.getInput(operand));
    if (index && *index < 0)
      *index += int64_t(values.size());
    return index && *index >= 0 && *index < limit ? index : std::nullopt;
  };
  int64_t size = values.size();
  if (op.is("SequenceLength")) {
    auto type = RankedTensorType::get({}, b.getI64Type());
    return replace(op, constant(op, DenseElementsAttr::get(type, size)));
  }
  if (op.is("SequenceInsert") && op.getInput(1)) {
    auto index = position(2, size, size + 1);
    if (!index)
      return Step::Kept;
    values.insert(values.begin() + *index, op.getInput(1));
    sequences[result] = values;
  } else if (op.is("SequenceErase") && size > 0) {
    auto index = position(1, size - 1, size);
    if (!index)
      return Step::Kept;
    values.erase(values.begin() + *index);
    sequences[result] = values;
  } else if (op.is("SequenceAt") && op.getInput(1)) {
    auto index = position(1, 0, size);
    return index ? replace(op, values[*index]) : Step::Kept;
  } else if (op.is("ConcatFromSequence") && size > 0) {
    int64_t axis = op.getInt("axis", 0);
    bool fresh = op.getInt("new_axis", 0);
    if (fresh)
      for (Value &value : values) {
        RankedTensorType type = staticTypeOf(value);
        if (!type)
          return Step::Kept;
        auto at = Inference(op).axis(axis, type.getRank() + 1);
        if (failed(at))
          return Step::Error;
        Shape shape(type.getShape());
        shape.insert(shape.begin() + *at, 1);
        value = make(op, "Reshape", {value, ints(op, shape)})->getResult(0);
      }
    NodeOp joined = make(op, "Concat", values);
    joined->setAttr("axis", b.getI64IntegerAttr(axis));
    return replace(op, joined->getResult(0));
  }
  return Step::Kept;
}
