//===- CollapseChannels.cpp - one scan in place of many -------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "CancelUniform.h"

#include "effc/Dialect/Eff/Transforms/Collapse.h"
#include "effc/Dialect/Eff/Transforms/Passes.h"
#include "effc/Dialect/Eff/WeightValues.h"
#include "effc/Support/Error.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Remarks.h"
#include "llvm/ADT/StringExtras.h"

namespace effc::eff {
#define GEN_PASS_DEF_EFFCOLLAPSECHANNELSPASS
#include "effc/Dialect/Eff/Transforms/Passes.h.inc"
} // namespace effc::eff

using namespace mlir;
using namespace effc::eff;

static ArrayRef<int64_t> shapeOf(Value value) {
  return llvm::cast<RankedTensorType>(value.getType()).getShape();
}

/// A scan's layer is what its decay belongs to: `stage0.1.op` of
/// `stage0.1.op.A_logs`.
static StringRef layerOf(Value decay) {
  auto use = decay.getDefiningOp<UseOp>();
  return use ? use.getSymbol().rsplit('.').first : StringRef();
}

std::vector<ScanLayer> effc::eff::listScanLayers(ModuleOp module) {
  std::vector<ScanLayer> layers;
  module.walk([&](Operation *op) {
    Value a = llvm::isa<SsmScanOp>(op)   ? llvm::cast<SsmScanOp>(op).getA()
              : llvm::isa<SsdScanOp>(op) ? llvm::cast<SsdScanOp>(op).getA()
                                         : Value();
    if (!a)
      return;
    std::string name = layerOf(a).str();
    bool isKnown = llvm::any_of(
        layers, [&](const ScanLayer &l) { return l.name == name; });
    if (!isKnown)
      layers.push_back(
          {name, !llvm::cast<Stateful>(op).getStateOperands().empty()});
  });
  return layers;
}

namespace {
class EffCollapseChannelsPass
    : public effc::eff::impl::EffCollapseChannelsPassBase<
          EffCollapseChannelsPass> {
public:
  using EffCollapseChannelsPassBase::EffCollapseChannelsPassBase;
  void runOnOperation() override;

private:
  LogicalResult chooseLayers();
  LogicalResult collapse(SsmScanOp op);
  LogicalResult collapse(SsdScanOp op);
  Value collapseMeans(SsmScanOp op, Value dt, OpBuilder &b);
  FailureOr<Value> narrowState(Value state, int64_t scans, OpBuilder &b);
  FailureOr<Value> derivedWeight(
      Value weight, StringRef suffix, ArrayRef<int64_t> shape,
      llvm::function_ref<void(ArrayRef<float>, MutableArrayRef<float>)> compute,
      OpBuilder &b);
  void report(Operation *op, Value decay, int64_t flops, int64_t bytes,
              int64_t newFlops, int64_t newBytes);

  std::vector<std::string> chosen;
  std::optional<SymbolTable> symbols;
};
} // namespace

LogicalResult EffCollapseChannelsPass::chooseLayers() {
  std::vector<ScanLayer> known = listScanLayers(getOperation());
  std::string names = llvm::join(
      llvm::map_range(known, [](const ScanLayer &l) { return l.name; }), ", ");
  auto refuse = [&](const Twine &what, const Twine &hint) {
    auto diagnostic = effc::emitUserError(getOperation().getLoc(),
                                          effc::ErrorCode::BadOption, what);
    effc::noteTry(diagnostic, hint);
    return failure();
  };
  if (known.empty())
    return refuse("no layer has a scan to collapse",
                  "effc compile --stop-after=eff shows what was recognised");
  for (const std::string &layer : layers) {
    unsigned number = 0;
    std::string name = layer;
    if (!StringRef(layer).getAsInteger(10, number)) {
      if (number >= known.size())
        return refuse("there is no layer " + layer + " with a scan",
                      "layers 0 to " + Twine(known.size() - 1) + " have one");
      name = known[number].name;
    }
    auto it = llvm::find_if(known,
                            [&](const ScanLayer &l) { return l.name == name; });
    if (it == known.end())
      return refuse("no layer '" + layer + "' has a scan",
                    "layers with a scan: " + names);
    if (it->hasState && !language)
      return refuse("layer '" + name +
                        "' keeps a state: all its channels would "
                        "share one memory",
                    "language=true collapses language models all the same");
    chosen.push_back(name);
  }
  return success();
}

/// softplus(dt + bias), as the scan computes it.
static Value timeSteps(Value dt, Value bias, bool softplus, OpBuilder &b,
                       Location loc) {
  auto type = llvm::cast<RankedTensorType>(dt.getType());
  if (bias) {
    Value read = ReadOp::create(
        b, loc, RankedTensorType::get({type.getShape().back()}, b.getF32Type()),
        bias);
    Value into =
        tensor::EmptyOp::create(b, loc, type.getShape(), b.getF32Type());
    Value all =
        linalg::BroadcastOp::create(b, loc, read, into, ArrayRef<int64_t>{0, 1})
            ->getResult(0);
    dt = arith::AddFOp::create(b, loc, dt, all);
  }
  if (!softplus)
    return dt;
  Value zero =
      arith::ConstantOp::create(b, loc, DenseElementsAttr::get(type, 0.0f));
  Value e = math::ExpOp::create(
      b, loc, arith::NegFOp::create(b, loc, math::AbsFOp::create(b, loc, dt)));
  return arith::AddFOp::create(b, loc,
                               arith::MaximumFOp::create(b, loc, dt, zero),
                               math::Log1pOp::create(b, loc, e));
}

/// The state of `scans` channels, under the old name.
FailureOr<Value>
EffCollapseChannelsPass::narrowState(Value state, int64_t scans, OpBuilder &b) {
  if (!state)
    return Value();
  auto use = state.getDefiningOp<UseOp>();
  auto op = use ? symbols->lookup<StateOp>(use.getSymbol()) : StateOp();
  auto type = llvm::cast<StateType>(state.getType());
  if (!op || !type.isF32()) {
    auto diagnostic =
        effc::emitUserError(state.getLoc(), effc::ErrorCode::BadOption,
                            "a quantised state cannot be collapsed");
    effc::noteTry(diagnostic, "collapse channels before quantize-states");
    return failure();
  }
  ArrayRef<int64_t> shape = type.getShape();
  int64_t n = type.getKind() == StateKind::Ssd ? shape[1] : shape[0];
  auto narrow =
      StateType::get(&getContext(), StateKind::Ssm, {n, scans}, b.getF32Type());
  op.setType(narrow);
  return UseOp::create(b, use.getLoc(), narrow, use.getSymbolAttr())
      .getResult();
}

FailureOr<Value> EffCollapseChannelsPass::derivedWeight(
    Value weight, StringRef suffix, ArrayRef<int64_t> shape,
    llvm::function_ref<void(ArrayRef<float>, MutableArrayRef<float>)> compute,
    OpBuilder &b) {
  auto source =
      symbols->lookup<WeightOp>(weight.getDefiningOp<UseOp>().getSymbol());
  std::string name = (source.getSymName() + suffix).str();
  auto derived = symbols->lookup<WeightOp>(name);
  if (!derived) { // each entry point uses the same one
    auto values = WeightValues::read(source);
    if (!values)
      return LogicalResult(effc::emit(source.getLoc(), values.takeError()));
    auto type = RankedTensorType::get(shape, b.getF32Type());
    std::vector<float> out(type.getNumElements());
    compute(values->getValues(), out);
    OpBuilder top(source);
    auto weightType =
        WeightType::get(&getContext(), shape, TypeAttr::get(b.getF32Type()));
    derived =
        WeightOp::create(top, source.getLoc(), name, weightType,
                         DenseElementsAttr::get(type, ArrayRef<float>(out)));
    derived->remove();
    symbols->insert(derived, source->getIterator());
  }
  return UseOp::create(b, weight.getLoc(), derived.getType(),
                       FlatSymbolRefAttr::get(derived.getSymNameAttr()))
      .getResult();
}

/// Means over dimension `dim`, which stays with one element where `keep`.
static Value mean(Value x, int64_t dim, bool keep, OpBuilder &b, Location loc) {
  ArrayRef<int64_t> shape = shapeOf(x);
  SmallVector<int64_t> reduced(shape), kept(shape);
  int64_t size = shape[dim];
  reduced.erase(reduced.begin() + dim);
  kept[dim] = 1;
  Type f32 = b.getF32Type();
  Value zero = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(0));
  Value init = linalg::FillOp::create(
                   b, loc, zero,
                   tensor::EmptyOp::create(b, loc, reduced, f32).getResult())
                   ->getResult(0);
  Value sum =
      linalg::ReduceOp::create(
          b, loc, ValueRange{x}, ValueRange{init}, ArrayRef<int64_t>{dim},
          [&](OpBuilder &body, Location l, ValueRange v) {
            linalg::YieldOp::create(
                body, l,
                arith::AddFOp::create(body, l, v[0], v[1]).getResult());
          })
          ->getResult(0);
  auto type = RankedTensorType::get(reduced, f32);
  Value share = arith::ConstantOp::create(
      b, loc, DenseElementsAttr::get(type, 1.0f / static_cast<float>(size)));
  Value result = arith::MulFOp::create(b, loc, sum, share);
  if (!keep)
    return result;
  SmallVector<ReassociationIndices> groups(reduced.size());
  for (size_t i = 0; i < reduced.size(); ++i)
    groups[i] = {int64_t(i)};
  groups.back().push_back(int64_t(reduced.size()));
  return tensor::ExpandShapeOp::create(b, loc, RankedTensorType::get(kept, f32),
                                       result, groups);
}

/// Variant pre: an ordinary scan of one channel, the mean of all.
Value EffCollapseChannelsPass::collapseMeans(SsmScanOp op, Value dt,
                                             OpBuilder &b) {
  Location loc = op.getLoc();
  ArrayRef<int64_t> shape = shapeOf(op.getInput());
  int64_t channels = shape[2], groups = op.getGroups(),
          n = shapeOf(op.getB())[2] / groups;
  auto ofGroups = [&](Value v) {
    auto type =
        RankedTensorType::get({shape[0], shape[1], groups, n}, b.getF32Type());
    Value parts = tensor::ExpandShapeOp::create(
        b, loc, type, v, SmallVector<ReassociationIndices>{{0}, {1}, {2, 3}});
    return mean(parts, 2, false, b, loc);
  };
  Value u = mean(op.getInput(), 2, true, b, loc),
        step = mean(dt, 2, true, b, loc);
  auto average = [&](ArrayRef<float> in, MutableArrayRef<float> out) {
    for (size_t i = 0; i < in.size(); ++i)
      out[i % out.size()] += in[i] / float(channels);
  };
  FailureOr<Value> a = derivedWeight(op.getA(), ".mean", {1, n}, average, b),
                   state = narrowState(op.getState(), 1, b);
  FailureOr<Value> skip =
      op.getSkip() ? derivedWeight(op.getSkip(), ".mean", {1}, average, b)
                   : FailureOr<Value>(Value());
  if (failed(a) || failed(state) || failed(skip))
    return {};
  Value y =
      SsmScanOp::create(b, loc, u.getType(), u, step, *a, ofGroups(op.getB()),
                        ofGroups(op.getC()), *state, *skip, Value(), 1);
  return ExpandChannelsOp::create(b, loc, op.getResult().getType(), y, Value(),
                                  Value(), op.getGate());
}

void EffCollapseChannelsPass::report(Operation *op, Value decay, int64_t flops,
                                     int64_t bytes, int64_t newFlops,
                                     int64_t newBytes) {
  constexpr StringLiteral names[] = {"post", "dir", "pre"};
  remark::passed(op->getLoc(), remark::RemarkOpts::name("ChannelsCollapsed")
                                   .category("eff-collapse-channels")
                                   .function(layerOf(decay)))
      << remark::add("{0}", layerOf(decay))
      << remark::metric("Variant", names[int(variant.getValue())])
      << remark::metric("FlopsBefore", flops)
      << remark::metric("FlopsAfter", newFlops)
      << remark::metric("BytesBefore", bytes)
      << remark::metric("BytesAfter", newBytes);
}

static int64_t flopsOf(Value value) {
  auto costed = llvm::dyn_cast_or_null<Costed>(value.getDefiningOp());
  return costed ? costed.getFlops() : 0;
}

LogicalResult EffCollapseChannelsPass::collapse(SsmScanOp op) {
  OpBuilder b(op);
  Location loc = op.getLoc();
  int64_t flops = op.getFlops(), bytes = op.getTraffic();
  Value decay = op.getA();
  Value dt = timeSteps(op.getDt(), op.getDtBias(), op.getDtSoftplus(), b, loc);
  Value y;
  int64_t newFlops = 0;
  if (variant == CollapseMode::Pre) {
    y = collapseMeans(op, dt, b);
    if (!y)
      return failure();
    newFlops = flopsOf(y.getDefiningOp<ExpandChannelsOp>().getInput());
  } else {
    int64_t groups = op.getGroups(),
            scans = variant == CollapseMode::Dir ? groups : 1;
    SmallVector<int64_t> shape(shapeOf(op.getInput()));
    shape[2] = scans * shapeOf(op.getB())[2] / groups;
    auto type = RankedTensorType::get(shape, b.getF32Type());
    auto means =
        CollapseChannelsOp::create(b, loc, type, type, type, op.getInput(), dt,
                                   decay, op.getB(), op.getC(), groups, scans);
    FailureOr<Value> state = narrowState(op.getState(), scans, b);
    if (failed(state))
      return failure();
    shape[2] = scans;
    auto scan = CollapsedScanOp::create(
        b, loc, RankedTensorType::get(shape, b.getF32Type()), means.getDecay(),
        means.getIncrement(), means.getOutput(), *state);
    y = ExpandChannelsOp::create(b, loc, op.getResult().getType(), scan,
                                 op.getSkip() ? op.getInput() : Value(),
                                 op.getSkip(), op.getGate());
    newFlops = means.getFlops() + scan.getFlops();
  }
  report(op, decay, flops, bytes, newFlops,
         variant == CollapseMode::Pre ? bytes / shapeOf(op.getInput())[2]
                                      : bytes);
  op.getResult().replaceAllUsesWith(y);
  op.erase();
  return success();
}

/// Mamba-2: each group's heads and channels share one state.
LogicalResult EffCollapseChannelsPass::collapse(SsdScanOp op) {
  OpBuilder b(op);
  Location loc = op.getLoc();
  if (variant == CollapseMode::Pre) {
    auto diagnostic = effc::emitUserError(
        loc, effc::ErrorCode::BadOption,
        "variant pre is not defined for the scan of Mamba-2");
    effc::noteTry(diagnostic, "use post or dir");
    return failure();
  }
  int64_t flops = op.getFlops(), bytes = op.getTraffic();
  Value decay = op.getA();
  Value dt = timeSteps(op.getDt(), op.getDtBias(), op.getDtSoftplus(), b, loc);
  int64_t groups = op.getGroups(), channels = shapeOf(op.getInput())[2];
  auto type = llvm::cast<RankedTensorType>(op.getB().getType());
  auto means =
      CollapseChannelsOp::create(b, loc, type, type, type, op.getInput(), dt,
                                 decay, op.getB(), op.getC(), groups, groups);
  FailureOr<Value> state = narrowState(op.getState(), groups, b);
  if (failed(state))
    return failure();
  Value factor;
  if (op.getSkip()) {
    FailureOr<Value> repeated = derivedWeight(
        op.getSkip(), ".channels", {channels},
        [](ArrayRef<float> in, MutableArrayRef<float> out) {
          for (size_t i = 0; i < out.size(); ++i)
            out[i] = in[i * in.size() / out.size()];
        },
        b);
    if (failed(repeated))
      return failure();
    factor = *repeated;
  }
  SmallVector<int64_t> shape(type.getShape());
  shape[2] = groups;
  auto scan = CollapsedScanOp::create(
      b, loc, RankedTensorType::get(shape, b.getF32Type()), means.getDecay(),
      means.getIncrement(), means.getOutput(), *state);
  Value y = ExpandChannelsOp::create(b, loc, op.getResult().getType(), scan,
                                     factor ? op.getInput() : Value(), factor,
                                     Value());
  report(op, decay, flops, bytes, means.getFlops() + scan.getFlops(), bytes);
  op.getResult().replaceAllUsesWith(y);
  op.erase();
  return success();
}

void EffCollapseChannelsPass::runOnOperation() {
  chosen.clear();
  symbols.emplace(getOperation());
  if (failed(chooseLayers()))
    return signalPassFailure();
  SmallVector<Operation *> scans;
  getOperation().walk([&](Operation *op) {
    Value a = llvm::isa<SsmScanOp>(op)   ? llvm::cast<SsmScanOp>(op).getA()
              : llvm::isa<SsdScanOp>(op) ? llvm::cast<SsdScanOp>(op).getA()
                                         : Value();
    if (a && llvm::is_contained(chosen, layerOf(a)))
      scans.push_back(op);
  });
  for (Operation *op : scans) {
    auto ssm = llvm::dyn_cast<SsmScanOp>(op);
    if (failed(ssm ? collapse(ssm) : collapse(llvm::cast<SsdScanOp>(op))))
      return signalPassFailure();
  }
  eraseUnused(getOperation());
  if (literal || scans.empty())
    return;
  llvm::Expected<int64_t> cancelled = cancelUniformAddends(getOperation());
  if (!cancelled &&
      failed(effc::emit(getOperation().getLoc(), cancelled.takeError())))
    signalPassFailure();
}
