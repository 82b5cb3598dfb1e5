//===- LiteralPatterns.cpp - nodes that no op of eff covers ---------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"

#include "effc/Conversion/OnnxToLinalg/Lower.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace effc;
using namespace effc::raise;

/// What a node reads: its operands, and what its subgraphs read from outside.
static SmallVector<Value> getRead(onnx::NodeOp node) {
  llvm::SetVector<Value> read;
  auto add = [&](Value v) {
    if (!isa<NoneType>(v.getType()))
      read.insert(v);
  };
  llvm::for_each(node.getInputs(), add);
  for (Region &region : node.getSubgraphs())
    region.walk([&](Operation *op) {
      for (Value v : op->getOperands())
        if (!region.isAncestor(v.getParentRegion()))
          add(v);
    });
  return read.takeVector();
}

/// Whether a node lowers, tried on empty operands: what a lowering covers
/// depends on attributes and shapes.
static bool lowers(onnx::NodeOp node, ArrayRef<Value> read) {
  auto scratch = OwningOpRef<func::FuncOp>(func::FuncOp::create(
      node.getLoc(), "scratch", FunctionType::get(node.getContext(), {}, {})));
  OpBuilder builder = OpBuilder::atBlockBegin(scratch->addEntryBlock());
  IRMapping values;
  for (Value v : read) {
    auto type = dyn_cast<RankedTensorType>(v.getType());
    Type element = type ? Emitter::elementType(type.getElementType()) : Type();
    if (!type || !type.hasStaticShape() || !element.isIntOrFloat())
      return false;
    values.map(v, tensor::EmptyOp::create(builder, node.getLoc(),
                                          type.getShape(), element));
  }
  return succeeded(lowerOp(builder, *node, values, builder.getF32Type()));
}

static std::optional<Match> literal(Graph &g, onnx::NodeOp root) {
  if (!hasLinalgLowering(root))
    return std::nullopt;
  // What is wrong with a weight is wrong however it is computed.
  if (root.is("MatMulNBits", "com.microsoft") && !g.reason(root).empty())
    return std::nullopt;
  SmallVector<Value> read = getRead(root);
  if (!lowers(root, read))
    return std::nullopt;
  Match m;
  m.needs = read;
  m.covers = {root};
  m.emit = [=](Emitter &e) {
    auto node = root;
    IRMapping values;
    for (Value v : read) {
      Value t = e.tensor(v);
      if (!t)
        return failure();
      values.map(v, t);
    }
    if (failed(lowerOp(e.builder, *node, values, e.builder.getF32Type())))
      return LogicalResult(
          e.error("the operator " + node.getOpType() + " has no lowering"));
    for (Value v : node.getOutputs())
      if (Value t = values.lookupOrNull(v))
        e.define(v, t);
    return success();
  };
  return m;
}

void effc::raise::addLiteralPatterns(std::vector<RaisePattern> &patterns) {
  patterns.push_back(literal);
}
