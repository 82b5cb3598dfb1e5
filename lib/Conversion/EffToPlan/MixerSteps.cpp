//===- MixerSteps.cpp - attention, scans, convolutions as steps -----------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "ProgramBuilder.h"

#include "effc/Support/Error.h"

using namespace mlir;
using namespace effc;

using Pairs = llvm::SmallVector<std::pair<llvm::StringRef, int64_t>, 24>;

static int64_t getDim(Value value, int64_t dim) {
  return llvm::cast<RankedTensorType>(value.getType()).getShape()[dim];
}

/// How the rows of a cache are kept.
static void addCacheFormat(Pairs &constants, eff::CacheType cache) {
  if (cache.isInt8())
    constants.emplace_back("cache_i8", 1);
  if (int64_t bits = cache.getIntBits())
    constants.emplace_back("cache_bits", bits);
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
    SmallVector<Value> operands{q.ref, getResource(op.getKey()),
                                getResource(op.getValue()), y.ref};
    addCacheFormat(constants, cache);
    if (op.getValue().getType() != cache) {
      emitUserError(op.getLoc(), ErrorCode::CodeGen,
                    "no kernel reads keys and values of different formats");
      return failure();
    }
    if (cache.getIntBits())
      operands.append(
          {getResource(op.getKeyScale()), getResource(op.getValueScale())});
    addStep(op, "attention_cache", constants, operands, getCost(op));
    return success();
  }
  Matrix k = getMatrix(op.getKey());
  Matrix v = getMatrix(op.getValue());
  Matrix y = allocateMatrix(op.getResult());
  constants.append({{"ldk", k.ld}, {"ldv", v.ld}, {"ldy", y.ld}});
  SmallVector<Value> operands{q.ref, k.ref, v.ref, y.ref};
  if (Value bias = op.getBias()) {
    operands.push_back(getRef(makeContiguous(getPlace(bias))));
    constants.append({{"bias_batch", getDim(bias, 0)},
                      {"bias_heads", getDim(bias, 1)},
                      {"bias_tokens", getDim(bias, 2)}});
  }
  addStep(op, "attention", constants, operands, getCost(op));
  return success();
}

LogicalResult ProgramBuilder::convert(eff::CacheAppendOp op) {
  auto cache = llvm::cast<eff::CacheType>(op.getCache().getType());
  Matrix x = getMatrix(op.getInput());
  Pairs constants = {
      {"batch", getDim(op.getInput(), 0)}, {"tokens", getDim(op.getInput(), 1)},
      {"heads", cache.getHeads()},         {"head_dim", cache.getHeadDim()},
      {"capacity", cache.getCapacity()},   {"ldx", x.ld}};
  addCacheFormat(constants, cache);
  SmallVector<Value> operands{x.ref, getResource(op.getCache())};
  if (op.getScale())
    operands.push_back(getResource(op.getScale()));
  addStep(op, "cache_append", constants, operands, getCost(op));
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
  Reading x = getReading(op.getInputMutable());
  Writing y = getStaticWriting(op.getResult());
  auto weight = llvm::cast<eff::WeightType>(op.getWeight().getType());
  Pairs constants = {{"batch", getDim(op.getInput(), 0)},
                     {"tokens", getDim(op.getInput(), 1)},
                     {"channels", x.matrix.columns},
                     {"kernel", weight.getShape()[1]},
                     {"ldx", x.matrix.ld},
                     {"ldy", y.matrix.ld},
                     {"silu", op.getActivation() == eff::Activation::SiLU}};
  if (op.getStateScale() && !x.isInt8) {
    auto diagnostic =
        emitUserError(op.getLoc(), ErrorCode::CodeGen,
                      "no kernel keeps an int8 state of float activations");
    noteTry(diagnostic, "quantise the convolution's input by the same scales");
    return failure();
  }
  addReading(constants, x, "x_i8", "xscale_each");
  addQuantization(constants, y);
  addStep(op, "causal_conv1d", constants,
          {x.matrix.ref, getResource(op.getWeight()), getResource(op.getBias()),
           getResource(op.getState()), y.matrix.ref, x.scale, y.scale},
          getCost(op));
  return success();
}

/// How the state of a scan is kept.
static void
addState(llvm::SmallVectorImpl<std::pair<llvm::StringRef, int64_t>> &constants,
         Value state, int64_t tokens) {
  if (!state)
    return;
  eff::Int8StateAttr int8 =
      llvm::cast<eff::StateType>(state.getType()).getInt8();
  if (!int8)
    return;
  bool isStatic = int8.getScaling() == eff::StateScaling::Static;
  constants.push_back({"state_format", isStatic ? 1 : 2});
  if (int8.getRounding() == eff::StateRounding::Stochastic)
    constants.push_back({"state_rounding", 1});
  if (int8.getResidual())
    constants.push_back({"state_residual", int8.getResidual()});
  // One token is a call either way.
  if (int8.getEvery() == eff::StateEvery::Call && tokens > 1)
    constants.push_back({"state_once", 1});
}

LogicalResult ProgramBuilder::convert(eff::SsdScanOp op) {
  Reading x = getReading(op.getInputMutable());
  Reading dt = getReading(op.getDtMutable());
  Reading b = getReading(op.getBMutable());
  Reading c = getReading(op.getCMutable());
  Matrix y = allocateMatrix(op.getResult());
  int64_t heads = op.getHeads(), groups = op.getGroups();
  Pairs constants = {{"batch", getDim(op.getInput(), 0)},
                     {"tokens", getDim(op.getInput(), 1)},
                     {"heads", heads},
                     {"head_dim", x.matrix.columns / heads},
                     {"n", b.matrix.columns / groups},
                     {"groups", groups},
                     {"chunk", op.getChunk()},
                     {"ldx", x.matrix.ld},
                     {"lddt", dt.matrix.ld},
                     {"ldb", b.matrix.ld},
                     {"ldc", c.matrix.ld},
                     {"ldy", y.ld}};
  if (op.getDtSoftplus())
    constants.emplace_back("dt_softplus", 1);
  addReading(constants, x, "x_i8", "xscale_each");
  addReading(constants, dt, "dt_i8", "dtscale_each");
  addReading(constants, b, "b_i8", "bscale_each");
  addReading(constants, c, "c_i8", "cscale_each");
  addState(constants, op.getState(), getDim(op.getInput(), 1));
  SmallVector<Value> operands{x.matrix.ref,
                              dt.matrix.ref,
                              getResource(op.getA()),
                              b.matrix.ref,
                              c.matrix.ref,
                              getResource(op.getSkip()),
                              getResource(op.getState()),
                              y.ref,
                              getResource(op.getDtBias()),
                              x.scale,
                              dt.scale,
                              b.scale,
                              c.scale};
  if (op.getStateScale())
    operands.push_back(getResource(op.getStateScale()));
  addStep(op, "ssd_scan", constants, operands, getCost(op));
  return success();
}

LogicalResult ProgramBuilder::convert(eff::SsmScanOp op) {
  Reading u = getReading(op.getInputMutable());
  Reading dt = getReading(op.getDtMutable());
  Reading b = getReading(op.getBMutable());
  Reading c = getReading(op.getCMutable());
  Reading gate = {{getNull(), 0, 0, 0}, false, getNull(), false};
  if (op.getGate())
    gate = getReading(*op.getGateMutable().begin());
  Matrix y = allocateMatrix(op.getResult());
  int64_t groups = op.getGroups();
  Pairs constants = {{"batch", getDim(op.getInput(), 0)},
                     {"tokens", getDim(op.getInput(), 1)},
                     {"channels", u.matrix.columns},
                     {"n", b.matrix.columns / groups},
                     {"groups", groups},
                     {"ldu", u.matrix.ld},
                     {"lddt", dt.matrix.ld},
                     {"ldb", b.matrix.ld},
                     {"ldc", c.matrix.ld},
                     {"ldz", gate.matrix.ld},
                     {"ldy", y.ld}};
  if (op.getDtSoftplus())
    constants.emplace_back("dt_softplus", 1);
  addReading(constants, u, "u_i8", "uscale_each");
  addReading(constants, dt, "dt_i8", "dtscale_each");
  addReading(constants, b, "b_i8", "bscale_each");
  addReading(constants, c, "c_i8", "cscale_each");
  addReading(constants, gate, "z_i8", "zscale_each");
  addState(constants, op.getState(), getDim(op.getInput(), 1));
  SmallVector<Value> operands{u.matrix.ref,
                              dt.matrix.ref,
                              getResource(op.getA()),
                              b.matrix.ref,
                              c.matrix.ref,
                              getResource(op.getSkip()),
                              gate.matrix.ref,
                              getResource(op.getState()),
                              y.ref,
                              getResource(op.getDtBias()),
                              u.scale,
                              dt.scale,
                              b.scale,
                              c.scale,
                              gate.scale};
  if (op.getStateScale())
    operands.push_back(getResource(op.getStateScale()));
  addStep(op, "ssm_scan", constants, operands, getCost(op));
  return success();
}
