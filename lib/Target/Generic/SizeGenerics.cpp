//===- SizeGenerics.cpp - scratch space of generic code -------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Support/Error.h"
#include "effc/Target/Generic/CompileGeneric.h"
#include "effc/Target/Generic/Passes.h"

#include "mlir/IR/Remarks.h"

namespace effc {
#define GEN_PASS_DEF_PLANSIZEGENERICSPASS
#include "effc/Target/Generic/Passes.h.inc"
} // namespace effc

using namespace mlir;
using namespace effc;

namespace {
class PlanSizeGenericsPass
    : public effc::impl::PlanSizeGenericsPassBase<PlanSizeGenericsPass> {
public:
  using PlanSizeGenericsPassBase::PlanSizeGenericsPassBase;
  void runOnOperation() override;
};
} // namespace

/// Gives a step the scratch space of its code as a last operand.
static void addScratch(plan::StepOp step, int64_t bytes) {
  OpBuilder builder(step);
  Value buffer =
      plan::BufferOp::create(builder, step.getLoc(), bytes, IntegerAttr());
  llvm::SmallVector<int64_t> writes(step.getWrites());
  writes.push_back(step.getOperands().size());
  step.getOperandsMutable().append(buffer);
  step.setWrites(writes);
}

void PlanSizeGenericsPass::runOnOperation() {
  llvm::StringMap<int64_t> scratch;
  for (plan::GenericOp generic : getOperation().getOps<plan::GenericOp>()) {
    if (generic.getScratch() > 0)
      continue; // Its steps have the operand already.
    llvm::Expected<int64_t> bytes = measureScratch(printGeneric(generic));
    if (!bytes) {
      if (failed(emit(generic.getLoc(), bytes.takeError())))
        signalPassFailure();
      return;
    }
    remark::passed(generic.getLoc(), remark::RemarkOpts::name("ScratchSized")
                                         .category("plan-size-generics")
                                         .function(generic.getSymName()))
        << remark::metric("Bytes", *bytes);
    if (*bytes == 0)
      continue;
    generic.setScratch(*bytes);
    scratch[generic.getSymName()] = *bytes;
  }
  getOperation().walk([&](plan::StepOp step) {
    auto bytes = scratch.find(step.getKernel());
    if (bytes != scratch.end())
      addScratch(step, bytes->second);
  });
}
