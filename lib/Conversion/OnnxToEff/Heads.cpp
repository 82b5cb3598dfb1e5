//===- Heads.cpp - logits only where they are asked for -------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Heads.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace effc;

/// The operand of an op that computes each row of features from the same row
/// alone, null for others. Operands but that one are weights and splats.
static OpOperand *rowOperand(Operation *op) {
  if (auto linear = dyn_cast<eff::LinearOp>(op)) {
    bool plain =
        !linear.getScale() && llvm::all_of(linear.getExtras(), [](Value v) {
          return isa<eff::WeightType>(v.getType());
        });
    return plain ? &linear.getInputMutable() : nullptr;
  }
  if (isa<eff::RmsNormOp, eff::LayerNormOp>(op))
    return &op->getOpOperand(0);
  bool elementwise =
      isa<arith::ArithDialect, math::MathDialect>(op->getDialect()) &&
      op->getNumResults() == 1 && op->hasTrait<OpTrait::Elementwise>() &&
      op->getNumOperands() > 0;
  if (!elementwise)
    return nullptr;
  OpOperand *found = nullptr;
  for (OpOperand &operand : op->getOpOperands()) {
    if (matchPattern(operand.get(), m_Constant()))
      continue;
    if (found && found->get() != operand.get())
      return nullptr;
    found = &operand;
  }
  return found;
}

/// The chain below a reshape that only joins batch and tokens or cuts them
/// apart.
static Value throughReshape(Value v) {
  while (auto *op = v.getDefiningOp()) {
    if (!isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(op))
      break;
    auto from = cast<RankedTensorType>(op->getOperand(0).getType()),
         to = cast<RankedTensorType>(v.getType());
    if (from.getRank() == 0 || to.getRank() == 0 ||
        from.getShape().back() != to.getShape().back())
      break;
    v = op->getOperand(0);
  }
  return v;
}

static bool isActivations(Value v, int64_t batch, int64_t tokens) {
  auto type = dyn_cast<RankedTensorType>(v.getType());
  return type && type.getRank() == 3 && type.getElementType().isF32() &&
         type.getDimSize(0) == batch && type.getDimSize(1) == tokens;
}

Value raise::selectRows(OpBuilder &builder, Value logits, int64_t batch,
                        int64_t tokens) {
  // Back from the logits while each row depends on one row alone.
  SmallVector<Operation *> chain;
  Value at = throughReshape(logits), source;
  if (isActivations(at, batch, tokens))
    source = at;
  while (Operation *op = at.getDefiningOp()) {
    OpOperand *operand = rowOperand(op);
    if (!operand)
      break;
    chain.push_back(op);
    at = throughReshape(operand->get());
    if (isActivations(at, batch, tokens))
      source = at;
  }
  if (!source)
    return {};
  auto type = cast<RankedTensorType>(source.getType());
  auto rows = [&](Type t) {
    auto ranked = cast<RankedTensorType>(t);
    return RankedTensorType::get({batch * tokens, ranked.getShape().back()},
                                 ranked.getElementType());
  };
  Value y =
      eff::SelectRowsOp::create(builder, source.getLoc(), rows(type), source);
  // Rebuild what follows on rows.
  bool started = source == throughReshape(logits);
  IRMapping mapping;
  mapping.map(source, y);
  Value current = y;
  while (!chain.empty()) {
    Operation *op = chain.pop_back_val();
    OpOperand *operand = rowOperand(op);
    if (!started && throughReshape(operand->get()) != source)
      continue; // above the source
    started = true;
    IRMapping inner;
    for (OpOperand &o : op->getOpOperands()) {
      if (o.get() == operand->get()) {
        inner.map(o.get(), current);
      } else if (DenseElementsAttr splat;
                 matchPattern(o.get(), m_Constant(&splat))) {
        auto ranked = rows(o.get().getType());
        if (!splat.isSplat())
          return {};
        inner.map(o.get(),
                  arith::ConstantOp::create(builder, op->getLoc(),
                                            splat.resizeSplat(ranked)));
      }
    }
    Operation *clone = builder.clone(*op, inner);
    clone->getResult(0).setType(rows(clone->getResult(0).getType()));
    current = clone->getResult(0);
  }
  return current;
}
