//===- QuantizeStates.cpp - int8 states and caches ------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Statistics.h"
#include "effc/Dialect/Eff/Transforms/Passes.h"
#include "effc/Support/Error.h"

#include "mlir/IR/Remarks.h"
#include "llvm/ADT/StringMap.h"

namespace effc::eff {
#define GEN_PASS_DEF_EFFQUANTIZESTATESPASS
#include "effc/Dialect/Eff/Transforms/Passes.h.inc"
} // namespace effc::eff

using namespace mlir;
using namespace effc;
using namespace effc::eff;

namespace {
class EffQuantizeStatesPass
    : public effc::eff::impl::EffQuantizeStatesPassBase<EffQuantizeStatesPass> {
public:
  using EffQuantizeStatesPassBase::EffQuantizeStatesPassBase;
  void runOnOperation() override;

private:
  Type chooseType(StateOp state, StateType type);
  llvm::Error addScales();
  void report(Operation *symbol, int64_t before, int64_t after);

  /// The uses of each state or cache, by symbol.
  llvm::StringMap<llvm::SmallVector<UseOp>> uses;
  int64_t count = 0;
  bool kept = false; ///< integers of the file
};
} // namespace

void EffQuantizeStatesPass::report(Operation *symbol, int64_t before,
                                   int64_t after) {
  ++count;
  auto name = SymbolTable::getSymbolName(symbol);
  remark::passed(symbol->getLoc(), remark::RemarkOpts::name("StateQuantized")
                                       .category("eff-quantize-states")
                                       .function(name))
      << remark::add("{0}", name) << remark::metric("BytesBefore", before)
      << remark::metric("BytesAfter", after);
}

/// Whether every convolution that uses a state reads dequantised integers.
static bool readsIntegers(llvm::ArrayRef<UseOp> uses) {
  for (UseOp use : uses)
    for (Operation *user : use.getResult().getUsers()) {
      auto conv = llvm::dyn_cast<CausalConv1DOp>(user);
      auto q =
          conv ? conv.getInput().getDefiningOp<DequantizeOp>() : DequantizeOp();
      if (!q || !llvm::isa<WeightType>(q.getScale().getType()))
        return false;
    }
  return true;
}

Type EffQuantizeStatesPass::chooseType(StateOp state, StateType type) {
  MLIRContext *context = &getContext();
  if (type.getKind() == StateKind::Conv) {
    if (!conv || !readsIntegers(uses[state.getSymName()]))
      return type;
    return StateType::get(context, type.getKind(), type.getShape(),
                          IntegerType::get(context, 8));
  }
  if (scan == StateQuantization::None)
    return type;
  auto format = Int8StateAttr::get(context,
                                   scan == StateQuantization::Static
                                       ? StateScaling::Static
                                       : StateScaling::Dynamic,
                                   rounding, residual, every);
  return StateType::get(context, type.getKind(), type.getShape(),
                        Attribute(format));
}

/// Gives ops of i8 states their scales.
llvm::Error EffQuantizeStatesPass::addScales() {
  ModuleOp module = getOperation();
  std::optional<Statistics> statistics;
  if (scan == StateQuantization::Static) {
    llvm::Expected<Statistics> loaded = Statistics::load(calibration);
    if (!loaded)
      return loaded.takeError();
    statistics = std::move(*loaded);
  }
  SymbolTable symbols(module);
  llvm::Error error = llvm::Error::success();
  auto addStatic = [&](auto op) {
    if (!op.getState())
      return;
    auto type = llvm::cast<StateType>(op.getState().getType());
    if (error || !type.getInt8() ||
        type.getInt8().getScaling() != StateScaling::Static)
      return;
    llvm::StringRef state = getSymbolOf(op.getState());
    std::string name = (state + ".scale").str();
    auto vector =
        WeightType::get(&getContext(), {type.getNumElements()},
                        TypeAttr::get(Float32Type::get(&getContext())));
    if (!symbols.lookup(name)) {
      auto maxima = statistics->getChannelMax(("state:@" + state).str(),
                                              type.getNumElements());
      if (!maxima) {
        error = maxima.takeError();
        return;
      }
      // One scale for each element, with room for what calibration did not
      // reach, and more for elements that it hardly reached.
      constexpr float kHeadroom = 1.25f, kLeastShare = 1.0f / 32;
      int64_t width = type.getShape().back();
      int64_t n = type.getShape()[type.getShape().size() - 2];
      std::vector<float> scales(maxima->size());
      for (int64_t i = 0; i < int64_t(scales.size()); ++i) {
        int64_t first = i / (n * width) * n * width + i % width;
        float max = 0;
        for (int64_t s = 0; s < n; ++s)
          max = std::max(max, (*maxima)[first + s * width]);
        scales[i] =
            scaleFor(std::max((*maxima)[i], max * kLeastShare) * kHeadroom);
      }
      OpBuilder top = OpBuilder::atBlockBegin(module.getBody());
      auto tensor = RankedTensorType::get(vector.getShape(), top.getF32Type());
      auto weight = WeightOp::create(
          top, op.getLoc(), name, vector,
          DenseElementsAttr::get(tensor, llvm::ArrayRef<float>(scales)));
      weight->remove();
      symbols.insert(weight, module.getBody()->begin());
    }
    OpBuilder builder(op);
    op.getStateScaleMutable().assign(
        UseOp::create(builder, op.getLoc(), vector,
                      FlatSymbolRefAttr::get(&getContext(), name)));
  };
  module.walk([&](Operation *op) {
    if (auto conv = llvm::dyn_cast<CausalConv1DOp>(op)) {
      auto type = llvm::cast<StateType>(conv.getState().getType());
      if (!type.isF32())
        conv.getStateScaleMutable().assign(
            conv.getInput().getDefiningOp<DequantizeOp>().getScale());
    } else if (auto scan = llvm::dyn_cast<SsdScanOp>(op)) {
      addStatic(scan);
    } else if (auto scan = llvm::dyn_cast<SsmScanOp>(op)) {
      addStatic(scan);
    }
  });
  return error;
}

void EffQuantizeStatesPass::runOnOperation() {
  ModuleOp module = getOperation();
  module.walk([&](UseOp use) { uses[use.getSymbol()].push_back(use); });
  for (StateOp state : module.getOps<StateOp>()) {
    StateType type = state.getType();
    auto chosen = llvm::cast<StateType>(chooseType(state, type));
    if (chosen == type)
      continue;
    state.setType(chosen);
    for (UseOp use : uses[state.getSymName()])
      use.getResult().setType(chosen);
    report(state, type.getBytes(), chosen.getBytes());
  }
  if (cache)
    for (CacheOp op : module.getOps<CacheOp>()) {
      CacheType type = op.getType();
      // What the file has quantised stays as it is.
      if (type.getIntBits()) {
        kept = true;
        continue;
      }
      auto chosen = CacheType::get(&getContext(), type.getHeads(),
                                   type.getHeadDim(), type.getCapacity(),
                                   Attribute(Int8Attr::get(&getContext())));
      op.setType(chosen);
      for (UseOp use : uses[op.getSymName()])
        use.getResult().setType(chosen);
      report(op, type.getBytes(), chosen.getBytes());
    }
  if (llvm::Error error = addScales()) {
    (void)effc::emit(module.getLoc(), std::move(error));
    return signalPassFailure();
  }
  if (count > 0 || kept)
    return;
  auto diagnostic =
      emitUserError(module.getLoc(), ErrorCode::BadOption,
                    "the model has no state or cache to quantise as asked");
  noteTry(diagnostic, "leave eff-quantize-states out for this model");
  signalPassFailure();
}
