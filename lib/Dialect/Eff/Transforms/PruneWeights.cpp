//===- PruneWeights.cpp - small weights become zero -----------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "WeightUses.h"

#include "effc/Dialect/Eff/Transforms/Passes.h"
#include "effc/Dialect/Eff/WeightValues.h"
#include "effc/Support/Error.h"

#include "mlir/IR/Remarks.h"

#include <cmath>
#include <numeric>

namespace effc::eff {
#define GEN_PASS_DEF_EFFPRUNEWEIGHTSPASS
#include "effc/Dialect/Eff/Transforms/Passes.h.inc"
} // namespace effc::eff

using namespace mlir;
using namespace effc::eff;

namespace {
class EffPruneWeightsPass
    : public effc::eff::impl::EffPruneWeightsPassBase<EffPruneWeightsPass> {
public:
  using EffPruneWeightsPassBase::EffPruneWeightsPassBase;
  void runOnOperation() override;

private:
  llvm::Error prune(WeightOp op);
};
} // namespace

/// Zeros the floor(ratio * count) values of least magnitude; of equal ones the
/// first.
llvm::Error EffPruneWeightsPass::prune(WeightOp op) {
  auto weight = WeightValues::read(op);
  if (!weight)
    return weight.takeError();
  MutableArrayRef<float> values = weight->getValues();
  std::vector<uint32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0u);
  auto count = static_cast<size_t>(ratio * static_cast<double>(values.size()));
  auto isLess = [&](uint32_t a, uint32_t b) {
    float x = std::fabs(values[a]), y = std::fabs(values[b]);
    return x < y || (x == y && a < b);
  };
  std::nth_element(order.begin(), order.begin() + count, order.end(), isLess);
  double removed = 0, total = 0;
  for (float v : values)
    total += double(v) * v;
  for (size_t i = 0; i < count; ++i) {
    removed += double(values[order[i]]) * values[order[i]];
    values[order[i]] = 0;
  }
  WeightValues::replace(op, std::move(*weight));
  remark::passed(op.getLoc(), remark::RemarkOpts::name("WeightPruned")
                                  .category("eff-prune-weights")
                                  .function(op.getSymName()))
      << remark::add("{0}", op.getSymName())
      << remark::metric("Zeroed", int64_t(count))
      << remark::metric("Of", int64_t(order.size()))
      << remark::metric("Energy", total > 0 ? removed / total : 0.0);
  return llvm::Error::success();
}

void EffPruneWeightsPass::runOnOperation() {
  if (!(ratio >= 0 && ratio < 1)) {
    auto diagnostic = effc::emitUserError(
        getOperation().getLoc(), effc::ErrorCode::BadOption,
        "a share of " + std::to_string(ratio.getValue()) + " of the weights");
    effc::noteTry(diagnostic, "a number from 0 to below 1");
    return signalPassFailure();
  }
  for (auto &[weight, use] : findWeightUses(getOperation())) {
    WeightOp op = weight;
    bool isSkipped = llvm::any_of(skip, [&](const std::string &part) {
      return op.getSymName().contains(part);
    });
    if (!use.linear || use.table || use.other || isSkipped)
      continue;
    if (llvm::Error error = prune(op))
      if (failed(effc::emit(op.getLoc(), std::move(error))))
        return signalPassFailure();
  }
}
