//===- QuantizedOps.cpp - int8 activations and rotations ------------------===//
//
// Part of effc, under the Apache License v2.0.
//
//===----------------------------------------------------------------------===//

#include "Scales.h"
#include "effc/Compress/Hadamard.h"
#include "effc/Compress/Quantize.h"
#include "effc/Dialect/Eff/Rounding.h"
#include "effc/Support/Error.h"

#include <algorithm>
#include <cmath>

using namespace mlir;

namespace effc::reference {

template <typename T> llvm::Error evaluate(eff::QuantizeOp op, Call<T> &call) {
  const Tensor<T> &input = call.get(op.getInput());
  int64_t features = input.getColumns();
  Tensor<T> result(input.shape, /*isInteger=*/true);
  Tensor<T> scale(op.getScale().getType().getShape());
  std::vector<float> row(features);
  std::vector<int8_t> q(features);
  for (int64_t i = 0; i < input.getRows(); ++i) {
    // Rounding is f32 by definition, in the double interpreter too.
    for (int64_t k = 0; k < features; ++k)
      row[k] = float(input.floats[i * features + k]);
    scale.floats[i] = T(eff::roundActivations(row, q.data()));
    std::copy(q.begin(), q.end(), result.integers.begin() + i * features);
  }
  call.set(op.getResult(), std::move(result));
  call.set(op.getScale(), std::move(scale));
  return llvm::Error::success();
}

template <typename T>
llvm::Error evaluate(eff::QuantizeStaticOp op, Call<T> &call) {
  const Tensor<T> &input = call.get(op.getInput());
  int64_t features = input.getColumns();
  llvm::Expected<Scales<T>> scale = getScales(op.getScale(), call);
  if (!scale)
    return scale.takeError();
  Tensor<T> result(input.shape, /*isInteger=*/true);
  if (op.getAsymmetric()) {
    float factor = float(scale->at(0, 0)), zero = float(scale->values[1]);
    for (int64_t i = 0; i < input.getNumElements(); ++i) {
      float quotient = factor == 0 ? 0 : float(input.floats[i]) / factor;
      float q = std::isnan(quotient) ? zero : std::nearbyint(quotient) + zero;
      result.integers[i] = int64_t(std::clamp(q, -128.0f, 127.0f));
    }
    call.set(op.getResult(), std::move(result));
    return llvm::Error::success();
  }
  for (int64_t i = 0; i < input.getNumElements(); ++i)
    result.integers[i] = compress::quantizeInt8(
        float(input.floats[i]), float(scale->at(i / features, i % features)));
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T>
llvm::Error evaluate(eff::TensorScaleOp op, Call<T> &call) {
  const Tensor<T> &input = call.get(op.getInput());
  // Rounding is f32 by definition, in the double interpreter too.
  float low = 0, high = 0;
  for (T x : input.floats) {
    low = std::min(low, float(x));
    high = std::max(high, float(x));
  }
  float scale = (high - low) / 255;
  float zero =
      scale > 0 ? std::nearbyint(std::clamp(-low / scale, 0.0f, 255.0f)) : 0;
  Tensor<T> result(op.getResult().getType().getShape());
  result.floats[0] = T(scale);
  result.floats[1] = T(zero - 128);
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T>
llvm::Error evaluate(eff::DequantizeOp op, Call<T> &call) {
  const Tensor<T> &input = call.get(op.getInput());
  int64_t features = input.getColumns();
  llvm::Expected<Scales<T>> scale = getScales(op.getScale(), call);
  if (!scale)
    return scale.takeError();
  Tensor<T> result(input.shape);
  for (int64_t i = 0; i < input.getNumElements(); ++i)
    result.floats[i] =
        scale->at(i / features, i % features) * T(input.integers[i]);
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> llvm::Error evaluate(eff::HadamardOp op, Call<T> &call) {
  Tensor<T> result = call.get(op.getInput());
  auto plan = compress::HadamardPlan::createBlockDiagonal(result.getColumns());
  if (!plan)
    return makeError(ErrorCode::CannotInterpret, plan.error().what);
  compress::transform(*plan, result.floats.data(), result.getRows(),
                      op.getTransposed() ? compress::Direction::Transposed
                                         : compress::Direction::Forward);
  call.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

EFFC_INSTANTIATE(evaluate, eff::DequantizeOp)
EFFC_INSTANTIATE(evaluate, eff::HadamardOp)
EFFC_INSTANTIATE(evaluate, eff::QuantizeOp)
EFFC_INSTANTIATE(evaluate, eff::QuantizeStaticOp)
EFFC_INSTANTIATE(evaluate, eff::TensorScaleOp)

} // namespace effc::reference
