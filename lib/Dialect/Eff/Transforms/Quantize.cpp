//===- Quantize.cpp - numeric formats of weights --------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "RoundWeights.h"
#include "WeightUses.h"
#include "effc/Dialect/Eff/Transforms/Passes.h"
#include "effc/Dialect/Eff/Transforms/Precision.h"
#include "effc/Support/Error.h"

#include "mlir/IR/Remarks.h"

namespace effc::eff {
#define GEN_PASS_DEF_EFFQUANTIZEPASS
#include "effc/Dialect/Eff/Transforms/Passes.h.inc"
} // namespace effc::eff

using namespace mlir;
using namespace effc::eff;

namespace {
/// A format and why it was chosen.
struct Choice {
  Attribute format;
  llvm::StringRef reason;
};

class EffQuantizePass
    : public effc::eff::impl::EffQuantizePassBase<EffQuantizePass> {
public:
  using EffQuantizePassBase::EffQuantizePassBase;
  void runOnOperation() override;

private:
  Choice choose(llvm::StringRef name, const WeightUse &use, WeightType type,
                bool isPinned);
  Choice chooseLinear(llvm::StringRef name, WeightType type);
  Choice chooseTable(llvm::StringRef name, WeightType type);
  void quantizeActivations(func::FuncOp func);
  llvm::Error roundWeights();

  Precision layers;
};
} // namespace

/// What `format` says of the linears of a layer.
static LayerFormat getDefault(QuantFormat format) {
  switch (format) {
  case QuantFormat::W8A16:
    return {8, 16};
  case QuantFormat::W8A8Dynamic:
  case QuantFormat::W8A8:
    return {8, 8};
  case QuantFormat::W4A16:
    return {4, 16};
  case QuantFormat::W4A8Dynamic:
  case QuantFormat::W4A8:
    return {4, 8};
  default:
    return {16, 16};
  }
}

Choice EffQuantizePass::chooseLinear(llvm::StringRef name, WeightType type) {
  LayerFormat otherwise = getDefault(format);
  LayerFormat layer = layers.get(name, otherwise);
  llvm::StringRef reason = layer.weightBits == otherwise.weightBits
                               ? "asked for"
                               : "asked for this layer";
  if (layer.weightBits == 4)
    return {Int4Attr::get(&getContext(), group), reason};
  if (layer.weightBits == 8)
    return {Int8Attr::get(&getContext()), reason};
  return {type.getFormat(), reason};
}

Choice EffQuantizePass::chooseTable(llvm::StringRef name, WeightType type) {
  if (auto own = layers.find(name)) {
    llvm::StringRef reason = "asked for this table";
    if (own->weightBits == 4)
      return {Int4Attr::get(&getContext(), group), reason};
    if (own->weightBits == 8)
      return {Int8Attr::get(&getContext()), reason};
    return {type.getFormat(), reason};
  }
  switch (tables.getValue()) {
  case TableFormat::Keep:
    return {type.getFormat(), "tables and heads are kept"};
  case TableFormat::Int8:
    return {Int8Attr::get(&getContext()),
            getDefault(format).weightBits == 4
                ? "tables and heads lose too much in int4"
                : "asked for"};
  case TableFormat::Int4:
    return {Int4Attr::get(&getContext(), group), "asked for"};
  }
  llvm_unreachable("all formats of tables are handled");
}

Choice EffQuantizePass::choose(llvm::StringRef name, const WeightUse &use,
                               WeightType type, bool isPinned) {
  MLIRContext *context = &getContext();
  if (!use.isMatrix())
    return {type.getFormat(), "not a matrix of linears or embeddings"};
  if (isPinned)
    return {type.getFormat(), "the file's own integers"};
  switch (format) {
  case QuantFormat::None:
    return {type.getFormat(), "as stored"};
  case QuantFormat::F32:
    return {TypeAttr::get(Float32Type::get(context)), "asked for"};
  case QuantFormat::BF16:
    return {TypeAttr::get(BFloat16Type::get(context)), "asked for"};
  default:
    break;
  }
  if (use.conv)
    return {type.getFormat(), "patch convolutions are not quantised"};
  if (use.other)
    return {type.getFormat(), "also read as plain values"};
  return use.table || use.head ? chooseTable(name, type)
                               : chooseLinear(name, type);
}

/// Gives linears with int8 weights int8 activations; linears of one input share
/// its quantisation.
void EffQuantizePass::quantizeActivations(func::FuncOp func) {
  llvm::DenseMap<Value, QuantizeOp> quantized;
  llvm::SmallVector<LinearOp> linears;
  func.walk([&](LinearOp linear) { linears.push_back(linear); });
  for (LinearOp linear : linears) {
    auto input = llvm::cast<RankedTensorType>(linear.getInput().getType());
    auto weight = llvm::cast<WeightType>(linear.getWeight().getType());
    if (!weight.isInteger() || !input.getElementType().isF32() ||
        layers.get(getSymbolOf(linear.getWeight()), getDefault(format))
                .activationBits != 8)
      continue;
    // Activations are rank 3; a head's selected rows stay f32.
    if (input.getRank() != 3) {
      remark::missed(linear.getLoc(),
                     remark::RemarkOpts::name("ActivationsKept")
                         .category("eff-quantize")
                         .function(func.getSymName()))
          << remark::reason("output heads read f32 activations");
      continue;
    }
    QuantizeOp &quantize = quantized[linear.getInput()];
    OpBuilder builder(linear);
    if (!quantize) {
      builder.setInsertionPointAfterValue(linear.getInput());
      quantize = QuantizeOp::create(
          builder, linear.getLoc(), input.clone(builder.getI8Type()),
          RankedTensorType::get(input.getShape().drop_back(),
                                builder.getF32Type()),
          linear.getInput());
    }
    linear.getInputMutable().assign(quantize.getResult());
    linear.getScaleMutable().assign(quantize.getScale());
  }
}

/// Chooses the integers of linears by GPTQ where calibration has seen what they
/// read.
llvm::Error EffQuantizePass::roundWeights() {
  llvm::Expected<Statistics> statistics = Statistics::load(calibration);
  if (!statistics)
    return statistics.takeError();
  llvm::SmallVector<WeightOp> weights;
  for (auto &[weight, use] : findWeightUses(getOperation())) {
    WeightOp op = weight;
    if (use.linear && !op.getType().getFloatFormat() && !op.getPinned())
      weights.push_back(op);
  }
  auto rounded = roundWithFeedback(weights, *statistics);
  if (!rounded)
    return rounded.takeError();
  if (rounded->empty() && !weights.empty())
    return effc::makeError(effc::ErrorCode::BadOption,
                           "gptq needs the Hessians of what linears read",
                           calibration, "the calibration has none",
                           "calibrate with the kind hessian");
  for (RoundedWeight &one : *rounded)
    remark::passed(one.op.getLoc(), remark::RemarkOpts::name("Rounded")
                                        .category("eff-quantize")
                                        .function(one.op.getSymName()))
        << remark::add("{0}", one.op.getSymName())
        << remark::metric("OutputError", float(one.error))
        << remark::metric("NearestError", float(one.nearestError));
  return llvm::Error::success();
}

void EffQuantizePass::runOnOperation() {
  if (group <= 0 || group % 8 != 0) {
    auto diagnostic = effc::emitUserError(
        getOperation().getLoc(), effc::ErrorCode::BadOption,
        llvm::Twine("a group of ") + llvm::Twine(group) + " columns");
    effc::noteTry(diagnostic, "use a positive multiple of 8");
    return signalPassFailure();
  }
  llvm::Expected<Precision> loaded = Precision::load(precision);
  if (!loaded) {
    (void)effc::emit(getOperation().getLoc(), loaded.takeError());
    return signalPassFailure();
  }
  layers = std::move(*loaded);
  for (auto &[weight, use] : findWeightUses(getOperation())) {
    WeightOp op = weight;
    WeightType type = op.getType();
    Choice choice = choose(op.getSymName(), use, type, op.getPinned());
    if (!use.isMatrix())
      continue;
    WeightType chosen = type.withFormat(choice.format);
    setWeightType(op, use.uses, chosen);
    remark::passed(op.getLoc(), remark::RemarkOpts::name("FormatChosen")
                                    .category("eff-quantize")
                                    .function(op.getSymName()))
        << remark::add("{0}", op.getSymName())
        << remark::metric("From", toString(type.getFormat()))
        << remark::metric("To", toString(choice.format))
        << remark::metric("BytesBefore", type.getPackedBytes())
        << remark::metric("BytesAfter", chosen.getPackedBytes())
        << remark::reason("{0}", choice.reason);
  }
  if (gptq)
    if (llvm::Error error = roundWeights()) {
      (void)effc::emit(getOperation().getLoc(), std::move(error));
      return signalPassFailure();
    }
  if (format == QuantFormat::W8A8Dynamic || format == QuantFormat::W4A8Dynamic)
    for (func::FuncOp func : getOperation().getOps<func::FuncOp>())
      quantizeActivations(func);
}
