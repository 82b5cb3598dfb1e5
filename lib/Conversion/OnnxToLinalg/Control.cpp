//===- Control.cpp - nodes with subgraphs ---------------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Control.h"

using namespace mlir;

namespace effc::lower {

/// An If whose condition is not known: both branches are computed, the
/// condition selects. Branches have no effects, and what the other one computes
/// is dropped.
static std::optional<LogicalResult> selectBranch(Lowering &l, IRMapping &values,
                                                 LowerInner lowerInner) {
  if (l.numInputs() != 1 || !l.in(0) || product(Lowering::shape(l.in(0))) != 1)
    return std::nullopt;
  auto names = l.node.getGraphs();
  if (names.size() != 2)
    return std::nullopt;
  SmallVector<Value> results[2];
  for (auto [name, region] : llvm::zip(names, l.node.getSubgraphs())) {
    bool isThen = cast<StringAttr>(name).getValue() == "then_branch";
    Block &block = region.front();
    for (Operation &op : block.without_terminator())
      if (failed(lowerInner(op)))
        return LogicalResult::failure();
    for (Value value : block.getTerminator()->getOperands()) {
      Value mapped = values.lookupOrNull(value);
      if (!mapped)
        return LogicalResult::success();
      results[isThen ? 0 : 1].push_back(mapped);
    }
  }
  Value condition = l.reshape(l.in(0), {});
  for (auto [i, output] : llvm::enumerate(l.node.getOutputs())) {
    RankedTensorType type = l.out(unsigned(i));
    if (isa<NoneType>(output.getType()))
      continue;
    if (!type || i >= results[0].size() || i >= results[1].size() ||
        results[0][i].getType() != type || results[1][i].getType() != type)
      return std::nullopt;
    values.map(output, l.map(type.getShape(), type.getElementType(),
                             {condition, results[0][i], results[1][i]},
                             [](const Expr &e, ValueRange v) {
                               Value which = v[0];
                               return e.select(which, v[1], v[2]);
                             }));
  }
  return LogicalResult::success();
}

std::optional<LogicalResult> lowerControl(OpBuilder &builder, onnx::NodeOp node,
                                          ArrayRef<Value> operands,
                                          IRMapping &values, Type floats,
                                          LowerInner lowerInner) {
  if (!node.getDomain().empty())
    return std::nullopt;
  Lowering l(builder, node, operands, floats);
  if (node.is("Scan"))
    return unrollScan(l, values, lowerInner);
  if (node.is("If"))
    return selectBranch(l, values, lowerInner);
  if (node.is("Loop"))
    return runLoop(l, values, lowerInner);
  return std::nullopt;
}

} // namespace effc::lower
