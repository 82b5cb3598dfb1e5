//===- FuseDt.cpp - softplus and bias of time steps into scans ------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "effc/Dialect/Eff/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace effc::eff {
#define GEN_PASS_DEF_EFFFUSEDTPASS
#include "effc/Dialect/Eff/Transforms/Passes.h.inc"
} // namespace effc::eff

using namespace mlir;
using namespace effc::eff;

namespace {
/// What a scan's time steps are made of: softplus(raw + bias).
struct TimeStep {
  Value raw, bias;
  /// The linear whose epilogue ends with the bias; the raw value then is its
  /// result without it.
  LinearOp linear;
};

class EffFuseDtPass : public effc::eff::impl::EffFuseDtPassBase<EffFuseDtPass> {
public:
  using EffFuseDtPassBase::EffFuseDtPassBase;
  void runOnOperation() override;
};
} // namespace

/// The operand of a chain of single-operand ops, outermost first; null when it
/// is another chain.
template <typename... Ops> static Value matchChain(Value value) {
  auto step = [&](auto op) { value = op ? op->getOperand(0) : Value(); };
  (step(value ? value.getDefiningOp<Ops>() : Ops()), ...);
  return value;
}

/// v of max(v, 0).
static Value matchPositivePart(Value value) {
  auto max = value.getDefiningOp<arith::MaximumFOp>();
  if (!max)
    return {};
  if (matchPattern(max.getRhs(), m_AnyZeroFloat()))
    return max.getLhs();
  return matchPattern(max.getLhs(), m_AnyZeroFloat()) ? max.getRhs() : Value();
}

/// v of max(v, 0) + log1p(exp(-|v|)).
static Value matchSoftplus(Value value) {
  auto sum = value.getDefiningOp<arith::AddFOp>();
  if (!sum)
    return {};
  for (auto [first, second] : {std::pair(sum.getLhs(), sum.getRhs()),
                               std::pair(sum.getRhs(), sum.getLhs())}) {
    Value v = matchPositivePart(first);
    if (v &&
        v ==
            matchChain<math::Log1pOp, math::ExpOp, arith::NegFOp, math::AbsFOp>(
                second))
      return v;
  }
  return {};
}

/// The weight vector that a value repeats for each token.
static Value matchVector(Value value) {
  auto broadcast = value.getDefiningOp<linalg::BroadcastOp>();
  if (!broadcast || broadcast.getDimensions() != ArrayRef<int64_t>{0, 1})
    return {};
  auto read = broadcast.getInput().getDefiningOp<ReadOp>();
  return read ? read.getWeight() : Value();
}

/// The extra of a linear that its epilogue adds last, if it is a weight vector.
static std::optional<unsigned> matchLastBias(LinearOp linear) {
  if (!linear || !linear.hasEpilogue())
    return {};
  Block &body = linear.getEpilogue().front();
  auto sum = body.getTerminator()->getOperand(0).getDefiningOp<arith::AddFOp>();
  if (!sum)
    return {};
  for (Value term : sum->getOperands()) {
    auto argument = llvm::dyn_cast<BlockArgument>(term);
    if (!argument || argument.getArgNumber() == 0)
      continue;
    unsigned extra = argument.getArgNumber() - 1;
    if (llvm::isa<WeightType>(linear.getExtras()[extra].getType()))
      return extra;
  }
  return {};
}

/// Splits `value` into what is computed and a bias.
static TimeStep matchBias(Value value) {
  if (auto sum = value.getDefiningOp<arith::AddFOp>()) {
    if (Value bias = matchVector(sum.getRhs()))
      return {sum.getLhs(), bias, {}};
    if (Value bias = matchVector(sum.getLhs()))
      return {sum.getRhs(), bias, {}};
  }
  auto linear = value.getDefiningOp<LinearOp>();
  if (std::optional<unsigned> extra = matchLastBias(linear))
    // Whoever else reads the linear's result wants it with the bias.
    if (llvm::all_of(value.getUsers(),
                     llvm::IsaPred<math::AbsFOp, arith::MaximumFOp>) &&
        std::distance(value.use_begin(), value.use_end()) == 2)
      return {value, linear.getExtras()[*extra], linear};
  return {value, {}, {}};
}

/// The linear without the bias that its epilogue adds last.
static Value withoutBias(LinearOp linear) {
  unsigned extra = *matchLastBias(linear);
  OpBuilder builder(linear);
  Region epilogue;
  epilogue.takeBody(linear.getEpilogue());
  Block &body = epilogue.front();
  Operation *yield = body.getTerminator();
  auto sum = yield->getOperand(0).getDefiningOp<arith::AddFOp>();
  BlockArgument bias = body.getArgument(1 + extra);
  yield->setOperand(0, sum.getLhs() == bias ? sum.getRhs() : sum.getLhs());
  if (sum->use_empty())
    sum->erase();
  llvm::SmallVector<Value> extras(linear.getExtras());
  if (bias.use_empty()) {
    body.eraseArgument(1 + extra);
    extras.erase(extras.begin() + extra);
  }
  auto bare = LinearOp::create(builder, linear.getLoc(), linear.getType(),
                               linear.getInput(), linear.getWeight(),
                               linear.getScale(), extras);
  if (!extras.empty() || !llvm::hasSingleElement(body))
    bare.getEpilogue().takeBody(epilogue);
  linear.getResult().replaceAllUsesWith(bare.getResult());
  linear.erase();
  return bare.getResult();
}

/// Erases what computed a value that nothing reads any more.
static void eraseUnused(Value value) {
  llvm::SmallVector<Operation *> work = {value.getDefiningOp()};
  while (!work.empty()) {
    Operation *op = work.pop_back_val();
    if (!op || !isOpTriviallyDead(op))
      continue;
    llvm::SetVector<Operation *> producers;
    for (Value operand : op->getOperands())
      if (Operation *producer = operand.getDefiningOp())
        producers.insert(producer);
    op->erase();
    work.append(producers.begin(), producers.end());
  }
}

template <typename ScanOp> static void fuse(ScanOp scan, StringRef function) {
  auto options = [&](StringRef name) {
    return remark::RemarkOpts::name(name)
        .category("eff-fuse-dt")
        .function(function);
  };
  if (scan.getDtSoftplus() || scan.getDtBias())
    return;
  Value dt = scan.getDt(), v = matchSoftplus(dt);
  if (!v) {
    remark::missed(scan.getLoc(), options("DtKept"))
        << remark::reason("dt is no softplus");
    return;
  }
  if (!dt.hasOneUse()) {
    remark::missed(scan.getLoc(), options("DtKept"))
        << remark::reason("other ops read dt after its softplus");
    return;
  }
  TimeStep step = matchBias(v);
  scan.setDtSoftplus(true);
  if (step.bias)
    scan.getDtBiasMutable().assign(step.bias);
  // The softplus goes first, so that the linear has no other reader.
  scan.getDtMutable().assign(step.raw);
  eraseUnused(dt);
  if (step.linear)
    withoutBias(step.linear);
  remark::passed(scan.getLoc(), options("DtFused"))
      << remark::metric("Bias", static_cast<int64_t>(bool(step.bias)));
}

void EffFuseDtPass::runOnOperation() {
  func::FuncOp func = getOperation();
  llvm::SmallVector<Operation *> scans;
  func.walk([&](Operation *op) {
    if (llvm::isa<SsdScanOp, SsmScanOp>(op))
      scans.push_back(op);
  });
  for (Operation *op : scans) {
    if (auto scan = llvm::dyn_cast<SsdScanOp>(op))
      fuse(scan, func.getName());
    else
      fuse(llvm::cast<SsmScanOp>(op), func.getName());
  }
}
