//===- PlanMemory.cpp - places the buffers of a program in its arena ------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Dialect/Plan/Families.h"
#include "effc/Dialect/Plan/Liveness.h"
#include "effc/Dialect/Plan/Transforms/Passes.h"

#include "mlir/IR/Remarks.h"
#include "llvm/Support/FormatVariadic.h"

namespace effc::plan {
#define GEN_PASS_DEF_PLANMEMORYPASS
#include "effc/Dialect/Plan/Transforms/Passes.h.inc"
} // namespace effc::plan

using namespace mlir;
using namespace effc::plan;

namespace {
/// A buffer that is in use in `range` and lies at `offset`.
struct Placement {
  BufferOp buffer;
  LiveRange range;
  int64_t bytes;
  /// Place in the program, to break ties.
  int64_t number;
  int64_t offset = 0;
};

class PlanMemoryPass
    : public effc::plan::impl::PlanMemoryPassBase<PlanMemoryPass> {
public:
  using PlanMemoryPassBase::PlanMemoryPassBase;
  void runOnOperation() override;

private:
  int64_t shareResiduals(ProgramOp program);
  void report(ProgramOp program, llvm::ArrayRef<Placement> placements,
              int64_t arena, int64_t shared);
};
} // namespace

/// Number of the step that is the last to use each buffer.
static int64_t lastUse(const Liveness &liveness, Value base) {
  return liveness.getRanges().find(base)->second.last;
}

/// The buffer among a linear's extras that its result may take over: read at
/// the place where the result is written, dead afterwards, of the same extent.
static BufferOp findResidual(StepOp step, KernelOp kernel, int64_t number,
                             const Liveness &liveness) {
  const Family *family = findFamily(kernel.getFamily());
  if (!family || !family->linear)
    return {};
  size_t fixed = family->operands.size();
  auto result = step.getOperands()[fixed - 1].getDefiningOp<BufferOp>();
  if (!result || liveness.getRanges().find(result)->second.first != number)
    return {};
  int64_t ldy = kernel.getConstant("ldy");
  for (int64_t i = 0, e = kernel.getConstant("extras"); i < e; ++i) {
    auto residual = step.getOperands()[fixed + i].getDefiningOp<BufferOp>();
    std::string ld = "extra" + std::to_string(i) + "_ld";
    if (!residual || residual == result || kernel.getConstant(ld) != ldy ||
        residual.getBytes() != result.getBytes() ||
        lastUse(liveness, residual) != number)
      continue;
    // The buffer must not also be the activations, which every part reads.
    auto inputs = step.getOperands().take_front(fixed - 1);
    if (llvm::none_of(inputs, [&](Value input) {
          return getBase(input) == residual.getResult();
        }))
      return residual;
  }
  return {};
}

/// Lets results take over the buffers of residuals; returns how many did.
int64_t PlanMemoryPass::shareResiduals(ProgramOp program) {
  SymbolTable symbols(program->getParentOfType<ModuleOp>());
  std::optional<Liveness> liveness(std::in_place, program);
  int64_t shared = 0;
  for (int64_t number = 0, end = liveness->getSteps().size(); number < end;
       ++number) {
    StepOp step = liveness->getSteps()[number];
    auto kernel = symbols.lookup<KernelOp>(step.getKernel());
    if (!kernel)
      continue;
    BufferOp residual = findResidual(step, kernel, number, *liveness);
    if (!residual)
      continue;
    size_t result = findFamily(kernel.getFamily())->operands.size() - 1;
    auto old = step.getOperands()[result].getDefiningOp<BufferOp>();
    residual->moveBefore(&program.getBody().front().front());
    old.getResult().replaceAllUsesWith(residual.getResult());
    old.erase();
    ++shared;
    // The residual's buffer is now in use for longer.
    liveness.emplace(program);
  }
  return shared;
}

/// Gives each placement the lowest offset that is free while it is in use,
/// largest first.
static int64_t assignOffsets(llvm::MutableArrayRef<Placement> placements) {
  llvm::SmallVector<Placement *> order;
  for (Placement &placement : placements)
    order.push_back(&placement);
  llvm::sort(order, [](const Placement *a, const Placement *b) {
    return std::tie(b->bytes, a->number) < std::tie(a->bytes, b->number);
  });
  // Placed so far, by offset.
  llvm::SmallVector<Placement *> placed;
  int64_t arena = 0;
  for (Placement *placement : order) {
    int64_t offset = 0;
    for (Placement *other : placed) {
      if (!placement->range.overlaps(other->range))
        continue;
      if (offset + placement->bytes <= other->offset)
        break;
      offset = std::max(offset, other->offset + other->bytes);
    }
    placement->offset = offset;
    arena = std::max(arena, offset + placement->bytes);
    auto at = llvm::upper_bound(placed, placement,
                                [](const Placement *a, const Placement *b) {
                                  return a->offset < b->offset;
                                });
    placed.insert(at, placement);
  }
  return arena;
}

/// The most bytes that are in use in one step: no plan can need fewer.
static int64_t getLowerBound(llvm::ArrayRef<Placement> placements) {
  int64_t bound = 0;
  for (const Placement &at : placements) {
    int64_t sum = 0;
    for (const Placement &other : placements)
      if (other.range.first <= at.range.first &&
          at.range.first <= other.range.last)
        sum += other.bytes;
    bound = std::max(bound, sum);
  }
  return bound;
}

void PlanMemoryPass::report(ProgramOp program,
                            llvm::ArrayRef<Placement> placements, int64_t arena,
                            int64_t shared) {
  int64_t sum = 0;
  llvm::MapVector<int64_t, llvm::SmallVector<Placement>> places;
  for (const Placement &placement : placements) {
    sum += placement.bytes;
    places[placement.offset].push_back(placement);
  }
  double reuse = arena ? static_cast<double>(sum) / arena : 1.0;
  std::string factor = llvm::formatv("{0:f2}", reuse);
  remark::passed(program.getLoc(), remark::RemarkOpts::name("ArenaPlanned")
                                       .category("plan-memory")
                                       .function(program.getSymName()))
      << remark::metric("ArenaBytes", arena)
      << remark::metric("BufferBytes", sum)
      << remark::metric("LowerBound", getLowerBound(placements))
      << remark::metric("Buffers", static_cast<int64_t>(placements.size()))
      << remark::metric("InPlace", shared) << remark::metric("Reuse", factor);
  for (auto &[offset, sharers] : places) {
    if (sharers.size() < 2)
      continue;
    std::string text = llvm::formatv("offset {0} holds", offset);
    for (Placement &sharer : sharers)
      text += llvm::formatv("{0} {1} bytes in steps {2}-{3}",
                            &sharer == &sharers.front() ? "" : ", then",
                            sharer.buffer.getBytes(), sharer.range.first,
                            sharer.range.last);
    remark::analysis(program.getLoc(), remark::RemarkOpts::name("Aliases")
                                           .category("plan-memory")
                                           .function(program.getSymName()))
        << remark::add("{0}", text);
  }
}

void PlanMemoryPass::runOnOperation() {
  ProgramOp program = getOperation();
  int64_t shared = inPlace ? shareResiduals(program) : 0;
  Liveness liveness(program);
  llvm::SmallVector<Placement> placements;
  for (BufferOp buffer :
       llvm::make_early_inc_range(program.getBody().getOps<BufferOp>())) {
    auto range = liveness.getRanges().find(buffer.getResult());
    if (range != liveness.getRanges().end()) {
      placements.push_back({buffer, range->second,
                            getFootprint(buffer.getBytes()),
                            static_cast<int64_t>(placements.size())});
    } else if (buffer->use_empty()) {
      buffer.erase();
    } else {
      // Only views use it: it takes room for nothing, so keep it out of the
      // way.
      buffer.setOffset(0);
    }
  }
  // By time, so that the report reads in the order of events.
  llvm::sort(placements, [](const Placement &a, const Placement &b) {
    return std::tie(a.range.first, a.number) <
           std::tie(b.range.first, b.number);
  });
  int64_t arena = assignOffsets(placements);
  for (Placement &placement : placements)
    placement.buffer.setOffset(placement.offset);
  program.setArena(arena);
  report(program, placements, arena, shared);
}
