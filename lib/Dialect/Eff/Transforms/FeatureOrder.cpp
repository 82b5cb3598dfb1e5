//===- FeatureOrder.cpp - what a new order of channels reaches ------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "FeatureOrder.h"
#include "Statistics.h"
#include "effc/Support/Error.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace effc;
using namespace effc::eff;
using compress::Permutation;

LogicalResult effc::eff::refuseReordering(Operation *op, const llvm::Twine &why,
                                          const llvm::Twine &hint) {
  auto diagnostic =
      emitUserError(op->getLoc(), ErrorCode::CannotReorder,
                    "the heads and channels of the model cannot be reordered");
  noteWhy(diagnostic, why);
  noteTry(diagnostic, hint.isTriviallyEmpty()
                          ? llvm::Twine(defaultHint(ErrorCode::CannotReorder))
                          : hint);
  return failure();
}

static std::string nameOf(Operation *op) {
  return "'" + op->getName().getStringRef().str() + "'";
}

static int64_t getFeatures(Value value) {
  return llvm::cast<RankedTensorType>(value.getType()).getShape().back();
}

//===----------------------------------------------------------------------===//
// Demands
//===----------------------------------------------------------------------===//

LogicalResult FeatureOrders::require(Value value, const Permutation &order,
                                     Operation *asker) {
  auto [it, isNew] = orders.insert({value, order});
  if (!isNew) {
    if (it->second == order)
      return success();
    return refuseReordering(asker, nameOf(asker) +
                                       " needs another order of a value than "
                                       "what else reads or writes it");
  }
  auto type = llvm::dyn_cast<RankedTensorType>(value.getType());
  if (!type || type.getRank() == 0 || type.getShape().back() != order.size())
    return refuseReordering(asker, nameOf(asker) + " has a value without the " +
                                       llvm::Twine(order.size()) +
                                       " features that are reordered");
  auto basis = llvm::dyn_cast_or_null<BasisAttr>(type.getEncoding());
  if (basis && basis.getHadamard())
    return refuseReordering(asker,
                            "behind a rotation there are no channels any more",
                            "reorder before rotating");
  work.push_back(value);
  return success();
}

/// The same order again, or a new one.
static LogicalResult set(std::optional<Permutation> &slot,
                         const Permutation &order, OpOperand &operand) {
  if (slot && !(*slot == order))
    return refuseReordering(operand.getOwner(),
                            "'@" + getSymbolOf(operand.get()) +
                                "' is needed in two orders");
  slot = order;
  return success();
}

LogicalResult FeatureOrders::requireRows(OpOperand &operand,
                                         const Permutation &order) {
  reached.insert(&operand);
  return set(weights[getSymbolOf(operand.get())].rows, order, operand);
}

LogicalResult FeatureOrders::requireColumns(OpOperand &operand,
                                            const Permutation &order) {
  reached.insert(&operand);
  return set(weights[getSymbolOf(operand.get())].columns, order, operand);
}

//===----------------------------------------------------------------------===//
// Ops
//===----------------------------------------------------------------------===//

LogicalResult FeatureOrders::visitElementwise(Operation *op,
                                              const Permutation &order) {
  for (Value operand : op->getOperands()) {
    DenseElementsAttr constant;
    if (matchPattern(operand, m_Constant(&constant)) && constant.isSplat())
      continue;
    auto broadcast = operand.getDefiningOp<linalg::BroadcastOp>();
    auto read =
        broadcast ? broadcast.getInput().getDefiningOp<ReadOp>() : ReadOp();
    if (!read) {
      if (failed(require(operand, order, op)))
        return failure();
      continue;
    }
    // A vector along the features; whoever else reads it needs the same order.
    int64_t last =
        llvm::cast<RankedTensorType>(operand.getType()).getRank() - 1;
    if (llvm::is_contained(broadcast.getDimensions(), last) ||
        broadcast.getInput().getType().getRank() != 1)
      return refuseReordering(op, nameOf(op) +
                                      " reads a weight whose features are "
                                      "not the reordered ones");
    if (failed(requireRows(read.getWeightMutable(), order)) ||
        failed(require(operand, order, op)))
      return failure();
    for (Operation *user : read->getUsers())
      if (user != broadcast) {
        auto other = llvm::dyn_cast<linalg::BroadcastOp>(user);
        if (!other || getFeatures(other->getResult(0)) != order.size())
          return refuseReordering(user,
                                  nameOf(user) + " reads a reordered vector");
        if (failed(require(other->getResult(0), order, user)))
          return failure();
      }
  }
  return require(op->getResult(0), order, op);
}

LogicalResult FeatureOrders::visitLinear(LinearOp linear, Value value) {
  const Permutation order = orders.lookup(value);
  auto weight = llvm::cast<WeightType>(linear.getWeight().getType());
  if (linear.getScale() || !weight.getFloatFormat())
    return refuseReordering(linear, "a linear is quantised already",
                            "reorder before quantising");
  if (value == linear.getInput()) {
    if (weight.getInputs())
      return refuseReordering(
          linear,
          weight.getInputs().getHadamard()
              ? "the inputs of a linear are rotated: they are no channels"
              : "the inputs of a linear are reordered already",
          "reorder once, before rotating");
    if (failed(requireColumns(linear.getWeightMutable(), order)))
      return failure();
  }
  bool writes = value == linear.getResult();
  for (OpOperand &extra : linear.getExtrasMutable())
    writes |= extra.get() == value;
  if (!writes)
    return success();
  if (weight.getOutputs())
    return refuseReordering(
        linear,
        weight.getOutputs().getHadamard()
            ? "the outputs of a linear are rotated: they are no channels"
            : "the outputs of a linear are reordered already",
        "reorder once, before rotating");
  if (failed(requireRows(linear.getWeightMutable(), order)))
    return failure();
  for (OpOperand &extra : linear.getExtrasMutable()) {
    bool vector = llvm::isa<WeightType>(extra.get().getType());
    if (failed(vector ? requireRows(extra, order)
                      : require(extra.get(), order, linear)))
      return failure();
  }
  return require(linear.getResult(), order, linear);
}

LogicalResult FeatureOrders::visitConv(CausalConv1DOp conv,
                                       const Permutation &order) {
  if (conv.getStateScale())
    return refuseReordering(conv, "its state is quantised already",
                            "reorder before quantising");
  states.insert({getSymbolOf(conv.getState()), order});
  if (failed(requireRows(conv.getWeightMutable(), order)))
    return failure();
  if (conv.getBias() && failed(requireRows(conv.getBiasMutable()[0], order)))
    return failure();
  return failure(failed(require(conv.getInput(), order, conv)) ||
                 failed(require(conv.getResult(), order, conv)));
}

LogicalResult FeatureOrders::visitNorm(Operation *norm,
                                       const Permutation &order) {
  int64_t group = 0;
  OpOperand *weight;
  if (auto gated = llvm::dyn_cast<GatedNormOp>(norm)) {
    group = gated.getGroup();
    weight = &gated.getWeightMutable();
    if (failed(require(gated.getGate(), order, norm)))
      return failure();
  } else {
    auto rms = llvm::cast<RmsNormOp>(norm);
    group = rms.getGroup();
    weight = &rms.getWeightMutable();
    if (group && group != order.size())
      return refuseReordering(norm, "groups of features share its weight");
  }
  for (int64_t i = 0; group && i < order.size(); ++i)
    if (order[i] / group != i / group)
      return refuseReordering(norm, "the order crosses the groups of a norm");
  if (failed(requireRows(*weight, order)))
    return failure();
  return failure(failed(require(norm->getOperand(0), order, norm)) ||
                 failed(require(norm->getResult(0), order, norm)));
}

LogicalResult FeatureOrders::closeSplit(SplitOp split) {
  closed.insert(split);
  Permutation whole;
  for (Value part : split.getResults()) {
    auto it = orders.find(part);
    whole = whole.joined(it == orders.end()
                             ? Permutation::identity(getFeatures(part))
                             : it->second);
  }
  return require(split.getInput(), whole, split);
}

LogicalResult FeatureOrders::visit(Operation *op, Value value) {
  if (anchors.contains(op))
    return success();
  const Permutation order = orders.lookup(value);
  if (auto linear = llvm::dyn_cast<LinearOp>(op))
    return visitLinear(linear, value);
  if (auto conv = llvm::dyn_cast<CausalConv1DOp>(op))
    return visitConv(conv, order);
  if (llvm::isa<GatedNormOp, RmsNormOp>(op))
    return visitNorm(op, order);
  if (llvm::isa<SplitOp>(op)) {
    // Its parts may still get their orders, but not after its input did.
    if (value != op->getOperand(0) && closed.contains(op))
      return refuseReordering(op, "its parts are needed in two orders");
    splits.insert(op);
    return success();
  }
  if (llvm::isa<linalg::BroadcastOp>(op) && value == op->getResult(0))
    return success();
  bool elementwise =
      llvm::isa_and_nonnull<arith::ArithDialect, math::MathDialect>(
          op->getDialect()) &&
      OpTrait::hasElementwiseMappableTraits(op) && op->getNumResults() == 1;
  if (elementwise)
    return visitElementwise(op, order);
  if (llvm::isa<HadamardOp>(op))
    return refuseReordering(op,
                            "behind a rotation there are no channels any more",
                            "reorder before rotating");
  return refuseReordering(op, nameOf(op) + " reads or writes channels that "
                                           "are reordered, and does not "
                                           "commute with that");
}

LogicalResult FeatureOrders::propagate() {
  while (true) {
    while (!work.empty()) {
      Value value = work.pop_back_val();
      Operation *def = value.getDefiningOp();
      if (!def)
        return refuseReordering(value.getParentBlock()->getParentOp(),
                                "an input of the function has channels that "
                                "are reordered");
      if (failed(visit(def, value)))
        return failure();
      for (Operation *user : value.getUsers())
        if (failed(visit(user, value)))
          return failure();
    }
    // The last split first: what it asks may reach the ones before it.
    Operation *last = nullptr;
    for (Operation *split : splits)
      if (!closed.contains(split) &&
          (!last || (last->getBlock() == split->getBlock() &&
                     last->isBeforeInBlock(split))))
        last = split;
    if (!last)
      return success();
    if (failed(closeSplit(llvm::cast<SplitOp>(last))))
      return failure();
  }
}
