//===- QuantizeActivations.cpp - int8 activations with static scales ------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//
///
/// \file
/// Puts `eff.quantize_static` behind what linears and convolutions compute and
/// `eff.dequantize` in front of what reads it. Steps fold both into the kernels
/// on either side (Quamba, arXiv 2410.13229; Quamba2, arXiv 2503.22879).
///
//===----------------------------------------------------------------------===//

#include "StaticScales.h"
#include "Statistics.h"
#include "effc/Dialect/Eff/Transforms/Passes.h"
#include "effc/Dialect/Eff/Transforms/Precision.h"
#include "effc/Support/Error.h"

#include "mlir/IR/Remarks.h"
#include "llvm/ADT/TypeSwitch.h"

namespace effc::eff {
#define GEN_PASS_DEF_EFFQUANTIZEACTIVATIONSPASS
#include "effc/Dialect/Eff/Transforms/Passes.h.inc"
} // namespace effc::eff

using namespace mlir;
using namespace effc;
using namespace effc::eff;

namespace {
class EffQuantizeActivationsPass
    : public effc::eff::impl::EffQuantizeActivationsPassBase<
          EffQuantizeActivationsPass> {
public:
  using EffQuantizeActivationsPassBase::EffQuantizeActivationsPassBase;
  void runOnOperation() override;
};

/// Quantises the values of one function.
class Quantizer {
public:
  Quantizer(func::FuncOp func, StaticScales &scales, const Precision &precision,
            bool mixers)
      : func(func), scales(scales), precision(precision), mixers(mixers) {}
  llvm::Error run();
  int64_t getCount() const { return count; }

private:
  bool takesInt8(LinearOp linear) const;
  llvm::Error quantizeResult(Operation *producer);
  llvm::Error quantizeInput(LinearOp linear);
  llvm::Error quantizeScan(Operation *scan);
  llvm::Error replaceUses(Value part, Value q, Value scale,
                          const PartScales &values);

  func::FuncOp func;
  StaticScales &scales;
  const Precision &precision;
  const bool mixers;
  /// What linears read, already as integers, and its scale.
  llvm::DenseMap<Value, std::pair<Value, Value>> quantized;
  int64_t count = 0;
};
} // namespace

/// Whether an op reads this operand as int8 without a step of its own.
static bool readsInt8(OpOperand &use) {
  Value value = use.get();
  return llvm::TypeSwitch<Operation *, bool>(use.getOwner())
      .Case([&](CausalConv1DOp op) { return op.getInput() == value; })
      .Case<SsmScanOp, SsdScanOp>([](auto) { return true; })
      .Case([&](GatedNormOp op) { return op.getGate() == value; })
      .Default([](Operation *) { return false; });
}

/// A linear reads integers when its weight is of integers, its layer asks for
/// them and its rows are those of tokens (heads read chosen rows in f32).
bool Quantizer::takesInt8(LinearOp linear) const {
  auto weight = llvm::cast<WeightType>(linear.getWeight().getType());
  auto input = llvm::cast<RankedTensorType>(linear.getInput().getType());
  if (!weight.isInteger() || input.getRank() != 3)
    return false;
  int64_t bits = weight.isInt4() ? 4 : 8;
  return precision.get(getSymbolOf(linear.getWeight()), {bits, 8})
             .activationBits == 8;
}

/// Lets the linears and mixers that read a value read its codes instead.
llvm::Error Quantizer::replaceUses(Value part, Value q, Value scale,
                                   const PartScales &values) {
  Value plain;
  for (OpOperand &use : llvm::make_early_inc_range(part.getUses())) {
    if (use.getOwner() == q.getDefiningOp())
      continue;
    auto linear = llvm::dyn_cast<LinearOp>(use.getOwner());
    bool isReader = linear && linear.getInput() == part && takesInt8(linear);
    if (!isReader && !readsInt8(use))
      continue;
    if (isReader) {
      if (values.isUniform()) {
        quantized[part] = {q, scale};
        continue;
      }
      OpBuilder builder(linear);
      llvm::Expected<Value> unit =
          scales.foldIntoWeight(builder, linear, values.values);
      if (!unit)
        return unit.takeError();
      if (*unit) {
        linear.getInputMutable().assign(q);
        linear.getScaleMutable().assign(*unit);
        continue;
      }
    }
    if (!plain) {
      OpBuilder builder(func.getContext());
      bool isScaleLast =
          q.getDefiningOp()->isBeforeInBlock(scale.getDefiningOp());
      builder.setInsertionPointAfterValue(isScaleLast ? scale : q);
      plain =
          DequantizeOp::create(builder, q.getLoc(), part.getType(), q, scale);
    }
    use.set(plain);
  }
  return llvm::Error::success();
}

/// Quantises what a linear or convolution computes if all that reads it does
/// so.
llvm::Error Quantizer::quantizeResult(Operation *producer) {
  Value result = producer->getResult(0);
  auto type = llvm::dyn_cast<RankedTensorType>(result.getType());
  if (!type || type.getRank() != 3 || result.use_empty())
    return llvm::Error::success();
  auto split = result.hasOneUse()
                   ? llvm::dyn_cast<SplitOp>(*result.user_begin())
                   : SplitOp();
  llvm::SmallVector<Value> parts{result};
  if (split)
    parts.assign(split->result_begin(), split->result_end());
  bool reachesMixer = false;
  for (Value part : parts)
    for (OpOperand &use : part.getUses()) {
      auto linear = llvm::dyn_cast<LinearOp>(use.getOwner());
      bool mixes = readsInt8(use);
      reachesMixer |= mixes;
      if (!mixes && !(linear && linear.getInput() == part && takesInt8(linear)))
        return llvm::Error::success();
    }
  if (!reachesMixer)
    return llvm::Error::success();

  llvm::Expected<std::vector<PartScales>> found =
      scales.choose(producer, parts);
  if (!found)
    return found.takeError();
  OpBuilder builder(func.getContext());
  builder.setInsertionPointAfter(split ? split.getOperation() : producer);
  Value all = scales.getWhole(builder, producer, *found);
  auto q =
      QuantizeStaticOp::create(builder, producer->getLoc(),
                               type.clone(builder.getI8Type()), result, all);
  llvm::SmallVector<Value> codes{q.getResult()};
  if (split) {
    llvm::SmallVector<Type> types;
    for (Value part : parts)
      types.push_back(llvm::cast<RankedTensorType>(part.getType())
                          .clone(builder.getI8Type()));
    auto parted = SplitOp::create(builder, split.getLoc(), types, q);
    codes.assign(parted->result_begin(), parted->result_end());
  }
  for (auto [part, code, scale] : llvm::zip(parts, codes, *found))
    if (llvm::Error error = replaceUses(
            part, code, scales.getPart(builder, producer, scale, split), scale))
      return error;
  if (split && split->use_empty())
    split->erase();
  ++count;
  return llvm::Error::success();
}

/// Gives a linear int8 activations with one scale.
llvm::Error Quantizer::quantizeInput(LinearOp linear) {
  Value input = linear.getInput();
  auto &[q, scale] = quantized[input];
  if (!q) {
    std::string name = getObservedName("linear", linear.getWeight(), "in");
    OpBuilder builder(func.getContext());
    builder.setInsertionPointAfterValue(input);
    llvm::Expected<Value> found = scales.getSingle(builder, linear, name);
    if (!found)
      return found.takeError();
    scale = *found;
    auto type = llvm::cast<RankedTensorType>(input.getType());
    q = QuantizeStaticOp::create(builder, linear.getLoc(),
                                 type.clone(builder.getI8Type()), input, scale);
    ++count;
  }
  linear.getInputMutable().assign(q);
  linear.getScaleMutable().assign(scale);
  return llvm::Error::success();
}

/// Quantises what a scan reads from ops that are no linears or convolutions, if
/// some of its operands are int8 already; linears that read it too take the
/// same codes.
llvm::Error Quantizer::quantizeScan(Operation *scan) {
  auto isInt8 = [](Value value) {
    return static_cast<bool>(value.getDefiningOp<DequantizeOp>());
  };
  if (!llvm::any_of(scan->getOperands(), isInt8))
    return llvm::Error::success();
  for (OpOperand &use : scan->getOpOperands()) {
    auto type = llvm::dyn_cast<RankedTensorType>(use.get().getType());
    if (!type || isInt8(use.get()))
      continue;
    llvm::Expected<PartScales> found = scales.chooseOperand(use);
    if (!found)
      return found.takeError();
    Value value = use.get();
    OpBuilder builder(func.getContext());
    builder.setInsertionPointAfterValue(value);
    Value scale = scales.getOperand(builder, use, *found);
    auto q = QuantizeStaticOp::create(
        builder, scan->getLoc(), type.clone(builder.getI8Type()), value, scale);
    if (llvm::Error error = replaceUses(value, q, scale, *found))
      return error;
    ++count;
  }
  return llvm::Error::success();
}

llvm::Error Quantizer::run() {
  llvm::SmallVector<Operation *> producers;
  llvm::SmallVector<LinearOp> linears;
  func.walk([&](Operation *op) {
    if (auto linear = llvm::dyn_cast<LinearOp>(op)) {
      if (!takesInt8(linear))
        return;
      linears.push_back(linear);
      producers.push_back(op);
    } else if (auto conv = llvm::dyn_cast<CausalConv1DOp>(op)) {
      producers.push_back(op);
    }
  });
  if (mixers)
    for (Operation *producer : producers) {
      // A convolution whose input stays float belongs to a layer that does.
      auto conv = llvm::dyn_cast<CausalConv1DOp>(producer);
      if (conv && !conv.getInput().getDefiningOp<DequantizeOp>())
        continue;
      if (llvm::Error error = quantizeResult(producer))
        return error;
    }
  llvm::SmallVector<Operation *> scans;
  func.walk([&](Operation *op) {
    if (mixers && llvm::isa<SsmScanOp, SsdScanOp>(op))
      scans.push_back(op);
  });
  for (Operation *scan : scans)
    if (llvm::Error error = quantizeScan(scan))
      return error;
  for (LinearOp linear : linears) {
    // Those of folded scales read codes already.
    if (linear.getScale())
      continue;
    if (llvm::Error error = quantizeInput(linear))
      return error;
  }
  return llvm::Error::success();
}

void EffQuantizeActivationsPass::runOnOperation() {
  ModuleOp module = getOperation();
  auto fail = [&](llvm::Error error) {
    (void)effc::emit(module.getLoc(), std::move(error));
    signalPassFailure();
  };
  llvm::Expected<Precision> layers = Precision::load(precision);
  if (!layers)
    return fail(layers.takeError());
  llvm::Expected<Statistics> statistics = Statistics::load(calibration);
  if (!statistics)
    return fail(statistics.takeError());
  StaticScales scales(module, *statistics, perChannel);
  int64_t count = 0;
  for (func::FuncOp func : module.getOps<func::FuncOp>()) {
    Quantizer quantizer(func, scales, *layers, mixers);
    if (llvm::Error error = quantizer.run())
      return fail(std::move(error));
    count += quantizer.getCount();
  }
  if (count > 0)
    return;
  // Layers that were all given float activations are what was asked for.
  auto weights = listLayerWeights(module);
  bool isChosen =
      !weights.empty() && llvm::all_of(weights, [&](LayerWeight &weight) {
        auto format = layers->find(weight.op.getSymName());
        return weight.isTable || (format && format->activationBits != 8);
      });
  if (isChosen) {
    remark::missed(module.getLoc(), remark::RemarkOpts::name("ActivationsKept")
                                        .category("eff-quantize-activations"))
        << remark::reason("every layer was given float activations");
    return;
  }
  auto diagnostic = emitUserError(
      module.getLoc(), ErrorCode::BadOption,
      "there is nothing to quantise to int8 activations in this model");
  noteWhy(diagnostic, "no linear has an integer weight");
  noteTry(diagnostic, "run eff-quantize with format=w8a8 or w4a8 before");
  signalPassFailure();
}
