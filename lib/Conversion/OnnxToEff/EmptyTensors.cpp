//===- EmptyTensors.cpp - nothing is computed for tensors without elements ===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "EmptyTensors.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

static bool hasNoElements(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.hasStaticShape() && tensor.getNumElements() == 0;
}

/// What replaces the result of an op that reads or makes tensors without
/// elements; nothing when the op stays.
static SmallVector<Value> replacement(OpBuilder &b, Operation *op) {
  if (isa<tensor::EmptyOp>(op) || op->getNumResults() == 0)
    return {};
  Location loc = op->getLoc();
  if (llvm::all_of(op->getResultTypes(), hasNoElements)) {
    SmallVector<Value> results;
    for (Type type : op->getResultTypes()) {
      auto tensor = cast<RankedTensorType>(type);
      results.push_back(tensor::EmptyOp::create(b, loc, tensor.getShape(),
                                                tensor.getElementType()));
    }
    return results;
  }
  // No step of the loops: what they start from stays.
  if (auto linalgOp = dyn_cast<linalg::LinalgOp>(op)) {
    if (!llvm::is_contained(linalgOp.getStaticLoopRanges(), 0))
      return {};
    return llvm::to_vector(linalgOp.getDpsInits());
  }
  if (auto concat = dyn_cast<tensor::ConcatOp>(op)) {
    SmallVector<Value> parts;
    for (Value part : concat.getInputs())
      if (!hasNoElements(part.getType()))
        parts.push_back(part);
    if (parts.size() == concat.getInputs().size())
      return {};
    if (parts.size() == 1)
      return parts;
    return {tensor::ConcatOp::create(b, loc, concat.getDim(), parts)};
  }
  if (auto insert = dyn_cast<tensor::InsertSliceOp>(op))
    return hasNoElements(insert.getSourceType())
               ? SmallVector<Value>{insert.getDest()}
               : SmallVector<Value>{};
  if (auto pad = dyn_cast<tensor::PadOp>(op)) {
    Value value = pad.getConstantPaddingValue();
    if (!hasNoElements(pad.getSourceType()) || !value)
      return {};
    Value into = tensor::EmptyOp::create(b, loc, pad.getResultType().getShape(),
                                         pad.getResultType().getElementType());
    return {linalg::FillOp::create(b, loc, ValueRange(value), ValueRange(into))
                .getResult(0)};
  }
  return {};
}

void effc::raise::removeEmptyTensors(func::FuncOp function) {
  OpBuilder builder(function.getContext());
  for (Operation &op : llvm::make_early_inc_range(function.getBody().front())) {
    builder.setInsertionPoint(&op);
    SmallVector<Value> values = replacement(builder, &op);
    if (values.empty())
      continue;
    op.replaceAllUsesWith(values);
    op.erase();
  }
}
