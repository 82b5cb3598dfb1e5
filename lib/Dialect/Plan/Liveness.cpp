//===- Liveness.cpp - when the buffers of a program are in use ------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Dialect/Plan/Liveness.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace effc::plan;

/// Must not be less than EFF_ALIGN of effrt.h.
static constexpr int64_t kAlign = 64;

Value effc::plan::getBase(Value ref) {
  while (auto view = ref.getDefiningOp<ViewOp>())
    ref = view.getBase();
  return ref;
}

int64_t effc::plan::getViewOffset(Value ref) {
  int64_t offset = 0;
  while (auto view = ref.getDefiningOp<ViewOp>()) {
    offset += view.getOffset();
    ref = view.getBase();
  }
  return offset;
}

int64_t effc::plan::getFootprint(int64_t bytes) {
  return static_cast<int64_t>(llvm::alignTo(bytes, kAlign)) + kAlign;
}

Liveness::Liveness(ProgramOp program) {
  for (Operation &op : program.getBody().front()) {
    auto step = llvm::dyn_cast<StepOp>(op);
    if (!step)
      continue;
    int64_t number = steps.size();
    steps.push_back(step);
    // One step may name a buffer several times; it is defined when any of them
    // writes.
    llvm::SmallMapVector<Value, bool, 4> used;
    for (auto [index, operand] : llvm::enumerate(step.getOperands())) {
      Value base = getBase(operand);
      if (llvm::isa_and_nonnull<BufferOp, OutputOp>(base.getDefiningOp()))
        used[base] |= step.isWritten(index);
    }
    for (auto [base, written] : used) {
      auto [it, isNew] =
          ranges.insert({base, LiveRange{number, number, written}});
      it->second.last = number;
    }
  }
}
