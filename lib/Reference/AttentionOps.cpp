//===- AttentionOps.cpp - attention and its caches ------------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Call.h"
#include "effc/Dialect/Eff/Rounding.h"
#include "effc/Support/Error.h"

#include <algorithm>

using namespace mlir;

namespace effc::reference {

namespace {
/// Keys or values of one batch row: `[tokens][heads][head_dim]`.
template <typename T> struct Keys {
  const T *data;
  int64_t stride;

  const T *at(int64_t token, int64_t head, int64_t headDim) const {
    return data + token * stride + head * headDim;
  }
};
} // namespace

/// The keys or values of row `b`; of a cache, those of `count` tokens must be
/// there.
template <typename T>
static llvm::Expected<Keys<T>> getKeys(eff::AttentionOp op, Value value,
                                       int64_t b, int64_t count,
                                       Call<T> &call) {
  auto cache = dyn_cast<eff::CacheType>(value.getType());
  if (!cache) {
    const Tensor<T> &tensor = call.get(value);
    int64_t stride = tensor.shape[2];
    return Keys<T>{tensor.floats.data() + b * tensor.shape[1] * stride, stride};
  }
  llvm::Expected<std::vector<T> *> buffer = call.getBuffer(op, value, b);
  if (!buffer)
    return buffer.takeError();
  int64_t stride = cache.getHeads() * cache.getHeadDim();
  if (int64_t((*buffer)->size()) < count * stride)
    return cannotInterpret(op, "the call's tokens have not been appended to "
                               "the cache before");
  return Keys<T>{(*buffer)->data(), stride};
}

template <typename T> llvm::Error evaluate(eff::AttentionOp op, Call<T> &call) {
  const Tensor<T> &query = call.get(op.getQuery());
  int64_t batch = query.shape[0], tokens = query.shape[1];
  int64_t heads = op.getHeads(), kvHeads = op.getKvHeads();
  int64_t headDim = query.shape[2] / heads, window = op.getWindow();
  T scale = T(op.getScale().convertToDouble());
  T softcap = op.getSoftcap() ? T(op.getSoftcap()->convertToDouble()) : T(0);
  bool cached = isa<eff::CacheType>(op.getKey().getType());
  if (llvm::Error error = call.checkRows(op, batch, tokens))
    return error;

  const Tensor<T> *bias = op.getBias() ? &call.get(op.getBias()) : nullptr;
  auto biasAt = [&](int64_t b, int64_t h, int64_t t, int64_t j) {
    ArrayRef<int64_t> s = bias->shape;
    int64_t row =
        ((b % s[0]) * s[1] + (s[1] == 1 ? 0 : h)) * s[2] + (s[2] == 1 ? 0 : t);
    return bias->floats[row * s[3] + j];
  };

  Tensor<T> result(query.shape);
  std::vector<T> scores;
  for (int64_t b = 0; b < batch; ++b) {
    int64_t past = cached ? call.getPast(b) : 0;
    int64_t count = past + call.getValid(b, tokens);
    llvm::Expected<Keys<T>> keys = getKeys(op, op.getKey(), b, count, call);
    if (!keys)
      return keys.takeError();
    llvm::Expected<Keys<T>> values = getKeys(op, op.getValue(), b, count, call);
    if (!values)
      return values.takeError();
    for (int64_t t = 0; t < tokens; ++t) {
      int64_t position = past + t;
      int64_t end = op.getCausal() ? std::min(count, position + 1) : count;
      int64_t begin = window ? std::max<int64_t>(0, position - window + 1) : 0;
      if (begin >= end)
        continue;
      for (int64_t h = 0; h < heads; ++h) {
        int64_t kvHead = h * kvHeads / heads;
        int64_t offset = ((b * tokens + t) * heads + h) * headDim;
        scores.resize(end - begin);
        for (int64_t j = begin; j < end; ++j) {
          T score;
          multiply(query.floats.data() + offset, keys->at(j, kvHead, headDim),
                   &score, 1, 1, headDim);
          score *= scale;
          if (softcap > 0)
            score = softcap * std::tanh(score / softcap);
          if (bias)
            score += biasAt(b, h, t, j);
          scores[j - begin] = score;
        }
        T maximum = *std::max_element(scores.begin(), scores.end());
        if (std::isinf(maximum) && maximum < 0)
          continue;
        T total = 0;
        for (T &score : scores)
          total += score = std::exp(score - maximum);
        T *y = result.floats.data() + offset;
        for (int64_t j = begin; j < end; ++j) {
          const T *value = values->at(j, kvHead, headDim);
          T weight = scores[j - begin] / total;
          for (int64_t d = 0; d < headDim; ++d)
            y[d] += weight * value[d];
        }
      }
    }
  }
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

/// Rounds the rows of tokens and heads to int8, each by its own scale.
template <typename T>
static void roundRows(MutableArrayRef<T> values, int64_t width) {
  std::vector<float> row(width);
  std::vector<int8_t> q(width);
  for (; !values.empty(); values = values.drop_front(width)) {
    std::copy_n(values.begin(), width, row.begin());
    float scale = eff::roundActivations(row, q.data());
    for (int64_t i = 0; i < width; ++i)
      values[i] = T(scale * float(q[i]));
  }
}

/// Rounds rows of all heads to integers by the scales of their features.
template <typename T>
static void roundByScales(MutableArrayRef<T> values, ArrayRef<T> scales,
                          int64_t bits) {
  for (auto [i, value] : llvm::enumerate(values)) {
    float scale = float(scales[i % scales.size()]);
    value = T(scale) * T(eff::roundCache(float(value), scale, bits));
  }
}

template <typename T>
llvm::Error evaluate(eff::CacheAppendOp op, Call<T> &call) {
  const Tensor<T> &input = call.get(op.getInput());
  int64_t batch = input.shape[0], tokens = input.shape[1];
  int64_t stride = input.shape[2];
  if (llvm::Error error = call.checkRows(op, batch, tokens))
    return error;
  auto cache = cast<eff::CacheType>(op.getCache().getType());
  int64_t capacity = cache.getCapacity();
  llvm::Expected<const T *> scales = call.getOptional(op.getScale());
  if (!scales)
    return scales.takeError();
  for (int64_t b = 0; b < batch; ++b) {
    llvm::Expected<std::vector<T> *> buffer =
        call.getBuffer(op, op.getCache(), b);
    if (!buffer)
      return buffer.takeError();
    int64_t past = call.getPast(b), valid = call.getValid(b, tokens);
    if (past + valid > capacity)
      return makeError(ErrorCode::TooLong,
                       "the sequence has " + llvm::Twine(past + valid) +
                           " tokens, the cache holds " + llvm::Twine(capacity));
    (*buffer)->resize((past + valid) * stride);
    auto first = input.floats.begin() + b * tokens * stride;
    auto rows = (*buffer)->begin() + past * stride;
    std::copy(first, first + valid * stride, rows);
    if (cache.isInt8())
      roundRows(MutableArrayRef<T>(&*rows, valid * stride), cache.getHeadDim());
    if (int64_t bits = cache.getIntBits())
      roundByScales(MutableArrayRef<T>(&*rows, valid * stride),
                    ArrayRef<T>(*scales, stride), bits);
  }
  return llvm::Error::success();
}

template <typename T>
llvm::Error evaluate(eff::PositionEmbedOp op, Call<T> &call) {
  llvm::Expected<const Weight<T> *> table = call.getWeight(op.getTable());
  if (!table)
    return table.takeError();
  ArrayRef<int64_t> shape = op.getResult().getType().getShape();
  int64_t rows = (*table)->shape[0], d = shape[2];
  if (llvm::Error error = call.checkRows(op, shape[0], shape[1]))
    return error;
  Tensor<T> result(shape);
  for (int64_t b = 0; b < shape[0]; ++b)
    for (int64_t t = 0; t < shape[1]; ++t) {
      int64_t position = call.getPast(b) + t + int64_t(op.getOffset());
      auto first = (*table)->values.begin() + std::min(position, rows - 1) * d;
      std::copy(first, first + d,
                result.floats.begin() + (b * shape[1] + t) * d);
    }
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> llvm::Error evaluate(eff::RopeOp op, Call<T> &call) {
  const Tensor<T> &input = call.get(op.getInput());
  llvm::Expected<const Weight<T> *> weight = call.getWeight(op.getInvFreq());
  if (!weight)
    return weight.takeError();
  int64_t batch = input.shape[0], tokens = input.shape[1];
  int64_t heads = op.getHeads(), headDim = input.shape[2] / heads;
  int64_t half = (*weight)->shape[0];
  T scale = T(op.getScale().convertToDouble());
  if (llvm::Error error = call.checkRows(op, batch, tokens))
    return error;

  Tensor<T> result = input;
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t i = 0; i < half; ++i) {
        // The angle is f32 by definition, in the double interpreter too.
        float angle = float(call.getPast(b) + t) * float((*weight)->values[i]);
        T c = scale * std::cos(T(angle)), s = scale * std::sin(T(angle));
        int64_t first = op.getInterleaved() ? 2 * i : i;
        int64_t second = op.getInterleaved() ? 2 * i + 1 : i + half;
        for (int64_t h = 0; h < heads; ++h) {
          int64_t offset = ((b * tokens + t) * heads + h) * headDim;
          T x1 = input.floats[offset + first];
          T x2 = input.floats[offset + second];
          result.floats[offset + first] = x1 * c - x2 * s;
          result.floats[offset + second] = x2 * c + x1 * s;
        }
      }
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

EFFC_INSTANTIATE(evaluate, eff::AttentionOp)
EFFC_INSTANTIATE(evaluate, eff::CacheAppendOp)
EFFC_INSTANTIATE(evaluate, eff::PositionEmbedOp)
EFFC_INSTANTIATE(evaluate, eff::RopeOp)

} // namespace effc::reference
