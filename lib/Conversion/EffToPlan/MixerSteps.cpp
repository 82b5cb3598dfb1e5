//===- MixerSteps.cpp - attention, scans, convolutions as steps -----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "ProgramBuilder.h"

using namespace mlir;
using namespace effc;

using Pairs = llvm::SmallVector<std::pair<llvm::StringRef, int64_t>, 16>;

static int64_t getDim(Value value, int64_t dim) {
  return llvm::cast<RankedTensorType>(value.getType()).getShape()[dim];
}

LogicalResult ProgramBuilder::convert(eff::AttentionOp op) {
  Matrix q = getMatrix(op.getQuery());
  llvm::APFloat softcap =
      op.getSoftcap() ? *op.getSoftcap() : llvm::APFloat(0.0f);
  int64_t heads = op.getHeads();
  Pairs constants = {{"batch", getDim(op.getQuery(), 0)},
                     {"tokens", getDim(op.getQuery(), 1)},
                     {"heads", heads},
                     {"kv_heads", op.getKvHeads()},
                     {"head_dim", q.columns / heads},
                     {"ldq", q.ld},
                     {"causal", op.getCausal()},
                     {"window", op.getWindow()},
                     {"scale_bits", getBits(op.getScale())},
                     {"softcap_bits", getBits(softcap)}};
  if (auto cache = llvm::dyn_cast<eff::CacheType>(op.getKey().getType())) {
    Matrix y = allocateMatrix(op.getResult());
    constants.append({{"ldy", y.ld}, {"capacity", cache.getCapacity()}});
    addStep(
        op, "attention_cache", constants,
        {q.ref, getResource(op.getKey()), getResource(op.getValue()), y.ref},
        getCost(op));
    return success();
  }
  Matrix k = getMatrix(op.getKey());
  Matrix v = getMatrix(op.getValue());
  Matrix y = allocateMatrix(op.getResult());
  constants.append({{"ldk", k.ld}, {"ldv", v.ld}, {"ldy", y.ld}});
  addStep(op, "attention", constants, {q.ref, k.ref, v.ref, y.ref},
          getCost(op));
  return success();
}

LogicalResult ProgramBuilder::convert(eff::CacheAppendOp op) {
  auto cache = llvm::cast<eff::CacheType>(op.getCache().getType());
  Matrix x = getMatrix(op.getInput());
  addStep(op, "cache_append",
          {{"batch", getDim(op.getInput(), 0)},
           {"tokens", getDim(op.getInput(), 1)},
           {"heads", cache.getHeads()},
           {"head_dim", cache.getHeadDim()},
           {"capacity", cache.getCapacity()},
           {"ldx", x.ld}},
          {x.ref, getResource(op.getCache())}, getCost(op));
  return success();
}

LogicalResult ProgramBuilder::convert(eff::RopeOp op) {
  Matrix x = getMatrix(op.getInput());
  Matrix y = allocateMatrix(op.getResult());
  auto frequencies = llvm::cast<eff::WeightType>(op.getInvFreq().getType());
  int64_t heads = op.getHeads();
  addStep(op, "rope",
          {{"batch", getDim(op.getInput(), 0)},
           {"tokens", getDim(op.getInput(), 1)},
           {"heads", heads},
           {"head_dim", x.columns / heads},
           {"half", frequencies.getNumElements()},
           {"ldx", x.ld},
           {"ldy", y.ld},
           {"interleaved", op.getInterleaved()},
           {"scale_bits", getBits(op.getScale())}},
          {x.ref, getResource(op.getInvFreq()), y.ref}, getCost(op));
  return success();
}

LogicalResult ProgramBuilder::convert(eff::CausalConv1DOp op) {
  Matrix x = getMatrix(op.getInput());
  Matrix y = allocateMatrix(op.getResult());
  auto weight = llvm::cast<eff::WeightType>(op.getWeight().getType());
  addStep(op, "causal_conv1d",
          {{"batch", getDim(op.getInput(), 0)},
           {"tokens", getDim(op.getInput(), 1)},
           {"channels", x.columns},
           {"kernel", weight.getShape()[1]},
           {"ldx", x.ld},
           {"ldy", y.ld},
           {"silu", op.getActivation() == eff::Activation::SiLU}},
          {x.ref, getResource(op.getWeight()), getResource(op.getBias()),
           getResource(op.getState()), y.ref},
          getCost(op));
  return success();
}

LogicalResult ProgramBuilder::convert(eff::SsdScanOp op) {
  Matrix x = getMatrix(op.getInput());
  Matrix dt = getMatrix(op.getDt());
  Matrix b = getMatrix(op.getB());
  Matrix c = getMatrix(op.getC());
  Matrix y = allocateMatrix(op.getResult());
  int64_t heads = op.getHeads(), groups = op.getGroups();
  Pairs constants = {{"batch", getDim(op.getInput(), 0)},
                     {"tokens", getDim(op.getInput(), 1)},
                     {"heads", heads},
                     {"head_dim", x.columns / heads},
                     {"n", b.columns / groups},
                     {"groups", groups},
                     {"chunk", op.getChunk()},
                     {"ldx", x.ld},
                     {"lddt", dt.ld},
                     {"ldb", b.ld},
                     {"ldc", c.ld},
                     {"ldy", y.ld}};
  if (op.getDtSoftplus())
    constants.emplace_back("dt_softplus", 1);
  addStep(op, "ssd_scan", constants,
          {x.ref, dt.ref, getResource(op.getA()), b.ref, c.ref,
           getResource(op.getSkip()), getResource(op.getState()), y.ref,
           getResource(op.getDtBias()), getNull(), getNull(), getNull(),
           getNull()},
          getCost(op));
  return success();
}

LogicalResult ProgramBuilder::convert(eff::SsmScanOp op) {
  Matrix u = getMatrix(op.getInput());
  Matrix dt = getMatrix(op.getDt());
  Matrix b = getMatrix(op.getB());
  Matrix c = getMatrix(op.getC());
  Matrix gate = {getNull(), 0, 0, 0};
  if (op.getGate())
    gate = getMatrix(op.getGate());
  Matrix y = allocateMatrix(op.getResult());
  int64_t groups = op.getGroups();
  Pairs constants = {{"batch", getDim(op.getInput(), 0)},
                     {"tokens", getDim(op.getInput(), 1)},
                     {"channels", u.columns},
                     {"n", b.columns / groups},
                     {"groups", groups},
                     {"ldu", u.ld},
                     {"lddt", dt.ld},
                     {"ldb", b.ld},
                     {"ldc", c.ld},
                     {"ldz", gate.ld},
                     {"ldy", y.ld}};
  if (op.getDtSoftplus())
    constants.emplace_back("dt_softplus", 1);
  addStep(op, "ssm_scan", constants,
          {u.ref, dt.ref, getResource(op.getA()), b.ref, c.ref,
           getResource(op.getSkip()), gate.ref, getResource(op.getState()),
           y.ref, getResource(op.getDtBias()), getNull(), getNull(), getNull(),
           getNull(), getNull()},
          getCost(op));
  return success();
}
