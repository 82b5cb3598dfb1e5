//===- Folding.cpp - quantising and dequantising inside kernels -----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Kernels that read int8 take the operand of an `eff.dequantize` and its
/// scales instead of the result, and kernels that write int8 write the result
/// of an `eff.quantize_static` or `eff.quantize` that alone reads what they
/// compute. Neither op is a step then.
///
//===----------------------------------------------------------------------===//

#include "ProgramBuilder.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace effc;

bool ProgramBuilder::hasScaleEach(Value scale) {
  return llvm::cast<eff::WeightType>(scale.getType()).getShape()[0] != 1;
}

/// The eff.dequantize of static scales that makes a value; null for others.
static eff::DequantizeOp getDequantize(Value value) {
  auto op = value.getDefiningOp<eff::DequantizeOp>();
  bool isStatic = op && llvm::isa<eff::WeightType>(op.getScale().getType());
  return isStatic ? op : eff::DequantizeOp();
}

/// Whether the kernel of an op reads this operand as int8.
static bool readsInt8(OpOperand &use) {
  Value value = use.get();
  return llvm::TypeSwitch<Operation *, bool>(use.getOwner())
      .Case([&](eff::CausalConv1DOp op) {
        // Its state holds the codes of its input.
        auto state = llvm::cast<eff::StateType>(op.getState().getType());
        return op.getInput() == value && !state.isF32() &&
               getDequantize(value).getScale() == op.getStateScale();
      })
      .Case([&](eff::GatedNormOp op) { return op.getGate() == value; })
      .Case<eff::SsmScanOp, eff::SsdScanOp>([](auto) { return true; })
      .Default([](Operation *) { return false; });
}

Value ProgramBuilder::getSource(OpOperand &use) {
  eff::DequantizeOp op = getDequantize(use.get());
  return op && readsInt8(use) ? op.getInput() : use.get();
}

bool ProgramBuilder::isDone(Operation *op) {
  if (done.contains(op))
    return true;
  if (llvm::isa<eff::QuantizeOp, eff::QuantizeStaticOp>(op))
    return places.count(op->getResult(0));
  return llvm::isa<eff::DequantizeOp>(op) && getDequantize(op->getResult(0)) &&
         llvm::all_of(op->getResult(0).getUses(), readsInt8);
}

ProgramBuilder::Reading ProgramBuilder::getReading(OpOperand &use) {
  if (getSource(use) == use.get())
    return {getMatrix(use.get()), false, getNull(), false};
  eff::DequantizeOp op = getDequantize(use.get());
  return {getMatrix(op.getInput()), true, getResource(op.getScale()),
          hasScaleEach(op.getScale())};
}

ProgramBuilder::Writing ProgramBuilder::getWriting(Value result) {
  if (result.hasOneUse()) {
    Operation *user = *result.user_begin();
    if (auto op = llvm::dyn_cast<eff::QuantizeStaticOp>(user);
        op && !op.getAsymmetric())
      return {allocateMatrix(op.getResult()), 1, getResource(op.getScale()),
              hasScaleEach(op.getScale())};
    if (auto op = llvm::dyn_cast<eff::QuantizeOp>(user)) {
      Matrix y = allocateMatrix(op.getResult());
      return {y, 2, allocateMatrix(op.getScale()).ref, false};
    }
  }
  return {allocateMatrix(result), 0, getNull(), false};
}

ProgramBuilder::Writing ProgramBuilder::getStaticWriting(Value result) {
  if (result.hasOneUse() &&
      llvm::isa<eff::QuantizeStaticOp>(*result.user_begin()))
    return getWriting(result);
  return {allocateMatrix(result), 0, getNull(), false};
}

void ProgramBuilder::addQuantization(ConstantList &constants,
                                     const Writing &writing) {
  if (writing.quant == 0)
    return;
  constants.push_back({"quant", writing.quant});
  if (writing.isEach)
    constants.push_back({"oscale_each", 1});
}

void ProgramBuilder::addReading(ConstantList &constants, const Reading &reading,
                                llvm::StringRef isInt8,
                                llvm::StringRef isEach) {
  if (!reading.isInt8)
    return;
  constants.push_back({isInt8, 1});
  if (reading.isEach)
    constants.push_back({isEach, 1});
}
