//===- LiteralPatterns.cpp - nodes that no op of eff covers ---------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"

#include "effc/Conversion/OnnxToLinalg/Lower.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace effc;
using namespace effc::raise;

/// Whether a node lowers, tried on empty operands: what a lowering covers
/// depends on attributes and shapes.
static bool lowers(onnx::NodeOp node) {
  auto scratch = OwningOpRef<func::FuncOp>(func::FuncOp::create(
      node.getLoc(), "scratch", FunctionType::get(node.getContext(), {}, {})));
  OpBuilder builder = OpBuilder::atBlockBegin(scratch->addEntryBlock());
  SmallVector<Value> operands;
  for (Value v : node.getInputs()) {
    if (isa<NoneType>(v.getType())) {
      operands.push_back({});
      continue;
    }
    Type element = Emitter::elementType(Graph::elementType(v));
    if (!element.isIntOrFloat())
      return false;
    operands.push_back(tensor::EmptyOp::create(builder, node.getLoc(),
                                               Graph::shape(v), element));
  }
  // Floats of 8 bits and below have no arithmetic here.
  for (Value v : node.getOutputs())
    if (!isa<NoneType>(v.getType()) && Graph::isFloat(v) &&
        Graph::elementType(v).getIntOrFloatBitWidth() < 16)
      return false;
  return succeeded(lowerToLinalg(builder, node, operands));
}

static std::optional<Match> literal(Graph &, onnx::NodeOp root) {
  if (!hasLinalgLowering(root) || !lowers(root))
    return std::nullopt;
  Match m;
  for (Value v : root.getInputs())
    if (!isa<NoneType>(v.getType()))
      m.needs.push_back(v);
  m.covers = {root};
  m.emit = [=](Emitter &e) {
    auto node = root;
    SmallVector<Value> operands;
    for (Value v : node.getInputs()) {
      operands.push_back(isa<NoneType>(v.getType()) ? Value() : e.tensor(v));
      if (!operands.back() && !isa<NoneType>(v.getType()))
        return failure();
    }
    FailureOr<SmallVector<Value>> results =
        lowerToLinalg(e.builder, node, operands);
    if (failed(results))
      return LogicalResult(
          e.error("the operator " + node.getOpType() + " has no lowering"));
    for (auto [v, t] : llvm::zip_equal(node.getOutputs(), *results))
      if (t)
        e.define(v, t);
    return success();
  };
  return m;
}

void effc::raise::addLiteralPatterns(std::vector<RaisePattern> &patterns) {
  patterns.push_back(literal);
}
