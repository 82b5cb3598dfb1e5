//===- Loop.cpp - Loop, run while its condition holds ---------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Control.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;

namespace effc::lower {

namespace {
/// A Loop whose trip count or condition comes at run time, as scf.while over
/// states, collected values, the step and the condition. The numbers are last:
/// where simplification removes them, tensors keep their places.
class RunningLoop {
public:
  RunningLoop(Lowering &l, IRMapping &values, LowerInner lowerInner)
      : l(l), values(values), lowerInner(lowerInner),
        body(l.node.getSubgraphs().front().front()) {}
  std::optional<LogicalResult> lower();

private:
  bool start();
  void buildCondition(Value limit);
  std::optional<LogicalResult> buildBody();
  bool yieldStates(ArrayRef<Value> next, Block &after);
  bool yieldCollected(ArrayRef<Value> next, Block &after);

  Value scalar(Value tensor) {
    return l.e.extract(l.reshape(tensor, {}), ValueRange());
  }
  Value tensorOf(Value scalar) {
    auto type = RankedTensorType::get({}, scalar.getType());
    return tensor::FromElementsOp::create(l.b, l.loc, type, scalar);
  }

  Lowering &l;
  IRMapping &values;
  LowerInner lowerInner;
  Block &body;
  unsigned states = 0, results = 0;
  SmallVector<Value> initial, yielded;
  SmallVector<Type> types;
  SmallVector<Location> locations;
  scf::WhileOp loop;
};
} // namespace

/// Gathers what the loop starts from; false when it is not covered.
bool RunningLoop::start() {
  states = l.numInputs() - 2;
  results = l.node->getNumResults();
  unsigned yields = body.getTerminator()->getNumOperands();
  if (body.getNumArguments() != states + 2 || yields < states + 1 ||
      results + 1 > yields || results < states)
    return false;
  for (unsigned i : {0u, 1u})
    if (l.in(i) && product(Lowering::shape(l.in(i))) != 1)
      return false;
  for (unsigned i = 0; i < states; ++i) {
    if (!l.in(i + 2))
      return false;
    initial.push_back(l.in(i + 2));
  }
  // What is collected has the length that the file declares.
  for (unsigned i = states; i < results; ++i) {
    RankedTensorType type = l.out(i);
    if (!type || !type.hasStaticShape() || type.getNumElements() == 0 ||
        type.getRank() == 0 || !type.getElementType().isIntOrFloat())
      return false;
    initial.push_back(l.filled(type.getShape(), type.getElementType(), 0));
  }
  initial.push_back(l.e.integer(l.b.getI64Type(), 0));
  initial.push_back(l.in(1) ? scalar(l.in(1))
                            : l.e.integer(l.b.getI1Type(), 1));
  types = llvm::to_vector(ValueRange(initial).getTypes());
  locations.assign(types.size(), l.loc);
  return true;
}

void RunningLoop::buildCondition(Value limit) {
  Block *before = l.b.createBlock(&loop.getBefore(), {}, types, locations);
  Value goOn = before->getArgument(results + 1);
  if (limit)
    goOn = l.e.both(
        goOn, l.e.compare(Compare::LT, before->getArgument(results), limit));
  scf::ConditionOp::create(l.b, l.loc, goOn, before->getArguments());
}

/// All new states come to lie apart from the old ones before the first of these
/// is replaced: by a selection that nothing simplifies.
bool RunningLoop::yieldStates(ArrayRef<Value> next, Block &after) {
  Value step = after.getArgument(results);
  Value counts =
      l.e.compare(Compare::GE, step, l.e.integer(l.b.getI64Type(), 0));
  for (unsigned i = 0; i < states; ++i) {
    Value old = after.getArgument(i), fresh = next[i + 1];
    auto type = dyn_cast<RankedTensorType>(old.getType());
    if (!type || fresh.getType() != type)
      return false;
    yielded.push_back(l.map(type.getShape(), type.getElementType(),
                            {tensorOf(counts), fresh, old},
                            [](const Expr &e, ValueRange v) {
                              return e.select(v[0], v[1], v[2]);
                            }));
  }
  return true;
}

bool RunningLoop::yieldCollected(ArrayRef<Value> next, Block &after) {
  for (unsigned i = states; i < results; ++i) {
    Value into = after.getArgument(i), part = next[i + 1];
    RankedTensorType type = l.out(i);
    SmallVector<int64_t> shape(type.getShape());
    shape[0] = 1;
    auto own = dyn_cast<RankedTensorType>(part.getType());
    if (!own || own.getElementType() != type.getElementType() ||
        product(own.getShape()) != product(shape))
      return false;
    // A step beyond the declared length writes the last part again.
    Value at = l.e.min(l.e.toIndex(after.getArgument(results)),
                       l.e.index(type.getDimSize(0) - 1));
    SmallVector<OpFoldResult> offsets(shape.size(), l.b.getIndexAttr(0)), sizes,
        strides(shape.size(), l.b.getIndexAttr(1));
    offsets[0] = at;
    for (int64_t size : shape)
      sizes.push_back(l.b.getIndexAttr(size));
    yielded.push_back(tensor::InsertSliceOp::create(
        l.b, l.loc, l.reshape(part, shape), into, offsets, sizes, strides));
  }
  return true;
}

std::optional<LogicalResult> RunningLoop::buildBody() {
  Block *after = l.b.createBlock(&loop.getAfter(), {}, types, locations);
  Value step = after->getArgument(results);
  values.map(body.getArgument(0), tensorOf(step));
  values.map(body.getArgument(1), tensorOf(after->getArgument(results + 1)));
  for (unsigned i = 0; i < states; ++i)
    values.map(body.getArgument(i + 2), after->getArgument(i));
  for (Operation &op : body.without_terminator())
    if (failed(lowerInner(op)))
      return LogicalResult::failure();
  SmallVector<Value> next;
  for (Value value : body.getTerminator()->getOperands()) {
    next.push_back(values.lookupOrNull(value));
    // A node of the body has no lowering; it is listed already.
    if (!next.back())
      return LogicalResult::success();
  }
  if (product(Lowering::shape(next[0])) != 1)
    return std::nullopt;
  if (!yieldStates(next, *after) || !yieldCollected(next, *after))
    return std::nullopt;
  yielded.push_back(l.e.add(step, l.e.integer(l.b.getI64Type(), 1)));
  yielded.push_back(scalar(next[0]));
  scf::YieldOp::create(l.b, l.loc, yielded);
  for (unsigned i = 0; i < results; ++i) {
    if (!l.out(i))
      continue;
    if (l.out(i) != loop.getResult(i).getType())
      return std::nullopt;
    values.map(l.node->getResult(i), loop.getResult(i));
  }
  return LogicalResult::success();
}

std::optional<LogicalResult> RunningLoop::lower() {
  if (!start())
    return std::nullopt;
  Value limit = l.in(0) ? scalar(l.in(0)) : Value();
  loop = scf::WhileOp::create(l.b, l.loc, types, initial);
  OpBuilder::InsertionGuard guard(l.b);
  buildCondition(limit);
  return buildBody();
}

std::optional<LogicalResult> runLoop(Lowering &l, IRMapping &values,
                                     LowerInner lowerInner) {
  if (l.numInputs() < 2 || l.node.getSubgraphs().size() != 1)
    return std::nullopt;
  return RunningLoop(l, values, lowerInner).lower();
}

} // namespace effc::lower
