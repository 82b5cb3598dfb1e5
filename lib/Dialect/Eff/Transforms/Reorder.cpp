//===- Reorder.cpp - heads and channels of scans in order of magnitude ----===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "FeatureOrder.h"
#include "Statistics.h"
#include "WeightUses.h"
#include "effc/Compress/Cluster.h"
#include "effc/Dialect/Eff/Transforms/Passes.h"
#include "effc/Dialect/Eff/WeightValues.h"
#include "effc/Support/Error.h"

#include "mlir/IR/Remarks.h"

namespace effc::eff {
#define GEN_PASS_DEF_EFFREORDERPASS
#include "effc/Dialect/Eff/Transforms/Passes.h.inc"
} // namespace effc::eff

using namespace mlir;
using namespace effc;
using namespace effc::eff;
using compress::Permutation;

namespace {
/// The scans of one state, one for each entry point, and what they become.
struct Block {
  llvm::SmallVector<SsdScanOp> scans;
  compress::Clustering clusters;
  FeatureOrders orders;
  /// How much less noise rounding makes than with one scale for all.
  double gain = 1;
};

class EffReorderPass
    : public effc::eff::impl::EffReorderPassBase<EffReorderPass> {
public:
  using EffReorderPassBase::EffReorderPassBase;
  void runOnOperation() override;

private:
  LogicalResult findBlocks();
  LogicalResult chooseClusters(llvm::StringRef state, Block &block,
                               const Statistics &statistics);
  LogicalResult followOrders(Block &block);
  LogicalResult checkUses(Block &block);
  LogicalResult reorderWeights(llvm::StringRef state, const Block &block);
  void finish(llvm::StringRef state, Block &block);

  /// By the symbol of the state.
  llvm::MapVector<llvm::StringRef, Block> blocks;
  llvm::MapVector<WeightOp, WeightUse> uses;
  llvm::StringMap<WeightOp> weights;
  llvm::StringMap<StateOp> states;
  /// The block that takes a weight.
  llvm::StringMap<llvm::StringRef> owners;
};
} // namespace

LogicalResult EffReorderPass::findBlocks() {
  getOperation()->walk([&](SsdScanOp scan) {
    blocks[getSymbolOf(scan.getState())].scans.push_back(scan);
  });
  if (blocks.empty())
    return refuseReordering(getOperation(),
                            "the model has no 'eff.ssd_scan', the scan of "
                            "Mamba-2 whose heads and channels are reordered");
  return success();
}

LogicalResult EffReorderPass::chooseClusters(llvm::StringRef state,
                                             Block &block,
                                             const Statistics &statistics) {
  SsdScanOp scan = block.scans.front();
  int64_t heads = scan.getHeads(), groups = scan.getGroups();
  int64_t channels = scan.getType().getShape().back();
  auto type = llvm::cast<StateType>(scan.getState().getType());
  if (scan.getClusters())
    return refuseReordering(scan,
                            "its heads and channels have an order "
                            "already",
                            "reorder a model once");
  if (!type.isF32())
    return refuseReordering(scan, "its state is quantised already",
                            "reorder before quantising");
  if (headClusters < 1 || channelClusters < 1 ||
      heads / groups < headClusters || channels / heads < channelClusters)
    return refuseReordering(
        scan,
        llvm::Twine(heads / groups) + " heads in a group of " +
            llvm::Twine(channels / heads) +
            " channels each cannot be put into " + llvm::Twine(headClusters) +
            " clusters of heads and " + llvm::Twine(channelClusters) +
            " of channels",
        "choose fewer clusters with head-clusters and channel-clusters");
  auto magnitudes = statistics.getChannelMax(
      getObservedName("ssd", scan.getState(), "x"), channels);
  if (!magnitudes)
    return effc::emit(scan.getLoc(), magnitudes.takeError());

  compress::ClusterOptions options;
  options.headClusters = headClusters;
  options.channelClusters = channelClusters;
  auto clusters = compress::sortAndCluster(
      compress::Span<const float>(magnitudes->data(), magnitudes->size()),
      groups, heads, channels / heads, options);
  if (!clusters)
    return refuseReordering(scan, clusters.error().what + ": " +
                                      clusters.error().why + " (state '@" +
                                      state + "')");
  block.clusters = clusters.take();

  std::vector<float> maxima(channels);
  for (int64_t i = 0; i < channels; ++i)
    maxima[i] = (*magnitudes)[block.clusters.channelOrder[i]];
  auto scales = compress::clusterScales(block.clusters, maxima);
  if (!scales)
    return refuseReordering(scan, scales.error().what);
  double noise = 0, largest = 0;
  for (int64_t i = 0; i < channels; ++i) {
    double scale = (*scales)[block.clusters.scaleIndex(
        i / block.clusters.headDim, i % block.clusters.headDim)];
    noise += scale * scale;
    largest = std::max(largest, scale);
  }
  block.gain = noise > 0 ? double(channels) * largest * largest / noise : 1;
  return success();
}

LogicalResult EffReorderPass::followOrders(Block &block) {
  FeatureOrders &orders = block.orders;
  const Permutation &heads = block.clusters.headOrder;
  const Permutation &channels = block.clusters.channelOrder;
  for (SsdScanOp scan : block.scans) {
    orders.setAnchor(scan);
    if (failed(orders.require(scan.getInput(), channels, scan)) ||
        failed(orders.require(scan.getResult(), channels, scan)) ||
        failed(orders.require(scan.getDt(), heads, scan)) ||
        failed(orders.requireRows(scan.getAMutable(), heads)))
      return failure();
    for (MutableOperandRange range :
         {scan.getSkipMutable(), scan.getDtBiasMutable()})
      for (OpOperand &operand : range)
        if (failed(orders.requireRows(operand, heads)))
          return failure();
  }
  if (failed(orders.propagate()))
    return failure();
  for (SsdScanOp scan : block.scans)
    for (Value value : {scan.getB(), scan.getC()})
      if (orders.isOrdered(value))
        return refuseReordering(scan, "its B or C has channels that are "
                                      "reordered");
  return success();
}

/// A weight must not be read where its order is not known.
LogicalResult EffReorderPass::checkUses(Block &block) {
  llvm::StringRef state = getSymbolOf(block.scans.front().getState());
  for (auto &[name, order] : block.orders.getWeights()) {
    WeightOp op = weights.lookup(name);
    if (!owners.try_emplace(name, state).second)
      return refuseReordering(op,
                              "'@" + name + "' belongs to more than one block");
    if (!op.getType().getFloatFormat() || op.getQuantized())
      return refuseReordering(op, "'@" + name + "' is quantised already",
                              "reorder before quantising");
    for (UseOp use : uses[op].uses)
      for (OpOperand &operand : use->getUses())
        if (!block.orders.isReached(operand))
          return refuseReordering(operand.getOwner(),
                                  "it reads '@" + name +
                                      "', which is reordered, in a way that "
                                      "is not understood");
  }
  return success();
}

static LogicalResult check(WeightOp op, const compress::Status &status) {
  if (status)
    return success();
  return refuseReordering(op, status.error().what);
}

LogicalResult EffReorderPass::reorderWeights(llvm::StringRef state,
                                             const Block &block) {
  auto name = StringAttr::get(&getContext(), state);
  auto basis = BasisAttr::get(&getContext(), name, /*hadamard=*/0);
  for (auto &[symbol, order] : block.orders.getWeights()) {
    WeightOp op = weights.lookup(symbol);
    WeightType type = op.getType();
    auto values = WeightValues::read(op);
    if (!values)
      return effc::emit(op.getLoc(), values.takeError());
    bool isVector = type.getShape().size() != 2;
    compress::MatrixView<float> view(values->getValues().data(),
                                     values->getRows(), values->getColumns());
    if (isVector)
      view = {view.data, view.cols, 1};
    if (order.rows && failed(check(op, order.rows->applyToRows(view))))
      return failure();
    if (order.columns && failed(check(op, order.columns->applyToColumns(view))))
      return failure();
    WeightValues::replace(op, std::move(*values));
    if (uses[op].linear)
      setWeightType(op, uses[op].uses,
                    type.withBases(order.columns ? basis : type.getInputs(),
                                   order.rows ? basis : type.getOutputs()));
    auto remark =
        remark::passed(op.getLoc(), remark::RemarkOpts::name("WeightReordered")
                                        .category("eff-reorder")
                                        .function(op.getSymName()));
    remark << remark::add("{0}", op.getSymName());
    if (order.rows)
      remark << remark::metric("Rows", order.rows->size());
    if (order.columns)
      remark << remark::metric("Columns", order.columns->size());
  }
  return success();
}

static DenseI64ArrayAttr toAttr(MLIRContext *context,
                                const Permutation &order) {
  compress::Span<const int64_t> indices = order.getIndices();
  return DenseI64ArrayAttr::get(context, {indices.data(), indices.size()});
}

void EffReorderPass::finish(llvm::StringRef state, Block &block) {
  MLIRContext *context = &getContext();
  const compress::Clustering &clusters = block.clusters;
  for (SsdScanOp scan : block.scans)
    scan.setClustersAttr(
        ClustersAttr::get(context, clusters.headEnds, clusters.channelEnds));
  // Which channel of the source stands where, for who exchanges states.
  states.lookup(state)->setAttr("eff.order",
                                toAttr(context, clusters.channelOrder));
  for (auto &[conv, order] : block.orders.getStates())
    states.lookup(conv)->setAttr("eff.order", toAttr(context, order));
  remark::passed(states.lookup(state).getLoc(),
                 remark::RemarkOpts::name("HeadsReordered")
                     .category("eff-reorder")
                     .function(state))
      << remark::add("{0}", state) << remark::metric("Heads", clusters.heads)
      << remark::metric("Channels", clusters.heads * clusters.headDim)
      << remark::metric("Scales", clusters.getNumScales())
      << remark::metric("Weights", int64_t(block.orders.getWeights().size()))
      << remark::metric("NoiseGain", block.gain);
}

void EffReorderPass::runOnOperation() {
  ModuleOp module = getOperation();
  if (failed(findBlocks()))
    return signalPassFailure();
  auto statistics = Statistics::load(calibration);
  if (!statistics) {
    (void)effc::emit(module.getLoc(), statistics.takeError());
    return signalPassFailure();
  }
  uses = findWeightUses(module);
  for (auto &[weight, use] : uses)
    weights[WeightOp(weight).getSymName()] = weight;
  for (StateOp state : module.getOps<StateOp>())
    states[state.getSymName()] = state;
  for (auto &[state, block] : blocks)
    if (failed(chooseClusters(state, block, *statistics)) ||
        failed(followOrders(block)) || failed(checkUses(block)))
      return signalPassFailure();
  // Nothing has changed before all blocks were understood.
  for (auto &[state, block] : blocks) {
    if (failed(reorderWeights(state, block)))
      return signalPassFailure();
    finish(state, block);
  }
}
