//===- CancelUniform.cpp - layer norms drop what is uniform ---------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// LN(v + g 1) = LN(v): the norm subtracts the mean over its features, and with
/// it whatever is equal in all of them. Holds for eff.layer_norm alone (affine
/// behind the norm, mean over the same axis); a norm by root mean square keeps
/// the addend.
///
//===----------------------------------------------------------------------===//

#include "CancelUniform.h"

#include "effc/Dialect/Eff/Transforms/Collapse.h"
#include "effc/Dialect/Eff/Transforms/Passes.h"
#include "effc/Dialect/Eff/Uniformity.h"
#include "effc/Dialect/Eff/WeightValues.h"
#include "effc/Support/Error.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/StringSet.h"

namespace effc::eff {
#define GEN_PASS_DEF_EFFCANCELUNIFORMPASS
#include "effc/Dialect/Eff/Transforms/Passes.h.inc"
} // namespace effc::eff

using namespace mlir;
using namespace effc::eff;

static ArrayRef<int64_t> shapeOf(Value value) {
  return llvm::cast<RankedTensorType>(value.getType()).getShape();
}

/// A weight vector repeated for each token of `shape`.
static Value broadcastVector(OpBuilder &b, Location loc, Value weight,
                             ArrayRef<int64_t> shape) {
  Type f32 = b.getF32Type();
  Value read = ReadOp::create(
      b, loc, RankedTensorType::get({shape.back()}, f32), weight);
  SmallVector<int64_t> added;
  for (int64_t dim = 0; dim + 1 < int64_t(shape.size()); ++dim)
    added.push_back(dim);
  Value into = tensor::EmptyOp::create(b, loc, shape, f32);
  return linalg::BroadcastOp::create(b, loc, read, into, added)->getResult(0);
}

/// The weight vector that a value repeats along all dimensions but the last.
static UseOp matchVector(Value value) {
  auto broadcast = value.getDefiningOp<linalg::BroadcastOp>();
  auto read =
      broadcast ? broadcast.getInput().getDefiningOp<ReadOp>() : ReadOp();
  if (!read || read.getResult().getType().getRank() != 1 ||
      llvm::is_contained(broadcast.getDimensions(), shapeOf(value).size() - 1))
    return {};
  return read.getWeight().getDefiningOp<UseOp>();
}

namespace {
class Cancellation {
public:
  Cancellation(ModuleOp module) : module(module), symbols(module) {}
  llvm::Expected<int64_t> run();

private:
  llvm::Error visit(LayerNormOp norm, const Uniformity &uniformity);
  /// `value` without its addends that are equal within blocks of so many
  /// features; null when there are none.
  Value drop(Value value, int64_t features, const Uniformity &uniformity,
             OpBuilder &builder);
  llvm::Expected<Value> mergeScaled(Value value, OpBuilder &builder);

  ModuleOp module;
  SymbolTable symbols;
  int64_t count = 0;
};
} // namespace

Value Cancellation::drop(Value value, int64_t features,
                         const Uniformity &uniformity, OpBuilder &b) {
  Operation *op = value.getDefiningOp();
  if (!op || uniformity.getKind(value, features) != Uniformity::Kind::Sum)
    return {};
  Location loc = op->getLoc();
  if (auto expand = llvm::dyn_cast<ExpandChannelsOp>(op))
    return arith::MulFOp::create(
        b, loc, expand.getSkip(),
        broadcastVector(b, loc, expand.getFactor(), shapeOf(value)));
  if (auto merge = llvm::dyn_cast<CrossMergeOp>(op)) {
    Value x = drop(merge.getInput(), features, uniformity, b);
    return x ? CrossMergeOp::create(b, loc, value.getType(), x,
                                    merge.getDirections(), merge.getHeight(),
                                    merge.getWidth())
                   .getResult()
             : Value();
  }
  if (auto sum = llvm::dyn_cast<arith::AddFOp>(op)) {
    SmallVector<Value> terms;
    bool changed = false;
    for (Value term : sum->getOperands()) {
      if (uniformity.getKind(term, features) == Uniformity::Kind::Uniform) {
        changed = true;
        continue;
      }
      Value rest = drop(term, features, uniformity, b);
      changed |= static_cast<bool>(rest);
      terms.push_back(rest ? rest : term);
    }
    if (!changed || terms.empty())
      return {};
    return terms.size() == 1
               ? terms[0]
               : arith::AddFOp::create(b, loc, terms[0], terms[1]).getResult();
  }
  // Views that leave the features alone.
  if (auto view = llvm::dyn_cast<tensor::ExpandShapeOp>(op)) {
    Value x = shapeOf(view.getSrc()).back() == shapeOf(value).back()
                  ? drop(view.getSrc(), features, uniformity, b)
                  : Value();
    return x ? tensor::ExpandShapeOp::create(b, loc, view.getResultType(), x,
                                             view.getReassociationIndices())
                   .getResult()
             : Value();
  }
  if (auto view = llvm::dyn_cast<tensor::CollapseShapeOp>(op)) {
    Value x = shapeOf(view.getSrc()).back() == shapeOf(value).back()
                  ? drop(view.getSrc(), features, uniformity, b)
                  : Value();
    return x ? tensor::CollapseShapeOp::create(b, loc, view.getResultType(), x,
                                               view.getReassociationIndices())
                   .getResult()
             : Value();
  }
  return {};
}

/// merge(scan(x) * D) = x * sum_k D_k, when all directions read one image.
llvm::Expected<Value> Cancellation::mergeScaled(Value value, OpBuilder &b) {
  auto merge = value.getDefiningOp<CrossMergeOp>();
  auto product =
      merge ? merge.getInput().getDefiningOp<arith::MulFOp>() : arith::MulFOp();
  auto scan =
      product ? product.getLhs().getDefiningOp<CrossScanOp>() : CrossScanOp();
  UseOp use = product ? matchVector(product.getRhs()) : UseOp();
  if (!scan || !use || scan.getInputs().size() != 1 ||
      scan.getDirections() != merge.getDirections() ||
      scan.getHeight() != merge.getHeight() ||
      scan.getWidth() != merge.getWidth())
    return value;
  auto weight = symbols.lookup<WeightOp>(use.getSymbol());
  std::string name = (use.getSymbol() + ".sum").str();
  WeightOp sum = symbols.lookup<WeightOp>(name);
  if (!sum) { // each entry point uses the same one
    auto values = WeightValues::read(weight);
    if (!values)
      return values.takeError();
    int64_t features = shapeOf(value).back();
    std::vector<float> total(features);
    for (auto [i, d] : llvm::enumerate(values->getValues()))
      total[i % features] += d;
    auto created = createWeightVector(symbols, weight, name, total);
    if (!created)
      return created.takeError();
    sum = *created;
  }
  Location loc = merge.getLoc();
  Value factor = UseOp::create(b, loc, sum.getType(),
                               FlatSymbolRefAttr::get(sum.getSymNameAttr()));
  return arith::MulFOp::create(b, loc, scan.getInputs().front(),
                               broadcastVector(b, loc, factor, shapeOf(value)))
      .getResult();
}

static void report(LayerNormOp norm, StringRef what) {
  auto use = norm.getWeight().getDefiningOp<UseOp>();
  remark::passed(norm.getLoc(), remark::RemarkOpts::name("UniformCancelled")
                                    .category("eff-cancel-uniform")
                                    .function(use ? use.getSymbol() : "norm"))
      << remark::add("{0}", use ? use.getSymbol() : StringRef("norm"))
      << remark::metric("Features", shapeOf(norm.getInput()).back())
      << remark::reason("{0}", what);
}

llvm::Error Cancellation::visit(LayerNormOp norm,
                                const Uniformity &uniformity) {
  Value input = norm.getInput();
  int64_t features = shapeOf(input).back();
  OpBuilder b(norm);
  switch (uniformity.getKind(input, features)) {
  case Uniformity::Kind::Varying:
    return llvm::Error::success();
  case Uniformity::Kind::Uniform: {
    // 0 / sqrt(0 + eps); without eps that is no number.
    if (norm.getEps().isZero())
      return llvm::Error::success();
    Value constant =
        norm.getBias()
            ? broadcastVector(b, norm.getLoc(), norm.getBias(), shapeOf(input))
            : arith::ConstantOp::create(
                  b, norm.getLoc(),
                  DenseElementsAttr::get(
                      llvm::cast<ShapedType>(input.getType()), 0.0f))
                  .getResult();
    report(norm, "every feature is the same: the norm is its bias");
    norm.getResult().replaceAllUsesWith(constant);
    ++count;
    return llvm::Error::success();
  }
  case Uniformity::Kind::Sum: {
    Value rest = drop(input, features, uniformity, b);
    if (!rest)
      return llvm::Error::success();
    llvm::Expected<Value> merged = mergeScaled(rest, b);
    if (!merged)
      return merged.takeError();
    report(norm, "an addend that is the same in all features: scan eliminated, "
                 "the layer is scan-free");
    norm.getInputMutable().assign(*merged);
    ++count;
    return llvm::Error::success();
  }
  }
  return llvm::Error::success();
}

llvm::Expected<int64_t> Cancellation::run() {
  for (auto function : module.getOps<func::FuncOp>()) {
    if (function.isExternal())
      continue;
    Uniformity uniformity(function);
    SmallVector<LayerNormOp> norms(
        function.getBody().front().getOps<LayerNormOp>());
    for (LayerNormOp norm : norms)
      if (llvm::Error error = visit(norm, uniformity))
        return std::move(error);
  }
  return count;
}

llvm::Expected<int64_t> effc::eff::cancelUniformAddends(ModuleOp module) {
  llvm::Expected<int64_t> count = Cancellation(module).run();
  if (count && *count > 0)
    eraseUnused(module);
  return count;
}

void effc::eff::eraseUnused(ModuleOp module) {
  llvm::StringSet<> used;
  for (auto function : module.getOps<func::FuncOp>()) {
    if (function.isExternal())
      continue;
    for (Operation &op :
         llvm::make_early_inc_range(llvm::reverse(function.getBody().front())))
      if (isOpTriviallyDead(&op))
        op.erase();
    function.walk([&](UseOp use) { used.insert(use.getSymbol()); });
  }
  for (Operation &op : llvm::make_early_inc_range(*module.getBody()))
    if (llvm::isa<WeightOp, StateOp>(op) &&
        !used.contains(SymbolTable::getSymbolName(&op).getValue()))
      op.erase();
}

namespace {
class EffCancelUniformPass
    : public effc::eff::impl::EffCancelUniformPassBase<EffCancelUniformPass> {
public:
  using EffCancelUniformPassBase::EffCancelUniformPassBase;
  void runOnOperation() override {
    llvm::Expected<int64_t> count = cancelUniformAddends(getOperation());
    if (count)
      return;
    if (failed(effc::emit(getOperation().getLoc(), count.takeError())))
      signalPassFailure();
  }
};
} // namespace
