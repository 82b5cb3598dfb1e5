//===- EffAttentionOps.cpp - attention and its caches ---------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "OpUtils.h"

using namespace mlir;
using namespace effc::eff;

/// Checks the scales of a cache, or of what is none.
static LogicalResult checkScale(Operation *op, StringRef constraint,
                                StringRef what, Value scale, CacheType cache) {
  bool needed = cache && cache.getIntBits();
  if (needed != static_cast<bool>(scale))
    return op->emitOpError(constraint)
           << ": a cache of #eff.int_cache comes with " << what
           << ", another without";
  if (!scale)
    return success();
  auto type = cast<WeightType>(scale.getType());
  FloatType format = type.getFloatFormat();
  if (!format || !format.isF32())
    return op->emitOpError(constraint)
           << ": " << what << " must be f32, got " << type.getFormat();
  return checkShape(op, constraint, what, scale,
                    cache.getHeads() * cache.getHeadDim());
}

//===----------------------------------------------------------------------===//
// attention
//===----------------------------------------------------------------------===//

LogicalResult AttentionOp::verify() {
  ArrayRef<int64_t> query = getShapeOf(getQuery());
  int64_t heads = getHeads(), kvHeads = getKvHeads();
  if (!divides(heads, query[2]))
    return emitOpError("C1: heads (")
           << heads << ") must divide the query's features (" << query[2]
           << ")";
  int64_t headDim = query[2] / heads;
  if (!divides(kvHeads, heads))
    return emitOpError("C2: kv_heads (")
           << kvHeads << ") must divide heads (" << heads << ")";

  auto keyCache = dyn_cast<CacheType>(getKey().getType());
  auto valueCache = dyn_cast<CacheType>(getValue().getType());
  if (!keyCache != !valueCache)
    return emitOpError("C3: keys and values must be both caches or both "
                       "tensors");
  for (auto [what, value] : {std::pair<StringRef, Value>("the keys", getKey()),
                             {"the values", getValue()}}) {
    auto cache = dyn_cast<CacheType>(value.getType());
    if (!cache) {
      if (failed(checkShape(*this, "C3", what, value,
                            {query[0], query[1], kvHeads * headDim})))
        return failure();
      continue;
    }
    if (cache.getHeads() != kvHeads || cache.getHeadDim() != headDim)
      return emitOpError("C3: ")
             << what << " must be a cache of " << kvHeads << "x" << headDim
             << ", got " << cache.getHeads() << "x" << cache.getHeadDim();
  }
  if (keyCache && keyCache.getCapacity() != valueCache.getCapacity())
    return emitOpError("C3: keys and values must have equal capacities, got ")
           << keyCache.getCapacity() << " and " << valueCache.getCapacity();

  // Accessors of integer attributes are unsigned.
  int64_t window = getWindow();
  if (window < 0)
    return emitOpError("C4: window must not be negative, got ") << window;
  if (window > 0 && !getCausal())
    return emitOpError("C4: a window needs 'causal'");
  if (std::optional<APFloat> softcap = getSoftcap())
    if (softcap->isNegative() || !softcap->isFinite())
      return emitOpError("C4: softcap must not be negative, got ")
             << softcap->convertToDouble();

  if (failed(checkScale(*this, "C6", "key_scale", getKeyScale(), keyCache)) ||
      failed(
          checkScale(*this, "C6", "value_scale", getValueScale(), valueCache)))
    return failure();

  if (!getBias())
    return success();
  if (keyCache)
    return emitOpError("C5: a bias goes with keys and values that are tensors");
  ArrayRef<int64_t> bias = getShapeOf(getBias());
  if (!divides(bias[0], query[0]) || (bias[1] != 1 && bias[1] != heads) ||
      (bias[2] != 1 && bias[2] != query[1]) || bias[3] != query[1])
    return emitOpError("C5: the bias must be [P, ")
           << heads << " or 1, " << query[1] << " or 1, " << query[1]
           << "] with a P that divides " << query[0] << ", got "
           << getBias().getType();
  return success();
}

SmallVector<Value> AttentionOp::getStateOperands() {
  if (isa<CacheType>(getKey().getType()))
    return {getKey(), getValue()};
  return {};
}

/// Keys that a query sees at most when nothing is in the caches before the
/// call: costs are those of the first call, the runtime adds what later ones
/// read.
static int64_t getMaxKeys(AttentionOp op) {
  auto cache = dyn_cast<CacheType>(op.getKey().getType());
  int64_t keys = getShapeOf(cache ? op.getQuery() : op.getKey())[1];
  int64_t window = op.getWindow();
  return window > 0 ? std::min(keys, window) : keys;
}

int64_t AttentionOp::getFlops() {
  return 4 * getResult().getType().getNumElements() * getMaxKeys(*this);
}

int64_t AttentionOp::getTraffic() {
  auto keys = dyn_cast<CacheType>(getKey().getType());
  if (!keys)
    return 0;
  auto values = cast<CacheType>(getValue().getType());
  int64_t batch = getShapeOf(getQuery())[0];
  return batch * keys.getHeads() * (keys.getRowBytes() + values.getRowBytes()) *
         getMaxKeys(*this);
}

//===----------------------------------------------------------------------===//
// cache_append
//===----------------------------------------------------------------------===//

LogicalResult CacheAppendOp::verify() {
  ArrayRef<int64_t> input = getShapeOf(getInput());
  CacheType cache = getCache().getType();
  if (failed(checkShape(
          *this, "C1", "the input", getInput(),
          {input[0], input[1], cache.getHeads() * cache.getHeadDim()})))
    return failure();
  return checkScale(*this, "C2", "scales", getScale(), cache);
}

SmallVector<Value> CacheAppendOp::getStateOperands() { return {getCache()}; }

int64_t CacheAppendOp::getFlops() { return 0; }

int64_t CacheAppendOp::getTraffic() {
  CacheType cache = getCache().getType();
  ArrayRef<int64_t> input = getShapeOf(getInput());
  return input[0] * input[1] * cache.getHeads() * cache.getRowBytes();
}

//===----------------------------------------------------------------------===//
// position_embed
//===----------------------------------------------------------------------===//

LogicalResult PositionEmbedOp::verify() {
  ArrayRef<int64_t> result = getShapeOf(getResult());
  if (failed(checkShape(*this, "C1", "the result", getResult(),
                        {result[0], result[1], getShapeOf(getTable())[1]})))
    return failure();
  int64_t offset = getOffset();
  if (offset < 0)
    return emitOpError("C2: offset must not be negative, got ") << offset;
  return success();
}

//===----------------------------------------------------------------------===//
// rope
//===----------------------------------------------------------------------===//

LogicalResult RopeOp::verify() {
  int64_t features = getShapeOf(getInput()).back();
  int64_t heads = getHeads();
  if (!divides(heads, features))
    return emitOpError("C1: heads (")
           << heads << ") must divide the number of features (" << features
           << ")";
  int64_t half = getShapeOf(getInvFreq())[0];
  if (2 * half > features / heads)
    return emitOpError("C2: twice the length of inv_freq (")
           << half << ") must be at most the head dimension ("
           << features / heads << ")";
  auto format = cast<WeightType>(getInvFreq().getType()).getFloatFormat();
  if (!format || !format.isF32())
    return emitOpError("C2: inv_freq must be f32, got ") << format;
  return success();
}
